"""How figures look, without touching matplotlib's global state: colours, axes, units, whole PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import matplotlib.dates as dates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from fomo.files import whole_file

#: Okabe and Ito's palette, told apart by every kind of colour vision.
BLACK, BLUE, ORANGE, GREEN = "#000000", "#0072B2", "#D55E00", "#009E73"
PALETTE = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
GREY, PALE = "#6B6B6B", "#F2F2F2"
TEXT, SMALL = 10, 9

#: Widths in inches: at 150 dots per inch a README shows them at about 90 pixels per inch.
WIDE, HALF, DOTS_PER_INCH = 10.0, 5.0, 150


def tidy(axes: Axes, *, grid: Literal["x", "y", "both"] = "y") -> None:
    """Small grey ticks, no box, a faint grid."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#BBBBBB")
    axes.tick_params(labelsize=SMALL, color="#BBBBBB", labelcolor="#333333")
    axes.grid(axis=grid, color="#E3E3E3", linewidth=0.7)
    axes.set_axisbelow(True)


def short_number(value: float, _place: object = None) -> str:
    """1200000 as '1.2M', 0.05 as '0.05', 0 as '0'."""
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"


def amount_axis(axes: Axes, *, ticks: int = 4) -> None:
    """Few, short numbers on the y axis, from zero up."""
    axes.yaxis.set_major_locator(MaxNLocator(ticks))
    axes.yaxis.set_major_formatter(FuncFormatter(short_number))
    axes.set_ylim(bottom=0)


def share_axes(axes: Axes) -> None:
    """Shares from 0 to 100 % on both axes, of one length."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
        axis.set_major_locator(MaxNLocator(5))
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")


def time_axis(axes: Axes, time: np.ndarray, real_dates: bool) -> None:
    """Hours and, at midnight, the weekday; with the day of the month only where dates are real."""
    hours = float((time[-1] - time[0]) / np.timedelta64(1, "h"))
    every = next((step for step in (1, 3, 6, 12) if hours / step <= 12), 24)
    if every < 24:
        axes.xaxis.set_major_locator(dates.HourLocator(byhour=range(0, 24, every)))
    else:
        axes.xaxis.set_major_locator(dates.DayLocator(interval=max(1, int(np.ceil(hours / 24 / 14)))))

    def label(value: float, _place: object = None) -> str:
        moment = dates.num2date(value)
        if moment.hour:
            return f"{moment:%H:%M}"
        return f"{moment:%a}\n{moment.day} {moment:%b}" if real_dates else f"{moment:%a}"

    axes.xaxis.set_major_formatter(FuncFormatter(label))
    axes.set_xlim(time[0], time[-1])


def new_figure(width: float, height: float) -> Figure:
    """A white figure whose parts make room for each other."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def save_figure(figure: Figure, path: str | Path, dots_per_inch: int = DOTS_PER_INCH) -> Path:
    """Write a PNG, whole or not at all. Returns the path. Raises `ValueError` for another suffix."""
    path = Path(path)
    if path.suffix != ".png":
        raise ValueError(f"figures are written as .png, not {path.name!r}")
    with whole_file(path) as fresh:
        figure.savefig(fresh, dpi=dots_per_inch, format="png")
    return path


__all__ = [
    "BLACK",
    "BLUE",
    "DOTS_PER_INCH",
    "GREEN",
    "GREY",
    "HALF",
    "ORANGE",
    "PALE",
    "PALETTE",
    "SMALL",
    "TEXT",
    "WIDE",
    "amount_axis",
    "new_figure",
    "save_figure",
    "share_axes",
    "short_number",
    "tidy",
    "time_axis",
]
