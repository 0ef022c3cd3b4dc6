"""Fine-tuning: what it trains, what stays bit for bit, and what is exported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from fomo.model.checkpoint import CheckpointError
from fomo.model.transformer import MaskedDiffusionTransformer
from fomo.training.finetune import begin_from, freeze, merged
from fomo.training.loop import Training, run
from fomo.training.recipe import FinetuneConfig, Recipe
from fomo.training.snapshot import Snapshot
from fomo.windows.batch import Batch
from fomo.windows.observation import observe

SMALL = {"width": 32, "encoder_layers": 1, "denoiser_layers": 1, "heads": 2, "dropout": 0.1, "context": True}
SCHEMES = ["partial", "output", "adapters", "full"]
Tune = Callable[..., Training]


@pytest.fixture
def start(small_network) -> MaskedDiffusionTransformer:
    """Weights that read context, to begin from."""
    return small_network(seed=3, context=True)


@pytest.fixture
def recipe(tiny_recipe) -> Callable[..., Recipe]:
    """Fine-tuning by a scheme; everything is known of all windows."""

    def make(scheme: str, **optimiser: Any) -> Recipe:
        parts = {
            "model": SMALL,
            "context": {"none": 0.0, "past": 0.0, "full": 1.0, "poi": 1.0, "residents": 1.0, "some_cells": 0.0},
            "loss": {"alignment": 0.1, "contrast": 0.05},
            "finetune": {"start": "some/weights", "scheme": scheme, "rank": 3},
            "windows": {"24x4x4": 1.0},
        }
        return tiny_recipe(parts, **optimiser)

    return make


@pytest.fixture
def tuned(recipe, tiny_training, start) -> Tune:
    """A run after some steps."""

    def make(scheme: str, begin: MaskedDiffusionTransformer | None = None, steps: int = 5) -> Training:
        training = tiny_training(recipe(scheme), begin or start)
        for _ in range(steps):
            training.advance()
        return training

    return make


def plain_name(name: str) -> str:
    """A weight's name before adapters were put beside it."""
    return name.replace("parametrizations.weight.original", "weight")


def changed(network: torch.nn.Module, start: torch.nn.Module) -> set[str]:
    """Names of the weights that are no longer those of the start, bit for bit; adapters are new."""
    before = dict(start.named_parameters())
    after = {plain_name(name): value for name, value in network.named_parameters()}
    adapters = {name for name in after if ".parametrizations." in name}
    assert after.keys() - adapters == before.keys()
    return {name for name, value in before.items() if not torch.equal(value, after[name])} | adapters


def blind_mean(network: MaskedDiffusionTransformer, batch: Batch) -> tuple[Tensor, Tensor]:
    network.eval()
    with torch.no_grad():
        condition = network.encode(batch, observe(batch))
    return condition.mean, condition.log_scale


def norms_and_decoder(name: str) -> bool:
    """Whether a weight is one that the paper's partial freezing leaves trainable, §3.4.2."""
    adapts = ("denoiser.0.adapt_observation.", "denoiser.0.adapt_noise.", "adapt_decoder.")
    return name.startswith(("context.", "decoder.", *adapts))


# ---------------------------------------------------------------- what is trained


def test_partial_freezing_trains_context_adaptive_norms_and_decoder_and_nothing_else(tuned, start):
    training = tuned("partial")
    expected = {name for name, _ in start.named_parameters() if norms_and_decoder(name)}
    assert {name.split(".")[0] for name in expected} == {"context", "decoder", "denoiser", "adapt_decoder"}
    assert changed(training.network, start) == expected
    assert changed(training.average, start) <= expected


def test_output_trains_the_head_of_the_mean_too(tuned, start):
    head = {name for name, _ in start.named_parameters() if norms_and_decoder(name) or name.startswith("head.")}
    assert changed(tuned("output").network, start) == head


def test_full_fine_tuning_trains_everything(tuned, start):
    assert changed(tuned("full").network, start) == {name for name, _ in start.named_parameters()}


def test_adapters_leave_attention_and_mlp_as_they_are_and_train_beside_them(tuned, start):
    training = tuned("adapters")
    moved = changed(training.network, start)
    adapters = {name for name in moved if ".parametrizations." in name}
    assert moved - adapters == {name for name, _ in start.named_parameters() if norms_and_decoder(name)}
    layers = [f"{at}.{layer}" for at in ("encoder.0", "denoiser.0") for layer in ("attention", "mlp")]
    parts = {"attention": ("project_in", "project_out"), "mlp": ("up", "down")}
    assert adapters == {
        f"{layer}.{part}.parametrizations.weight.0.{factor}"
        for layer in layers
        for part in parts[layer.split(".")[-1]]
        for factor in ("up", "down")
    }
    named = dict(training.network.named_parameters())
    assert all(named[name].any() for name in adapters)  # `up` begins at 0
    assert named["encoder.0.mlp.up.parametrizations.weight.0.down"].shape == (3, 32)
    assert named["encoder.0.mlp.up.parametrizations.weight.0.up"].shape == (128, 3)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_is_frozen_has_no_moments(tuned, scheme):
    training = tuned(scheme, steps=1)
    trained = [weight for weight in training.network.parameters() if weight.requires_grad]
    assert len(training.optimiser.state_dict()["state"]) == len(trained)


