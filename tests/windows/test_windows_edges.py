"""Scales, rhythms and hindcasts: edges that nothing else holds."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from fomo.city import City, mock_city
from fomo.windows.clock import Clock
from fomo.windows.hindcast import hindcasts, history_steps
from fomo.windows.rhythm import LARGEST_OF_WEEK, left_open, rhythm_sums
from fomo.windows.scale import SLIP, reference_of
from fomo.windows.shapes import flat_pattern, pattern_of, shapes_at, usual_in_window
from fomo.windows.task import forecast_task
from fomo.windows.usual import UsualWeeks


@pytest.mark.parametrize("times", [0.9, 1.1])
def test_a_slip_is_more_than_so_many_times_what_is_often_reached(times: float) -> None:
    traffic = np.ones((200, 2, 2))
    traffic[3, 1, 1] = times * SLIP
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = reference_of(traffic)
    assert (len(told), found == 1.0) == ((1, True) if times > 1 else (0, False))


def numbered(days: int, step_minutes: int) -> City:
    """A city whose traffic says when it is."""
    steps = days * 24 * 60 // step_minutes
    city = mock_city(steps, 2, 3, step_minutes)
    return city.assign(
        traffic=city["traffic"].copy(data=np.broadcast_to(np.arange(steps)[:, None, None], (steps, 2, 3)))
    )


def test_of_more_than_a_week_ahead_last_week_is_not_known_either() -> None:
    """Of 10 days at steps of six hours the last ones have their last week among what is asked."""
    city = numbered(60, 360)
    found = hindcasts(forecast_task(city, 40, 24), 6, 100)
    assert len(found) == 6
    for one in found:
        week, origin = one.task.last_week, one.truth[24, 0, 0]
        assert week is not None and np.nanmax(week) < origin


def test_a_cell_that_is_not_asked_for_does_not_take_the_past_from_the_others() -> None:
    city = numbered(12, 60)
    covered = np.ones((2, 3), bool)
    covered[1, 2] = False
    traffic = city["traffic"].where(covered).values
    part = city.assign(traffic=city["traffic"].copy(data=traffic), covered=(("y", "x"), covered))
    task = forecast_task(part, 16, 48)
    assert not task.asked[:, 1, 2].any()
    assert history_steps(task) == 48
    assert len(hindcasts(task, 5, 100)) == 5


def test_shapes_are_as_much_smaller_as_their_variance_that_the_past_has_answered_for() -> None:
    random = np.random.default_rng(0)
    spread = random.normal(size=(168, 3))
    pattern, clock = pattern_of(np.ones(168), spread @ spread.T / 10), Clock(30.0, 1.0)
    earlier = random.uniform(0, 1, (100, 2, 2))
    earlier[:70, 0] = np.nan
    found = usual_in_window(pattern, earlier, clock, (24, 2, 2))["shapes"]
    variance = left_open(earlier, clock, 24) * shapes_at(pattern, clock, 24) ** 2
    np.testing.assert_allclose(found**2, variance, rtol=1e-9, atol=1e-15)


def test_a_pattern_has_the_same_noise_alone_and_among_others_where_nothing_is_usual() -> None:
    quiet = flat_pattern(np.where(np.arange(168) < 24, 0.0, 168 / 144))  # Mondays without traffic
    clock = Clock(0.0, 1.0)
    alone = usual_in_window(quiet, None, clock, (48, 1, 1))["noise"]
    _, _, among = UsualWeeks([quiet]).usual([quiet], [0.0], [1.0], 48)
    np.testing.assert_array_equal(among[0], alone)
    assert among.min() > 0


def test_no_hour_of_a_cell_counts_as_more_than_so_many_means() -> None:
    """A stadium that is full for an hour a week: 168 means in one slot say little of how cells differ."""
    share = np.full((168, 1, 2), 0.1)
    share[:, 0, 0] = 0.0
    share[100, 0, 0] = 16.8
    sums = rhythm_sums(share, 0.0, 1.0)
    np.testing.assert_allclose(sums.first[100] / sums.weight, (LARGEST_OF_WEEK + 1) / 2, rtol=1e-6)
