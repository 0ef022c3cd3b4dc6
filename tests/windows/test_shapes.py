"""How cells differ from the rhythm: found again, scaled, drawn towards all families, and in a window."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.windows.clock import Clock
from fomo.windows.rhythm import GENERAL, GENERAL_WORTH, rhythm_at, rhythm_sums
from fomo.windows.shapes import (
    NOISE_OF_RHYTHM,
    NOISE_OF_VARIANCE,
    NOISE_POWER,
    OF_PER_USER,
    SHAPES,
    adapted_pattern,
    covariance_of,
    flat_pattern,
    general_covariance,
    pattern_of,
    resampled,
    steadied_pattern,
    usual_in_window,
    week_covariance,
)

NAN = np.nan
HOURS = np.arange(168)
RHYTHM = 1 + 0.5 * np.sin(2 * np.pi * HOURS / 24)
AXES = np.stack([0.3 * np.cos(2 * np.pi * HOURS / 24), 0.1 * np.sin(4 * np.pi * HOURS / 24)])


def cells(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weeks (168, 1, cell) made of two shapes, their levels and weights."""
    random = np.random.default_rng(seed)
    level, weights = random.uniform(0.1, 1.0, number), random.standard_normal((number, 2))
    return (level * (RHYTHM[:, None] + AXES.T @ weights.T))[:, None], level, weights


def test_the_covariance_of_the_weeks_is_that_of_numpy_with_levels_as_weights():
    share, level, _ = cells(30)
    found = week_covariance(rhythm_sums(share, 0.0, 1.0))
    weeks = share[:, 0] / share[:, 0].mean(0)
    np.testing.assert_allclose(found, np.cov(weeks, aweights=share[:, 0].mean(0), ddof=0), atol=1e-12)
    assert level.std() > 0


def test_a_time_of_the_week_that_was_never_recorded_and_idle_cells_say_nothing_of_how_cells_differ():
    share, *_ = cells(30)
    whole = week_covariance(rhythm_sums(share, 0.0, 1.0))
    share[5] = NAN
    share = np.concatenate([share, np.full((168, 1, 3), 1e-4)], 2)
    found = week_covariance(rhythm_sums(share, 0.0, 1.0))
    assert np.isfinite(found).all()
    assert abs(found[5]).max() < 1e-9  # all cells have the curve there
    assert abs(found[30:, 30:] - whole[30:, 30:]).max() < 0.02


def test_without_traffic_there_is_no_covariance():
    assert not week_covariance(rhythm_sums(np.zeros((168, 2, 2)), 0.0, 1.0)).any()


def test_covariances_of_cities_add_up():
    (one, *_), (other, *_) = cells(20, 1), cells(9, 2)
    both = week_covariance(rhythm_sums(np.concatenate([one, other], 2), 0.0, 1.0))
    sums = rhythm_sums(one, 0.0, 1.0) + rhythm_sums(other, 0.0, 1.0)
    np.testing.assert_allclose(week_covariance(sums), both, atol=1e-12)
    np.testing.assert_allclose(
        week_covariance(sums - rhythm_sums(other, 0.0, 1.0)), week_covariance(rhythm_sums(one, 0.0, 1.0)), atol=1e-9
    )


def test_shapes_give_the_covariance_back_and_noise_is_what_they_leave():
    covariance = AXES.T @ AXES
    found = pattern_of(RHYTHM, covariance)
    assert found.shapes.shape == (SHAPES, 168)
    np.testing.assert_allclose(found.shapes.T @ found.shapes, covariance, atol=1e-12)
    noise = NOISE_OF_VARIANCE * np.diag(covariance) + NOISE_OF_RHYTHM * RHYTHM**2
    np.testing.assert_allclose(found.noise, noise, atol=1e-12)
    many = np.eye(168)  # more axes than are kept: the rest is noise
    left = pattern_of(RHYTHM, many)
    np.testing.assert_allclose((left.shapes**2).sum(0) + left.noise, 1 + 0.3 + 0.02 * RHYTHM**2, atol=1e-9)
    np.testing.assert_array_equal(flat_pattern(RHYTHM).shapes, np.zeros((SHAPES, 168)))


@pytest.mark.parametrize("slots", [84, 336, 168])
def test_a_covariance_at_another_step_is_that_of_the_means(slots):
    random = np.random.default_rng(0)
    weeks = random.random((4000, 168))
    found = resampled(np.cov(weeks.T, ddof=0), slots)
    means = np.stack([rhythm_at(week + 1, Clock(0.0, 168 / slots), slots) for week in weeks])
    np.testing.assert_allclose(found, np.cov(means.T, ddof=0), atol=1e-9)


def test_a_family_of_few_cells_is_the_mixture_of_its_own_and_of_all():
    """Mean and covariance of drawing from the family with probability n / (n + k), else from all families."""
    random = np.random.default_rng(1)
    own, general = 1 + 0.3 * random.random(168), 1 + 0.3 * random.random(168)
    spread = general_covariance({}, {}, general, None) + 0.01
    share = 60 / (60 + GENERAL_WORTH)
    found = steadied_pattern(own, AXES.T @ AXES, 60, general, spread)
    np.testing.assert_allclose(found.curve, share * own + (1 - share) * general)
    second = share * (AXES.T @ AXES + np.outer(own, own)) + (1 - share) * (spread + np.outer(general, general))
    np.testing.assert_allclose(found.shapes.T @ found.shapes, second - np.outer(found.curve, found.curve), atol=1e-9)


