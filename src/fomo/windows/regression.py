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
#: The variance of the traffic per user of a busy hour grows with its users to this power (journal, 2026-11-24).
RATE_NOISE_POWER = 1.5
#: Users relative to their mean count as this many at least where the noise of the traffic per user is found.
FEWEST_TIMES = 0.05


@dataclass(frozen=True)
class Prior:
    """What is thought of the weights of cells before anything is observed of them.

    The first weight is that of the level, relative to it. It has a part that the cells of a window share, of its own
    mean and variance, beside that of the cell.
    """

    mean: Float[Tensor, "batch y x weight"]
    variance: Float[Tensor, "batch y x weight"]
    shared_mean: Float[Tensor, " batch"]
    shared_variance: Float[Tensor, " batch"]


@dataclass(frozen=True)
class Fitted:
    """What every cell carries at every step as its level and shapes were fitted to what is observed."""

    level: Float[Tensor, "batch y x"]
    share: Float[Tensor, "batch time y x"]
    weights: Float[Tensor, "batch y x weight"]  # of the level, then of the shapes
    root: Float[Tensor, "batch y x weight other"]  # Cholesky factor of their precision


def fit_week(
    rhythm: Float[Tensor, "batch time y x"],
    shapes: Float[Tensor, "batch shape time"],
    noise: Float[Tensor, "batch time"],
    share: Float[Tensor, "batch time y x"],
    seen: Float[Tensor, "batch time y x"],
    level: Float[Tensor, "batch y x"],
    times: Float[Tensor, "batch time y x"] | None = None,
    noise_power: float = 2.0,
    prior: Prior | None = None,
) -> Fitted:
    """The most probable level and weights of the shapes of each cell: a Bayesian linear regression (Bishop, 3.3).

    share = level rhythm + scale (d rhythm + sum over k of z_k shape_k + noise), with the level as the rhythm alone
    gives it, scale = level + SMALLEST_UNIT, d normal of variance LEVEL_VARIANCE, z standard normal, all independent.
    With `times`, the users of the cell relative to their mean, rhythm and shapes are those of the traffic per user:
    both are multiplied by it, and the variance of the noise by `times` to the power `noise_power`.
    With a `prior`, it takes the place of these, and `level` that of `scale` before d. A part that cells share makes
    them one regression; it is eliminated cell by cell, so the cost stays that of the cells.
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
    of_level = rhythm if prior is None else rhythm * (level / scale)[:, None]
    design = torch.cat([rearrange(of_level, "b t y x -> b y x t 1"), rows], -1)
    weighted = design * rearrange(seen / variance, "b t y x -> b y x t 1")
    information = weighted.mT @ design
    target = weighted.mT @ rearrange(left, "b t y x -> b y x t 1")
    if prior is None:
        certain = torch.ones(len(share), design.shape[-1], dtype=share.dtype, device=share.device)
        certain[:, 0] = 1 / LEVEL_VARIANCE
        root = _root(information + torch.diag_embed(certain)[:, None, None])
        weights = torch.cholesky_solve(target, root)  # b y x 1+k 1
    else:
        root = _root(information + torch.diag_embed(1 / prior.variance))
        weights = _with_shared_level(information, target, root, prior)
    moved = rearrange(design @ weights, "b y x t 1 -> b t y x")
    fitted_level = level + (scale if prior is None else level) * weights[..., 0, 0]
    return Fitted(
        level=torch.minimum(torch.maximum(fitted_level, level / LARGEST_MOVE), level * LARGEST_MOVE),
        share=(level[:, None] * rhythm + scale[:, None] * moved).clamp(min=0),
        weights=weights[..., 0],
        root=root,
    )


def _root(precision: Float[Tensor, "batch y x weight other"]) -> Float[Tensor, "batch y x weight other"]:
    """The Cholesky factor of what is positive definite, as a prior is in it: a GPU is not asked whether it is."""
    return torch.linalg.cholesky_ex(precision).L


def _with_shared_level(
    information: Float[Tensor, "batch y x weight other"],
    target: Float[Tensor, "batch y x weight 1"],
    root: Float[Tensor, "batch y x weight other"],
    prior: Prior,
) -> Float[Tensor, "batch y x weight 1"]:
    """Weights of cells whose levels have a part in common: block elimination, the common part last."""
    mean = rearrange(prior.mean, "b y x w -> b y x w 1")
    left = target - information @ mean
    column = information[..., :1]
    own, by_shared = torch.cholesky_solve(left, root), torch.cholesky_solve(column, root)
    row = information[..., :1, :]
    certain = 1 / prior.shared_variance + (information[..., 0, 0] - (row @ by_shared)[..., 0, 0]).sum((1, 2))
    found = prior.shared_mean / prior.shared_variance + (left[..., 0, 0] - (row @ own)[..., 0, 0]).sum((1, 2))
    shared = (found / certain)[:, None, None, None, None]
    weights = own - by_shared * shared + mean
    return torch.cat([weights[..., :1, :] + shared, weights[..., 1:, :]], -2)


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
