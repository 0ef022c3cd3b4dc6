"""Rules that read all of the known past: against plain loops over days."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.city import mock_city
from fomo.days_off import with_days_off
from fomo.forecasters.earlier_days import SameTimeOnEarlierDays, TrafficPerUserAtThatTime
from fomo.windows.task import forecast_task

DAYS, AHEAD = 11, 30


@pytest.fixture
def city():
    """Eleven days by the hour, users of their own, a gap of a day in one cell."""
    found = mock_city(24 * DAYS + AHEAD, 2, 3, seed=4)
    random = np.random.default_rng(0)
    traffic = found["traffic"].copy()
    traffic[24 * 3 : 24 * 4, 1, 2] = np.nan
    users = traffic.copy(data=random.gamma(4.0, 5.0, traffic.shape).astype(np.float32))
    return found.assign(traffic=traffic, users=users)


def asked(city, context="none"):
    past = city.isel(time=slice(0, 24 * DAYS))
    ahead = city["users"].values[24 * DAYS :]
    return forecast_task(past, AHEAD, 48, context=context, users_ahead=ahead if context == "full" else None)


def earlier_steps(city, step):
    """Steps of the past at the same time on days of the same kind."""
    weekend = (city["time"].dt.dayofweek.values >= 5).astype(int)
    back = [step - 24 * ago for ago in range(1, DAYS + 2)]
    return [at for at in back if 0 <= at < 24 * DAYS and weekend[at] == weekend[step]]


def test_the_mean_of_earlier_days_of_the_kind(city):
    point = SameTimeOnEarlierDays().point(asked(city))
    traffic = city["traffic"].values
    for step in range(24 * DAYS, 24 * DAYS + AHEAD):
        wanted = np.nanmean(traffic[earlier_steps(city, step)], 0)
        np.testing.assert_allclose(point[step - 24 * DAYS + 48], wanted, rtol=1e-6)


def test_members_are_those_days_around_the_mean(city):
    task = asked(city)
    members = SameTimeOnEarlierDays().forecast_tasks([task], 400, 0)[0].samples.values[:, 48:]
    point = SameTimeOnEarlierDays().point(task)[48:]
    np.testing.assert_allclose(members.mean(0), point, rtol=1e-4)
    step = 24 * DAYS + 5
    days = city["traffic"].values[earlier_steps(city, step)][:, 0, 1].astype(np.float64)
    count = len(days)
    expected = days.std() * count / (count - 1)  # each off the mean of the others
    assert members[:, 5, 0, 1].std() == pytest.approx(expected, rel=0.15)
    # A member is one day everywhere: cells go up and down together.
    drawn = SameTimeOnEarlierDays().draws(task, 400, np.random.default_rng(0))[:, 53]
    assert len(np.unique(drawn[:, 0, 0])) == len(np.unique(drawn.reshape(400, -1)[:, :3], axis=0)) == count


def test_where_no_day_of_the_kind_is_known_all_days_count(city):
    past = city.isel(time=slice(0, 24 * 3))
    task = forecast_task(past, 24 * 4, 48)
    point = SameTimeOnEarlierDays().point(task)[48:]
    new = np.flatnonzero(~np.isin(task.window["time"].dt.dayofweek.values[48:] >= 5, past["time"].dt.dayofweek >= 5))
    assert new.size
    every = city["traffic"].values[: 24 * 3].reshape(3, 24, 2, 3).mean(0)
    np.testing.assert_allclose(point[new], every[new % 24], rtol=1e-5)


def test_a_day_off_that_is_told_is_no_working_day(city, tmp_path):
    when = str(city["time"].values[24 * DAYS])[:10]
    table = tmp_path / "off.csv"
    table.write_text(f"date,off\n{when},1\n")
    told = with_days_off(city.isel(time=slice(0, 24 * DAYS)), str(table))
    plain = asked(city)
    point = SameTimeOnEarlierDays().point(forecast_task(told, AHEAD, 48))
    assert not np.allclose(point[48:60], SameTimeOnEarlierDays().point(plain)[48:60])
    np.testing.assert_allclose(point[48 + 24 :], SameTimeOnEarlierDays().point(plain)[48 + 24 :])


def test_traffic_per_user_at_that_time(city):
    point = TrafficPerUserAtThatTime().point(asked(city, "full"))
    traffic, users = (city[name].values.astype(np.float64) for name in ("traffic", "users"))
    for step in (24 * DAYS, 24 * DAYS + 29):
        days = earlier_steps(city, step)
        known = np.isfinite(traffic[days])
        rate = np.where(known, traffic[days], 0).sum(0) / np.where(known, users[days], 0).sum(0)
        np.testing.assert_allclose(point[step - 24 * DAYS + 48], rate * users[step], rtol=1e-5)
    assert np.isnan(TrafficPerUserAtThatTime().point(asked(city))).all()


@pytest.mark.parametrize("rule", [SameTimeOnEarlierDays(), TrafficPerUserAtThatTime()])
def test_what_came_is_not_seen(city, rule):
    task = asked(city, "full")
    later = city.assign(traffic=city["traffic"].where(city["time"] < city["time"][24 * DAYS], 1e9))
    np.testing.assert_array_equal(rule.point(asked(later, "full"))[48:], rule.point(task)[48:])
