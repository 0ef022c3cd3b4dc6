"""What is usual at each hour of the week, as a curve whose mean over the week is 1.

A few hours of night say little of a cell's day unless it is known how nights compare to days. The curve says it: the
level of a cell is what it carried over what the curve says of the observed hours. Curves are averages over cells, in
which busy cells count more; those of the training families are stored with the weights, with one over all families for
cities never seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from fomo.windows.clock import HOURS_PER_DAY, HOURS_PER_WEEK, WEEKEND, Clock

#: Key of the curve over all families.
GENERAL = "every family"
#: No hour is thought to carry less than this share of the mean: levels are divided by it.
SMALLEST_RHYTHM = 0.02
#: Cells whose mean share is below this do not tell how cells differ, and no hour counts as more than so many means.
SMALLEST_BUSY, LARGEST_OF_WEEK = 0.002, 9.0
#: Cells with traffic that the curve over all families is worth beside a family's own: best for predicting the rhythm of
#: a left-out training region (journal, 2026-11-24).
GENERAL_WORTH = 20.0
#: Traffic per user in a slot is drawn towards the curve of all cells as if a cell had so much of its mean users more.
FEW_USERS = 0.1
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
    weight: float  # sum of the mean traffic of busy cells
    first: np.ndarray  # (slot,): their weeks, as multiples of their mean, each times its mean traffic
    second: np.ndarray  # (slot, slot): the products of these weeks with themselves, each times its mean traffic
    divisor: float  # recorded values; with `per`, the users of those values

    @property
    def slots(self) -> int:
        """Steps in a week."""
        return len(self.traffic)

    def __add__(self, other: RhythmSums) -> RhythmSums:
        """Both together."""
        return RhythmSums(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def weighed(self, factor: float) -> RhythmSums:
        """The same cells, counting `factor` times as much beside others."""
        parts = {f.name: factor * getattr(self, f.name) for f in fields(self) if f.name != "cells"}
        return replace(self, **parts)

    def __sub__(self, other: RhythmSums) -> RhythmSums:
        """The whole without a part of it."""
        return RhythmSums(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))


def slots_of_week(steps: int, start_hour: float, step_hours: float) -> tuple[int, np.ndarray]:
    """How many steps a week has, and which of them each of `steps` steps is, (step,)."""
    slots = round(HOURS_PER_WEEK / step_hours)
    return slots, (round(start_hour / step_hours) + np.arange(steps)) % slots


def rhythm_sums(share: np.ndarray, start_hour: float, step_hours: float, per: np.ndarray | None = None) -> RhythmSums:
    """Sums over the recorded values of `share` (time, y, x), NaN = not recorded; one slot per step of a week.

    A slot that a busy cell never recorded is taken from the curve of all cells here, where it counts for how cells
    differ: it then says nothing. With `per`, users like `share`, it is the traffic per user whose week is described:
    sums over users take the place of counts, and a slot with few users is drawn towards the curve of all cells.
    """
    slots, slot = slots_of_week(len(share), start_hour, step_hours)
    share = share.reshape(len(share), -1)
    worth = np.ones(share.shape) if per is None else per.reshape(len(share), -1).astype(np.float64)
    known = np.isfinite(share) & np.isfinite(worth)
    filled = np.where(known, share, 0.0).astype(np.float64)
    worth = np.where(known, worth, 0.0)
    carried = filled.sum(0) / np.maximum(known.sum(0), 1)
    busy = carried > SMALLEST_BUSY
    level = carried
    pull = np.zeros(share.shape[1])
    if per is not None:
        some = worth.sum(0) > SMALLEST_BUSY / 4 * known.sum(0)
        busy, filled, worth = busy & some, filled * some, worth * some
        level = np.divide(filled.sum(0), worth.sum(0), out=np.zeros(len(some)), where=some)
    traffic, count = np.zeros((slots, share.shape[1])), np.zeros((slots, share.shape[1]))
    np.add.at(traffic, slot, filled)
    np.add.at(count, slot, worth)
    if per is not None:
        pull = FEW_USERS * count.mean(0)
    total, expected, cells, divisor = traffic.sum(1), (count * level).sum(1), int((level > 0).sum()), float(worth.sum())
    usual = _curve(total, expected)
    if usual is None or not busy.any():
        nothing = np.zeros(slots)
        return RhythmSums(total, expected, cells, 0.0, nothing, np.outer(nothing, nothing), divisor)
    counted, level, pull = count[:, busy], level[busy], pull[busy]
    below = np.where(counted + pull > 0, counted + pull, 1.0) * level
    week = (traffic[:, busy] + pull * usual[:, None] * level) / below
    week = np.where(counted + pull > 0, np.minimum(week, LARGEST_OF_WEEK), usual[:, None])
    weighted = week * carried[busy]
    return RhythmSums(
        traffic=total,
        level=expected,
        cells=cells,
        weight=float(carried[busy].sum()),
        first=weighted.sum(1),
        second=weighted @ week.T,
        divisor=divisor,
    )


def weekly_rhythm(sums: RhythmSums) -> np.ndarray | None:
    """The curve, (slot,), mean 1; a slot without values has the mean of its hour on other days. None: no traffic."""
    return _curve(sums.traffic, sums.level)


def _curve(traffic: np.ndarray, level: np.ndarray) -> np.ndarray | None:
    there = level > 1e-9
    if not there.any() or traffic.sum() <= 0:
        return None
    ratio = np.where(there, traffic / np.where(there, level, 1.0), np.nan)
    days = ratio.reshape(7, -1)
    counted = np.isfinite(days).sum(0)
    daily = np.where(counted > 0, np.nansum(days, 0) / np.maximum(counted, 1), 1.0)
    curve = np.where(np.isfinite(days), days, daily).ravel()
    return np.maximum(curve / curve.mean(), SMALLEST_RHYTHM)


def rhythm_at(curve: Sequence[float] | np.ndarray, clock: Clock, steps: int) -> Float[np.ndarray, " steps"]:
    """The curve's mean over each of the first `steps` steps of a clock."""
    return np.maximum(mean_over_steps(np.asarray(curve, np.float64), clock, steps), SMALLEST_RHYTHM)


