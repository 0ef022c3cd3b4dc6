"""A city's own past: edges that nothing else holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fomo.city import mock_city
from fomo.forecasters.own_past import DAYS, EXPERTS, LARGEST_FACTOR, LATELY_HOURS, OwnPast, in_means
from fomo.windows.clock import Clock
from fomo.windows.task import forecast_task


def past(share: Any, start_hour: float = 0.0, step_hours: float = 1.0) -> OwnPast:
    values = np.asarray(share, np.float32)
    return OwnPast(values.reshape(len(values), -1, 1), Clock(start_hour, step_hours))


def said(record: OwnPast, name: str, origin: int, horizon: int) -> np.ndarray:
    return record.experts(origin, horizon)[EXPERTS.index(name), :, :, 0]


def daily(days: int, cells: int = 3, seed: int = 0) -> np.ndarray:
    """A curve of the day for each cell, repeated: (step, cell)."""
    return np.tile(np.random.default_rng(seed).uniform(0.05, 0.6, (24, cells)), (days, 1))


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
