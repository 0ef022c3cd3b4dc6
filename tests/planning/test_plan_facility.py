"""The best places: against brute force over all placements, against a solver, and on a real city."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from fomo.planning import facility
from fomo.planning.coverage import Service, play_coverage, within_reach
from fomo.planning.deployment import DeploymentParameters, proportional
from fomo.planning.facility import greedy_places, locate
from fomo.planning.load import PlanError


def _grid(height: int, width: int, cell_km: float = 1.0) -> np.ndarray:
    row, column = np.indices((height, width)).reshape(2, -1)
    return np.stack([(column + 0.5) * cell_km, (row + 0.5) * cell_km], 1)


def _placements(cells: int, stations: int, most: int) -> list[np.ndarray]:
    numbers = itertools.product(range(most + 1), repeat=cells)
    return [np.array(row) for row in numbers if sum(row) == stations]


def _demand(seed: int, scenarios: int, cells: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.lognormal(1.0, 1.2, (scenarios, cells)) * (random.random((scenarios, cells)) < 0.8)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("reach", [0.0, 1.0, 1.5])
@pytest.mark.parametrize("weighted", [False, True])
def test_located_stations_are_the_best_of_all_placements(seed, reach, weighted):
    position, demand = _grid(2, 3), _demand(seed, 4, 6)
    weights = np.array([1.0, 0.0, 5.0, 2.0]) if weighted else None
    parameters = DeploymentParameters(stations=3, users_per_station=4.0, reach_km=reach, stations_per_place=2)
    served = [
        np.average(play_coverage(row, demand, position, parameters).served.sum(1), weights=weights)
        for row in _placements(6, 3, 2)
    ]
    best = max(served)
    located = locate(demand, position, parameters, weights=weights, gap=0.0)
    assert located.served == pytest.approx(best, rel=1e-6)
    assert located.bound == pytest.approx(best, rel=1e-6)
    assert located.gap < 1e-6
    assert located.stations.sum() == 3
    assert located.stations.max() <= 2
    played = play_coverage(located.stations, demand, position, parameters).served.sum(1)
    assert np.average(played, weights=weights) == pytest.approx(located.served, rel=1e-6)
    greedy = greedy_places(demand, position, parameters, weights=weights)
    assert greedy.bound >= best * (1 - 1e-6)
    assert best * (1 - 1e-6) >= greedy.served * (1 - 2e-6)
    assert greedy.served >= (1 - (2 / 3) ** 3) * best * (1 - 1e-6)
    assert greedy.stations.sum() == 3


def test_the_greedy_plan_falls_into_a_trap_and_the_solver_does_not():
    # The middle serves 13 at once, its second cells on both sides; then no station reaches more than one outer cell.
    # Stations in the first and last but one cells serve 12.5 each.
    position, demand = _grid(1, 5), np.array([[6.0, 6.5, 0.0, 6.5, 6.0]])
    parameters = DeploymentParameters(stations=2, users_per_station=13.0, reach_km=1.0, stations_per_place=1)
    greedy = greedy_places(demand, position, parameters)
    located = locate(demand, position, parameters, gap=0.0)
    assert greedy.stations[2] == 1
    assert greedy.served == pytest.approx(19.0)
    assert located.method == "integer programme"
    assert located.served == pytest.approx(25.0)
    assert located.bound == pytest.approx(25.0)
    assert greedy.bound >= 25.0 * (1 - 1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_marginal_analysis_is_what_a_solver_finds(seed):
    """Stations of a cell apart: an integer programme with one served amount by cell and scenario."""
    scenarios, cells = 6, 12
    demand = _demand(seed, scenarios, cells)
    parameters = DeploymentParameters(stations=14, users_per_station=3.0, stations_per_place=3)
    located = locate(demand, _grid(3, 4), parameters)
    services = scenarios * cells
    rows = np.hstack([np.eye(services), np.tile(-3.0 * np.eye(cells), (scenarios, 1))])
    found = milp(
        np.concatenate([np.full(services, -1 / scenarios), np.zeros(cells)]),
        integrality=np.concatenate([np.zeros(services), np.ones(cells)]),
        bounds=Bounds(0.0, np.concatenate([demand.reshape(-1), np.full(cells, 3.0)])),
        constraints=[
            LinearConstraint(rows, -np.inf, 0.0),
            LinearConstraint(np.concatenate([np.zeros(services), np.ones(cells)])[None], 14, 14),
        ],
        options={"mip_rel_gap": 0.0},
    )
    assert located.method == "marginal analysis"
    assert located.served == pytest.approx(-found.fun, rel=1e-6)
    assert located.gap == 0.0
    assert located.stations.sum() == 14
    assert greedy_places(demand, _grid(3, 4), parameters).served == pytest.approx(located.served, rel=1e-6)


def test_service_is_submodular():
    random = np.random.default_rng(5)
    reach = within_reach(_grid(3, 3), 1.5)
    demand = _demand(5, 3, 9)
    few, many = Service(demand, reach, 5.0), Service(demand, reach, 5.0)
    start = np.bincount(random.integers(0, 9, 2), minlength=9)
    few.add(start)
    many.add(start + np.bincount(random.integers(0, 9, 3), minlength=9))
    gains = np.array([[few.gain(place), many.gain(place)] for place in range(9)])
    assert (gains[:, 0] >= gains[:, 1] - 1e-6).all()
    assert (gains[:, 0] > gains[:, 1] + 1e-3).any()


@pytest.mark.parametrize("reach", [0.0, 1.0])
def test_only_candidate_places_get_stations(reach):
    demand, position = _demand(1, 3, 6), _grid(2, 3)
    places = np.array([True, False, False, True, True, False])
    parameters = DeploymentParameters(stations=4, users_per_station=3.0, reach_km=reach, stations_per_place=2)
    located = locate(demand, position, parameters, places=places, gap=0.0)
    assert not located.stations[~places].any()
    best = max(
        play_coverage(row, demand, position, parameters).served.sum(1).mean()
        for row in _placements(6, 4, 2)
        if not row[~places].any()
    )
    assert located.served == pytest.approx(best, rel=1e-6)
    assert greedy_places(demand, position, parameters, places=places).bound >= best * (1 - 1e-6)


@pytest.mark.parametrize("reach", [0.0, 1.5])
def test_a_plan_does_not_depend_on_the_unit_of_people(reach):
    demand, position = _demand(2, 4, 12), _grid(3, 4)
    parameters = [
        DeploymentParameters(stations=5, users_per_station=4.0 * unit, reach_km=reach) for unit in (1e-4, 1.0, 1e4)
    ]
    served = [
        locate(demand * unit, position, chosen).served / unit
        for unit, chosen in zip((1e-4, 1.0, 1e4), parameters, strict=True)
    ]
    np.testing.assert_allclose(served, served[1], rtol=2 * facility.GAP)


@pytest.mark.parametrize("reach", [0.0, 1.0])
def test_all_stations_are_placed_though_all_people_are_served(reach):
    parameters = DeploymentParameters(stations=9, users_per_station=1e6, reach_km=reach, stations_per_place=2)
    located = locate(np.ones((2, 6)), _grid(2, 3), parameters)
    assert located.stations.sum() == 9
    assert located.stations.max() <= 2
    assert located.served == pytest.approx(6.0)
    assert located.gap == pytest.approx(0.0, abs=1e-6)


def test_weights_by_people_make_it_the_mean_coverage_ratio():
    demand, position = _demand(3, 5, 6) + 0.1, _grid(2, 3)
    demand[1] /= 50  # the night, where a plan for people would not look
    parameters = DeploymentParameters(stations=2, users_per_station=3.0, stations_per_place=1)
    located = locate(demand, position, parameters, weights=1 / demand.sum(1))
    ratios = [play_coverage(row, demand, position, parameters).mean_ratio for row in _placements(6, 2, 1)]
    assert play_coverage(located.stations, demand, position, parameters).mean_ratio == pytest.approx(max(ratios))


def test_out_of_time_the_greedy_plan_stands_with_a_bound():
    demand, position = _demand(4, 12, 36), _grid(6, 6)
    parameters = DeploymentParameters(stations=9, reach_km=1.0, stations_per_place=2).dimensioned_for(demand)
    located = locate(demand, position, parameters, seconds=0.05, gap=0.0)
    greedy = greedy_places(demand, position, parameters)
    assert located.served >= greedy.served
    assert located.served <= located.bound <= greedy.bound
    assert located.stations.sum() == 9


@pytest.mark.parametrize(
    ("change", "demand", "message"),
    [
        ({"stations": 13}, np.ones((2, 6)), "13 stations do not fit into 6 candidate places"),
        ({}, np.array([[1.0, np.nan, 1.0, 1.0, 1.0, 1.0]]), "missing or infinite, the first in period 0, cell 1"),
        ({}, -np.ones((2, 6)), "negative"),
        ({}, np.zeros((2, 6)), "nobody to serve"),
        ({}, np.ones((2, 5)), "5 cells have people, 6 a position"),
    ],
)
@pytest.mark.parametrize("reach", [0.0, 1.0])
@pytest.mark.parametrize("plan", [locate, greedy_places])
def test_bad_input_is_refused(change, demand, message, reach, plan):
    parameters = DeploymentParameters(**({"stations": 3, "reach_km": reach, "stations_per_place": 2} | change))
    with pytest.raises(PlanError, match=message):
        plan(demand, _grid(2, 3), parameters)


@pytest.mark.parametrize("reach", [0.0, 1.0])
def test_places_far_from_everybody_are_refused(reach):
    demand = np.array([[1.0, 0.0, 0.0, 0.0]])
    parameters = DeploymentParameters(stations=1, reach_km=reach)
    with pytest.raises(PlanError, match="nobody is within reach"):
        locate(demand, _grid(1, 4), parameters, places=np.array([False, False, False, True]))


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, np.nan]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(PlanError, match="weights of scenarios are 2 numbers"):
        locate(np.ones((2, 6)), _grid(2, 3), DeploymentParameters(stations=3), weights=np.array(weights))


def test_no_time_is_refused():
    with pytest.raises(PlanError, match="seconds are above 0"):
        locate(np.ones((2, 6)), _grid(2, 3), DeploymentParameters(stations=3), seconds=0.0)


@pytest.mark.real_data
def test_in_nanchang_located_stations_serve_more_than_those_in_proportion(real_data):
    from fomo.sources import read_family

    city = read_family(real_data, "nanchang_grid")[0].isel(y=slice(1, 17), x=slice(1, 17))
    covered = city["covered"].values
    users = city["users"].values[:, covered].astype(float)
    day = users.reshape(7, 24, -1).mean(0)
    position = np.argwhere(covered) * float(city.attrs["cell_km"])
    parameters = DeploymentParameters(stations=60).dimensioned_for(day)
    located = locate(day, position, parameters)
    traffic = city["traffic"].values[:, covered].sum(0, dtype=float)
    shared = proportional(traffic, 60, parameters.stations_per_place)
    ours, theirs = (play_coverage(row, day, position, parameters) for row in (located.stations, shared))
    assert located.gap == 0.0
    assert ours.served.sum() / 24 == pytest.approx(located.served)
    assert ours.served.sum() >= theirs.served.sum()
    assert 0.6 < ours.mean_ratio < 0.85
