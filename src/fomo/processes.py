"""Which of several processes this one is, as the launcher says (`torchrun`, or RANK and WORLD_SIZE set by hand)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


class ProcessError(RuntimeError):
    """Processes that cannot work together, or one that cannot go on; the message says what to do."""


@dataclass(frozen=True)
class Place:
    """Number `rank` of `size` processes, and the same among those of one machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] | None = None) -> Place:
        """From RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE; alone where they are not set.

        Raises `ProcessError` where they do not fit together.
        """
        given = os.environ if environment is None else environment
        if "RANK" not in given and "WORLD_SIZE" not in given:
            return cls()
        numbers = {name: _number(given, name) for name in ("RANK", "WORLD_SIZE")}
        rank, size = numbers["RANK"], numbers["WORLD_SIZE"]
        if not 0 <= rank < size:
            raise ProcessError(
                f"RANK is {rank} and WORLD_SIZE {size}: ranks count from 0 to {max(size - 1, 0)}; torchrun sets both"
            )
        local_rank = _number(given, "LOCAL_RANK") if "LOCAL_RANK" in given else rank
        local_size = _number(given, "LOCAL_WORLD_SIZE") if "LOCAL_WORLD_SIZE" in given else size
        return cls(rank, size, local_rank, local_size)

    def gpu(self, there: int) -> str:
        """The CUDA device of this process on a machine with so many. Raises `ProcessError` where that is too few."""
        if there < self.local_size:
            raise ProcessError(
                f"{self.local_size} processes on a machine with {there} GPU: one process takes one GPU, so start "
                f"--nproc-per-node {there} there, or take --device cpu"
            )
        return f"cuda:{self.local_rank}"

    def __str__(self) -> str:
        """'process 1 of 2', counted as the launcher counts: from 0."""
        return f"process {self.rank} of {self.size}"


def _number(given: Mapping[str, str], name: str) -> int:
    text = given.get(name)
    if text is None:
        other = "WORLD_SIZE" if name == "RANK" else "RANK"
        raise ProcessError(f"{other} is set but {name} is not: start with torchrun, which sets both, or unset {other}")
    if not text.isdigit():
        raise ProcessError(f"{name} is {text!r}, which is no number of a process: start with torchrun, or unset it")
    return int(text)


__all__ = ["Place", "ProcessError"]
