"""The plan of resource blocks: what waits and for how long by strategy, and who gets how many blocks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Real, Shaped
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure, SubFigure

from fomo.evaluation.figure_style import BLACK, PALETTE, SMALL, TEXT, WIDE, amount_axis, new_figure, tidy, time_axis
from fomo.evaluation.health_figures.parts import DARK, name_amounts, name_panel, plain_bar
from fomo.evaluation.plain_text import plain_text
from fomo.evaluation.planning_figures.strategies import NAMES, look_of, plain_legend

#: Cells that are stacked at most (a colour each); more are a raster.
MOST_STACKED = len(PALETTE)
#: Below these hours the axis names minutes.
SHORT = 3


def scheduling_figure(
    *,
    time: Shaped[np.ndarray, " slot"],
    backlog: Mapping[str, Float[np.ndarray, " slot"]],
    delay: Mapping[str, Float[np.ndarray, " slot"]],
    blocks: Real[np.ndarray, "slot cell"],
    budget: float | Real[np.ndarray, " slot"],
    backlog_unit: str = "bits",
    delay_unit: str = "slots",
    names: Mapping[str, str] | None = None,
    cell_names: list[str] | None = None,
    planned_by: str = "FoMo",
    dated: bool = True,
) -> Figure:
    """Above: total backlog and mean delay over slots by strategy. Below: resource blocks by cell and the budget.

    Everything is of the same cells, those of `blocks`; titles say how many. `time`: starts of slots, datetime64, or
    their numbers. `backlog` (summed over cells, in `backlog_unit`) and `delay` (mean over cells, in `delay_unit`) by
    strategy (`rows.Strategy` or any name); `names` says how strategies are
    called, e.g. {"rival": "Lag-Llama"}. `blocks` are those of the plan of `planned_by`, `budget` those that there are,
    in resource blocks. Infinite delays are left out and counted. Up to seven cells are stacked, more are a raster,
    those with the most blocks first. Raises `ValueError` for fewer than two slots or no strategy.
    """
    if len(time) < 2 or not backlog or not delay:
        raise ValueError("a figure over slots needs two slots and one strategy or more")
    called = {name: shown for name, shown in NAMES.items() if shown} | dict(names or {})
    edges = np.append(time, time[-1] + (time[-1] - time[-2]))
    figure = new_figure(WIDE, 6.8)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 1.1))[:, 0]
    left, right = upper.subplots(1, 2)
    _lines(left, edges, backlog, called)
    cells = f"{blocks.shape[1]:,} cell{'' if blocks.shape[1] == 1 else 's'}"
    name_panel(left, f"Data that wait, sum of {cells}")
    name_amounts(left, backlog_unit)
    _lines(right, edges, delay, called)
    endless = sum(int(np.isinf(values).sum()) for values in delay.values())
    name_panel(right, f"Delay, mean of {cells}" + (f" ({endless} infinite, not drawn)" if endless else ""))
    name_amounts(right, delay_unit)
    for axes in (left, right):
        _over_slots(axes, edges, dated, every=2)
    handles, labels = left.get_legend_handles_labels()
    plain_legend(upper.legend(handles, labels, loc="outside upper left", ncols=6, fontsize=SMALL, frameon=False))
    limit = np.broadcast_to(np.asarray(budget, float), time.shape)
    title = f"Resource blocks of each cell, planned by {plain_text(planned_by, 30)}"
    if blocks.shape[1] <= MOST_STACKED:
        _stack(lower, edges, blocks, limit, cell_names, title, dated)
    else:
        _raster(lower, edges, blocks, limit, title, dated)
    return figure


def _lines(
    axes: Axes,
    edges: Shaped[np.ndarray, " edge"],
    series: Mapping[str, Float[np.ndarray, " slot"]],
    called: Mapping[str, str],
) -> None:
    for place, (name, values) in enumerate(series.items()):
        colour, dashes = look_of(name, place)
        finite = np.where(np.isfinite(values), values, np.nan)
        axes.plot(
            edges[:-1], finite, color=colour, linestyle=dashes, linewidth=2.2 if name == "fomo" else 1.5,
            zorder=2.5 if name == "fomo" else 2, label=plain_text(called.get(name, name), 30),
        )  # fmt: skip
    tidy(axes)
    amount_axis(axes)


def _stack(
    block: SubFigure,
    edges: Shaped[np.ndarray, " edge"],
    blocks: Real[np.ndarray, "slot cell"],
    limit: Float[np.ndarray, " slot"],
    cell_names: list[str] | None,
    title: str,
    dated: bool,
) -> None:
    axes = block.subplots()
    names = [plain_text(name, 20) for name in cell_names or [f"cell {cell}" for cell in range(blocks.shape[1])]]
    colours = [PALETTE[place % len(PALETTE)] for place in range(len(names))]
    axes.stackplot(edges, _held(blocks).T, step="post", labels=names, colors=colours, linewidth=0.6, edgecolor="white")
    axes.plot(edges, _held(limit), color=BLACK, linewidth=1.6, drawstyle="steps-post", label="budget")
    axes.set_title(title, loc="left", fontsize=TEXT, color=DARK, parse_math=False)
    axes.set_ylabel("resource blocks", fontsize=SMALL)
    tidy(axes)
    amount_axis(axes)
    axes.set_ylim(0, 1.08 * max(float(limit.max()), float(blocks.sum(1).max())))
    _over_slots(axes, edges, dated)
    handles, labels = axes.get_legend_handles_labels()
    order = slice(None, None, -1)  # as they lie on each other
    plain_legend(block.legend(handles[order], labels[order], loc="outside right upper", fontsize=SMALL, frameon=False))


def _raster(
    block: SubFigure,
    edges: Shaped[np.ndarray, " edge"],
    blocks: Real[np.ndarray, "slot cell"],
    limit: Float[np.ndarray, " slot"],
    title: str,
    dated: bool,
) -> None:
    """All that are given out under the budget, and below it who has them."""
    upper, lower = block.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    upper.plot(edges, _held(blocks.sum(1)), color=PALETTE[0], linewidth=1.6, drawstyle="steps-post", label="given out")
    upper.plot(edges, _held(limit), color=BLACK, linewidth=1.6, drawstyle="steps-post", label="budget")
    upper.set_ylabel("blocks, sum", fontsize=SMALL)
    upper.set_title(title, loc="left", fontsize=TEXT, color=DARK, parse_math=False)
    tidy(upper)
    amount_axis(upper, ticks=2)
    upper.set_ylim(0, 1.15 * max(float(limit.max()), float(blocks.sum(1).max())))
    upper.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, fontsize=SMALL, frameon=False)
    order = np.argsort(-blocks.mean(0), kind="stable")
    first, last = (float(date2num(edge) if edges.dtype.kind == "M" else edge) for edge in edges[[0, -1]])
    image = lower.imshow(
        blocks[:, order].T, aspect="auto", extent=(first, last, len(order), 0), cmap="viridis", vmin=0,
        interpolation="nearest",
    )  # fmt: skip
    lower.set_ylabel(f"{len(order)} cells,\nmost blocks first", fontsize=SMALL)
    lower.set_yticks([])
    tidy(lower)
    lower.grid(visible=False)
    plain_bar(block.colorbar(image, ax=lower, aspect=14), "resource blocks")
    _over_slots(lower, edges, dated)


def _held(values: Real[np.ndarray, "slot *rest"]) -> Real[np.ndarray, "edge *rest"]:
    """The last slot lasts until its end."""
    return np.append(values, values[-1:], 0)


def _over_slots(axes: Axes, edges: Shaped[np.ndarray, " edge"], dated: bool, every: int = 1) -> None:
    if edges.dtype.kind != "M":
        axes.set_xlabel("slot", fontsize=SMALL)
    elif edges[-1] - edges[0] < np.timedelta64(SHORT, "h"):
        locator = AutoDateLocator(maxticks=8 // every)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=dated))
    else:
        time_axis(axes, edges, dated)
        axes.set_xticks(axes.get_xticks()[::every])
    axes.set_xlim(edges[0], edges[-1])


__all__ = ["scheduling_figure"]
