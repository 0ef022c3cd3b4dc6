"""What a city's past alone says: against plain loops, closed forms, and cities made to have one right answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fomo.city import City, mock_city
from fomo.forecasters import own_past
from fomo.forecasters.own_past import (
    ANY_DAY_DECAY,
    APART_HOURS,
    DAYS,
    EXPERTS,
    KINDS_APART,
    LARGEST_FACTOR,
    LATELY_HOURS,
    LATEST_DECAY,
    LEAST_HEARD,
    MORE_USERS,
    OF_ANY_KIND,
    OF_TODAY,
    OF_USERS,
    OTHER_KIND,
    SAME_KIND,
    SAME_WEEKDAY,
    USUAL_DECAY,
    OwnPast,
    in_means,
)
from fomo.windows.clock import Clock
from fomo.windows.regression import SMALLEST_UNIT
from fomo.windows.task import fill_task, forecast_task


def past(share: Any, start_hour: float = 0.0, step_hours: float = 1.0) -> OwnPast:
    values = np.asarray(share, np.float32)
    return OwnPast(values.reshape(len(values), -1, 1), Clock(start_hour, step_hours))


def said(record: OwnPast, name: str, origin: int, horizon: int) -> np.ndarray:
    return record.experts(origin, horizon)[EXPERTS.index(name), :, :, 0]


def daily(days: int, cells: int = 3, seed: int = 0) -> np.ndarray:
    """A curve of the day for each cell, repeated: (step, cell)."""
    return np.tile(np.random.default_rng(seed).uniform(0.05, 0.6, (24, cells)), (days, 1))


def usual_by_loops(values: np.ndarray, origin: int, step: int, start_hour: float) -> float:
    total = worth = 0.0
    nearer = 0  # days of the kind of the step's, between it and the earlier day
    for ago in range(1, DAYS + 1):
        source = step - 24 * ago
        if not 0 <= source < origin:
            continue
        weekday, then = (int((start_hour + at) // 24 % 7) for at in (step, source))
        same = (weekday >= 5) == (then >= 5)
        age, nearer = nearer if same else (min(step, origin) - 1 - source) // 24, nearer + same
        if np.isnan(values[source]):
            continue
        weight = SAME_WEEKDAY if weekday == then else SAME_KIND if same else OTHER_KIND
        weight *= USUAL_DECAY**age
        total, worth = total + weight * values[source], worth + weight
    return total / worth if worth else np.nan


# ---------------------------------------------------------------- experts


@pytest.mark.parametrize("start_hour", [0.0, 100.0])
def test_the_usual_is_the_weighted_mean_of_earlier_days(start_hour):
    values = np.random.default_rng(1).uniform(0, 1, 24 * 12).astype(np.float32)
    values[[30, 100, 101, 250]] = np.nan
    record, origin = past(values, start_hour), 24 * 9 + 5
    found = said(record, "usual", origin, 60)[:, 0]
    expected = [usual_by_loops(values, origin, origin + lead, start_hour) for lead in range(60)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_any_day_counts_days_of_all_kinds_and_the_latest_most():
    values = np.random.default_rng(2).uniform(0, 1, (24 * 12, 2)).astype(np.float32)
    record, origin = past(values, 30.0), 24 * 11 + 3
    (_, any_day, latest), _ = record._days(origin, 24, 30)
    for found, decay in ((any_day, ANY_DAY_DECAY), (latest, LATEST_DECAY)):
        for index, step in enumerate(range(origin - 24, origin + 30)):
            sources = [step - 24 * ago for ago in range(1, DAYS + 1) if 0 <= step - 24 * ago < origin]
            alike = [int((30 + step) // 24 % 7) == int((30 + source) // 24 % 7) for source in sources]
            ages = [(min(step, origin) - 1 - source) // 24 for source in sources]
            weights = [
                (SAME_WEEKDAY if same else SAME_KIND) * decay**age for same, age in zip(alike, ages, strict=True)
            ]
            expected = np.average(values[sources], 0, weights)
            np.testing.assert_allclose(found[index, :, 0], expected, rtol=1e-5)


def test_a_monday_follows_friday_and_not_the_weekend():
    working, free = daily(1, seed=3), daily(1, seed=4)
    record = past(np.concatenate([np.tile(working, (5, 1)), np.tile(free, (2, 1))]))
    monday = said(record, "usual", 168, 24)
    assert np.abs(monday - working).max() < 0.1 * np.abs(free - working).max()
    np.testing.assert_allclose(said(past(np.tile(free, (2, 1)), 120.0), "usual", 48, 24), free, rtol=1e-5)


def test_a_cell_that_carries_twice_as_much_today_is_expected_to_go_on():
    values = np.repeat(daily(6), 1, 0)
    origin = 24 * 5 + 14
    values[24 * 5 :, 0] *= 2
    usual, today = (said(past(values), name, origin, 4) for name in ("usual", "cell_today"))
    was, then = values[origin - 12 : origin], daily(6)[origin - 12 : origin]
    some = 12 * SMALLEST_UNIT
    np.testing.assert_allclose(today, usual * ((was.sum(0) + some) / (then.sum(0) + some)), rtol=1e-4)
    assert (today[:, 0] / usual[:, 0]).min() > 1.8
    np.testing.assert_allclose(today[:, 1:], usual[:, 1:], rtol=1e-4)
    together = said(past(values), "city_today", origin, 4) / usual
    factor = (was.sum() + 3 * some) / (then.sum() + 3 * some)
    np.testing.assert_allclose(together, factor, rtol=1e-4)


def test_factors_have_limits():
    values = daily(6)
    values[24 * 5 :] *= 1000
    usual, today = (said(past(values), name, 24 * 5 + 14, 4) for name in ("usual", "cell_today"))
    np.testing.assert_allclose(today, LARGEST_FACTOR * usual, rtol=1e-5)


def test_what_the_last_hour_left_over_is_added_and_last_week_is_copied():
    values = np.random.default_rng(2).uniform(0.1, 1, (24 * 9, 2)).astype(np.float32)
    record, origin = past(values), 24 * 9
    usual, left, week = (said(record, name, origin, 5) for name in ("usual", "left_over", "week"))
    before = [usual_by_loops(values[:, cell], origin, origin - 1, 0.0) for cell in range(2)]
    np.testing.assert_allclose(left, np.maximum(usual + values[-1] - before, 0), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(week, values[origin - 168 : origin - 163])
    np.testing.assert_array_equal(said(record, "week", 100, 5), said(record, "usual", 100, 5))


def test_nothing_recorded_says_nothing_and_gaps_are_passed_over():
    values = daily(5)
    values[:, 1] = np.nan
    values[50:60, 2] = np.nan
    found = past(values).experts(24 * 5, 24)[..., 0]
    assert found.dtype == np.float32
    assert np.isnan(found[:, :, 1]).all()
    assert np.isfinite(found[:, :, [0, 2]]).all()
    np.testing.assert_allclose(found[0][:, 2], daily(5)[:24, 2], rtol=1e-5)


def test_what_comes_after_the_origin_is_not_known():
    values = np.random.default_rng(3).uniform(0, 1, (24 * 9, 2)).astype(np.float32)
    poisoned = values.copy()
    poisoned[150:] = 1e6
    np.testing.assert_array_equal(past(values).experts(150, 48), past(poisoned).experts(150, 48))


@pytest.mark.parametrize("step_hours", [24.0, 12.0, 1 / 12])
def test_steps_of_any_length_have_a_day(step_hours):
    day = round(24 / step_hours)
    record = past(np.random.default_rng(8).uniform(0.1, 1, (6 * day, 2)), step_hours=step_hours)
    assert record.day == day
    weights = record.weights([0, 1], 7)
    assert weights.shape == (2, 7, len(EXPERTS))
    assert np.isfinite(record.ahead(0, weights[0])).all()


# ---------------------------------------------------------------- weights


def test_weeks_that_repeat_are_copied():
    week = np.random.default_rng(4).lognormal(0, 0.8, (168, 4)) / 20
    record = past(np.tile(week, (4, 1))[: 24 * 22])
    weights = record.weights([0], 16)[0]
    assert weights.shape == (16, len(EXPERTS))
    assert weights[:, EXPERTS.index("week")].min() > 0.9
    np.testing.assert_allclose(record.ahead(0, weights)[:, :, 0], week[24:40], rtol=0.15, atol=0.003)


def test_a_city_that_rises_and_falls_as_one_is_forecast_so():
    random = np.random.default_rng(5)
    days = random.uniform(0.5, 1.5, 20).repeat(24)[:, None]
    values = daily(20, cells=6) * days * random.lognormal(0, 0.2, (480, 6))  # single cells are noisy
    record, asked = past(values[: 24 * 19 + 12]), values[24 * 19 + 12 :]
    weights = record.weights([0], 12)[0]
    today = [index for index, name in enumerate(EXPERTS) if name.startswith(("cell_", "city_", "latest_"))]
    assert weights[:4, today].sum(1).min() > 0.7  # later ones often lie beyond midnight
    errors = [
        np.abs(each - asked).mean() for each in (record.ahead(0, weights)[..., 0], said(record, "usual", 468, 12))
    ]
    assert errors[0] < 0.8 * errors[1]


def test_weights_add_up_to_one_and_are_those_of_the_question_asked_alone():
    values = np.random.default_rng(6).uniform(0, 1, (24 * 14, 3)).astype(np.float32)
    record = past(values)
    apart = int(APART_HOURS)
    ago = [0, 4 * apart, 20 * apart]
    together = record.weights(ago, 20)
    np.testing.assert_allclose(together.sum(-1), 1)
    for index, each in enumerate(ago):
        cut = past(values[: len(values) - each])
        alone = cut.weights([0], 20)[0]
        np.testing.assert_allclose(together[index], alone, atol=1e-6)  # the origins of both lie on one raster
        np.testing.assert_array_equal(record.ahead(each, together[index]), cut.ahead(0, together[index]))


def test_what_came_after_a_question_does_not_move_its_weights():
    values = np.random.default_rng(7).uniform(0, 1, (24 * 12, 3)).astype(np.float32)
    poisoned = values.copy()
    poisoned[-36:] = 5.0
    np.testing.assert_array_equal(past(values).weights([0, 36], 16)[1], past(poisoned).weights([0, 36], 16)[1])


def test_without_any_origin_all_experts_count_alike():
    weights = past(daily(2)[:32]).weights([0, 1], 8)
    np.testing.assert_allclose(weights, 1 / len(EXPERTS))


# ---------------------------------------------------------------- cells whose days off are unlike their working days


def offices(days: int, left: float = 0.0) -> OwnPast:
    """An office, shut but for a share `left` on days off, and a home, from a Tuesday on."""
    values, hour = daily(days, 2), 24.0 + np.arange(24 * days)
    values[hour // 24 % 7 >= 5, 0] *= left
    return past(values, 24.0)


def heard(record: OwnPast, origin: int, weights: np.ndarray, dropped: tuple[str, ...], cell: int) -> np.ndarray:
    """Without some experts, by a plain loop."""
    each = record.experts(origin, len(weights))[:, :, cell, 0]
    found = []
    for lead, row in enumerate(weights):
        shares = {n: w + LEAST_HEARD for n, w in zip(record.names, row, strict=True) if n not in dropped}
        said_by = {name: each[record.names.index(name), lead] for name in shares}
        found.append(sum(shares[name] * said_by[name] for name in shares) / sum(shares.values()))
    return np.array(found)


def test_an_office_opens_on_the_monday_after_the_first_weekend_that_is_known():
    record = offices(6)  # Tuesday to Sunday
    weights = record.weights([0], 24)[0]
    ahead = record.ahead(0, weights)[:, :, 0]
    friday = record.share[3 * 24 : 4 * 24, :, 0]
    assert ahead[:, 0].sum() == pytest.approx(friday[:, 0].sum(), rel=0.2)  # the city's Sunday is heard
    mixed = np.einsum("le,elyx->lyx", weights, record.experts(len(record.share), 24))[:, 0, 0]
    assert mixed.sum() < 0.75 * friday[:, 0].sum()  # what days of any kind, and Sunday, would have made of it
    np.testing.assert_allclose(
        ahead[:, 0], heard(record, len(record.share), weights, (*OF_ANY_KIND, *OF_TODAY), 0), rtol=1e-5
    )


def test_what_it_carried_today_is_heard_for_days_of_the_same_kind():
    record, origin = offices(13), 8 * 24 + 15  # Wednesday, 15:00, asked for four days: Thursday, Friday, the weekend
    record = replace(record, share=record.share[:origin])
    weights = record.weights([0], 96)[0]
    ahead = record.ahead(0, weights)[:, 0, 0]
    same, other = (heard(record, origin, weights, dropped, 0) for dropped in (OF_ANY_KIND, (*OF_ANY_KIND, *OF_TODAY)))
    until = 9 + 48  # the end of Friday
    np.testing.assert_allclose(ahead[:until], same[:until], rtol=1e-4)
    np.testing.assert_allclose(ahead[until:], other[until:], rtol=1e-4)


@pytest.mark.parametrize("left", [0.0, 1.2 / KINDS_APART])
def test_cells_whose_days_are_alike_hear_everyone(left):
    record = offices(10, left)
    weights = record.weights([0], 24)[0]
    mixed = np.einsum("le,elyx->lyx", weights, record.experts(len(record.share), 24))
    same = np.isclose(record.ahead(0, weights), mixed, rtol=1e-5).all(0)[:, 0]
    assert list(same) == [left > 0, True]


def test_before_a_day_off_is_known_no_cell_is_told_apart():
    record = past(np.tile([[0.0], [0.5]], (40, 3)))
    assert not record._kinds_apart(80).any()


# ---------------------------------------------------------------- tasks


@pytest.mark.parametrize("step_minutes", [15, 60])
def test_the_record_of_a_task_ends_where_it_asks(step_minutes):
    city = mock_city(30 * 24 * 60 // step_minutes, 2, 3, step_minutes)
    record = OwnPast.of(forecast_task(city, 16, 48, reference=20.0), 20.0)
    assert record is not None
    np.testing.assert_allclose(record.share, city["traffic"].values[-len(record.share) :] / 20, rtol=1e-6)
    assert len(record.share) == (DAYS + 8) * record.day
    begin = city["time"].values[-len(record.share)]
    hours = (begin - np.datetime64("1970-01-05")) / np.timedelta64(1, "h") % 168  # a Monday
    assert record.clock.start_hour % 168 == pytest.approx(hours)
    part = record.block(slice(0, 1), slice(1, 3))
    own = slice(0, EXPERTS.index("city_today"))  # of each cell alone
    whole = record.experts(14 * part.day, 9)[own, :, :1, 1:3]
    np.testing.assert_array_equal(part.experts(14 * part.day, 9)[own], whole)


def test_a_task_without_a_past_has_no_record():
    long, short = mock_city(24 * 6), mock_city(47)
    gaps = long["traffic"].values.copy()
    gaps[100:110] = np.nan
    missing: City = long.assign(traffic=long["traffic"].copy(data=gaps))
    for task in (
        forecast_task(short, 16, 40),
        forecast_task(long, 16, 48, past_week=False),
        fill_task(missing),
    ):
        assert OwnPast.of(task, 20.0) is None


# ---------------------------------------------------------------- users


def with_users(share: Any, users: Any) -> OwnPast:
    """A record whose users are known beyond its end."""
    record = past(share)
    counts = np.asarray(users, np.float32)
    return replace(record, users=in_means(counts.reshape(len(counts), -1, 1), len(record.share)))


def crowd(days: int, seed: int = 3) -> np.ndarray:
    """Users that come as they do every day, and some days in other numbers: (step, cell)."""
    random = np.random.default_rng(seed)
    return 100 * daily(days, 3, seed) * np.repeat(random.uniform(0.6, 1.6, (days, 3)), 24, 0)


def test_where_traffic_is_so_much_per_user_users_say_what_it_will_be(monkeypatch):
    monkeypatch.setattr(own_past, "MORE_USERS", 1e-9)
    users = crowd(12)
    record = with_users((users * 0.004)[: 24 * 11], users)
    assert record.names[-3:] == OF_USERS
    ahead = record.experts(24 * 11, 24)
    for name in OF_USERS:
        np.testing.assert_allclose(ahead[record.names.index(name), :, :, 0], users[24 * 11 :] * 0.004, rtol=2e-5)
    weights = record.weights([0], 24)[0]
    assert weights.shape == (24, len(EXPERTS) + len(OF_USERS)) and (weights[:, -3:].sum(1) > 0.8).all()
    assert record.missed(weights) < 0.3 * past(users[: 24 * 11] * 0.004).missed(
        past(users[: 24 * 11]).weights([0], 24)[0]
    )


def test_users_are_held_against_the_same_days_as_traffic():
    users = crowd(9)
    values = np.random.default_rng(0).uniform(0.1, 1, users.shape).astype(np.float32)
    origin = 24 * 8
    record = with_users(values[:origin], users)
    found = record.experts(origin, 12)
    relative = users / users[:origin].mean(0)
    for step in range(origin, origin + 12):
        for cell in range(3):
            usual = usual_by_loops(relative[:, cell], origin, step, 0.0)
            ratio = np.clip(
                (relative[step, cell] + MORE_USERS) / (usual + MORE_USERS), 1 / LARGEST_FACTOR, LARGEST_FACTOR
            )
            expected = usual_by_loops(values[:, cell], origin, step, 0.0) * ratio
            assert found[record.names.index("users"), step - origin, cell, 0] == pytest.approx(expected, rel=1e-4)


def test_where_users_are_not_known_they_say_what_is_usual():
    users = crowd(9)
    users[24 * 8 + 3 :, 0] = np.nan  # later ones of a cell
    users[:, 1] = np.nan  # a cell without counts
    users[:, 2] = 0.0  # one that has none
    record = with_users(daily(8), users)
    found = record.experts(24 * 8, 8)
    usual, told = found[EXPERTS.index("usual"), ..., 0], found[record.names.index("users"), ..., 0]
    assert not np.allclose(told[:3, 0], usual[:3, 0])
    np.testing.assert_array_equal(told[3:, 0], usual[3:, 0])
    np.testing.assert_array_equal(told[:, 1:], usual[:, 1:])
    assert np.isfinite(found).all() and np.isfinite(record.weights([0, 5], 8)).all()


def test_users_are_read_only_where_those_of_the_asked_steps_are_given():
    city = mock_city(24 * 9, 2, 3)
    counts = np.random.default_rng(1).uniform(10, 50, city["traffic"].shape).astype(np.float32)
    city = city.assign(users=city["traffic"].copy(data=counts))
    ahead = np.full((16, 2, 3), 30.0)
    known = OwnPast.of(forecast_task(city, 16, 48, context="full", users_ahead=ahead), 20.0)
    assert known is not None and known.users is not None and len(known.users) == len(known.share) + 16
    np.testing.assert_allclose(known.users[-16:] * counts[-len(known.share) :].mean(0), ahead, rtol=1e-5)
    part = known.block(slice(1, 2), slice(0, 2))
    assert part.users is not None and part.users.shape[1:] == (1, 2)
    for context in ("none", "past"):
        other = OwnPast.of(forecast_task(city, 16, 48, context=context), 20.0)
        assert other is not None and other.users is None and other.names == EXPERTS


def with_weekends(days: int, weekend: float = 0.3) -> np.ndarray:
    """A city whose days off carry that share of its working days, a little of it by chance; from a Wednesday on."""
    values = daily(days, 6) * np.random.default_rng(1).lognormal(0, 0.02, (24 * days, 6))
    off = (np.arange(24 * days) // 24 + 2) % 7 >= 5
    return np.where(off[:, None], weekend, 1.0) * values


def test_a_day_of_its_kind_is_known_from_the_second_one_on():
    record = past(with_weekends(11), start_hour=48.0)  # Saturday is day 3, Monday day 5, the next Saturday day 10
    for day, known in ((1, True), (3, False), (4, True), (5, True), (10, True)):
        np.testing.assert_array_equal(record.kind_known(24 * day, 24), known)
    assert record.kind_known(24 * 2 + 12, 24).tolist() == [True] * 12 + [False] * 12
    gap = with_weekends(5)
    gap[24 * 3 : 24 * 4] = np.nan
    assert not past(gap, start_hour=48.0).kind_known(24 * 4, 24).any()


def test_the_first_day_off_says_nothing_of_the_second(monkeypatch):
    values = with_weekends(5)
    record = past(values[: 24 * 4], start_hour=48.0)  # known up to Saturday; asked for Sunday

    def error():
        ahead = record.ahead(0, record.weights([0], 24)[0])[:, :, 0]
        return np.abs(ahead - values[24 * 4 :]).mean() / values[24 * 4 :].mean()

    heard_apart = error()
    with monkeypatch.context() as patched:
        patched.setattr(OwnPast, "kind_known", lambda self, origin, horizon: np.ones(horizon, bool))
        print(heard_apart, error())
        assert heard_apart < 0.7 * error()
    then = record.alike(24, 24)  # Saturday, asked on Friday night
    assert not then.any() and record.alike(48, 24).all()


def test_where_the_asked_kind_is_new_all_origins_count(monkeypatch):
    record = past(with_weekends(5)[: 24 * 3], start_hour=48.0)  # known up to Friday; Saturday is asked for
    assert record.alike(24, 24).all()
    weights = record.weights([0], 24)
    monkeypatch.setattr(OwnPast, "kind_known", lambda self, origin, horizon: np.ones(horizon, bool))
    np.testing.assert_array_equal(record.weights([0], 24), weights)


def test_who_does_not_hear_users_is_told_how_many_more_are_assumed():
    values, counts = daily(8, 3), daily(9, 3, seed=1) * 50
    counts[24 * 8 :] *= 1.5
    share = np.asarray(values, np.float32).reshape(-1, 1, 3)
    users = in_means(np.asarray(counts, np.float32).reshape(-1, 1, 3), 24 * 8)
    known = OwnPast(share, Clock(0.0, 1.0), users)
    assumed = replace(known, assumed=True)
    asked = np.ones((30, 1, 3), bool)
    asked[:6] = False
    assert known.more_users(0, asked) is None
    more = assumed.more_users(0, asked)
    assert more is not None and (more[:6] == 1).all()
    np.testing.assert_allclose(more[6:], (1.5 * users[:24] + MORE_USERS) / (users[:24] + MORE_USERS), rtol=1e-5)
    deaf = len(EXPERTS)
    np.testing.assert_allclose(
        assumed.experts(24 * 8, 24)[:deaf], known.experts(24 * 8, 24)[:deaf] * more[6:], rtol=1e-6
    )
    np.testing.assert_array_equal(assumed.experts(24 * 8, 24)[deaf:], known.experts(24 * 8, 24)[deaf:])


def test_by_the_quarter_of_an_hour_the_mean_of_the_last_hour_is_left_over() -> None:
    values = np.repeat(daily(6), 4, 0)
    origin = 4 * (24 * 5 + 9)
    more = values.copy()
    more[origin - 4 : origin] += np.array([0.0, 0.1, 0.2, 0.1])[:, None]
    left = said(past(more, step_hours=0.25), "left_over", origin, 8)
    np.testing.assert_allclose(left, values[origin : origin + 8] + 0.1, rtol=1e-4)


def test_last_week_is_copied_only_where_it_was_recorded_and_a_day_of_the_same_kind() -> None:
    values = np.random.default_rng(2).uniform(0.1, 1, (24 * 9, 2)).astype(np.float32)
    values[30, 0] = np.nan
    holiday = replace(past(values), clock=Clock(0.0, 1.0, told=((9, 6),)))  # the tenth day, a Wednesday
    for record, copied in ((past(values), True), (holiday, False)):
        week, usual = (said(record, name, 24 * 9, 24) for name in ("week", "usual"))
        np.testing.assert_array_equal(week, values[48:72] if copied else usual)
    week, usual = (said(past(values), name, 24 * 8, 24) for name in ("week", "usual"))
    assert week[6, 0] == usual[6, 0] and week[6, 1] == values[30, 1]


def test_the_latest_of_all_cells_goes_by_the_last_hours_alone() -> None:
    values = daily(6)
    origin, lately = 24 * 5 + 14, int(LATELY_HOURS)
    values[origin - lately : origin] *= 2
    latest, any_day = (said(past(values), name, origin, 4) for name in ("latest_city", "city_any_day"))
    np.testing.assert_allclose(latest, 2 * daily(6)[origin : origin + 4], rtol=1e-2)
    assert (any_day < 1.7 * daily(6)[origin : origin + 4]).all()


def test_leads_of_one_group_are_weighed_alike_and_the_last_group_may_be_short() -> None:
    record = past(np.random.default_rng(6).uniform(0, 1, (24 * 14, 3)))
    weights = record.weights([0], 6)[0]
    assert (weights[:4] == weights[0]).all() and (weights[4:] == weights[4]).all()
    assert not np.allclose(weights[0], weights[4])


def test_what_was_longer_ago_than_two_weeks_and_the_days_behind_them_moves_no_weight() -> None:
    values = np.random.default_rng(7).uniform(0, 1, (24 * 45, 2)).astype(np.float32)
    other = values.copy()
    other[: 24 * (45 - 2 * DAYS - 1)] = 5.0
    np.testing.assert_array_equal(past(values).weights([0], 8), past(other).weights([0], 8))


def test_what_nobody_could_foresee_is_not_missed() -> None:
    """The first Saturday carries a tenth; of Sunday, a day of its kind, as much is known as of the working days."""
    values = daily(4)
    values[24 * 3 :] *= 0.1
    usual = np.eye(len(EXPERTS))[np.full(24, EXPERTS.index("usual"))]
    assert past(values, start_hour=48.0).missed(usual) < 1e-3  # from a Wednesday on
    steady = past(daily(4) * np.repeat([1.0, 2.0, 1.0, 2.0], 24)[:, None])
    assert steady.missed(usual) > 0.1


def test_cells_are_told_apart_by_the_last_two_weeks() -> None:
    """An office that was open at weekends until three weeks ago."""
    values = daily(35, 1)
    weekend = np.arange(24 * 35) // 24 % 7 >= 5
    values[weekend & (np.arange(24 * 35) >= 24 * 14)] = 0.0
    assert past(values)._kinds_apart(24 * 35).all()


@pytest.mark.parametrize(("steps", "known"), [(64, True), (47, False)])
def test_the_window_counts_among_the_days_that_are_known(steps: int, known: bool) -> None:
    task = forecast_task(mock_city(steps, 2, 2), 16, 40)
    assert (OwnPast.of(task, 20.0) is not None) == known


def test_a_crowd_of_any_size_is_at_most_the_largest_factor() -> None:
    users = 100 * daily(9)
    users[24 * 8 :, 0] *= 1000
    users[24 * 8 :, 1] = 0.0
    counts = np.asarray(users, np.float32).reshape(-1, 3, 1)
    record = replace(past(daily(8)), users=in_means(counts, 24 * 8))
    found = record.experts(24 * 8, 8)
    usual, told = found[EXPERTS.index("usual"), ..., 0], found[record.names.index("users"), ..., 0]
    np.testing.assert_allclose(told[:, 0], LARGEST_FACTOR * usual[:, 0], rtol=1e-5)
    assert (told[:, 1] >= usual[:, 1] / LARGEST_FACTOR * (1 - 1e-5)).all()
