"""Playing a plan: what a network carries, loses and lets wait when a plan meets what really happened (§5).

A period, in this order: radio units switch, a failed site's load goes to its neighbours, each cell carries the least of
its load, of what its radio units can and of what its blocks can, and the rest is lost or waits for the next period.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Real

from fomo.planning import dynamics
from fomo.planning.load import Load, PlanError
from fomo.planning.people import People
from fomo.planning.simulator import Network
from fomo.planning.simulator_checks import check_active, check_people, check_prbs, check_start, check_truth


@dataclass(frozen=True)
class Played:
    """What happened in every period and cell; amounts in `unit` per period.

    In every cell arriving = carried + lost + what more waits than before, and over all cells arriving = load.
    """

    #: Start of every period, local wall-clock.
    time: np.ndarray
    step_minutes: int
    unit: str
    energy_unit: str
    #: Load where it arises.
    load: Float[np.ndarray, "time cell"]
    #: Load where it is to be carried: a failed site's is at its neighbours, or at itself where it has none.
    arriving: Float[np.ndarray, "time cell"]
    #: The most that can be carried.
    rate: Float[np.ndarray, "time cell"]
    carried: Float[np.ndarray, "time cell"]
    lost: Float[np.ndarray, "time cell"]
    #: What waits at the end of each period, U(t+1) of (18); 0 without a queue.
    waiting: Float[np.ndarray, "time cell"]
    #: What waited before the first period, a failed site's at its neighbours.
    waiting_before: Float[np.ndarray, " cell"]
    #: d(t) = U(t) / r(t) of §5.2 in periods; infinite where something waits and there is no rate.
    delay: Float[np.ndarray, "time cell"]
    #: Share, 0 to 1, of the load that arises in a cell that is lost, wherever it was to be carried: Q's term in (17).
    lost_share: Float[np.ndarray, "time cell"]
    #: Share, 0 to 1, of a cell's load (and of what waited) that is carried within the period. A cell without load has 1
    #: where its load could be carried and 0 where there is no rate.
    served_share: Float[np.ndarray, "time cell"]
    #: Radio units that are on, and those switched at the start of the period (W's term in (17)); None without.
    active: Int[np.ndarray, "time cell"] | None
    switched: Int[np.ndarray, "time cell"] | None
    #: In `energy_unit`; None where the network counts none.
    energy: Float[np.ndarray, "time cell"] | None
    #: People in each cell, and those of them who are covered: `served_share` of them. None where none were given.
    people: Int[np.ndarray, "time cell"] | None
    covered: Float[np.ndarray, "time cell"] | None

    @property
    def qos_loss(self) -> float:
        """Q of (17): lost shares summed over cells and periods, times the hours of a period: cell-hours."""
        return float(self.lost_share.sum()) * self.step_minutes / 60

    @property
    def wear(self) -> int | None:
        """W of (17): radio units switched."""
        return None if self.switched is None else int(self.switched.sum())

    @property
    def total_energy(self) -> float | None:
        """Energy of all cells and periods, `energy_unit`."""
        return None if self.energy is None else float(self.energy.sum())

    @property
    def mean_delay(self) -> float:
        """Mean of d(t) over periods and cells, in periods; infinite where any is."""
        return float(self.delay.mean())

    @property
    def mean_backlog(self) -> float:
        """Mean of U(t+1) over periods and cells, `unit`."""
        return float(self.waiting.mean())

    @property
    def coverage(self) -> Float[np.ndarray, " time"] | None:
        """Share, 0 to 1, of all people who are covered in each period (§5.3)."""
        if self.people is None or self.covered is None:
            return None
        shares: np.ndarray = self.covered.sum(1) / self.people.sum(1)
        return shares


def simulate(
    network: Network,
    truth: Load,
    plan: Real[np.ndarray, "..."] | None = None,
    prbs: Real[np.ndarray, "..."] | None = None,
    people: People | None = None,
    failed: Bool[np.ndarray, "..."] | None = None,
    *,
    queue: bool | None = None,
    active_before: Real[np.ndarray, "..."] | None = None,
    waiting_before: Float[np.ndarray, "..."] | None = None,
) -> Played:
    """Play a plan on a network against what happened.

    `truth`: load of one member, in the network's unit and periods.
    `plan` (time, cell): active radio units; default all.
    `prbs` (time, cell): blocks of each cell, parts of one too (a block for part of a period); default: no limit.
    `people`: on the cells and periods of the truth.
    `failed` (cell): sites that are off the air throughout: their radio units and blocks are out of use.
    `queue`: whether what is not carried waits (§5.2) or is lost (17); default: waits where blocks are planned.
    `active_before` (cell): radio units on before the first period; default as in it, so that the start switches
    nothing. Those of failed sites were off.
    `waiting_before` (cell): U(0), load that waits before the first period, `unit`; default 0; only with a queue.
    Raises `PlanError` before anything is played.
    """
    load = check_truth(network, truth)
    queue = prbs is not None if queue is None else queue
    waiting, down = check_start(network, waiting_before, failed)
    if not queue and waiting.any():
        raise PlanError("load waits before the first period but there is no queue: leave it out, or set queue=True")
    if people is not None:
        check_people(people, truth)
    active, switched = _radio_units(network, plan, active_before, down, load.shape)
    rate = _rate(network, active, prbs, load.shape) * ~down

    shares = network.takeover(down)
    arriving, waiting = _handed_over(load, down, shares), _handed_over(waiting, down, shares)
    carried, lost, backlog = _played(arriving, waiting, rate, down, queue)
    at_start = np.concatenate([waiting[None], backlog[:-1]])
    at_hand = at_start + arriving
    served = np.divide(carried, at_hand, out=(rate > 0).astype(np.float64), where=at_hand > 0)
    not_carried = np.divide(lost, at_hand, out=np.zeros_like(lost), where=at_hand > 0)
    served = _where_it_arises(served, down, shares)

    return Played(
        time=truth.time,
        step_minutes=truth.step_minutes,
        unit=truth.unit,
        energy_unit=network.energy_unit,
        load=load,
        arriving=arriving,
        rate=rate,
        carried=carried,
        lost=lost,
        waiting=backlog,
        waiting_before=waiting,
        delay=dynamics.delay(at_start, rate),
        lost_share=np.where(load > 0, _where_it_arises(not_carried, down, shares), 0.0),
        served_share=served,
        active=active,
        switched=switched,
        energy=_energy(network, active, carried, down),
        people=None if people is None else people.count,
        covered=None if people is None else people.count * served,
    )


def _radio_units(
    network: Network,
    plan: np.ndarray | None,
    before: np.ndarray | None,
    down: Bool[np.ndarray, " cell"],
    shape: tuple[int, ...],
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Active and switched radio units (time, cell); both None where the network has none."""
    if plan is None:
        if network.radio_units is None:
            if before is not None:
                raise PlanError("active_before for a network without radio units: give it radio_units and capacity")
            return None, None
        plan = np.broadcast_to(network.radio_units, shape)
    active = check_active(network, plan, shape)
    first = active[0] if before is None else check_active(network, before, shape[1:])
    active = active * ~down
    return active, dynamics.switched(active, first * ~down)


