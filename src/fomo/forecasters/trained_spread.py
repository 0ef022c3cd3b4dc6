"""A rule with the spread of its errors on training windows, where a window leaves it no residuals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fomo.city import CityError
from fomo.forecasters.rule import Rule, mean_level, ratio
from fomo.windows.task import Task


class TrainedSpread(Rule):
    """A rule whose spread is that of its errors on training windows, in units of the cell's mean traffic.

    The point is the rule's own, to rounding. Draws are independent over cells and steps, so sums over a city
    are too narrow; the scores of single values are what it is for.
    """

    def __init__(self, rule: Rule, examples: Sequence[tuple[Task, np.ndarray]], trained_on: Sequence[str]) -> None:
        """Learn from `examples`: tasks with their truth (time, y, x). `trained_on` names their cities."""
        self.rule, self.trained_on = rule, tuple(trained_on)
        self.name, self.undefined = f"{rule.name}, trained spread", rule.undefined
        pool = []
        for task, truth in examples:
            relative = ratio(truth - rule.point(task), np.broadcast_to(mean_level(task), truth.shape))[task.asked]
            pool.append(relative[np.isfinite(relative)])
        errors = np.concatenate(pool) if pool else np.empty(0)
        if errors.size == 0:
            raise CityError(f"the training windows leave no error of {rule.name!r}: {rule.undefined}")
        self.quantiles = np.quantile(errors, np.linspace(0, 1, 1001))

    def point(self, task: Task) -> np.ndarray:
        """The rule's own, (time, y, x)."""
        return self.rule.point(task)

    def residuals(self, task: Task) -> np.ndarray:
        """The rule's own, (time, y, x); not what is drawn."""
        return self.rule.residuals(task)

    def draws(self, task: Task, samples: int, random: np.random.Generator) -> np.ndarray:
        """Relative errors of the training windows times the cell's mean traffic, (samples, time, y, x)."""
        place = random.random((samples, *task.asked.shape)) * (len(self.quantiles) - 1)
        return np.asarray(np.interp(place, np.arange(len(self.quantiles)), self.quantiles) * mean_level(task))


__all__ = ["TrainedSpread"]
