"""Whom a deployment serves: a maximum flow, checked by a linear programme and by what must be conserved."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from fomo.planning.coverage import Service, play_coverage, within_reach
from fomo.planning.deployment import DeploymentParameters, without
from fomo.planning.load import PlanError


def _grid(height: int, width: int, cell_km: float = 1.0) -> np.ndarray:
    row, column = np.indices((height, width)).reshape(2, -1)
    return np.stack([(column + 0.5) * cell_km, (row + 0.5) * cell_km], 1)


def _most_served(people: np.ndarray, stations: np.ndarray, position: np.ndarray, users: float, reach: float) -> float:
    """The same of one period by a linear programme over all pairs."""
    cells = len(people)
    distance = np.hypot(*(position[:, None] - position[None]).transpose(2, 0, 1))
    pairs = np.argwhere(distance <= reach + 1e-9)
    rows = np.zeros((2 * cells, len(pairs)))
    rows[pairs[:, 0], np.arange(len(pairs))] = 1
    rows[cells + pairs[:, 1], np.arange(len(pairs))] = 1
    found = linprog(-np.ones(len(pairs)), A_ub=rows, b_ub=np.concatenate([people, users * stations]))
    return -found.fun


@given(st.integers(0, 10**6), st.sampled_from([0.0, 1.0, 1.5, 2.3]), st.sampled_from([1e-3, 1.0, 1e5]))
def test_the_flow_is_what_a_linear_programme_finds(seed, reach, unit):
    random = np.random.default_rng(seed)
    position = _grid(3, 4)
    people = random.lognormal(0, 1.5, (3, 12)) * (random.random((3, 12)) < 0.8) * unit
    people[0, 0] = unit
    stations = random.integers(0, 3, 12) * (random.random(12) < 0.5)
    parameters = DeploymentParameters(users_per_station=float(random.uniform(0.5, 8)) * unit, reach_km=reach)
    coverage = play_coverage(stations, people, position, parameters)
    expected = [_most_served(row, stations, position, parameters.users_per_station, reach) for row in people]
    np.testing.assert_allclose(coverage.served.sum(1), expected, rtol=1e-6, atol=1e-6 * unit)


@given(st.integers(0, 10**6), st.sampled_from([0.0, 1.0, 1.5]))
def test_people_and_capacity_are_conserved_and_more_stations_never_serve_less(seed, reach):
    random = np.random.default_rng(seed)
    position = _grid(4, 4)
    people = random.lognormal(0, 1, (4, 16))
    stations = random.integers(0, 3, 16)
    stations[int(random.integers(16))] += 1
    parameters = DeploymentParameters(users_per_station=1.3, reach_km=reach)
    coverage = play_coverage(stations, people, position, parameters)
    assert (coverage.served <= people).all()
    assert (coverage.served >= 0).all()
    assert (coverage.carried <= 1.3 * stations).all()
    np.testing.assert_allclose(coverage.carried.sum(1), coverage.served.sum(1), rtol=1e-12)
    assert not coverage.carried[:, stations == 0].any()
    place = int(np.flatnonzero(stations)[0])
    fewer = play_coverage(without(stations, place), people, position, parameters)
    assert (fewer.served.sum(1) <= coverage.served.sum(1)).all()  # to the last bit
    assert (coverage.served.sum(1) - fewer.served.sum(1) <= 1.3 * (1 + 1e-6)).all()


def test_stations_added_one_by_one_serve_as_many_as_at_once():
    random = np.random.default_rng(3)
    reach = within_reach(_grid(4, 5), 1.5)
    people = random.integers(0, 30, (6, 20)).astype(float)
    stations = random.integers(0, 2, 20)
    at_once = Service(people, reach, 11.0)
    at_once.add(stations)
    growing = Service(people, reach, 11.0)
    for place in np.flatnonzero(stations).tolist():
        before, promised = growing.mean_served, growing.gain(place)
        growing.add(np.eye(20, dtype=np.int64)[place])
        assert growing.mean_served - before == pytest.approx(promised)
    assert growing.mean_served == pytest.approx(at_once.mean_served)


def test_whole_people_are_counted_exactly():
    people = np.array([[7.0, 5.0, 3.0], [0.0, 15.0, 0.0]])
    parameters = DeploymentParameters(users_per_station=6.0, reach_km=1.0)
    coverage = play_coverage(np.array([1, 1, 0]), people, _grid(1, 3), parameters)
    assert coverage.served.sum(1).tolist() == [12.0, 12.0]
    assert coverage.carried.tolist() == [[6.0, 6.0, 0.0], [6.0, 6.0, 0.0]]


def test_somebody_is_freed_for_a_far_cell():
    # The station in the middle alone reaches the right cell; the left cell has to go to the left station.
    people = np.array([[4.0, 0.0, 4.0]])
    coverage = play_coverage(
        np.array([1, 1, 0]), people, _grid(1, 3), DeploymentParameters(users_per_station=4.0, reach_km=1.0)
    )
    assert coverage.served.tolist() == [[4.0, 0.0, 4.0]]
    assert coverage.ratio.tolist() == [1.0]


def test_a_station_of_any_strength_serves_all_in_reach_and_no_more():
    people = np.array([[3.0, 0.5, 9.0]])
    parameters = DeploymentParameters(users_per_station=1e12, reach_km=1.0)
    coverage = play_coverage(np.array([1, 0, 0]), people, _grid(1, 3), parameters)
    assert coverage.served.tolist() == [[3.0, 0.5, 0.0]]


def test_ratios_by_hour_and_their_mean_leave_out_hours_without_people():
    people = np.zeros((26, 2))
    people[0], people[1], people[24] = [8.0, 2.0], [1.0, 0.0], [4.0, 0.0]
    parameters = DeploymentParameters(users_per_station=4.0)
    coverage = play_coverage(np.array([1, 0]), people, _grid(1, 2), parameters)
    assert coverage.ratio[[0, 1, 24]].tolist() == [0.4, 1.0, 1.0]
    assert np.isnan(coverage.ratio[2])
    assert coverage.mean_ratio == pytest.approx(2.4 / 3)
    hours = coverage.by_hour_of_day(np.datetime64("2024-01-01T00", "h") + np.arange(26))
    assert hours[:2].tolist() == [0.7, 1.0]
    assert np.isnan(hours[2:]).all()
    with pytest.raises(PlanError, match="3 times for a coverage of 26"):
        coverage.by_hour_of_day(np.datetime64("2024-01-01T00", "h") + np.arange(3))


def test_reach_counts_centres_on_its_border():
    assert len(within_reach(_grid(3, 3, 1.07), 0.0).place) == 9
    assert len(within_reach(_grid(3, 3, 1.07), 1.07).place) == 9 + 2 * 12
    pairs = within_reach(_grid(3, 3, 0.1), 0.1 * 2**0.5)
    assert len(pairs.place) == 9 + 2 * 12 + 2 * 8
    assert (np.diff(9 * pairs.place + pairs.cell) > 0).all()


@pytest.mark.parametrize(
    ("stations", "people", "message"),
    [
        ([1, 0], [[1.0, np.nan]], "missing or infinite, the first in period 0, cell 1"),
        ([1, 0], [[1.0, 2.0], [-3.0, 1.0]], "negative, the first in period 1, cell 0"),
        ([1, 0], [[0.0, 0.0]], "nobody to serve"),
        ([1, 0, 0], [[1.0, 1.0]], "stations are given for 3 cells"),
        ([1, -1], [[1.0, 1.0]], "whole numbers, 0 or more"),
    ],
)
@pytest.mark.parametrize("reach", [0.0, 1.5])
def test_bad_input_is_refused(stations, people, message, reach):
    with pytest.raises(PlanError, match=message):
        play_coverage(np.array(stations), np.array(people), _grid(1, 2), DeploymentParameters(reach_km=reach))


def test_positions_that_are_missing_are_refused():
    position = _grid(1, 2)
    position[1] = np.nan
    with pytest.raises(PlanError, match="positions"):
        play_coverage(np.array([1, 0]), np.ones((1, 2)), position, DeploymentParameters(reach_km=1.0))


def test_without_scipy_the_way_to_it_is_told(monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest, **kept):
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *rest, **kept)

    monkeypatch.setattr(builtins, "__import__", refuse)
    people, stations = np.ones((1, 2)), np.array([1, 0])
    with pytest.raises(PlanError, match=r"fomo\[planning\]"):
        play_coverage(stations, people, _grid(1, 2), DeploymentParameters(reach_km=1.0))
    assert play_coverage(stations, people, _grid(1, 2), DeploymentParameters()).mean_ratio == 0.5
