"""What runs on CUDA, as far as a CPU can show it: bfloat16, and what `torch.compile` traces."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_training import SMALL, made_training

from fomo.model import layers
from fomo.training.loop import run
from fomo.training.losses import observed
from fomo.training.snapshot import Snapshot
from fomo.training.told import Told
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


STEPS = """
import json, sys
from functools import partialmethod
sys.path[:0] = {folders!r}
import torch
from small_training import made_training
from fomo.training.recipe import Recipe
torch.set_num_threads(1)
recipe = Recipe.model_validate(json.loads({recipe!r}))
plain, compiled = made_training(recipe), made_training(recipe)
torch.nn.Module.compile = partialmethod(torch.nn.Module.compile, backend="eager")
compiled._compile()
assert compiled.network.encoder[0]._compiled_call_impl is not None
print(json.dumps([[training.advance() for _ in range(4)] for training in (plain, compiled)]))
"""


@pytest.mark.parametrize("top", [{}, CONTEXT], ids=["traffic", "context"])
def test_compiled_blocks_give_the_same_steps(tiny_recipe, top):
    """In a process of its own: what checks types in tests cannot be traced."""
    recipe = tiny_recipe({"windows": {"24x4x4": 1.0, "24x8x8": 1.0}, **top})
    script = STEPS.format(folders=[str(Path(__file__).parent)], recipe=recipe.model_dump_json())
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    plain, compiled = json.loads(found.stdout)
    for one, other in zip(plain, compiled, strict=True):
        assert other == pytest.approx(one, rel=1e-4, abs=1e-5)


def test_a_window_without_a_cell_leaves_the_gradients_of_the_others_numbers(tiny_recipe, monkeypatch):
    """CUDA's fused kernels in bfloat16: where no key may be looked at, what comes out is not a number."""

    def fused(query, key, value, attn_mask):
        found = attention(query, key, value, attn_mask=attn_mask)
        return torch.where(attn_mask.any(-1, keepdim=True), found, torch.nan)

    training = made_training(tiny_recipe({"windows": {"24x4x4": 1.0}}))
    attention, made = layers.scaled_dot_product_attention, training._made

    def without_the_first(step):
        batch = made(step)
        state = batch.state.clone()
        state[0] = CellState.PADDING
        return replace(batch, state=state)

    training.ahead.make = without_the_first
    monkeypatch.setattr(layers, "scaled_dot_product_attention", fused)
    assert all(value == value for value in training.advance().values())  # and no error: the gradient is finite


def test_numbers_are_read_in_the_order_of_the_steps_and_the_last_ones_later(tiny_recipe):
    one, other = (made_training(tiny_recipe()) for _ in range(2))
    told = [one.advance() for _ in range(3)]
    for _ in range(3):
        other.launch()
    first = other.read(1)
    assert [step for step, _ in first] == [1, 2] and [numbers for _, numbers in first] == told[:2]
    assert other.read() == [(3, told[2])] and other.read() == []


def test_a_run_that_reads_later_logs_reports_and_saves_the_same(tiny_recipe, tmp_path):
    recipe = tiny_recipe({"optimiser": {"steps": 7, "batch": 2, "warm_up": 1, "log_every": 3, "checkpoint_every": 2}})
    logs, heard, states = [], [], []
    for later in (False, True):
        training, said = made_training(recipe), []
        training.reads_at_once = not later
        folder = tmp_path / str(later)
        assert run(training, folder, report=lambda step, numbers, said=said: said.append((step, numbers["loss"])))
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        logs.append([(line["step"], line["loss"], line["gradient"]) for line in lines])
        heard.append(said)
        states.append(Snapshot.load(folder / "snapshot"))
    assert logs[0] == logs[1] and [step for step, *_ in logs[0]] == [3, 6, 7]
    assert heard[0] == heard[1] and [step for step, _ in heard[0]] == list(range(1, 8))
    assert states[0].step == states[1].step == 7
    assert all(torch.equal(tensor, states[1].tensors[name]) for name, tensor in states[0].tensors.items())


def test_a_gradient_that_is_not_finite_is_found_before_anything_is_saved(tiny_recipe):
    training = made_training(tiny_recipe())
    training.launch()
    training.unread.append(Told.of(2, {"gradient": torch.tensor(torch.nan)}, {}))
    with pytest.raises(FloatingPointError, match="not finite at step 1"):
        training.snapshot()
