"""Rules of earlier days, records around gaps, rests of cities: edges that nothing else holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fomo.city import City, mock_city
from fomo.forecasters import rest_of_city
from fomo.forecasters.around_gaps import CELL_HOURS, USUAL_HOURS, _of_the_cell
from fomo.forecasters.earlier_days import SameTimeOnEarlierDays, TrafficPerUserAtThatTime
from fomo.windows.clock import Clock
from fomo.windows.task import forecast_task


def counted(days: int, gap: slice) -> City:
    """Working days by the hour, of 2 traffic a user; one cell lacks users for a while, one traffic."""
    city = mock_city(24 * days, 1, 2)
    users = np.random.default_rng(0).gamma(4.0, 5.0, city["traffic"].shape).astype(np.float32)
    traffic = 2 * users
    users[gap, 0, 0] = np.nan
    traffic[gap, 0, 1] = np.nan
    return city.assign(traffic=city["traffic"].copy(data=traffic), users=city["traffic"].copy(data=users))


def test_traffic_counts_only_with_its_users_and_users_only_with_their_traffic() -> None:
    ahead = np.full((8, 1, 2), 10.0)
    task = forecast_task(counted(4, slice(24, 48)), 8, 48, context="full", users_ahead=ahead)
    np.testing.assert_allclose(TrafficPerUserAtThatTime().point(task)[48:], 20.0, rtol=1e-5)


def test_where_no_day_is_known_with_its_users_nothing_is_said() -> None:
    """No traffic a user would be 0 traffic, and nobody has said that."""
    ahead = np.full((8, 1, 2), 10.0)
    task = forecast_task(counted(4, slice(0, 96)), 8, 48, context="full", users_ahead=ahead)
    assert np.isnan(TrafficPerUserAtThatTime().point(task)[48:]).all()


def test_members_of_a_single_day_are_that_day() -> None:
    task = forecast_task(counted(1, slice(0, 0)), 8, 24)
    draws = SameTimeOnEarlierDays().draws(task, 3, np.random.default_rng(0))
    np.testing.assert_array_equal(draws[:, 24:], 0.0)


@pytest.mark.parametrize("step_hours", [0.25, 1.0, 3.0])
def test_what_a_cell_lay_above_is_forgotten_by_the_hour_whatever_the_step(step_hours: float) -> None:
    share, at = np.full((120, 1), 0.1, np.float32), np.arange(120)
    share[50] = 0.3
    found = _of_the_cell(share, np.full_like(share, 0.1), Clock(0.0, step_hours))[:, 0]
    fade = np.exp(-np.abs(np.subtract.outer(at, at)) / (CELL_HOURS / step_hours))
    beside = 0.1 * USUAL_HOURS / step_hours
    np.testing.assert_allclose(found, (fade @ share[:, 0] + beside) / (0.1 * fade.sum(1) + beside), rtol=5e-3)


def test_cells_that_stand_for_all_others_lie_all_over_the_city() -> None:
    most = rest_of_city.MOST_CELLS
    chosen = rest_of_city._some(torch.arange(4 * most))
    assert len(chosen) == most and len(chosen.unique()) == most
    np.testing.assert_allclose(np.bincount(chosen.numpy() // most), most / 4, rtol=0.1)
