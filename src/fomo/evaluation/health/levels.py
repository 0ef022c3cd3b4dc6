"""Changes of a cell's level from one day on: cells that die, and cells that are born."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from fomo.evaluation.health.finite import quantile
from fomo.evaluation.health.thresholds import LEVEL, SCATTER

#: Weekdays with records that a level needs.
LEAST_DAYS = 3
#: Added to shares of the level, for zero has no logarithm.
FLOOR = 0.01
#: Median distance from the median to standard deviation, for a normal distribution.
DEVIATION = 1.4826


def level_changes(
    day_mean: Float[np.ndarray, "cell day"], weekend: Bool[np.ndarray, " day"]
) -> tuple[Float[np.ndarray, " cell"], Int[np.ndarray, " cell"], Float[np.ndarray, " cell"]]:
    """Doubt of a change of level, first day after it, and the level after over the one before (1: no change).

    The change is sought where the sum of differences from the mean logarithm is largest. Weekends do not count in
    this, else offices would die in them.
    """
    cells, days = day_mean.shape
    if days < 2 * LEAST_DAYS or cells == 0:
        return np.zeros(cells), np.zeros(cells, int), np.ones(cells)
    recorded = np.isfinite(day_mean)
    known = recorded & ~weekend
    filled = np.where(recorded, day_mean, 0)
    scale = np.partition(filled, -3, axis=1)[:, -3]  # not the largest: that may be a spike
    height = np.log(np.minimum(filled / np.where(scale > 0, scale, 1)[:, None], 1) + FLOOR)

    seen = known.cumsum(1)
    centre = np.where(known, height, 0).sum(1) / np.maximum(seen[:, -1], 1)
    drift = np.abs(np.where(known, height - centre[:, None], 0).cumsum(1))
    allowed = (seen >= LEAST_DAYS) & (seen[:, -1:] - seen >= LEAST_DAYS)
    cut = np.where(allowed, drift, -1).argmax(1)  # the last weekday before the change
    early = np.arange(days) <= cut[:, None]

    before, after = (_median_of(height, known & side) for side in (early, ~early))
    distance = np.abs(height - np.where(early, before[:, None], after[:, None]))
    scatter = DEVIATION * _median_of(distance, known)
    first, last = (np.maximum(np.exp(level) - FLOOR, 1e-6) for level in (before, after))
    ratio = last / first
    large = (ratio >= LEVEL) | (ratio <= 1 / LEVEL)
    change = allowed.any(1) & (scale > 0) & large & (np.abs(after - before) >= SCATTER * scatter)

    # The first day after may be one of the weekend before the next weekday.
    nearer = np.abs(height - after[:, None]) < np.abs(height - before[:, None])
    begin = (~early & recorded & nearer).argmax(1)
    late = np.arange(days) >= begin[:, None]
    lower = recorded & (late == (ratio < 1)[:, None])
    lacking = lower.sum(1) / np.maximum(recorded.sum(1), 1)
    doubt = np.where(change, lacking * (1 - np.fmin(ratio, 1 / ratio)), 0)
    return doubt, begin, np.where(change, ratio, 1)


def _median_of(values: Float[np.ndarray, "cell day"], taken: Bool[np.ndarray, "cell day"]) -> np.ndarray:
    return quantile(np.sort(np.where(taken, values, np.nan), 1), taken.sum(1), 0.5)


__all__ = ["level_changes"]
