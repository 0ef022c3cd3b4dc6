"""The figure of a city: where its traffic is, how much of it was recorded, when it comes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from fomo.city import City, steps_per_day
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

#: Days that are drawn over time at most.
MOST_DAYS = 14


def city_figure(city: City) -> Figure:
    """Map of the mean, map of the recorded share, the day on weekdays and weekends, and the total over time.

    A 'list' city has no maps: its cells are drawn by rank.
    """
    attrs, traffic = city.attrs, city["traffic"].values
    recorded = np.isfinite(traffic)
    count = recorded.sum(0)
    mean = np.where(recorded, traffic, 0).sum(0) / np.where(count > 0, count, np.nan)
    share = np.where(city["covered"].values, 100 * recorded.mean(0), np.nan)
    figure = new_figure(WIDE, 6.4)
    grid = figure.add_gridspec(2, 3, height_ratios=(1.15, 1), width_ratios=(1, 1, 1.15))
    if attrs["layout"] == "list":
        _ranks(figure.add_subplot(grid[0, :2]), mean)
    else:
        largest = float(np.nanmax(mean)) if np.isfinite(mean).any() else 1.0
        norm = LogNorm(max(largest, 1e-9) / 1e3, max(largest, 1e-9), clip=True)
        _map(figure, figure.add_subplot(grid[0, 0]), city, mean, "Mean traffic", "viridis", norm)
        _map(figure, figure.add_subplot(grid[0, 1]), city, share, "Recorded, %", "cividis", Normalize(0, 100))
    _day(figure.add_subplot(grid[0, 2]), city)
    _course(figure.add_subplot(grid[1, :]), city)
    title = f"{attrs['name']}: traffic in {attrs['unit'] or 'a unit not stated'}"
    figure.suptitle(title, x=0.012, ha="left", fontsize=TEXT + 2, fontweight="bold")
    return figure


def _map(figure: Figure, axes: Axes, city: City, field: np.ndarray, name: str, colours: str, norm: Normalize) -> None:
    y, x = city["y"].values, city["x"].values
    edge = float(city.attrs["cell_km"]) or 1.0
    extent = (x[0] - edge / 2, x[-1] + edge / 2, y[0] - edge / 2, y[-1] + edge / 2)
    axes.set_facecolor("#D9D9D9")  # not covered
    image = axes.imshow(field, origin="lower", extent=extent, cmap=colours, norm=norm)
    axes.set_title(name, loc="left", fontsize=TEXT, color="#333333")
    axes.set_ylabel("km" if city.attrs["cell_km"] else "cells", fontsize=SMALL)
    axes.tick_params(labelsize=SMALL, color="#BBBBBB", labelcolor="#333333")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True))
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", shrink=0.9, aspect=30)
    bar.formatter = FuncFormatter(short_number)
    bar.ax.tick_params(labelsize=SMALL, color="#BBBBBB", labelcolor="#333333")
    bar.outline.set_visible(False)


def _ranks(axes: Axes, mean: np.ndarray) -> None:
    ordered = np.sort(mean[np.isfinite(mean)])[::-1]
    axes.plot(np.arange(1, len(ordered) + 1), ordered, color=BLUE, linewidth=1.8)
    axes.set_title("Mean traffic of each cell", loc="left", fontsize=TEXT, color="#333333")
    axes.set_xlabel("cells, busiest first", fontsize=SMALL)
    tidy(axes)
    amount_axis(axes)


def _day(axes: Axes, city: City) -> None:
    """Mean of a covered cell by time of day."""
    time = city["time"].values
    day = time.astype("datetime64[D]")
    hour = (time - day) / np.timedelta64(1, "h")
    weekend = (day.astype(np.int64) + 3) % 7 >= 5  # 1970-01-01 was a Thursday
    total = _mean_of_cells(city)
    for name, when, colour in (("Mon–Fri", ~weekend, BLUE), ("Sat, Sun", weekend, ORANGE)):
        hours = np.unique(hour[when & np.isfinite(total)])
        if hours.size:
            profile = [np.nanmean(total[when & (hour == h)]) for h in hours]
            axes.plot(hours, profile, color=colour, linewidth=1.8, label=name)
    axes.set_title("Mean of a cell by hour", loc="left", fontsize=TEXT, color="#333333")
    axes.set_xticks(range(0, 25, 6))
    axes.set_xlim(0, 24)
    tidy(axes)
    amount_axis(axes)
    axes.legend(fontsize=SMALL, frameon=False, loc="upper left")


def _course(axes: Axes, city: City) -> None:
    """Mean of a covered cell over time, the last `MOST_DAYS` days."""
    part = city.isel(time=slice(-MOST_DAYS * steps_per_day(city), None))
    axes.plot(part["time"].values, _mean_of_cells(part), color=GREY, linewidth=1.2)
    shown = f", the last {MOST_DAYS} days" if part.sizes["time"] < city.sizes["time"] else ""
    axes.set_title(f"Mean of a cell over time{shown}", loc="left", fontsize=TEXT, color="#333333")
    time_axis(axes, part["time"].values, city.attrs["calendar"] == "date")
    tidy(axes)
    amount_axis(axes)


def _mean_of_cells(city: City) -> np.ndarray:
    """Mean over the recorded cells at each step, (time); NaN where none was."""
    values = city["traffic"].values[:, city["covered"].values]
    recorded = np.isfinite(values)
    count = recorded.sum(1)
    return np.asarray(np.where(recorded, values, 0).sum(1) / np.where(count > 0, count, np.nan))


__all__ = ["city_figure"]
