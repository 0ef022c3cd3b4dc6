"""Plans, places and their summaries: edges that nothing else holds."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.planning.coverage import play_coverage
from fomo.planning.deployment import DeploymentParameters, proportional
from fomo.planning.facility import greedy_places, locate
from fomo.planning.load import Load
from fomo.planning.scheduling import PrbParameters, allocate_slot
from fomo.planning.scheduling_horizon import Horizon, _gain, expected_cost, plan_horizon
from fomo.planning.simulator import Network, network_of_load
from fomo.planning.simulator_play import simulate
from fomo.planning.simulator_summary import summary


def truth_of(load: list[list[float]], position_km: np.ndarray | None = None) -> Load:
    members = np.array([load])
    cells = members.shape[2]
    line = np.stack([np.arange(cells), np.zeros(cells)], -1).astype(np.float64)
    return Load(
        members=members,
        time=np.datetime64("2024-01-01T00:00") + np.arange(members.shape[1]) * np.timedelta64(60, "m"),
        places=np.stack([np.zeros(cells, np.int64), np.arange(cells)], -1),
        position_km=line if position_km is None else position_km,
        step_minutes=60,
        unit="Mbit",
    )


def line(cells: int) -> np.ndarray:
    return np.stack([np.arange(cells) + 0.5, np.zeros(cells)], 1)


def test_what_is_left_waiting_is_that_of_the_last_period_and_the_waiting_time_is_of_what_was_carried() -> None:
    truth = truth_of([[5.0], [3.0]])
    network = network_of_load(truth, bits_per_prb=np.full((2, 1), 1e6), bits_per_unit=1e6)
    numbers = summary(simulate(network, truth, prbs=np.array([[2], [2]])))  # 3 wait, then 4
    assert numbers["left waiting"] == 4.0
    assert numbers["waiting time"] == pytest.approx(7 / 4)  # 4 of 8 units are carried


def test_a_cell_at_the_edge_of_the_reach_helps() -> None:
    truth = truth_of([[6.0, 0.0, 0.0, 0.0]], np.array([[0.0, 0.0], [1.5, 0.0], [0.0, -1.5], [1.6, 0.0]]))
    network = network_of_load(truth, radio_units=8, capacity=1.0, reach_km=1.5)
    played = simulate(network, truth, failed=np.array([True, False, False, False]))
    np.testing.assert_allclose(played.arriving, [[0.0, 3.0, 3.0, 0.0]])


def test_blocks_to_spare_go_by_the_blocks_that_traffic_takes_not_by_its_bits() -> None:
    """6 bits take a block where one carries 6, and 3 where one carries 2: of 12 blocks more 3 and 9."""
    arriving, bits = np.array([[6.0, 6.0]]), np.array([6.0, 2.0])
    parameters = PrbParameters(1.0, 1.0, 1.0)
    assert allocate_slot(np.zeros(2), arriving, bits, 16, parameters).tolist() == [1 + 3, 3 + 9]
    plan = plan_horizon(np.zeros(2), arriving[None], bits[None], 16, parameters)
    assert plan.tolist() == [[1 + 3, 3 + 9]]


@pytest.mark.parametrize("seed", range(4))
def test_what_a_block_saves_is_what_the_plan_with_it_costs_less(seed: int) -> None:
    """The gain that sweeps go by, against the expected cost (18) of both plans, later slots included."""
    random = np.random.default_rng(seed)
    backlog, arriving = random.exponential(4, 3), random.exponential(4, (5, 4, 3))
    horizon = Horizon(backlog, arriving, random.lognormal(0, 0.4, (4, 3)), 20, PrbParameters(2.0, 1.0, 0.7))
    plan = random.integers(1, 5, (4, 3))
    more = plan.copy()
    more[0] += 1
    waiting = np.broadcast_to(backlog, arriving[:, 0].shape)
    found = _gain(plan[0], horizon=horizon, held=plan, waiting=waiting, slot=0, last=4)
    np.testing.assert_allclose(
        found, expected_cost(horizon, plan) - expected_cost(horizon, more), rtol=1e-9, atol=1e-12
    )


def test_of_equal_gains_the_place_with_more_people_comes_first() -> None:
    """Each station is full in its cell alone; who is left there says where a forecast that errs is nearer to right."""
    demand = np.array([[3.0, 0.0, 0.0, 9.0, 0.0, 0.0, 6.0]])
    for reach in (0.0, 1.0):
        parameters = DeploymentParameters(stations=2, users_per_station=2.0, reach_km=reach, stations_per_place=1)
        stations = greedy_places(demand, line(7), parameters).stations
        near = [0, 0, 1, 1, 1, 1, 1] if reach else [0, 0, 0, 1, 0, 0, 1]
        assert stations.sum() == 2
        assert not (stations > near).any()
        if not reach:
            assert locate(demand, line(7), parameters).stations.tolist() == [0, 0, 0, 1, 0, 0, 1]


def test_weights_of_scenarios_rule_the_solver_too() -> None:
    """Where the greedy plan is not the best one, the solver finds that of the weighted mean, not of the plain one."""
    demand = np.array([[4.8, 4.8, 1.5, 2.7, 2.7, 2.9], [0, 2, 2, 1.7, 7.7, 0], [0, 6.6, 5.8, 1, 16.7, 3.6]])
    weights = np.array([1.0, 8.0, 2.0])
    parameters = DeploymentParameters(stations=3, users_per_station=6.0, reach_km=1.0, stations_per_place=1)
    located = locate(demand, line(6), parameters, weights=weights, gap=0.0)
    served = play_coverage(located.stations, demand, line(6), parameters).served.sum(1)
    assert np.average(served, weights=weights) == pytest.approx(159 / 11, rel=1e-6)
    assert located.method == "integer programme"


def test_the_bound_is_the_solvers_where_that_is_lower() -> None:
    """14 people can be served, the greedy plan cannot prove better than 15: three full stations."""
    demand = np.array([[1.2, 0.7, 2.1, 0.0, 8.5, 3.0]])
    parameters = DeploymentParameters(stations=3, users_per_station=5.0, reach_km=1.0, stations_per_place=1)
    assert greedy_places(demand, line(6), parameters).bound == pytest.approx(15.0)
    located = locate(demand, line(6), parameters, gap=0.0)
    assert located.served == pytest.approx(14.0)
    assert located.bound == pytest.approx(14.0)


def test_of_equal_remainders_the_larger_weight_comes_first_wherever_it_is() -> None:
    assert proportional(np.array([3.0, 1.0]), 2).tolist() == [2, 0]  # 1.5 and 0.5
    assert proportional(np.array([1.0, 3.0]), 2).tolist() == [0, 2]
    assert proportional(np.array([1.0, 1.0]), 3).tolist() == [2, 1]  # then the earlier cell
    assert proportional(np.array([24.0, 8.0, 68.0]), 5).tolist() == [1, 0, 4]  # 1.2, 0.4, 3.4: equal but for rounding


@pytest.mark.parametrize("km", [0.1, 0.15, 0.3, 0.5])
def test_cells_alike_have_as_many_helpers_wherever_they_stand(km: float) -> None:
    """Positions in floats lay a last digit beyond the reach, or not, so another load was taken over."""
    position = np.stack([(np.arange(40) + 0.5) * km, np.zeros(40)], 1)
    network = Network(position, 60, "MB", np.full(40, 8), np.ones(40), reach_km=1.5)
    helpers = {int((network.takeover(np.arange(40) == failed)[0] > 0).sum()) for failed in range(16, 24)}
    assert helpers == {2 * round(1.5 / km)}
