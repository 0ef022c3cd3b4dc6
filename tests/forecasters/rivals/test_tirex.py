"""TiRex through its library, with tiny random weights."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_tasks import town, window_task

from fomo.forecasters.rivals.series import RivalUnavailable, series_of
from fomo.forecasters.rivals.tirex import TiRex

LEVELS = [i / 10 for i in range(1, 10)]


def test_without_weights_or_library_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOMO_TIREX", raising=False)
    with pytest.raises(RivalUnavailable, match=r"TiRex has no weights: put model.ckpt of NX-AI/TiRex .* FOMO_TIREX"):
        TiRex()
    (tmp_path / "model.ckpt").touch()
    monkeypatch.setitem(sys.modules, "tirex", None)
    with pytest.raises(RivalUnavailable, match=r"TiRex needs the library tirex.*fomo\[rivals\]"):
        TiRex(tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as the authors publish them, of a network of two blocks."""
    pytest.importorskip("tirex")
    from tirex import TiRexZero

    torch.manual_seed(0)
    settings = {
        "model_config": {
            "input_patch_size": 16,
            "output_patch_size": 16,
            "quantiles": LEVELS,
            "block_kwargs": {"num_blocks": 2, "embedding_dim": 32, "num_heads": 2, "ffn_proj_factor": 2.0},
            "input_ff_dim": 32,
        },
        "train_ctx_len": 256,
    }
    network = TiRexZero(backend="torch", **settings)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(0.2 * torch.randn_like(weight))  # some are born without values
    path = tmp_path_factory.mktemp("tirex")
    torch.save({"hyper_parameters": settings, "state_dict": network.state_dict()}, path / "model.ckpt")
    return path


def test_quantiles_are_those_of_the_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tirex import TiRexZero

    monkeypatch.setenv("FOMO_TIREX", str(folder))
    rival = TiRex()
    network = TiRexZero.from_pretrained(str(folder / "model.ckpt"), backend="torch", device="cpu")
    assert rival.levels == tuple(LEVELS)
    series = series_of(window_task(town(), 16, before=True), rival.days)
    found = rival.quantiles(series)
    assert found.shape == (6, 48, 9) and np.isfinite(found).all()
    for cell in range(6):
        direct, _ = network.forecast(torch.tensor(series.past[cell], dtype=torch.float32), prediction_length=48)
        np.testing.assert_allclose(found[cell], direct[0].numpy(), rtol=1e-3, atol=1e-3)


def test_it_says_nothing_while_it_loads(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TiRex(folder / "model.ckpt")
    assert capsys.readouterr().out == ""


def test_members_are_in_order_and_do_not_depend_on_what_is_asked_beside(folder: Path) -> None:
    city = town()
    city["traffic"][10:20, 0, 0] = np.nan
    city["traffic"][:, 1, 2] = np.nan
    rival = TiRex(folder)
    task = window_task(city)
    members = rival.forecast_tasks([task, window_task(city, 16)], 9, seed=0)[0].samples.values[:, 48:]
    assert np.isnan(members[..., 1, 2]).all()
    known = members.reshape(9, 16, 6)[..., :5]
    assert (np.diff(known, axis=0) >= 0).all() and (known >= 0).all() and known.std(0).max() > 0
    asked = task.asked.copy()
    asked[:, 0] = False
    fewer = rival.forecast_tasks([replace(task, asked=asked)], 9, seed=1)[0].samples.values[:, 48:]
    np.testing.assert_allclose(fewer[..., 1, :], members[..., 1, :], rtol=1e-3, atol=1e-3)
