"""Batches on their device with what is observed of them; something that takes notes plays the streams of CUDA."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
from small_training import SMALL, made_training
from torch.utils._python_dispatch import TorchDispatchMode

from fomo.training.losses import losses, observed
from fomo.training.placed import Placed, Placing
from fomo.windows.batch import Batch
from fomo.windows.records import each_tensor

CONTEXT = {"model": {**SMALL, "context": True}, "context": {}, "loss": {"contrast": 0.3, "alignment": 0.1}}


def tensors(*records: object) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for record in records:
        each_tensor(record, lambda _, part: found.append(part) or part)
    return found


def test_losses_are_those_of_a_batch_that_is_observed_when_it_is_used(tiny_recipe):
    training = made_training(tiny_recipe())
    placing = Placing("cpu")
    placed = placing.observe(placing.move(training._made(3)))
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
    placing = Placing("cuda:1")
    placed = placing.observe(placing.move(batch))
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

    def broken(batch: Batch) -> Batch:
        raise RuntimeError("out of memory")

    training.ahead.place = broken
    with pytest.raises(RuntimeError, match="out of memory"):
        training.advance()


class Asked(TorchDispatchMode):
    """Notes every operation whose answer a GPU would have to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, operation, types, given=(), named=None):
        name = operation.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_") and any(
            part is not None and part.dtype == torch.bool for part in given[1]
        )
        waits = {"nonzero", "_unique2", "_local_scalar_dense", "masked_select", "equal", "_linalg_check_errors"}
        if by_mask or name in waits:
            self.found.append(name)
        return operation(*given, **(named or {}))


@pytest.mark.parametrize(
    ("top", "on_a_cpu"),
    [({}, []), (CONTEXT, ["_local_scalar_dense"])],  # whether users are known ahead, which a GPU is not asked
    ids=["traffic", "context"],
)
def test_what_is_observed_of_a_batch_asks_the_device_nothing(tiny_recipe, top, on_a_cpu):
    batch = made_training(tiny_recipe(top))._made(0)
    assert (batch.context is None) == (not top)
    with Asked() as asked:
        torch.ones(3)[torch.ones(3, dtype=torch.bool)]
    assert asked.found == ["index"]
    with Asked() as asked:
        observed(batch)
    assert asked.found == on_a_cpu
