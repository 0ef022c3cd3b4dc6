"""Lag-Llama: lags, Student's t, and paths drawn with a cache."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch
from einops import rearrange
from made_networks import answers, grown

from fomo.forecasters.rivals.inputs import LARGEST, Inputs
from fomo.forecasters.rivals.lag_llama import LAGS, LagLlama, StudentT, as_series, rotated, turns
from fomo.forecasters.rivals.network import WindowNoise, uniform


@pytest.fixture
def network() -> LagLlama:
    """A small one, as if trained."""
    return grown("Lag-Llama")


def random_generator() -> WindowNoise:
    return WindowNoise(range(6))


def truth_of(inputs: Inputs, target: torch.Tensor) -> torch.Tensor:
    return torch.where(inputs.asked, target, inputs.value)


def test_density_is_that_of_scipy() -> None:
    value = torch.linspace(-3, 3, 13)
    found = StudentT(torch.tensor(3.5), torch.tensor(0.4), torch.tensor(0.7)).log_density(value)
    expected = scipy.stats.t.logpdf(value.numpy(), 3.5, 0.4, 0.7)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("freedom", [2.2, 6.0, 200.0])
def test_draws_follow_students_t(freedom: float) -> None:
    radius, angle = 1 - torch.rand((2, 20_000), generator=random_generator())
    drawn = StudentT(torch.tensor(freedom), torch.tensor(-1.0), torch.tensor(0.5)).draw(radius, angle)
    assert scipy.stats.kstest(drawn.numpy(), scipy.stats.t(freedom, -1.0, 0.5).cdf).pvalue > 0.01


def test_the_opposite_sign_mirrors_a_draw() -> None:
    radius, angle = 1 - torch.rand((2, 100), generator=random_generator())
    student = StudentT(torch.tensor(4.0), torch.tensor(0.3), torch.tensor(0.5))
    both = student.draw(radius, angle) + student.draw(radius, angle, -1.0)
    assert torch.allclose(both, torch.tensor(0.6), atol=1e-5)


def test_lags_are_the_values_before(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, target = windows
    inputs = replace(inputs, step_hours=torch.full_like(inputs.step_hours, 0.5))  # a day is 48 steps
    series = as_series(inputs, truth_of(inputs, target))
    lagged = series.lagged(slice(None))
    for step in (0, 1, 13, 47, 48, 63):
        for column, lag in enumerate((*LAGS, 48)):
            known = series.known[:, step - lag] if step >= lag else torch.zeros(len(series.value), dtype=torch.bool)
            assert torch.equal(lagged[:, step, len(LAGS) + 1 + column], known.float())
            expected = torch.where(known, series.value[:, step - lag], 0.0) if step >= lag else torch.zeros(len(known))
            assert torch.equal(lagged[:, step, column], expected)


def test_a_day_outside_the_window_is_not_known(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    series = as_series(replace(inputs, step_hours=torch.full_like(inputs.step_hours, 0.25)), inputs.value)
    assert not series.lagged(slice(None))[..., -1].any()


def test_rotary_products_depend_on_distance_alone() -> None:
    q, k = torch.randn(2, 1, 1, 1, 8, generator=random_generator())
    turn = turns(torch.arange(30), 8)
    near = (rotated(q, turn[5:6]) * rotated(k, turn[2:3])).sum()
    far = (rotated(q, turn[25:26]) * rotated(k, turn[22:23])).sum()
    assert torch.isclose(near, far, atol=1e-5)
    assert not torch.isclose(near, (rotated(q, turn[25:26]) * rotated(k, turn[2:3])).sum())


def test_the_next_value_is_told_from_the_past_alone(network: LagLlama, windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, target = windows
    values = truth_of(inputs, target)
    later = values.clone()
    later[:, 30:] += 1.0
    before, after = (network.distribution(as_series(inputs, v), slice(None)).place for v in (values, later))
    assert torch.equal(before[:, :31], after[:, :31])
    assert not torch.allclose(before[:, 31:], after[:, 31:])


def test_paths_are_what_the_whole_window_would_give(network: LagLlama, windows: tuple[Inputs, torch.Tensor]) -> None:
    """Without a cache: the distribution at each step, from a run over the whole drawn path, gives its value."""
    inputs, _ = windows
    drawn = answers(network, inputs)
    with torch.inference_mode():
        noise = 1 - uniform(random_generator(), 6, 2, 2, *inputs.value.shape[1:])
        noise = rearrange(noise, "b two pair t y x -> two pair (b y x) t")
        for member, (pair, sign) in enumerate(((0, 1.0), (0, -1.0), (1, 1.0))):
            found = network.distribution(as_series(inputs, drawn[:, member]), slice(None))
            radius, angle = noise[:, pair]
            value = found.draw(radius, angle, sign).view(6, 4, 4, 64).permute(0, 3, 1, 2)
            low = -inputs.level[:, None]
            value = value.clamp(low, low + LARGEST)
            assert torch.allclose(value[inputs.asked], drawn[:, member][inputs.asked], atol=2e-3)
            assert torch.equal(drawn[:, member][~inputs.asked], inputs.value[~inputs.asked])


def test_values_that_are_asked_are_not_read(network: LagLlama, windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, target = windows
    honest = answers(network, inputs, 2)
    told = answers(network, replace(inputs, value=truth_of(inputs, target)), 2)
    asked = inputs.asked[:, None].expand_as(honest)
    assert torch.equal(honest[asked], told[asked])
