"""ADAPTIVE: cells as mixtures of prototypes."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from made_networks import losses, newborn

from fomo.forecasters.rivals.adaptive import HARMONICS, Discriminator, Prototypes, harmonics
from fomo.forecasters.rivals.inputs import Inputs, make_inputs
from fomo.windows.batch import Batch


def test_harmonics_are_waves_of_the_hour_of_the_day_and_of_the_week(batch: Batch) -> None:
    found = harmonics(make_inputs(batch))
    hours = batch.start_hour[:, None] + batch.step_hours[:, None] * torch.arange(64)
    assert found.shape == (6, 64, 1 + 2 * sum(HARMONICS))
    torch.testing.assert_close(found[..., 0], torch.ones(6, 64))
    third = 2 * math.pi * 3 * hours / 24
    torch.testing.assert_close(found[..., 5], third.cos(), atol=1e-3, rtol=0)
    torch.testing.assert_close(found[..., 6], third.sin(), atol=1e-3, rtol=0)
    twice = 2 * math.pi * 2 * hours / 168
    torch.testing.assert_close(found[..., -1], twice.sin(), atol=1e-3, rtol=0)


def test_the_usual_traffic_is_that_of_the_mixture(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    torch.manual_seed(0)
    prototypes = Prototypes(8, 3)
    cells = torch.randn(6, 4, 4, 8)
    weights = prototypes.weights(cells)
    torch.testing.assert_close(weights.sum(-1), torch.ones(6, 4, 4))
    aligned, usual = prototypes(cells, inputs)
    waves = harmonics(inputs)
    by_hand = sum(weights[2, 1, 3, k] * (waves[2] @ prototypes.traffic[k]) for k in range(3))
    torch.testing.assert_close(usual[2, :, 1, 3], by_hand, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(aligned[2, 1, 3] - cells[2, 1, 3], weights[2, 1, 3] @ prototypes.value)


def test_a_cell_like_a_prototype_is_that_prototype(windows: tuple[Inputs, torch.Tensor]) -> None:
    prototypes = Prototypes(8, 3)
    with torch.no_grad():
        prototypes.query.weight[:] = torch.eye(8)
        prototypes.key[:] = 20 * torch.eye(8)[:3]
    cells = torch.eye(8)[[0, 1, 2, 0]].reshape(1, 2, 2, 8)
    assert prototypes.weights(cells).round(decimals=2).flatten(0, 2).tolist() == [
        [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]
    ]  # fmt: skip


def test_prototypes_learn_the_usual_traffic_of_the_cells(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, target = windows
    network = newborn("ADAPTIVE")
    _, rest = network.players()
    whole = torch.where(inputs.asked, target, inputs.value)
    known = inputs.asked | inputs.observed

    def missed() -> float:
        with torch.no_grad():
            return float((network.align(inputs).usual - whole).abs()[known].mean())

    first = missed()
    found = losses(rest, windows, 15, 1e-2)
    assert found[-1] < 0.8 * found[0]
    assert missed() < 0.9 * first


def test_a_discriminator_learns_to_tell_and_sees_only_asked_values(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, target = windows
    network = newborn("ADAPTIVE")
    judges, _ = network.players()
    found = losses(judges, windows, 30, 1e-2)
    assert found[-1] < 0.95 * found[0]
    for judge in network.eval().discriminators:
        other = torch.where(inputs.asked, target, target + 3.0)
        assert torch.equal(judge(other, inputs), judge(target, inputs))
        assert not torch.allclose(judge(target + 1.0, inputs), judge(target, inputs))


def test_the_coarse_discriminator_does_not_see_what_the_mean_of_four_steps_hides(
    windows: tuple[Inputs, torch.Tensor],
) -> None:
    inputs = replace(windows[0], asked=torch.ones_like(windows[0].asked))
    torch.manual_seed(0)
    fine, coarse = Discriminator(8, 1).eval(), Discriminator(8, 4).eval()
    series = windows[1]
    wiggle = torch.tensor([1.0, -1.0, 1.0, -1.0]).repeat(16)[:, None, None]
    torch.testing.assert_close(coarse(series + wiggle, inputs), coarse(series, inputs), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(fine(series + wiggle, inputs), fine(series, inputs), atol=1e-3)
