"""Many small passes of a network at a time, a thread each, in place of one after another on all threads.

A pass over few tokens has many short steps, and threads that share each of them mostly wait for one another; threads
with a pass each do not. What a pass gives does not depend on the number of threads then, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

#: The number of threads of PyTorch is one for the whole process.
_NUMBER_OF_THREADS = Lock()


def on_threads(work: Callable[[Item], Result], items: Iterable[Item], device: torch.device) -> list[Result]:
    """`work` of every item without gradients, in their order: on a CPU, on as many threads as PyTorch has.

    Another device does one after another, as its passes are large.
    """
    waiting = list(items)

    def alone(item: Item) -> Result:
        with torch.inference_mode():  # which a new thread does not inherit
            return work(item)

    with _NUMBER_OF_THREADS:
        threads = torch.get_num_threads()
        workers = min(threads, len(waiting)) if device.type == "cpu" else 1
        if workers < 2:
            return [alone(item) for item in waiting]
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(workers) as pool:
                return list(pool.map(alone, waiting))
        finally:
            torch.set_num_threads(threads)