def _rate(
    network: Network, active: np.ndarray | None, prbs: np.ndarray | None, shape: tuple[int, ...]
) -> Float[np.ndarray, "time cell"]:
    """The most that each cell can carry in each period: the least of its radio units' and its blocks', `unit`."""
    limits = []
    if active is not None and network.capacity is not None:
        limits.append(active * network.capacity)
    if prbs is not None:
        check_prbs(network, prbs, shape)
        limits.append(prbs * network.bits_per_prb / network.bits_per_unit)
    if not limits:
        raise PlanError("no blocks are planned and this network has no radio units, so nothing limits it: give prbs")
    return np.min(limits, axis=0)


def _handed_over(
    amount: Float[np.ndarray, "*time cell"], down: Bool[np.ndarray, " cell"], shares: Float[np.ndarray, "failed cell"]
) -> Float[np.ndarray, "*time cell"]:
    """What arises in cells, where it is to be carried."""
    there: np.ndarray = amount * ~down + amount[..., down] @ shares
    return there


def _where_it_arises(
    share: Float[np.ndarray, "time cell"], down: Bool[np.ndarray, " cell"], shares: Float[np.ndarray, "failed cell"]
) -> Float[np.ndarray, "time cell"]:
    """A share of what cells carry, for the cells that it arises in: of a failed site, the mean of those that help."""
    there = share.copy()
    there[:, down] = share @ shares.T
    return there


def _played(
    arriving: Float[np.ndarray, "time cell"],
    waiting: Float[np.ndarray, " cell"],
    rate: Float[np.ndarray, "time cell"],
    down: Bool[np.ndarray, " cell"],
    queue: bool,
) -> tuple[Float[np.ndarray, "time cell"], Float[np.ndarray, "time cell"], Float[np.ndarray, "time cell"]]:
    """Carried, lost and what waits after each period. At a failed site nothing waits: what is there is lost."""
    if not queue:
        carried = np.minimum(arriving, rate)
        return carried, arriving - carried, np.zeros_like(arriving)
    carried, lost, backlog = np.empty_like(arriving), np.zeros_like(arriving), np.empty_like(arriving)
    for step in range(len(arriving)):
        carried[step] = np.minimum(waiting + arriving[step], rate[step])
        waiting = dynamics.next_backlog(waiting, arriving[step], rate[step])
        lost[step] = np.where(down, waiting, 0.0)
        waiting = np.where(down, 0.0, waiting)
        backlog[step] = waiting
    return carried, lost, backlog


def _energy(
    network: Network, active: np.ndarray | None, carried: Float[np.ndarray, "time cell"], down: np.ndarray
) -> Float[np.ndarray, "time cell"] | None:
    """Energy of each cell and period. Raises `PlanError` where the model gives none."""
    if network.energy is None or active is None or network.radio_units is None or network.capacity is None:
        return None
    most = active * network.capacity
    share = np.divide(carried, most, out=np.zeros_like(carried), where=most > 0)
    energy = network.energy(active, share, network.radio_units * ~down - active)
    if energy.shape != carried.shape or not np.isfinite(energy).all():
        raise PlanError(f"the energy model gives no number for some of {carried.shape} periods and cells: correct it")
    return energy


__all__ = ["Played", "simulate"]
