"""CSDI: what the network may read, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fomo.forecasters.rivals.csdi import CSDI
from fomo.forecasters.rivals.inputs import Inputs, make_inputs
from fomo.forecasters.rivals.network import WindowNoise, asked_mean
from fomo.forecasters.rivals.noising import SPREAD
from fomo.forecasters.rivals.training import FitConfig, draw_batch
from fomo.windows.sample import TrainingSet

Windows = tuple[Inputs, torch.Tensor]


@pytest.fixture
def network() -> CSDI:
    """A small one whose last layer is not zero, as if trained."""
    torch.manual_seed(0)
    network = CSDI(width=16, layers=2, heads=2, steps=4).eval()
    torch.nn.init.normal_(network.head[-1].weight, std=0.2)
    return network


def drawn(network: CSDI, inputs: Inputs, samples: int = 3) -> torch.Tensor:
    with torch.inference_mode():
        return network.sample(inputs, samples, WindowNoise(range(len(inputs.level))))


def test_the_loss_of_no_velocity_is_its_mean_square(windows: Windows) -> None:
    """v = sqrt(a) eps - sqrt(1 - a) x_0 has the mean square a + (1 - a) E[x_0^2], levels alike."""
    inputs, target = windows
    network = CSDI(width=16, layers=1, heads=2)
    (player,) = network.players()
    losses = [player.loss(inputs, target, torch.Generator().manual_seed(seed)).item() for seed in range(40)]
    kept = network.noising.kept[1:].mean().item()
    clean = asked_mean((target / SPREAD).square(), inputs).item()
    assert sum(losses) / 40 == pytest.approx(kept + (1 - kept) * clean, rel=0.15)


def test_a_few_steps_lower_the_loss(windows: Windows) -> None:
    torch.manual_seed(0)
    network = CSDI(width=32, layers=1, heads=2)
    (player,) = network.players()
    optimiser = torch.optim.AdamW(player.parameters, lr=5e-3)
    inputs, target, losses = windows[0].rows(slice(0, 3)), windows[1][:3], []
    for _ in range(20):
        loss = player.loss(inputs, target, torch.Generator().manual_seed(0))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_every_parameter_learns(windows: Windows, network: CSDI) -> None:
    (player,) = network.players()
    player.loss(*windows, torch.Generator().manual_seed(0)).backward()
    idle = [name for name, part in network.named_parameters() if part.grad is None or not part.grad.any()]
    assert idle == []


def test_noised_values_are_read_where_asked_and_nowhere_else(windows: Windows, network: CSDI) -> None:
    inputs, target = windows
    level = torch.full((6,), 20)
    condition = network.condition(inputs)
    before = network.velocity(target, level, condition, inputs.asked)
    elsewhere = network.velocity(target + ~inputs.asked, level, condition, inputs.asked)
    assert torch.equal(before, elsewhere)
    there = network.velocity(target + 1.0 * inputs.asked, level, condition, inputs.asked)
    assert not torch.allclose(before, there)


def test_the_truth_of_hidden_values_is_not_read(training_set: TrainingSet, network: CSDI) -> None:
    batch = draw_batch(training_set, FitConfig(batch=4, seed=2), 0)
    other = replace(batch, share=torch.where(batch.hidden, batch.share + 0.3, batch.share))
    assert torch.equal(drawn(network, make_inputs(batch)), drawn(network, make_inputs(other)))


def test_cells_and_times_inform_each_other(windows: Windows, network: CSDI) -> None:
    inputs, _ = windows
    value = inputs.value.clone()
    value[:, :16, 0, 0] += 2.0
    change = (drawn(network, replace(inputs, value=value)) - drawn(network, inputs)).abs()
    assert change[:, :, 40, 0, 0].max() > 1e-4
    assert change[:, :, 40:, 3, 3].max() > 1e-4


def test_users_are_read(windows: Windows, network: CSDI) -> None:
    inputs, _ = windows
    told = inputs.covariates.clone()
    told[:, 6] += 1.0
    assert not torch.allclose(drawn(network, inputs), drawn(network, replace(inputs, covariates=told)))


def test_cells_outside_the_grid_are_not_looked_at(windows: Windows, network: CSDI) -> None:
    inputs, _ = windows
    covered = inputs.covered.clone()
    covered[:, 3] = False
    inside = replace(inputs, covered=covered, asked=inputs.asked & covered[:, None])
    told = inputs.covariates.clone()
    told[..., 3, :] += 1.0
    before, after = drawn(network, inside), drawn(network, replace(inside, covariates=told))
    assert torch.allclose(before[..., :3, :], after[..., :3, :], atol=1e-6)
    assert drawn(network, replace(inside, covered=torch.zeros_like(covered))).isfinite().all()


def test_answers_depend_neither_on_the_batch_nor_on_how_many_are_drawn_at_once(windows: Windows, network: CSDI) -> None:
    inputs, _ = windows
    all_six = drawn(network, inputs)
    assert all_six.shape == (6, 3, 64, 4, 4)
    assert torch.allclose(drawn(network, inputs.rows(slice(0, 2))), all_six[:2], atol=1e-5)
    network.chunk = 1
    assert torch.allclose(drawn(network, inputs), all_six, atol=1e-5)
    assert (all_six[:, 0] - all_six[:, 1]).abs().mean() > 0.05
