"""PRB allocation (18), one slot: who gets which share of the blocks of a server. Exact.

"A single cloud server ... allocates K PRBs to each cell" (§5.2) is read as: the N cells of a server share K physical
resource blocks (PRBs) in every slot, sum over n of x_n(t) <= K. Were K each cell's own, every cell would simply use all
of them and nothing would be left to decide. A slot is a granularity period of the load. All PRBs of a cell carry the
same bits b_n(t) in a slot, so r_n(t) = x_n(t) b_n(t) and only the number x_n(t) matters.

(18) adds bits, U_n(t+1), and slots, d_n(t). Here both get a weight:

    cost of a slot = sum over n of  U_n(t+1) / backlog_unit_bits + delay_weight U_n(t) / (x_n(t) b_n(t))

With what waits and the channel known and arrivals as members of a forecast, the expected cost of a slot is a sum of
convex functions of the x_n. So giving block after block to the cell that gains most from it ends at the optimum in
integers (Fox 1966): marginal analysis, in `scheduling_marginal`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from fomo.planning.load import Load, PlanError
from fomo.planning.scheduling_marginal import in_proportion, marginal_allocation


@dataclass(frozen=True)
class PrbParameters:
    """Units and weights of (18)."""

    #: Backlog of a cell, in bits, that costs as much as a delay of one slot at `delay_weight` 1.
    #: `parameters_of_history` takes the mean bits that arrive in a cell and slot.
    backlog_unit_bits: float
    #: Bits in one unit of the load: 8 for bytes.
    bits_per_unit: float = 8.0
    #: Cost of one slot of delay in one cell.
    delay_weight: float = 1.0
    #: Slots that a receding horizon looks ahead, the current one included.
    horizon_slots: int = 4

    def __post_init__(self) -> None:
        """Refuse weights that make no objective. Raises `PlanError`."""
        for name in ("backlog_unit_bits", "bits_per_unit"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise PlanError(f"{name} is {value}: give a positive number of bits")
        if not (math.isfinite(self.delay_weight) and self.delay_weight > 0):
            raise PlanError(f"delay_weight is {self.delay_weight}: the cost of a slot of delay is above 0")
        if self.horizon_slots < 1:
            raise PlanError(f"horizon_slots is {self.horizon_slots}: look at the current slot at least, so 1 or more")


def parameters_of_history(
    history: Load, *, bits_per_unit: float = 8.0, delay_weight: float = 1.0, horizon_slots: int = 4
) -> PrbParameters:
    """Parameters whose unit of backlog is what arrives in a cell in a slot of the history, in the mean.

    A backlog of an average slot's traffic then costs as much as a slot of delay. Raises `PlanError`: no traffic.
    """
    mean = float(history.members.mean()) * bits_per_unit
    if mean <= 0:
        raise PlanError("the history carries no traffic, so it gives no unit of backlog: set backlog_unit_bits")
    return PrbParameters(mean, bits_per_unit, delay_weight, horizon_slots)


def prbs_needed(
    history: Load, mean_bits_per_prb: Float[np.ndarray, " cell"], parameters: PrbParameters
) -> Float[np.ndarray, " time"]:
    """PRBs that carry the mean load of each slot at once with the mean channel (bits per PRB and slot).

    Raises `PlanError`: other cells than the history's.
    """
    if mean_bits_per_prb.shape != history.members.shape[2:]:
        raise PlanError(
            f"{len(mean_bits_per_prb)} mean channels for {history.members.shape[2]} cells: give one for each"
        )
    return (history.mean * parameters.bits_per_unit / mean_bits_per_prb).sum(-1)


def dimension_prbs(
    history: Load, mean_bits_per_prb: Float[np.ndarray, " cell"], parameters: PrbParameters, busy_share: float = 1.05
) -> int:
    """The K with which the busiest slot of the history would use `busy_share` of all PRBs at the mean channel.

    Above 1 the server is short of blocks in its busiest slots, which is where allocation matters; at 0.5 it hardly
    does. `prbs_needed` says what it rests on. Raises `PlanError`: that is less than one PRB a cell.
    """
    needed = _busiest(history, mean_bits_per_prb, parameters, busy_share)
    prbs, cells = math.ceil(needed / busy_share), len(mean_bits_per_prb)
    if prbs < cells:
        raise PlanError(
            f"the busiest slot needs {needed:g} PRBs, fewer than one for each of {cells} cells: set bits_per_unit for "
            f"{history.unit!r} (8 for bytes), or where that is no volume, take bits_per_unit_of(history, ...)"
        )
    return prbs


def bits_per_unit_of(
    history: Load, mean_bits_per_prb: Float[np.ndarray, " cell"], prbs: int, busy_share: float = 1.05
) -> float:
    """Bits in a unit of the load with which the busiest slot of the history uses `busy_share` of `prbs` blocks.

    For a load whose unit is no volume (counts, shares): it gives it a scale, so that K is chosen and not the load. An
    assumption, to be told with the result. Raises `PlanError`: no traffic.
    """
    needed = _busiest(history, mean_bits_per_prb, PrbParameters(1.0, bits_per_unit=1.0), busy_share)
    if prbs < 1 or needed <= 0:
        raise PlanError(f"{prbs} PRBs and a busiest slot of {needed:g} PRBs give no scale: both must be above 0")
    return prbs * busy_share / needed


def _busiest(
    history: Load, mean_bits_per_prb: Float[np.ndarray, " cell"], parameters: PrbParameters, busy_share: float
) -> float:
    """PRBs that the busiest slot needs; refuses a share that is none."""
    if not (math.isfinite(busy_share) and busy_share > 0):
        raise PlanError(f"busy_share is {busy_share}: it is the used share of all PRBs in the busiest slot, above 0")
    return float(prbs_needed(history, mean_bits_per_prb, parameters).max())


def allocate_slot(
    backlog: Float[np.ndarray, " cell"],
    arriving: Float[np.ndarray, "sample cell"],
    bits_per_prb: Float[np.ndarray, " cell"],
    prbs: int,
    parameters: PrbParameters,
) -> Int[np.ndarray, " cell"]:
    """PRBs of each cell that minimise the expected cost of this slot: exact. All are given out.

    `backlog` waits at the start of the slot and `arriving` are members of what arrives in it, in bits; one PRB carries
    `bits_per_prb` bits in the slot. A cell with backlog gets one PRB or more, as its delay is infinite without. Blocks
    that no cell gains from are spread as the expected arrivals are: they help should more arrive than any member has.
    Raises `PlanError`: fewer PRBs than cells with backlog.
    """
    check_slot(backlog, arriving, bits_per_prb, prbs)
    gain = partial(slot_gain, backlog=backlog, arriving=arriving, bits_per_prb=bits_per_prb, parameters=parameters)
    given = marginal_allocation(gain, (backlog > 0).astype(np.int64), prbs)
    return given + in_proportion(arriving.mean(0) / bits_per_prb, prbs - int(given.sum()))


def slot_gain(
    given: Int[np.ndarray, " cell"],
    backlog: Float[np.ndarray, " cell"],
    arriving: Float[np.ndarray, "sample cell"],
    bits_per_prb: Float[np.ndarray, " cell"],
    parameters: PrbParameters,
) -> Float[np.ndarray, " cell"]:
    """Expected cost that one block beyond the given ones saves in each cell, in this slot."""
    sent = np.clip(backlog + arriving - given * bits_per_prb, 0.0, bits_per_prb).mean(0)
    return sent / parameters.backlog_unit_bits + delay_gain(backlog, bits_per_prb, given, parameters.delay_weight)


def delay_gain(
    backlog: Float[np.ndarray, " cell"],
    bits_per_prb: Float[np.ndarray, " cell"],
    given: Int[np.ndarray, " cell"],
    weight: float,
) -> Float[np.ndarray, " cell"]:
    """Cost of delay that one block more saves: weight U/b (1/x - 1/(x+1)) for x >= 1 blocks, 0 without backlog."""
    return weight * backlog / (bits_per_prb * np.maximum(given, 1) * (given + 1.0))


def equal_share(prbs: int, cells: int) -> Int[np.ndarray, " cell"]:
    """What needs no forecast: K / N blocks for every cell, the remainder to the first. Raises `PlanError`."""
    if prbs < cells:
        raise PlanError(f"{prbs} PRBs do not give each of {cells} cells one: raise the PRBs or serve fewer cells")
    return prbs // cells + (np.arange(cells) < prbs % cells).astype(np.int64)


def check_slot(
    backlog: Float[np.ndarray, " cell"],
    arriving: Float[np.ndarray, "*axes cell"],
    bits_per_prb: Float[np.ndarray, "*other cell"],
    prbs: int,
) -> None:
    """Refuse what no allocation can be made of. Raises `PlanError`."""
    for name, values, least in (
        ("the backlog", backlog, "0 or more"),
        ("the arriving traffic", arriving, "0 or more"),
        ("what a PRB carries", bits_per_prb, "above 0"),
    ):
        wrong = ~(np.isfinite(values) & ((values > 0) if least == "above 0" else (values >= 0)))
        if wrong.any():
            at = tuple(np.argwhere(wrong)[0])
            raise PlanError(f"{name} is {values[at]} bits in cell {at[-1]}: it must be {least}, and known")
    waiting = int((backlog > 0).sum())
    if prbs < max(waiting, 1):
        raise PlanError(
            f"{prbs} PRBs for {waiting} cells with backlog: each needs one, or its delay is infinite; "
            "raise the PRBs or serve fewer cells"
        )


__all__ = [
    "PrbParameters",
    "allocate_slot",
    "bits_per_unit_of",
    "check_slot",
    "delay_gain",
    "dimension_prbs",
    "equal_share",
    "parameters_of_history",
    "prbs_needed",
    "slot_gain",
]
