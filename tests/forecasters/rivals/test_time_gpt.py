"""TimeGPT: convolutions in place of feed-forward layers, a history that is read and steps that are asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from einops import rearrange

from fomo.forecasters.rivals.inputs import Inputs
from fomo.forecasters.rivals.time_gpt import Convolution, TimeGPT


@pytest.fixture
def network() -> TimeGPT:
    """A small one whose head is not zero."""
    torch.manual_seed(0)
    network = TimeGPT(width=16, encoder=1, decoder=1, heads=2).eval()
    torch.nn.init.normal_(network.head.linear.weight, std=0.1)
    return network


def test_the_convolution_is_that_of_torch() -> None:
    layer, x = Convolution(6, kernel=3), torch.randn(5, 9, 6)
    weight = rearrange(layer.inner.weight, "out (kernel width) -> out width kernel", kernel=3)
    inner = torch.nn.functional.conv1d(x.transpose(1, 2), weight, layer.inner.bias, padding="same").transpose(1, 2)
    assert torch.allclose(layer(x), layer.outer(torch.nn.functional.gelu(inner)), atol=1e-5)


def test_a_cell_knows_nothing_of_the_others(network: TimeGPT, windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    other = inputs.value.clone()
    other[:, :, 0, 0] += 1.0
    before, after = network.quantiles(inputs), network.quantiles(replace(inputs, value=other))
    assert not torch.allclose(before[:, :, 0, 0], after[:, :, 0, 0])
    assert torch.equal(before[:, :, 1:], after[:, :, 1:])


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


def test_a_cell_without_history_is_answered_from_context(
    network: TimeGPT, windows: tuple[Inputs, torch.Tensor]
) -> None:
    inputs, _ = windows
    nothing = torch.zeros_like(inputs.observed)
    empty = replace(inputs, value=torch.zeros_like(inputs.value), observed=nothing, asked=~nothing)
    before = network.quantiles(empty)
    assert before.isfinite().all()
    after = network.quantiles(replace(empty, covariates=empty.covariates + 0.5))
    assert not torch.allclose(before, after, atol=1e-4)


def test_answers_do_not_depend_on_the_batch(network: TimeGPT, windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    with torch.inference_mode():
        some = network.sample(inputs.rows(slice(0, 2)), 4, torch.Generator())
        whole = network.sample(inputs, 4, torch.Generator())
    assert some.shape == (2, 4, 64, 4, 4)
    assert torch.allclose(some, whole[:2], atol=1e-5)


def test_a_few_steps_lower_the_loss(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, target = windows
    torch.manual_seed(0)
    network = TimeGPT(width=16, encoder=1, decoder=1, heads=2)
    player = network.players()[0]
    losses = []
    for _ in range(15):
        loss = player.loss(inputs, target, torch.Generator())
        gradients = torch.autograd.grad(loss, list(player.parameters))
        with torch.no_grad():
            for parameter, gradient in zip(player.parameters, gradients, strict=True):
                parameter -= 1.0 * gradient
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
