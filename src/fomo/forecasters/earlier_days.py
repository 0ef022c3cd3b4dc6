"""Simple rules that read all of the known past, not the window alone: what earlier days of a step's kind carried.

Where a city's weeks repeat themselves these are hard to beat, and whoever has the past can have them for nothing. A day
is a working day or a day off, as the city's calendar tells it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from fomo.forecasters.rule import Rule, observed, per_user, ratio, users_of
from fomo.windows.clock import HOURS_PER_DAY, Clock
from fomo.windows.task import Task

#: Days looked back on, at most.
MOST_DAYS = 28


class SameTimeOnEarlierDays(Rule):
    """The cell's mean at the step's time of day over the earlier days of its kind; over all days where there is none.

    Members are those days: each takes one of them, the same for all cells where all were recorded, as far as it lies
    off the mean of the others.
    """

    name = "same time on earlier days"
    undefined = "no earlier day known"

    def point(self, task: Task) -> np.ndarray:
        """The mean of these days, (time, y, x); NaN where none was recorded."""
        days = _of_kind(_on_earlier_days(task, observed(task), task.earlier), task)
        known = np.isfinite(days)
        return ratio(np.where(known, days, 0).sum(0), known.sum(0))

    def residuals(self, task: Task) -> np.ndarray:
        """Observed minus rule: an earlier day knows nothing of the step."""
        return np.asarray(observed(task) - self.point(task))

    def draws(self, task: Task, samples: int, random: np.random.Generator) -> np.ndarray:
        """How far a day drawn for each member lies off the mean of the others, (samples, time, y, x); 0: one day."""
        days = _of_kind(_on_earlier_days(task, observed(task), task.earlier), task)
        known = np.isfinite(days)
        total, count = np.where(known, days, 0).sum(0), known.sum(0)
        off = days - ratio(total - np.where(known, days, 0), count - known)
        order = np.argsort(~known, axis=0, kind="stable")  # recorded days first, the latest of them first
        place = np.floor(random.random((samples, 1, 1, 1)) * count).astype(np.int64)
        drawn = np.take_along_axis(off, np.take_along_axis(order, place, 0), 0)
        return np.where(count > 1, drawn, 0.0)


class TrafficPerUserAtThatTime(Rule):
    """The cell's traffic per user at the step's time of day, on earlier days of its kind, times its users."""

    name = "traffic per user at that time"
    undefined = "users or earlier days not known"

    def point(self, task: Task) -> np.ndarray:
        """Traffic per user times known users, (time, y, x); NaN where one of them is not known."""
        traffic = _on_earlier_days(task, observed(task), task.earlier)
        users = _on_earlier_days(task, users_of(task), task.users_earlier)
        both = np.isfinite(traffic) & np.isfinite(users)
        traffic, users = (_of_kind(np.where(both, each, np.nan), task) for each in (traffic, users))
        known = np.isfinite(traffic)
        rate = per_user(np.where(known, traffic, 0).sum(0), np.where(known, users, 0).sum(0))
        return np.asarray(np.where(known.any(0), rate, np.nan) * users_of(task))

    def residuals(self, task: Task) -> np.ndarray:
        """Observed traffic minus the rule, which knows of earlier days alone."""
        return np.asarray(observed(task) - self.point(task))


def _on_earlier_days(
    task: Task, window: Float[np.ndarray, "time y x"], earlier: np.ndarray | None
) -> Float[np.ndarray, "day time y x"]:
    """What a layer was at each step's time on the days before it, the latest first; NaN where not known."""
    before = 0 if task.earlier is None else len(task.earlier)
    record = np.concatenate([np.full((before, *window.shape[1:]), np.nan) if earlier is None else earlier, window])
    day = Clock.of(task.window).steps(HOURS_PER_DAY)
    step = np.arange(len(record) - len(window), len(record))
    source = step - day * np.arange(1, min(MOST_DAYS, max(len(record) // day, 1)) + 1)[:, None]
    found = np.asarray(record[source.clip(0)], np.float64)
    found[source < 0] = np.nan
    return found


def _of_kind(days: Float[np.ndarray, "day time y x"], task: Task) -> Float[np.ndarray, "day time y x"]:
    """Those that are a working day, or a day off, as the step's own; all of them where a cell has none such."""
    clock, steps = Clock.of(task.window), days.shape[1]
    day = clock.steps(HOURS_PER_DAY)
    kinds = np.stack([clock.before(back * day).weekend(steps) for back in range(len(days) + 1)])
    alike = np.where((kinds[1:] == kinds[0])[..., None, None], days, np.nan)
    return np.where(np.isfinite(alike).any(0), alike, days)


__all__ = ["SameTimeOnEarlierDays", "TrafficPerUserAtThatTime"]
