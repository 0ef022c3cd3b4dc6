"""What a simple rule is: a point forecast with a spread made of the residuals it leaves on what is observed.

1. Of each cell's residuals a member draws, at each time, the one of a random observed step: the same step for
   all cells where all were recorded, so that what cells have in common stays in the sum over a city.
2. The draws are centred over the members and stretched by sqrt(N / (N - 1)), which keeps their variance.
3. Members below zero are set to zero, and all members are then multiplied so that their mean is the point
   again. The mean of the members *is* the point, to rounding. Where the point is 0, so are all members.

Where the window leaves no residual (a single day in the history of the seasonal rule), all members are the
point. Where the rule itself is not defined, the forecast is NaN: there is no second rule behind a rule.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from fomo.forecast import Forecast, make_forecast
from fomo.windows.task import Task


class Rule(ABC):
    """A forecaster without parameters. `undefined` says what is missing where its forecast is NaN."""

    name: str
    undefined: str
    trained_on: tuple[str, ...] = ()

    @abstractmethod
    def point(self, task: Task) -> np.ndarray:
        """The rule's forecast, float64 (time, y, x) in the city's unit; NaN where it is not defined."""

    @abstractmethod
    def residuals(self, task: Task) -> np.ndarray:
        """Observed minus rule, float64 (time, y, x), each predicted without itself; NaN where unknown."""

    def draws(self, task: Task, samples: int, random: np.random.Generator) -> np.ndarray:
        """Residuals drawn for every value of the window, (samples, time, y, x); 0 where the cell has none."""
        return draw_residuals(self.residuals(task), random.random((samples, task.asked.shape[0])))

    def forecast_tasks(self, tasks: Sequence[Task], samples: int, seed: int) -> list[Forecast]:
        """One forecast per task, each from a generator of its own (seed, city, first step of the window)."""
        return [self._forecast(task, samples, seed) for task in tasks]

    def _forecast(self, task: Task, samples: int, seed: int) -> Forecast:
        window = task.window
        random = np.random.default_rng([seed, zlib.crc32(task.place.encode())])
        point = np.maximum(self.point(task), 0.0)
        members = around(point, self.draws(task, samples, random))
        members = np.where(task.asked, members, observed(task))
        return make_forecast(members, task.asked, window, forecaster=self.name, context=task.context, seed=seed)


def observed(task: Task) -> np.ndarray:
    """The traffic that a task shows, float64 (time, y, x), NaN elsewhere."""
    return np.asarray(task.window["traffic"].values, np.float64)


def ratio(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """`total / count`, NaN where the count is not positive."""
    total, count = np.broadcast_arrays(total, count)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


def mean_level(task: Task) -> np.ndarray:
    """Mean of each cell's observed values, (y, x); NaN where it has none."""
    seen = observed(task)
    known = np.isfinite(seen)
    return ratio(np.where(known, seen, 0).sum(0), known.sum(0))


def users_of(task: Task) -> np.ndarray:
    """The users that a task shows, float64 (time, y, x), NaN where not known."""
    if "users" not in task.window:
        return np.full(task.asked.shape, np.nan)
    return np.asarray(task.window["users"].values, np.float64)


def per_user(traffic: np.ndarray, users: np.ndarray) -> np.ndarray:
    """Traffic per user; 0 where there is neither, NaN where there is traffic without users."""
    nothing = (traffic <= 0) & (users <= 0)
    return np.where(nothing, 0.0, ratio(traffic, users))


def draw_residuals(residuals: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Of each cell's finite residuals (time, y, x) the one at the place `uniform` (samples, steps) in time.

    Returns (samples, steps, y, x); 0 where the cell has none: its members will all be the point.
    """
    known = np.isfinite(residuals)
    count = known.sum(0)
    order = np.argsort(~known, axis=0, kind="stable")  # finite residuals first, in the order of time
    index = np.floor(uniform[..., None, None] * count).astype(np.int64)
    y, x = np.indices(count.shape)
    drawn = residuals[order[index, y, x], y, x]
    return np.where(count > 0, drawn, 0.0)


def around(point: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Members (samples, ...), not negative, whose mean is `point` (...): see the head of this file."""
    samples = len(draws)
    centred = draws - draws.mean(0)
    if samples > 1:
        centred *= np.sqrt(samples / (samples - 1))
    members = np.maximum(point + centred, 0.0)
    mean = members.mean(0)
    factor = np.divide(point, mean, out=np.ones_like(mean), where=mean > 0)
    return np.asarray(members * factor)


__all__ = ["Rule", "around", "draw_residuals", "mean_level", "observed", "per_user", "ratio", "users_of"]
