"""Curves of the week: found, stored, evaluated at any step, and a cell's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fomo.windows.clock import Clock
from fomo.windows.rhythm import (
    CURVE_WORTH,
    GENERAL,
    LOOK_BACK_DAYS,
    OTHER_KIND,
    SAME_KIND,
    SAME_WEEKDAY,
    SMALLEST_RHYTHM,
    RhythmSums,
    general_rhythm,
    left_open,
    mean_over_steps,
    own_rhythm,
    rhythm_at,
    rhythm_sums,
    weekly_rhythm,
)

NAN = np.nan


def curve_of(slots: int, seed: int = 0) -> np.ndarray:
    curve = np.random.default_rng(seed).uniform(0.2, 2.0, slots)
    return curve / curve.mean()


def found(sums: RhythmSums) -> np.ndarray:
    curve = weekly_rhythm(sums)
    assert curve is not None
    return curve


@pytest.mark.parametrize("step_hours", [0.25, 1.0, 2.0])
def test_a_curve_that_all_cells_share_is_found_again_whatever_their_levels(step_hours):
    curve = curve_of(round(168 / step_hours))
    steps = 2 * len(curve)  # two weeks from Wednesday 00:00
    share = rhythm_at(curve, Clock(48.0, step_hours), steps)[:, None, None] * np.array([[0.01, 3.0, 0.0]])
    np.testing.assert_allclose(found(rhythm_sums(share, 48.0, step_hours)), curve, rtol=1e-9)


def test_values_that_were_not_recorded_do_not_enter():
    curve = curve_of(168)
    share = np.repeat(rhythm_at(curve, Clock(0.0, 1.0), 336)[:, None, None], 2, 2)
    share[np.random.default_rng(1).random(share.shape) < 0.1] = NAN
    rough = found(rhythm_sums(share, 0.0, 1.0))
    np.testing.assert_allclose(rough, curve, rtol=0.06)  # the levels of the cells are off by what is missing
    share[5], share[5 + 168] = NAN, NAN  # Monday 05:00 was never recorded: the mean of 05:00 on other days
    others = found(rhythm_sums(share, 0.0, 1.0)).reshape(7, 24)[:, 5]
    assert others[0] == pytest.approx(others[1:].mean(), rel=1e-9)


def test_sums_of_cities_add_up_and_a_city_can_be_taken_out():
    random = np.random.default_rng(2)
    one, other = (rhythm_sums(random.random((168, 2, 2)), 0.0, 1.0) for _ in range(2))
    np.testing.assert_allclose(found(one + other - other), found(one), rtol=1e-9)
    assert weekly_rhythm(one - one) is None
    assert weekly_rhythm(rhythm_sums(np.zeros((168, 1, 1)), 0.0, 1.0)) is None


def test_a_dead_hour_keeps_the_smallest_rhythm():
    share = np.ones((168, 1, 1))
    share[4] = 0
    assert found(rhythm_sums(share, 0.0, 1.0))[4] == SMALLEST_RHYTHM


@given(st.sampled_from([168, 336, 672, 84]), st.integers(-200, 400), st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0]))
def test_the_curve_over_a_step_is_its_mean_by_a_fine_sum(slots, start, step_hours):
    curve = curve_of(slots)
    at = rhythm_at(curve, Clock(start, step_hours), 10)
    quarters = start + 0.25 * np.arange(round(40 * step_hours)) + 0.125
    fine = curve[np.floor(quarters % 168 * slots / 168).astype(int)]
    np.testing.assert_allclose(at, fine.reshape(10, -1).mean(1), rtol=1e-9)
    both = mean_over_steps(
        np.stack([curve, 2 - curve]), Clock(start, step_hours), 10
    )  # several at once, and below zero
    np.testing.assert_allclose(both, [at, 2 - at], atol=1e-9)


def test_the_general_curve_is_the_mean_over_families_and_leaves_one_out_with_its_coarser_versions():
    curves = {"a": curve_of(168, 1), "b": curve_of(168, 2), "b@120min": curve_of(84, 3), GENERAL: np.full(168, 9.0)}
    np.testing.assert_allclose(general_rhythm(curves), (curves["a"] + curves["b"]) / 2)
    for family in ("b", "b@120min"):
        np.testing.assert_allclose(general_rhythm(curves, without=family), curves["a"])
    np.testing.assert_array_equal(general_rhythm({"a": curve_of(168)}, without="a"), np.ones(168))


def test_a_cells_own_rhythm_by_a_loop():
    random = np.random.default_rng(3)
    curve, start, step_hours, steps, before = curve_of(168), 24.0 * 5 + 7, 2.0, 20, 130  # from a Saturday morning
    earlier = random.random((before, 2, 2))
    earlier[random.random(earlier.shape) < 0.2] = NAN
    found_rhythm = own_rhythm(earlier, curve, Clock(start, step_hours), steps)
    usual = rhythm_at(curve, Clock(start - before * step_hours, step_hours), before + steps)
    open_share = np.zeros((steps, 2, 2))
    for y, x in np.ndindex(2, 2):
        there = [t for t in range(before) if np.isfinite(earlier[t, y, x])]
        level = sum(earlier[t, y, x] for t in there) / sum(usual[t] for t in there)
        for step in range(steps):
            total, worth = CURVE_WORTH * usual[before + step], CURVE_WORTH
            weekday = int((start + step * step_hours) // 24) % 7
            for t in there:
                if (before + step - t) % 12:
                    continue
                then = (weekday - (before + step - t) // 12) % 7
                kind = SAME_KIND if (then >= 5) == (weekday >= 5) else OTHER_KIND
                weight = SAME_WEEKDAY if then == weekday else kind
                total, worth = total + weight * earlier[t, y, x] / level, worth + weight
            assert found_rhythm[step, y, x] == pytest.approx(max(total / worth, SMALLEST_RHYTHM), rel=1e-9)
            open_share[step, y, x] = CURVE_WORTH / worth
    np.testing.assert_allclose(left_open(earlier, Clock(start, step_hours), steps), open_share.mean((1, 2)), rtol=1e-9)


def test_without_a_past_or_without_traffic_a_cell_has_the_curve():
    curve = curve_of(168)
    usual = np.broadcast_to(rhythm_at(curve, Clock(3.0, 1.0), 5)[:, None, None], (5, 1, 1))
    hours = np.linspace(1, 9, 23)[:, None, None]  # less than a day
    for earlier in (np.empty((0, 1, 1)), hours, np.zeros((48, 1, 1)), np.full((48, 1, 1), NAN)):
        np.testing.assert_allclose(own_rhythm(earlier, curve, Clock(3.0, 1.0), 5), usual)
    assert (left_open(hours, Clock(3.0, 1.0), 5) == 1).all()


def test_what_is_long_past_does_not_count():
    earlier = np.random.default_rng(4).random((LOOK_BACK_DAYS * 24 + 50, 1, 1))
    changed = earlier.copy()
    changed[:50] = 7.0
    one, other = (own_rhythm(past, curve_of(168), Clock(0.0, 1.0), 24) for past in (earlier, changed))
    np.testing.assert_array_equal(one, other)
