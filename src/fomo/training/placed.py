"""A batch where the network is, with what is observed of it; on a GPU both come by a stream of their own.

Observing is a thousand small operations. On the stream that trains they would follow each other after all that stands
there already; on a stream beside it a GPU does them while it is at the step before. They are given by the thread that
trains and ask the GPU nothing: a second thread that gives a GPU as many would hold the first one up.
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
        """The same, once the stream that asks may use it, which is told to wait for it: the host does not wait."""
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

    def move(self, batch: Batch) -> Batch:
        """The batch on the device, in any thread; only what `observe` gives of it may be used elsewhere."""
        if self.stream is None:
            return batch.to(self.device)
        with torch.cuda.stream(self.stream):
            return batch.to(self.device)

    def observe(self, batch: Batch) -> Placed:
        """A batch that was moved, with what is observed of it; who takes it calls `here`."""
        if self.stream is None:
            return Placed(batch, observed(batch))
        with torch.cuda.stream(self.stream):
            observation, ready = observed(batch), torch.cuda.Event()
            ready.record()
        return Placed(batch, observation, ready)


__all__ = ["Placed", "Placing"]
