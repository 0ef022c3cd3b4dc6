"""What the record around a gap says of it: the other days, how the city was that day, how the cell was beside it.

A network sees the 64 steps of its window; a gap of a night at steps of a quarter of an hour fills them, and then it
knows no longer how much the cell carries. The record does: `usual` is the mean of the same time on other days, before
and after, those of its kind first; times how far all recorded cells lay above their own usual around that hour; times
how far the cell itself did on both sides, the less the farther. A step's own day is never in its `usual`, so what is
said of a recorded value can be held against it.
"""

from __future__ import annotations

import numpy as np
from einops import rearrange
from jaxtyping import Float

from fomo.forecasters.own_past import LARGEST_FACTOR, OTHER_KIND, SAME_KIND, SAME_WEEKDAY, USUAL_DECAY
from fomo.windows.clock import HOURS_PER_DAY, Clock
from fomo.windows.regression import SMALLEST_UNIT

#: Days looked at before and after.
DAYS = 14
#: Hours to either side over which the city is held against its usual.
CITY_HOURS = 1.0
#: Hours over which what a cell lay above it is forgotten to 1/e; as if so many hours more had been as usual.
CELL_HOURS, USUAL_HOURS = 6.0, 3.0
#: Cells at a time: bounds the memory.
AT_A_TIME = 1024


def around_gaps(share: Float[np.ndarray, "step y x"], clock: Clock) -> Float[np.ndarray, "step y x"]:
    """What is said of every step of a record of shares (NaN: not recorded); NaN where no other day was recorded."""
    steps, height, width = share.shape
    cells = rearrange(np.asarray(share, np.float32), "step y x -> step (y x)")
    said = np.empty_like(cells)
    parts = [slice(first, first + AT_A_TIME) for first in range(0, cells.shape[1], AT_A_TIME)]
    came, usually = np.zeros(steps), np.zeros(steps)
    for part in parts:
        said[:, part] = _usual(cells[:, part], clock)
        both = np.isfinite(cells[:, part]) & np.isfinite(said[:, part])
        came += np.where(both, cells[:, part], 0).sum(1, dtype=np.float64)
        usually += np.where(both, said[:, part], 0).sum(1, dtype=np.float64)
    beside = np.ones(2 * clock.steps(CITY_HOURS) + 1)
    city = _factor(*(np.convolve(each, beside, "full")[len(beside) // 2 :][:steps] for each in (came, usually)))
    for part in parts:
        said[:, part] *= city[:, None]
        said[:, part] *= _of_the_cell(cells[:, part], said[:, part], clock)
    return rearrange(said, "step (y x) -> step y x", y=height, x=width)


def _usual(share: Float[np.ndarray, "step cell"], clock: Clock) -> Float[np.ndarray, "step cell"]:
    """The weighted mean of the same time on other days."""
    known = np.isfinite(share)
    filled, step, day = np.where(known, share, np.float32(0)), np.arange(len(share)), clock.steps(HOURS_PER_DAY)
    weekday = clock.weekdays(len(share))
    weekend = clock.weekend(len(share))
    total, worth = np.zeros_like(filled), np.zeros_like(filled)
    for apart in range(1, DAYS + 1):
        for source in (step - apart * day, step + apart * day):
            there, at = (source >= 0) & (source < len(share)), source.clip(0, len(share) - 1)
            of_its_kind = np.where(weekday[at] == weekday, SAME_WEEKDAY, SAME_KIND)
            worth_of = np.where(weekend[at] == weekend, of_its_kind, OTHER_KIND) * USUAL_DECAY ** (apart - 1) * there
            weight = worth_of.astype(np.float32)[:, None]
            total += weight * filled[at]
            worth += weight * known[at]
    return np.asarray(np.where(worth > 0, total / np.where(worth > 0, worth, 1), np.nan), np.float32)


def _of_the_cell(
    share: Float[np.ndarray, "step cell"], said: Float[np.ndarray, "step cell"], clock: Clock
) -> Float[np.ndarray, "step cell"]:
    """How far each cell lay above what is said of it, on both sides of a step: a factor."""
    both = np.isfinite(share) & np.isfinite(said)
    came, usually = (np.where(both, each, np.float32(0)) for each in (share, said))
    as_usual = usually.sum(0) / both.sum(0).clip(1) * clock.steps(USUAL_HOURS)
    fades = np.float32(np.exp(-1 / clock.steps(CELL_HOURS)))
    near = [_on_both_sides(each, fades) + as_usual for each in (came, usually)]
    return np.asarray(_factor(*near), np.float32)


def _on_both_sides(values: Float[np.ndarray, "step cell"], fades: np.float32) -> Float[np.ndarray, "step cell"]:
    """Sums over all steps, each times `fades` to the power of its distance."""
    total = values.copy()
    for along in (slice(None), slice(None, None, -1)):
        so_far, here = np.zeros_like(values[0]), values[along]
        for step, into in enumerate(total[along]):
            into += so_far
            so_far = fades * (so_far + here[step])
    return total


def _factor(above: Float[np.ndarray, "*axes"], below: Float[np.ndarray, "*axes"]) -> Float[np.ndarray, "*axes"]:
    """Their ratio within limits; 1 where there is nothing."""
    ratio = (above + SMALLEST_UNIT) / (below + SMALLEST_UNIT)
    return np.asarray(ratio.clip(1 / LARGEST_FACTOR, LARGEST_FACTOR))


__all__ = ["around_gaps"]
