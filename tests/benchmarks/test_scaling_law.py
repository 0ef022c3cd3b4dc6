"""The scaling law against errors made of a known one."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

SIZES, VALUES = np.array([1e5, 3e5, 1e6, 2e6, 4e6]), np.array([2e5, 5e5, 1e6, 4e6])
TERMS = np.array([-3.0, -0.1, 0.08, -0.25, -0.06])


@pytest.fixture(scope="module")
def scaling_law(benchmark_module) -> ModuleType:
    return benchmark_module("scaling_law")


def runs(module: ModuleType, noise: float = 0.0, terms: np.ndarray = TERMS):
    parameters, values = (part.ravel() for part in np.meshgrid(SIZES, VALUES, indexing="ij"))
    errors = module.Law(terms).error(parameters, values)
    return module.Points(parameters, values, errors * np.exp(noise * np.random.default_rng(1).normal(size=20)))


def test_a_law_is_found_again(scaling_law):
    law = scaling_law.fit_law(runs(scaling_law))
    np.testing.assert_allclose(law.terms, TERMS, atol=1e-10)
    law_error, flat_error = scaling_law.left_out_error(runs(scaling_law))
    assert law_error < 1e-9 < 0.1 < flat_error


def test_slopes_by_differences(scaling_law):
    points = runs(scaling_law)
    law = scaling_law.fit_law(points)
    n, m = (10 ** np.log10(part).mean() for part in (points.parameters, points.values))
    step = 1.001
    for size, data, found in ((step, 1.0, law.of_size(points)), (1.0, step, law.of_data(points))):
        change = np.log(law.error(np.array([n * size]), np.array([m * data])) / law.error(np.array([n]), np.array([m])))
        assert float(change[0]) / np.log(step) == pytest.approx(found, rel=1e-2)


def test_the_best_size_is_the_lowest_point_and_grows_with_the_data(scaling_law):
    law = scaling_law.Law(TERMS)
    for values in (1e5, 1e6, 1e7):
        lowest = 10 ** (-(TERMS[1] + TERMS[4] * np.log10(values / 1e6)) / (2 * TERMS[2])) * 1e6
        assert law.best_size(values, (1e4, 1e9)) == pytest.approx(lowest, rel=0.02)
    assert law.best_size(1e5, (1e4, 1e9)) < law.best_size(1e7, (1e4, 1e9))
    assert law.best_size(1e9, (1e5, 4e6)) == pytest.approx(4e6)  # nothing beyond what was measured


def test_intervals_hold_the_truth_about_as_often_as_they_say(scaling_law):
    points = runs(scaling_law, noise=0.02)
    truth = scaling_law.Law(TERMS)
    (low, high), (data_low, data_high) = scaling_law.bootstrap(points)
    assert low < truth.of_size(points) < high
    assert data_low < truth.of_data(points) < data_high
    assert high - low < 0.05


def test_a_recommendation_of_a_law_without_a_size_costs_nothing_where_the_law_is_true(scaling_law):
    for _, chosen, best in scaling_law.recommended_without(runs(scaling_law), 1e6):
        assert chosen == pytest.approx(best)


def test_too_few_runs_are_refused(scaling_law):
    points = runs(scaling_law)
    few = scaling_law.Points(points.parameters[:4], points.values[:4], points.errors[:4])
    with pytest.raises(ValueError, match="3 sizes and 2 shares"):
        scaling_law.fit_law(few)
