"""What a sleep plan does to the traffic that really came."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from fomo.planning.dynamics import carried_by_radio_units, lost_share, switched
from fomo.planning.energy import EnergyModel
from fomo.planning.load import Load, PlanError
from fomo.planning.sleep_terms import ROUNDING, SleepCosts, SleepParameters, check_before, check_capacity


@dataclass(frozen=True)
class SleepOutcome:
    """A plan played against one course of the traffic."""

    costs: SleepCosts
    #: Traffic that was carried and lost, in the unit of the load; together the load.
    carried: Float[np.ndarray, "time cell"]
    lost: Float[np.ndarray, "time cell"]
    #: Where some of the traffic was lost.
    overloaded: Bool[np.ndarray, "time cell"]

    @property
    def overloaded_share(self) -> float:
        """Share of all cell-periods in which some traffic was lost: the risk that was met."""
        return float(self.overloaded.mean())


def always_on(load: Load, parameters: SleepParameters) -> Int[np.ndarray, "time cell"]:
    """The plan without sleep: all radio units of every cell awake in every period."""
    return np.full(load.members.shape[1:], parameters.rrus)


def play_sleep(
    active: Int[np.ndarray, "time cell"],
    truth: Load,
    capacity: Float[np.ndarray, " cell"],
    parameters: SleepParameters,
    energy: EnergyModel,
    before: Int[np.ndarray, " cell"] | None = None,
) -> SleepOutcome:
    """The terms of (17) as they come out.

    active: radio units awake, 0 to `parameters.rrus` (fewer than `parameters.least` may play: units can fail).
    truth: a load of one member. capacity: of one radio unit, load per period. before: units awake before the first
    period; None: as in the first period, so that the start switches nothing. Raises `PlanError`.
    """
    check_capacity(capacity, truth)
    check_before(before, truth, parameters.rrus)
    if len(truth.members) != 1:
        raise PlanError(f"{len(truth.members)} members cannot all be the truth: play against a load of one member")
    load = truth.members[0]
    if active.shape != load.shape:
        raise PlanError(f"a plan of (period, cell) {active.shape} cannot play against a load of {load.shape}")
    if active.min() < 0 or active.max() > parameters.rrus:
        raise PlanError(
            f"the plan has {active.min()} to {active.max()} radio units awake, but a cell has 0 to {parameters.rrus}"
        )
    hours = truth.step_minutes / 60
    carried = carried_by_radio_units(load, active, capacity)
    share = lost_share(load, active, capacity)
    costs = SleepCosts(
        qos_loss=hours * share,
        switching=switched(active, active[0] if before is None else before).astype(np.float64),
        energy=energy.consumed(active, carried, capacity, parameters.rrus, hours),
        parameters=parameters,
    )
    return SleepOutcome(costs=costs, carried=carried, lost=load - carried, overloaded=share > ROUNDING)
