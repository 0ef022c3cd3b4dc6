"""What a cell's users say of its traffic per user before any of its traffic is known.

Traffic per user is not the same everywhere. Its level differs between regions and between the cells of one region: two
variances, which together say what the other cells of a window are worth. And cells whose users come at night, or
at the weekend, have another level and another week of traffic per user than those of the working day: a linear
regression of the one's weights on the other's, over the cells of a family (functional linear models: Ramsay &
Silverman, Functional Data Analysis, chapter 16).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fomo.windows.clock import HOURS_PER_WEEK, Clock
from fomo.windows.regression import RATE_NOISE_POWER, fit_week
from fomo.windows.rhythm import SMALLEST_BUSY, slots_of_week
from fomo.windows.shapes import OF_PER_USER, SHAPES, Pattern, usual_in_window

#: Weights of a cell's week of traffic per user: its level, then its shapes.
WEIGHTS = 1 + SHAPES
#: The regression is drawn to nothing as if so many cells had shown nothing.
SILENT_CELLS = 20.0
#: The least variances that are believed, of the logarithm of traffic per user: of a cell, and of a region.
SMALLEST_WITHIN, SMALLEST_BETWEEN = 0.0025, 0.003
#: Those where nothing says them.
UNKNOWN_WITHIN, UNKNOWN_BETWEEN = 0.25, 0.25


@dataclass(frozen=True)
class Answer:
    """The regression of a cell's traffic per user on its users, in standard deviations of the shapes.

    Weight w of the traffic per user is `expected[w] @ z` for users with the weights z of their shapes, with a share
    `left[w]` of its variance. The level's weight is the logarithm of the level over that of the region.
    """

    expected: Float[np.ndarray, "weight shape"]
    left: Float[np.ndarray, " weight"]

    @classmethod
    def none(cls) -> Answer:
        """Users say nothing."""
        return cls(np.zeros((WEIGHTS, SHAPES)), np.ones(WEIGHTS))

    @property
    def stored(self) -> Float[np.ndarray, "weight number"]:
        """Both as one array."""
        return np.column_stack([self.expected, self.left]).astype(np.float32)

    @classmethod
    def restored(cls, stored: Float[np.ndarray, "weight number"]) -> Answer:
        """The inverse of `stored`."""
        return cls(np.asarray(stored[:, :-1], np.float64), np.asarray(stored[:, -1], np.float64))


@dataclass(frozen=True)
class CellWeeks:
    """The mean week of the busy cells of one region: shares by slot of the week, 0 where never recorded."""

    traffic: Float[np.ndarray, "slot cell"]
    users: Float[np.ndarray, "slot cell"]
    seen: Bool[np.ndarray, "slot cell"]

    @property
    def slots(self) -> int:
        """Steps in a week."""
        return len(self.traffic)

    @property
    def mean(self) -> Float[np.ndarray, " cell"]:
        """Mean traffic of each cell."""
        return np.asarray(self.traffic.sum(0) / np.maximum(self.seen.sum(0), 1))

    @property
    def rate(self) -> Float[np.ndarray, " cell"]:
        """Logarithm of each cell's traffic per user."""
        return np.asarray(np.log(self.traffic.sum(0) / self.users.sum(0)))


def cell_weeks(share: np.ndarray, users: np.ndarray, start_hour: float, step_hours: float) -> CellWeeks:
    """Those of `share` and `users` (time, y, x), shares, NaN = not recorded."""
    slots, slot = slots_of_week(len(share), start_hour, step_hours)
    share, users = share.reshape(len(share), -1), users.reshape(len(share), -1)
    known = np.isfinite(share) & np.isfinite(users)
    total = np.zeros((3, slots, share.shape[1]))
    for row, part in enumerate((share, users, np.ones(share.shape))):
        np.add.at(total[row], slot, np.where(known, part, 0.0).astype(np.float64))
    count = np.maximum(total[2], 1.0)
    recorded = np.maximum(known.sum(0), 1)
    busy = (total[0].sum(0) > SMALLEST_BUSY * recorded) & (total[1].sum(0) > SMALLEST_BUSY / 2 * recorded)
    return CellWeeks(total[0][:, busy] / count[:, busy], total[1][:, busy] / count[:, busy], total[2][:, busy] > 0)


