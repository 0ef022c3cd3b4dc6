"""What is recorded of a city, by day, hour and cell."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from fomo.evaluation.figure_style import BLUE, SMALL, WIDE, new_figure, tidy
from fomo.evaluation.health import Health
from fomo.evaluation.health.finite import mean
from fomo.evaluation.health_figures.parts import DARK, FRAME, name_panel, plain_bar

#: Cells whose coverage is drawn one by one; of more, the shares are drawn in order.
MOST_CELLS = 120


def coverage_figure(health: Health, dated: bool = True) -> Figure:
    """Recorded share by day and hour; beside it by day and cell, or of many cells the shares in order."""
    figure = new_figure(WIDE, 3.9)
    left, right = figure.subplots(1, 2)
    days, hours = health.records.days, len(health.records.hours)
    image = _shares(left, health.by_day_hour.T, (24, 0), days, dated)
    left.set_yticks(range(0, 25, 6), [f"{hour:02d}:00" for hour in range(0, 25, 6)])
    name_panel(left, f"By day and {'hour' if hours == 24 else f'{24 // hours} hours'}")
    left.set_ylabel("hour of day", fontsize=SMALL)
    plain_bar(figure.colorbar(image, ax=left, aspect=30), "recorded values, %")
    cells = health.by_cell_day
    kind = "cell of the operator" if health.records.operator else "covered grid cell"
    if 0 < len(cells) <= MOST_CELLS:
        _shares(right, cells, (len(cells) - 0.5, -0.5), days, dated)
        name_panel(right, f"By day and {kind}")
        right.set_ylabel(f"{kind}, by number", fontsize=SMALL)
        right.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    else:
        _in_order(right, cells)
        name_panel(right, f"Of each {kind}, the worst first")
    return figure


def _shares(
    axes: Axes,
    shares: Float[np.ndarray, "row day"],
    rows: tuple[float, float],
    days: Shaped[np.ndarray, " day"],
    dated: bool,
) -> AxesImage:
    """Shares (0 to 1) as colours; `rows` are the lower and the upper end of the y axis."""
    image = axes.imshow(100 * shares, aspect="auto", cmap="cividis", vmin=0, vmax=100, interpolation="nearest",
                        extent=(-0.5, len(days) - 0.5, *rows))  # fmt: skip
    places = np.arange(0, len(days), max(1, -(-len(days) // 6)))  # six labels at most
    moments = [day.item() for day in days[places]]
    axes.set_xticks(places, [f"{day:%a}\n{day.day} {day:%b}" if dated else f"{day:%a}" for day in moments])
    axes.tick_params(labelsize=SMALL, color=FRAME, labelcolor=DARK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def _in_order(axes: Axes, shares: Float[np.ndarray, "cell day"]) -> None:
    """The mean share of each cell, the smallest first."""
    each = mean(shares, 1)
    ordered = 100 * np.sort(each[np.isfinite(each)])
    rank = np.arange(1, len(ordered) + 1)
    axes.plot(rank, ordered, color=BLUE, linewidth=1.8)
    axes.fill_between(rank, ordered, color=BLUE, alpha=0.15, linewidth=0)
    axes.set_ylabel("recorded, % (mean of the days)", fontsize=SMALL)
    axes.set_xlabel("cells", fontsize=SMALL)
    axes.set_ylim(0, 102)
    axes.set_xlim(1, max(2, len(ordered)))
    tidy(axes, grid="both")


__all__ = ["coverage_figure"]
