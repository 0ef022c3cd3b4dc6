"""Stations in proportion to a density, what is built, and the demand of a forecast."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fomo.planning.deployment import DeploymentParameters, demand_of_traffic, proportional, without
from fomo.planning.load import Load, PlanError

HOUR = np.timedelta64(60, "m")


def _load(members: np.ndarray, start: str = "2024-01-01T00:00", step_minutes: int = 60) -> Load:
    cells = members.shape[2]
    return Load(
        members=members,
        time=np.datetime64(start, "m") + np.arange(members.shape[1]) * np.timedelta64(step_minutes, "m"),
        places=np.stack([np.zeros(cells, int), np.arange(cells)], 1),
        position_km=np.stack([np.arange(cells) + 0.5, np.zeros(cells)], 1),
        step_minutes=step_minutes,
        unit="GB",
    )


def test_stations_follow_the_largest_remainder():
    # quotas of 10 stations: 4.7, 3.1, 1.6, 0.6 -> 4, 3, 1, 0 and the two left go to .7 and, of two .6, the larger
    stations = proportional(np.array([47.0, 31.0, 16.0, 6.0]), 10)
    assert stations.tolist() == [5, 3, 2, 0]


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=12).filter(any),
    st.integers(1, 40),
)
def test_stations_equal_the_quota_in_exact_fractions(weights, stations):
    given_ = proportional(np.array(weights, float), stations)
    quota = [Fraction(weight * stations, sum(weights)) for weight in weights]
    assert given_.sum() == stations
    assert all(abs(number - share) < 1 for number, share in zip(given_.tolist(), quota, strict=True))
    up = [share - int(share) for number, share in zip(given_.tolist(), quota, strict=True) if number > int(share)]
    down = [share - int(share) for number, share in zip(given_.tolist(), quota, strict=True) if number == int(share)]
    assert not up or not down or min(up) >= max(down)  # nobody was rounded up before a larger remainder


@given(
    st.lists(st.just(0.0) | st.floats(1e-3, 1e6), min_size=1, max_size=12).filter(any),
    st.integers(1, 30),
    st.integers(1, 5),
    st.sampled_from([1e-12, 1.0, 1e12]),
)
def test_a_full_cell_leaves_its_stations_to_the_others(weights, stations, most, unit):
    weight = np.array(weights) * unit
    room = most * int((weight > 0).sum())
    if stations > room:
        with pytest.raises(PlanError, match="do not fit"):
            proportional(weight, stations, most)
        return
    placed = proportional(weight, stations, most)
    assert placed.sum() == stations
    assert placed.max() <= most
    assert not placed[weight == 0].any()
    order = np.argsort(weight, kind="stable")
    assert (np.diff(placed[order]) >= -1).all()  # more weight, not more than the rounding less


def test_a_cap_is_shared_in_proportion():
    # 12 stations: 9, 2, 1 without a cap; of the 5 that the full cell leaves, two thirds go to the second
    assert proportional(np.array([9.0, 2.0, 1.0]), 12).tolist() == [9, 2, 1]
    assert proportional(np.array([9.0, 2.0, 1.0]), 12, 6).tolist() == [6, 4, 2]


def test_weights_of_any_size_are_shared():
    assert proportional(np.array([1e300, 5e-324, 1e308]), 4, 2).tolist() == [2, 0, 2]
    assert proportional(np.array([1e300, 5e-324, 1e308]), 5, 2).tolist() == [2, 1, 2]


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([0.0, 0.0], "0 in every cell"),
        ([1.0, np.nan], "nan in cell 1"),
        ([-1.0, 2.0], "-1.0 in cell 0"),
        ([np.inf, 2.0], "inf in cell 0"),
    ],
)
def test_a_density_that_is_none_is_refused(weight, message):
    with pytest.raises(PlanError, match=message):
        proportional(np.array(weight), 3)


@pytest.mark.parametrize("numbers", [(0, None), (3, 0)])
def test_no_stations_are_refused(numbers):
    with pytest.raises(PlanError, match="both are 1 or more"):
        proportional(np.ones(4), *numbers)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"stations": 0}, "stations is 0"),
        ({"stations_per_place": -1}, "stations_per_place is -1"),
        ({"users_per_station": 0.0}, "users_per_station is 0.0"),
        ({"users_per_station": float("nan")}, "users_per_station is nan"),
        ({"reach_km": -0.1}, "reach_km is -0.1"),
        ({"reach_km": float("inf")}, "reach_km is inf"),
    ],
)
def test_what_cannot_be_built_is_refused(value, message):
    with pytest.raises(PlanError, match=message):
        DeploymentParameters(**value)


def test_all_stations_together_serve_the_share_of_the_busiest_hour():
    people = np.array([[10.0, 20.0], [50.0, 30.0], [5.0, 5.0]])
    sized = DeploymentParameters(stations=4, reach_km=1.0).dimensioned_for(people, 0.9)
    assert sized.users_per_station * 4 == pytest.approx(0.9 * 80)
    assert sized.reach_km == 1.0
    with pytest.raises(PlanError, match="share"):
        sized.dimensioned_for(people, 0.0)
    with pytest.raises(PlanError, match="missing"):
        sized.dimensioned_for(np.array([[1.0, np.nan]]))
    with pytest.raises(PlanError, match="nobody"):
        sized.dimensioned_for(np.zeros((2, 2)))


def test_the_mean_day_is_the_mean_of_members_and_days_by_hour():
    random = np.random.default_rng(0)
    members = random.random((3, 60, 4))  # two and a half days: hours count once for each day they are in
    demand = demand_of_traffic(_load(members, "2024-01-01T05:00"), traffic_per_user=0.5)
    assert demand.shape == (24, 4)
    for hour in range(24):
        rows = [step for step in range(60) if (step + 5) % 24 == hour]
        np.testing.assert_allclose(demand[hour], members[:, rows].mean((0, 1)) / 0.5)
    apart = demand_of_traffic(_load(members, "2024-01-01T05:00"), traffic_per_user=0.5, by_member=True)
    np.testing.assert_allclose(apart.reshape(3, 24, 4).mean(0), demand)


@pytest.mark.parametrize(("step_minutes", "slots"), [(15, 24), (40, 24), (90, 16), (480, 3), (1440, 1)])
def test_periods_of_any_length_make_a_day(step_minutes, slots):
    periods = 2 * 1440 // step_minutes
    demand = demand_of_traffic(_load(np.ones((1, periods, 2)), step_minutes=step_minutes))
    np.testing.assert_allclose(demand, np.ones((slots, 2)))


def test_people_of_the_busiest_hour_set_the_scale_and_nothing_else():
    members = np.random.default_rng(1).random((2, 48, 3))
    load = _load(members)
    scaled = demand_of_traffic(load, people=500.0, by_member=True)
    mean_day = scaled.reshape(2, 24, 3).mean(0)
    assert mean_day.sum(1).max() == pytest.approx(500.0)
    plain = demand_of_traffic(load, by_member=True)
    np.testing.assert_allclose(scaled / scaled.sum(), plain / plain.sum())
    np.testing.assert_allclose(scaled, demand_of_traffic(load.scaled(7.0), people=500.0, by_member=True))


def test_a_day_with_hours_missing_is_refused():
    with pytest.raises(PlanError, match=r"no period in 4 of the 24 hours of a day \(from 20:00"):
        demand_of_traffic(_load(np.ones((1, 20, 2))))


def test_a_scale_of_nothing_is_refused():
    with pytest.raises(PlanError, match="people is 0"):
        demand_of_traffic(_load(np.ones((1, 24, 2))), people=0.0)
    with pytest.raises(PlanError, match="traffic_per_user is nan"):
        demand_of_traffic(_load(np.ones((1, 24, 2))), traffic_per_user=float("nan"))
    with pytest.raises(PlanError, match="0 everywhere"):
        demand_of_traffic(_load(np.zeros((1, 24, 2))), people=10.0)


def test_a_station_that_fails_is_gone_and_the_plan_is_kept():
    stations = np.array([2, 0, 1])
    assert without(stations, 0).tolist() == [1, 0, 1]
    assert without(stations, 0, failed=2).tolist() == [0, 0, 1]
    assert stations.tolist() == [2, 0, 1]
    for place, failed, message in ((1, 1, "it has 0"), (0, 3, "it has 2"), (3, 1, "no cell 3"), (-1, 1, "no cell -1")):
        with pytest.raises(PlanError, match=message):
            without(stations, place, failed)
