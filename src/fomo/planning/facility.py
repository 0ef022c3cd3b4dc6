"""Where stations serve the most people: capacitated maximal covering, with a bound on what any plan can do.

§5.3 puts stations where traffic is dense. Here they go where the expected number of people served is largest:

    max  sum_s w_s sum_ij y_ijs    over stations n_j in 0..most, whole, sum_j n_j = N, and service y_ijs >= 0 in reach
    with sum_j y_ijs <= d_is (people of cell i in scenario s) and sum_i y_ijs <= C n_j (what the stations of j serve)

This is the maximal covering location problem (Church and ReVelle 1974) with capacities. Stations that reach their own
cell only are apart from each other, and the best plan takes the N largest gains (marginal analysis, Fox 1966). Else an
integer programme (HiGHS) has a time limit, beside the greedy plan. Every plan comes with its bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from fomo.planning.coverage import Reach, Service, within_reach
from fomo.planning.deployment import DeploymentParameters, check_people
from fomo.planning.load import PlanError

Method = Literal["marginal analysis", "integer programme", "greedy"]
#: An optimality gap at which the solver may stop: what a forecast gets wrong is far larger.
GAP = 0.001


@dataclass(frozen=True)
class Located:
    """A deployment and how good it is at most."""

    stations: Int[np.ndarray, " cell"]
    served: float  # people served, (weighted) mean over the scenarios
    bound: float  # no deployment of so many stations serves more, same mean
    method: Method

    @property
    def gap(self) -> float:
        """(bound - served) / bound: what the best plan can have more at most, 0 to 1; 0 where it is proved the best."""
        return max(0.0, (self.bound - self.served) / self.bound)


def locate(
    demand: Float[np.ndarray, "scenario cell"],
    position_km: Float[np.ndarray, "centre 2"],
    parameters: DeploymentParameters,
    *,
    places: Bool[np.ndarray, " place"] | None = None,
    weights: Float[np.ndarray, " weight"] | None = None,
    seconds: float = 60.0,
    gap: float = GAP,
) -> Located:
    """The stations of each cell that serve the most people, mean over scenarios.

    `demand`: people by scenario (hours of the mean day, times members where wanted) and cell, in the unit of
    `parameters.users_per_station`. `places`: cells that may have stations, all by default. `weights` of the scenarios
    in the mean, equal by default; 1 / demand.sum(1) makes it the mean coverage ratio of §5.3, where an hour of few
    people counts as much as a busy one. Exact at once where `reach_km` is 0. Else the greedy plan is made, and where
    its gap is larger than `gap`, the solver has so many `seconds` besides (it stops earlier at this gap); the better
    plan of the two is returned. Both take time with the scenarios: where stations reach further, give the 24 hours of
    the mean day, no members. Raises `PlanError`.
    """
    allowed = _checked(demand, position_km, parameters, places)
    if not (seconds > 0 and 0 <= gap < 1):
        raise PlanError(f"{seconds} seconds and a gap of {gap}: seconds are above 0, the gap is 0 or more and below 1")
    demand, weights = demand.astype(np.float64), _normalised(weights, len(demand))
    if parameters.reach_km == 0:
        return _marginal_analysis(demand, weights, parameters, allowed)
    greedy = greedy_places(demand, position_km, parameters, places=places, weights=weights)
    if greedy.gap <= gap:
        return greedy
    reach = _reach(demand, position_km, parameters, allowed)
    stations, bound = _integer_programme(demand, weights, reach, parameters, allowed, seconds, gap)
    bound = min(bound, greedy.bound)
    if stations is not None:
        service = Service(demand, reach, parameters.users_per_station, weights)
        service.add(stations)
        served = service.mean_served
        if served >= greedy.served:
            return Located(stations, served, max(bound, served), "integer programme")
    return Located(greedy.stations, greedy.served, max(bound, greedy.served), "greedy")


def greedy_places(
    demand: Float[np.ndarray, "scenario cell"],
    position_km: Float[np.ndarray, "centre 2"],
    parameters: DeploymentParameters,
    *,
    places: Bool[np.ndarray, " place"] | None = None,
    weights: Float[np.ndarray, " weight"] | None = None,
) -> Located:
    """One station after the other, each where it serves most people more; arguments as in `locate`.

    People served are a submodular function of stations (the value of a flow), so N steps serve 1 - (1 - 1/N)^N of the
    best at least, more than 1 - 1/e (Nemhauser, Wolsey and Fisher 1978), and a gain found earlier is a bound on the
    gain now: only the most promising places are looked at again (Minoux 1978). Of equal gains the one with more people
    left in reach is taken. The bound is the smallest of this, of what is served plus the N largest gains left, and of
    the people within reach and all capacity. Raises `PlanError`.
    """
    allowed = _checked(demand, position_km, parameters, places)
    demand, weights = demand.astype(np.float64), _normalised(weights, len(demand))
    reach = _reach(demand, position_km, parameters, allowed)
    service = Service(demand, reach, parameters.users_per_station, weights)
    stations, single = np.zeros(demand.shape[1], np.int64), np.zeros(demand.shape[1], np.int64)
    most = np.where(allowed, parameters.stations_per_place, 0)
    gains = np.where(allowed, parameters.users_per_station, 0.0)  # of one more station at a place: at most so much
    for _ in range(parameters.stations):
        left, fresh = service.left_near(), np.zeros(len(gains), bool)
        while True:
            place = int(np.lexsort((-left, -gains, stations >= most))[0])
            if fresh[place]:
                break
            gains[place] = min(gains[place], service.gain(place))
            fresh[place] = True
        stations[place] += 1
        single[:] = 0
        single[place] = 1
        service.add(single)
    served = service.mean_served
    largest_gains = np.sort(np.repeat(gains, most - stations))[-parameters.stations :]
    bound = min(
        served / (1 - (1 - 1 / parameters.stations) ** parameters.stations),
        served + float(largest_gains.sum()),
        _trivial_bound(demand, weights, reach, parameters),
    )
    return Located(stations, served, max(bound, served), "greedy")


def _checked(
    demand: Float[np.ndarray, "scenario cell"],
    position_km: Float[np.ndarray, "centre 2"],
    parameters: DeploymentParameters,
    places: Bool[np.ndarray, " place"] | None,
) -> Bool[np.ndarray, " cell"]:
    """Cells that may have stations. Raises `PlanError`: these are too few, or the people are no numbers of people."""
    check_people(demand)
    cells = demand.shape[1]
    allowed = np.ones(cells, bool) if places is None else places
    if len(position_km) != cells or len(allowed) != cells:
        raise PlanError(f"{cells} cells have people, {len(position_km)} a position, {len(allowed)} a say in places")
    room = int(allowed.sum()) * parameters.stations_per_place
    if parameters.stations > room:
        raise PlanError(
            f"{parameters.stations} stations do not fit into {int(allowed.sum())} candidate places at "
            f"{parameters.stations_per_place} a place: take fewer stations, more places or more stations in a place"
        )
    return allowed


def _normalised(weights: np.ndarray | None, scenarios: int) -> Float[np.ndarray, " scenario"]:
    """Weights that sum to 1. Raises `PlanError`."""
    if weights is None:
        return np.full(scenarios, 1 / scenarios)
    if len(weights) != scenarios or not np.isfinite(weights).all() or (weights < 0).any() or not (weights > 0).any():
        raise PlanError(f"weights of scenarios are {scenarios} numbers of 0 or more, not all 0: there are {weights}")
    return np.asarray(weights / weights.sum())


def _reach(demand: np.ndarray, position_km: np.ndarray, parameters: DeploymentParameters, allowed: np.ndarray) -> Reach:
    """Pairs of an allowed place and a cell where somebody is in some scenario."""
    reach = within_reach(position_km, parameters.reach_km)
    somebody = demand.max(0) > 0
    useful = allowed[reach.place] & somebody[reach.cell]
    if not useful.any():
        raise PlanError("nobody is within reach of a candidate place: choose other places or a longer reach_km")
    return Reach(reach.cells, reach.place[useful], reach.cell[useful])


def _trivial_bound(demand: np.ndarray, weights: np.ndarray, reach: Reach, parameters: DeploymentParameters) -> float:
    """People within reach of a candidate place, or what all stations serve where that is less."""
    reached = demand[:, np.unique(reach.cell)].sum(1)
    return float(weights @ np.minimum(reached, parameters.stations * parameters.users_per_station))


def _marginal_analysis(
    demand: Float[np.ndarray, "scenario cell"],
    weights: Float[np.ndarray, " scenario"],
    parameters: DeploymentParameters,
    allowed: Bool[np.ndarray, " cell"],
) -> Located:
    """The best plan where stations serve their own cell: the gain of a cell's next station never grows.

    Of equal gains the first stations of cells come first, and the cell with more people.
    """
    candidates = np.flatnonzero(allowed)
    people = demand[:, candidates]
    steps = parameters.users_per_station * np.arange(parameters.stations_per_place + 1)
    served = np.stack([weights @ np.minimum(people, step) for step in steps])  # by stations of the cell, and cell
    gains = np.diff(served, axis=0)
    number, cell = np.indices(gains.shape).reshape(2, -1)
    chosen = np.lexsort((-(weights @ people)[cell], number, -gains.reshape(-1)))[: parameters.stations]
    stations = np.zeros(demand.shape[1], np.int64)
    stations[candidates] = np.bincount(cell[chosen], minlength=len(candidates))
    total = float(weights @ np.minimum(demand, parameters.users_per_station * stations).sum(1))
    if total <= 0:
        raise PlanError("nobody is within reach of a candidate place: choose other places or a longer reach_km")
    return Located(stations, total, total, "marginal analysis")


def _integer_programme(
    demand: np.ndarray,
    weights: np.ndarray,
    reach: Reach,
    parameters: DeploymentParameters,
    allowed: Bool[np.ndarray, " cell"],
    seconds: float,
    gap: float,
) -> tuple[Int[np.ndarray, " cell"] | None, float]:
    """The stations that HiGHS found in time, None if none, and its bound in people (mean over scenarios).

    People are counted in stations' capacities, so numbers are near 1 in any unit. Pairs of a scenario whose cell is
    empty are left out.
    """
    milp, constraint, bounds, sparse = _solver()
    people = demand / parameters.users_per_station
    scenario, pair = np.nonzero(people[:, reach.cell] > 0)
    place, cell = reach.place[pair], reach.cell[pair]
    cells, scenarios, services = reach.cells, len(demand), len(pair)
    one, service = np.ones(services), np.arange(services)
    of_cell = sparse.csr_array((one, (scenario * cells + cell, service)), shape=(scenarios * cells, services))
    of_place = sparse.csr_array((one, (scenario * cells + place, service)), shape=(scenarios * cells, services))
    stations = sparse.kron(np.ones((scenarios, 1)), -sparse.eye_array(cells))
    rows = sparse.block_array([[of_cell, None], [of_place, stations]]).tocsr()
    served_somewhere = np.concatenate([np.diff(of_cell.indptr) > 0, np.diff(of_place.indptr) > 0])
    all_stations = sparse.csr_array(np.concatenate([np.zeros(services), np.ones(cells)])[None])
    found = milp(
        np.concatenate([-weights[scenario], np.zeros(cells)]),
        integrality=np.concatenate([np.zeros(services), np.ones(cells)]),
        bounds=bounds(
            0.0,
            np.concatenate([people[scenario, cell], np.where(allowed, float(parameters.stations_per_place), 0.0)]),
        ),
        constraints=[
            constraint(
                rows[np.flatnonzero(served_somewhere)],
                -np.inf,
                np.concatenate([people.reshape(-1), np.zeros(scenarios * cells)])[served_somewhere],
            ),
            constraint(all_stations, parameters.stations, parameters.stations),
        ],
        options={"time_limit": seconds, "mip_rel_gap": gap},
    )
    if found.status not in (0, 1):  # optimal, or out of time
        raise PlanError(f"the solver found no deployment: {found.message}")
    known = found.mip_dual_bound is not None and np.isfinite(found.mip_dual_bound)
    bound = -float(found.mip_dual_bound) * parameters.users_per_station if known else np.inf
    return (None if found.x is None else np.rint(found.x[services:]).astype(np.int64)), bound


def _solver() -> tuple[Any, Any, Any, Any]:
    try:
        from scipy import sparse
        from scipy.optimize import Bounds, LinearConstraint, milp
    except ImportError:
        raise PlanError("optimal locations need scipy: pip install 'fomo[planning]'") from None
    return milp, LinearConstraint, Bounds, sparse


__all__ = ["GAP", "Located", "greedy_places", "locate"]
