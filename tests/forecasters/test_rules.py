"""The simple rules against loops over cells, and the members that surround them."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.city import CityError, make_city, mock_city
from fomo.forecasters.rule import around, draw_residuals
from fomo.forecasters.rules import (
    HistoryMean,
    NeighbourMean,
    NeighbourTrafficPerUser,
    Persistence,
    Proportional,
    SameHourLastWeek,
    SeasonalAverage,
    TrafficPerUser,
    rules_for,
)
from fomo.forecasters.trained_spread import TrainedSpread
from fomo.windows.task import generate_task, last_week, make_task

START = "2024-01-03T05:00"
HISTORY, HORIZON = 48, 16


def made_city(steps=HISTORY + HORIZON, step_minutes=60, holes=0.0, seed=0):
    random = np.random.default_rng(seed)
    users = random.gamma(2.0, 10.0, (steps, 3, 4))
    traffic = users * random.lognormal(0.0, 0.3, users.shape)
    traffic[random.random(traffic.shape) < holes] = np.nan
    return make_city(traffic, users=users, name="made", start=START, step_minutes=step_minutes)


def short_task(city, context="none", week=None):
    asked = np.zeros(city["traffic"].shape, bool)
    asked[HISTORY:] = True
    return make_task(city, asked, context=context, last_week=week)


def point_of(rule, task, samples=20):
    members = rule.forecast_tasks([task], samples, seed=3)[0].samples.values
    return members.astype(np.float64).mean(0)


@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_persistence_repeats_the_last_recorded_value(holes):
    city = made_city(holes=holes)
    point = Persistence().point(short_task(city))
    for y, x in np.ndindex(3, 4):
        history = city["traffic"].values[:HISTORY, y, x]
        assert (point[HISTORY:, y, x] == history[np.isfinite(history)][-1]).all()


@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_the_history_mean_is_the_mean_of_what_was_recorded(holes):
    city = made_city(holes=holes)
    point = HistoryMean().point(short_task(city))
    for y, x in np.ndindex(3, 4):
        history = city["traffic"].values[:HISTORY, y, x].astype(np.float64)
        np.testing.assert_allclose(point[HISTORY:, y, x], history[np.isfinite(history)].mean())


@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_the_seasonal_average_is_over_the_days_with_that_time_of_day(holes):
    city = made_city(holes=holes)
    point = SeasonalAverage().point(short_task(city))
    hours = city["time"].dt.hour.values
    undefined = 0
    for t in range(HISTORY, HISTORY + HORIZON):
        for y, x in np.ndindex(3, 4):
            days = city["traffic"].values[:HISTORY, y, x][hours[:HISTORY] == hours[t]].astype(np.float64)
            days = days[np.isfinite(days)]
            if days.size:
                np.testing.assert_allclose(point[t, y, x], days.mean())
            else:
                assert np.isnan(point[t, y, x])
                undefined += 1
    assert (undefined > 0) == (holes > 0)


def test_the_seasonal_average_is_not_defined_under_a_day_of_history():
    task = short_task(made_city(step_minutes=15))  # 48 steps are half a day
    members = SeasonalAverage().forecast_tasks([task], 5, seed=0)[0].samples.values
    assert np.isnan(members[:, HISTORY:]).all()
    assert np.isfinite(members[:, :HISTORY]).all()


def test_the_same_hour_of_last_week_comes_from_the_task_alone():
    city = made_city(steps=7 * 24 + 64)
    start = 7 * 24
    window = city.isel(time=slice(start, None))
    task = short_task(window, week=last_week(city, start, 64))
    np.testing.assert_array_equal(SameHourLastWeek().point(task), city["traffic"].values[:64])
    assert np.isnan(SameHourLastWeek().point(short_task(window))).all()


def test_traffic_per_user_is_the_ratio_of_the_history_times_the_users():
    city = made_city()
    point = TrafficPerUser().point(short_task(city, "full"))
    traffic, users = (city[name].values.astype(np.float64) for name in ("traffic", "users"))
    rate = traffic[:HISTORY].sum(0) / users[:HISTORY].sum(0)
    np.testing.assert_allclose(point[HISTORY:], rate * users[HISTORY:])


@pytest.mark.parametrize("context", ["none", "past"])
def test_traffic_per_user_is_not_defined_without_future_users(context):
    point = TrafficPerUser().point(short_task(made_city(), context))
    assert np.isnan(point[HISTORY:]).all()


def test_a_cell_with_neither_traffic_nor_users_is_forecast_zero_but_traffic_without_users_is_undefined():
    city = made_city()
    city["users"][:HISTORY, 0, :2] = 0.0
    city["traffic"][:, 0, 0] = 0.0
    point = TrafficPerUser().point(short_task(city, "full"))
    assert (point[HISTORY:, 0, 0] == 0).all()
    assert np.isnan(point[HISTORY:, 0, 1]).all()


def test_cells_without_history_get_the_mean_of_the_others_at_the_same_time():
    city = made_city()
    area = np.zeros((3, 4), bool)
    area[1, 1:3] = True
    task = generate_task(city, area)
    point = NeighbourMean().point(task)
    others = city["traffic"].values[:, ~area].astype(np.float64).mean(1)
    np.testing.assert_allclose(point[:, area], np.repeat(others[:, None], 2, axis=1))
    for rule in (Persistence(), HistoryMean(), SeasonalAverage()):
        assert np.isnan(rule.point(task)[:, area]).all(), rule.name


def test_users_of_cells_without_history_are_worth_the_traffic_per_user_of_the_others():
    city = made_city()
    area = np.zeros((3, 4), bool)
    area[1, 1:3] = True
    task = make_task(city, np.broadcast_to(area, city["traffic"].shape).copy(), context="full")
    traffic, users = (city[name].values.astype(np.float64) for name in ("traffic", "users"))
    wanted = traffic[:, ~area].sum() / users[:, ~area].sum() * users[:, area]
    np.testing.assert_allclose(NeighbourTrafficPerUser().point(task)[:, area], wanted)


ALL_RULES = [Persistence(), HistoryMean(), SeasonalAverage(), SameHourLastWeek(), TrafficPerUser()]


def any_task(holes=0.0, seed=0):
    city = made_city(steps=7 * 24 + 64, holes=holes, seed=seed)
    window = city.isel(time=slice(7 * 24, None))
    return short_task(window, "full", last_week(city, 7 * 24, 64))


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("samples", [1, 2, 20])
def test_the_mean_of_the_members_is_the_rule_and_no_member_is_negative(rule, samples):
    task = any_task()
    members = rule.forecast_tasks([task], samples, seed=1)[0].samples.values[:, task.asked]
    assert (members >= 0).all()
    np.testing.assert_allclose(members.astype(np.float64).mean(0), rule.point(task)[task.asked], rtol=1e-6)
    if samples == 20:
        assert (members.std(0) > 0).all()


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: rule.name)
def test_observed_values_are_repeated_by_every_member(rule):
    task = any_task()
    members = rule.forecast_tasks([task], 3, seed=1)[0].samples.values
    shown = task.window["traffic"].values
    np.testing.assert_array_equal(members[:, ~task.asked], np.stack([shown[~task.asked]] * 3))


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: rule.name)
def test_the_answer_to_a_task_depends_on_the_seed_and_not_on_the_other_tasks(rule):
    tasks = [any_task(seed=seed) for seed in range(3)]
    together = rule.forecast_tasks(tasks, 8, seed=5)
    alone = rule.forecast_tasks(tasks[2:], 8, seed=5)[0]
    np.testing.assert_array_equal(together[2].samples.values, alone.samples.values)
    other = rule.forecast_tasks(tasks[2:], 8, seed=6)[0]
    assert (other.samples.values != alone.samples.values).any()


@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_seasonal_residuals_leave_out_the_value_that_they_judge(holes):
    city = made_city(holes=holes)
    task = short_task(city)
    residuals = SeasonalAverage().residuals(task)
    hours = city["time"].dt.hour.values
    for t in range(HISTORY):
        for y, x in np.ndindex(3, 4):
            series = city["traffic"].values[:HISTORY, y, x].astype(np.float64)
            others = series[(hours[:HISTORY] == hours[t]) & (np.arange(HISTORY) != t)]
            others = others[np.isfinite(others)]
            wanted = series[t] - others.mean() if others.size else np.nan
            np.testing.assert_allclose(residuals[t, y, x], wanted, rtol=1e-9, atol=1e-9)
    assert np.isnan(residuals[HISTORY:]).all()


def test_history_mean_residuals_leave_out_the_value_that_they_judge():
    task = short_task(made_city(holes=0.2))
    seen = task.window["traffic"].values[:HISTORY].astype(np.float64)
    residuals = HistoryMean().residuals(task)
    for t in range(HISTORY):
        wanted = seen[t] - np.nanmean(np.delete(seen, t, axis=0), axis=0)
        np.testing.assert_allclose(residuals[t], wanted, rtol=1e-9)


def test_traffic_per_user_residuals_leave_out_the_value_that_they_judge():
    task = short_task(made_city(), "full")
    seen, users = (task.window[name].values[:HISTORY].astype(np.float64) for name in ("traffic", "users"))
    residuals = TrafficPerUser().residuals(task)
    for t in range(HISTORY):
        rate = np.delete(seen, t, axis=0).sum(0) / np.delete(users, t, axis=0).sum(0)
        np.testing.assert_allclose(residuals[t], seen[t] - rate * users[t], rtol=1e-6, atol=1e-6)


def test_the_spread_of_persistence_grows_with_the_lead_time_on_a_random_walk():
    steps = np.random.default_rng(0).normal(0.0, 1.0, (64, 3, 4)).cumsum(0) + 1000
    task = short_task(make_city(steps, name="walk", start=START, step_minutes=60))
    members = Persistence().forecast_tasks([task], 400, seed=0)[0].samples.values
    spread = members.std(0).mean((1, 2))[HISTORY:]
    assert spread[0] == pytest.approx(1.0, rel=0.2)
    assert spread[8] == pytest.approx(3.0, rel=0.35)  # a random walk spreads as the root of the lead time


def test_with_a_single_day_of_history_all_members_of_the_seasonal_rule_are_the_point():
    task = short_task(made_city(step_minutes=30))
    members = SeasonalAverage().forecast_tasks([task], 10, seed=0)[0].samples.values[:, task.asked]
    np.testing.assert_array_equal(members, np.broadcast_to(members[0], members.shape))


def test_every_draw_is_one_of_the_cells_own_residuals_at_one_step_for_all_cells():
    residuals = np.arange(5)[:, None, None] + 100.0 * np.arange(4).reshape(1, 2, 2)
    drawn = draw_residuals(residuals, np.random.default_rng(0).random((50, 7)))
    step = drawn[:, :, 0, 0]
    assert set(np.unique(step)) == set(range(5))
    np.testing.assert_array_equal(drawn, step[..., None, None] + residuals[0])


def test_draws_pass_over_residuals_that_are_not_known():
    residuals = np.full((6, 1, 2), np.nan)
    residuals[[1, 4], 0, 0] = [3.0, 5.0]
    drawn = draw_residuals(residuals, np.random.default_rng(0).random((40, 3)))
    assert set(np.unique(drawn[..., 0, 0])) == {3.0, 5.0}
    assert (drawn[..., 0, 1] == 0).all()  # a cell without residuals


def test_members_keep_mean_and_variance_of_the_draws_where_none_is_clipped():
    draws = np.random.default_rng(0).normal(0.3, 1.0, (10, 200_000))
    members = around(np.full(200_000, 100.0), draws)
    np.testing.assert_allclose(members.mean(0), 100.0, rtol=1e-12)
    assert members.var(0, ddof=0).mean() == pytest.approx(1.0, rel=0.01)


def test_members_around_zero_are_zero_and_around_nothing_are_nothing():
    members = around(np.array([0.0, np.nan, 0.1]), np.random.default_rng(0).normal(0, 5, (6, 3)))
    assert (members[:, 0] == 0).all() and np.isnan(members[:, 1]).all()
    assert (members[:, 2] >= 0).all() and members[:, 2].mean() == pytest.approx(0.1)


def test_a_trained_spread_keeps_the_point_and_covers_as_it_was_trained():
    def example(seed):
        city = mock_city(64, step_minutes=30, seed=seed)
        return short_task(city), city["traffic"].values

    rule = TrainedSpread(SeasonalAverage(), [example(seed) for seed in range(20)], ["made"])
    inside, total = 0, 0
    for seed in range(20, 40):
        task, truth = example(seed)
        members = rule.forecast_tasks([task], 39, seed=0)[0].samples.values[:, task.asked]
        np.testing.assert_allclose(members.astype(np.float64).mean(0), rule.point(task)[task.asked], rtol=1e-5)
        low, high = np.quantile(members, [0.05, 0.95], axis=0, method="weibull")
        inside += ((low <= truth[task.asked]) & (truth[task.asked] <= high)).sum()
        total += task.asked.sum()
    assert inside / total == pytest.approx(0.9, abs=0.04)
    assert rule.trained_on == ("made",)


def test_a_spread_cannot_be_trained_where_the_rule_is_never_defined():
    city = made_city(step_minutes=15)
    with pytest.raises(CityError, match="history under a day"):
        TrainedSpread(SeasonalAverage(), [(short_task(city), city["traffic"].values)], [])


@pytest.mark.parametrize("layer", ["poi", "residents"])
@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_traffic_is_shared_out_in_proportion_to_a_layer_by_a_loop(layer, holes):
    random = np.random.default_rng(5)
    poi, residents = random.integers(0, 9, (2, 3, 4)).astype(float), random.uniform(0, 50, (3, 4))
    poi[:, 2, 3], poi[1, 0, 0], residents[2, 3], residents[0, 1] = np.nan, np.nan, np.nan, 0.0
    city = made_city(holes=holes)
    city = make_city(
        city["traffic"].values, poi=poi, poi_names=["a", "b"], residents=residents,
        name="made", start=START, step_minutes=60,
    )  # fmt: skip
    area = np.zeros((3, 4), bool)
    area[1, 1:3] = True
    task = generate_task(city, area, context="full")
    point = Proportional(layer).point(task)
    amount = residents if layer == "residents" else np.where(np.isfinite(poi).any(0), np.nansum(poi, 0), np.nan)
    shown = task.window["traffic"].values.astype(np.float64)
    for t, y, x in np.ndindex(64, 3, 4):
        others = [
            (shown[t, j, i], amount[j, i])
            for j, i in np.ndindex(3, 4)
            if (j, i) != (y, x) and np.isfinite(shown[t, j, i]) and np.isfinite(amount[j, i])
        ]
        if not np.isfinite(amount[y, x]) or not others:
            assert np.isnan(point[t, y, x])
            continue
        rate = sum(traffic for traffic, _ in others) / sum(people for _, people in others)
        assert point[t, y, x] == pytest.approx(rate * amount[y, x], rel=1e-6)
    assert np.isfinite(point[:, 1, 1:3]).all() and np.isnan(point[:, 2, 3]).all()


@pytest.mark.parametrize("layer", ["poi", "residents"])
def test_sharing_out_by_a_layer_that_is_not_there_is_not_defined(layer):
    rule = Proportional(layer)
    point = rule.point(generate_task(made_city(), np.eye(3, 4, dtype=bool), context="full"))
    assert point.shape == (64, 3, 4) and np.isnan(point).all()
    assert layer in rule.undefined


def test_the_rules_of_a_table_are_those_that_its_context_allows():
    def names(*arguments):
        return [rule.name for rule in rules_for(*arguments)]

    assert names("none", False) == ["persistence", "history mean", "seasonal average"]
    assert names("none", True) == [*names("none", False), "same hour last week", "same time on earlier days"]
    of_users = ["traffic per user", "traffic per user at that time"]
    assert names("full", True) == [*names("none", True), *of_users]
    assert names("full", False) == [*names("none", False), "traffic per user"]
    assert names("past", False) == names("none", False)
    assert names("none", True, "generate") == ["mean of the other cells"]
    shared_out = ["proportional to POI", "proportional to residents"]
    assert names("full", False, "generate")[1:] == ["traffic per user of the other cells", *shared_out]
    assert names("past", False, "generate")[1:] == shared_out
    assert names("full", False, "generate", ("residents",))[1:] == shared_out[1:]
    assert names("full", False, "short", ("poi",)) == names("none", False)
    assert all(rule.trained_on == () for rule in rules_for("full", True))
