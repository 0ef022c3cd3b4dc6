"""Marginal analysis (Fox 1966): indivisible blocks given, one after the other, to who gains most from the next one.

Where nobody's gain grows with what they have (costs are convex), the end is the optimum in integers. The order of the
blocks does not matter for the result: the gain of the last block is found by bisection, without a walk through them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int


def marginal_allocation(
    gain: Callable[[Int[np.ndarray, " cell"]], Float[np.ndarray, " cell"]], least: Int[np.ndarray, " cell"], prbs: int
) -> Int[np.ndarray, " cell"]:
    """Integers x >= least with sum(x) <= prbs and the largest total gain; blocks without gain stay ungiven.

    `gain(x)`: what each cell gains from one block beyond x, never growing with x. With x(v) = least + the number of
    blocks that gain more than v, the smallest v with sum x(v) <= prbs is bisected over the positive floats (their bits
    as integers have the same order), from gain to gain that occurs, down to neighbours: each block left then gains
    exactly v, and cells that tie share what is left evenly. Expects sum(least) <= prbs.
    """
    low, high = least, least + (prbs - int(least.sum()))
    high = _gaining(gain, 0.0, low, high)
    if int(high.sum()) <= prbs:
        return high
    above, below = _order(gain(low).max()), _last_given(gain, least, high)
    while above - below > 1:
        middle = (below + above) // 2
        count = _gaining(gain, float(np.int64(middle).view(np.float64)), low, high)
        if int(count.sum()) == prbs:
            return count
        if int(count.sum()) > prbs:  # no block gains a value between the old and the new border: x(v) is the same
            high, below = count, max(_last_given(gain, least, count), middle)
        else:
            low, above = count, min(_order(gain(count).max()), middle)
    return low + evenly(high - low, prbs - int(low.sum()))


def _last_given(
    gain: Callable[[Int[np.ndarray, " cell"]], Float[np.ndarray, " cell"]],
    least: Int[np.ndarray, " cell"],
    given: Int[np.ndarray, " cell"],
) -> int:
    """The order of the value just below the smallest gain among the blocks that are given beyond the least."""
    more = given > least
    return _order(gain(np.maximum(given - 1, least))[more].min()) - 1


def _order(value: np.floating[Any]) -> int:
    """The place of a float that is 0 or more among all of them."""
    return int(np.float64(value).view(np.int64))


def _gaining(
    gain: Callable[[Int[np.ndarray, " cell"]], Float[np.ndarray, " cell"]],
    value: float,
    low: Int[np.ndarray, " cell"],
    high: Int[np.ndarray, " cell"],
) -> Int[np.ndarray, " cell"]:
    """The first x in low..high of each cell beyond which a block gains no more than `value`; bisection."""
    while (low < high).any():
        middle = (low + high) // 2
        more = (gain(middle) > value) & (low < high)
        low, high = np.where(more, middle + 1, low), np.where(more, high, middle)
    return low


def evenly(room: Int[np.ndarray, " cell"], blocks: int) -> Int[np.ndarray, " cell"]:
    """As many blocks for every cell, up to its room; the last few to the first cells that have room."""
    low, high = 0, int(room.max(initial=0))
    while low < high:  # the highest level that does not take more than there is
        middle = (low + high + 1) // 2
        low, high = (middle, high) if int(np.minimum(room, middle).sum()) <= blocks else (low, middle - 1)
    given = np.minimum(room, low)
    given[np.flatnonzero(room > low)[: blocks - int(given.sum())]] += 1
    return given


def in_proportion(weights: Float[np.ndarray, " cell"], blocks: int) -> Int[np.ndarray, " cell"]:
    """Blocks in proportion to weights, by largest remainder; equally where all weights are 0."""
    total = float(weights.sum())
    quota = blocks * (weights / total if total > 0 else np.full(len(weights), 1 / len(weights)))
    given = np.floor(quota + 1e-9).astype(np.int64)  # 3 x (1/3) must not be 0
    first = np.argsort(given - quota, kind="stable")[: max(blocks - int(given.sum()), 0)]
    given[first] += 1
    return given


__all__ = ["evenly", "in_proportion", "marginal_allocation"]
