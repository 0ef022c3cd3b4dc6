"""A task as arrays: shares of the reference, why values are missing, and what is usual at its hours."""

from __future__ import annotations

from typing import Any

import numpy as np

from fomo.windows.batch import hours_since_monday, states
from fomo.windows.context import UsersPattern, context_arrays, full_users, static_layers, users_share
from fomo.windows.scale import to_share
from fomo.windows.shapes import Pattern, usual_in_window
from fomo.windows.task import Task


def task_arrays(
    task: Task,
    reference: float,
    pattern: Pattern,
    users_reference: float | None = None,
    users_pattern: UsersPattern | None = None,
) -> dict[str, Any]:
    """What `collate` takes of one window; each cell's own rhythm where its past is known, else that of the pattern.

    Users are read where a pattern of theirs is given: shares of `users_reference`, by default of the window's own.
    """
    window = task.window
    share = to_share(window["traffic"].values, reference)
    week = np.full_like(share, np.nan) if task.last_week is None else to_share(task.last_week, reference)
    earlier = None if task.earlier is None else to_share(task.earlier, reference)
    start_hour = float(hours_since_monday(window["time"].values[:1])[0])
    step_hours = window.attrs["step_minutes"] / 60
    users = users_earlier = None
    if users_pattern is not None and "users" in window:
        full = users_reference or full_users(window["users"].values)
        users = None if full is None else users_share(window["users"].values, full)
        users_earlier = None if full is None or task.users_earlier is None else users_share(task.users_earlier, full)
    size = task.asked.shape
    return {
        "share": share,
        "week": week,
        "state": states(share, task.asked, window["covered"].values),
        "start_hour": start_hour,
        "step_hours": step_hours,
        "cell_km": window.attrs["cell_km"],
        "context": context_arrays(
            users, static_layers(window), users_pattern, users_earlier, start_hour, step_hours, size
        ),
        **usual_in_window(pattern, earlier, start_hour, step_hours, size),
    }