def rate_variances(regions: Sequence[CellWeeks]) -> tuple[float | None, float | None]:
    """Variance of the logarithm of traffic per user within the regions and between them, busy cells counting more.

    Unbiased for weights of which a few cells have most (their effective number is W^2 / sum w^2, Kish, 1965). None
    where no region has two cells, or where there are no two regions.
    """
    regions = [region for region in regions if region.mean.size]
    if not regions:
        return None, None
    total, means, worth, squares, freedom = [], [], [], 0.0, 0.0
    for region in regions:
        weight = region.mean / region.mean.sum()
        mean = float(weight @ region.rate)
        worth.append(float(np.square(weight).sum()))  # 1 / effective number of cells
        means.append(mean)
        total.append(float(region.mean.sum()))
        squares += total[-1] * float(weight @ np.square(region.rate - mean))
        freedom += total[-1] * (1 - worth[-1])
    within = squares / freedom if freedom > 0 else None
    if within is None or len(regions) < 2:
        return within, None
    share = np.sqrt(total) / np.sqrt(total).sum()  # large regions count more, but do not rule
    spread = float(share @ np.square(means - share @ means)) / (1 - float(np.square(share).sum()))
    return within, max(spread - within * float(share @ worth), 0.0)


def answer_of(regions: Sequence[CellWeeks], users: Pattern, per_user: Pattern) -> Answer:
    """The regression over the cells of some regions, for these patterns; busy cells count more."""
    regions = [region for region in regions if region.mean.size and region.slots == len(per_user.curve)]
    if not regions:
        return Answer.none()
    asked = [_weights(region.users, region.seen, users) for region in regions]
    told = [_weights(region.traffic, region.seen, per_user, region.users) for region in regions]
    weight = np.concatenate([region.mean for region in regions])
    for region, own in zip(regions, told, strict=True):
        own[:, 0] -= np.average(own[:, 0], weights=region.mean)  # what a region has in common is not for users to say
    z, found = np.concatenate(asked)[:, 1:], np.concatenate(told)
    weighted = z * (weight / weight.mean())[:, None]
    expected = np.linalg.solve(weighted.T @ z + SILENT_CELLS * np.eye(SHAPES), weighted.T @ found)
    before, after = (np.average(np.square(part), axis=0, weights=weight) for part in (found, found - z @ expected))
    left = np.divide(after, before, out=np.ones(WEIGHTS), where=before > 0)
    return Answer(expected.T, np.clip(left, 0.2, 1.0))


def _weights(
    share: np.ndarray, seen: np.ndarray, pattern: Pattern, users: np.ndarray | None = None
) -> Float[np.ndarray, "cell weight"]:
    """Logarithm of the level and weights of the shapes of whole weeks; with `users`, of the share per user."""
    slots, cells = share.shape
    size = (slots, 1, cells)
    steady = None if users is None else OF_PER_USER
    usual = usual_in_window(pattern, None, Clock(0.0, HOURS_PER_WEEK / slots), size, steady)
    rhythm, shapes, noise = (torch.from_numpy(np.array(usual[name])).float()[None] for name in usual)
    shares, there = (_row(part) for part in (share, seen))
    times, mean = None, np.ones(cells)
    if users is not None:
        mean = users.sum(0) / np.maximum(seen.sum(0), 1)
        times = _row(users / mean)
    carried = rhythm if times is None else rhythm * times
    level = shares.sum(1) / (carried * there).sum(1)
    fit = fit_week(rhythm, shapes, noise, shares, there, level, times, RATE_NOISE_POWER)
    found = fit.weights[0, 0].double().numpy()
    found[:, 0] = np.log(fit.level[0, 0].double().numpy() / mean)
    return np.asarray(found)


def _row(part: np.ndarray) -> Float[Tensor, "1 slot 1 cell"]:
    return torch.from_numpy(part.astype(np.float32))[None, :, None]


__all__ = [
    "SILENT_CELLS",
    "WEIGHTS",
    "Answer",
    "CellWeeks",
    "answer_of",
    "cell_weeks",
    "rate_variances",
]
