"""The plan of new stations: where each scheme puts them, and whom they cover by hour of day (Figure 11 c)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int, Real
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from fomo.evaluation.figure_style import BLUE, SMALL, TEXT, WIDE, new_figure, short_number, tidy
from fomo.evaluation.health_figures.parts import DARK, EDGE, FRAME, UNCOVERED, plain_bar
from fomo.evaluation.plain_text import plain_text
from fomo.evaluation.planning_figures.strategies import NAMES, look_of, plain_legend

#: Maps side by side at most, and orders of magnitude of traffic that the greys span at most, as a ratio.
ACROSS, SPAN = 3, 1e3
#: Diameter of the largest circle, in cells, and at most in points: cells of a small district are larger than that.
LARGEST, LARGEST_POINTS = 1.25, 24.0
STATION = "#D55E00"


def deployment_figure(
    *,
    stations: Mapping[str, Int[np.ndarray, "y x"]],
    traffic: Float[np.ndarray, "y x"],
    traffic_name: str,
    unit: str,
    cell_km: float = 0.0,
) -> Figure:
    """A map per scheme: circles as large as the number of stations of a cell, over the traffic in grey.

    `stations` counts them by scheme, row 0 in the south; `traffic` (generated or true, `traffic_name` says which) is in
    `unit`, NaN where the district has no cell (hatched); `cell_km` is the edge of a cell in kilometres, 0: not known.
    Greys are logarithmic. Raises `ValueError` without a scheme.
    """
    if not stations:
        raise ValueError("a figure of stations needs one scheme or more")
    columns = min(ACROSS, max(len(stations), 2))
    rows = -(-len(stations) // columns)
    width = WIDE / columns
    height, across = traffic.shape
    figure = new_figure(WIDE, 1.25 + rows * (min(0.85 * width * height / across, 4.5) + 0.4))
    figure.set_layout_engine("constrained", h_pad=0.09)
    grid = figure.subplots(rows, columns, squeeze=False)
    most = max(int(counts.max()) for counts in stations.values())
    edge = cell_km or 1.0
    shown = []
    for axes, (name, counts) in zip(grid.flat, stations.items(), strict=False):
        image = _background(axes, traffic, edge)
        shown.append(axes)
        rows_columns = np.argwhere(counts > 0)
        points = 72 * 0.82 * width / across * LARGEST * min(1.0, (max(most, 1) / 4) ** 0.5)  # of the largest circle
        points = min(points, LARGEST_POINTS)
        sizes = points**2 * counts[tuple(rows_columns.T)] / max(most, 1)
        north, east = (rows_columns.T + 0.5) * edge
        axes.scatter(east, north, s=sizes, color=STATION, alpha=0.8, edgecolor="white", linewidth=0.6)
        title = f"{plain_text(NAMES.get(name) or name, 28)}: {int(counts.sum())} stations"
        axes.set_title(title, loc="left", fontsize=TEXT, color=DARK, parse_math=False)
    for axes in grid.flat[len(stations) :]:
        axes.set_visible(False)
    for place, axes in enumerate(shown):
        if place + columns >= len(shown):  # nothing below it
            axes.set_xlabel("km east" if cell_km else "cells", fontsize=SMALL)
        if place % columns == 0:
            axes.set_ylabel("km north" if cell_km else "cells", fontsize=SMALL)
    ticks = LogLocator(subs=(1, 2, 5))  # a short scale may hold no power of ten
    bar = figure.colorbar(image, ax=list(grid.flat), orientation="horizontal", aspect=60, fraction=0.05, ticks=ticks)
    bar.ax.xaxis.set_major_formatter(FuncFormatter(short_number))
    bar.ax.xaxis.set_minor_formatter(NullFormatter())
    plain_bar(bar, f"{plain_text(traffic_name, 40)}, {plain_text(unit, 40) or 'unit not stated'}")
    figure.legend(handles=_sizes(most, points), loc="outside upper left", ncols=4, fontsize=SMALL, frameon=False)
    return figure


def coverage_figure(
    *,
    hours: Real[np.ndarray, " hour"],
    coverage: Mapping[str, Float[np.ndarray, " hour"]],
    bands: Mapping[str, Sequence[Float[np.ndarray, " hour"]]] | None = None,
    names: Mapping[str, str] | None = None,
    ours: str = "fomo",
) -> Figure:
    """The share of people who are served, by hour of day and scheme; its mean over the hours stands in the legend.

    `hours`: starts, 0 to 24. `coverage`: shares, 0 to 1, by scheme; `bands`: their (low, high). `names`: how schemes
    are called; `ours` is drawn blue and bold. The axis does not start at 0. Raises `ValueError` without a scheme.
    """
    if not coverage:
        raise ValueError("a figure of coverage needs one scheme or more")
    figure = new_figure(0.85 * WIDE, 3.9)
    axes = figure.subplots()
    called = {name: shown for name, shown in NAMES.items() if shown} | dict(names or {})
    for place, (name, shares) in enumerate(coverage.items()):
        colour, dashes = (BLUE, "-") if name == ours else look_of(name, place)
        label = f"{plain_text(called.get(name, name), 30)}, mean {shares.mean():.1%}".replace("%", " %")
        width, above = (2.4, 2.5) if name == ours else (1.6, 2)
        axes.plot(hours, 100 * shares, color=colour, linestyle=dashes, linewidth=width, zorder=above,
                  marker="osD^vPX"[place % 7], markersize=4, label=label)  # fmt: skip
        if bands is not None and name in bands:
            low, high = bands[name]
            axes.fill_between(hours, 100 * low, 100 * high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xticks(range(0, 25, 3), [f"{hour:02d}:00" for hour in range(0, 25, 3)])
    axes.set_xlim(0, 24)
    axes.set_xlabel("hour of day", fontsize=SMALL)
    axes.set_ylabel("people who are served", fontsize=SMALL)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(PercentFormatter(100, symbol=" %"))
    axes.set_ylim(top=min(axes.get_ylim()[1], 100.5))
    tidy(axes)
    plain_legend(figure.legend(loc="outside upper left", ncols=3, fontsize=SMALL, frameon=False))
    return figure


def _background(axes: Axes, traffic: Float[np.ndarray, "y x"], edge: float) -> AxesImage:
    finite = traffic[np.isfinite(traffic)]
    largest = float(finite.max(initial=0)) or 1.0
    smallest = max(float(finite[finite > 0].min(initial=largest)), largest / SPAN)
    norm = LogNorm(min(smallest, 0.5 * largest), largest * 2)  # twice: circles stay readable on the busiest
    height, width = traffic.shape
    axes.set_facecolor(UNCOVERED)
    axes.patch.set(hatch="////", edgecolor=EDGE, linewidth=0)
    field = np.where(np.isfinite(traffic), np.maximum(traffic, float(norm.vmin or 0)), np.nan)
    image = axes.imshow(field, origin="lower", extent=(0, width * edge, 0, height * edge), cmap="Greys", norm=norm,
                        interpolation="nearest")  # fmt: skip
    axes.tick_params(labelsize=SMALL, color=FRAME, labelcolor=DARK)
    for spine in axes.spines.values():
        spine.set_color(FRAME)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True))
    return image


def _sizes(most: int, points: float) -> list[Line2D]:
    """A circle for one station, for the most, and for the middle."""
    counts = sorted({1, max(1, round(most / 2)), max(1, most)})
    return [
        Line2D([], [], linestyle="", marker="o", color=STATION, alpha=0.8, markeredgecolor="white",
               markersize=points * float(np.sqrt(count / max(most, 1))),
               label=f"{count} station{'s' if count > 1 else ''} in a cell")
        for count in counts
    ]  # fmt: skip


__all__ = ["coverage_figure", "deployment_figure"]