def test_the_general_covariance_holds_how_families_differ_and_leaves_one_out():
    curves = {"a": RHYTHM, "b": 2 - RHYTHM, "b@120min": np.ones(84), GENERAL: np.ones(168)}
    spreads = {"a": AXES.T @ AXES, "b": np.zeros((168, 168))}
    away = RHYTHM - 1
    expected = AXES.T @ AXES / 2 + np.outer(away, away)
    np.testing.assert_allclose(general_covariance(curves, spreads, np.ones(168), None), expected, atol=1e-12)
    np.testing.assert_allclose(general_covariance(curves, spreads, RHYTHM, "b"), AXES.T @ AXES, atol=1e-12)
    assert not general_covariance({"a": RHYTHM}, spreads, RHYTHM, "a").any()


@pytest.mark.parametrize("per_hour", [2, 4])
def test_covariances_are_smoothed_over_an_hour_by_a_loop(per_hour):
    share = np.random.default_rng(0).uniform(0.5, 1.0, (168 * per_hour, 1, 20))
    found = week_covariance(rhythm_sums(share, 0.0, 1 / per_hour))
    weeks = share[:, 0] / share[:, 0].mean(0)
    rough = np.cov(weeks, aweights=share[:, 0].mean(0), ddof=0)
    for one, other in ((0, 0), (5, 90), (168 * per_hour - 1, 2)):
        total = sum(
            (1 - abs(i) / per_hour) * (1 - abs(j) / per_hour) * rough[(one + i) % len(rough), (other + j) % len(rough)]
            for i in range(1 - per_hour, per_hour)
            for j in range(1 - per_hour, per_hour)
        )
        assert found[one, other] == pytest.approx(total / per_hour**2, rel=1e-9)


def test_a_value_of_a_short_step_has_more_noise():
    pattern = pattern_of(RHYTHM, AXES.T @ AXES)
    hour, quarter = (usual_in_window(pattern, None, Clock(30.0, step), (1, 1, 1))["noise"] for step in (1.0, 0.25))
    np.testing.assert_allclose(quarter, hour * 0.25**NOISE_POWER)
    assert quarter > hour


def test_a_window_has_the_shapes_of_its_hours_smaller_where_the_past_is_known():
    pattern = pattern_of(RHYTHM, AXES.T @ AXES)
    blind = usual_in_window(pattern, None, Clock(30.0, 1.0), (20, 2, 2))
    np.testing.assert_allclose(blind["shapes"], pattern.shapes[:, 30:50], atol=1e-12)
    np.testing.assert_allclose(blind["noise"], pattern.noise[30:50], atol=1e-12)
    np.testing.assert_allclose(blind["rhythm"][:, 1, 0], pattern.curve[30:50])
    short = usual_in_window(pattern, np.ones((23, 2, 2)), Clock(30.0, 1.0), (20, 2, 2))
    np.testing.assert_array_equal(short["shapes"], blind["shapes"])  # not a whole day
    week = usual_in_window(pattern, np.ones((168, 2, 2)), Clock(30.0, 1.0), (20, 2, 2))
    gone = (week["shapes"] ** 2).sum() / (blind["shapes"] ** 2).sum()
    assert 0 < gone < 0.4


def test_the_covariance_that_a_pattern_was_made_of_is_found_again_up_to_what_its_shapes_leave_out():
    random = np.random.default_rng(7)
    factors = random.normal(0.0, 0.3, (SHAPES, 168))
    covariance = factors.T @ factors  # as many shapes as are kept
    curve = rhythm_at(random.uniform(0.5, 1.5, 168), Clock(0.0, 1.0), 168)
    np.testing.assert_allclose(covariance_of(pattern_of(curve, covariance)), covariance, atol=1e-9)
    np.testing.assert_allclose(
        covariance_of(pattern_of(curve, covariance, OF_PER_USER), OF_PER_USER), covariance, atol=1e-9
    )


def test_a_new_city_keeps_the_general_pattern_where_it_tells_nothing_and_leaves_it_the_more_cells_tell():
    random = np.random.default_rng(8)
    general = pattern_of(np.ones(168), np.zeros((168, 168)))
    assert adapted_pattern(rhythm_sums(np.zeros((168, 1, 1)), 0.0, 1.0), general) is general
    curve = random.uniform(0.5, 1.5, 168)
    curve /= curve.mean()
    few, many = (
        adapted_pattern(rhythm_sums(np.broadcast_to(curve[:, None, None], (168, 1, n)), 0.0, 1.0), general)
        for n in (4, 400)
    )
    np.testing.assert_allclose(few.curve, 1 + 4 / 24 * (curve - 1), atol=1e-9)
    np.testing.assert_allclose(many.curve, 1 + 400 / 420 * (curve - 1), atol=1e-9)
