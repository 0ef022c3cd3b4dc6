"""Intervals resample regions or days, never windows; differences are paired."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fomo.evaluation.metrics import error_sums
from fomo.evaluation.protocol import EvaluationError, Scores, WindowScore
from fomo.evaluation.rows import calibration, difference, row


def scores(errors, repeat=1, days=None, name="made", members=20, seed=0):
    """Scores whose windows have these errors: one region each, or one day each where `days`."""
    random = np.random.default_rng(seed)
    windows = []
    for unit, error in enumerate(errors):
        truth = random.random(200) * 0.5
        ensemble = truth + error + 0.01 * random.normal(size=(members, 200))
        sums = error_sums(np.clip(ensemble, 0, 1), truth, 1.0)
        for step in range(repeat):
            region, day = ("one", f"2024-01-{unit + 1:02d}") if days else (f"region {unit}", "2024-01-01")
            windows.append(WindowScore(region, day, step, sums))
    return Scores(name, tuple(windows), "made", "short", "none", "fold", False, "GB", "given", members, 1.0, False, "")


def test_overlapping_windows_of_the_same_regions_do_not_narrow_the_interval():
    once, often = row(scores([0.1, 0.2, 0.3, 0.15])), row(scores([0.1, 0.2, 0.3, 0.15], repeat=50))
    assert often.windows == 200 and once.units == often.units == 4
    assert (often.rmse_low, often.rmse_high) == pytest.approx((once.rmse_low, once.rmse_high))


def test_two_regions_span_from_one_to_the_other():
    made = scores([0.1, 0.3])
    found = row(made)
    ends = [np.sqrt(window.sums.squared / window.sums.count) for window in made.windows]
    assert (found.rmse_low, found.rmse_high) == pytest.approx(tuple(ends))


def test_the_interval_is_the_bootstrap_over_regions_done_by_hand():
    made = scores(np.linspace(0.05, 0.4, 7))
    squares = np.array([window.sums.squared / window.sums.count for window in made.windows])
    random = np.random.default_rng(1)
    draws = [np.sqrt(random.choice(squares, 7).mean()) for _ in range(20_000)]
    found = row(made, resamples=20_000)
    assert found.rmse_low == pytest.approx(np.quantile(draws, 0.025), rel=0.02)
    assert found.rmse_high == pytest.approx(np.quantile(draws, 0.975), rel=0.02)
    assert found.rmse_low < found.rmse < found.rmse_high


@pytest.mark.parametrize(("units", "low", "high"), [(2, 0.36, 0.64), (5, 0.74, 0.93), (30, 0.87, 1.0)])
def test_intervals_of_few_units_hold_less_than_they_should(units, low, high):
    """What docs/beware.md says of them: two forecasters of equal skill, whose difference is 0."""
    random, made = np.random.default_rng(units), scores([0.1])
    sums = made.windows[0].sums

    def of(name):
        errors = 1 + 0.2 * random.standard_normal(units)
        windows = [
            WindowScore(f"region {place}", "2024-01-01", 0, replace(sums, absolute=float(error), count=1))
            for place, error in enumerate(errors)
        ]
        return replace(made, forecaster=name, windows=tuple(windows))

    found = [difference(of("one"), of("other"), "mae", resamples=100, seed=seed) for seed in range(120)]
    assert low < np.mean([each.low <= 0 <= each.high for each in found]) < high


def test_a_single_region_is_resampled_by_days():
    found = row(scores([0.1, 0.2, 0.3], days=True))
    assert (found.resampled, found.units, found.regions) == ("days", 3, 1)
    assert row(scores([0.1, 0.2, 0.3])).resampled == "regions"


def test_a_single_day_has_no_interval():
    found = row(scores([0.1], days=True))
    assert found.rmse is not None and found.rmse_low is None and found.crps_high is None


def test_the_same_seed_gives_the_same_interval_and_another_a_different_one():
    made = scores(np.linspace(0.05, 0.4, 7))
    assert row(made, seed=1) == row(made, seed=1)
    assert row(made, resamples=50, seed=1).rmse_low != row(made, resamples=50, seed=2).rmse_low


def test_a_forecaster_differs_from_itself_by_nothing():
    found = difference(scores([0.1, 0.2, 0.3]), scores([0.1, 0.2, 0.3]))
    assert (found.value, found.low, found.high, found.better) == (0.0, 0.0, 0.0, 0.0)


def test_a_small_gain_in_every_region_is_certain_although_the_intervals_overlap():
    ours, theirs = scores([0.10, 0.20, 0.40], name="ours"), scores([0.11, 0.21, 0.41], name="theirs")
    found = difference(ours, theirs)
    assert row(ours).rmse_high > row(theirs).rmse_low
    assert found.low <= found.value <= found.high < 0 and found.better == 1.0
    assert found.value == pytest.approx(row(ours).rmse - row(theirs).rmse)
    assert difference(theirs, ours).value == pytest.approx(-found.value)


def test_forecasters_that_answered_different_windows_are_not_compared():
    with pytest.raises(EvaluationError, match="same windows"):
        difference(scores([0.1, 0.2]), scores([0.1, 0.2, 0.3]))


def test_an_undefined_forecaster_is_neither_scored_nor_compared():
    made = scores([0.1, 0.2])
    broken = replace(made, windows=(made.windows[0], replace(made.windows[1], sums=None)), note="not defined: x")
    found = row(broken)
    assert found.rmse is None and found.note == "not defined: x" and found.windows == 2
    with pytest.raises(EvaluationError, match="not defined"):
        difference(made, broken)
    with pytest.raises(EvaluationError, match="not defined"):
        calibration(broken)


def test_calibration_stops_at_the_widest_interval_that_the_members_hold():
    levels, observed = calibration(scores([0.0, 0.0], members=20))
    np.testing.assert_allclose(levels, np.arange(1, 10) / 10)
    assert (np.diff(observed) >= 0).all() and observed[0] < observed[-1]
    assert calibration(scores([0.0, 0.0], members=9))[0].max() == pytest.approx(0.8)


def test_the_row_repeats_the_calibration_at_50_and_90_percent():
    made = scores([0.0, 0.005], members=20)
    observed = calibration(made)[1]
    found = row(made)
    assert (observed[4], observed[8]) == pytest.approx((found.coverage50, found.coverage90))


def test_a_resampled_divergence_is_that_of_the_drawn_windows_together():
    made = scores([0.02, 0.3])
    alone = [row(replace(made, windows=(window,))).jsd for window in made.windows]
    found = row(made)
    # Of two regions a draw takes both, or one of them twice: then the divergence is its own.
    assert (found.jsd_low, found.jsd_high) == pytest.approx((min(alone), max(alone)))
    assert difference(made, made, "jsd").value == 0
