"""Weights of experts: not negative, 1 together, with the least squared error (stacking: Wolpert 1992, Breiman 1996)."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
from jaxtyping import Bool, Float


def on_simplex(
    squares: Float[np.ndarray, "*problem expert expert"], pull: float, towards: Float[np.ndarray, " expert"]
) -> Float[np.ndarray, "*problem expert"]:
    """The w >= 0 with sum 1 that minimises w' S w + pull |w - towards|^2, exactly, for every S of `squares`.

    The minimum is that of its own support under the sum alone, so all supports are tried: there are few experts.
    """
    experts = squares.shape[-1]
    support = _supports(experts)
    quadratic = squares[..., None, :, :] + pull * np.eye(experts)
    linear = pull * towards
    system = np.zeros((*squares.shape[:-2], len(support), experts + 1, experts + 1))
    both = support[:, :, None] & support[:, None, :]
    system[..., :-1, :-1] = np.where(both, quadratic, np.eye(experts))
    system[..., :-1, -1] = system[..., -1, :-1] = support
    right = np.concatenate([np.where(support, linear, 0.0), np.ones((len(support), 1))], 1)
    weights = np.linalg.solve(system, right[..., None])[..., :-1, 0]
    cost = np.einsum("...si,...sij,...sj->...s", weights, quadratic, weights) - 2 * weights @ linear
    best = np.where((weights >= -1e-12).all(-1), cost, np.inf).argmin(-1)
    clipped = np.maximum(np.take_along_axis(weights, best[..., None, None], -2)[..., 0, :], 0.0)
    return np.asarray(clipped / clipped.sum(-1, keepdims=True))


@cache
def _supports(experts: int) -> Bool[np.ndarray, "support expert"]:
    """Every choice of at least one expert."""
    return np.array(list(product((False, True), repeat=experts))[1:])


__all__ = ["on_simplex"]
