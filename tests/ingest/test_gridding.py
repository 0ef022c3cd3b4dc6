from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from fomo.ingest.allocation import Allocation
from fomo.ingest.cube import Day, State
from fomo.ingest.gridding import grid_day
from fomo.ingest.growing import differences
from fomo.ingest.reading import ahead


def made(periods=4, cells=3, seed=0):
    random = np.random.default_rng(seed)
    weights = random.random((4, cells)) * (random.random((4, cells)) < 0.7)
    weights[0] += 0.1
    weights /= weights.sum(0)
    allocation = Allocation(tuple("abc"), csr_array(weights), np.zeros(cells), 2, 2)
    traffic, users = (random.random((periods, cells)).astype(np.float32) for _ in range(2))
    return weights, allocation, Day(traffic, users, np.zeros((periods, cells), np.uint8))


def test_traffic_is_summed_and_users_are_averaged_as_a_loop_has_it():
    weights, allocation, day = made()
    traffic, users = grid_day(day, allocation, 15, 30)
    for step in range(2):
        for place in range(4):
            served = weights[place] > 0
            parts = [(day.traffic[2 * step + k] * weights[place]).sum() for k in range(2)]
            people = [(day.users[2 * step + k] * weights[place]).sum() for k in range(2)]
            expected = (sum(parts), sum(people) / 2) if served.any() else (np.nan, np.nan)
            found = traffic[step].ravel()[place], users[step].ravel()[place]
            assert found == pytest.approx(expected, rel=1e-6, nan_ok=True)
    assert np.nansum(traffic) == pytest.approx(day.traffic.sum(), rel=1e-6)  # conserved


def test_a_missing_part_makes_the_whole_period_missing_and_suspects_are_missing_unless_trusted():
    _, allocation, day = made()
    day.traffic[1, 0] = np.nan
    day.state[3, 0] = State.SUSPECT
    traffic, _ = grid_day(day, allocation, 15, 30)
    assert np.isnan(traffic[0, 0, 0]) and np.isnan(traffic[1, 0, 0])
    trusted, _ = grid_day(day, allocation, 15, 30, trust_suspect=True)
    assert np.isnan(trusted[0, 0, 0]) and np.isfinite(trusted[1, 0, 0])


def test_an_hour_that_never_was_is_no_part_of_a_longer_period():
    """The day on which clocks are set forward was missing as a whole."""
    _, allocation, day = made(periods=8)
    never = np.arange(8) == 2
    wanted = [part.reshape(2, 4, 2, 2) for part in grid_day(day, allocation, 60, 60)]
    day.traffic[never], day.users[never], day.state[never] = np.nan, np.nan, State.CLOCK_CHANGE
    traffic, users = grid_day(day, allocation, 60, 240, never=never)
    kept = np.array([0, 1, 3])
    np.testing.assert_allclose(traffic, [wanted[0][0, kept].sum(0), wanted[0][1].sum(0)], rtol=1e-6)
    np.testing.assert_allclose(users, [wanted[1][0, kept].mean(0), wanted[1][1].mean(0)], rtol=1e-6)
    hours, _ = grid_day(day, allocation, 60, 60, never=never)
    assert np.isnan(hours[2]).all() and np.isfinite(hours[3]).any()  # and by itself it has no value
    day.traffic[3] = np.nan  # nor has a longer period of which nothing ever was
    hours, _ = grid_day(day, allocation, 30, 60, never=never | (np.arange(8) == 3))
    assert np.isnan(hours[1]).all() and np.isfinite(hours[0]).any()
    day.traffic[0, 0] = np.nan  # what is missing of an hour that was stays missing
    assert np.isnan(grid_day(day, allocation, 60, 240, never=never)[0][0, 0, 0])


def test_no_users_are_no_users():
    _, allocation, day = made()
    day.users[:] = np.nan
    traffic, users = grid_day(day, allocation, 15, 15)
    assert np.isfinite(traffic).any() and np.isnan(users).all() and users.shape == traffic.shape


def test_differences_need_both_ends_and_resets_are_nobodys():
    counter = np.array([[5, 1], [7, 4], [3, np.nan], [4, 9]], np.float32)
    day = Day(counter, np.full_like(counter, np.nan), np.zeros(counter.shape, np.uint8))
    grown, reset = differences(day, np.array([2, np.nan], np.float32))
    np.testing.assert_array_equal(grown, [[3, np.nan], [2, 3], [np.nan, np.nan], [1, np.nan]])
    np.testing.assert_array_equal(reset, [[False, False], [False, False], [True, False], [False, False]])
    first, _ = differences(day)
    assert np.isnan(first[0]).all() and first[1, 0] == 2


def test_reading_ahead_keeps_the_order_and_the_error():
    def numbers():
        yield from range(3)
        raise ValueError("after three")

    found = []
    with pytest.raises(ValueError, match="after three"):
        for number in ahead(numbers()):
            found.append(number)
    assert found == [0, 1, 2] and list(ahead(iter([]))) == []
