"""Where a city's traffic is: the grid's mean, and the operator's cells in their places."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from fomo.city import City
from fomo.evaluation.figure_style import BLUE, GREY, ORANGE, SMALL, WIDE, amount_axis, new_figure, short_number, tidy
from fomo.evaluation.health import Health
from fomo.evaluation.health.grid import traffic_sums
from fomo.evaluation.health_figures.parts import (
    DARK,
    EDGE,
    FRAME,
    UNCOVERED,
    name_amounts,
    name_panel,
    plain_bar,
    say_nothing,
    unit_of,
)

#: Orders of magnitude that the colours span at most, as a ratio.
SPAN = 1e3


def map_figure(city: City, health: Health) -> Figure:
    """Mean traffic per period on the grid, of all periods and of the busy hour; and the operator's cells if placed.

    Colours are logarithmic and the same in all maps; cells without traffic are white, uncovered ones hatched. A 'list'
    city has no map: its cells are drawn by rank.
    """
    fields = _fields(city, health)
    placed = health.records.positions is not None and health.records.operator
    panels = len(fields) + placed
    figure = new_figure(WIDE, 4.6 if panels < 3 else 4.1)
    columns = list(figure.subplots(1, panels, squeeze=False)[0])
    if city.attrs["layout"] == "list":
        for axes, (name, field) in zip(columns, fields.items(), strict=False):
            _ranks(axes, field, name, unit_of(city))
    else:
        _maps(figure, columns[: len(fields)], city, fields)
    if placed:
        _places(columns[-1], health)
    return figure


def _fields(city: City, health: Health) -> dict[str, Float[np.ndarray, "y x"]]:
    fields = {"Mean of all periods": _means(city)}
    hour = health.busy_hour
    if hour is not None:
        end = hour + 24 // len(health.records.hours)
        clock = (city["time"].values - city["time"].values.astype("datetime64[D]")) / np.timedelta64(1, "h")
        fields[f"Busy hour, {hour:02d}:00 to {end:02d}:00"] = _means(city, (clock >= hour) & (clock < end))
    return fields


def _means(city: City, when: Bool[np.ndarray, " time"] | None = None) -> Float[np.ndarray, "y x"]:
    total, count = traffic_sums(city, when)
    return np.asarray(total / np.where(count > 0, count, np.nan))


def _maps(figure: Figure, columns: list[Axes], city: City, fields: dict[str, np.ndarray]) -> None:
    """Maps with one scale of colours, and what is white and what is hatched."""
    finite = np.concatenate([field[np.isfinite(field)] for field in fields.values()])
    largest = float(finite.max(initial=0)) or 1.0
    smallest = max(float(finite[finite > 0].min(initial=largest)), largest / SPAN)
    norm = LogNorm(min(smallest, 0.5 * largest), largest)
    images = [_map(axes, city, field, name, norm) for axes, (name, field) in zip(columns, fields.items(), strict=True)]
    bar = figure.colorbar(images[-1], ax=columns, orientation="horizontal", aspect=50)
    bar.ax.xaxis.set_major_formatter(FuncFormatter(short_number))
    bar.ax.xaxis.set_minor_formatter(NullFormatter())
    plain_bar(bar, unit_of(city))
    patches = [
        Patch(facecolor=UNCOVERED, edgecolor=EDGE, hatch="////", linewidth=0, label="not covered"),
        Patch(facecolor="white", edgecolor=EDGE, label="no traffic"),
    ]
    figure.legend(handles=patches, loc="outside upper right", ncols=2, fontsize=SMALL, frameon=False)


def _map(axes: Axes, city: City, field: Float[np.ndarray, "y x"], name: str, norm: LogNorm) -> AxesImage:
    edge = float(city.attrs["cell_km"]) or 1.0
    y, x = city["y"].values, city["x"].values
    extent = (x[0] - edge / 2, x[-1] + edge / 2, y[0] - edge / 2, y[-1] + edge / 2)
    bare = np.where(np.isfinite(field) & (field <= 0), 0.0, np.nan)
    axes.set_facecolor(UNCOVERED)
    axes.patch.set(hatch="////", edgecolor=EDGE, linewidth=0)
    axes.imshow(bare, origin="lower", extent=extent, cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
    shown = np.where(field > 0, np.maximum(field, float(norm.vmin or 0)), np.nan)
    image = axes.imshow(shown, origin="lower", extent=extent, cmap="viridis", norm=norm, interpolation="nearest")
    name_panel(axes, name)
    axes.set_xlabel("km east" if city.attrs["cell_km"] else "cells", fontsize=SMALL)
    axes.set_ylabel("km north" if city.attrs["cell_km"] else "cells", fontsize=SMALL)
    axes.tick_params(labelsize=SMALL, color=FRAME, labelcolor=DARK)
    for spine in axes.spines.values():
        spine.set_color(FRAME)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True))
    return image


def _ranks(axes: Axes, field: Float[np.ndarray, "y x"], name: str, unit: str) -> None:
    ordered = np.sort(field[np.isfinite(field)])[::-1]
    axes.plot(np.arange(1, len(ordered) + 1), ordered, color=BLUE, linewidth=1.8)
    name_panel(axes, f"{name}, of each cell")
    axes.set_xlabel("cells, busiest first", fontsize=SMALL)
    name_amounts(axes, unit)
    tidy(axes)
    amount_axis(axes)


def _places(axes: Axes, health: Health) -> None:
    """The operator's cells where they are: never recorded ones as crosses, the strangest ringed and numbered."""
    positions = np.asarray(health.records.positions)
    known = np.isfinite(positions).all(1)
    if not known.any():
        say_nothing(axes, "no cell has a position")
        axes.set_axis_off()
        return
    places = positions - positions[known].min(0)
    east, north = places.T
    recorded = np.isfinite(health.mean)
    alive, never = known & recorded, known & ~recorded
    axes.scatter(east[alive], north[alive], s=9, color=BLUE, linewidth=0, alpha=0.7, label="recorded")
    if never.any():
        axes.scatter(east[never], north[never], s=22, color=GREY, marker="x", linewidth=1, label="never recorded")
    numbered = {
        number: strange.cell for number, strange in enumerate(health.strangest, 1) if known[strange.cell]
    }  # as in the figure of the strangest cells
    ringed = list(numbered.values())
    if ringed:
        axes.scatter(
            east[ringed], north[ringed], s=60, facecolor="none", edgecolor=ORANGE, linewidth=1.4, label="strangest"
        )
    for number, cell in numbered.items():
        away = (6 if number % 2 else -12, 5 if number % 4 < 2 else -12)  # neighbours' numbers on other sides
        axes.annotate(str(number), places[cell], xytext=away, textcoords="offset points", fontsize=SMALL, color=ORANGE)
    axes.set_aspect("equal", adjustable="datalim")
    name_panel(axes, f"The operator's cells, {int((~known).sum())} without a position")
    axes.set_xlabel("km east of the westernmost", fontsize=SMALL)
    axes.set_ylabel("km north of the southernmost", fontsize=SMALL)
    tidy(axes, grid="both")
    axes.legend(
        fontsize=SMALL, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3, columnspacing=0.8
    )


__all__ = ["map_figure"]
