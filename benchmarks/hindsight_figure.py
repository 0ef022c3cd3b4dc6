"""What FoMo reaches, what hindsight would, and what was to be reached: the figure of `hindsight.py figure`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from hindsight import LEAD
from hindsight_plans import HALF
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator, PercentFormatter

from fomo.evaluation.figure_style import BLACK, BLUE, GREEN, ORANGE, SMALL, TEXT, WIDE, new_figure, tidy

#: Column of a table -> name, colour, marker.
MARKS = {
    "fomo": ("FoMo", BLUE, "o"),
    "known": ("without what was known", GREEN, "^"),
    "hindsight": ("hindsight", ORANGE, "D"),
}
GOAL = "what was to be reached"


def hindsight_figure(plans: pl.DataFrame, errors: pl.DataFrame) -> Figure:
    """Plans by the share of the way to the oracle that they close, errors over those of the best other.

    Tables as of results/hindsight-plans.csv and results/hindsight-errors.csv, a line of the figure for each row.
    """
    over = errors.with_columns((pl.col(name) / pl.col("best_other")) for name in MARKS)
    figure = new_figure(WIDE, 0.9 + 0.23 * max(plans.height, errors.height))
    left, right = figure.subplots(1, 2)
    plan = {"sleep": "sleep", "prb": "blocks"}
    names = [f"{plan[row['plan']]}, {row['city']}{_users(row['users'])}" for row in plans.iter_rows(named=True)]
    _lines(left, names, plans, HALF)
    left.set_xlabel("closed of the way to the oracle [%]", fontsize=TEXT)
    left.set_xlim(0, 1)
    left.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    names = [f"{row['task']}, {row['city']}{_users(row['context'])}" for row in errors.iter_rows(named=True)]
    _lines(right, names, over, LEAD)
    right.set_xlabel("RMSE [best other = 1]", fontsize=TEXT)
    right.set_xlim(0, 1.05 * over.select(pl.max_horizontal(*MARKS).max()).item())
    right.xaxis.set_major_locator(MultipleLocator(0.2))
    left.set_title("Plans: more is better", loc="left", fontsize=TEXT)
    right.set_title("Errors: less is better", loc="left", fontsize=TEXT)
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), fontsize=SMALL, frameon=False)
    return figure


def _users(known: str) -> str:
    """Where users of the asked hours are told."""
    return ", users told" if known == "full" else ""


def _lines(axes: Axes, names: Sequence[str], table: pl.DataFrame, goal: float) -> None:
    """A mark for each column that a row has, on a line from the first to the last; the first row on top."""
    place = np.arange(len(names))
    ends = table.select("fomo", "hindsight").to_numpy()
    axes.hlines(place, ends.min(1), ends.max(1), color="#BBBBBB", linewidth=1.2, zorder=1)
    for column, (name, colour, marker) in MARKS.items():
        if column in table.columns:
            values = table[column].cast(pl.Float64).to_numpy()
            axes.plot(values, place, marker, color=colour, markersize=5, label=name, clip_on=False)
    axes.axvline(goal, color=BLACK, linewidth=1.0, linestyle="--", label=GOAL, zorder=0)
    axes.set_yticks(place, names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    tidy(axes, grid="x")


__all__ = ["GOAL", "MARKS", "hindsight_figure"]
