"""Batches on their device with what is observed of them; something that takes notes plays the streams of CUDA."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
from small_training import made_training

from fomo.training.losses import losses, observed
from fomo.training.placed import Placed, Placing
from fomo.windows.batch import Batch
from fomo.windows.records import each_tensor


def tensors(*records: object) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for record in records:
        each_tensor(record, lambda _, part: found.append(part) or part)
    return found


def test_losses_are_those_of_a_batch_that_is_observed_when_it_is_used(tiny_recipe):
    training = made_training(tiny_recipe())
    placed = Placing("cpu")(training._made(3))
    batch = placed.batch
    noise, size = torch.randn(batch.share.shape), len(batch.share)
    given = (training.process, training.recipe.loss, batch, noise, torch.rand(size), torch.ones(size))
    training.network.eval()
    one = losses(training.network, *given, observation=placed.observation)
    other = losses(training.network, *given)
    assert one == other and placed.here() is placed


def test_a_batch_that_no_one_has_observed_may_be_used_at_once(tiny_recipe):
    batch = made_training(tiny_recipe())._made(0)
    assert Placed(batch).here().batch is batch and Placed(batch).observation is None


def test_on_a_gpu_all_is_done_on_a_stream_of_its_own_and_the_other_is_told_to_wait(tiny_recipe, monkeypatch):
    notes: list[str] = []
    on = ["of training"]

    class Event:
        def record(self) -> None:
            notes.append(f"recorded {on[-1]}")

        def wait(self) -> None:
            notes.append(f"waited for {on[-1]}")

    @contextmanager
    def stream(which: str):
        on.append(which)
        yield
        on.pop()

    kept: list[int] = []
    monkeypatch.setattr(torch.cuda, "Stream", lambda device, priority: f"beside, {device}, {priority}")
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: on[-1])
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(Batch, "to", lambda self, device: notes.append(f"moved {on[-1]}") or self)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, which: kept.append(id(self)) or None, raising=False)
    batch = made_training(tiny_recipe())._made(0)
    placed = Placing("cuda:1")(batch)
    beside = "beside, cuda:1, -1"
    assert notes == [f"moved {beside}", f"recorded {beside}"]
    here = placed.here()
    assert notes[2:] == ["waited for of training"]
    assert here.observation is not None
    expected = observed(batch)
    for one, other in zip(tensors(here.observation), tensors(expected), strict=True):
        assert torch.equal(one, other)
    # Their memory is given back no sooner than the stream of training is done with it.
    assert set(kept) == {id(part) for part in tensors(here.batch, here.observation)} and len(kept) > 10


def test_an_error_of_the_thread_that_places_reaches_the_one_that_asks(tiny_recipe):
    training = made_training(tiny_recipe())

    def broken(batch: Batch) -> Placed:
        raise RuntimeError("out of memory")

    training.ahead.place = broken
    with pytest.raises(RuntimeError, match="out of memory"):
        training.advance()
