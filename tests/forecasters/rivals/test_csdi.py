"""CSDI: what its loss is at birth, and who hears whom."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from made_networks import answers, grown, newborn

from fomo.forecasters.rivals.inputs import Inputs
from fomo.forecasters.rivals.network import asked_mean
from fomo.forecasters.rivals.noising import SPREAD

Windows = tuple[Inputs, torch.Tensor]


def test_the_loss_of_no_velocity_is_its_mean_square(windows: Windows) -> None:
    """v = sqrt(a) eps - sqrt(1 - a) x_0 has the mean square a + (1 - a) E[x_0^2], levels alike."""
    inputs, target = windows
    network = newborn("CSDI")
    (player,) = network.players()
    losses = [player.loss(inputs, target, torch.Generator().manual_seed(seed)).item() for seed in range(40)]
    kept = network.noising.kept[1:].mean().item()
    clean = asked_mean((target / SPREAD).square(), inputs).item()
    assert sum(losses) / 40 == pytest.approx(kept + (1 - kept) * clean, rel=0.15)


def test_cells_and_times_inform_each_other(windows: Windows) -> None:
    inputs, _ = windows
    network = grown("CSDI")
    value = inputs.value.clone()
    value[:, :16, 0, 0] += 2.0
    change = (answers(network, replace(inputs, value=value)) - answers(network, inputs)).abs()
    assert change[:, :, 40, 0, 0].max() > 1e-4
    assert change[:, :, 40:, 3, 3].max() > 1e-4
