"""Figures of the scoreboard: who is good at what (Figure 7 of the paper), and what accuracy costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes
from matplotlib.ticker import FuncFormatter

from fomo.evaluation.figure_style import BLUE, GREY, PALETTE, SMALL, TEXT, WIDE, new_figure, short_number, tidy
from fomo.evaluation.scoreboard import Line

#: The forecasters of the paper's Figure 7.
OF_THE_RADAR = ("FoMo", "UniST", "Lag-Llama", "KG-Diff")
#: Its spokes: task, metric and how they are called.
SPOKES = (
    ("short", "rmse", "short\nRMSE"), ("short", "mae", "short\nMAE"), ("short", "crps", "short\nCRPS"),
    ("long", "rmse", "long\nRMSE"), ("long", "mae", "long\nMAE"), ("long", "crps", "long\nCRPS"),
    ("generate", "jsd", "generated\nJSD"), ("generate", "mae", "generated\nMAE"),
)  # fmt: skip
#: Least distance between names beside a figure, as a share of its height.
GAP = 0.058


def radar_figure(found: Sequence[Line], protocol: str, context: str = "full") -> Figure:
    """Figure 7: the best error of each spoke over a forecaster's own, a panel per city; the rim is best.

    A forecaster that cannot do a task is at the centre there; one that was not scored is not there.

    Raises `ValueError` where the protocol has no numbers.
    """
    here = [line for line in found if (line.protocol, line.context) == (protocol, context)]
    cities = list(dict.fromkeys(line.city for line in here))
    if not cities:
        raise ValueError(f"there are no scores of {protocol!r} with context {context!r}")
    figure = new_figure(WIDE, 1.1 * WIDE / max(len(cities), 2))
    panels = figure.subplots(1, len(cities), subplot_kw={"projection": "polar"}, squeeze=False)[0]
    angles = np.linspace(0, 2 * np.pi, len(SPOKES), endpoint=False)
    for axes, city in zip(panels, cities, strict=True):
        assert isinstance(axes, PolarAxes)
        values = {
            (line.forecaster, line.task, line.metric): line.value
            for line in here
            if line.city == city and line.value is not None and line.comparable
        }
        for index, name in enumerate(OF_THE_RADAR):
            if not any(key[0] == name for key in values):
                continue  # not scored
            radius = []
            for task, metric, _ in SPOKES:
                all_of_it = [value for key, value in values.items() if key[1:] == (task, metric)]
                own = values.get((name, task, metric))
                radius.append(min(all_of_it) / own if own else 0.0)
            closed = [*radius, radius[0]]
            axes.plot(
                [*angles, angles[0]], closed, color=PALETTE[index], marker="osD^"[index], markersize=4, label=name
            )
            axes.fill([*angles, angles[0]], closed, color=PALETTE[index], alpha=0.08)
        axes.set_xticks(angles, [label for _, _, label in SPOKES], fontsize=SMALL)
        axes.tick_params(axis="x", pad=9)
        axes.set_ylim(0, 1)
        axes.set_yticks([0.25, 0.5, 0.75, 1.0], ["", "half", "", ""], fontsize=SMALL, color=GREY)
        axes.set_title(city, fontsize=TEXT, fontweight="bold", pad=18)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower left", ncols=4, fontsize=SMALL, frameon=False
    )
    figure.suptitle(
        f"Best error of all forecasters over own error: the rim is best ({protocol}, context {context})",
        fontsize=TEXT, x=0.01, ha="left",
    )  # fmt: skip
    return figure


def cost_figure(found: Sequence[Line], protocol: str, context: str = "none", task: str = "short") -> Figure:
    """Seconds per asked window against RMSE over FoMo's, mean over the cities of a protocol.

    Of forecasters that answer all windows. Raises `ValueError`.
    """
    here = [
        line
        for line in found
        if (line.protocol, line.context, line.task, line.metric) == (protocol, context, task, "rmse")
        and line.value is not None
        and line.comparable
    ]
    own = {line.city: line.value for line in here if line.kind == "fomo"}
    if not own:
        raise ValueError(f"there are no scores of FoMo for {protocol!r}, {task}, {context}")
    figure = new_figure(0.9 * WIDE, 0.55 * WIDE)
    axes = figure.subplots()
    points: list[tuple[str, float, float]] = []
    for name in dict.fromkeys(line.forecaster for line in here):
        lines = [line for line in here if line.forecaster == name and line.city in own]
        if len(lines) < len(own):
            continue
        ratio = float(np.mean([(line.value or 0.0) / (own[line.city] or 1.0) for line in lines]))
        seconds = float(np.mean([(line.infer_seconds or 0.0) / line.windows for line in lines]))
        blue = lines[0].kind == "fomo"
        axes.plot(1000 * seconds, ratio, "o", color=BLUE if blue else GREY, markersize=7 if blue else 5)
        points.append((name, 1000 * seconds, ratio))
    axes.axhline(1.0, color=BLUE, linewidth=0.8, linestyle="--")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_yticks([1, 1.5, 2, 3, 5], ["1", "1.5", "2", "3", "5"])
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(FuncFormatter(short_number))
    axes.set_xlabel("milliseconds per asked window and all its members, one thread", fontsize=TEXT)
    axes.set_ylabel(f"RMSE over FoMo's ({task}, {context})", fontsize=TEXT)
    tidy(axes, grid="both")
    _names_beside(axes, points)
    return figure


def _names_beside(axes: Axes, points: Sequence[tuple[str, float, float]]) -> None:
    """Names in a column on the right, in the order of the points' heights, each with a line to its point."""
    points = sorted(points, key=lambda point: point[2])
    low, high = np.log(axes.get_ylim())
    heights = np.array([(np.log(ratio) - low) / (high - low) for _, _, ratio in points])
    places = np.maximum.accumulate(heights - GAP * np.arange(len(points))) + GAP * np.arange(len(points))
    places -= max(0.0, places[-1] - 1.0)
    places = np.minimum.accumulate((places - GAP * np.arange(len(points)))[::-1])[::-1] + GAP * np.arange(len(points))
    for (name, milliseconds, ratio), place in zip(points, places, strict=True):
        axes.annotate(
            name, (milliseconds, ratio), (1.03, place), textcoords="axes fraction", fontsize=SMALL, va="center",
            arrowprops={
                "arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 4, "relpos": (0, 0.5),
            },
        )  # fmt: skip


__all__ = ["OF_THE_RADAR", "cost_figure", "radar_figure"]
