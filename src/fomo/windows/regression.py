"""What a few observed hours say of a cell's week: its level, its shapes and what lasts of the rest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor

#: Added to every cell's level: the share below which differences do not matter.
SMALLEST_UNIT = 0.002
#: Relative values above this are cut: one spike must not rule a window.
LARGEST_RELATIVE = 8.0
#: What is left of a cell's week beside its shapes stays for about so long; the noise of a value is so many hours of it.
CARRIED_HOURS, CARRIED_NOISE = 1.0, 0.25
#: Variance of a cell's level around what the rhythm alone says of it, in the fit of the shapes; a fit moves the level
#: by this factor at most.
LEVEL_VARIANCE, LARGEST_MOVE = 10.0, 4.0
#: Users relative to their mean count as this many at least where the noise of the traffic per user is found.
FEWEST_TIMES = 0.05


@dataclass(frozen=True)
class Fitted:
    """What every cell carries at every step as its level and shapes were fitted to what is observed."""

    level: Float[Tensor, "batch y x"]
    share: Float[Tensor, "batch time y x"]


def fit_week(
    rhythm: Float[Tensor, "batch time y x"],
    shapes: Float[Tensor, "batch shape time"],
    noise: Float[Tensor, "batch time"],
    share: Float[Tensor, "batch time y x"],
    seen: Float[Tensor, "batch time y x"],
    level: Float[Tensor, "batch y x"],
    times: Float[Tensor, "batch time y x"] | None = None,
    noise_power: float = 2.0,
    level_variance: float | Float[Tensor, " batch"] = LEVEL_VARIANCE,
) -> Fitted:
    """The most probable level and weights of the shapes of each cell: a Bayesian linear regression (Bishop, 3.3).

    share = level rhythm + scale (d rhythm + sum over k of z_k shape_k + noise), with the level as the rhythm alone
    gives it, scale = level + SMALLEST_UNIT, d normal of variance `level_variance`, z standard normal, all independent.
    With `times`, the users of the cell relative to their mean, rhythm and shapes are those of the traffic per user:
    both are multiplied by it, and the variance of the noise by `times` to the power `noise_power`.
    """
    height, width = share.shape[2:]
    scale = level + SMALLEST_UNIT
    rows = repeat(shapes, "b k t -> b y x t k", y=height, x=width)
    variance = noise[:, :, None, None]
    if times is not None:
        rhythm = rhythm * times
        rows = rows * rearrange(times, "b t y x -> b y x t 1")
        variance = variance * times.clamp(min=FEWEST_TIMES) ** noise_power
    left = ((share - level[:, None] * rhythm) / scale[:, None]).clamp(-LARGEST_RELATIVE, LARGEST_RELATIVE) * seen
    design = torch.cat([rearrange(rhythm, "b t y x -> b y x t 1"), rows], -1)
    weighted = design * rearrange(seen / variance, "b t y x -> b y x t 1")
    prior = torch.ones(len(share), design.shape[-1], dtype=share.dtype, device=share.device)
    prior[:, 0] = 1 / level_variance
    precision = weighted.mT @ design + torch.diag_embed(prior)[:, None, None]
    target = weighted.mT @ rearrange(left, "b t y x -> b y x t 1")
    weights = torch.cholesky_solve(target, torch.linalg.cholesky(precision))  # b y x 1+k 1
    moved = rearrange(design @ weights, "b y x t 1 -> b t y x")
    fitted_level = level + scale * weights[..., 0, 0]
    return Fitted(
        level=torch.minimum(torch.maximum(fitted_level, level / LARGEST_MOVE), level * LARGEST_MOVE),
        share=(level[:, None] * rhythm + scale[:, None] * moved).clamp(min=0),
    )


def lasting(
    left: Float[Tensor, "batch time y x"], seen: Float[Tensor, "batch time y x"], step_hours: Float[Tensor, " batch"]
) -> Float[Tensor, "batch time y x"]:
    """What the residuals seen say of all steps: the conditional mean of an Ornstein-Uhlenbeck process under noise.

    Correlation exp(-hours / CARRIED_HOURS), noise of CARRIED_NOISE / hours of a step relative to its variance. The
    precision of such a process has three diagonals (Rue & Held, Gaussian Markov Random Fields, 1.1), so elimination
    down and substitution up (Thomas) solve it in O(time).
    """
    steps = left.shape[1]
    hours = step_hours[:, None, None]
    keep = torch.exp(-hours / CARRIED_HOURS)
    change = 1 - keep.square()
    trust = seen * (hours / CARRIED_NOISE)[:, None]
    diagonal = trust + ((1 + keep.square()) / change)[:, None]
    diagonal[:, 0] -= keep.square() / change
    diagonal[:, -1] -= keep.square() / change
    beside = -keep / change
    target = trust * left
    ratios, values = [beside / diagonal[:, 0]], [target[:, 0] / diagonal[:, 0]]
    for step in range(1, steps):
        pivot = diagonal[:, step] - beside * ratios[-1]
        values.append((target[:, step] - beside * values[-1]) / pivot)
        ratios.append(beside / pivot)
    for step in range(steps - 2, -1, -1):
        values[step] = values[step] - ratios[step] * values[step + 1]
    return torch.stack(values, 1)
