"""What a step says of itself, read later than the step is launched, so that a GPU never waits for the host to ask."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Told:
    """Numbers of a step, which a GPU may still be finding: nothing waits for it until they are read."""

    step: int
    names: tuple[str, ...]
    values: Float[Tensor, " number"]  # on the host, once `found` has happened
    found: torch.cuda.Event | None  # None: they are there
    others: dict[str, float]

    @classmethod
    def of(cls, step: int, named: dict[str, Tensor], others: dict[str, float]) -> Told:
        """Begin to bring them to the host."""
        values = torch.stack([number.detach().float() for number in named.values()])
        if values.device.type != "cuda":
            return cls(step, tuple(named), values, None, others)
        on_host, found = values.to("cpu", non_blocking=True), torch.cuda.Event()
        found.record()
        return cls(step, tuple(named), on_host, found, others)

    def numbers(self) -> dict[str, float]:
        """Wait for them. Raises `FloatingPointError` for a gradient that is not finite."""
        if self.found is not None:
            self.found.synchronize()
        numbers = dict(zip(self.names, self.values.tolist(), strict=True))
        if not math.isfinite(numbers["gradient"]):
            raise FloatingPointError(
                f"the gradient is not finite at step {self.step - 1}: lower the learning rate; the last checkpoint is "
                "good"
            )
        return numbers | self.others


__all__ = ["Told"]
