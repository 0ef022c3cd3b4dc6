"""TiRex through its library, with tiny random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_tasks import check_members, town, window_task

from fomo.forecasters.rivals.series import series_of
from fomo.forecasters.rivals.tirex import TiRex

LEVELS = [i / 10 for i in range(1, 10)]


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
    check_members(TiRex(folder), city)
