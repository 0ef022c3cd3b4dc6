"""TabPFN-TS through its library, with tiny random weights, and with the published ones where FOMO_TABPFN names them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_tasks import check_members, town, window_task

from fomo.forecasters.rivals.series import series_of
from fomo.forecasters.rivals.tabpfn_ts import CHECKPOINT, TabPFNTS, time_features


def test_the_index_and_the_week_are_features_only_of_a_past_that_is_long_enough() -> None:
    time = np.datetime64("2024-03-06T05:00") + np.timedelta64(30, "m") * np.arange(500)
    day, two, week = (time_features(time, hours) for hours in (24.0, 48.0, 168.0))
    assert (day.shape[1], two.shape[1], week.shape[1]) == (3, 4, 6)
    np.testing.assert_allclose(day[48:], day[:-48], atol=1e-9)  # the same at the same time of day
    assert not np.allclose(day[24:], day[:-24], atol=1e-3)
    np.testing.assert_allclose(day[0], [5.0, np.sin(2 * np.pi * 5 / 24), np.cos(2 * np.pi * 5 / 24)], atol=1e-9)
    np.testing.assert_array_equal(two[:, -1], np.arange(500))
    np.testing.assert_allclose(week[336:, :-1], week[:-336, :-1], atol=1e-9)
    assert not np.allclose(week[48:, :-1], week[:-48, :-1], atol=1e-3)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as the authors publish them, of a network of two narrow layers."""
    pytest.importorskip("tabpfn")
    from tabpfn.architectures.base import get_architecture
    from tabpfn.architectures.base.bar_distribution import FullSupportBarDistribution
    from tabpfn.architectures.base.config import ModelConfig

    config = {"emsize": 24, "nhead": 2, "nlayers": 2, "features_per_group": 2, "max_num_classes": 0, "num_buckets": 30}
    torch.manual_seed(0)
    network = get_architecture(ModelConfig(**config), n_out=30, cache_trainset_representation=False)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(0.2 * torch.randn_like(weight))
    bars = FullSupportBarDistribution(torch.linspace(-3.0, 3.0, 31))
    state = network.state_dict() | {f"criterion.{name}": value for name, value in bars.state_dict().items()}
    path = tmp_path_factory.mktemp("tabpfn") / CHECKPOINT
    torch.save({"config": config, "state_dict": state}, path)
    return path


def direct(checkpoint: Path, table: np.ndarray, past: np.ndarray, rival: TabPFNTS) -> np.ndarray:
    from tabpfn import TabPFNRegressor

    regressor = TabPFNRegressor(n_estimators=rival.estimators, model_path=str(checkpoint), device="cpu", random_state=0)
    seen = np.isfinite(past)
    regressor.fit(table[: len(past)][seen], past[seen])
    found = regressor.predict(table[len(past) :], output_type="quantiles", quantiles=list(rival.levels))
    return np.stack(found, -1)


def test_quantiles_are_those_of_the_library(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOMO_TABPFN", str(checkpoint.parent))
    rival = TabPFNTS(estimators=2)
    city = town()
    city["traffic"][-60:-50, 0, 1] = np.nan
    city["users"][:, 0, 0] = np.nan
    series = series_of(window_task(city, context="full"))
    found = rival.quantiles(series)
    assert found.shape == (6, 16, 20) and np.isfinite(found).all()
    shared = time_features(series.time, 48.0)
    for cell in (0, 1):
        table = shared if cell == 0 else np.concatenate([shared, series.users[cell][:, None]], 1)
        np.testing.assert_allclose(found[cell], direct(checkpoint, table, series.past[cell], rival), rtol=1e-3)


def test_members_are_in_order_and_do_not_depend_on_what_is_asked_beside(checkpoint: Path) -> None:
    city = town()
    city["traffic"][:, 1, 2] = np.nan
    city["traffic"][:, 0, 2] = 7.0
    members = check_members(TabPFNTS(checkpoint, estimators=1), city, rtol=1e-4, atol=0.0)
    np.testing.assert_allclose(members[..., 0, 2], 7.0, rtol=1e-6)


def test_the_published_weights_know_a_rhythm() -> None:
    pytest.importorskip("tabpfn")
    if not os.environ.get("FOMO_TABPFN"):
        pytest.skip("no weights of TabPFN: set FOMO_TABPFN")
    city = town()
    task = window_task(city)
    asked = task.asked.copy()
    asked[:, :, 1:] = False
    members = TabPFNTS(estimators=1).forecast_tasks([replace(task, asked=asked)], 20, seed=0)[0].samples.values
    truth = city["traffic"].values[-16:, :, 0]
    point = members.mean(0)[48:, :, 0]
    mean = task.window["traffic"].values[:48, :, 0].mean(0)
    assert np.abs(point - truth).mean() < 0.6 * np.abs(mean - truth).mean()
