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
from fomo.evaluation.metrics import enough_members
from fomo.forecast import Forecast

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
    its line and map are left out. `rule` is drawn as a dashed line where it is defined. `cells` replaces the
    chosen (y, x). The total is over the asked cells that were recorded throughout. A 'list' city has no map:
    its cells are drawn as forecast against truth.
    """
    window = city.reindex(time=forecast.dataset["time"])
    truth = window["traffic"].values
    asked = forecast.asked.values
    known = bool(np.isfinite(truth[asked]).any())
    total = _total_area(truth, asked, known)
    panels = [(f"Sum of {int(total.sum())} cells", total)]
    for name, (y, x) in _cells(truth if known else forecast.mean.values, asked, cells):
        one = np.zeros(total.shape, bool)
        one[y, x] = True
        panels.append((name, one))
    figure = new_figure(WIDE, 6.4)
    grid = figure.add_gridspec(max(len(panels), 2 + known), 3, width_ratios=(2.7, 1, 0.05))
    lines = [figure.add_subplot(grid[i, 0]) for i in range(len(panels))]
    for axes, (name, where) in zip(lines, panels, strict=True):
        _lines(axes, window, forecast, rule, where, known)
        axes.set_title(name, loc="left", fontsize=TEXT, color="#333333")
        time_axis(axes, window["time"].values, city.attrs["calendar"] == "date")
        axes.tick_params(labelbottom=axes is lines[-1])
    if city.attrs["layout"] == "list":
        _scatter(figure.add_subplot(grid[:, 1:]), truth, forecast, known)
    else:
        _maps(figure, grid, city, truth, forecast, known)
    figure.supylabel(f"traffic [{_unit(forecast)}]", fontsize=TEXT)
    figure.set_layout_engine("constrained", rect=(0, 0, 1, 0.91))  # the rest is for title and legend
    figure.text(0.012, 0.985, title or _title(forecast), va="top", fontsize=TEXT + 2, fontweight="bold")
    handles = _legend(forecast, rule, known)
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


def _lines(axes: Axes, window: City, forecast: Forecast, rule: Forecast | None, where: np.ndarray, known: bool) -> None:
    """One panel: the sum over the cells `where` of truth, history, fan and rule."""
    time = window["time"].values
    asked = forecast.asked.values[:, where].any(1)
    members = np.where(asked, forecast.samples.values[:, :, where].sum(-1), np.nan)
    first, last = np.flatnonzero(asked)[[0, -1]]
    axes.axvspan(time[max(first - 1, 0)], time[last], color=PALE, zorder=0, linewidth=0)
    observed = window["traffic"].values[:, where].sum(-1)
    seen = np.where(asked, np.nan, observed)
    if first > 0:  # the fan starts from the last observed value
        members[:, first - 1] = observed[first - 1]
    for level, opacity in FAN:
        if enough_members(level, len(members)):
            ends = np.quantile(members, [(1 - level) / 2, (1 + level) / 2], axis=0, method="weibull")
            axes.fill_between(time, *ends, color=BLUE, alpha=opacity, linewidth=0)
    if rule is not None:
        point = np.where(asked, rule.mean.values[:, where].sum(-1), np.nan)
        axes.plot(time, point, color=ORANGE, linewidth=1.4, linestyle=(0, (4, 2)))
    axes.plot(time, members.mean(0), color=BLUE, linewidth=1.8)
    axes.plot(time, seen, color=GREY, linewidth=1.4)
    if known:
        axes.plot(time, np.where(asked | np.roll(asked, -1), observed, np.nan), color=BLACK, linewidth=1.2)
    tidy(axes)
    amount_axis(axes)


def _maps(figure: Figure, grid: GridSpec, city: City, truth: np.ndarray, forecast: Forecast, known: bool) -> None:
    """Mean of truth and forecast in the asked period on one scale, and the spread as a share of the mean."""
    area, period = _asked(forecast)
    members = forecast.samples.values[:, period]
    mean = np.where(area, members.mean((0, 1)), np.nan)
    busy = mean > 1e-3 * np.nanmax(mean)
    spread = np.where(busy, 100 * members.std(0).mean(0) / np.where(busy, mean, 1.0), np.nan)
    fields = {"Forecast": mean}
    if known:
        came = np.where(np.isfinite(truth[period]).all(0) & area, truth[period].mean(0), np.nan)
        fields = {"Truth": came, **fields}
    most = max(float(np.nanmax(field)) for field in fields.values())
    for place, (name, field) in enumerate(fields.items()):
        image = _map(figure.add_subplot(grid[place, 1]), city, field, name, "viridis", most)
    _bar(figure.colorbar(image, cax=figure.add_subplot(grid[: len(fields), 2])), "mean of the asked period")
    last = figure.add_subplot(grid[len(fields), 1])
    usual = float(np.nanpercentile(spread, 98)) if busy.any() else 1.0
    image = _map(last, city, spread, "Uncertainty: spread / mean", "magma", usual)
    _bar(figure.colorbar(image, cax=figure.add_subplot(grid[len(fields), 2]), extend="max"), "%")
    last.set_xlabel("km" if city.attrs["cell_km"] else "cells", fontsize=SMALL)


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


def _scatter(axes: Axes, truth: np.ndarray, forecast: Forecast, known: bool) -> None:
    """Cells without a map: forecast of the period's mean with its 90 % interval, against truth or by rank."""
    area, period = _asked(forecast)
    members = forecast.samples.values[:, period][:, :, area]  # sample time cell
    if known:  # both as means over the steps that were recorded
        came = truth[period][:, area]
        recorded = np.isfinite(came)
        recorded, came, members = (part[..., recorded.any(0)] for part in (recorded, came, members))
        across = np.where(recorded, came, 0).sum(0) / recorded.sum(0)
        members = np.where(recorded, members, 0).sum(1) / recorded.sum(0)
        middle = members.mean(0)
    else:
        members = members.mean(1)
        middle = members.mean(0)
        across = np.empty(len(middle))
        across[np.argsort(middle)] = np.arange(1, len(middle) + 1)
    if enough_members(0.9, len(members)):
        low, high = np.quantile(members, [0.05, 0.95], axis=0, method="weibull")
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


