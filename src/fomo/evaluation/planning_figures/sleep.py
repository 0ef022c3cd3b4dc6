"""The plan of sleeping radio units: what a cell may carry against what comes, and all cells at a glance."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Real, Shaped
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap
from matplotlib.dates import date2num
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from fomo.evaluation.figure_style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SMALL,
    TEXT,
    WIDE,
    amount_axis,
    new_figure,
    tidy,
)
from fomo.evaluation.figure_style import time_axis as axis_of_hours
from fomo.evaluation.figures import FAN
from fomo.evaluation.health_figures.parts import DARK, name_amounts, name_panel, plain_bar
from fomo.evaluation.metrics import enough_members
from fomo.evaluation.plain_text import plain_text
from fomo.forecast import quantiles_of

#: Lines of a raster; of more cells, every so many are shown.
MOST_LINES = 300
FEW, MANY = LinearSegmentedColormap.from_list("off to on", ("#F2F2F2", "#56B4E9", "#002B4D")), ORANGE


def sleep_figure(
    *,
    time: Shaped[np.ndarray, " time"],
    members: Float[np.ndarray, "sample time cell"],
    truth: Float[np.ndarray, "time cell"] | None,
    active: Int[np.ndarray, "time cell"],
    oracle_active: Int[np.ndarray, "time cell"] | None,
    capacity: float | Float[np.ndarray, " cell"],
    unit: str,
    cell: int | None = None,
    name: str = "",
    places: Int[np.ndarray, "cell 2"] | None = None,
    dated: bool = True,
) -> Figure:
    """Above: one cell's forecast, what came, and what its active radio units carry. Below: all cells, busiest first.

    `time` starts the periods, datetime64; `members` (the forecast), `truth` (None: not known yet) and `capacity` (of
    one radio unit, per period) are in `unit`; `active` and `oracle_active` (None: not known) count radio units. `cell`
    is the column that is drawn, by default the one with the largest mean forecast, `name` what it is called, by default
    by its row and column in `places`. `dated`: False where only weekday and hour of `time` are real. Raises
    `ValueError` for fewer than two periods.
    """
    if len(time) < 2:
        raise ValueError("a figure over time needs two periods or more")
    order = np.argsort(-members.mean((0, 1)), kind="stable")
    place = int(order[0]) if cell is None else cell
    each = np.broadcast_to(np.asarray(capacity, float), active.shape[1:])
    figure = new_figure(WIDE, 6.8)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 1.05))[:, 0]
    axes = upper.subplots()
    _cell(axes, time, members[..., place], None if truth is None else truth[:, place], unit)
    edges = np.append(time, time[-1] + (time[-1] - time[-2]))
    planned = active[:, place] * each[place]
    axes.plot(edges, np.append(planned, planned[-1]), color=GREEN, linewidth=2.2, drawstyle="steps-post",
              label="capacity that is on, planned")  # fmt: skip
    if oracle_active is not None:
        best = oracle_active[:, place] * each[place]
        axes.plot(edges, np.append(best, best[-1]), color=GREY, linewidth=1.3, linestyle=(0, (3, 1.5)),
                  drawstyle="steps-post", label="capacity, planned on what happened")  # fmt: skip
    if truth is not None:
        _not_carried(axes, edges, truth[:, place], planned)
    where = f"Cell {place}" if places is None else f"Row {places[place, 0]}, column {places[place, 1]}"
    which = plain_text(name, 40) or f"{where}{', the busiest' if place == order[0] else ''}"
    title = f"{which}: load, and what its active radio units can carry"
    axes.set_title(title, loc="left", fontsize=TEXT, color=DARK, parse_math=False)
    _over_time(axes, edges, dated)
    tidy(axes)
    amount_axis(axes)
    upper.legend(loc="outside upper left", ncols=4, fontsize=SMALL, frameon=False)
    _rasters(lower, edges, active[:, order], None if oracle_active is None else oracle_active[:, order], dated)
    return figure


def _cell(
    axes: Axes,
    time: Shaped[np.ndarray, " time"],
    members: Float[np.ndarray, "sample time"],
    truth: Float[np.ndarray, " time"] | None,
    unit: str,
) -> None:
    """The fan and the truth as steps: a load is a volume of a whole period."""
    edges = np.append(time, time[-1] + (time[-1] - time[-2]))
    for level, opacity in FAN:
        if enough_members(level, len(members)):
            ends = quantiles_of(members, [(1 - level) / 2, (1 + level) / 2])
            low, high = np.append(ends, ends[:, -1:], 1)
            axes.fill_between(edges, low, high, step="post", color=BLUE, alpha=opacity, linewidth=0,
                              label=f"forecast, {level:.0%} interval".replace("%", " %"))  # fmt: skip
    mean = members.mean(0)
    axes.plot(edges, np.append(mean, mean[-1]), color=BLUE, linewidth=1.4, drawstyle="steps-post", label="its mean")
    if truth is not None:
        axes.plot(edges, np.append(truth, truth[-1]), color=BLACK, linewidth=1.3, drawstyle="steps-post",
                  label="what came")  # fmt: skip
    name_amounts(axes, unit or "unit not stated")


def _not_carried(
    axes: Axes,
    edges: Shaped[np.ndarray, " edge"],
    truth: Float[np.ndarray, " time"],
    planned: Float[np.ndarray, " time"],
) -> None:
    """Shade max(L - x c0, 0). Both ends of every period, so that a single period is seen too."""
    both, came, line = np.repeat(edges, 2)[1:-1], np.repeat(truth, 2), np.repeat(planned, 2)
    if (came > line).any():
        axes.fill_between(both, line, came, where=came > line, color=ORANGE, alpha=0.8, linewidth=0, zorder=2.5,
                          label="not carried")  # fmt: skip


def _rasters(
    block: SubFigure,
    edges: Shaped[np.ndarray, " edge"],
    active: Int[np.ndarray, "time cell"],
    oracle: Int[np.ndarray, "time cell"] | None,
    dated: bool,
) -> None:
    """Active radio units of all cells, and how many more or fewer than on what happened."""
    count = active.shape[1]
    shown = np.unique(np.linspace(0, count - 1, min(count, MOST_LINES)).round().astype(int))
    some = "" if len(shown) == count else f"; {len(shown)} of {count:,} cells"
    columns = block.subplots(1, 1 if oracle is None else 2, sharey=True, squeeze=False)[0]
    most = max(int(active.max()), 1 if oracle is None else int(oracle.max()), 1)
    image = _raster(columns[0], edges, active[:, shown], _counts(0, most), FEW)
    name_panel(columns[0], f"Active radio units, planned{some}")
    _bar(block, image, columns[0], "radio units")
    if oracle is not None:
        surplus = active[:, shown] - oracle[:, shown]
        far = max(int(np.abs(active - oracle).max()), 1)
        colours = LinearSegmentedColormap.from_list("few to many", (MANY, "#F7F7F7", BLUE))
        image = _raster(columns[1], edges, surplus, _counts(-far, far), colours)
        name_panel(columns[1], "Planned minus planned on what happened")
        _bar(block, image, columns[1], "radio units: orange too few, blue more than needed")
    columns[0].set_ylabel("cells, busiest first", fontsize=SMALL)
    for axes in columns:
        _over_time(axes, edges, dated, every=len(columns))


def _raster(
    axes: Axes,
    edges: Shaped[np.ndarray, " edge"],
    values: Real[np.ndarray, "time cell"],
    norm: BoundaryNorm,
    colours: LinearSegmentedColormap,
) -> AxesImage:
    first, last = (float(date2num(edge)) for edge in edges[[0, -1]])
    image = axes.imshow(
        values.T, aspect="auto", extent=(first, last, values.shape[1], 0), cmap=colours.resampled(norm.N - 1),
        norm=norm, interpolation="nearest",
    )  # fmt: skip
    tidy(axes)
    axes.grid(visible=False)
    axes.set_yticks([])
    return image


def _counts(least: int, most: int) -> BoundaryNorm:
    """A colour per whole number."""
    return BoundaryNorm(np.arange(least, most + 2) - 0.5, most - least + 1)


def _bar(block: SubFigure, image: AxesImage, axes: Axes, label: str) -> None:
    bar = block.colorbar(image, ax=axes, orientation="horizontal", aspect=40, ticks=MaxNLocator(8, integer=True))
    plain_bar(bar, label)
    bar.ax.minorticks_off()


def _over_time(axes: Axes, edges: Shaped[np.ndarray, " edge"], dated: bool, every: int = 1) -> None:
    axis_of_hours(axes, edges, dated)
    axes.set_xticks(axes.get_xticks()[::every])
    axes.set_xlim(edges[0], edges[-1])


__all__ = ["sleep_figure"]
