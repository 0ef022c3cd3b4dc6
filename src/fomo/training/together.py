"""The processes of one training run: how they meet, agree, add up, and end when one of them is lost.

Process 0 reads and writes the run folder; the others need the recipe and the data only. Nobody waits for another for
more than `patience` seconds.
"""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

import fomo
from fomo.processes import Place, ProcessError
from fomo.training.share import Share
from fomo.training.snapshot import Snapshot

Value = TypeVar("Value")

#: Seconds that a process waits for the others.
PATIENCE = 600.0
#: Words of errors that mean that another process is gone or does not answer; gloo and NCCL raise plain RuntimeErrors.
LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "Timed out waiting")
NO_MEMORY = ("can't allocate memory", "not enough memory")


@dataclass(frozen=True)
class Together:
    """What a process does with the others. Alone, it does nothing at all."""

    place: Place = Place()  # noqa: RUF009 (frozen)
    device: str = "cpu"
    shard: bool = False  # weights, average and moments are divided among the processes (FSDP2), not copied (DDP)

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.place.first

    @cached_property
    def share(self) -> Share:
        """Its share of every batch."""
        if self.place.alone:
            return Share()
        # Not as a decorator: the compiler takes a second to import, and a process alone never needs it.
        return Share(self.place.rank, self.place.size, torch.compiler.disable(self.add))

    def add(self, part: Tensor) -> Tensor:
        """The sum of a tensor over all processes, without a gradient."""
        total = part.detach().clone()
        if not self.place.alone:
            dist.all_reduce(total)
        return total

    def any(self, flag: bool) -> bool:
        """Whether it is so in any process."""
        if self.place.alone:
            return flag
        return bool(self.add(torch.tensor(float(flag), device=self.device)).item() > 0)

    def from_first(self, work: Callable[[], Value]) -> Value:
        """What `work` gives in process 0, which alone does it. Where it fails there, all raise."""
        if self.place.alone:
            return work()
        box: list[Any] = [None, None]
        error: Exception | None = None
        if self.first:
            try:
                box[0] = work()
            except Exception as raised:
                error, box[1] = raised, str(raised)
        dist.broadcast_object_list(box, 0)
        if error is not None:
            raise error
        if box[1] is not None:
            raise ProcessError(f"process 0 said: {box[1]}")
        found: Value = box[0]
        return found

    def agree(self, read: Callable[[], Value], facts: Callable[[Value], Mapping[str, Any]]) -> Value:
        """What `read` gives, once it is certain that it succeeds everywhere and its `facts` are the same everywhere.

        Raises its own error, or `ProcessError` where it fails elsewhere, where facts differ, or where processes run
        other versions of FoMo, PyTorch, NumPy or Python.
        """
        if self.place.alone:
            return read()
        value: Value | None = None
        error: Exception | None = None
        try:
            value = read()
        except Exception as raised:
            error = raised
        own = {
            "host": socket.gethostname(),
            "versions": {
                "fomo": fomo.__version__,
                "torch": str(torch.__version__),
                "numpy": np.__version__,
                "Python": platform.python_version(),
            },
            "error": None if error is None else str(error),
            "facts": {} if value is None else flat(facts(value)),
        }
        everyone: list[Any] = [None] * self.place.size
        dist.all_gather_object(everyone, own)
        compare("version", "install the same versions everywhere", [each["versions"] for each in everyone], everyone)
        if error is not None:
            raise error
        for rank, each in enumerate(everyone):
            if each["error"] is not None:
                raise ProcessError(f"process {rank} on {each['host']} said: {each['error']}")
        compare("", "give every process the same", [each["facts"] for each in everyone], everyone)
        assert value is not None
        return value

    def same(self, what: str, number: int) -> None:
        """Raise `ProcessError` where a number is not the same in all processes."""
        if self.place.alone:
            return
        everyone: list[Any] = [None] * self.place.size
        dist.all_gather_object(everyone, number)
        other = [rank for rank, found in enumerate(everyone) if found != everyone[0]]
        if other:
            raise ProcessError(
                f"{what} differ between process 0 and {other}: their files or installed packages are not the same"
            )

    def snapshot(self, load: Callable[[], Snapshot | None]) -> Snapshot | None:
        """What process 0 loads, in all processes."""
        if self.place.alone:
            return load()
        found: list[Snapshot | None] = [None]

        def describe() -> tuple[int, dict[str, tuple[tuple[int, ...], torch.dtype]]] | None:
            found[0] = loaded = load()
            if loaded is None:
                return None
            return loaded.step, {name: (tuple(part.shape), part.dtype) for name, part in loaded.tensors.items()}

        described = self.from_first(describe)
        if described is None:
            return None
        step, shapes = described
        tensors = {}
        for name, (shape, kind) in shapes.items():
            part = torch.empty(shape, dtype=kind) if found[0] is None else found[0].tensors[name]
            part = part.to(self.device)
            dist.broadcast(part, 0)
            tensors[name] = part.cpu()
        return Snapshot(step, tensors)


