"""A task as arrays: shares of the reference, why values are missing, and what is usual at its hours."""

from __future__ import annotations

import numpy as np

from fomo.windows.batch import hours_since_monday, states
from fomo.windows.scale import to_share
from fomo.windows.shapes import Pattern, usual_in_window
from fomo.windows.task import Task


def task_arrays(task: Task, reference: float, pattern: Pattern) -> dict[str, np.ndarray | float]:
    """What `collate` takes of one window; each cell's own rhythm where its past is known, else that of the pattern."""
    window = task.window
    share = to_share(window["traffic"].values, reference)
    week = np.full_like(share, np.nan) if task.last_week is None else to_share(task.last_week, reference)
    earlier = None if task.earlier is None else to_share(task.earlier, reference)
    start_hour = float(hours_since_monday(window["time"].values[:1])[0])
    step_hours = window.attrs["step_minutes"] / 60
    return {
        "share": share,
        "week": week,
        "state": states(share, task.asked, window["covered"].values),
        "start_hour": start_hour,
        "step_hours": step_hours,
        "cell_km": window.attrs["cell_km"],
        **usual_in_window(pattern, earlier, start_hour, step_hours, task.asked.shape),
    }
