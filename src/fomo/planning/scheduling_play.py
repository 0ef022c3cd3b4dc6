"""PRB allocation (18) played against what really arrived, slot by slot.

In each slot the backlog and the channel are known, the PRBs are given out with what the forecast says of this slot and
later ones, and then the true traffic arrives: U(t+1) = max(U(t) + P(t) - r(t), 0). Bits are conserved: what arrived is
what was carried and what waits at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from fomo.planning.channel import Channel
from fomo.planning.dynamics import delay, next_backlog
from fomo.planning.load import Load, PlanError
from fomo.planning.scheduling import PrbParameters, allocate_slot, equal_share
from fomo.planning.scheduling_horizon import allocate_horizon


@dataclass(frozen=True)
class PrbOutcome:
    """What became of an allocation."""

    #: Start of every slot, local wall-clock.
    time: np.ndarray
    #: PRBs given to each cell.
    prbs: Int[np.ndarray, "time cell"]
    #: Bits that arrived in each slot.
    arrived_bits: Float[np.ndarray, "time cell"]
    #: Bits that were carried: min(U(t) + P(t), r(t)).
    carried_bits: Float[np.ndarray, "time cell"]
    #: Bits that wait at the end of each slot, U(t+1).
    backlog_bits: Float[np.ndarray, "time cell"]
    #: Slots until what waited at the start of each slot is sent, d(t) = U(t) / r(t).
    delay_slots: Float[np.ndarray, "time cell"]
    step_minutes: int
    #: The sum over slots and cells of U(t+1) / backlog_unit_bits.
    backlog_cost: float
    #: The sum over slots and cells of delay_weight d(t).
    delay_cost: float

    @property
    def objective(self) -> float:
        """(18) with its weights."""
        return self.backlog_cost + self.delay_cost

    @property
    def mean_backlog_bits(self) -> float:
        """Mean over slots and cells of the bits that wait at the end of a slot."""
        return float(self.backlog_bits.mean())

    @property
    def mean_delay_slots(self) -> float:
        """Mean over slots and cells of the delay, in slots."""
        return float(self.delay_slots.mean())

    @property
    def mean_delay_minutes(self) -> float:
        """Mean over slots and cells of the delay, in minutes."""
        return self.mean_delay_slots * self.step_minutes

    @property
    def carried_share(self) -> float:
        """Carried bits of those that arrived or waited at the start; 1 where there were none."""
        waiting = float(self.carried_bits.sum() + self.backlog_bits[-1].sum())
        return float(self.carried_bits.sum()) / waiting if waiting > 0 else 1.0


def play_prb(
    forecast: Load | None,
    truth: Load,
    channel: Channel,
    prbs: int,
    parameters: PrbParameters,
    method: Literal["slot", "horizon"] = "slot",
    backlog: Float[np.ndarray, " cell"] | None = None,
) -> PrbOutcome:
    """Allocate with a forecast, slot by slot, and see what happens with the truth (a load of one member).

    `forecast`: a load of the same periods and cells; the truth itself is the oracle's; None shares the PRBs equally
    between cells at all times ("always on"). `method`: "slot" is exact for each slot alone, "horizon" looks ahead.
    `prbs`: what the server has in a slot. `backlog`: bits that wait at the start, default none. Raises `PlanError`.
    """
    _check(forecast, truth, channel, method)
    slots, cells = channel.bits_per_prb.shape
    arriving = truth.members[0] * parameters.bits_per_unit
    start = np.zeros(cells) if backlog is None else backlog
    if start.shape != (cells,) or not np.isfinite(start).all() or (start < 0).any():
        raise PlanError(f"the backlog at the start is {start}: give 0 or more bits for each of {cells} cells")
    waiting, given, after = start, np.zeros((slots, cells), np.int64), np.zeros((slots, cells))
    expected = None if forecast is None else forecast.members * parameters.bits_per_unit
    for slot, bits in enumerate(channel.bits_per_prb):
        try:
            if expected is None:
                given[slot] = equal_share(prbs, cells)
            elif method == "slot":
                given[slot] = allocate_slot(waiting, expected[:, slot], bits, prbs, parameters)
            else:
                given[slot] = allocate_horizon(
                    waiting, expected[:, slot:], bits, channel.mean_bits_per_prb, prbs, parameters
                )
        except PlanError as error:
            raise PlanError(f"{np.datetime_as_string(truth.time[slot], unit='m')}: {error}") from None
        waiting = next_backlog(waiting, arriving[slot], given[slot] * bits)
        after[slot] = waiting
    before, rate = np.concatenate([start[None], after[:-1]]), given * channel.bits_per_prb
    late = delay(before, rate)
    return PrbOutcome(
        time=truth.time,
        prbs=given,
        arrived_bits=arriving,
        carried_bits=np.minimum(before + arriving, rate),
        backlog_bits=after,
        delay_slots=late,
        step_minutes=truth.step_minutes,
        backlog_cost=float(after.sum()) / parameters.backlog_unit_bits,
        delay_cost=parameters.delay_weight * float(late.sum()),
    )


def _check(forecast: Load | None, truth: Load, channel: Channel, method: str) -> None:
    """Refuse what does not belong together. Raises `PlanError`."""
    if method not in ("slot", "horizon"):
        raise PlanError(f"method is {method!r}: it is 'slot' or 'horizon'")
    if len(truth.members) != 1:
        raise PlanError(f"the truth has {len(truth.members)} members: play against one, as load_of_city gives it")
    if channel.bits_per_prb.shape != truth.members.shape[1:]:
        raise PlanError(
            f"the channel is for {channel.bits_per_prb.shape} slots and cells, the load for {truth.members.shape[1:]}: "
            "draw or cut it for the load"
        )
    if forecast is None:
        return
    if forecast.unit != truth.unit or forecast.step_minutes != truth.step_minutes:
        raise PlanError(
            f"the forecast is in {forecast.unit!r} per {forecast.step_minutes} minutes, the truth in {truth.unit!r} "
            f"per {truth.step_minutes}: bring both to one unit and step"
        )
    if not np.array_equal(forecast.time, truth.time):
        raise PlanError(
            f"the forecast is of {len(forecast.time)} periods from {forecast.time[0]}, the truth of {len(truth.time)} "
            f"from {truth.time[0]}: cut both to the same periods"
        )
    if not np.array_equal(forecast.places, truth.places):
        raise PlanError("forecast and truth are of other cells, or in another order: use load.of_cells for the same")


__all__ = ["PrbOutcome", "play_prb"]
