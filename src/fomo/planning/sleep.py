"""Sleep control of radio units (17), solved exactly: the cells do not touch each other, so each is a shortest path.

A cell's state is its number x of awake radio units; a period costs what its load costs in that state, and a change of
state costs the switches. The cheapest path through periods and states is found by dynamic programming over time. What
a step from any state to any other costs grows with |x - x'|, so the best predecessor of all states is found in two
passes over them, up and down (the distance transform of Felzenszwalb and Huttenlocher, 2012), not for all pairs. All
cells go at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from fomo.planning.dynamics import carried_by_radio_units, lost_share, switched
from fomo.planning.energy import EnergyModel
from fomo.planning.load import Load
from fomo.planning.sleep_play import SleepOutcome, always_on, play_sleep
from fomo.planning.sleep_terms import ROUNDING, SleepCosts, SleepParameters, check_before, check_capacity, check_risk


@dataclass(frozen=True)
class SleepPlan:
    """How many radio units are awake, and what is expected of it."""

    #: Radio units awake.
    active: Int[np.ndarray, "time cell"]
    #: The parts of (17), means over the members.
    expected: SleepCosts
    #: Share of the members that are above what the awake units carry, k / n.
    overload_probability: Float[np.ndarray, "time cell"]
    #: What is held to the limit on risk, (k + 1) / (n + 1); k / n of a single member. None where no limit was asked.
    overload_at_most: Float[np.ndarray, "time cell"] | None
    #: Where not even all radio units keep to the asked risk; there all are awake. Nowhere if no risk was asked.
    risk_exceeded: Bool[np.ndarray, "time cell"]

    @property
    def planned_risk(self) -> float:
        """Mean probability of overload over all cell-periods; compare `SleepOutcome.overloaded_share`."""
        return float(self.overload_probability.mean())


def plan_sleep(
    load: Load,
    capacity: Float[np.ndarray, " cell"],
    parameters: SleepParameters,
    energy: EnergyModel,
    before: Int[np.ndarray, " cell"] | None = None,
) -> SleepPlan:
    """The plan of least expected cost (17) over the members, exactly.

    Because (17) is not linear in the load, the mean over the members is not the cost of the mean load: a forecast's
    spread counts. A load of one member, what really happened, gives the oracle's plan: no plan does better when it is
    played against that member, if `parameters.risk` is None (a limit on risk forbids some plans).

    capacity: of one radio unit of each cell, load per period (see `dimension`). before: units awake before the first
    period; None: free, the start switches nothing. With `parameters.risk`, units are awake so that k of n members are
    above their capacity and (k + 1) / (n + 1) is at most the risk: a truth that is drawn as the members are is equally
    likely in each of the n + 1 gaps between them, so it is above what carries all but k of them with at most that. A
    single member is no sample of what may come; it is planned on as certain. Where all units are not enough, all are
    awake. Raises `PlanError`: also where there are too few members to keep to the risk.
    """
    check_capacity(capacity, load)
    check_risk(parameters.risk, len(load.members))
    check_before(before, load, parameters.rrus)
    _, steps, cells = load.members.shape
    states = np.arange(parameters.least, parameters.rrus + 1)
    best = np.zeros((len(states), cells))
    if before is not None:
        best += parameters.switching_cost * np.abs(states[:, None] - before)
    origin = np.empty((steps, len(states), cells), np.int8)  # index of the best state before each state
    exceeded = np.zeros((steps, cells), bool)
    for step in range(steps):
        if step:
            best, origin[step] = _switch(best, parameters.switching_cost)
        cost, exceeded[step] = _stage(load.members[:, step], capacity, parameters, energy, load.step_minutes / 60)
        best = best + cost
    at = np.empty((steps, cells), np.intp)
    at[-1] = best.argmin(0)
    for step in range(steps - 1, 0, -1):
        at[step - 1] = np.take_along_axis(origin[step], at[step][None], 0)[0]
    active = states[at]
    expected, probability = _expected(active, load, capacity, parameters, energy, before)
    at_most = None if parameters.risk is None else _at_most(probability, len(load.members))
    return SleepPlan(active, expected, probability, at_most, exceeded)


def _stage(
    members: Float[np.ndarray, "sample cell"],
    capacity: Float[np.ndarray, " cell"],
    parameters: SleepParameters,
    energy: EnergyModel,
    hours: float,
) -> tuple[Float[np.ndarray, "state cell"], Bool[np.ndarray, " cell"]]:
    """What one period costs in every state without its switches, infinite where the risk is too high.

    Also the cells in which no state keeps to the risk. One state at a time, so that memory is that of the members.
    """
    states = range(parameters.least, parameters.rrus + 1)
    cost = np.empty((len(states), members.shape[1]))
    exceeded = np.zeros(members.shape[1], bool)
    for index, awake in enumerate(states):
        units = np.array(awake)
        share = lost_share(members, units, capacity)
        carried = carried_by_radio_units(members, units, capacity).mean(0)
        cost[index] = parameters.qos_cost * hours * share.mean(0)
        cost[index] += parameters.energy_cost * energy.consumed(awake, carried, capacity, parameters.rrus, hours)
        if parameters.risk is not None:
            # The margin is for 0.1 against 1 / 10 and the like.
            too_many = _at_most(_above(share), len(members)) > parameters.risk + ROUNDING
            if awake < parameters.rrus:
                cost[index, too_many] = np.inf
            else:
                exceeded = too_many
    return cost, exceeded


def _above(share: Float[np.ndarray, "sample cell"]) -> Float[np.ndarray, " cell"]:
    """Share of the members that lose traffic, k / n, by their lost shares."""
    return np.asarray((share > ROUNDING).mean(0))


def _at_most(above: Float[np.ndarray, "*cell"], members: int) -> Float[np.ndarray, "*cell"]:
    """(k + 1) / (n + 1) of the shares k / n; a single member is taken as certain."""
    return above if members == 1 else (above * members + 1) / (members + 1)


def _switch(
    best: Float[np.ndarray, "state cell"], price: float
) -> tuple[Float[np.ndarray, "state cell"], Int[np.ndarray, "state cell"]]:
    """min over x' of best(x') + price |x - x'| for every x, and the index of that x'; ties stay where they are."""
    best = best.copy()
    origin = np.broadcast_to(np.arange(len(best), dtype=np.int8)[:, None], best.shape).copy()
    upward = [(state, state - 1) for state in range(1, len(best))]
    downward = [(state, state + 1) for state in range(len(best) - 2, -1, -1)]
    for state, neighbour in upward + downward:
        through = best[neighbour] + price
        better = through < best[state]
        best[state] = np.where(better, through, best[state])
        origin[state] = np.where(better, origin[neighbour], origin[state])
    return best, origin


def _expected(
    active: Int[np.ndarray, "time cell"],
    load: Load,
    capacity: Float[np.ndarray, " cell"],
    parameters: SleepParameters,
    energy: EnergyModel,
    before: Int[np.ndarray, " cell"] | None,
) -> tuple[SleepCosts, Float[np.ndarray, "time cell"]]:
    """Means of the parts of (17) over the members, and the probability of overload of each cell-period."""
    hours = load.step_minutes / 60
    lost, carried, probability = (np.empty(active.shape) for _ in range(3))
    for step, units in enumerate(active):
        members = load.members[:, step]
        share = lost_share(members, units, capacity)
        lost[step] = share.mean(0)
        probability[step] = _above(share)
        carried[step] = carried_by_radio_units(members, units, capacity).mean(0)
    costs = SleepCosts(
        qos_loss=hours * lost,
        switching=switched(active, active[0] if before is None else before).astype(np.float64),
        energy=energy.consumed(active, carried, capacity, parameters.rrus, hours),
        parameters=parameters,
    )
    return costs, probability


__all__ = ["SleepCosts", "SleepOutcome", "SleepParameters", "SleepPlan", "always_on", "plan_sleep", "play_sleep"]
