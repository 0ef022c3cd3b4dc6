"""What is known of a window before anything is produced: level, daily rhythm and last week of every cell.

All of it comes from OBSERVED values alone; hidden values never enter (a test changes them and sees no change).
Everything is relative to the cell's level, so a quiet cell and a busy one look alike: a value is share / unit - 1,
where the unit is the cell's mean over a week as its observed values suggest it: their sum over what the rhythm says of
their hours (plus a little, so that a silent cell has a unit too).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fomo.windows.batch import Batch
from fomo.windows.context_observation import NOMINAL_LEVEL, ContextObservation, observe_context, observe_users
from fomo.windows.regression import LARGEST_RELATIVE, SMALLEST_UNIT, Fitted, fit_week, lasting
from fomo.windows.rhythm import SMALLEST_RHYTHM
from fomo.windows.scale import compress

#: Hours over which the recent past is remembered.
RECENT_HOURS, TREND_HOURS = 1.5, 6.0


@dataclass(frozen=True)
class Observation:
    """Observed values and simple statistics of them. Relative values are share / unit - 1, and 0 where not known."""

    unit: Float[Tensor, "batch y x"]  # the cell's level + SMALLEST_UNIT; the window's level where unknown
    unit_known: Bool[Tensor, "batch y x"]
    silent: Bool[Tensor, "batch y x"]  # cells that have no station, as far as can be seen: no traffic, or no users
    relative: Float[Tensor, "batch time y x"]  # observed values
    compressed: Float[Tensor, "batch time y x"]  # observed values as log(1 + GAIN share) minus their cell's mean
    spread: Float[Tensor, "batch y x"]  # standard deviation of `compressed`
    misfit: Float[Tensor, "batch y x"]  # root mean square of what the fitted week leaves, in units of the cell
    known: Float[Tensor, "batch guess time y x"]  # the guesses below, relative
    is_known: Bool[Tensor, "batch guess time y x"]
    context: ContextObservation | None = None  # None: of no window any context is known

    @property
    def unseen(self) -> Bool[Tensor, "batch y x"]:
        """Cells without history: nothing observed in the window, nothing known of the week before."""
        return ~self.unit_known & ~self.is_known[:, GUESSES.index("week")].any(1)


#: Simple guesses at every value, all from OBSERVED values: the network weighs them cell by cell.
GUESSES = (
    "daily",
    "yesterday",
    "day_before",
    "trend",
    "trend_around",
    "recent",
    "rhythm",
    "rhythm_recent",
    "daily_rhythm",
    "week",
    "shaped",
    "shaped_recent",
    "carried",
    "around",
)


def observe(batch: Batch) -> Observation:
    """The observation of a batch of windows."""
    seen = batch.observed.to(batch.share.dtype)
    share = batch.share * seen
    count = seen.sum(1)  # (batch, y, x)
    usual = batch.rhythm * seen
    whole = share.sum((1, 2, 3)) / usual.sum((1, 2, 3)).clamp(min=SMALLEST_RHYTHM)
    whole = torch.where(seen.flatten(1).any(1), whole, NOMINAL_LEVEL)  # nothing is observed: only context is left
    unit_known = count > 0
    level = torch.where(unit_known, share.sum(1) / usual.sum(1).clamp(min=SMALLEST_RHYTHM), whole[:, None, None])
    fitted = fit_week(batch.rhythm, batch.shapes, batch.noise, share, seen, level)
    unit = fitted.level + SMALLEST_UNIT
    users = None if batch.context is None else observe_users(batch, batch.context, share, seen)
    if users is not None:  # a cell without history has the level that its users make
        unseen = torch.where(seen.any(dim=(1, 2, 3))[:, None, None], unit, NOMINAL_LEVEL + SMALLEST_UNIT)
        unseen = torch.where(users.told, users.level + SMALLEST_UNIT, unseen)
        unit = torch.where(unit_known, unit, unseen)

    silent = unit_known & (unit <= SMALLEST_UNIT)
    if users is not None:
        silent = silent | users.nobody
    logs = compress(batch.share) * seen
    compressed = (logs - (logs.sum(1) / count.clamp(min=1))[:, None]) * seen
    known, is_known = _guesses(batch, share, seen, level, fitted)
    left = (share - fitted.share) * seen
    context = None
    if users is not None and batch.context is not None:
        carried = known[:, GUESSES.index("carried")]
        context = observe_context(batch, batch.context, users, share, seen, unit, carried)
    return Observation(
        unit=unit,
        unit_known=unit_known,
        silent=silent,
        relative=((share / unit[:, None]).clamp(max=LARGEST_RELATIVE) - 1) * seen,
        compressed=compressed,
        spread=(compressed.square().sum(1) / count.clamp(min=1)).sqrt(),
        misfit=((left.square().sum(1) / count.clamp(min=1)).sqrt() / unit).clamp(max=LARGEST_RELATIVE),
        known=((known / unit[:, None, None]).clamp(max=LARGEST_RELATIVE) - 1) * is_known,
        is_known=is_known,
        context=context,
    )


def _guesses(
    batch: Batch,
    share: Float[Tensor, "batch time y x"],
    seen: Float[Tensor, "batch time y x"],
    level: Float[Tensor, "batch y x"],
    fitted: Fitted,
) -> tuple[Float[Tensor, "batch guess time y x"], Bool[Tensor, "batch guess time y x"]]:
    """Shares guessed by simple rules, in the order of GUESSES, and where each rule has something to go by.

    `daily`: mean of the same time on the other days of the window; `yesterday`, `day_before`: one and two days before;
    `trend`: `daily` times how much the recent past lay above its own `daily`, in the cell, and `trend_around` in all
    cells together; `recent`: mean of the last hours; `rhythm`: the cell's level times the rhythm; `rhythm_recent`: the
    same with the level of the last hours; `daily_rhythm`: `daily` times how the rhythm of this step differs from that
    of the days averaged; `week`: one week before; `shaped`: the cell's week as its level and shapes were fitted;
    `shaped_recent`: times how much the recent past lay above it; `carried`: plus what lasts of what it leaves over;
    `around`: mean of the other cells at the same time.
    """
    days = _same_time_on_other_days(share, seen, batch.rhythm, batch.step_hours)
    recent_weight = _recency(seen, batch.step_hours, RECENT_HOURS)
    recent = (recent_weight * share).sum(1) / recent_weight.sum(1).clamp(min=1e-9)
    memory = _recency(seen, batch.step_hours, TREND_HOURS)
    level_now = (memory * share).sum(1) / (memory * batch.rhythm).sum(1).clamp(min=1e-9)

    comparable = memory * days.known
    above = (comparable * share).sum(1) + SMALLEST_UNIT * comparable.sum(1)
    below = (comparable * days.mean).sum(1) + SMALLEST_UNIT * comparable.sum(1)
    trend_known, around_known = below > 0, below.sum((1, 2)) > 0
    trend = _ratio(above, below)
    around = _ratio(above.sum((1, 2)), below.sum((1, 2)))[:, None, None]

    fit_now = (memory * share).sum(1) + SMALLEST_UNIT * memory.sum(1)
    fit_then = (memory * fitted.share).sum(1) + SMALLEST_UNIT * memory.sum(1)
    others_seen = seen.sum((2, 3), keepdim=True) - seen
    others = (share.sum((2, 3), keepdim=True) - share) / others_seen.clamp(min=1)
    anything = (seen.sum(1) > 0)[:, None].expand(share.shape)
    known = [
        days.mean,
        *days.before,
        days.mean * trend[:, None],
        days.mean * around[:, None],
        recent[:, None].expand(share.shape),
        level[:, None] * batch.rhythm,
        level_now[:, None] * batch.rhythm,
        days.mean * _ratio(batch.rhythm, days.rhythm),
        batch.week,
        fitted.share,
        fitted.share * _ratio(fit_now, fit_then)[:, None],
        (fitted.share + lasting((share - fitted.share) * seen, seen, batch.step_hours)).clamp(min=0),
        others,
    ]
    is_known = [
        days.known,
        *days.before_known,
        days.known & trend_known[:, None],
        days.known & around_known[:, None, None, None],
        anything,
        torch.ones_like(anything),
        anything,
        days.known,
        batch.week_known,
        torch.ones_like(anything),
        anything,
        torch.ones_like(anything),
        others_seen > 0,
    ]
    return torch.stack(known, 1), torch.stack(is_known, 1)


def _ratio(above: Float[Tensor, "*axes"], below: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """above / below within a factor of four; 1 where there is nothing below."""
    return torch.where(below > 0, above / below.clamp(min=1e-9), 1.0).clamp(0.25, 4.0)


def _recency(
    seen: Float[Tensor, "batch time y x"], step_hours: Float[Tensor, " batch"], memory: float
) -> Float[Tensor, "batch time y x"]:
    """exp(-age / memory) of the observed steps, age counted from the last observed step of the cell."""
    step = torch.arange(seen.shape[1], device=seen.device, dtype=seen.dtype)[None, :, None, None]
    last = torch.where(seen > 0, step, -1.0).amax(1, keepdim=True)
    age = (last - step).clamp(min=0) * step_hours[:, None, None, None]
    return torch.exp(-age / memory) * seen


@dataclass(frozen=True)
class _Days:
    """Averages over the observed steps a whole number of days away, and the steps one and two days before."""

    mean: Float[Tensor, "batch time y x"]
    rhythm: Float[Tensor, "batch time y x"]  # of the steps averaged
    known: Bool[Tensor, "batch time y x"]
    before: Float[Tensor, "2 batch time y x"]
    before_known: Bool[Tensor, "2 batch time y x"]


def _same_time_on_other_days(
    share: Float[Tensor, "batch time y x"],
    seen: Float[Tensor, "batch time y x"],
    rhythm: Float[Tensor, "batch time y x"],
    step_hours: Float[Tensor, " batch"],
) -> _Days:
    """What was observed at the same time of other days of the window.

    Which steps those are is a matrix of the window's steps, the same for all its cells: nothing of it depends on values
    that a GPU would have to be asked for.
    """
    values = torch.stack([share, seen, rhythm * seen], 1)
    step = torch.arange(share.shape[1], device=share.device)
    day = (24 / step_hours).round().long()[:, None, None]
    apart = step[:, None] - step  # of the step that is asked for from every other
    others = ((apart % day == 0) & (apart != 0)).to(share.dtype)  # batch step other
    total = torch.einsum("bts,bcsyx->cbtyx", others, values)
    before = [torch.einsum("bts,bcsyx->cbtyx", (apart == days * day).to(share.dtype), values[:, :2]) for days in (1, 2)]
    shares, known = torch.stack(before, 1)
    count = total[1].clamp(min=1)
    return _Days(total[0] / count, total[2] / count, total[1] > 0, shares, known > 0)
