"""Chronos-2 through its library, with tiny random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_tasks import check_members, town, window_task

from fomo.forecasters.rivals.chronos import Chronos2
from fomo.forecasters.rivals.series import series_of

LEVELS = [0.01, 0.05, *(i / 10 for i in range(1, 10)), 0.95, 0.99]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as the authors publish them, of a network of two layers."""
    pytest.importorskip("chronos")
    from chronos.chronos2 import Chronos2Model
    from chronos.chronos2.config import Chronos2CoreConfig

    torch.manual_seed(0)
    config = Chronos2CoreConfig(
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        chronos_config={
            "context_length": 512,
            "input_patch_size": 16,
            "input_patch_stride": 16,
            "output_patch_size": 16,
            "max_output_patches": 8,
            "quantiles": LEVELS,
            "use_reg_token": True,
            "use_arcsinh": True,
            "time_encoding_scale": 512,
        },
    )
    network = Chronos2Model(config)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(0.2 * torch.randn_like(weight))
    path = tmp_path_factory.mktemp("chronos")
    network.save_pretrained(path)
    return path


def test_quantiles_are_those_of_the_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chronos import Chronos2Pipeline

    monkeypatch.setenv("FOMO_CHRONOS", str(folder))
    rival, pipeline = Chronos2(), Chronos2Pipeline.from_pretrained(folder)
    assert rival.levels == tuple(LEVELS)
    series = series_of(window_task(town(), 16, before=True), rival.days)
    found = rival.quantiles(series)
    assert found.shape == (6, 48, len(LEVELS)) and np.isfinite(found).all()
    for cell in range(6):
        direct = pipeline.predict([torch.tensor(series.past[cell])], prediction_length=48)[0][0].numpy()
        np.testing.assert_allclose(found[cell], direct.T, rtol=1e-3, atol=1e-3)


def test_users_known_ahead_are_a_covariate_and_cells_may_differ_in_it(folder: Path) -> None:
    from chronos import Chronos2Pipeline

    city = town()
    city["users"][:, 0, 1] = np.nan
    rival, pipeline = Chronos2(folder), Chronos2Pipeline.from_pretrained(folder)
    task = window_task(city, context="full")
    series = series_of(task)
    found = rival.quantiles(series)
    with_users = {
        "target": series.past[0],
        "past_covariates": {"users": series.users[0, :48]},
        "future_covariates": {"users": series.users[0, 48:]},
    }
    for cell, given in ((0, with_users), (1, {"target": series.past[1]})):
        direct = pipeline.predict([given], prediction_length=16)[0][0].numpy()
        np.testing.assert_allclose(found[cell], direct.T, rtol=1e-3, atol=1e-3)
    past = rival.quantiles(series_of(window_task(city, context="past")))
    none = rival.quantiles(series_of(window_task(city)))
    assert not np.allclose(found[0], past[0], rtol=1e-3) and not np.allclose(past[0], none[0], rtol=1e-3)
    np.testing.assert_allclose(found[1], none[1], rtol=1e-3, atol=1e-3)


def test_members_are_in_order_and_do_not_depend_on_what_is_asked_beside(folder: Path) -> None:
    city = town()
    city["traffic"][10:20, 0, 0] = np.nan
    city["traffic"][:, 1, 2] = np.nan
    check_members(Chronos2(folder), city)
