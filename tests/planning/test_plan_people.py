from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fomo.city import make_city, mock_city
from fomo.planning.load import Load, PlanError, load_of_city
from fomo.planning.people import People, journeys, moves, people_of_city, people_of_traffic, whole_people
from fomo.sources import read_family


def hours(steps):
    return np.datetime64("2024-01-01T00:00") + np.arange(steps) * np.timedelta64(1, "h")


def people_of(count, position_km=None):
    count = np.asarray(count, np.int64)
    cells = count.shape[1]
    line = np.stack([np.arange(cells), np.zeros(cells)], -1).astype(np.float64)
    places = np.stack([np.zeros(cells, np.int64), np.arange(cells)], -1)
    return People(count, hours(len(count)), places, line if position_km is None else position_km)


def city_with_users(users):
    users = np.asarray(users, np.float32)
    return make_city(np.ones_like(users), users=users, name="u", start="2024-01-01T00:00", step_minutes=60, cell_km=1.0)


amounts = st.integers(1, 6).flatmap(
    lambda cells: st.lists(
        st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=cells, max_size=cells).filter(
            lambda row: sum(row) > 1e-3
        ),
        min_size=1,
        max_size=5,
    )
)


@given(amounts, st.integers(1, 10**9))
def test_nobody_is_made_or_lost_and_every_cell_is_within_one_of_its_quota(rows, total):
    rows = np.array(rows)
    count = whole_people(rows, total, hours(len(rows)))
    assert (count.sum(1) == total).all()
    quota = rows / rows.sum(1, keepdims=True) * total
    assert (count >= np.floor(quota)).all()
    assert (count <= np.floor(quota) + 1).all()


def test_remainders_are_rounded_as_a_plain_loop_rounds_them():
    random = np.random.default_rng(3)
    rows = random.lognormal(0, 1, (20, 7))
    expected = []
    for row in rows:
        quota = [value / row.sum() * 53 for value in row]
        whole = [int(value) for value in quota]
        largest = sorted(range(7), key=lambda cell: (whole[cell] - quota[cell], cell))
        for cell in largest[: 53 - sum(whole)]:
            whole[cell] += 1
        expected.append(whole)
    np.testing.assert_array_equal(whole_people(rows, 53, hours(20)), expected)


def test_of_equal_remainders_the_first_cell_is_rounded_up():
    np.testing.assert_array_equal(whole_people(np.ones((1, 4)), 6, hours(1)), [[2, 2, 1, 1]])


@given(amounts, st.integers(1, 10**6))
def test_as_many_leave_as_arrive_and_the_moves_lead_from_each_period_to_the_next(rows, total):
    people = people_of(whole_people(np.array(rows), total, hours(len(rows))))
    leaving, arriving = moves(people)
    assert (leaving.sum(1) == arriving.sum(1)).all()
    assert not leaving[0].any()
    assert not arriving[0].any()
    np.testing.assert_array_equal(people.count[:-1] - leaving[1:] + arriving[1:], people.count[1:])
    assert not ((leaving > 0) & (arriving > 0)).any()  # the fewest: nobody is replaced


def test_people_of_a_city_follow_its_users_in_the_order_of_the_places_asked_for():
    users = np.array([[[1, 3], [0, 0]], [[2, 2], [4, 0]]])
    city = city_with_users(users)
    people = people_of_city(city, 8)
    np.testing.assert_array_equal(people.count, [[2, 6, 0, 0], [2, 2, 4, 0]])
    assert people.total == 8
    other = people_of_city(city, 4, np.array([[0, 1], [0, 0]]))
    np.testing.assert_array_equal(other.count, [[3, 1], [2, 2]])
    np.testing.assert_array_equal(other.position_km, [[1.5, 0.5], [0.5, 0.5]])
    np.testing.assert_array_equal(people.position_km, load_of_city(city).position_km)


def test_people_of_traffic_are_as_many_as_the_mean_hour_feeds_and_follow_it():
    members = np.array([[[10.0, 30.0], [60.0, 20.0]]])  # 40 and 80 in half an hour: 120 an hour in the mean
    load = Load(members, hours(2), np.array([[0, 0], [0, 1]]), np.zeros((2, 2)), 30, "MB")
    people = people_of_traffic(load, 3.0)
    np.testing.assert_array_equal(people.count, [[10, 30], [30, 10]])


def brute_force_km(people, step):
    """The fewest people-kilometres over all ways to pair those who leave with those who arrive."""
    leaving, arriving = (numbers[step] for numbers in moves(people))
    origins, ends = np.repeat(np.arange(len(leaving)), leaving), np.repeat(np.arange(len(arriving)), arriving)
    km = np.linalg.norm(people.position_km[:, None] - people.position_km[None], axis=-1)
    return min(km[origins, list(order)].sum() for order in itertools.permutations(ends))


