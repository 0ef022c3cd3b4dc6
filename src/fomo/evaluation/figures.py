"""The figure of a forecast: what was seen, the fan of what may come, what came; and where on the map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from fomo.city import City
from fomo.evaluation.charts import calibration_figure, lines_figure, table_figure
from fomo.evaluation.figure_style import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    PALE,
    SMALL,
    TEXT,
    WIDE,
    amount_axis,
    new_figure,
    save_figure,
    short_number,
    tidy,
    time_axis,
)
from fomo.evaluation.figure_values import (
    Lines,
    alone,
    busiest_and_median,
    compared,
    means,
    total_area,
    truth_known,
)
from fomo.evaluation.metrics import enough_members
from fomo.evaluation.plain_text import share_in_words
from fomo.forecast import Forecast, quantiles_of
from fomo.units import SHARES

#: Central intervals of the fan and their opacity.
FAN = ((0.9, 0.18), (0.5, 0.38))


def forecast_figure(
    city: City,
    forecast: Forecast,
    rule: Forecast | None = None,
    *,
    cells: Sequence[tuple[int, int]] | None = None,
    title: str | None = None,
) -> Figure:
    """Left: total, busiest and median cell over time with the fan. Right: maps of the asked period.

    `city` holds the truth as far as there is one and may reach before and after the forecast; without a truth
    its line and map are left out, as beside shares of full traffic. `rule` is drawn as a dashed line where it is
    defined. `cells` replaces the chosen (y, x). The total is over the asked cells that were recorded throughout, or at
    each step over those recorded then where those carry too little. A 'list' city has no map: its cells are drawn as
    forecast against truth.
    """
    window = city.reindex(time=forecast.dataset["time"])
    traffic, asked = window["traffic"].values, forecast.asked.values
    if forecast.attrs["unit"] == SHARES != city.attrs["unit"]:
        traffic = np.full_like(traffic, np.nan)  # amounts, which no share lies beside
    members = forecast.samples.values
    point = None if rule is None else rule.mean.values
    known = truth_known(traffic, asked)
    total, throughout = total_area(traffic, asked)
    whole = Lines.of(traffic, asked, members, point, total)
    panels = [(_sum_title(total, throughout, whole), whole)]
    for name, (y, x) in _cells(traffic, forecast, cells):
        one = np.zeros(total.shape, bool)
        one[y, x] = True
        panels.append((name, Lines.of(traffic, asked, members, point, one)))
    figure = new_figure(WIDE, 6.4)
    grid = figure.add_gridspec(max(len(panels), 2 + known), 3, width_ratios=(2.7, 1, 0.05))
    lines = [figure.add_subplot(grid[i, 0]) for i in range(len(panels))]
    for axes, (name, shown) in zip(lines, panels, strict=True):
        _lines(axes, window["time"].values, shown)
        axes.set_title(name, loc="left", fontsize=TEXT, color="#333333")
        time_axis(axes, window["time"].values, city.attrs["calendar"] == "date")
        axes.tick_params(labelbottom=axes is lines[-1])
    if city.attrs["layout"] == "list":
        _scatter(figure.add_subplot(grid[:, 1:]), traffic, forecast, known)
    else:
        _maps(figure, grid, city, traffic, forecast, known)
    figure.supylabel(f"traffic [{_unit(forecast)}]", fontsize=TEXT)
    figure.set_layout_engine("constrained", rect=(0, 0, 1, 0.91))  # the rest is for title and legend
    figure.text(0.012, 0.985, title or _title(forecast), va="top", fontsize=TEXT + 2, fontweight="bold")
    observed = bool((np.isfinite(traffic) & ~asked)[:, asked.any(0)].any())
    handles = _legend(forecast, rule, observed, known)
    legend = figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.0, 0.955),
        ncols=len(handles),
        fontsize=SMALL,
        frameon=False,
    )
    legend.set_in_layout(False)
    return figure


def _lines(axes: Axes, time: np.ndarray, lines: Lines) -> None:
    """One panel: truth, what was recorded, fan and rule; what was recorded lies over the fan where both are drawn."""
    for first, last in lines.runs():
        axes.axvspan(time[max(first - 1, 0)], time[min(last + 1, len(time) - 1)], color=PALE, zorder=0, linewidth=0)
    members, mean = lines.joined(lines.members), lines.members.mean(0)
    single = alone(mean)  # the fan has no width there: an upright line is its interval
    for level, opacity in FAN:
        if enough_members(level, len(members)):
            low, high = quantiles_of(members, [(1 - level) / 2, (1 + level) / 2])
            axes.fill_between(time, low, high, color=BLUE, alpha=opacity, linewidth=0)
            axes.vlines(
                time[single], low[single], high[single], color=BLUE, alpha=opacity, linewidth=2.5, clip_on=False
            )
    if lines.rule is not None:
        axes.plot(time, lines.rule, color=ORANGE, linewidth=1.4, linestyle=(0, (4, 2)))
        _points(axes, time, lines.rule, ORANGE, 4)
    axes.plot(time, members.mean(0), color=BLUE, linewidth=1.8)
    _points(axes, time, mean, BLUE, 3.5)
    axes.plot(time, lines.seen, color=GREY, linewidth=1.4)
    _points(axes, time, lines.seen, GREY, 2)
    if np.isfinite(lines.truth).any():
        axes.plot(time, lines.joined(lines.truth), color=BLACK, linewidth=1.2)
        _points(axes, time, lines.truth, BLACK, 2)
    tidy(axes)
    amount_axis(axes)


def _points(axes: Axes, time: np.ndarray, values: np.ndarray, colour: str, size: float) -> None:
    """Markers where a line would show nothing, as its neighbours are missing; whole at the edge of the panel too."""
    here = alone(values)
    if here.any():
        axes.plot(time[here], values[here], "o", color=colour, markersize=size, markeredgewidth=0, clip_on=False)


def _maps(figure: Figure, grid: GridSpec, city: City, traffic: np.ndarray, forecast: Forecast, known: bool) -> None:
    """Mean of truth and forecast in the asked period on one scale, and the spread as a share of the mean."""
    _, period = _asked(forecast)
    members, asked = forecast.samples.values[:, period], forecast.asked.values[period]
    which = compared(traffic[period], asked)
    point = members.mean(0)
    fields = {"Forecast": means(point, which)}
    if known:
        fields = {"Truth": means(traffic[period], which), **fields}
    most = _largest(*fields.values())
    for place, (name, field) in enumerate(fields.items()):
        image = _map(figure.add_subplot(grid[place, 1]), city, field, name, "viridis", most)
    whole = bool((which.all(0) | ~asked.any(0)).all())
    label = "mean of the asked period" if whole else f"mean of the asked steps{' recorded' if known else ''}"
    _bar(figure.colorbar(image, cax=figure.add_subplot(grid[: len(fields), 2])), label)
    mean = means(point, asked)
    busy = mean > 1e-3 * _largest(mean)
    if len(members) < 2:  # one member has no spread, which is not a spread of 0
        busy[:] = False
    spread = np.where(busy, 100 * means(members.std(0), asked) / np.where(busy, mean, 1.0), np.nan)
    last = figure.add_subplot(grid[len(fields), 1])
    usual = float(np.nanpercentile(spread, 98)) if busy.any() else 0.0
    image = _map(last, city, spread, "Uncertainty: spread / mean", "magma", usual or 1.0)
    _bar(figure.colorbar(image, cax=figure.add_subplot(grid[len(fields), 2]), extend="max"), "%")
    last.set_xlabel("km" if city.attrs["cell_km"] else "cells", fontsize=SMALL)


def _largest(*fields: np.ndarray) -> float:
    """The largest value that is there, for the end of a scale; 1 where there is none above 0."""
    return max(float(field[np.isfinite(field)].max(initial=0.0)) for field in fields) or 1.0


def _asked(forecast: Forecast) -> tuple[np.ndarray, np.ndarray]:
    """The asked cells, (y, x), and the asked steps, (time)."""
    asked = forecast.asked.values
    return np.asarray(asked.any(0)), np.asarray(asked.any(axis=(1, 2)))


def _map(axes: Axes, city: City, field: np.ndarray, name: str, colours: str, most: float) -> AxesImage:
    """A map with north up, in kilometres where the city knows them, else in cells; grey where undefined."""
    y, x = city["y"].values, city["x"].values
    edge = float(city.attrs["cell_km"]) or 1.0
    extent = (x[0] - edge / 2, x[-1] + edge / 2, y[0] - edge / 2, y[-1] + edge / 2)
    axes.set_facecolor("#D9D9D9")
    image = axes.imshow(field, origin="lower", extent=extent, cmap=colours, vmin=0, vmax=most)
    axes.set_title(name, loc="left", fontsize=TEXT, color="#333333")
    axes.tick_params(labelsize=SMALL, color="#BBBBBB", labelcolor="#333333")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True))
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def _bar(bar: Colorbar, label: str) -> None:
    bar.set_label(label, fontsize=SMALL)
    bar.formatter = FuncFormatter(short_number)
    bar.ax.tick_params(labelsize=SMALL, color="#BBBBBB", labelcolor="#333333")
    bar.outline.set_visible(False)


def _scatter(axes: Axes, traffic: np.ndarray, forecast: Forecast, known: bool) -> None:
    """Cells without a map: forecast of the period's mean with its 90 % interval, against truth or by rank."""
    area, period = _asked(forecast)
    which = compared(traffic[period], forecast.asked.values[period])
    if known:  # both as means over the steps that were recorded
        area = area & (which & np.isfinite(traffic[period])).any(0)
    members = means(forecast.samples.values[:, period], which)[:, area]  # sample cell
    middle = members.mean(0)
    if known:
        across = means(traffic[period], which)[area]
    else:
        across = np.empty(len(middle))
        across[np.argsort(middle)] = np.arange(1, len(middle) + 1)
    if enough_members(0.9, len(members)):
        low, high = quantiles_of(members, [0.05, 0.95])
        axes.vlines(across, low, high, color=BLUE, alpha=0.35, linewidth=1)
    axes.plot(across, middle, "o", color=BLUE, markersize=3)
    if known:
        top = float(np.nanmax([np.nanmax(across), np.nanmax(middle)]))
        axes.plot([0, top], [0, top], color=BLACK, linewidth=0.8)
        axes.xaxis.set_major_formatter(FuncFormatter(short_number))
        axes.set_xlim(left=0)
    axes.set_xlabel(f"truth [{_unit(forecast)}]" if known else "cells, by forecast", fontsize=SMALL)
    axes.set_ylabel(f"forecast [{_unit(forecast)}]", fontsize=SMALL)
    axes.set_title("Every cell, mean of the period", loc="left", fontsize=TEXT, color="#333333")
    tidy(axes, grid="both")
    amount_axis(axes, ticks=6)


