"""Last week at the level of this one, and how far it is to be trusted: some cities repeat their weeks closely."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fomo.windows.batch import Batch
from fomo.windows.regression import SMALLEST_UNIT, lasting

#: Hours over which it is remembered how much this week lies above the last.
WEEK_HOURS = 12.0
#: Squared errors below this do not tell guesses apart.
TINY = 1e-12


@dataclass(frozen=True)
class LastWeek:
    """Last week at the level of this one, and where there is a last week to compare with."""

    level: Float[Tensor, "batch time y x"]
    recent: Float[Tensor, "batch time y x"]
    carried: Float[Tensor, "batch time y x"]
    known: Bool[Tensor, "batch time y x"]
    both: Float[Tensor, "batch time y x"]  # 1 where this week and the last were recorded

    def trust_beside(
        self, other: Float[Tensor, "batch time y x"], share: Float[Tensor, "batch time y x"]
    ) -> Float[Tensor, "batch 1 1 1"]:
        """How far last week is to be trusted beside another guess, from 0 to 1, by a window's observed steps.

        By the squares of their mean squared errors over all cells: guesses err together, so the better one counts for
        more than if each erred on its own.
        """
        mine, others = (
            ((share - guess) * self.both).square().sum((1, 2, 3)).square() + TINY for guess in (self.level, other)
        )
        return (others / (mine + others))[:, None, None, None]


def week_before(
    batch: Batch, share: Float[Tensor, "batch time y x"], seen: Float[Tensor, "batch time y x"]
) -> LastWeek:
    """The same steps one week before, times how much this week lies above it: in all, and lately."""
    both = seen * batch.week_known

    def above(weight: Float[Tensor, "batch time y x"]) -> Float[Tensor, "batch 1 y x"]:
        now, then = ((weight * week).sum(1) + SMALLEST_UNIT * weight.sum(1) for week in (share, batch.week))
        return ratio_of(now, then)[:, None]

    recent = batch.week * above(recency(both, batch.step_hours, WEEK_HOURS))
    return LastWeek(
        level=batch.week * above(both),
        recent=recent,
        carried=(recent + lasting((share - recent) * both, both, batch.step_hours)).clamp(min=0),
        known=(both.sum(1) > 0)[:, None] & batch.week_known,
        both=both,
    )


def ratio_of(above: Float[Tensor, "*axes"], below: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """above / below within a factor of four; 1 where there is nothing below."""
    return torch.where(below > 0, above / below.clamp(min=1e-9), 1.0).clamp(0.25, 4.0)


def recency(
    seen: Float[Tensor, "batch time y x"], step_hours: Float[Tensor, " batch"], memory: float
) -> Float[Tensor, "batch time y x"]:
    """exp(-age / memory) of the observed steps, age counted from the last observed step of the cell."""
    step = torch.arange(seen.shape[1], device=seen.device, dtype=seen.dtype)[None, :, None, None]
    last = torch.where(seen > 0, step, -1.0).amax(1, keepdim=True)
    age = (last - step).clamp(min=0) * step_hours[:, None, None, None]
    return torch.exp(-age / memory) * seen
