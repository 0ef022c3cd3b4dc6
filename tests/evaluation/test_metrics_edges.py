"""Scores of a window: edges that nothing else holds."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.evaluation.metrics import energy_score, error_sums


@pytest.mark.parametrize("antithetic", [False, True])
def test_a_windows_energy_is_that_of_its_kind_of_members(antithetic: bool) -> None:
    random = np.random.default_rng(0)
    half = random.normal(0, 0.1, (5, 7))
    members = 0.5 + np.stack([half, -half], 1).reshape(10, 7)
    truth = random.uniform(0, 1, 7)
    found = error_sums(4 * members, 4 * truth, 4.0, antithetic).scores()["energy"]
    assert found == pytest.approx(energy_score(members, truth, antithetic=antithetic))
    assert found != pytest.approx(energy_score(members, truth, antithetic=not antithetic), rel=1e-3)


def test_many_small_ensembles_hold_no_wider_interval_than_one() -> None:
    """Three windows of eight members: 50 % is held, 90 % takes nineteen in each."""
    random = np.random.default_rng(0)
    windows = [error_sums(random.uniform(0, 1, (8, 30)), random.uniform(0, 1, 30), 1.0) for _ in range(3)]
    scores = (windows[0] + windows[1] + windows[2]).scores()
    assert scores["coverage50"] == pytest.approx(0.5, abs=0.15)
    assert np.isnan(scores["coverage90"]) and np.isnan(scores["closed90"])
