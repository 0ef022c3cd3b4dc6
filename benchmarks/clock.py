"""What the benchmarks of speed measure with: seconds, operations, and windows to ask."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fomo.evaluation.questions import Question

#: Families with regions that training never saw.
UOMO = ("uomo_shandong", "uomo_nanchang", "uomo_nanjing")
#: Edge of the square product that forecasts are held against.
EDGE = 2048


def seconds_of(work: Callable[[], object], repeats: int) -> list[float]:
    """Wall-clock times after one warm-up."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return times


class Everything:
    """In place of the counter's record of modules, which gradients of gradients and inference mode can break."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None:
        """Nothing is followed."""

    def __exit__(self, *_: object) -> None:
        """Nothing was."""


def operations(forecast: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products in one forecast: two a multiply-add."""
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = Everything()  # type: ignore[assignment]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # passes on threads of their own would not be counted
    try:
        with counter, sdpa_kernel(SDPBackend.MATH):  # the counter does not know the fused attention of CPUs
            forecast()
    finally:
        torch.set_num_threads(threads)
    return int(counter.get_total_flops())


def some(asked: Sequence[Question], windows: int) -> list[Question]:
    """So many of the questions, evenly taken."""
    return list(asked[:: max(1, len(asked) // windows)][:windows])
