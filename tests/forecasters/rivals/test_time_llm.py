"""Time-LLM: what the prompt says, patches in words, and what it may not know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fomo.forecasters.rivals.inputs import Inputs
from fomo.forecasters.rivals.language_model import random_backbone
from fomo.forecasters.rivals.time_llm import Reprogramming, TimeLLM, statistics, top_lags


@pytest.fixture
def network() -> TimeLLM:
    torch.manual_seed(0)
    backbone = random_backbone(layers=1, width=16, heads=2, words=40)
    network = TimeLLM(backbone, width=16, heads=2, prototypes=8, series=24).eval()
    torch.nn.init.normal_(network.head.linear.weight, std=0.1)
    return network


def test_the_numbers_of_the_prompt_are_those_of_the_observed_values() -> None:
    random = np.random.default_rng(0)
    value = torch.from_numpy(random.normal(size=(5, 20))).float()
    observed = torch.from_numpy(random.random((5, 20)) < 0.6)
    observed[3] = False
    observed[4] = torch.arange(20) == 7
    value = value * observed
    found = statistics(value, observed)
    for row, seen, said in zip(value, observed, found, strict=True):
        known = row[seen]
        if len(known) == 0:
            assert torch.equal(said, torch.zeros(5))
            continue
        expected = [known.min(), known.max(), known.median(), known[-1] - known[0], seen.float().mean()]
        assert torch.allclose(said, torch.stack(expected))


def test_the_lags_are_those_of_the_greatest_autocorrelation() -> None:
    random = np.random.default_rng(1)
    value = torch.from_numpy(random.normal(size=(4, 40))).float()
    observed = torch.ones(4, 40, dtype=torch.bool)
    observed[1, 10:18] = False
    value = value * observed
    found = top_lags(value, observed, 20)
    for row, seen, named in zip(value.numpy(), observed.numpy(), found, strict=True):
        product = np.correlate(row, row, "full")[40:60]
        pairs = np.correlate(seen.astype(float), seen.astype(float), "full")[40:60]
        assert set(named.nonzero()[:, 0].tolist()) == set(np.argsort(product / pairs)[-5:].tolist())


def test_a_daily_rhythm_is_among_the_lags_and_silence_has_none() -> None:
    value = torch.sin(2 * torch.pi * torch.arange(64) / 24).repeat(2, 1)
    observed = torch.tensor([[True] * 64, [False] * 64])
    found = top_lags(value * observed, observed, 32)
    assert found[0, 23]  # lags count from 1
    assert not found[1].any()


def test_a_patch_becomes_a_weighted_mean_of_prototypes() -> None:
    torch.manual_seed(0)
    layer = Reprogramming(width=6, heads=2, words=10, language=4, prototypes=5)
    words, patches = torch.randn(10, 4), torch.randn(3, 2, 6)
    prototypes = layer.mixture.weight @ words
    heads = []
    for head in range(2):
        part = slice(3 * head, 3 * head + 3)
        fit = layer.query(patches)[..., part] @ layer.key(prototypes)[:, part].T / 3**0.5
        heads.append(fit.softmax(-1) @ layer.value(prototypes)[:, part])
    assert torch.allclose(layer(patches, words), layer.outer(torch.cat(heads, -1)), atol=1e-6)


def test_training_lowers_the_loss_and_leaves_the_language_model(
    network: TimeLLM, windows: tuple[Inputs, torch.Tensor]
) -> None:
    inputs, target = windows
    (player,) = network.players()
    frozen = [parameter.clone() for parameter in network.backbone.parameters()]
    optimiser = torch.optim.Adam(player.parameters, lr=3e-3)
    losses = []
    for _ in range(25):
        loss = player.loss(inputs, target, torch.Generator().manual_seed(0))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    assert all(torch.equal(old, new) for old, new in zip(frozen, network.backbone.parameters(), strict=True))
    assert all(parameter.grad is not None for parameter in player.parameters)


def test_a_cell_knows_nothing_of_the_others(network: TimeLLM, windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    other = inputs.value.clone()
    other[:, :, 0, 0] += 1.0
    before, after = network.quantiles(inputs), network.quantiles(replace(inputs, value=other))
    assert not torch.allclose(before[:, :, 0, 0], after[:, :, 0, 0])
    assert torch.allclose(before[:, :, 1:], after[:, :, 1:], atol=1e-6)


def test_known_users_change_the_answer(network: TimeLLM, windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    covariates = inputs.covariates.clone()
    covariates[:, 6] += 1.0
    before, after = network.quantiles(inputs), network.quantiles(replace(inputs, covariates=covariates))
    assert not torch.allclose(before, after)


def test_what_is_hidden_is_not_read(network: TimeLLM, windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    assert not inputs.value[~inputs.observed].any()
    value, observed = torch.randn(3, 64), torch.rand(3, 64) < 0.5
    hidden = torch.where(observed, value, 0.0)
    assert torch.equal(statistics(hidden, observed), statistics(torch.where(observed, value, 9.0), observed))


def test_members_do_not_depend_on_the_batch(network: TimeLLM, windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    with torch.inference_mode():
        all_six = network.sample(inputs, 4, torch.Generator().manual_seed(1))
        first_two = network.sample(inputs.rows(slice(0, 2)), 4, torch.Generator().manual_seed(1))
    assert all_six.shape == (6, 4, 64, 4, 4)
    assert torch.allclose(all_six[:2], first_two, atol=1e-5)
    assert (all_six.diff(dim=1) >= 0).all()
