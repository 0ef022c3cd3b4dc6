"""What is known of a window before anything is produced: level, daily rhythm and last week of every cell.

All of it comes from OBSERVED values alone; hidden values never enter (a test changes them and sees no change).
Everything is relative to the cell's level, so a quiet cell and a busy one look alike: a value is share / unit - 1,
where the unit is the mean observed share of the cell (plus a little, so that a silent cell has a unit too).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fomo.windows.batch import Batch
from fomo.windows.scale import compress

#: Added to every cell's level: the share below which differences do not matter.
SMALLEST_UNIT = 0.002
#: Hours over which the recent past is remembered.
RECENT_HOURS, TREND_HOURS = 1.5, 6.0
#: Relative values above this are cut: one spike must not rule a window.
LARGEST_RELATIVE = 8.0


@dataclass(frozen=True)
class Observation:
    """Observed values and simple statistics of them. Relative values are share / unit - 1, and 0 where not known."""

    unit: Float[Tensor, "batch y x"]  # mean observed share of the cell + SMALLEST_UNIT; of the window where unknown
    unit_known: Bool[Tensor, "batch y x"]
    relative: Float[Tensor, "batch time y x"]  # observed values
    compressed: Float[Tensor, "batch time y x"]  # observed values as log(1 + GAIN share) minus their cell's mean
    spread: Float[Tensor, "batch y x"]  # standard deviation of `compressed`
    known: Float[Tensor, "batch guess time y x"]  # the guesses below, relative
    is_known: Bool[Tensor, "batch guess time y x"]


#: Simple guesses at every value, all from OBSERVED values: the network weighs them cell by cell.
GUESSES = ("daily", "yesterday", "day_before", "trend", "recent", "week")


def observe(batch: Batch) -> Observation:
    """The observation of a batch of windows."""
    seen = batch.observed.to(batch.share.dtype)
    share = batch.share * seen
    count = seen.sum(1)  # (batch, y, x)
    whole = share.sum((1, 2, 3)) / seen.sum((1, 2, 3)).clamp(min=1)
    unit_known = count > 0
    level = torch.where(unit_known, share.sum(1) / count.clamp(min=1), whole[:, None, None])
    unit = level + SMALLEST_UNIT

    logs = compress(batch.share) * seen
    compressed = (logs - (logs.sum(1) / count.clamp(min=1))[:, None]) * seen
    known, is_known = _guesses(batch, share, seen)
    return Observation(
        unit=unit,
        unit_known=unit_known,
        relative=((share / unit[:, None]).clamp(max=LARGEST_RELATIVE) - 1) * seen,
        compressed=compressed,
        spread=(compressed.square().sum(1) / count.clamp(min=1)).sqrt(),
        known=((known / unit[:, None, None]).clamp(max=LARGEST_RELATIVE) - 1) * is_known,
        is_known=is_known,
    )


def _guesses(
    batch: Batch, share: Float[Tensor, "batch time y x"], seen: Float[Tensor, "batch time y x"]
) -> tuple[Float[Tensor, "batch guess time y x"], Bool[Tensor, "batch guess time y x"]]:
    """Shares guessed by simple rules, in the order of GUESSES, and where each rule has something to go by.

    `daily`: mean of the same time on the other days of the window; `yesterday`, `day_before`: one and two days before;
    `trend`: `daily` times how much the recent past lay above its own `daily`; `recent`: mean of the last hours;
    `week`: one week before.
    """
    daily, daily_known, days_before, days_before_known = _same_time_on_other_days(share, seen, batch.step_hours)
    recent_weight = _recency(seen, batch.step_hours, RECENT_HOURS)
    recent = (recent_weight * share).sum(1) / recent_weight.sum(1).clamp(min=1e-9)
    trend_weight = _recency(seen, batch.step_hours, TREND_HOURS) * daily_known
    above = (trend_weight * share).sum(1) + SMALLEST_UNIT * trend_weight.sum(1)
    below = (trend_weight * daily).sum(1) + SMALLEST_UNIT * trend_weight.sum(1)
    comparable = below > 0
    ratio = torch.where(comparable, above / below.clamp(min=1e-9), 1.0).clamp(0.25, 4.0)
    recent_known = (seen.sum(1) > 0)[:, None].expand(share.shape)
    known = [daily, *days_before, daily * ratio[:, None], recent[:, None].expand(share.shape), batch.week]
    is_known = [daily_known, *days_before_known, daily_known & comparable[:, None], recent_known, batch.week_known]
    return torch.stack(known, 1), torch.stack(is_known, 1)


def _recency(
    seen: Float[Tensor, "batch time y x"], step_hours: Float[Tensor, " batch"], memory: float
) -> Float[Tensor, "batch time y x"]:
    """exp(-age / memory) of the observed steps, age counted from the last observed step of the cell."""
    step = torch.arange(seen.shape[1], device=seen.device, dtype=seen.dtype)[None, :, None, None]
    last = torch.where(seen > 0, step, -1.0).amax(1, keepdim=True)
    age = (last - step).clamp(min=0) * step_hours[:, None, None, None]
    return torch.exp(-age / memory) * seen


def _same_time_on_other_days(
    share: Float[Tensor, "batch time y x"],
    seen: Float[Tensor, "batch time y x"],
    step_hours: Float[Tensor, " batch"],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean over the observed steps a whole number of days away; the steps one and two days before; where they are."""
    total, count = torch.zeros_like(share), torch.zeros_like(share)
    before, before_seen = (torch.zeros(2, *share.shape, dtype=share.dtype, device=share.device) for _ in range(2))
    steps = share.shape[1]
    for hours in step_hours.unique().tolist():
        rows = step_hours == hours
        day = round(24 / hours)
        for lag in range(day, steps, day):
            total[rows, lag:] += share[rows, :-lag]
            count[rows, lag:] += seen[rows, :-lag]
            total[rows, :-lag] += share[rows, lag:]
            count[rows, :-lag] += seen[rows, lag:]
        for days in (1, 2):
            if days * day < steps:
                before[days - 1, rows, days * day :] = share[rows, : -days * day]
                before_seen[days - 1, rows, days * day :] = seen[rows, : -days * day]
    return total / count.clamp(min=1), count > 0, before, before_seen > 0
