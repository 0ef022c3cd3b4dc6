"""How fast a run goes beside what the machine can do: tokens a second, and the share of its measured matrix product."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch

#: Edge of the square product that a device is measured by, and how often; the best counts.
EDGE, EDGE_ON_CUDA, REPEATS = 1024, 8192, 5


def matrix_rate(device: str, edge: int | None = None) -> float:
    """Floating-point operations a second of a large square product: bfloat16 on CUDA, float32 elsewhere."""
    on_cuda = device.startswith("cuda")
    edge = edge or (EDGE_ON_CUDA if on_cuda else EDGE)
    # Of drawn numbers: of equal ones a GPU draws less power and is faster. From a generator of its own, so that a run's
    # numbers stay what they are.
    drawn = torch.randn(edge, edge, device=device, generator=torch.Generator(device).manual_seed(0))
    square = drawn.to(torch.bfloat16 if on_cuda else torch.float32)
    out = torch.empty_like(square)
    best = math.inf
    for _ in range(REPEATS + 1):  # the first one warms up, and is never the best
        began = time.perf_counter()
        torch.mm(square, square, out=out)
        if on_cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2 * edge**3 / best


@dataclass(frozen=True)
class Pace:
    """What one device does at best, and what a step needs of all devices."""

    rate: float  # operations a second of one device
    operations: int | None  # of a step; None: not known
    devices: int = 1

    def numbers(self, tokens: float, steps_per_second: float) -> dict[str, float]:
        """For the log: `tokens_per_second`, and `peak_share`: of what the devices could do, from 0 to 1."""
        found = {"tokens_per_second": tokens * steps_per_second}
        if self.operations is not None:
            found["peak_share"] = self.operations * steps_per_second / (self.rate * self.devices)
        return found


__all__ = ["Pace", "matrix_rate"]
