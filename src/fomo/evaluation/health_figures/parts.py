"""What the figures of a city's health share: colours, the unit, shaded gaps, plain axes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Shaped
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar

from fomo.city import City
from fomo.evaluation.figure_style import GREY, SMALL, TEXT
from fomo.evaluation.plain_text import plain_text

#: Text; periods without records; cells that are not covered; lines around areas; ticks and frames.
DARK, GAP, UNCOVERED, EDGE, FRAME = "#333333", "#F3D9C6", "#ECECEC", "#999999", "#BBBBBB"
#: Letters of a unit beside an axis.
UNIT_LETTERS = 34


def unit_of(city: City) -> str:
    """Of its traffic on the grid, as plain text."""
    return stated(city.attrs["unit"])


def stated(unit: str) -> str:
    """A unit as plain text, or that there is none."""
    return plain_text(unit) or "unit not stated"


def name_amounts(axes: Axes, unit: str, before: str = "") -> None:
    """Write the unit along the y axis, cut to fit."""
    axes.set_ylabel(before + plain_text(unit, UNIT_LETTERS), fontsize=SMALL, parse_math=False)


def name_panel(axes: Axes, title: str) -> None:
    """Write what a panel shows over its left end."""
    axes.set_title(title, loc="left", fontsize=TEXT, color=DARK)


def say_nothing(axes: Axes, why: str) -> None:
    """Write why a panel is empty into its middle."""
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", fontsize=TEXT, color=GREY)


def plain_bar(bar: Colorbar, label: str) -> None:
    """Small text and no frame for a scale of colours."""
    bar.set_label(label, fontsize=SMALL, parse_math=False)
    bar.ax.tick_params(labelsize=SMALL, labelcolor=DARK)
    bar.outline.set_visible(False)


def shade(
    axes: Axes, missing: Bool[np.ndarray, " time"], time: Shaped[np.ndarray, " time"], step: np.timedelta64
) -> None:
    """Shade periods without records, all as one shape."""
    edges = np.repeat(np.append(time, time[-1] + step), 2)[1:-1]  # beginning and end of every period
    axes.fill_between(
        edges, 0, 1, where=np.repeat(missing, 2), color=GAP, linewidth=0, transform=axes.get_xaxis_transform()
    )


__all__ = [
    "DARK",
    "EDGE",
    "FRAME",
    "GAP",
    "UNCOVERED",
    "name_amounts",
    "name_panel",
    "plain_bar",
    "say_nothing",
    "shade",
    "stated",
    "unit_of",
]
