"""PatchTST: every cell alone."""

from __future__ import annotations

from dataclasses import replace

import torch

from fomo.forecasters.rivals.inputs import Inputs
from fomo.forecasters.rivals.patchtst import PatchTST


def test_a_cell_knows_nothing_of_the_others(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    torch.manual_seed(0)
    network = PatchTST(width=16, layers=1, heads=2).eval()
    torch.nn.init.normal_(network.head.linear.weight, std=0.1)
    other = inputs.value.clone()
    other[:, :, 0, 0] += 1.0
    before = network.quantiles(inputs)
    after = network.quantiles(replace(inputs, value=other))
    assert not torch.allclose(before[:, :, 0, 0], after[:, :, 0, 0])
    assert torch.equal(before[:, :, 1:], after[:, :, 1:])
