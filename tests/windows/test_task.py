"""Tasks: what is asked is not shown, and what is known in advance is."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.city import CityError, make_city, mock_city
from fomo.windows.task import Task, context_left, fill_task, forecast_task, generate_task, last_week, make_task

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


# ---------------------------------------------------------------- context


LAYERS = ("users", "poi", "residents")


def full_city(steps=60):
    """Users, POI and residents."""
    random = np.random.default_rng(1)
    traffic = random.gamma(2.0, 1.0, (steps, 4, 4))
    return make_city(
        traffic, users=10 * traffic, poi=random.integers(0, 9, (2, 4, 4)), poi_names=["shopping", "finance"],
        residents=random.uniform(10, 90, (4, 4)), name="made", start=START, step_minutes=60,
    )  # fmt: skip


def late(city, first=12):
    asked = np.zeros(city["traffic"].shape, bool)
    asked[first:] = True
    return asked


def test_cells_of_an_area_that_are_nan_or_masked_are_not_asked():
    """A float NaN was True, so that a map with gaps asked for everything."""
    area = np.full((4, 4), np.nan)
    area[1, 1:3] = 1, 0
    for given in (area, np.ma.array(np.ones((4, 4)), mask=area != 1)):
        asked = generate_task(full_city(), given).asked
        np.testing.assert_array_equal(asked, np.broadcast_to(area == 1, asked.shape))


@pytest.mark.parametrize("kept", [LAYERS, ("poi",), ("users", "residents"), ()])
@pytest.mark.parametrize("context", ["none", "past", "full"])
def test_a_task_shows_the_layers_that_are_kept_and_no_other(context, kept):
    city = full_city()
    task = make_task(city, late(city), context=context, layers=kept)
    shown = () if context == "none" else kept
    assert {name for name in LAYERS if name in task.window} == set(shown)
    assert set(task.layers) == set(shown)
    for name in set(shown) - {"users"}:
        np.testing.assert_array_equal(task.window[name], city[name])


@pytest.mark.parametrize(
    ("present", "asked", "left"),
    [
        (LAYERS, "full", "full"),
        (LAYERS, "past", "past"),
        (LAYERS, "none", "none"),
        (("users",), "full", "full"),
        (("poi", "residents"), "full", "past"),
        (("residents",), "past", "past"),
        ((), "full", "none"),
        ((), "past", "none"),
    ],
)
def test_the_context_falls_back_to_what_the_city_has(present, asked, left):
    city = full_city().drop_vars([name for name in LAYERS if name not in present])
    assert context_left(city, asked) == left
    assert make_task(city, late(city), context=asked).context == left
    whole = full_city()
    assert make_task(whole, late(whole), context=asked, layers=present).context == left


def test_an_unknown_layer_is_refused_with_those_there_are():
    city = full_city()
    with pytest.raises(CityError, match=r"no context layers \['people'\]; there are users, poi, residents"):
        make_task(city, late(city), context="full", layers=("people", "poi"))


def test_users_before_the_window_and_their_scale_are_told_where_users_are():
    city = full_city()
    earlier = np.ones((9, 4, 4), np.float32)
    told = make_task(city, late(city), context="past", users_earlier=earlier, users_reference=80.0)
    assert told.users_earlier is earlier and told.users_reference == 80.0
    for hidden in ({"context": "none"}, {"context": "full", "layers": ("poi",)}):
        task = make_task(city, late(city), users_earlier=earlier, users_reference=80.0, **hidden)
        assert task.users_earlier is None and task.users_reference is None


def test_layers_of_which_nothing_is_known_are_none():
    city = full_city()
    city["users"][:] = np.nan
    assert make_task(city, late(city), context="full").layers == ("poi", "residents")


def test_a_forecast_with_the_users_of_the_past_knows_them_before_and_none_after():
    city = full_city(70)
    task = forecast_task(city, 16, context="past")
    users = task.window["users"].values
    np.testing.assert_array_equal(users[:48], city["users"].values[-48:])
    assert np.isnan(users[48:]).all()
    np.testing.assert_array_equal(task.users_earlier, city["users"].values[:22])
    assert forecast_task(city, 16, context="past", past_week=False).users_earlier is None


def test_a_forecast_with_assumed_users_knows_them_where_it_is_asked():
    city = full_city(70)
    ahead = np.random.default_rng(2).uniform(0, 9, (16, 4, 4)).astype(np.float32)
    task = forecast_task(city, 16, context="full", users_ahead=ahead)
    assert task.context == "full"
    np.testing.assert_array_equal(task.window["users"].values[48:], ahead)
    np.testing.assert_array_equal(task.window["users"].values[:48], city["users"].values[-48:])
    assert np.isnan(task.window["traffic"].values[48:]).all()


@pytest.mark.parametrize(
    ("ahead", "message"),
    [
        (None, "which nobody knows: give what you assume as users_ahead"),
        (np.ones((15, 4, 4)), r"assumed users \(15, 4, 4\) do not lie on the asked steps \(16, 4, 4\)"),
        (np.ones((16, 4)), "do not lie on the asked steps"),
        (np.full((16, 4, 4), -1.0), "negative or infinite"),
        (np.full((16, 4, 4), np.inf), "negative or infinite"),
    ],
)
def test_assumed_users_must_be_counts_for_the_asked_steps(ahead, message):
    with pytest.raises(CityError, match=message):
        forecast_task(full_city(70), 16, context="full", users_ahead=ahead)


def test_assumed_users_may_be_unknown_in_some_cells():
    ahead = np.full((16, 4, 4), 3.0, np.float32)
    ahead[:, 1, 2] = np.nan
    task = forecast_task(full_city(70), 16, context="full", users_ahead=ahead)
    np.testing.assert_array_equal(task.window["users"].values[48:], ahead)


def test_a_city_without_users_needs_no_assumed_ones():
    assert forecast_task(mock_city(70), 16, context="full").context == "none"
    assert forecast_task(full_city(70).drop_vars("users"), 16, context="full").context == "past"


def test_generating_with_the_users_of_the_past_knows_none_as_nothing_lies_before():
    city = full_city()
    area = np.zeros((4, 4), bool)
    area[1:3, 1:3] = True
    past, full = (generate_task(city, area, context=context) for context in ("past", "full"))
    assert np.isnan(past.window["users"].values).all()
    assert past.layers == ("poi", "residents")
    np.testing.assert_array_equal(full.window["users"], city["users"])
    assert np.isnan(full.window["traffic"].values[:, area]).all()
    assert generate_task(city, area, context="full", layers=("residents",)).layers == ("residents",)


def test_filling_with_users_knows_them_where_traffic_is_missing():
    city = full_city()
    city["traffic"][5:9, 0, 0] = np.nan
    full, past = (fill_task(city, context=context) for context in ("full", "past"))
    np.testing.assert_array_equal(full.window["users"], city["users"])
    assert np.isfinite(past.window["users"].values[:5]).all() and np.isnan(past.window["users"].values[5:]).all()
