"""Figures of a city's health: map, coverage, the total with its gaps, the day, and the strangest cells.

Names and units come from strangers: they are drawn as plain text, never read as formulas.
"""

from __future__ import annotations

import textwrap

import numpy as np
from jaxtyping import Bool, Float, Shaped
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from fomo.city import City
from fomo.evaluation.figure_style import (
    BLUE,
    GREY,
    ORANGE,
    SMALL,
    TEXT,
    WIDE,
    amount_axis,
    new_figure,
    short_number,
    tidy,
    time_axis,
)
from fomo.evaluation.health import Health, Profile
from fomo.evaluation.health.thresholds import COMPLETE

DARK, GAP, UNCOVERED = "#333333", "#F3D9C6", "#ECECEC"
#: Cells whose coverage is drawn one by one; of more, the shares are drawn in order.
MOST_CELLS = 120
#: Periods of the city that are held at once for its map.
BLOCK = 256


def health_figures(city: City, health: Health) -> dict[str, Figure]:
    """All of them by what they show, in the order of a page; without the strangest cells where none is strange."""
    figures = {
        "map": map_figure(city, health),
        "coverage": coverage_figure(health, _dated(city)),
        "total": total_figure(health, _unit(city), _dated(city)),
        "profile": profile_figure(health, _unit(city)),
    }
    if health.strangest:
        figures["strangest cells"] = strangest_figure(health, _unit(city), _dated(city))
    return figures


def map_figure(city: City, health: Health) -> Figure:
    """Mean traffic per period on the grid, of all periods and of the busy hour; and the operator's cells if placed.

    Colours are logarithmic and the same in all maps; cells without traffic are white, uncovered ones hatched. A 'list'
    city has no map: its cells are drawn by rank.
    """
    hour = health.busy_hour
    fields = {"Mean of all periods": _means(city, np.ones(city.sizes["time"], bool))}
    if hour is not None:
        span = 24 // len(health.records.hours)
        clock = (city["time"].values - city["time"].values.astype("datetime64[D]")) / np.timedelta64(1, "h")
        fields[f"Busy hour, {hour:02d}:00 to {hour + span:02d}:00"] = _means(
            city, (clock >= hour) & (clock < hour + span)
        )
    finite = np.concatenate([field[np.isfinite(field)] for field in fields.values()])
    placed = health.records.positions is not None and health.records.operator
    largest = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    smallest = max(float(finite[finite > 0].min(initial=largest)), largest / 1e3)
    norm = LogNorm(min(smallest, 0.5 * largest), largest)
    panels = len(fields) + placed
    figure = new_figure(WIDE, 4.6 if panels < 3 else 4.1)
    columns = figure.subplots(1, panels, squeeze=False)[0]
    if city.attrs["layout"] == "list":
        for axes, (name, field) in zip(columns, fields.items(), strict=False):
            _ranks(axes, field, name, _unit(city))
    else:
        for axes, (name, field) in zip(columns, fields.items(), strict=False):
            image = _map(axes, city, field, name, norm)
        bar = figure.colorbar(image, ax=list(columns[: len(fields)]), orientation="horizontal", aspect=50)
        bar.ax.xaxis.set_major_formatter(FuncFormatter(short_number))
        bar.ax.xaxis.set_minor_formatter(NullFormatter())
        bar.set_label(_unit(city), fontsize=SMALL, parse_math=False)
        bar.ax.tick_params(labelsize=SMALL, labelcolor=DARK)
        bar.outline.set_visible(False)
        patches = [
            Patch(facecolor=UNCOVERED, edgecolor="#999999", hatch="////", linewidth=0, label="not covered"),
            Patch(facecolor="white", edgecolor="#999999", label="no traffic"),
        ]
        figure.legend(handles=patches, loc="outside upper right", ncols=2, fontsize=SMALL, frameon=False)
    if placed:
        _places(columns[-1], health)
    return figure


