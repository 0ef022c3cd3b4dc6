"""What is usual at each hour of the week, as a curve whose mean over the week is 1.

A few hours of night say little of a cell's day unless it is known how nights compare to days. The curve says it: the
level of a cell is what it carried over what the curve says of the observed hours. Curves are averages over cells, in
which busy cells count more; those of the training families are stored with the weights, with one over all families for
cities never seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

HOURS_PER_WEEK = 7 * 24
#: Key of the curve over all families.
GENERAL = "every family"
#: No hour is thought to carry less than this share of the mean: levels are divided by it.
SMALLEST_RHYTHM = 0.02
#: Cells with traffic that the curve over all families is worth beside a family's own: best for predicting the rhythm of
#: a left-out training region (journal, 2026-11-24).
GENERAL_WORTH = 20.0
#: Days before a window that are looked at for a cell's own rhythm, and what each is worth by its kind of day.
LOOK_BACK_DAYS = 28
SAME_WEEKDAY, SAME_KIND, OTHER_KIND = 1.0, 0.5, 0.15
#: What the curve of the family is worth beside them: half a day of the same weekday.
CURVE_WORTH = 0.5


@dataclass(frozen=True)
class RhythmSums:
    """Traffic by slot of the week, (slot,), and what the same cells would have carried at their mean: sums add up."""

    traffic: np.ndarray
    level: np.ndarray
    cells: int  # with traffic

    @property
    def slots(self) -> int:
        """Steps in a week."""
        return len(self.traffic)

    def __add__(self, other: RhythmSums) -> RhythmSums:
        """Both together."""
        return RhythmSums(self.traffic + other.traffic, self.level + other.level, self.cells + other.cells)

    def __sub__(self, other: RhythmSums) -> RhythmSums:
        """The whole without a part of it."""
        return RhythmSums(self.traffic - other.traffic, self.level - other.level, self.cells - other.cells)


def rhythm_sums(share: np.ndarray, start_hour: float, step_hours: float) -> RhythmSums:
    """Sums over the recorded values of `share` (time, y, x), NaN = not recorded; one slot per step of a week."""
    slots = round(HOURS_PER_WEEK / step_hours)
    slot = (round(start_hour / step_hours) + np.arange(len(share))) % slots
    known = np.isfinite(share)
    filled = np.where(known, share, 0.0).astype(np.float64)
    level = filled.sum(0) / np.maximum(known.sum(0), 1)
    sums = RhythmSums(np.zeros(slots), np.zeros(slots), int((level > 0).sum()))
    np.add.at(sums.traffic, slot, filled.sum((1, 2)))
    np.add.at(sums.level, slot, (known * level).sum((1, 2)))
    return sums


def weekly_rhythm(sums: RhythmSums) -> np.ndarray | None:
    """The curve, (slot,), mean 1; a slot without values has the mean of its hour on other days. None: no traffic."""
    there = sums.level > 1e-9
    if not there.any() or sums.traffic.sum() <= 0:
        return None
    ratio = np.where(there, sums.traffic / np.where(there, sums.level, 1.0), np.nan)
    days = ratio.reshape(7, -1)
    counted = np.isfinite(days).sum(0)
    daily = np.where(counted > 0, np.nansum(days, 0) / np.maximum(counted, 1), 1.0)
    curve = np.where(np.isfinite(days), days, daily).ravel()
    return np.maximum(curve / curve.mean(), SMALLEST_RHYTHM)


def rhythm_at(curve: Sequence[float] | np.ndarray, start_hour: float, step_hours: float, steps: int) -> np.ndarray:
    """The curve's mean over each of `steps` steps from `start_hour` (hours since Monday 00:00), (steps,)."""
    curve = np.asarray(curve, np.float64)
    slot_hours = HOURS_PER_WEEK / len(curve)
    integral = np.concatenate([[0.0], np.cumsum(curve)]) * slot_hours
    edges = start_hour + step_hours * np.arange(steps + 1)
    weeks, within = np.divmod(edges, HOURS_PER_WEEK)
    at_edges = weeks * integral[-1] + np.interp(within, slot_hours * np.arange(len(curve) + 1), integral)
    return np.asarray(np.maximum(np.diff(at_edges) / step_hours, SMALLEST_RHYTHM))


def steadied(curve: np.ndarray, cells: int, general: np.ndarray) -> np.ndarray:
    """A family's curve drawn towards the one over all families, the more the fewer cells it comes from."""
    slots = len(curve)
    usual = rhythm_at(general, 0.0, HOURS_PER_WEEK / slots, slots)
    return (cells * curve + GENERAL_WORTH * usual) / (cells + GENERAL_WORTH)


def general_rhythm(curves: Mapping[str, np.ndarray], without: str | None = None) -> np.ndarray:
    """The mean of the families' curves hour by hour, (168,); `without` leaves a family out, and its coarser versions.

    Flat where there is no other family.
    """
    hourly = [
        rhythm_at(curve, 0.0, 1.0, HOURS_PER_WEEK)
        for family, curve in curves.items()
        if "@" not in family and family != GENERAL and family != (without or "").split("@")[0]
    ]
    return np.mean(hourly, 0) if hourly else np.ones(HOURS_PER_WEEK)


def choose_rhythm(rhythms: Mapping[str, Sequence[float]], family: str) -> Sequence[float]:
    """The curve stored for a family, or the one over all families, or a flat one where none is stored."""
    return rhythms.get(family) or rhythms.get(GENERAL) or (1.0,)


def own_rhythm(
    earlier: Float[np.ndarray, "before y x"],
    curve: Sequence[float] | np.ndarray,
    start_hour: float,
    step_hours: float,
    steps: int,
) -> Float[np.ndarray, "step y x"]:
    """What is usual for each cell at the steps of a window, from what it carried before: multiples of its mean.

    `earlier` is the traffic just before the window, NaN = not recorded. The same time of day on earlier days, weekdays
    like the step's counting more, is averaged with the family's curve. A cell without traffic there has the curve; so
    have all cells where `earlier` is shorter than a day.
    """
    day = round(24 / step_hours)
    earlier = earlier[-LOOK_BACK_DAYS * day :]
    before = len(earlier)
    usual = rhythm_at(curve, start_hour, step_hours, steps)[:, None, None]
    if before < day:
        return np.broadcast_to(usual, (steps, *earlier.shape[1:]))
    known = np.isfinite(earlier)
    filled = np.where(known, earlier, 0.0)
    usual_before = rhythm_at(curve, start_hour - before * step_hours, step_hours, before)[:, None, None]
    level = filled.sum(0) / np.maximum((usual_before * known).sum(0), SMALLEST_RHYTHM)

    days_ago = np.arange(1, (before + steps) // day + 1)[:, None]
    source = before + np.arange(steps) - days_ago * day  # (day, step)
    inside = (source >= 0) & (source < before)
    weekday = ((start_hour + step_hours * np.arange(steps)) // 24).astype(int)
    then = (weekday - days_ago) % 7
    kind = np.where((then >= 5) == (weekday % 7 >= 5), SAME_KIND, OTHER_KIND)
    worth = np.where(then == weekday % 7, SAME_WEEKDAY, kind) * inside
    at = np.clip(source, 0, before - 1)
    weight = worth[..., None, None] * known[at]
    total = (weight * filled[at]).sum(0) / np.where(level > 0, level, 1.0)
    rhythm = (total + CURVE_WORTH * usual) / (weight.sum(0) + CURVE_WORTH)
    return np.asarray(np.where(level > 0, np.maximum(rhythm, SMALLEST_RHYTHM), usual))
