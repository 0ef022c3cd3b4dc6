"""Verification: edges that nothing else holds."""

from __future__ import annotations

import numpy as np

from fomo.city import City, mock_city
from fomo.evaluation.metrics import coverage, crps
from fomo.evaluation.verification import _looked_back_on, cell_totals, compare, verify
from fomo.forecast import Forecast, make_forecast

STEPS, AHEAD = 24 * 9, 12


def drawn(city: City, asked_steps: slice = slice(None), silent: bool = False) -> Forecast:
    """Members around what came; `asked_steps`: of the last ones; `silent`: one cell has no member in one step."""
    window = city.isel(time=slice(STEPS - AHEAD, STEPS))
    truth = window["traffic"].values
    members = truth * np.random.default_rng(0).lognormal(0, 0.2, (20, *truth.shape))
    asked = np.zeros(truth.shape, bool)
    asked[asked_steps] = True
    if silent:
        members[:, 4, 1, 1] = np.nan
    return make_forecast(np.where(asked, members, np.nan), asked, window, forecaster="made", provenance={})


def test_a_rule_is_held_against_the_steps_that_were_asked_for() -> None:
    """Every third step: what a rule says of them is what it says of them among all."""
    city = mock_city(STEPS, 2, 2, seed=2)
    some, every = (verify([drawn(city, part)], city) for part in (slice(0, None, 3), slice(None)))
    assert [each.forecaster for each in some.values] == [each.forecaster for each in every.values]
    for part, whole in zip(some.values[1:], every.values[1:], strict=True):
        assert sorted(set(part.lead.tolist())) == [1, 4, 7, 10]
        np.testing.assert_allclose(part.mean, whole.mean[np.isin(whole.lead, part.lead)])


def test_a_value_without_members_counts_in_no_sum() -> None:
    city = mock_city(STEPS, 2, 2, seed=2)
    compared = compare(drawn(city, silent=True), city)
    members, truth = compared.together
    others = np.ones((2, 2), bool)
    others[1, 1] = False
    assert np.isfinite(members).all()
    np.testing.assert_allclose(truth[4], city["traffic"].values[STEPS - AHEAD + 4][others].sum(), rtol=1e-6)


def paired(city: City, samples: int = 20, seed: int = 0) -> Forecast:
    """Members in pairs around twice as much as came, with hardly anything in common."""
    window = city.isel(time=slice(STEPS - AHEAD, STEPS))
    truth = window["traffic"].values.astype(np.float64)
    off = np.random.default_rng(seed).uniform(0, 1, (samples // 2, *truth.shape))
    members = truth * (1 + np.stack([off, -off], 1).reshape(samples, *truth.shape))
    return make_forecast(
        members, np.ones(truth.shape, bool), window, forecaster="made", provenance={"antithetic": True}
    )


def test_members_of_opposite_noise_are_scored_as_such_in_values_and_cells() -> None:
    city = mock_city(STEPS, 2, 2, seed=2)
    forecast = paired(city)
    compared = compare(forecast, city)
    assert compared.antithetic
    score = verify([forecast], city).values[0].crps
    np.testing.assert_allclose(score, crps(compared.members, compared.truth, antithetic=True).ravel(), rtol=1e-9)
    assert not np.allclose(score, crps(compared.members, compared.truth).ravel(), rtol=1e-3)
    within = cell_totals(compared).within
    inside = coverage(compared.members, compared.truth, 0.9, antithetic=True)
    np.testing.assert_allclose(within, inside.mean(0).ravel(), rtol=1e-9)
    assert not np.allclose(within, coverage(compared.members, compared.truth, 0.9).mean(0).ravel(), rtol=1e-6)


def test_totals_of_a_cell_are_those_of_its_recorded_steps_in_members_too() -> None:
    city = mock_city(STEPS, 2, 2, seed=2)
    forecast, traffic = drawn(city), city["traffic"].copy()
    traffic[-5:, 0, 1] = np.nan
    totals = cell_totals(compare(forecast, city.assign(traffic=traffic)))
    assert totals.steps.tolist() == [12, 7, 12, 12]
    np.testing.assert_allclose(totals.members[:, 1], forecast.samples.values[:, :7, 0, 1].sum(1), rtol=1e-5)


def test_the_smallest_of_several_ensembles_says_what_interval_is_held() -> None:
    city = mock_city(STEPS, 2, 2, seed=2)
    for order in ((20, 8), (8, 20)):
        ours = verify([paired(city, samples) for samples in order], city).values[0]
        assert ours.samples == 8 and ours.within(0.9) is None and ours.within(0.5) is not None


def test_rules_look_back_two_days_whatever_the_step() -> None:
    for minutes, steps in ((60, 48), (15, 192), (120, 48)):
        before = mock_city(4 * 192, 1, 1, minutes)
        forecast = make_forecast(
            np.ones((2, 4, 1, 1)), np.ones((4, 1, 1), bool), before.isel(time=slice(-4, None)),
            forecaster="made", provenance={},
        )  # fmt: skip
        assert _looked_back_on(compare(forecast, before)) == steps
