"""Tasks: what is asked is not shown, and what is known in advance is."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.city import CityError, make_city, mock_city
from fomo.windows.task import Task, fill_task, forecast_task, generate_task, last_week, make_task

START = "2024-01-01T00:00"


def city_with_users(steps=20):
    random = np.random.default_rng(0)
    traffic = random.gamma(2.0, 1.0, (steps, 4, 4))
    return make_city(traffic, users=10 * traffic, name="made", start=START, step_minutes=60)


def test_a_task_that_shows_what_it_asks_cannot_be_built():
    city = mock_city(8)
    asked = np.zeros(city["traffic"].shape, bool)
    asked[-1] = True
    with pytest.raises(CityError, match="must not contain the traffic it asks for"):
        Task(city, asked)


def test_making_a_task_takes_out_exactly_what_is_asked():
    city = mock_city(8)
    asked = np.random.default_rng(0).random(city["traffic"].shape) < 0.4
    task = make_task(city, asked)
    shown = task.window["traffic"].values
    assert np.isnan(shown[asked]).all()
    np.testing.assert_array_equal(shown[~asked], city["traffic"].values[~asked])
    assert np.isfinite(city["traffic"].values).all()  # the city itself is untouched


@pytest.mark.parametrize("context", ["none", "past", "full"])
def test_users_are_known_as_far_as_the_context_says(context):
    city = city_with_users()
    asked = np.zeros(city["traffic"].shape, bool)
    asked[12:] = True
    window = make_task(city, asked, context=context).window
    if context == "none":
        assert "users" not in window
        return
    known = np.isfinite(window["users"].values).all(axis=(1, 2))
    assert known[:12].all()
    assert known[12:].all() == (context == "full") and known[12:].any() == (context == "full")


def test_a_forecast_task_asks_the_steps_after_the_end():
    city = mock_city(100)
    task = forecast_task(city, 16)
    assert task.window.sizes["time"] == 48 + 16
    assert task.asked[48:].all() and not task.asked[:48].any()
    assert task.window["time"].values[48] == city["time"].values[-1] + np.timedelta64(60, "m")
    np.testing.assert_array_equal(task.window["traffic"].values[:48], city["traffic"].values[-48:])


def test_a_forecast_task_does_not_ask_for_cells_that_are_never_covered():
    city = mock_city(60)
    city["covered"][1, 2] = False
    city["traffic"][:, 1, 2] = np.nan
    asked = forecast_task(city, 4).asked
    assert not asked[:, 1, 2].any() and asked[-4:].sum() == 4 * 15


def test_a_forecast_needs_a_horizon_and_a_recorded_history():
    city = mock_city(100)
    with pytest.raises(CityError, match="at least 1"):
        forecast_task(city, 0)
    city["traffic"][-48:] = np.nan
    with pytest.raises(CityError, match="no recorded traffic"):
        forecast_task(city, 16)


def test_last_week_is_the_same_hour_seven_days_before():
    city = mock_city(24 * 9)
    week = last_week(city, 24 * 8, 48)  # the second day lies beyond the end of the city
    np.testing.assert_array_equal(week, city["traffic"].values[24 : 24 * 3])


def test_last_week_is_unknown_before_the_city_begins():
    city = mock_city(24 * 8)
    week = last_week(city, 24 * 7 - 3, 6)
    assert np.isnan(week[:3]).all()
    np.testing.assert_array_equal(week[3:], city["traffic"].values[:3])
    assert last_week(city, 0, 10) is None


def test_generating_asks_all_steps_of_the_area_and_nothing_else():
    city = mock_city(10)
    area = np.zeros((4, 4), bool)
    area[1:3, 1:3] = True
    task = generate_task(city, area)
    assert (task.asked == area).all()
    assert np.isfinite(task.window["traffic"].values[:, ~area]).all()


@pytest.mark.parametrize("area", [np.zeros((4, 4), bool), np.ones((3, 4), bool)])
def test_an_area_that_is_empty_or_off_the_grid_is_refused(area):
    with pytest.raises(CityError):
        generate_task(mock_city(10), area)


def test_filling_asks_what_was_not_recorded_in_covered_cells():
    city = mock_city(10)
    city["traffic"][2:4, 0, 0] = np.nan
    city["traffic"][:, 3, 3] = np.nan
    city["covered"][3, 3] = False
    task = fill_task(city)
    assert task.asked.sum() == 2 and task.asked[2:4, 0, 0].all()


def test_a_forecast_is_told_what_came_before_its_window_unless_the_past_is_to_be_forgotten():
    city = mock_city(100)
    task = forecast_task(city, 16)
    np.testing.assert_array_equal(task.earlier, city["traffic"].values[:52])
    assert forecast_task(city, 16, past_week=False).earlier is None


def test_a_past_of_other_cells_is_refused():
    city = mock_city(8)
    asked = np.zeros(city["traffic"].shape, bool)
    asked[-1] = True
    with pytest.raises(CityError, match="before the window"):
        make_task(city, asked, earlier=np.zeros((5, 3, 4), np.float32))
