"""Counters that only grow: what was carried is what they have grown by, in real time."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from fomo.ingest.cube import Day
from fomo.ingest.shown_twice import mean_of

#: Which periods of a day the clock shows twice, and which it never shows.
Changes = tuple[Bool[np.ndarray, " period"], Bool[np.ndarray, " period"]]


def readings(
    day: Day, changes: Changes | None = None
) -> tuple[Float[np.ndarray, "moment cell"], Int[np.ndarray, " moment"]]:
    """Readings in the order in which they came, and the period of each.

    `changes`: periods that the clock shows twice, where both readings count, and never, which have none.
    """
    period = np.arange(len(day.traffic))
    if changes is None or not (changes[0].any() or changes[1].any()):
        return day.traffic, period
    twice, never = changes
    if day.twice is None or not twice.any():
        return day.traffic[~never], period[~never]
    shown = np.flatnonzero(twice)
    before, after = period[: shown[0]], period[shown[-1] + 1 :]
    parts = [day.traffic[before], *day.twice.traffic, day.traffic[after]]
    return np.concatenate(parts), np.concatenate([before, shown, shown, after])


def differences(
    day: Day, before: Float[np.ndarray, " cell"] | None = None, changes: Changes | None = None
) -> tuple[Float[np.ndarray, "period cell"], Bool[np.ndarray, "period cell"]]:
    """What a counter that only grows has grown by in each period, and where it was reset; both ends must be known.

    `before`: the last reading of the day before. Where it has become smaller, nobody knows what was carried: NaN. A
    period that the clock shows twice has the mean of the two; the one after an hour that never was follows on the one
    before.
    """
    found, period = readings(day, changes)
    first = np.full((1, found.shape[1]), np.nan, found.dtype) if before is None else before[None]
    grown = np.diff(np.concatenate([first, found]), axis=0)
    traffic, reset = np.full(day.traffic.shape, np.nan), np.zeros(day.traffic.shape, bool)
    traffic[period], reset[period] = grown, grown < 0
    if len(np.unique(period)) < len(period):
        again = np.flatnonzero(np.bincount(period) > 1)
        both = grown[np.isin(period, again)].reshape(2, len(again), -1)
        traffic[again], reset[again] = mean_of(both), (both < 0).any(0)
    return np.where(reset, np.nan, traffic).astype(np.float32), reset


__all__ = ["Changes", "differences", "readings"]
