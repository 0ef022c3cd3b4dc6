"""TEMPO: the parts of a series, and what is tuned."""

from __future__ import annotations

import numpy as np
import torch
from made_networks import grown, newborn

from fomo.forecasters.rivals.inputs import Inputs
from fomo.forecasters.rivals.tempo import PRIOR, SEASON, TREND, decompose


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


def test_of_the_language_model_only_normalisations_and_low_rank_changes_are_tuned() -> None:
    tuned = {name for name, weight in newborn("TEMPO").backbone.named_parameters() if weight.requires_grad}
    assert not any(".layer." in name for name in tuned)
    assert {name.split(".")[-2] for name in tuned} == {"first", "second", "norm", "down", "up"}


def test_the_forecast_is_the_sum_of_its_parts(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    network = grown("TEMPO")
    whole = network.quantiles(inputs)
    with torch.no_grad():
        network.trend.bias += 0.25
        network.season.bias += 0.5
    assert torch.allclose(network.quantiles(inputs), whole + 0.75, atol=1e-5)
