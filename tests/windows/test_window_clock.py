"""Hours of the week by step, and days that are told as others: against plain loops, and against other days."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from fomo.city import City, make_city, mock_city
from fomo.days_off import DaysOff, with_days_off
from fomo.forecasters.own_past import EXPERTS, OwnPast
from fomo.windows.clock import Clock, hours_since_monday
from fomo.windows.rhythm import mean_over_steps, own_rhythm
from fomo.windows.shapes import flat_pattern
from fomo.windows.task import forecast_task
from fomo.windows.task_arrays import task_arrays

#: The Wednesday of the second week is told as a Sunday, its Saturday as a Friday.
TOLD = ((9, 6), (12, 4))


@pytest.mark.parametrize("step_hours", [0.25, 1.0, 6.0])
def test_hours_and_weekdays_by_a_loop(step_hours):
    clock = Clock(7 * 24 + 30.5, step_hours, TOLD).before(3)
    steps = round(24 * 9 / step_hours)
    hours, weekdays, weekend = clock.hours(steps), clock.weekdays(steps), clock.weekend(steps)
    for step in range(steps):
        hour = 7 * 24 + 30.5 + (step - 3) * step_hours
        day = int(hour // 24)
        weekday = dict(TOLD).get(day, day % 7)
        assert weekdays[step] == weekday
        assert weekend[step] == (weekday >= 5)
        assert hours[step] == pytest.approx(hour + 24 * (weekday - day % 7))


def test_steps_before_a_window_have_hours_too():
    assert Clock(5.0, 1.0).before(24).weekdays(24).tolist() == [6] * 19 + [0] * 5
    assert Clock(5.0, 1.0, ((-1, 2),)).before(24).weekdays(24).tolist() == [2] * 19 + [0] * 5


@pytest.mark.parametrize(("start", "step_minutes"), [("2024-05-01T00:00", 60), ("2023-12-31T18:00", 15)])
def test_the_clock_of_a_window_knows_the_days_of_its_city(start, step_minutes):
    city = make_city(np.ones((200, 1, 1)), name="mine", start=start, step_minutes=step_minutes)
    assert Clock.of(city).told == ()
    off = (datetime.date(2023, 12, 25), datetime.date(2024, 1, 1), datetime.date(2024, 5, 1))
    clock = Clock.of(DaysOff(off, (datetime.date(2024, 5, 4),)).on(city))
    assert clock.start_hour == hours_since_monday(city["time"].values[:1])[0]
    dates = city["time"].values.astype("datetime64[D]").astype(object)
    expected = [6 if date in off else 4 if date == datetime.date(2024, 5, 4) else date.weekday() for date in dates]
    assert clock.weekdays(200).tolist() == expected
    assert any(date in off for date in dates)


@pytest.mark.parametrize("minutes", [minutes for minutes in range(1, 1441) if 1440 % minutes == 0])
def test_midnight_is_of_the_day_that_begins(minutes):
    for start in (0, 1, 2, 5, 7):  # steps after midnight at which the window begins
        clock = Clock(24.0 + start * minutes / 60, minutes / 60)
        midnights = np.arange(1, 13) * (1440 // minutes) - start
        some = midnights[midnights > 0]
        expected = (np.arange(2, 14) % 7)[midnights > 0]
        assert clock.weekdays(int(some.max()) + 1)[some].tolist() == expected.tolist()


def test_means_over_a_week_are_those_of_the_days_as_which_they_are_told():
    weekly = np.random.default_rng(0).uniform(0.2, 2.0, (3, 96))  # slots of 105 minutes
    found = mean_over_steps(weekly, Clock(7 * 24.0, 0.5, TOLD), 7 * 48)
    for day in range(7):
        told = dict(TOLD).get(day + 7, day)
        expected = mean_over_steps(weekly, Clock(24.0 * told, 0.5), 48)
        np.testing.assert_allclose(found[:, 48 * day : 48 * (day + 1)], expected, rtol=1e-9)
    nothing = mean_over_steps(weekly, Clock(3.0, 0.5, ((400, 6),)), 20)  # told of a day far away
    np.testing.assert_allclose(nothing, mean_over_steps(weekly, Clock(3.0, 0.5), 20), rtol=1e-9)


def city_of_two_kinds(days: int) -> tuple[City, np.ndarray]:
    """Working days of one curve and weekends of another, without noise, from a Monday; and the curves."""
    random = np.random.default_rng(5)
    curves = random.uniform(1.0, 9.0, (2, 24, 2, 2))
    traffic = np.concatenate([curves[int(day % 7 >= 5)] for day in range(days)])
    return make_city(traffic, name="mine", start="2024-01-01", step_minutes=60), curves


def test_a_city_that_rests_on_a_holiday_is_foreseen_by_its_own_past_when_it_is_told():
    city, curves = city_of_two_kinds(23)  # the next day is Wednesday the 24th
    table = DaysOff((datetime.date(2024, 1, 24),))
    usual, week = (EXPERTS.index(name) for name in ("usual", "week"))
    for told, kind in ((False, 0), (True, 1)):
        task = forecast_task(table.on(city) if told else city, 24, 16, reference=10.0)
        record = OwnPast.of(task, 10.0)
        said = record.experts(len(record.share), 24)
        off = np.abs(said[usual] - curves[kind] / 10).max()
        assert off < 0.1 * np.abs(curves[0] - curves[1]).max() / 10
        np.testing.assert_allclose(said[week], said[usual] if told else curves[0] / 10, rtol=1e-5)


def test_a_rhythm_of_its_own_takes_the_holiday_for_a_sunday():
    city, _ = city_of_two_kinds(23)
    earlier = city["traffic"].values / 10
    flat = np.ones(168)
    holiday = own_rhythm(earlier, flat, Clock(2 * 24.0, 1.0, ((2, 6),)), 24)  # Wednesday, off
    sunday = own_rhythm(earlier[: 20 * 24], flat, Clock(6 * 24.0, 1.0), 24)
    wednesday = own_rhythm(earlier, flat, Clock(2 * 24.0, 1.0), 24)
    assert np.abs(holiday - sunday).max() < 0.15 * np.abs(wednesday - sunday).max()


def test_last_week_is_not_told_of_a_day_of_another_kind():
    city = mock_city(24 * 16)
    day = (city["time"].values[-1] + np.timedelta64(1, "h")).astype("datetime64[D]").astype(object)
    pattern = flat_pattern(np.ones(168))
    told = task_arrays(forecast_task(DaysOff((day,)).on(city), 48, 16, reference=20.0), 20.0, pattern)
    plain = task_arrays(forecast_task(city, 48, 16, reference=20.0), 20.0, pattern)
    known = np.isfinite(plain["week"]).all((1, 2))
    assert known.all()
    expected = known.copy()
    expected[16:40] = False  # the day off; a week before it was worked
    np.testing.assert_array_equal(np.isfinite(told["week"]).all((1, 2)), expected)
    assert told["start_hour"] == plain["start_hour"]


def test_days_off_that_are_not_there_change_nothing():
    city = mock_city(24 * 16)
    pattern = flat_pattern(np.random.default_rng(0).uniform(0.5, 1.5, 168))
    plain = task_arrays(forecast_task(city, 16, 48, reference=20.0), 20.0, pattern)
    none = task_arrays(forecast_task(DaysOff().on(city), 16, 48, reference=20.0), 20.0, pattern)
    elsewhere = with_days_off(city, "IT")  # one on the first day, one long after
    far = task_arrays(forecast_task(elsewhere, 16, 48, reference=20.0), 20.0, pattern)
    for key in ("share", "week", "rhythm", "shapes", "noise", "state"):
        np.testing.assert_array_equal(none[key], plain[key])
        assert far[key].shape == plain[key].shape
    assert np.abs(far["rhythm"] - plain["rhythm"]).max() > 0  # 1 January is not taken for a Monday