@pytest.mark.parametrize("seed", range(5))
def test_journeys_are_those_of_the_fewest_kilometres_as_brute_force_finds_them(seed):
    random = np.random.default_rng(seed)
    position = random.uniform(0, 5, (5, 2))
    people = people_of(whole_people(random.lognormal(0, 1, (2, 5)), 12, hours(2)), position)
    leaving, arriving = moves(people)
    assert 2 <= leaving[1].sum() <= 8
    found = journeys(people, 1)
    np.testing.assert_array_equal(found.sum(1), leaving[1])
    np.testing.assert_array_equal(found.sum(0), arriving[1])
    km = np.linalg.norm(position[:, None] - position[None], axis=-1)
    assert (found * km).sum() == pytest.approx(brute_force_km(people, 1))


def test_where_nobody_moves_there_are_no_journeys():
    assert not journeys(people_of([[3, 4], [3, 4]]), 1).any()


@pytest.mark.parametrize("step", [0, 2, -1])
def test_journeys_of_no_period_are_refused(step):
    with pytest.raises(PlanError, match="start of periods 1 to 1"):
        journeys(people_of([[3, 4], [4, 3]]), step)


def test_journeys_of_a_large_grid_are_refused():
    count = np.tile([2, 0], 300)
    with pytest.raises(PlanError, match=r"300 cells that people leave times 300 .* above 40,000"):
        journeys(people_of([count, count[::-1]]), 1)


def test_a_city_without_users_says_what_to_use_instead():
    with pytest.raises(PlanError, match="'mock' records no users: use people_of_traffic"):
        people_of_city(mock_city(), 100)


def test_missing_users_are_named_and_never_nobody():
    users = np.ones((3, 2, 2), np.float32)
    users[1, 0, 1] = np.nan
    with pytest.raises(PlanError, match="1 of 12 values, the first at 2024-01-01T01:00, row 0, column 1"):
        people_of_city(city_with_users(users), 10)


def test_a_period_without_users_has_no_shares():
    users = np.ones((3, 2, 2), np.float32)
    users[2] = 0
    with pytest.raises(PlanError, match="nobody is recorded anywhere at 2024-01-01T02:00"):
        people_of_city(city_with_users(users), 10)


@pytest.mark.parametrize("place", [[2, 0], [0, -1]])
def test_a_place_off_the_grid_is_refused(place):
    with pytest.raises(PlanError, match="is not on the 2 x 2 cells"):
        people_of_city(city_with_users(np.ones((1, 2, 2))), 10, np.array([place]))


@pytest.mark.parametrize("total", [0, -3, 10**12 + 1])
def test_a_total_that_cannot_be_is_refused(total):
    with pytest.raises(PlanError, match="people in all"):
        whole_people(np.ones((1, 2)), total, hours(1))


def test_people_that_come_from_nowhere_are_refused():
    with pytest.raises(PlanError, match="3 people at first but 4 at 2024-01-01T01:00"):
        people_of([[1, 2], [2, 2]])


@pytest.mark.parametrize(("count", "message"), [([[4, -1]], "-1 people at .*column 1"), ([[0, 0]], "nobody is in")])
def test_numbers_that_are_no_people_are_refused(count, message):
    with pytest.raises(PlanError, match=message):
        people_of(count)


def test_people_of_other_periods_than_their_numbers_are_refused():
    with pytest.raises(PlanError, match="do not lie on their numbers"):
        People(np.ones((2, 3), np.int64), hours(3), np.zeros((3, 2), np.int64), np.zeros((3, 2)))


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), 1e9])
def test_a_traffic_per_person_that_makes_nobody_is_refused(rate):
    with pytest.raises(PlanError, match=r"a person"):
        people_of_traffic(load_of_city(mock_city()), rate)


def test_people_of_many_members_are_refused():
    load = Load(np.ones((2, 1, 1)), hours(1), np.zeros((1, 2), np.int64), np.zeros((1, 2)), 60, "MB")
    with pytest.raises(PlanError, match="2 members"):
        people_of_traffic(load, 1.0)


@pytest.mark.real_data
def test_nanchang_keeps_its_people_through_its_week(real_data):
    (city,) = read_family(real_data, "nanchang_grid")
    people = people_of_city(city, 1_000_000)
    users = city["users"].values[:, city["covered"].values].astype(np.float64)
    assert people.count.shape == (168, 281)
    assert (people.count.sum(1) == 1_000_000).all()
    np.testing.assert_allclose(people.count / 1e6, users / users.sum(1, keepdims=True), atol=1e-6)
    leaving, arriving = moves(people)
    assert leaving[1:].sum(1).min() > 1000  # they do move
    np.testing.assert_array_equal(leaving.sum(1), arriving.sum(1))