def _total_area(truth: np.ndarray, asked: np.ndarray, known: bool) -> np.ndarray:
    """The asked cells recorded at every step of the window (every observed step where there is no truth)."""
    recorded = np.isfinite(truth) if known else np.isfinite(truth) | asked
    whole = asked.any(0) & recorded.all(0)
    return np.asarray(whole if whole.any() else asked.any(0))


def _cells(
    traffic: np.ndarray, asked: np.ndarray, cells: Sequence[tuple[int, int]] | None
) -> list[tuple[str, tuple[int, int]]]:
    """Names and places of the cells to draw: the busiest and the median of those with traffic when asked."""
    if cells is not None:
        return [(f"Cell at row {y}, column {x}", (y, x)) for y, x in cells]
    mean = np.where(asked, traffic, 0.0).sum(0) / np.maximum(asked.sum(0), 1)
    order = [int(i) for i in np.argsort(mean, axis=None) if mean.flat[i] > 0]  # drops cells with gaps (NaN)
    if not order:
        return []
    chosen = {"Busiest cell": order[-1], "Median cell": order[len(order) // 2]}
    places = {name: divmod(i, mean.shape[1]) for name, i in chosen.items()}
    return [(f"{name}: row {y}, column {x}", (y, x)) for name, (y, x) in places.items()]


def _legend(forecast: Forecast, rule: Forecast | None, known: bool) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = []
    if not forecast.asked.values.any(axis=(1, 2)).all():
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
    users = {"none": "users not known", "past": "past users known", "full": "all users known"}
    minutes = int(forecast.attrs["step_minutes"])
    step = f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"
    area, period = _asked(forecast)
    asked = f"{int(period.sum())} steps of {step}"
    if period.all():
        asked = f"{int(area.sum())} cells over {asked}"
    return f"{forecast.attrs['city']}: {asked}, {users[str(forecast.attrs['context'])]}"


def _unit(forecast: Forecast) -> str:
    return str(forecast.attrs["unit"]) or "unit not stated"


__all__ = ["calibration_figure", "forecast_figure", "lines_figure", "save_figure", "table_figure"]
