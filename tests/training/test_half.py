"""What runs on CUDA, as far as a CPU can show it: bfloat16, and what `torch.compile` traces."""

from __future__ import annotations

import pytest
import torch
from small_training import SMALL, made_training

from fomo.training.losses import observed
from fomo.windows.batch import CellState

CONTEXT = {"model": {**SMALL, "context": True}, "context": {}, "loss": {"contrast": 0.3, "alignment": 0.1}}


@pytest.mark.parametrize("top", [{}, CONTEXT], ids=["traffic", "context"])
def test_a_step_in_bfloat16_has_the_losses_of_full_precision_within_its_rounding(tiny_recipe, top):
    recipe = tiny_recipe({"windows": {"24x4x4": 1.0}, **top})
    full, half = made_training(recipe), made_training(recipe)
    assert not full.half
    half.half = True
    one, other = full.advance(), half.advance()
    for name in ("loss", "denoising", "mean", "scale"):
        assert other[name] == pytest.approx(one[name], rel=0.05, abs=0.05), name
    assert other["gradient"] != one["gradient"]  # it did compute in bfloat16
    assert all(weight.dtype == torch.float32 for weight in half.network.parameters())


def test_the_observation_is_computed_in_full_precision_whatever_the_network_computes_in(tiny_recipe):
    batch = made_training(tiny_recipe())._made(0)
    plain = observed(batch)
    with torch.autocast("cpu", torch.bfloat16):
        within = observed(batch)
    assert torch.equal(plain.known, within.known) and torch.equal(plain.unit, within.unit)


@pytest.mark.parametrize("state", [CellState.OBSERVED, CellState.MISSING, CellState.HIDDEN, CellState.PADDING])
def test_a_compiled_comparison_with_a_state_is_a_comparison(state):
    """Members of an `IntEnum` were taken for other than every number: with --compile, no value was hidden in (16)."""

    def weighed(values, states):
        return values * (states == state)

    values, states = torch.rand(5), torch.tensor([0, 1, 2, 3, 2], dtype=torch.int8)
    found = torch.compile(weighed, backend="eager")(values, states)
    assert torch.equal(found, weighed(values, states)) and found.any()