def coverage_figure(health: Health, dated: bool = True) -> Figure:
    """Recorded share by day and hour; beside it by day and cell, or of many cells the shares in order."""
    figure = new_figure(WIDE, 3.9)
    left, right = figure.subplots(1, 2)
    days, hours = health.records.days, len(health.records.hours)
    norm = Normalize(0, 100)
    image = left.imshow(100 * health.by_day_hour.T, aspect="auto", cmap="cividis", norm=norm, interpolation="nearest",
                        extent=(-0.5, len(days) - 0.5, 24, 0))  # fmt: skip
    left.set_yticks(range(0, 25, 6), [f"{hour:02d}:00" for hour in range(0, 25, 6)])
    left.set_title(f"By day and {'hour' if hours == 24 else f'{24 // hours} hours'}", loc="left", fontsize=TEXT)
    left.set_ylabel("hour of day", fontsize=SMALL)
    _day_ticks(left, days, dated)
    cells = health.by_cell_day
    if 0 < len(cells) <= MOST_CELLS:
        right.imshow(100 * cells, aspect="auto", cmap="cividis", norm=norm, interpolation="nearest",
                     extent=(-0.5, len(days) - 0.5, len(cells) - 0.5, -0.5))  # fmt: skip
        right.set_title(f"By day and {_kind(health)}", loc="left", fontsize=TEXT)
        right.set_ylabel(f"{_kind(health)}, by number", fontsize=SMALL)
        right.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        _day_ticks(right, days, dated)
    else:
        ordered = 100 * np.sort(cells.mean(1)) if cells.size else np.zeros(0)
        right.plot(np.arange(1, len(ordered) + 1), ordered, color=BLUE, linewidth=1.8)
        right.fill_between(np.arange(1, len(ordered) + 1), ordered, color=BLUE, alpha=0.15, linewidth=0)
        right.set_title(f"Of each {_kind(health)}, the worst first", loc="left", fontsize=TEXT)
        right.set_ylabel("recorded, % (mean of the days)", fontsize=SMALL)
        right.set_xlabel("cells", fontsize=SMALL)
        right.set_ylim(0, 102)
        right.set_xlim(1, max(2, len(ordered)))
        tidy(right, grid="both")
    bar = figure.colorbar(image, ax=left, aspect=30)
    bar.set_label("recorded values, %", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL, labelcolor=DARK)
    bar.outline.set_visible(False)
    return figure