# ---------------------------------------------------------------- what stays


@pytest.mark.parametrize("which", ["network", "average"])
def test_the_mean_of_a_window_without_context_is_that_of_the_start_bit_for_bit(tuned, start, random_batch, which):
    batch = random_batch(seed=6, batch=3, time=24)
    before = blind_mean(start, batch)
    found = blind_mean(getattr(tuned("partial"), which), batch)
    assert torch.equal(found[0], before[0])
    assert torch.equal(found[1], before[1])
    assert not torch.equal(blind_mean(tuned("output").network, batch)[0], before[0])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_before_the_first_step_the_network_says_what_the_start_says(recipe, tiny_training, start, random_batch, scheme):
    batch = random_batch(seed=6, batch=2, time=24)
    network = tiny_training(recipe(scheme), start).network
    for one, other in zip(blind_mean(network, batch), blind_mean(start, batch), strict=True):
        assert torch.equal(one, other)


def test_the_start_itself_is_not_trained(tuned, start, small_network):
    tuned("full")
    assert changed(small_network(seed=3, context=True), start) == set()


# ---------------------------------------------------------------- beginning


def test_context_modules_stay_fresh_where_the_start_has_none(tuned, recipe, tiny_training, small_network, random_batch):
    blind = small_network(seed=3)
    training = tiny_training(recipe("partial"), blind)
    torch.manual_seed(training.recipe.seed)
    again = MaskedDiffusionTransformer(training.recipe.model)
    for name, value in training.network.named_parameters():
        if name.startswith("context."):
            assert torch.equal(value, dict(again.named_parameters())[name]), name
        else:
            assert torch.equal(value, dict(blind.named_parameters())[name]), name
    batch = random_batch(seed=6, batch=2, time=24)
    assert torch.equal(blind_mean(tuned("partial", blind).network, batch)[0], blind_mean(blind, batch)[0])


@pytest.mark.parametrize("other", [{"width": 64}, {"encoder_layers": 2}, {"poi_width": 8}])
def test_a_start_of_other_sizes_is_refused_by_its_name(start, small_network, other):
    with pytest.raises(CheckpointError, match="other sizes than the weights some/weights to begin from"):
        begin_from(small_network(**({"context": True} | other)), start, "some/weights")


def test_a_start_that_reads_context_is_refused_for_a_network_that_does_not(start, small_network):
    with pytest.raises(CheckpointError, match="some/weights to begin from"):
        begin_from(small_network(), start, "some/weights")


def test_fine_tuning_without_weights_to_begin_from_is_refused(recipe, tiny_training):
    with pytest.raises(CheckpointError, match="needs the weights some/weights to begin from"):
        tiny_training(recipe("partial"))


# ---------------------------------------------------------------- what is exported


def test_merged_adapters_are_plain_weights_that_say_the_same(tuned, start, random_batch, with_context):
    batch = with_context(random_batch(seed=6, batch=2, time=24))
    network = tuned("adapters").network
    before = blind_mean(network, batch)
    whole = merged(network)
    assert whole.state_dict().keys() == start.state_dict().keys()
    for one, other in zip(blind_mean(whole, batch), before, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert (blind_mean(start, batch)[0] - before[0]).abs().max() > 1e-3
    adapter = "encoder.0.mlp.up.parametrizations.weight"
    parts = {
        name.removeprefix(adapter): value for name, value in network.named_parameters() if name.startswith(adapter)
    }
    expected = parts[".original"] + parts[".0.up"] @ parts[".0.down"]
    torch.testing.assert_close(whole.encoder[0].mlp.up.weight, expected)


def test_merging_leaves_the_network_with_its_adapters_as_it_is(tuned, random_batch):
    """Weights are merged for every validation, and training goes on."""
    batch = random_batch(seed=6, batch=2, time=24)
    training = tuned("adapters")
    before = blind_mean(training.average, batch)
    merged(training.average)
    again = merged(training.average)
    assert torch.equal(blind_mean(training.average, batch)[0], before[0])
    torch.testing.assert_close(blind_mean(again, batch)[0], before[0], rtol=1e-5, atol=1e-6)
    training.advance()


@pytest.mark.parametrize("scheme", ["partial", "output", "full"])
def test_a_network_without_adapters_is_merged_already(start, scheme):
    freeze(start, FinetuneConfig(start="some/weights", scheme=scheme))
    assert merged(start) is start


# ---------------------------------------------------------------- resuming


class Killed(BaseException):
    """Stands for the end of the process."""


def state(training: Training) -> dict[str, Tensor]:
    return {**Snapshot.take(training.step, training.network, training.average, training.optimiser).tensors}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("at", [3, 6])
def test_a_fine_tuning_that_is_killed_and_resumed_ends_in_the_weights_of_an_uninterrupted_one(
    recipe, tiny_training, start, tmp_path, scheme, at
):
    def die(step: int, _: dict[str, float]) -> None:
        if step == at:
            raise Killed

    plan = recipe(scheme, steps=7, checkpoint_every=2)
    whole = tiny_training(plan, start)
    assert run(whole, tmp_path / "whole")
    with pytest.raises(Killed):
        run(tiny_training(plan, start), tmp_path / "broken", report=die)
    again = tiny_training(plan, start)
    assert run(again, tmp_path / "broken")
    one, other = state(again), state(whole)
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
