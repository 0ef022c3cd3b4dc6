"""UniST: memories, features that know what is usual, an encoder that reads what is observed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from made_networks import grown

from fomo.forecasters.rivals.inputs import Inputs
from fomo.forecasters.rivals.unist import Memory, UniST, carried, close_steps, same_hours


@pytest.fixture
def network() -> UniST:
    """A small one, as if trained."""
    return grown("UniST")


def test_a_memory_gives_the_value_whose_key_fits() -> None:
    memory = Memory(slots=5, width=4)
    with torch.no_grad():
        memory.keys.copy_(torch.cat([20 * torch.eye(4), torch.zeros(1, 4)]))
        found = memory(2 * torch.eye(4))
        assert torch.allclose(found, memory.values[:4], atol=1e-5)
        assert torch.allclose(memory(torch.zeros(1, 4))[0], memory.values.mean(0))


def test_what_is_carried_is_the_newest_observed_value(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    value, age = carried(inputs)
    for window, y, x in ((0, 0, 0), (1, 2, 1), (3, 3, 3), (5, 1, 2)):
        newest, since = 0.0, 64
        for step in range(64):
            if inputs.observed[window, step, y, x]:
                newest, since = float(inputs.value[window, step, y, x]), 0
            assert float(value[window, step, y, x]) == newest
            assert float(age[window, step, y, x]) == since / 64
            since = min(since + 1, 64)


def test_close_steps_lie_before(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    found = close_steps(inputs)
    for back in (1, 3, 8):
        assert torch.equal(found[:, back - 1, back:], inputs.value[:, :-back])
        assert torch.equal(found[:, 8 + back - 1, back:], inputs.observed[:, :-back].float())
        assert not found[:, back - 1, :back].any()


def test_the_same_hour_is_a_day_before(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    hours = torch.tensor([1.0, 1.0, 0.5, 0.5, 0.25, 0.25])
    found = same_hours(replace(inputs, step_hours=hours))
    for window, day in enumerate((24, 24, 48, 48)):
        assert torch.equal(found[window, 0, day:], inputs.value[window, :-day])
        assert torch.equal(found[window, 1, day:], inputs.observed[window, :-day].float())
        assert not found[window, :2, :day].any()
    assert not found[4:, :2].any()  # 96 steps before is outside the window


def test_the_encoder_reads_only_patches_of_which_something_is_observed(
    network: UniST, windows: tuple[Inputs, torch.Tensor]
) -> None:
    """The covariates of hidden patches reach the decoder, and nothing of them the encoder."""
    inputs, _ = windows
    seen: list[torch.Tensor] = []
    network.between.register_forward_hook(lambda _module, _inputs, output: seen.append(output[:, 1:]))
    hidden = (~network.visible(inputs)).repeat_interleave(4, 1).repeat_interleave(2, 2).repeat_interleave(2, 3)
    other = replace(inputs, covariates=inputs.covariates + hidden[:, None])
    before, after = network.quantiles(inputs), network.quantiles(other)
    visible = network.visible(inputs).flatten(1)
    assert torch.allclose(seen[0][visible], seen[1][visible], atol=1e-6)
    assert not torch.allclose(seen[0][~visible], seen[1][~visible])
    assert not torch.allclose(before[hidden], after[hidden], atol=1e-4)


@pytest.mark.parametrize("prompt", ["spatial", "temporal"])
def test_prompts_reach_the_answer(network: UniST, windows: tuple[Inputs, torch.Tensor], prompt: str) -> None:
    inputs, _ = windows
    before = network.quantiles(inputs)
    torch.nn.init.normal_(getattr(network, prompt).memory.values)
    assert not torch.allclose(before, network.quantiles(inputs), atol=1e-3)
