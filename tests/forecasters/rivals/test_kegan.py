"""keGAN: patterns by the hour, steps that add up, and critics with a slope of 1."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from made_networks import answers, grown, losses, newborn

from fomo.forecasters.rivals.adversarial import Noise
from fomo.forecasters.rivals.inputs import CALENDAR, Inputs
from fomo.forecasters.rivals.kegan import DAY, WEEK, Patterns, slope, slots_at


@pytest.fixture
def timed(windows: tuple[Inputs, torch.Tensor]) -> Inputs:
    """One window that starts at half past 22 on the last day of the week, in steps of half an hour."""
    inputs = windows[0].rows(slice(0, 1))
    hours = 6 * 24 + 22.5 + 0.5 * torch.arange(64)
    angles = [2 * math.pi * hours / period for period in (24, 168)]
    covariates = inputs.covariates.clone()
    for channel, wave in enumerate(wave for angle in angles for wave in (angle.sin(), angle.cos())):
        covariates[0, channel] = wave[:, None, None]
    assert channel + 1 == CALENDAR
    return replace(inputs, covariates=covariates)


def test_a_step_between_two_hours_is_half_of_each(timed: Inputs) -> None:
    day, week = slots_at(timed, DAY)[0], slots_at(timed, WEEK)[0]
    expected = torch.zeros(4, DAY)
    expected[0, 22] = expected[0, 23] = expected[2, 23] = expected[2, 0] = 0.5
    expected[1, 23] = expected[3, 0] = 1.0
    torch.testing.assert_close(day[:4], expected, atol=1e-4, rtol=0)
    assert week.sum(1).tolist() == pytest.approx([1.0] * 64, abs=1e-4)
    assert week[1, 167] == pytest.approx(1.0, abs=1e-4) and week[3, 0] == pytest.approx(1.0, abs=1e-4)
    assert week[5].argmax() == 1


def test_a_pattern_is_read_at_the_hours_of_the_window(timed: Inputs) -> None:
    patterns = Patterns(2, DAY, 1)
    with torch.no_grad():
        patterns.patterns[:, 0] = torch.arange(24.0)
        patterns.mix.weight[:] = torch.tensor([[2.0, 0.0]])
        patterns.mix.bias[:] = 1.0
    cells = torch.zeros(1, 1, 4, 4, 2)
    cells[0, 0, 1, 2, 0] = 1.0
    found = patterns(cells, timed)[0, 0]
    # Between 23 and 0 o'clock the pattern is their mean.
    assert found[:4, 0, 0].tolist() == pytest.approx([22.5, 23.0, 11.5, 0.0], abs=1e-3)
    torch.testing.assert_close(found[:, 1, 2], 3 * found[:, 0, 0])


def test_the_steps_add_up(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    network = newborn("keGAN")
    torch.nn.init.zeros_(network.weekly.patterns)
    daily, weekly, whole = network.generate(inputs, Noise.draw(1, 2, 16, 4, 4, torch.Generator().manual_seed(0)))
    assert torch.equal(daily, weekly)
    assert not torch.allclose(weekly, whole)
    last = network.residual.outer[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    _, weekly, whole = network.generate(inputs, Noise.draw(1, 2, 16, 4, 4, torch.Generator().manual_seed(0)))
    assert torch.equal(weekly, whole)


def test_the_slope_of_a_linear_critic_is_the_length_of_its_weights() -> None:
    weights = torch.tensor([3.0, 0.0, -4.0])
    series = torch.randn(2, 3, 2, 2).requires_grad_()
    cells = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    opinion = (cells * (series * weights[:, None, None]).sum(1, keepdim=True)).expand(2, 3, 2, 2)
    torch.testing.assert_close(slope(opinion, series), (5 * cells).expand(2, 1, 2, 2))


def test_trained_critics_tell_real_from_made_at_a_slope_of_about_1(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, target = windows
    network = newborn("keGAN")
    critics, _ = network.players()
    found = losses(critics, windows, 15, 2e-2, fresh_noise=True)
    assert found[-1] < found[0] / 3
    series = torch.where(inputs.asked, target, inputs.value).requires_grad_()
    for critic in network.critics:
        steep = slope(critic(series, inputs), series)[:, 0][inputs.asked.any(1)]
        assert 0.5 < float(steep.detach().mean()) < 1.5


def test_a_cell_of_which_nothing_is_observed_hears_its_neighbours(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs = windows[0].rows(slice(0, 1))
    observed = torch.ones_like(inputs.observed)
    observed[:, :, 0, 0] = False
    inputs = replace(
        inputs,
        observed=observed,
        asked=~observed,
        covered=torch.ones_like(inputs.covered),
        static_known=torch.zeros_like(inputs.static_known),  # so that no cells are similar
    )
    near, far = inputs.value.clone(), inputs.value.clone()
    near[:, 10, 1, 1] += 1.0
    far[:, 10, 3, 3] += 1.0
    network = grown("keGAN")
    before, after_near, after_far = (
        answers(network, replace(inputs, value=value))[..., 0, 0] for value in (inputs.value, near, far)
    )
    assert not torch.allclose(after_near, before)
    torch.testing.assert_close(after_far, before)
