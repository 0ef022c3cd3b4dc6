"""Tasks for the rivals that forecast one series at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fomo.city import City, make_city
from fomo.forecasters.protocol import Forecaster
from fomo.windows.task import ContextMode, Task, last_week, make_task

STEPS = 64


def town(days: int = 10, step_minutes: int = 60, seed: int = 0) -> City:
    """2 x 3 cells with a rhythm of the day, and users that the traffic follows."""
    random = np.random.default_rng(seed)
    steps = days * 24 * 60 // step_minutes
    hours = np.arange(steps) * step_minutes / 60
    rhythm = 1.5 + np.sin(2 * np.pi * (hours - 9) / 24)
    users = 20 * rhythm[:, None, None] * random.lognormal(0.0, 0.2, (steps, 2, 3))
    level = random.lognormal(0.0, 0.5, (2, 3))
    traffic = level * users * random.lognormal(0.0, 0.05, users.shape)
    return make_city(traffic, users=users, name="town", start="2024-01-01T00:00", step_minutes=step_minutes)


def window_task(
    city: City, history: int = 48, *, context: ContextMode = "none", before: bool = False, start: int | None = None
) -> Task:
    """A window of 64 steps, by default the last ones, of which those after `history` are asked."""
    start = city.sizes["time"] - STEPS if start is None else start
    window = city.isel(time=slice(start, start + STEPS))
    asked = np.zeros(window["traffic"].shape, bool)
    asked[history:] = True
    return make_task(
        window,
        asked,
        context=context,
        last_week=last_week(city, start, STEPS) if before else None,
        earlier=city["traffic"].values[:start] if before else None,
        users_earlier=city["users"].values[:start] if before else None,
    )


def check_members(rival: Forecaster, city: City, rtol: float = 1e-3, atol: float = 1e-3) -> np.ndarray:
    """Members are in order, and do not depend on what is asked beside; gives them, (member, step, y, x).

    The city is a town of whose last cell nothing was recorded.
    """
    task = window_task(city)
    members = rival.forecast_tasks([task, window_task(city, 16)], 9, seed=0)[0].samples.values[:, 48:]
    assert np.isnan(members[..., 1, 2]).all()
    known = members.reshape(9, 16, 6)[..., :5]
    assert (np.diff(known, axis=0) >= 0).all() and (known >= 0).all() and known.std(0).max() > 0
    asked = task.asked.copy()
    asked[:, 0] = False
    fewer = rival.forecast_tasks([replace(task, asked=asked)], 9, seed=1)[0].samples.values[:, 48:]
    np.testing.assert_allclose(fewer[..., 1, :], members[..., 1, :], rtol=rtol, atol=atol)
    return members