def _sum_title(area: np.ndarray, throughout: bool, lines: Lines) -> str:
    title = f"Sum of {_count(int(area.sum()), 'cell')}"
    if not throughout:
        return f"{title}, at each step of those recorded"
    filled = (lines.asked & np.isfinite(lines.seen)).any()  # what was recorded beside what is asked at the same step
    return f"{title}, with its gaps and with them filled" if filled else title


def _cells(
    traffic: np.ndarray, forecast: Forecast, cells: Sequence[tuple[int, int]] | None
) -> list[tuple[str, tuple[int, int]]]:
    """Names and places of the cells to draw: those named, or the busiest and the median."""
    if cells is not None:
        return [(f"Cell at row {y}, column {x}", (y, x)) for y, x in cells]
    chosen = busiest_and_median(traffic, forecast.asked.values, forecast.mean.values)
    return [(f"{name}: row {y}, column {x}", (y, x)) for name, (y, x) in chosen.items()]


def _legend(forecast: Forecast, rule: Forecast | None, observed: bool, known: bool) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = []
    if observed:
        handles.append(Line2D([], [], color=GREY, linewidth=1.4, label="observed"))
    if known:
        handles.append(Line2D([], [], color=BLACK, linewidth=1.2, label="truth"))
    handles.append(Line2D([], [], color=BLUE, linewidth=1.8, label=f"{forecast.attrs['forecaster']}, mean"))
    count = forecast.samples.sizes["sample"]
    for level, opacity in reversed(FAN):
        if enough_members(level, count):
            handles.append(Patch(color=BLUE, alpha=opacity, linewidth=0, label=f"{100 * level:.0f} % interval"))
    if rule is not None and np.isfinite(rule.mean.values[forecast.asked.values]).any():
        name = str(rule.attrs["forecaster"])
        handles.append(Line2D([], [], color=ORANGE, linewidth=1.4, linestyle=(0, (4, 2)), label=name))
    return handles


