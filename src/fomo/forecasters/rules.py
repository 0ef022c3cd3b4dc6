"""The simple rules that any honest table contains (NOTES.md). `rule` says where their members come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from fomo.city import MINUTES_PER_DAY
from fomo.forecasters.earlier_days import SameTimeOnEarlierDays, TrafficPerUserAtThatTime
from fomo.forecasters.rule import Rule, draw_residuals, mean_level, observed, per_user, ratio, users_of
from fomo.windows.task import CONTEXT_LAYERS, ContextMode, Task


class Persistence(Rule):
    """The cell's last recorded value.

    Its residuals at a lead time are differences of observed values that far apart; beyond half the history,
    where few or none exist, those half the history apart. They are drawn from the middle of the history for
    its gaps.
    """

    name = "persistence"
    undefined = "no recorded value of the cell"

    def point(self, task: Task) -> np.ndarray:
        """The last recorded value before each step, (time, y, x)."""
        return last_recorded(observed(task))

    def residuals(self, task: Task) -> np.ndarray:
        """Differences of neighbouring observed steps: those of lead time 1."""
        return lagged(observed(task), 1)

    def draws(self, task: Task, samples: int, random: np.random.Generator) -> np.ndarray:
        """Differences at each step's own lead time, (samples, time, y, x)."""
        seen = observed(task)
        steps = np.flatnonzero(np.isfinite(seen).any(axis=(1, 2)))
        history = int(steps[-1]) + 1 if steps.size else 0
        uniform = random.random((samples, len(seen)))
        drawn = np.zeros((samples, *seen.shape))
        for step in range(len(seen)):
            lead = min(max(step - history + 1, 1), max(history // 2, 1))
            drawn[:, step] = draw_residuals(lagged(seen, lead), uniform[:, step : step + 1])[:, 0]
        return drawn


class HistoryMean(Rule):
    """The mean of the cell's recorded values in the window."""

    name = "history mean"
    undefined = "no recorded value of the cell"

    def point(self, task: Task) -> np.ndarray:
        """The mean, the same at all steps, (time, y, x)."""
        return np.broadcast_to(mean_level(task), task.asked.shape)

    def residuals(self, task: Task) -> np.ndarray:
        """Deviations from the mean of the other values."""
        seen = observed(task)
        known = np.isfinite(seen)
        total, count = np.where(known, seen, 0).sum(0), known.sum(0)
        return np.asarray(seen - ratio(total - np.where(known, seen, 0), count - known))


class SeasonalAverage(Rule):
    """The cell's average of the same time of day over the days in the observed part of the window."""

    name = "seasonal average"
    undefined = "history under a day"

    def point(self, task: Task) -> np.ndarray:
        """The average of each step's time of day, (time, y, x); NaN where no such day was recorded."""
        total, count, slot = self._days(task)
        return np.asarray(ratio(total, count)[slot])

    def residuals(self, task: Task) -> np.ndarray:
        """Deviations from the average of the other days; NaN where there is one day only."""
        total, count, slot = self._days(task)
        seen = observed(task)
        known = np.isfinite(seen)
        return np.asarray(seen - ratio(total[slot] - np.where(known, seen, 0), count[slot] - known))

    @staticmethod
    def _days(task: Task) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sum and number of recorded values per time of day, (slot, y, x), and each step's slot."""
        seen = observed(task)
        known = np.isfinite(seen)
        time = task.window["time"].values
        minutes = (time - time.astype("datetime64[D]")) // np.timedelta64(1, "m")
        step = int(task.window.attrs["step_minutes"])
        slot = minutes.astype(np.int64) // step
        total = np.zeros((MINUTES_PER_DAY // step, *seen.shape[1:]))
        count = np.zeros(total.shape, np.int64)
        np.add.at(total, slot, np.where(known, seen, 0))
        np.add.at(count, slot, known)
        return total, count, slot


class SameHourLastWeek(Rule):
    """What the cell carried a week before each step."""

    name = "same hour last week"
    undefined = "no past week known"

    def point(self, task: Task) -> np.ndarray:
        """Traffic of last week, (time, y, x); NaN where it is not known."""
        if task.last_week is None:
            return np.full(task.asked.shape, np.nan)
        return np.asarray(task.last_week, np.float64)

    def residuals(self, task: Task) -> np.ndarray:
        """This week's observed values minus last week's."""
        return np.asarray(observed(task) - self.point(task))


class TrafficPerUser(Rule):
    """The cell's traffic per user in the history times its users, for context `full`.

    A cell whose history has neither traffic nor users has 0 traffic per user; with traffic but no users the
    rule is not defined.
    """

    name = "traffic per user"
    undefined = "users of the asked steps not known"

    def point(self, task: Task) -> np.ndarray:
        """Traffic per user times known users, (time, y, x); NaN where the users are not known."""
        traffic, users = self._pairs(task)
        rate = per_user(np.nansum(traffic, 0), np.nansum(users, 0))
        return np.asarray(np.where(np.isfinite(traffic).any(0), rate, np.nan) * users_of(task))

    def residuals(self, task: Task) -> np.ndarray:
        """Observed traffic minus the users times the traffic per user of the other steps."""
        traffic, users = self._pairs(task)
        rate = per_user(np.nansum(traffic, 0) - traffic, np.nansum(users, 0) - users)
        return np.asarray(traffic - rate * users)

    def _pairs(self, task: Task) -> tuple[np.ndarray, np.ndarray]:
        """Traffic and users where both are known, NaN elsewhere."""
        traffic, users = observed(task), users_of(task)
        both = np.isfinite(traffic) & np.isfinite(users)
        return np.where(both, traffic, np.nan), np.where(both, users, np.nan)


class NeighbourMean(Rule):
    """The mean over the observed cells at the same time: what is left for cells without history."""

    name = "mean of the other cells"
    undefined = "no other cell recorded at that time"

    def point(self, task: Task) -> np.ndarray:
        """The mean of the other observed cells, (time, y, x)."""
        seen = observed(task)
        known = np.isfinite(seen)
        total = np.where(known, seen, 0).sum((1, 2), keepdims=True)
        return ratio(total - np.where(known, seen, 0), known.sum((1, 2), keepdims=True) - known)

    def residuals(self, task: Task) -> np.ndarray:
        """Each observed cell minus the mean of the others."""
        return np.asarray(observed(task) - self.point(task))

    def draws(self, task: Task, samples: int, random: np.random.Generator) -> np.ndarray:
        """The residual series of whole observed cells, each asked cell of a member taking one at random."""
        residuals = self.residuals(task)
        residuals = np.where(np.isfinite(residuals), residuals, 0.0)  # no residual: the member is the point
        cells = np.argwhere(np.isfinite(observed(task)).any(0))
        taken = cells[random.integers(len(cells), size=(samples, *task.asked.shape[1:]))]
        return np.asarray(np.moveaxis(residuals[:, taken[..., 0], taken[..., 1]], 0, 1))


class NeighbourTrafficPerUser(NeighbourMean):
    """The traffic per user of all observed cells times the users of the cell, for context `full`."""

    name = "traffic per user of the other cells"
    undefined = "users of the asked cells not known"

    def point(self, task: Task) -> np.ndarray:
        """Traffic per user of the other cells times users, (time, y, x); NaN where users are not known."""
        seen, users = observed(task), users_of(task)
        both = np.isfinite(seen) & np.isfinite(users)
        traffic, their_users = (np.where(both, values, 0.0).sum(0) for values in (seen, users))
        return np.asarray(per_user(traffic.sum() - traffic, their_users.sum() - their_users) * users)


class Proportional(NeighbourMean):
    """The traffic of all observed cells at that time, shared out by a layer that does not change: POI or residents."""

    def __init__(self, layer: Literal["poi", "residents"]) -> None:
        """`layer` of the city; of POI, all categories together."""
        self.layer = layer
        self.name = {"poi": "proportional to POI", "residents": "proportional to residents"}[layer]
        self.undefined = f"{layer} of the asked cells not known"

    def point(self, task: Task) -> np.ndarray:
        """Traffic per POI or resident of the other cells at each step, times those of the cell, (time, y, x)."""
        seen = observed(task)
        if self.layer not in task.window:
            return np.full(seen.shape, np.nan)
        amount = np.asarray(task.window[self.layer].values, np.float64)
        if self.layer == "poi":
            amount = np.where(np.isfinite(amount).any(0), np.nansum(amount, 0), np.nan)
        both = np.isfinite(seen) & np.isfinite(amount)
        traffic, people = np.where(both, seen, 0.0), np.where(both, amount, 0.0)
        totals = (part.sum((1, 2), keepdims=True) - part for part in (traffic, people))
        return np.asarray(ratio(*totals) * amount)


def rules_for(
    context: ContextMode, past_week: bool, task: str = "short", layers: Sequence[str] = CONTEXT_LAYERS
) -> list[Rule]:
    """The rules that a table of this task has: with the past week known or not, with this context known or not."""
    if task == "generate":
        found: list[Rule] = [NeighbourMean()]
        if context == "full" and "users" in layers:
            found.append(NeighbourTrafficPerUser())
        if context != "none":
            found += [Proportional(layer) for layer in ("poi", "residents") if layer in layers]
        return found
    rules: list[Rule] = [Persistence(), HistoryMean(), SeasonalAverage()]
    if past_week:
        rules += [SameHourLastWeek(), SameTimeOnEarlierDays()]
    if context == "full" and "users" in layers:
        rules += [TrafficPerUser(), *([TrafficPerUserAtThatTime()] if past_week else [])]
    return rules


def last_recorded(values: np.ndarray) -> np.ndarray:
    """At each step the latest finite value up to it, (time, y, x); NaN before the first."""
    steps = np.arange(len(values))[:, None, None]
    latest = np.maximum.accumulate(np.where(np.isfinite(values), steps, -1))
    filled = np.take_along_axis(values, np.maximum(latest, 0), axis=0)
    return np.where(latest >= 0, filled, np.nan)


def lagged(values: np.ndarray, lag: int) -> np.ndarray:
    """`x[t] - x[t - lag]`, (time, y, x), NaN where one of them is."""
    difference = np.full(values.shape, np.nan)
    difference[lag:] = values[lag:] - values[:-lag]
    return difference


__all__ = [
    "HistoryMean",
    "NeighbourMean",
    "NeighbourTrafficPerUser",
    "Persistence",
    "Proportional",
    "SameHourLastWeek",
    "SeasonalAverage",
    "TrafficPerUser",
    "rules_for",
]
