"""The batches of the steps to come, made by other processes while this one computes.

A batch is a function of the seed and of its step, so it is the same whoever makes it. The processes are PyTorch's data
loader; they begin as copies of this one and share its arrays.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from fomo.processes import ProcessError
from fomo.windows.batch import Batch

#: Batches that every process has ready, and processes that a GPU gets at most: one batch takes about as long as a
#: step of a small network there.
READY, MOST = 2, 4


def workers_for(device: str, processes: int) -> int:
    """How many processes make batches: none on a CPU, whose cores the network needs; `processes` share a machine."""
    if not device.startswith("cuda"):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(0, min(MOST, cores // processes - 1))


@contextmanager
def in_clear_words() -> Iterator[None]:
    """Raise `ProcessError` where a process that makes batches is lost: PyTorch says so wherever this one stands."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise ProcessError(
            f"a process that makes batches is gone ({error}): free memory, or train with workers=0; the last "
            "checkpoint is good"
        ) from None


class _Steps(Dataset[Batch]):
    """The batch of every step."""

    def __init__(self, make: Callable[[int], Batch]) -> None:
        self.make = make

    def __getitem__(self, step: int) -> Batch:
        return self.make(step)


class Ahead:
    """Gives the batch of one step after the other."""

    def __init__(self, make: Callable[[int], Batch], workers: int) -> None:
        """`make`: the batch of a step. With no `workers` it is made when it is asked for."""
        self.make, self.workers = make, workers
        self._next = -1
        self._made: Iterator[Any] | None = None

    def take(self, step: int) -> Batch:
        """The batch of a step; any order is good, but only the next one is ready."""
        if self.workers == 0:
            return self.make(step)
        if self._made is None or step != self._next:
            self.close()
            self._made = iter(self._loader(step))
        batch = next(self._made)
        self._next = step + 1
        assert isinstance(batch, Batch)
        return batch

    def close(self) -> None:
        """End the processes; a later `take` begins new ones."""
        self._made = None  # the loader ends them when it is let go

    def _loader(self, step: int) -> DataLoader[Batch]:
        return DataLoader(
            _Steps(self.make),
            batch_size=None,
            sampler=itertools.count(step),
            num_workers=self.workers,
            prefetch_factor=READY,
            multiprocessing_context="fork",
            generator=torch.Generator(),  # it draws a seed, and must not take it from the run's numbers
        )


__all__ = ["Ahead", "in_clear_words", "workers_for"]
