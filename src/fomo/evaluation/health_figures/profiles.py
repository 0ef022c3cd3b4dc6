"""The day of a city: its total by hour."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fomo.evaluation.figure_style import BLUE, ORANGE, SMALL, WIDE, amount_axis, new_figure, tidy
from fomo.evaluation.health import Health, Profile
from fomo.evaluation.health_figures.parts import DARK, name_amounts, name_panel, say_nothing


def profile_figure(health: Health, unit: str) -> Figure:
    """Total by hour of day, weekdays and weekends apart: median, quartiles, mean. Incomplete periods are left out."""
    figure = new_figure(WIDE, 3.6)
    hours = health.records.hours
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, name, profile, colour in (
        (left, "Monday to Friday", health.weekdays, BLUE),
        (right, "Saturday and Sunday", health.weekends, ORANGE),
    ):
        name_panel(axes, name)
        if health.busy_hour is not None:
            axes.axvspan(health.busy_hour, health.busy_hour + 24 / len(hours), color="#E8E8E8", label="busy hour")
        _draw(axes, profile, hours, colour)
        axes.set_xticks(range(0, 25, 6), [f"{hour:02d}:00" for hour in range(0, 25, 6)])
        axes.set_xlim(0, 24)
        axes.set_xlabel("hour of day", fontsize=SMALL)
        tidy(axes)
        amount_axis(axes)
        if np.isfinite(profile.mean).any():
            axes.legend(fontsize=SMALL, frameon=False, loc="upper left")
        else:
            say_nothing(axes, "no complete period")
    name_amounts(left, unit, "total, ")
    return figure


def _draw(axes: Axes, profile: Profile, hours: Int[np.ndarray, " hour"], colour: str) -> None:
    middle = hours + 12 / len(hours)  # of each hour
    low, median, high = profile.quartiles
    axes.fill_between(middle, low, high, color=colour, alpha=0.2, linewidth=0, label="quartiles")
    axes.plot(middle, median, color=colour, linewidth=1.8, label="median")
    axes.plot(middle, profile.mean, color=DARK, linewidth=1.1, linestyle="--", label="mean")


__all__ = ["profile_figure"]
