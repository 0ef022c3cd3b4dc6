"""A task as arrays: shares of the reference, why values are missing, and what is usual at its hours."""

from __future__ import annotations

from typing import Any

import numpy as np

from fomo.windows.batch import states
from fomo.windows.clock import HOURS_PER_WEEK, Clock
from fomo.windows.context import (
    MOST_ASSUMED,
    UsersPattern,
    context_arrays,
    full_users,
    static_layers,
    users_share,
)
from fomo.windows.scale import to_share
from fomo.windows.shapes import Pattern, usual_in_window
from fomo.windows.task import Task


def task_arrays(
    task: Task,
    reference: float,
    pattern: Pattern,
    users_reference: float | None = None,
    users_pattern: UsersPattern | None = None,
    reads_context: bool = True,
) -> dict[str, Any]:
    """What `collate` takes of one window; each cell's own rhythm where its past is known, else that of the pattern.

    Users are read where a pattern of theirs is given: shares of `users_reference`, by default of the window's own. The
    context is left out where it is not read.
    """
    window = task.window
    share = to_share(window["traffic"].values, reference)
    week = np.full_like(share, np.nan)
    earlier = None if task.earlier is None else to_share(task.earlier, reference)
    clock = Clock.of(window)
    if task.last_week is not None:  # of the days that are of the same kind today
        week[:] = to_share(task.last_week, reference)
        week[clock.weekend(len(week)) != clock.before(clock.steps(HOURS_PER_WEEK)).weekend(len(week))] = np.nan
    size = task.asked.shape
    return {
        "share": share,
        "week": week,
        "state": states(share, task.asked, window["covered"].values),
        "start_hour": clock.start_hour,
        "step_hours": clock.step_hours,
        "cell_km": window.attrs["cell_km"],
        "context": _context(task, users_reference, users_pattern, clock) if reads_context else None,
        **usual_in_window(pattern, earlier, clock, size),
    }


def _context(task: Task, reference: float | None, pattern: UsersPattern | None, clock: Clock) -> dict[str, Any] | None:
    """What is known of the surroundings of a task's window."""
    users = earlier = None
    if pattern is not None and "users" in task.window:
        known = task.window["users"].values
        reference = reference or full_users(known)
        if reference is not None:
            users = users_share(known, reference)
            if task.assumed:
                users = np.where(task.asked, users_share(known, reference, MOST_ASSUMED), users)
            earlier = None if task.users_earlier is None else users_share(task.users_earlier, reference)
    layers = static_layers(task.window)
    return context_arrays(users, layers, pattern, earlier, clock, task.asked.shape)
