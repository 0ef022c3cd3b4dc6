"""TimeGPT: convolutions in place of feed-forward layers, a history that is read and steps that are asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from einops import rearrange
from made_networks import grown

from fomo.forecasters.rivals.inputs import Inputs
from fomo.forecasters.rivals.time_gpt import Convolution, TimeGPT


@pytest.fixture
def network() -> TimeGPT:
    """A small one, as if trained."""
    return grown("TimeGPT")


def test_the_convolution_is_that_of_torch() -> None:
    layer, x = Convolution(6, kernel=3), torch.randn(5, 9, 6)
    weight = rearrange(layer.inner.weight, "out (kernel width) -> out width kernel", kernel=3)
    inner = torch.nn.functional.conv1d(x.transpose(1, 2), weight, layer.inner.bias, padding="same").transpose(1, 2)
    assert torch.allclose(layer(x), layer.outer(torch.nn.functional.gelu(inner)), atol=1e-5)


def test_the_encoder_reads_history_and_nothing_else(network: TimeGPT, windows: tuple[Inputs, torch.Tensor]) -> None:
    """What is known of asked steps reaches the answer by the decoder alone."""
    inputs, _ = windows
    seen: list[torch.Tensor] = []
    network.between.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    hidden = ~rearrange(inputs.observed, "b (p s) y x -> b p s y x", s=4).any(2)
    other = replace(inputs, covariates=inputs.covariates + hidden.repeat_interleave(4, 1)[:, None])
    before, after = network.quantiles(inputs), network.quantiles(other)
    history = rearrange(~hidden, "b p y x -> (b y x) p")
    assert torch.allclose(seen[0][history], seen[1][history], atol=1e-6)
    assert not torch.allclose(before[inputs.asked], after[inputs.asked], atol=1e-4)
