"""A batch where the network is, with what is observed of it; on a GPU both come by a stream of their own.

Observing is a thousand small operations, and some ask the GPU how many windows have hours of one length, or whether a
factor was found. Asked on the stream that trains, each would wait for the whole step before it, and the GPU would
then wait for the host; a thread and a stream beside it wait for themselves alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from fomo.training.losses import observed
from fomo.windows.batch import Batch
from fomo.windows.observation import Observation
from fomo.windows.records import each_tensor


@runtime_checkable
class Ready(Protocol):
    """Something on a GPU that happens when what stands before it is done."""

    def wait(self) -> None:
        """Let the current stream go on after it."""


@dataclass(frozen=True)
class Placed:
    """A batch on its device. `observation` None: not found yet; `ready` None: there is nothing to wait for."""

    batch: Batch
    observation: Observation | None = None
    ready: Ready | None = None

    def here(self) -> Placed:
        """The same, once the stream that asks may use it, which it will be told to wait for: the host does not."""
        if self.ready is None:
            return self
        self.ready.wait()
        stream = torch.cuda.current_stream()

        def used_here(_: str, part: Tensor) -> Tensor:
            part.record_stream(stream)  # its memory is kept until this stream is done
            return part

        each_tensor(self.batch, used_here)
        if self.observation is not None:
            each_tensor(self.observation, used_here)
        return self


class Placing:
    """Brings batches to a device, and observes them there."""

    def __init__(self, device: str) -> None:
        """On a CPU nothing is moved and nothing waits. The stream goes first, else the small waits for the large."""
        self.device = device
        self.stream = torch.cuda.Stream(device, priority=-1) if device.startswith("cuda") else None

    def __call__(self, batch: Batch) -> Placed:
        """In any thread; who takes it calls `here`."""
        if self.stream is None:
            return Placed(batch.to(self.device), observed(batch))
        with torch.cuda.stream(self.stream):
            batch = batch.to(self.device)
            observation, ready = observed(batch), torch.cuda.Event()
            ready.record()
        return Placed(batch, observation, ready)


__all__ = ["Placed", "Placing"]
