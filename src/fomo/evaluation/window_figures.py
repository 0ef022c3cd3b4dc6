"""Single windows beside each other: what was observed, what was forecast, what came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from fomo.evaluation.figure_style import BLACK, BLUE, PALE, SMALL, TEXT, WIDE, new_figure, short_number, tidy
from fomo.forecast import quantiles_of


@dataclass(frozen=True)
class Panel:
    """One cell of one window; amounts are shares of full traffic, hours count from the window's first step."""

    title: str
    hours: Float[np.ndarray, " time"]
    truth: Float[np.ndarray, " time"]  # NaN = not recorded
    members: Float[np.ndarray, "member time"]
    asked: Bool[np.ndarray, " time"]


def windows_figure(panels: Sequence[Panel], columns: int, *, one_scale: bool = False) -> Figure:
    """Rows of `columns` panels: the truth, and mean and 90 % interval of the members where they were asked for.

    `one_scale`: all panels reach as high as the highest, for those that are compared with each other.
    """
    rows = -(-len(panels) // columns)
    figure = new_figure(WIDE, 0.6 + 2.1 * rows)
    figure.set_layout_engine("constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    tops = [_top(panel) for panel in panels]
    for axes, panel, top in zip(grid.flat, panels, tops, strict=False):
        _window(axes, panel, max(tops) if one_scale else top)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    figure.supxlabel("hours since the first step of the window", fontsize=TEXT)
    figure.supylabel("traffic, share of full", fontsize=TEXT)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), fontsize=SMALL, frameon=False)
    return figure


def _top(panel: Panel) -> float:
    """The largest amount that a panel shows."""
    high = quantiles_of(panel.members, 0.95)
    return max(float(np.nanmax(panel.truth)), float(high[panel.asked].max()))


def _window(axes: Axes, panel: Panel, top: float) -> None:
    low, high = quantiles_of(panel.members, [0.05, 0.95])
    mean = panel.members.mean(0)
    there = np.where(panel.asked, 1.0, np.nan)
    step = panel.hours[1] - panel.hours[0]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], panel.asked, [False]]).astype(int)))
    for i, (first, last) in enumerate(edges.reshape(-1, 2)):
        axes.axvspan(
            panel.hours[0] + (first - 0.5) * step, panel.hours[0] + (last - 0.5) * step,
            color=PALE, linewidth=0, zorder=0, label="hidden" if i == 0 else None,
        )  # fmt: skip
    axes.fill_between(
        panel.hours, low * there, high * there, color=BLUE, alpha=0.25, linewidth=0, label="90 % interval"
    )
    axes.plot(panel.hours, mean * there, color=BLUE, linewidth=1.6, label="mean of members")
    axes.plot(panel.hours, panel.truth, color=BLACK, linewidth=0.9, label="measured")
    axes.set_title(panel.title, loc="left", fontsize=TEXT)
    axes.set_xlim(panel.hours[0], panel.hours[-1])
    axes.set_ylim(0, 1.08 * top)
    axes.yaxis.set_major_formatter(FuncFormatter(short_number))
    tidy(axes, grid="both")


__all__ = ["Panel", "windows_figure"]
