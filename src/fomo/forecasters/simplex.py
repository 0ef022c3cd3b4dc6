"""Weights of experts: not negative, 1 together, with the least squared error (stacking: Wolpert 1992, Breiman 1996)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

#: Weights and slopes this near to zero, in units of the problem's own, are zero.
NOTHING = 1e-12
#: Faces looked at for each expert at most; one or two are usual.
MOST_FACES = 20


def on_simplex(
    squares: Float[np.ndarray, "*problem expert expert"], pull: float, towards: Float[np.ndarray, " expert"]
) -> Float[np.ndarray, "*problem expert"]:
    """The w >= 0 with sum 1 that minimises w' S w + pull |w - towards|^2, exactly, for every S of `squares`.

    `pull` is more than 0, so there is one such w.
    """
    experts = squares.shape[-1]
    quadratic, linear = squares + pull * np.eye(experts), pull * towards
    found = [_lowest(each, linear) for each in quadratic.reshape(-1, experts, experts)]
    return np.reshape(found, squares.shape[:-1])


def _lowest(
    quadratic: Float[np.ndarray, "expert expert"], linear: Float[np.ndarray, " expert"]
) -> Float[np.ndarray, " expert"]:
    """The lowest point of w' Q w - 2 linear' w on the simplex, by the primal active-set method.

    From a point on the simplex towards the lowest one of its face; where a weight becomes 0 on the way, it leaves the
    face, and where the whole way is free, the weight whose growth gains most joins it. Nocedal and Wright, "Numerical
    optimization", 2006, algorithm 16.3.
    """
    here = np.full(len(linear), 1 / len(linear))
    face = np.ones(len(linear), bool)
    size = max(float(np.abs(quadratic).max()), float(np.abs(linear).max()))
    for _ in range(MOST_FACES * len(linear)):
        there = _on_face(quadratic, linear, face)
        if (there >= -NOTHING).all():
            slope = quadratic @ there - linear
            gain = np.where(face, np.inf, slope - slope[face].mean())
            if gain.min() >= -NOTHING * size:
                kept = np.maximum(there, 0.0)
                return np.asarray(kept / kept.sum())
            here, face[gain.argmin()] = there, True
            continue
        falls = there < 0
        way = np.where(falls, here / np.where(falls, here - there, 1.0), np.inf)
        first = int(way.argmin())
        here = np.maximum(here + way[first] * (there - here), 0.0)
        here[first], face[first] = 0.0, False
    return here / here.sum()  # rounding alone goes on for so long, between points that are equally low


def _on_face(
    quadratic: Float[np.ndarray, "expert expert"],
    linear: Float[np.ndarray, " expert"],
    face: Bool[np.ndarray, " expert"],
) -> Float[np.ndarray, " expert"]:
    """The lowest point under the sum alone where weights off the face are 0."""
    system = np.zeros((len(face) + 1, len(face) + 1))
    system[:-1, :-1] = np.where(face[:, None] & face, quadratic, np.eye(len(face)))
    system[:-1, -1] = system[-1, :-1] = face
    return np.asarray(np.linalg.solve(system, np.append(np.where(face, linear, 0.0), 1.0))[:-1])


__all__ = ["on_simplex"]
