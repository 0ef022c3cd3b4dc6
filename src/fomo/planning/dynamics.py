"""What happens in a period, as §5 of the paper writes it: the arithmetic that plans and the simulator share.

Every function takes arrays of any shape that broadcast; the last axis is usually the cell.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def carried_by_radio_units(
    load: Float[np.ndarray, "..."], active: Int[np.ndarray, "..."], capacity: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """min(L, x c0): what the active radio units carry of a load (§5.1), in the unit of the load."""
    return np.minimum(load, active * capacity)


def lost_share(
    load: Float[np.ndarray, "..."], active: Int[np.ndarray, "..."], capacity: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """max(L - x c0, 0) / L: the share of a load that is not carried, Q's term in (17); 0 where there is no load."""
    lost = np.maximum(load - active * capacity, 0.0)
    return np.divide(lost, load, out=np.zeros(np.broadcast(lost, load).shape), where=load > 0)


def switched(
    active: Int[np.ndarray, "*axes time cell"], before: Int[np.ndarray, " cell"]
) -> Int[np.ndarray, "*axes time cell"]:
    """|x_t - x_{t-1}|: radio units switched on or off at the start of each period, the term of W in (17)."""
    first = np.broadcast_to(before, active[..., :1, :].shape)
    return np.abs(np.diff(active, axis=-2, prepend=first))


def next_backlog(
    backlog: Float[np.ndarray, "..."], arriving: Float[np.ndarray, "..."], rate: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """U(t+1) = max(U(t) + P(t) - r(t), 0): data that wait after a slot (§5.2), all in bits per slot."""
    return np.maximum(backlog + arriving - rate, 0.0)


def delay(backlog: Float[np.ndarray, "..."], rate: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """d(t) = U(t) / r(t): slots until what waits at the start of a slot is sent (§5.2); 0 where nothing waits.

    Infinite where something waits and the cell has no rate.
    """
    shape = np.broadcast(backlog, rate).shape
    slots = np.full(shape, np.inf)
    np.divide(backlog, rate, out=slots, where=np.broadcast_to(rate > 0, shape))
    return np.where(backlog > 0, slots, 0.0)


def shannon_bits(
    bandwidth_hz: float, seconds: float, signal_to_noise: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """B log2(1 + p h / sigma^2) times the seconds of a slot: bits that one resource block carries in it (§5.2)."""
    return bandwidth_hz * seconds * np.log2(1.0 + signal_to_noise)