def mean_over_steps(
    weekly: Float[np.ndarray, "*rows slot"], clock: Clock, steps: int
) -> Float[np.ndarray, "*rows steps"]:
    """Means of functions of the week, constant in each slot, over each of the first `steps` steps of a clock."""
    slots = weekly.shape[-1]
    slot_hours = HOURS_PER_WEEK / slots
    integral = np.zeros((*weekly.shape[:-1], slots + 1))
    np.cumsum(weekly * slot_hours, -1, out=integral[..., 1:])

    def until(edges: np.ndarray) -> np.ndarray:
        """The integrals from the first Monday to each of the edges."""
        weeks, within = np.divmod(edges, HOURS_PER_WEEK)
        slot = np.minimum((within / slot_hours).astype(int), slots - 1)
        into = (within - slot * slot_hours) * weekly[..., slot]
        return np.asarray(weeks * integral[..., -1:] + integral[..., slot] + into)

    if clock.told:  # a step ends where the next one begins only within a day
        begin = clock.hours(steps)
        return np.asarray((until(begin + clock.step_hours) - until(begin)) / clock.step_hours)
    return np.asarray(np.diff(until(clock.start_hour + clock.step_hours * np.arange(steps + 1))) / clock.step_hours)


def general_rhythm(curves: Mapping[str, np.ndarray], without: str | None = None) -> np.ndarray:
    """The mean of the families' curves hour by hour, (168,); `without` leaves a family out, and its coarser versions.

    Flat where there is no other family.
    """
    hourly = [rhythm_at(curves[family], Clock(0.0, 1.0), HOURS_PER_WEEK) for family in other_families(curves, without)]
    return np.mean(hourly, 0) if hourly else np.ones(HOURS_PER_WEEK)


def other_families(families: Iterable[str], without: str | None) -> list[str]:
    """The families at their own step, without one of them."""
    return [name for name in families if "@" not in name and name not in (GENERAL, (without or "").split("@")[0])]


def own_rhythm(
    earlier: Float[np.ndarray, "before y x"],
    curve: Sequence[float] | np.ndarray,
    clock: Clock,
    steps: int,
) -> Float[np.ndarray, "step y x"]:
    """What is usual for each cell at the steps of a window, from what it carried before: multiples of its mean.

    `earlier` is the traffic just before the window, NaN = not recorded. The same time of day on earlier days, weekdays
    like the step's counting more, is averaged with the family's curve. A cell without traffic there has the curve; so
    have all cells where `earlier` is shorter than a day.
    """
    day = clock.steps(HOURS_PER_DAY)
    earlier = earlier[-LOOK_BACK_DAYS * day :]
    before = len(earlier)
    usual = rhythm_at(curve, clock, steps)[:, None, None]
    if before < day:
        return np.broadcast_to(usual, (steps, *earlier.shape[1:]))
    known = np.isfinite(earlier)
    filled = np.where(known, earlier, 0.0)
    usual_before = rhythm_at(curve, clock.before(before), before)[:, None, None]
    level = filled.sum(0) / np.maximum((usual_before * known).sum(0), SMALLEST_RHYTHM)
    at, worth = _same_time_before(before, clock, steps)
    weight = worth[..., None, None] * known[at]
    total = (weight * filled[at]).sum(0) / np.where(level > 0, level, 1.0)
    rhythm = (total + CURVE_WORTH * usual) / (weight.sum(0) + CURVE_WORTH)
    return np.asarray(np.where(level > 0, np.maximum(rhythm, SMALLEST_RHYTHM), usual))


def left_open(earlier: Float[np.ndarray, "before y x"], clock: Clock, steps: int) -> Float[np.ndarray, " step"]:
    """How much of `own_rhythm` is the curve and not the cell's past, from 0 to 1: the mean over the cells."""
    before = len(earlier)
    if before < clock.steps(HOURS_PER_DAY):
        return np.ones(steps)
    at, worth = _same_time_before(before, clock, steps)
    weight = (worth[..., None, None] * np.isfinite(earlier)[at]).sum(0)
    return np.asarray((CURVE_WORTH / (weight + CURVE_WORTH)).mean((1, 2)))


@lru_cache(maxsize=64)
def _same_time_before(before: int, clock: Clock, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices into the time before a window of the same time on earlier days, (day, step), and what each is worth.

    Both are read only: they are kept for the next layer of the same window.
    """
    day = clock.steps(HOURS_PER_DAY)
    days_ago = np.arange(1, (before + steps) // day + 1)[:, None]
    source = before + np.arange(steps) - days_ago * day  # (day, step)
    inside = (source >= 0) & (source < before)
    weekdays = clock.before(before).weekdays(before + steps)
    source = np.clip(source, 0, before - 1)
    weekday, then = weekdays[before:], weekdays[source]
    kind = np.where((then >= WEEKEND) == (weekday >= WEEKEND), SAME_KIND, OTHER_KIND)
    return source, np.where(then == weekday, SAME_WEEKDAY, kind) * inside
