"""What every rival reads of a window: the same numbers on the same scale, whatever its architecture.

Traffic is z = log(1 + 50 share) with the level of each cell taken out, the transform that the networks of this project
were found to need (the linear scale of the paper triples their errors); the level is given beside it. So no rival loses
for its scaling.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from fomo.windows.batch import Batch, CellState
from fomo.windows.context import ALL_POI, RESIDENTS, STATIC_LAYERS
from fomo.windows.records import each_tensor, some_rows
from fomo.windows.scale import GAIN, compress

#: Channels of `Inputs.covariates`, all known in advance.
COVARIATES = (
    "sine of the day",
    "cosine of the day",
    "sine of the week",
    "cosine of the week",
    "last week",
    "last week known",
    "users",
    "level of users",
    "users known",
    "all POI",
    "POI known",
    "residents",
    "residents known",
)
#: Channels that say what time it is, the same for all cells.
CALENDAR = 4
STATIC = len(STATIC_LAYERS)
#: Level of a cell in a window of which nothing is observed: that of a usual mean share.
NOMINAL_LEVEL = 1.25
#: Larger than any z that traffic of a city has: members are kept below.
LARGEST = 6.0


@dataclass(frozen=True)
class Inputs:
    """Windows of one shape. Values are 0 where not known."""

    value: Float[Tensor, "batch time y x"]  # z minus the cell's level, where observed
    observed: Bool[Tensor, "batch time y x"]
    asked: Bool[Tensor, "batch time y x"]
    covered: Bool[Tensor, "batch y x"]
    level: Float[Tensor, "batch y x"]  # mean z of the cell's observed steps; the window's mean where it has none
    own_level: Bool[Tensor, "batch y x"]
    covariates: Float[Tensor, "batch channel time y x"]
    static: Float[Tensor, "batch layer y x"]  # log(1 + POI) of each category and of all, residents
    static_known: Bool[Tensor, "batch layer y x"]
    step_hours: Float[Tensor, " batch"]

    @property
    def channels(self) -> Float[Tensor, "batch channel time y x"]:
        """All of it as channels: value, observed, asked, level, own level, covariates. `CHANNELS` of them."""
        steps = self.value.shape[1]
        level = torch.stack([self.level, self.own_level.to(self.level.dtype)], 1)
        own = torch.stack([self.value, self.observed.to(self.value.dtype), self.asked.to(self.value.dtype)], 1)
        return torch.cat([own, repeat(level, "b c y x -> b c t y x", t=steps), self.covariates], 1)

    def rows(self, index: Tensor | slice) -> Inputs:
        """Some of the windows."""
        return some_rows(self, index)


CHANNELS = 5 + len(COVARIATES)


def make_inputs(batch: Batch) -> Inputs:
    """What a rival reads of a batch: OBSERVED traffic, HIDDEN asked for, context as far as it is known."""
    z = compress(batch.share)
    observed = batch.observed
    seen = observed.to(z.dtype)
    count = seen.sum(1)
    window = (z * seen).sum((1, 2, 3)) / seen.sum((1, 2, 3)).clamp(min=1)
    window = torch.where(seen.flatten(1).any(1), window, NOMINAL_LEVEL)
    level = torch.where(count > 0, (z * seen).sum(1) / count.clamp(min=1), window[:, None, None])
    return Inputs(
        value=(z - level[:, None]) * seen,
        observed=observed,
        asked=batch.hidden,
        covered=(batch.state != CellState.PADDING).any(1),
        level=level,
        own_level=count > 0,
        covariates=_covariates(batch, level),
        static=_static(batch)[0],
        static_known=_static(batch)[1],
        step_hours=batch.step_hours,
    )


def targets(batch: Batch, inputs: Inputs) -> Float[Tensor, "batch time y x"]:
    """What is to be produced where `inputs.asked`, of a batch that holds the truth there."""
    return compress(batch.share) - inputs.level[:, None]


def to_share(value: Float[Tensor, "batch sample time y x"], inputs: Inputs) -> Float[Tensor, "batch sample time y x"]:
    """Members relative to the level back to shares of the reference, never negative."""
    z = (value + inputs.level[:, None, None]).clamp(0.0, LARGEST)
    return torch.expm1(z) / GAIN


def _covariates(batch: Batch, level: Float[Tensor, "batch y x"]) -> Float[Tensor, "batch channel time y x"]:
    size = batch.share.shape
    hours = batch.start_hour[:, None] + batch.step_hours[:, None] * torch.arange(size[1])
    angles = [2 * torch.pi * hours / period for period in (24.0, 168.0)]
    calendar = torch.stack([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], 1)
    week = (compress(batch.week) - level[:, None]) * batch.week_known
    users = users_level = users_known = torch.zeros(size)
    if batch.context is not None:
        users_known = batch.context.users_known.to(torch.float32)
        z = compress(batch.context.users) * users_known
        mean = z.sum(1, keepdim=True) / users_known.sum(1, keepdim=True).clamp(min=1)
        users, users_level = (z - mean) * users_known, mean.expand(size)
    static, known = _static(batch)
    fixed = torch.stack([static[:, ALL_POI], known[:, ALL_POI], static[:, RESIDENTS], known[:, RESIDENTS]], 1)
    return torch.cat(
        [
            repeat(calendar, "b c t -> b c t y x", y=size[2], x=size[3]),
            torch.stack([week, batch.week_known.to(torch.float32), users, users_level, users_known], 1),
            repeat(fixed, "b c y x -> b c t y x", t=size[1]),
        ],
        1,
    )


def _static(batch: Batch) -> tuple[Float[Tensor, "batch layer y x"], Bool[Tensor, "batch layer y x"]]:
    if batch.context is None:
        size = (batch.share.shape[0], STATIC, *batch.share.shape[2:])
        return torch.zeros(size), torch.zeros(size, dtype=torch.bool)
    known = batch.context.static_known
    return torch.log1p(batch.context.static) * known, known


def pad(inputs: Inputs, height: int, width: int) -> Inputs:
    """The same windows on a larger grid; cells beyond the old one are not covered, and nothing is known of them."""

    def wider(_: str, part: Tensor) -> Tensor:
        if part.ndim == 1:
            return part
        return nn.functional.pad(part, (0, width - part.shape[-1], 0, height - part.shape[-2]))

    return each_tensor(inputs, wider)


def crop(inputs: Inputs, y: int, x: int, edge: int) -> Inputs:
    """A square of the grid."""
    return each_tensor(inputs, lambda _, part: part if part.ndim == 1 else part[..., y : y + edge, x : x + edge])


def cells(layer: Float[Tensor, "batch channel time y x"]) -> Float[Tensor, "series channel time"]:
    """Every cell a series of its own: series = batch x y x x."""
    return rearrange(layer, "b c t y x -> (b y x) c t")


__all__ = [
    "CALENDAR",
    "CHANNELS",
    "COVARIATES",
    "LARGEST",
    "STATIC",
    "Inputs",
    "cells",
    "crop",
    "make_inputs",
    "pad",
    "targets",
    "to_share",
]