def flat(facts: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested facts as one level of 'outer.inner' keys."""
    found: dict[str, Any] = {}
    for key, value in facts.items():
        name = f"{before}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found


def compare(kind: str, remedy: str, facts: list[dict[str, Any]], everyone: list[Any]) -> None:
    """Raise `ProcessError` that names what differs between process 0 and the first other one that differs."""
    for rank, each in enumerate(facts):
        names = [name for name in dict.fromkeys([*facts[0], *each]) if facts[0].get(name) != each.get(name)]
        if names:
            shown = "; ".join(f"{name} {facts[0].get(name)} there, {each.get(name)} here" for name in names[:4])
            raise ProcessError(
                f"process 0 on {everyone[0]['host']} and process {rank} on {everyone[rank]['host']} have another "
                f"{kind or ', '.join(names[:4])} ({shown.replace('there', 'in 0').replace('here', f'in {rank}')}): "
                f"{remedy}"
            )


@contextmanager
def joined(device: str, shard: bool = False, patience: float = PATIENCE) -> Iterator[Together]:
    """The processes that the launcher started, met and ready; `device` is 'cpu' or 'cuda'.

    Raises `ProcessError`: the launcher's variables do not fit together, not all processes come, one is lost, one has
    no memory left.
    """
    place = Place.of_environment()
    if place.alone:
        with in_clear_words(place, patience):
            yield Together(place, device, False)
        return
    if "MASTER_ADDR" not in os.environ or "MASTER_PORT" not in os.environ:
        raise ProcessError(
            f"this is {place}, but MASTER_ADDR and MASTER_PORT, where they meet, are not set: start with torchrun"
        )
    if device == "cuda":
        device = place.gpu(torch.cuda.device_count())
        torch.cuda.set_device(device)
    with in_clear_words(place, patience):
        dist.init_process_group(
            "nccl" if device.startswith("cuda") else "gloo",
            rank=place.rank,
            world_size=place.size,
            timeout=timedelta(seconds=patience),
        )
        yield Together(place, device, shard)
        dist.destroy_process_group()  # only where all went well: with a lost process it might wait for it


@contextmanager
def in_clear_words(place: Place, patience: float) -> Iterator[None]:
    """Raise `ProcessError` in place of the errors of a lost process and of memory that is used up."""
    try:
        yield
    except MemoryError as error:
        raise _no_memory(place, error) from error
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in NO_MEMORY):
            raise _no_memory(place, error) from error
        # Whatever is for the user is said already.
        if place.alone or isinstance(error, ProcessError):
            raise
        if isinstance(error, dist.DistError) or any(word in str(error) for word in LOST):
            raise ProcessError(
                f"{place} has lost another one, which ended or did not answer for {patience:g} s, so it ends too: the "
                "message of that one says why. Snapshots are written whole: the same command continues from the last "
                f"one ({_first_line(error)})"
            ) from error
        raise


def _no_memory(place: Place, error: Exception) -> ProcessError:
    return ProcessError(
        f"no memory is left in {'this process' if place.alone else place}: use more processes, which share the batch "
        "(torchrun --nproc-per-node), add --shard, which divides weights and moments among them, or lower "
        f"optimiser.batch in the recipe, which begins another run ({_first_line(error)})"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


__all__ = ["PATIENCE", "Together", "compare", "flat", "in_clear_words", "joined"]
