"""What members look like, each by a second road."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import periodogram

from fomo.evaluation.metrics import error_sums
from fomo.evaluation.structure import autocorrelations, correlations, spectral_distance, structure


def drawn(steps=24, samples=5, seed=0):
    random = np.random.default_rng(seed)
    truth = random.gamma(2.0, 1.0, (steps, 2, 3)).astype(np.float32)
    return random.gamma(2.0, 1.0, (samples, steps, 2, 3)).astype(np.float32), truth


def test_correlations_are_numpys():
    series = np.random.default_rng(1).normal(size=(4, 30))
    np.testing.assert_allclose(correlations(series), np.corrcoef(series), atol=1e-12)


def test_autocorrelations_are_the_plain_sums():
    x = np.random.default_rng(2).normal(size=20)
    centred = x - x.mean()
    wanted = [(centred[:-lag] * centred[lag:]).sum() / (centred**2).sum() for lag in range(1, 11)]
    np.testing.assert_allclose(autocorrelations(x[None], 10)[0], wanted, atol=1e-12)


@pytest.mark.parametrize("steps", [20, 21])
def test_the_spectrum_is_scipys(steps):
    random = np.random.default_rng(3)
    truth, other = random.normal(size=(2, steps))
    shares = [power / power.sum() for power in (periodogram(x)[1] for x in (truth, other))]
    wanted = np.abs(shares[0] - shares[1]).sum() / 2
    assert spectral_distance(truth[None], other[None])[0] == pytest.approx(wanted, abs=1e-12)


def test_the_truth_itself_has_no_distance():
    members, truth = drawn()
    scored = np.ones(truth.shape, bool)
    found = structure(np.repeat(truth[None], 3, 0), truth, scored, 4.0)
    assert found.busy_cells == 6
    assert found.pairs == 15
    assert found.whole_cells == 6
    for name in ("busy", "spatial", "autocorrelation", "spectrum"):
        assert getattr(found, name) == pytest.approx(0, abs=1e-6)
    assert structure(members, truth, scored, 4.0).spatial > 0.1


def test_everything_by_loops():
    members, truth = drawn()
    scored = np.ones(truth.shape, bool)
    scored[:6] = False
    scored[9, 1, 2] = False  # this cell is not whole
    found = structure(members, truth, scored, 4.0)
    busy, spatial, acf, spectrum, pairs = [], [], [], [], 0
    cells = [(y, x) for y in range(2) for x in range(3)]
    point = members.mean(0)
    for y, x in cells:
        steps = [t for t in range(24) if scored[t, y, x]]
        peak = max(steps, key=lambda t: truth[t, y, x])
        busy.append(abs(min(point[peak, y, x] / 4, 1) - min(truth[peak, y, x] / 4, 1)))
    whole = cells[:-1]
    for a, one in enumerate(whole):
        series = truth[6:, one[0], one[1]]
        for member in members:
            own = member[6:, one[0], one[1]]
            acf.append(np.abs(autocorrelations(series[None], 9) - autocorrelations(own[None], 9)).mean())
            spectrum.append(spectral_distance(series[None], own[None])[0])
            for two in whole[a + 1 :]:
                true = np.corrcoef(series, truth[6:, two[0], two[1]])[0, 1]
                spatial.append(abs(true - np.corrcoef(own, member[6:, two[0], two[1]])[0, 1]))
        pairs += len(whole) - a - 1
    assert found.busy == pytest.approx(sum(busy), rel=1e-5)
    assert (found.busy_cells, found.pairs, found.whole_cells) == (6, pairs, 5)
    assert found.spatial == pytest.approx(sum(spatial) / 5, rel=1e-5)
    assert found.autocorrelation == pytest.approx(sum(acf) / 5, rel=1e-5)
    assert found.spectrum == pytest.approx(sum(spectrum) / 5, rel=1e-5)


def test_cells_that_do_not_vary():
    members, truth = drawn()
    truth[:, 0, 0] = 1.0  # left out
    members[:, :, 0, 1] = 2.0  # flat where the truth is not
    found = structure(members, truth, np.ones(truth.shape, bool), 4.0)
    assert found.whole_cells == 5
    flat = structure(np.full_like(members, 2.0), truth, np.ones(truth.shape, bool), 4.0)
    assert flat.spectrum == pytest.approx(5.0)
    assert np.isfinite(found.spatial)


def test_few_steps_have_no_structure_but_a_busy_hour():
    members, truth = drawn(steps=8)
    found = structure(members, truth, np.ones(truth.shape, bool), 4.0)
    assert (found.busy_cells, found.whole_cells, found.pairs) == (6, 0, 0)
    scores = error_sums(members.reshape(5, -1), truth.ravel(), 4.0, structure=found).scores()
    assert scores["busy"] == pytest.approx(found.busy / 6)
    assert np.isnan(scores["spectrum"])
