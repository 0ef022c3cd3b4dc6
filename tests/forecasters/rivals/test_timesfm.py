"""TimesFM 2.5 through its library, with tiny random weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_tasks import check_members, town, window_task

from fomo.forecasters.rivals.series import series_of
from fomo.forecasters.rivals.timesfm import TimesFM


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Weights of a network of two narrow layers; while it is in use the library builds networks of that size."""
    pytest.importorskip("timesfm")
    from safetensors.torch import save_file
    from timesfm.timesfm_2p5.timesfm_2p5_torch import TimesFM_2p5_200M_torch_module as Network

    large = Network.config
    width = 32
    block = {"hidden_dims": width, "output_dims": width}
    layers = large.stacked_transformers
    small = replace(
        large,
        tokenizer=replace(large.tokenizer, **block),
        stacked_transformers=replace(
            layers,
            num_layers=2,
            transformer=replace(layers.transformer, model_dims=width, hidden_dims=width, num_heads=2),
        ),
        output_projection_point=replace(
            large.output_projection_point, input_dims=width, hidden_dims=width, output_dims=1280
        ),
        output_projection_quantiles=replace(large.output_projection_quantiles, input_dims=width, hidden_dims=width),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Network, "config", small)
        torch.manual_seed(0)
        network = Network()
        with torch.no_grad():
            for weight in network.parameters():
                weight.copy_(0.1 * torch.randn_like(weight))
        path = tmp_path_factory.mktemp("timesfm")
        save_file(network.state_dict(), path / "model.safetensors")
        yield path


def test_quantiles_are_those_of_the_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import timesfm

    monkeypatch.setenv("FOMO_TIMESFM", str(folder))
    rival = TimesFM()
    assert rival.levels == tuple(i / 10 for i in range(1, 10))
    series = series_of(window_task(town(), 16, before=True), rival.days)
    found = rival.quantiles(series)
    assert found.shape == (6, 48, 9) and np.isfinite(found).all()
    library = timesfm.TimesFM_2p5_200M_torch(torch_compile=False)
    library.load_checkpoint(str(folder))
    library.compile(
        timesfm.ForecastConfig(
            max_context=192,  # the 192 steps of the past: 176 before the window, 16 inside
            max_horizon=48,
            normalize_inputs=True,
            use_continuous_quantile_head=True,
            fix_quantile_crossing=True,
        )
    )
    assert series.past.shape[1] == 192
    for cell in range(6):
        _, direct = library.forecast(horizon=48, inputs=[series.past[cell]])
        np.testing.assert_allclose(found[cell], direct[0, :, 1:], rtol=1e-3, atol=1e-3)


def test_members_are_in_order_and_do_not_depend_on_what_is_asked_beside(folder: Path) -> None:
    city = town()
    city["traffic"][10:20, 0, 0] = np.nan
    city["traffic"][:, 1, 2] = np.nan
    # five series: the library fills the second batch up
    check_members(TimesFM(folder / "model.safetensors", batch=4), city)
