"""Hindcasts ask of the past what is asked now, knowing only what was known then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fomo.city import City, mock_city
from fomo.windows.hindcast import APART_HOURS, hindcasts
from fomo.windows.task import ContextMode, Task, fill_task, forecast_task, generate_task, last_week

DAYS = 12


def numbered(days: int = DAYS, step_minutes: int = 60, height: int = 2, width: int = 3) -> City:
    """A city whose traffic says when and where it is: step + a tenth of a cell."""
    steps = days * 24 * 60 // step_minutes
    city = mock_city(steps, height, width, step_minutes)
    cells = np.arange(height * width).reshape(height, width) / 10
    values = np.arange(steps)[:, None, None] + cells
    return city.assign(traffic=city["traffic"].copy(data=values), users=city["traffic"].copy(data=1000 + values))


def task_of(city: City, horizon: int = 16, history: int = 48, context: ContextMode = "none") -> Task:
    ahead = np.zeros((horizon, city.sizes["y"], city.sizes["x"])) if context == "full" else None
    return forecast_task(city, horizon, history, context=context, users_ahead=ahead)


@pytest.mark.parametrize("step_minutes", [15, 60])
def test_the_latest_ends_where_the_question_begins_and_the_others_lie_twelve_hours_apart(step_minutes):
    city = numbered(step_minutes=step_minutes)
    steps, apart = city.sizes["time"], APART_HOURS * 60 // step_minutes
    found = hindcasts(task_of(city), 5, 100)
    assert len(found) == 5
    for number, one in enumerate(found):
        end = steps - number * apart
        np.testing.assert_array_equal(one.truth[48:, 0, 0], np.arange(end - 16, end))
        np.testing.assert_array_equal(one.task.window["traffic"].values[:48, 0, 0], np.arange(end - 64, end - 16))
        np.testing.assert_array_equal(one.task.window["time"].values, city["time"].values[end - 64 : end])


def test_a_hindcast_is_the_question_that_would_have_been_asked_then():
    city = numbered()
    for one in hindcasts(task_of(city, context="past"), 12, 100):
        until = int(one.task.window["traffic"].values[47, 0, 0]) + 1
        then = task_of(city.isel(time=slice(0, until)), context="past")
        assert one.task.window.identical(then.window)
        for name in ("asked", "last_week", "earlier", "users_earlier"):
            mine, its = getattr(one.task, name), getattr(then, name)
            assert (mine is None) == (its is None)
            if its is not None:
                np.testing.assert_array_equal(mine, its)
        assert (one.task.reference, one.task.context) == (then.reference, then.context)


def test_nothing_of_what_came_later_is_known():
    city = numbered()
    task = task_of(city)
    one = hindcasts(task, 3, 100)[2]
    until = int(one.task.window["traffic"].values[47, 0, 0])
    for known in (one.task.window["traffic"].values, one.task.earlier, one.task.last_week):
        assert np.nanmax(known) < until + 1
    assert np.isnan(one.truth[:48]).all()
    np.testing.assert_array_equal(one.task.last_week, last_week(city.isel(time=slice(0, until + 1)), until - 47, 64))


def test_with_full_context_the_users_of_the_hindcast_hours_are_known_and_with_past_they_are_not():
    city = numbered()
    past, full = (hindcasts(task_of(city, context=mode), 1, 100)[0].task for mode in ("past", "full"))
    assert np.isnan(past.window["users"].values[48:]).all()
    np.testing.assert_array_equal(past.window["users"].values[:48], full.window["users"].values[:48])
    np.testing.assert_array_equal(full.window["users"].values, 1000 + city["traffic"].values[-64:])
    assert "users" not in hindcasts(task_of(city), 1, 100)[0].task.window


def test_users_whose_past_is_not_known_are_left_out():
    task = replace(task_of(numbered(), context="past"), users_earlier=None)
    assert "users" not in hindcasts(task, 1, 100)[0].task.window


def test_of_a_large_grid_the_busiest_block_is_asked():
    city = numbered(height=9, width=30)
    busy = city["traffic"].values.copy()
    busy[:, 3:6, 20:24] += 1e6
    found = hindcasts(task_of(city.assign(traffic=city["traffic"].copy(data=busy))), 1, 12)[0]
    assert found.truth.shape == (64, 3, 4)
    assert (found.truth[48:] > 1e6).all()
    np.testing.assert_array_equal(found.task.window["x"], city["x"].values[20:24])
    assert found.task.earlier is not None and (found.task.earlier > 1e6).all()


@pytest.mark.parametrize(("height", "width"), [(1, 500), (500, 1), (40, 7)])
def test_a_block_has_no_more_cells_than_allowed(height, width):
    found = hindcasts(task_of(numbered(6, height=height, width=width)), 1, 100)[0]
    assert 50 <= found.truth[0].size <= 100


def test_a_short_past_has_few_and_each_has_a_day_before_it():
    for hours, number in ((64 + 24 - 1, 0), (64 + 24, 1), (64 + 24 + 11, 1), (64 + 24 + 12, 2)):
        city = numbered().isel(time=slice(0, hours))
        assert len(hindcasts(task_of(city), 12, 100)) == number


def test_a_time_without_any_record_is_passed_over():
    city = numbered()
    values = city["traffic"].values.copy()
    values[-16:] = np.nan  # nothing came of the latest: but the window's own history is not empty
    task = task_of(city.assign(traffic=city["traffic"].copy(data=values)))
    found = hindcasts(task, 2, 100)
    assert np.isfinite(found[0].truth).any()
    assert np.isnan(found[0].truth[60:]).all()  # missing stays missing
    assert found[0].task.window["time"].values[-1] == city["time"].values[-1 - 12]


def test_what_does_not_continue_a_history_has_none():
    city = numbered()
    area = np.zeros((2, 3), bool)
    area[0] = True
    gaps = city["traffic"].values.copy()
    gaps[100:110] = np.nan
    for task in (
        generate_task(city.isel(time=slice(0, 64)), area),
        fill_task(city.assign(traffic=city["traffic"].copy(data=gaps))),
        forecast_task(city, 16, 48, past_week=False),
    ):
        assert hindcasts(task, 12, 100) == []
    assert hindcasts(task_of(city), 0, 100) == []