def _title(forecast: Forecast) -> str:
    minutes = int(forecast.attrs["step_minutes"])
    step = f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"
    area, period = _asked(forecast)
    asked = f"{_count(int(period.sum()), 'step')} of {step}"
    if not forecast.asked.values[period][:, area].all():  # holes here and there
        asked = f"{_count(int(forecast.asked.values.sum()), 'value')} of {_count(int(area.sum()), 'cell')}"
    elif period.all():
        asked = f"{_count(int(area.sum()), 'cell')} over {asked}"
    return f"{forecast.attrs['city']}: {asked}, {_known(forecast)}"


def _known(forecast: Forecast) -> str:
    """What was known of the surroundings, in words: the layers that were used, where the forecast names them."""
    context = str(forecast.attrs["context"])
    layers = str(forecast.attrs.get("context_layers", "" if context == "none" else "users")).split(", ")
    if "users" in layers:
        if "users_known" in forecast.attrs:
            return f"users known at {share_in_words(forecast.attrs['users_known'])} of it".replace("%", " %")
        return {"past": "past users known", "full": "all users known"}[context]
    names = [name for layer, name in (("poi", "POI"), ("residents", "residents")) if layer in layers]
    return f"{' and '.join(names)} known" if names else "users not known"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _unit(forecast: Forecast) -> str:
    return str(forecast.attrs["unit"]) or "unit not stated"


__all__ = ["calibration_figure", "forecast_figure", "lines_figure", "save_figure", "table_figure"]
