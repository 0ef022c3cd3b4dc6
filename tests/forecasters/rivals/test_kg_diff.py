"""KG-Diff: the seasonal part, the frequencies, and what the network may read."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from made_networks import answers, grown

from fomo.forecasters.rivals.inputs import COVARIATES, Inputs
from fomo.forecasters.rivals.kg_diff import FrequencyAttention, decompose, fourier, harmonics
from fomo.windows.context import ALL_POI

Windows = tuple[Inputs, torch.Tensor]
LAST_WEEK, LAST_WEEK_KNOWN = COVARIATES.index("last week"), COVARIATES.index("last week known")


def observed_up_to(inputs: Inputs, value: torch.Tensor, steps: int, last_week: bool = False) -> Inputs:
    """The windows with other traffic, observed in their first steps; last week is not known, or was the same."""
    observed = torch.zeros_like(inputs.observed)
    observed[:, :steps] = True
    covariates = inputs.covariates.clone()
    covariates[:, LAST_WEEK] = value if last_week else 0
    covariates[:, LAST_WEEK_KNOWN] = float(last_week)
    return replace(inputs, value=value * observed, observed=observed, asked=~observed, covariates=covariates)


def daily(inputs: Inputs) -> torch.Tensor:
    """A wave of the day and one of half a day, larger in some cells than in others."""
    sine, cosine = inputs.covariates[:, 0], inputs.covariates[:, 1]
    size = 1 + 0.1 * torch.arange(16).view(4, 4)
    return size * (0.5 * sine + 0.3 * (cosine.square() - sine.square()))


def test_the_parts_add_up_to_what_is_observed(windows: Windows) -> None:
    inputs, _ = windows
    parts = decompose(inputs)
    assert torch.allclose((parts.season + parts.rest)[inputs.observed], inputs.value[inputs.observed], atol=1e-6)
    assert not parts.rest[~inputs.observed].any()


def test_the_season_is_ridge_regression_for_all_cells_and_then_for_each(windows: Windows) -> None:
    """By least squares with rows of zeros that hold each coefficient."""
    inputs, _ = windows
    inputs = observed_up_to(inputs, inputs.value, 40)
    basis, penalty = (part.double().numpy() for part in harmonics(inputs))
    value, held = inputs.value.double().numpy(), np.diag(np.sqrt(penalty))
    nothing = np.zeros(len(penalty))

    def fit(rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        return np.linalg.lstsq(np.vstack([rows, held]), np.concatenate([wanted, nothing]), rcond=None)[0]

    window, y, x = 2, 1, 3
    rows, wanted = basis[window, :40].reshape(-1, len(penalty)), value[window, :40].reshape(-1)
    common = fit(rows, wanted)
    cell = basis[window, :40, y, x]
    own = common + fit(cell, value[window, :40, y, x] - cell @ common)
    expected = basis[window, :, y, x] @ own
    assert decompose(inputs).season[window, :, y, x].numpy() == pytest.approx(expected, abs=1e-3)


def test_a_daily_rhythm_goes_on_into_the_hidden_days(windows: Windows) -> None:
    inputs, _ = windows
    truth = daily(inputs)
    season = decompose(observed_up_to(inputs, truth, 48)).season
    error = (season - truth)[:, 48:].square().mean().sqrt() / truth.std()
    assert error < 0.1


def test_cells_without_history_have_the_season_of_the_others(windows: Windows) -> None:
    inputs, _ = windows
    seen = observed_up_to(inputs, daily(inputs), 64)
    observed = seen.observed.clone()
    observed[:, :, 0, 0] = False
    season = decompose(replace(seen, observed=observed, value=seen.value * observed)).season
    others = season.flatten(2)[..., 1:].mean(-1)
    assert torch.nn.functional.cosine_similarity(season[:, :, 0, 0], others, dim=1).min() > 0.99


def test_last_week_tells_the_season_of_a_window_without_history(windows: Windows) -> None:
    inputs, _ = windows
    truth = daily(inputs)
    told, untold = (decompose(observed_up_to(inputs, truth, 0, last_week)) for last_week in (True, False))
    assert not untold.season.any() and torch.allclose(untold.doubt, torch.ones(()))
    assert (told.season - truth).square().mean().sqrt() < 0.15 * truth.std()
    assert told.doubt.max() < 0.9


def test_doubt_falls_with_what_is_observed(windows: Windows) -> None:
    inputs, _ = windows
    doubts = [decompose(observed_up_to(inputs, daily(inputs), steps)).doubt for steps in (0, 16, 48, 64)]
    assert all(bool((few + 1e-5 >= many).all()) for few, many in pairwise(doubts))
    assert doubts[-1].min() > 0 and doubts[-1].max() < 0.5


@pytest.mark.parametrize("length", [16, 5])
def test_the_spectrum_is_that_of_the_fast_transform_and_leads_back(length: int) -> None:
    series = torch.randn(length, 3, generator=torch.Generator().manual_seed(0))
    to, back = fourier(length)
    cosines, sines = (to @ series).chunk(2)
    expected = torch.fft.rfft(series, dim=0, norm="ortho")
    assert torch.allclose(cosines, expected.real, atol=1e-5) and torch.allclose(sines, -expected.imag, atol=1e-5)
    assert torch.allclose(back @ to @ series, series, atol=1e-5)


def test_a_graph_that_asks_for_nothing_lets_every_frequency_pass() -> None:
    torch.manual_seed(0)
    attention = FrequencyAttention(8, 2)
    x = torch.randn(2, 3, 16, 8)
    assert torch.allclose(attention(x, torch.zeros(2, 3, 8)), attention.outer(x), atol=1e-5)


def test_the_frequency_that_the_graph_asks_for_passes_wherever_it_peaks() -> None:
    torch.manual_seed(0)
    attention = FrequencyAttention(8, 2)
    torch.nn.init.eye_(attention.key.weight)
    torch.nn.init.eye_(attention.outer.weight)
    torch.nn.init.zeros_(attention.outer.bias)
    step = torch.arange(16)
    slow, fast = (torch.cos(2 * torch.pi * times * step / 16)[:, None] for times in (1, 5))
    # The slow wave is in the direction of the query, the fast one across it.
    along, across = torch.eye(8)[[0, 4]].sum(0), torch.eye(8)[[1, 5]].sum(0)
    x = (slow * along + fast * across)[None, None]
    query = 4 * along.view(1, 1, 8)
    found = attention(x, query)
    passed = found[0, 0, 0, 0] / x[0, 0, 0, 0], found[0, 0, 0, 1] / x[0, 0, 0, 1]
    assert passed[0] > 5 and passed[1] < 0.6
    assert torch.allclose(attention(x.roll(3, 2), query), found.roll(3, 2), atol=1e-4)


def test_the_graph_is_read_through_every_layer(windows: Windows) -> None:
    inputs, _ = windows
    network = grown("KG-Diff")
    static, known = inputs.static.clone(), torch.ones_like(inputs.static_known)
    before = replace(inputs, static_known=known)
    static[:, :ALL_POI, 2, 2] += 2.0
    after = replace(before, static=static)
    for one, other in zip(network.condition(before).queries, network.condition(after).queries, strict=True):
        assert not torch.allclose(one[:, 10], other[:, 10])
    assert not torch.allclose(answers(network, before), answers(network, after))
