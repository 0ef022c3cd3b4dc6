"""TEMPO: the parts of a series, what is tuned, and what it may not know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fomo.forecasters.rivals.inputs import Inputs
from fomo.forecasters.rivals.language_model import random_backbone
from fomo.forecasters.rivals.tempo import PRIOR, SEASON, TREND, Tempo, decompose


@pytest.fixture
def network() -> Tempo:
    torch.manual_seed(0)
    network = Tempo(random_backbone(layers=1, width=16, heads=2, words=40), series=24).eval()
    for head in (network.trend, network.season, network.residual.linear):
        torch.nn.init.normal_(head.weight, std=0.1)
    return network


def test_the_parts_add_up_where_the_series_is_observed() -> None:
    torch.manual_seed(0)
    observed = torch.rand(6, 64) < 0.7
    value = torch.randn(6, 64) * observed
    trend, season, residual = decompose(value, observed, torch.tensor([0.25, 0.5, 0.5, 1.0, 1.0, 2.0]))
    assert torch.allclose((trend + season + residual)[observed], value[observed], atol=1e-6)
    assert not residual[~observed].any()
    assert trend.isfinite().all() and season.isfinite().all()


def test_the_parts_are_kernel_means_in_time_and_in_time_of_day() -> None:
    random = np.random.default_rng(0)
    observed = random.random(40) < 0.5
    value = random.normal(size=40) * observed
    hours = np.arange(40) * 1.0
    apart = hours[:, None] - hours[observed]
    near = np.exp(-0.5 * (apart / TREND) ** 2)
    trend = (near * value[observed]).sum(1) / near.sum(1)
    of_day = np.minimum(np.abs(apart) % 24, 24 - np.abs(apart) % 24)
    weight = np.exp(-0.5 * (of_day / SEASON) ** 2)
    season = (weight * (value - trend)[observed]).sum(1) / (weight.sum(1) + PRIOR)
    found = decompose(torch.tensor(value).float()[None], torch.tensor(observed)[None], torch.ones(1))
    assert np.allclose(found[0][0], trend, atol=1e-5)
    assert np.allclose(found[1][0], season, atol=1e-5)


def test_a_daily_rhythm_is_season_and_goes_on_where_nothing_is_observed() -> None:
    rhythm = torch.sin(2 * torch.pi * torch.arange(64) / 24)[None]
    observed = torch.arange(64)[None] < 48
    trend, season, _ = decompose(rhythm * observed, observed, torch.ones(1))
    assert torch.corrcoef(torch.cat([season[:, 48:], rhythm[:, 48:]]))[0, 1] > 0.95
    assert trend.std() < 0.5 * season.std()  # not less: at the edges half of the kernel is missing


def test_a_cell_of_which_nothing_is_observed_has_no_parts() -> None:
    parts = decompose(torch.zeros(1, 64), torch.zeros(1, 64, dtype=torch.bool), torch.ones(1))
    assert all(torch.equal(part, torch.zeros(1, 64)) for part in parts)


def test_training_lowers_the_loss_and_leaves_the_weights_of_the_language_model(
    network: Tempo, windows: tuple[Inputs, torch.Tensor]
) -> None:
    inputs, target = windows
    (player,) = network.players()
    before = {name: parameter.clone() for name, parameter in network.backbone.named_parameters()}
    optimiser = torch.optim.Adam(player.parameters, lr=3e-3)
    losses = []
    for _ in range(25):
        loss = player.loss(inputs, target, torch.Generator().manual_seed(0))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    changed = {name for name, now in network.backbone.named_parameters() if not torch.equal(now, before[name])}
    assert changed and not any(".layer." in name for name in changed)
    assert {name.split(".")[-2] for name in changed} == {"first", "second", "norm", "down", "up"}
    assert all(parameter.grad is not None for parameter in player.parameters)


def test_the_forecast_is_the_sum_of_its_parts(network: Tempo, windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    whole = network.quantiles(inputs)
    with torch.no_grad():
        network.trend.bias += 0.25
        network.season.bias += 0.5
    assert torch.allclose(network.quantiles(inputs), whole + 0.75, atol=1e-5)


def test_a_cell_knows_nothing_of_the_others(network: Tempo, windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    other = inputs.value.clone()
    other[:, :, 0, 0] += inputs.observed[:, :, 0, 0].to(other.dtype)
    before, after = network.quantiles(inputs), network.quantiles(replace(inputs, value=other))
    assert not torch.allclose(before[:, :, 0, 0], after[:, :, 0, 0])
    assert torch.allclose(before[:, :, 1:], after[:, :, 1:], atol=1e-6)


def test_known_users_change_the_answer(network: Tempo, windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    covariates = inputs.covariates.clone()
    covariates[:, 6] += 1.0
    before, after = network.quantiles(inputs), network.quantiles(replace(inputs, covariates=covariates))
    assert not torch.allclose(before, after)


def test_members_do_not_depend_on_the_batch(network: Tempo, windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    with torch.inference_mode():
        all_six = network.sample(inputs, 4, torch.Generator().manual_seed(1))
        first_two = network.sample(inputs.rows(slice(0, 2)), 4, torch.Generator().manual_seed(1))
    assert all_six.shape == (6, 4, 64, 4, 4)
    assert torch.allclose(all_six[:2], first_two, atol=1e-5)
    assert (all_six.diff(dim=1) >= 0).all()
