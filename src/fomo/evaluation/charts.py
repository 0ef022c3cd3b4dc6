"""Figures of tables: scores with their intervals, calibration, and lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from fomo.evaluation.figure_style import (
    BLUE,
    GREY,
    HALF,
    PALE,
    PALETTE,
    SMALL,
    TEXT,
    WIDE,
    new_figure,
    share_axes,
    short_number,
    tidy,
)
from fomo.evaluation.rows import Row

SCORE_NAMES = {"rmse": "RMSE", "mae": "MAE", "crps": "CRPS"}


def table_figure(rows: Sequence[Row], score: str = "rmse", *, highlight: str = "", title: str = "") -> Figure:
    """'rmse', 'mae' or 'crps' as dots with 95 % intervals: a panel per city (across) and task (down).

    Forecasters keep one order and every panel starts at 0. Those whose name starts with `highlight` are blue.
    A forecaster that is not defined for a panel says so.
    """
    cities, tasks = (list(dict.fromkeys(getattr(row, name) for row in rows)) for name in ("city", "task"))
    names = list(dict.fromkeys(row.forecaster for row in rows))
    height = 0.9 + len(tasks) * (0.62 + 0.27 * len(names))
    figure = new_figure(WIDE if len(cities) > 1 else 0.7 * WIDE, height)
    figure.set_layout_engine("constrained", hspace=0.08)
    panels = figure.subplots(len(tasks), len(cities), sharey=True, squeeze=False)
    for line, task in zip(panels, tasks, strict=True):
        for axes, city in zip(line, cities, strict=True):
            found = {row.forecaster: row for row in rows if (row.city, row.task) == (city, task)}
            _dots(axes, names, found, score, highlight)
            axes.set_title(f"{city}, {task}", loc="left", fontsize=TEXT, color="#333333")
    figure.supxlabel(
        f"{SCORE_NAMES[score]} of traffic scaled to [0, 1]; bars: 95 %, {_resampling(rows)} resampled",
        fontsize=TEXT,
    )
    if title:
        figure.suptitle(title, x=0.012, ha="left", fontsize=TEXT + 2, fontweight="bold")
    return figure


def calibration_figure(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], *, title: str = "") -> Figure:
    """Observed coverage of central intervals against their level: name -> (levels, coverage).

    `rows.calibration` gives the pairs. The grey band is 5 points to either side of what is wanted.
    """
    figure = new_figure(HALF, HALF)
    axes = figure.subplots()
    wanted = np.array([0.0, 1.0])
    axes.fill_between(wanted, wanted - 0.05, wanted + 0.05, color=PALE, linewidth=0, label="within 5 points")
    axes.plot(wanted, wanted, color=GREY, linewidth=1)
    for i, (name, (levels, observed)) in enumerate(curves.items()):
        marker = "osD^vPX"[i % 7]
        axes.plot(levels, observed, color=PALETTE[i % len(PALETTE)], marker=marker, markersize=5, label=name)
    share_axes(axes)
    axes.set_xlabel("level of the central interval", fontsize=TEXT)
    axes.set_ylabel("truth inside it", fontsize=TEXT)
    tidy(axes, grid="both")
    axes.legend(loc="upper left", fontsize=SMALL, frameon=False)
    if title:
        axes.set_title(title, loc="left", fontsize=TEXT + 1, fontweight="bold")
    return figure


def lines_figure(
    series: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    across: str,
    up: str,
    title: str = "",
    logarithmic: str = "",
    bands: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> Figure:
    """Lines: name -> (x, y), the axis labels `across` and `up` (say the unit), and name -> (low, high) bands.

    `logarithmic` is '', 'x', 'y' or 'xy'. A logarithmic x axis of few points is marked at those points.
    """
    figure = new_figure(0.7 * WIDE, 4.0)
    axes = figure.subplots()
    for i, (name, (x, y)) in enumerate(series.items()):
        colour = PALETTE[i % len(PALETTE)]
        axes.plot(x, y, color=colour, linewidth=1.8, marker="o" if len(x) < 12 else "", markersize=4, label=name)
        if bands is not None and name in bands:
            axes.fill_between(x, *bands[name], color=colour, alpha=0.18, linewidth=0)
    if "x" in logarithmic:
        axes.set_xscale("log")
        marks = np.unique(np.concatenate([x for x, _ in series.values()]))
        if len(marks) < 12:
            axes.set_xticks(marks, [short_number(float(mark)) for mark in marks])
            axes.xaxis.set_minor_locator(NullLocator())
    if "y" in logarithmic:
        axes.set_yscale("log")
    else:
        axes.yaxis.set_major_formatter(FuncFormatter(short_number))
    axes.set_xlabel(across, fontsize=TEXT)
    axes.set_ylabel(up, fontsize=TEXT)
    tidy(axes, grid="both")
    axes.legend(fontsize=SMALL, frameon=False, loc="best")
    if title:
        axes.set_title(title, loc="left", fontsize=TEXT + 1, fontweight="bold")
    return figure


def _dots(axes: Axes, names: Sequence[str], found: Mapping[str, Row], score: str, highlight: str) -> None:
    values = {name: getattr(row, score) for name, row in found.items()}
    defined = [value for value in values.values() if value is not None]
    highs = [getattr(row, f"{score}_high") or getattr(row, score) or 0.0 for row in found.values()]
    room = 1.32 * max([*defined, *highs, 1e-9])
    for place, name in enumerate(names):
        if name not in found:
            continue
        value, low, high = (getattr(found[name], f"{score}{end}") for end in ("", "_low", "_high"))
        ours = bool(highlight) and name.startswith(highlight)
        colour = BLUE if ours else GREY
        if value is None:
            axes.text(
                0.02 * room,
                place,
                "not defined",
                fontsize=SMALL,
                color="#999999",
                va="center_baseline",
                style="italic",
            )
            continue
        if low is not None and high is not None:
            axes.hlines(place, low, high, color=colour, linewidth=2.2, alpha=0.45)
        axes.plot(value, place, "o", color=colour, markersize=6)
        weight = "bold" if value == min(defined) else "normal"
        edge = max(value, high or 0.0) + 0.03 * room
        axes.text(edge, place, f"{value:.4f}", fontsize=SMALL, color=colour, va="center_baseline", fontweight=weight)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, room)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    tidy(axes, grid="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _resampling(rows: Sequence[Row]) -> str:
    return " or ".join(sorted({row.resampled for row in rows}, reverse=True))


def small_lines_figure(
    panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]], *, across: str, up: str
) -> Figure:
    """A panel per title, each name -> (x, y); every panel starts at 0, and one legend serves all."""
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(WIDE, 0.6 + 2.2 * rows)
    figure.set_layout_engine("constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, (title, series) in zip(grid.T.flat, panels.items(), strict=False):
        for i, (name, (x, y)) in enumerate(series.items()):
            axes.plot(x, y, color=PALETTE[i % len(PALETTE)], marker="os^D"[i % 4], markersize=4, label=name)
        axes.set_ylim(0, 1.08 * max(float(y.max()) for _, y in series.values()))
        axes.set_title(title, loc="left", fontsize=TEXT)
        axes.yaxis.set_major_formatter(FuncFormatter(short_number))
        tidy(axes, grid="both")
    for axes in grid.T.flat[len(panels) :]:
        axes.set_visible(False)
    figure.supxlabel(across, fontsize=TEXT)
    figure.supylabel(up, fontsize=TEXT)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), fontsize=SMALL, frameon=False)
    return figure


__all__ = ["calibration_figure", "lines_figure", "small_lines_figure", "table_figure"]