def total_figure(health: Health, unit: str, dated: bool = True) -> Figure:
    """Total over time; shaded where fewer cells than usual are recorded, and below it the recorded share."""
    figure = new_figure(WIDE, 4.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
    time, step = health.records.time, np.timedelta64(health.records.step_minutes, "m")
    for axes in (upper, lower):
        _shade(axes, ~health.complete, time, step)
    upper.plot(time, health.total, color=BLUE, linewidth=1.2)
    upper.set_title("Total of all cells", loc="left", fontsize=TEXT)
    upper.set_ylabel(_short(unit, 34), fontsize=SMALL, parse_math=False)
    lower.plot(time, 100 * health.by_period, color=GREY, linewidth=1.2, drawstyle="steps-post")
    lower.set_ylabel("recorded, %", fontsize=SMALL)
    for axes in (upper, lower):
        tidy(axes)
    amount_axis(upper)
    lower.set_ylim(-4, 106)
    lower.set_yticks((0, 50, 100))
    if len(time) > 1:
        time_axis(lower, time, dated)
    if not health.complete.all():
        patch = Patch(facecolor=GAP, label=f"fewer than {COMPLETE:.0%} of the usual number of cells are recorded")
        figure.legend(handles=[patch], loc="outside upper right", fontsize=SMALL, frameon=False)
    return figure


def profile_figure(health: Health, unit: str) -> Figure:
    """Total by hour of day, weekdays and weekends apart: median, quartiles, mean. Incomplete periods are left out."""
    figure = new_figure(WIDE, 3.6)
    hours = health.records.hours.astype(float)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, name, profile, colour in zip(
        panels,
        ("Monday to Friday", "Saturday and Sunday"),
        (health.weekdays, health.weekends),
        (BLUE, ORANGE),
        strict=True,
    ):
        axes.set_title(name, loc="left", fontsize=TEXT)
        if health.busy_hour is not None:
            axes.axvspan(health.busy_hour, health.busy_hour + 24 / len(hours), color="#E8E8E8", label="busy hour")
        _profile(axes, profile, hours, colour)
        axes.set_xticks(range(0, 25, 6), [f"{hour:02d}:00" for hour in range(0, 25, 6)])
        axes.set_xlim(0, 24)
        axes.set_xlabel("hour of day", fontsize=SMALL)
        tidy(axes)
        amount_axis(axes)
        if np.isfinite(profile.mean).any():
            axes.legend(fontsize=SMALL, frameon=False, loc="upper left")
        else:
            axes.text(0.5, 0.5, "no complete period", transform=axes.transAxes, ha="center", fontsize=TEXT, color=GREY)
    panels[0].set_ylabel(f"total, {_short(unit, 34)}", fontsize=SMALL, parse_math=False)
    return figure


def strangest_figure(health: Health, unit: str, dated: bool = True) -> Figure:
    """The strangest cells over time, each with its gravest reason; gaps are shaded."""
    count = len(health.strangest)
    columns = 1 if count == 1 else 2
    rows = -(-count // columns)
    figure = new_figure(WIDE, 0.4 + 1.85 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    records = health.records
    step = np.timedelta64(records.step_minutes, "m")
    for place, (axes, strange) in enumerate(zip(grid.flat, health.strangest, strict=False), 1):
        values = records.values[:, records.columns[strange.cell]]
        _shade(axes, ~np.isfinite(values), records.time, step)
        axes.plot(records.time, values, color=BLUE, linewidth=1.0)
        alone = (
            np.isfinite(values)
            & ~np.isfinite(np.append(np.nan, values[:-1]))
            & ~np.isfinite(np.append(values[1:], np.nan))
        )
        axes.plot(records.time[alone], values[alone], ".", color=BLUE, markersize=2)  # a line needs two
        reason = strange.reasons[0]
        words = textwrap.fill(
            f"{reason.kind}: {reason.words}", 64 if columns == 2 else 130, max_lines=2, placeholder=" …"
        )
        title = f"{place}. {plain_text(strange.name, 44)}"
        axes.set_title(f"{title}\n{words}", loc="left", fontsize=SMALL, color=DARK, parse_math=False)
        if len(records.time) > 1:
            time_axis(axes, records.time, dated)
            axes.set_xticks(axes.get_xticks()[:: 2 if columns == 2 else 1])
        tidy(axes)
        amount_axis(axes, ticks=3)
        top = float(values[np.isfinite(values)].max(initial=0)) * 1.08 or 1.0
        axes.set_ylim(-0.04 * top, top)  # a line of zeros is seen
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    figure.supylabel(_short(unit, 60), fontsize=SMALL, parse_math=False)
    return figure


def plain_text(text: object, most: int = 0) -> str:
    """Text of strangers on one line without control characters, cut after `most` characters (0: never)."""
    clean = "".join(letter if letter.isprintable() else " " if letter.isspace() else "\ufffd" for letter in str(text))
    return clean if not most or len(clean) <= most else clean[: most - 1] + "…"


def _short(unit: str, most: int) -> str:
    return plain_text(unit, most)


def _unit(city: City) -> str:
    return plain_text(city.attrs["unit"]) or "unit not stated"


def _dated(city: City) -> bool:
    return bool(city.attrs["calendar"] == "date")


def _kind(health: Health) -> str:
    return "cell of the operator" if health.records.operator else "covered grid cell"


def _means(city: City, when: Bool[np.ndarray, " time"]) -> Float[np.ndarray, "y x"]:
    """Mean of the recorded values of some periods; read in blocks of periods."""
    traffic = city["traffic"].values
    total, count = np.zeros(traffic.shape[1:]), np.zeros(traffic.shape[1:], int)
    chosen = np.flatnonzero(when)
    for begin in range(0, len(chosen), BLOCK):
        part = traffic[chosen[begin : begin + BLOCK]]
        known = np.isfinite(part)
        total += np.where(known, part, 0).sum(0, dtype=np.float64)
        count += known.sum(0)
    return np.asarray(total / np.where(count > 0, count, np.nan))


def _map(axes: Axes, city: City, field: np.ndarray, name: str, norm: LogNorm):  # type: ignore[no-untyped-def]
    edge = float(city.attrs["cell_km"]) or 1.0
    y, x = city["y"].values, city["x"].values
    extent = (x[0] - edge / 2, x[-1] + edge / 2, y[0] - edge / 2, y[-1] + edge / 2)
    bare = np.where(np.isfinite(field) & (field <= 0), 0.0, np.nan)
    axes.set_facecolor(UNCOVERED)
    axes.patch.set(hatch="////", edgecolor="#999999", linewidth=0)
    axes.imshow(bare, origin="lower", extent=extent, cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
    shown = np.where(field > 0, np.maximum(field, float(norm.vmin or 0)), np.nan)
    image = axes.imshow(shown, origin="lower", extent=extent, cmap="viridis", norm=norm, interpolation="nearest")
    axes.set_title(name, loc="left", fontsize=TEXT, color=DARK)
    axes.set_xlabel("km east" if city.attrs["cell_km"] else "cells", fontsize=SMALL)
    axes.set_ylabel("km north" if city.attrs["cell_km"] else "cells", fontsize=SMALL)
    axes.tick_params(labelsize=SMALL, color="#BBBBBB", labelcolor=DARK)
    for spine in axes.spines.values():
        spine.set_color("#BBBBBB")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True))
    return image


def _ranks(axes: Axes, field: np.ndarray, name: str, unit: str) -> None:
    ordered = np.sort(field[np.isfinite(field)])[::-1]
    axes.plot(np.arange(1, len(ordered) + 1), ordered, color=BLUE, linewidth=1.8)
    axes.set_title(f"{name}, of each cell", loc="left", fontsize=TEXT, color=DARK)
    axes.set_xlabel("cells, busiest first", fontsize=SMALL)
    axes.set_ylabel(_short(unit, 34), fontsize=SMALL, parse_math=False)
    tidy(axes)
    amount_axis(axes)


def _places(axes: Axes, health: Health) -> None:
    """The operator's cells where they are: never recorded ones as crosses, the strangest ringed and numbered."""
    positions = np.asarray(health.records.positions)
    known = np.isfinite(positions).all(1)
    if not known.any():
        axes.text(0.5, 0.5, "no cell has a position", transform=axes.transAxes, ha="center", fontsize=TEXT, color=GREY)
        axes.set_axis_off()
        return
    places = positions - positions[known].min(0)
    east, north = places[:, 0], places[:, 1]
    alive = known & np.isfinite(health.mean)
    axes.scatter(east[alive], north[alive], s=9, color=BLUE, linewidth=0, alpha=0.7, label="recorded")
    never = known & ~np.isfinite(health.mean)
    if never.any():
        axes.scatter(east[never], north[never], s=22, color=GREY, marker="x", linewidth=1, label="never recorded")
    ringed = np.array([strange.cell for strange in health.strangest if known[strange.cell]], int)
    if len(ringed):
        axes.scatter(
            east[ringed], north[ringed], s=60, facecolor="none", edgecolor=ORANGE, linewidth=1.4, label="strangest"
        )
    for number, strange in enumerate(health.strangest, 1):
        if known[strange.cell]:
            away = (6 if number % 2 else -12, 5 if number % 4 < 2 else -12)  # neighbours' numbers on other sides
            axes.annotate(
                str(number), places[strange.cell], xytext=away, textcoords="offset points", fontsize=SMALL, color=ORANGE
            )
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_title(
        f"The operator's cells, {int((~known).sum())} without a position", loc="left", fontsize=TEXT, color=DARK
    )
    axes.set_xlabel("km east of the westernmost", fontsize=SMALL)
    axes.set_ylabel("km north of the southernmost", fontsize=SMALL)
    tidy(axes, grid="both")
    axes.legend(
        fontsize=SMALL, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3, columnspacing=0.8
    )


def _day_ticks(axes: Axes, days: Shaped[np.ndarray, " day"], dated: bool) -> None:
    every = max(1, -(-len(days) // 6))
    at = np.arange(0, len(days), every)
    moments = [day.item() for day in days[at]]
    axes.set_xticks(at, [f"{day:%a}\n{day.day} {day:%b}" if dated else f"{day:%a}" for day in moments])
    axes.tick_params(labelsize=SMALL, color="#BBBBBB", labelcolor=DARK)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _shade(axes: Axes, missing: Bool[np.ndarray, " time"], time: np.ndarray, step: np.timedelta64) -> None:
    """Periods without records, all as one shape."""
    edges = np.repeat(np.append(time, time[-1] + step), 2)[1:-1]  # beginning and end of every period
    axes.fill_between(
        edges, 0, 1, where=np.repeat(missing, 2), color=GAP, linewidth=0, transform=axes.get_xaxis_transform()
    )


def _profile(axes: Axes, profile: Profile, hours: np.ndarray, colour: str) -> None:
    middle = hours + 12 / len(hours)  # of each hour
    low, median, high = profile.quartiles
    axes.fill_between(middle, low, high, color=colour, alpha=0.2, linewidth=0, label="quartiles")
    axes.plot(middle, median, color=colour, linewidth=1.8, label="median")
    axes.plot(middle, profile.mean, color=DARK, linewidth=1.1, linestyle="--", label="mean")


__all__ = [
    "coverage_figure",
    "health_figures",
    "map_figure",
    "plain_text",
    "profile_figure",
    "strangest_figure",
    "total_figure",
]
