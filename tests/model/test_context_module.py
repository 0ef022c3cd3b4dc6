"""The context modules: nothing is said without context, and equations (12)-(13)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from fomo.diffusion.process import PROCESSES
from fomo.model.context import AT_BIRTH, LOG_OF_MANY, READ, DynamicPOI
from fomo.model.embeddings import calendar_features
from fomo.model.transformer import MaskedDiffusionTransformer, ModelConfig
from fomo.training.losses import losses
from fomo.training.recipe import LossConfig
from fomo.windows.batch import Batch, CellState
from fomo.windows.context import STATIC_LAYERS
from fomo.windows.context_observation import CONTEXT_GUESSES
from fomo.windows.observation import observe

LABEL = torch.tensor([0.3])
Network = Callable[..., MaskedDiffusionTransformer]


def said(network: MaskedDiffusionTransformer, batch: Batch) -> dict[str, Tensor]:
    """All that the network says of a batch: mean, log scale, and the denoised hidden cells of two members."""
    noised = torch.randn(len(batch.share), 2, *batch.share.shape[1:], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        condition = network.encode(batch, observe(batch))
        denoised = network.denoise(noised, LABEL, condition)
    return {"mean": condition.mean, "log_scale": condition.log_scale, "denoised": denoised}


def known_in(batch: Batch, rows: list[bool]) -> Batch:
    """The batch with the context of some of its windows only."""
    some = torch.tensor(rows)[:, None, None, None]
    context = batch.context.keep(some.expand_as(batch.share), some.expand_as(batch.context.static))
    return replace(batch, context=context)


def with_other_context_weights(network: MaskedDiffusionTransformer) -> MaskedDiffusionTransformer:
    with torch.no_grad():
        for weight in network.context.parameters():
            weight += torch.randn(weight.shape, generator=torch.Generator().manual_seed(7))
    return network


@pytest.fixture
def batch(random_batch, with_context) -> Batch:
    return with_context(random_batch(seed=2, batch=3, time=16))


@pytest.fixture
def network(small_network: Network) -> MaskedDiffusionTransformer:
    return small_network(context=True)


# ---------------------------------------------------------------- without context


@pytest.mark.parametrize("training", [False, True])
def test_a_window_without_context_is_told_the_same_whatever_the_weights_of_the_context_modules(
    batch, small_network: Network, training
):
    blind = known_in(batch, [False, False, False])
    one = said(small_network(context=True).train(training), blind)
    other = said(with_other_context_weights(small_network(context=True)).train(training), blind)
    bare = said(small_network(context=True).train(training), replace(batch, context=None))
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
        assert torch.equal(value, bare[name]), name


@pytest.mark.parametrize("training", [False, True])
def test_so_is_a_window_without_context_beside_one_that_has_it(batch, small_network: Network, training):
    beside = known_in(batch, [True, False, True])
    one = said(small_network(context=True).train(training), beside)
    other = said(with_other_context_weights(small_network(context=True)).train(training), beside)
    bare = said(small_network(context=True).train(training), replace(batch, context=None))
    for name, value in one.items():
        assert torch.equal(value[1], other[name][1]), name
        assert torch.equal(value[1], bare[name][1]), name
        assert not torch.allclose(value[0], other[name][0]), name


def test_known_context_is_listened_to_layer_by_layer(batch, network):
    before = said(network, batch)
    nothing = {
        "users": torch.zeros_like(batch.context.users_known),
        "static": torch.zeros_like(batch.context.static_known),
    }
    for left_out in nothing:
        keep = {name: torch.ones_like(part) for name, part in nothing.items()} | {left_out: nothing[left_out]}
        after = said(network, replace(batch, context=batch.context.keep(**keep)))
        for name in ("mean", "denoised"):
            assert not torch.allclose(before[name], after[name]), (left_out, name)


def test_values_that_are_not_known_never_influence_what_is_said(batch, network):
    context = batch.context
    changed = replace(
        context,
        users=torch.where(context.users_known, context.users, 7.0),
        static=torch.where(context.static_known, context.static, 7.0),
    )
    one, other = said(network, batch), said(network, replace(batch, context=changed))
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def test_windows_with_and_without_context_do_not_touch_each_other(batch, network):
    beside = known_in(batch, [True, False, True])
    together = said(network, beside)
    for row in range(3):
        noised = beside.rows(slice(row, row + 1))
        with torch.no_grad():
            alone = network.encode(noised, observe(noised))
        torch.testing.assert_close(together["mean"][row], alone.mean[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together["log_scale"][row], alone.log_scale[0], rtol=1e-4, atol=1e-5)


def test_a_network_without_context_modules_does_not_look_at_context(batch, small_network: Network):
    network, observation = small_network(), observe(batch)
    assert network.context is None
    with torch.no_grad():
        told = network.encode(batch, observation)
        bare = network.encode(replace(batch, context=None), replace(observation, context=None))
    assert torch.equal(told.mean, bare.mean)
    assert torch.equal(told.projected, bare.projected)
    with pytest.raises(ValueError, match="no context to align"):
        network.aligned_tokens(batch, observation)


def test_at_birth_context_moves_the_mean_towards_the_regression_on_users_else_to_poi(batch):
    torch.manual_seed(0)
    sizes = {"width": 32, "encoder_layers": 1, "denoiser_layers": 1, "heads": 2}
    network = MaskedDiffusionTransformer(ModelConfig(**sizes, context=True)).eval()
    state, users = batch.state.clone(), torch.ones_like(batch.observed)
    state[:, :, 0, 1], users[:, :, 0, 1] = CellState.HIDDEN, False  # of this cell only POI and residents are known
    static = torch.ones_like(batch.context.static_known)
    batch = replace(batch, state=state, context=batch.context.keep(users, static))
    observation = observe(batch)
    with torch.no_grad():
        blind = network.encode(replace(batch, context=None), replace(observation, context=None)).mean
        told = network.encode(batch, observation).mean
    expected, seen = blind.clone(), observation.context
    for name, weight in AT_BIRTH.items():
        at = CONTEXT_GUESSES.index(name)
        guess, known = seen.known[:, at], seen.is_known[:, at]
        assert {bool(k) for k in known.flatten()} == {True, False}, name
        expected += known * weight * (guess - blind)
    torch.testing.assert_close(told, expected)


# ---------------------------------------------------------------- (12) and (13)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def linear(layer: torch.nn.Linear, x: np.ndarray) -> np.ndarray:
    return layer.weight.detach().double().numpy() @ x + layer.bias.detach().double().numpy()


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_features_of_poi_are_equations_12_and_13_cell_by_cell(batch, layers):
    torch.manual_seed(1)
    poi = DynamicPOI(width=6, layers=layers, features=2)
    with torch.no_grad():
        found = poi(batch.context, batch)
    assert found.shape == (3, 2, 16, 4, 4)
    for row, t, y, x in [(0, 0, 0, 0), (1, 7, 2, 3), (2, 15, 3, 1), (2, 4, 0, 2)]:
        known = batch.context.static_known[row, :, y, x].double().numpy()
        counts = batch.context.static[row, :, y, x].double().numpy()
        assert known.any()
        given = np.concatenate([np.log1p(counts) * known / LOG_OF_MANY, known])
        hidden = sigmoid(linear(poi.static, given))  # (12)
        hours = (batch.start_hour[row] + (t + 0.5) * batch.step_hours[row]) % 168
        calendar = calendar_features(hours.reshape(1, 1), batch.step_hours[row : row + 1])[0, 0].double().numpy()
        first = linear(poi.time[0], calendar)
        tau = linear(poi.time[2], first * sigmoid(first))
        z = np.concatenate([hidden, tau])
        for layer in poi.fuse:  # (13)
            z = sigmoid(linear(layer, z))
        np.testing.assert_allclose(found[row, :, t, y, x].numpy(), z, rtol=1e-4, atol=1e-5)
    assert len(poi.fuse) == layers


def test_features_change_with_the_hour_and_are_zero_where_no_layer_is_known(batch):
    context = batch.context
    known = context.static_known.clone()
    known[:, :, 1, 2] = False
    context = context.keep(torch.ones_like(context.users_known), known)
    found = DynamicPOI(width=6, layers=2, features=3)(context, replace(batch, context=context))
    assert (found[:, :, :, 1, 2] == 0).all()
    anything = context.static_known.any(1)
    assert (found.permute(0, 3, 4, 1, 2)[anything] != 0).all()
    assert (found[:, :, 0] - found[:, :, 8]).abs().amax(1)[anything].min() > 0


# ---------------------------------------------------------------- learning


def test_every_weight_of_the_context_modules_learns(batch, network):
    network.train()
    everything = LossConfig(alignment=0.1, contrast=0.05, denoised_share=1.0)
    noise, uniform = torch.randn(batch.share.shape), torch.rand(3)
    losses(network, PROCESSES["residual"](), everything, batch, noise, uniform, torch.ones(3)).total.backward()
    unmoved = [
        name for name, weight in network.context.named_parameters() if weight.grad is None or not weight.grad.any()
    ]
    assert unmoved == []


def test_a_batch_of_windows_without_context_teaches_the_context_modules_nothing(batch, network):
    blind = known_in(batch, [False, False, False])
    noise, uniform = torch.randn(batch.share.shape), torch.rand(3)
    losses(
        network.train(), PROCESSES["residual"](), LossConfig(), blind, noise, uniform, torch.ones(3)
    ).total.backward()
    assert all(weight.grad is None or not weight.grad.any() for weight in network.context.parameters())
    assert network.head.last.weight.grad.any()


def test_aligned_blocks_are_observed_ones_of_which_some_context_is_known(random_batch, with_context, network):
    batch = with_context(random_batch(batch=2, time=16, missing=0.0, padding=0), users=0.0, static=0.0)
    batch.context.users_known[0, 5, 1, 2] = True  # the second block of time, upper right
    batch.context.static_known[1, len(STATIC_LAYERS) - 1, 3, 0] = True  # lower left, at all times: three are observed
    observation = observe(batch)
    traffic, context = network.aligned_tokens(batch, observation)
    assert traffic.shape == context.shape == (1 + 3, 32)
    assert context.requires_grad and not traffic.requires_grad
    few, _ = network.aligned_tokens(batch, observation, most=2)
    assert torch.equal(few, traffic[::2])


def test_the_modules_read_what_they_say_they_read(batch, network):
    layers = network.context.layers(batch, observe(batch).context)
    assert layers.shape[1] == READ + network.config.poi_features
