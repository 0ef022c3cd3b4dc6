"""The batches of the steps to come, made by other processes while this one computes.

A batch is a function of the seed and of its step, so it is the same whoever makes it. The processes begin as copies of
this one and share its arrays. PyTorch's data loader would do, but says that a process is lost by an error in whatever
this one is at just then; an executor says so where the batch is asked for.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from threading import Thread

import torch

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


class Ahead:
    """Gives the batch of one step after the other."""

    def __init__(
        self, make: Callable[[int], Batch], workers: int, place: Callable[[Batch], Batch] | None = None
    ) -> None:
        """`make`: the batch of a step. With no `workers` it is made when it is asked for.

        `place`: what is then done with it, such as moving it to a device; with a batch that others made ahead too, by a
        thread.
        """
        self.make, self.workers, self.place = make, workers, place
        self._next = -1  # the first step whose batch is not waited for
        self._pool: ProcessPoolExecutor | None = None
        self._reader: ThreadPoolExecutor | None = None
        self._waiting = deque[Future[Batch]]()

    def take(self, step: int) -> Batch:
        """The batch of a step; any order is good, but only the next one is ready.

        Raises `ProcessError` where a process that makes batches is gone.
        """
        if self.workers == 0:
            made = self.make(step)
            return made if self.place is None else self.place(made)
        if self._pool is None or step != self._next - len(self._waiting):
            self.close()
            context = get_context("fork")  # so that nothing is copied but what is written
            self._pool = ProcessPoolExecutor(self.workers, context, initializer=_begin, initargs=(self.make,))
            self._reader = ThreadPoolExecutor(1)
            self._next = step
        assert self._reader is not None
        try:
            while len(self._waiting) < READY * self.workers:
                self._waiting.append(self._reader.submit(self._read, self._pool.submit(_made, self._next)))
                self._next += 1
            batch = self._waiting.popleft().result()
        except BrokenProcessPool as error:
            self.close()
            raise ProcessError(
                f"a process that makes batches is gone ({error}): free memory, or train with workers=0; the last "
                "checkpoint is good"
            ) from None
        return batch

    def _read(self, made: Future[bytes]) -> Batch:
        batch: Batch = pickle.loads(made.result())
        return batch if self.place is None else self.place(batch)

    def close(self) -> None:
        """End the processes; a later `take` begins new ones."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)
        self._pool = self._reader = None
        self._waiting.clear()


#: What makes a batch, in a process that does nothing else.
_MAKE: list[Callable[[int], Batch]] = []


def _begin(make: Callable[[int], Batch]) -> None:
    """Begin such a process: on one thread, left alone by Ctrl-C, and no longer than the one that asks."""
    gc.freeze()  # what the other left to the collector, such as a GPU's memory, is not this one's to free
    _MAKE[:] = [make]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _made(step: int) -> bytes:
    """The batch of a step, as bytes: tensors in shared memory would be gone with the process that made them."""
    return pickle.dumps(_MAKE[0](step), pickle.HIGHEST_PROTOCOL)


__all__ = ["Ahead", "workers_for"]
