"""What errors remember: a cell that is above its forecast stays so for hours, and again at the same hour tomorrow.

Residuals from the denoiser follow one another within a token and hardly beyond, so that sums over a day would be surer
than they are. So a part of their variance is drawn from a Gaussian process of time, cell by cell: a constant, for
levels that are not known, and one that comes back each day,

    k(t) = lasting + daily exp(-|t| / 240 h) exp(-2 sin^2(pi t / 24 h)),

a periodic covariance that fades (Rasmussen and Williams, 2006, 4.2.3). Its parts were fitted to the errors of regions
that were left out, three cities and two tasks (journal, 2026-11-26): they differ by what is known of the cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

#: Hours after which a daily error has faded to 1/e.
FADES_AFTER = 240.0
#: Added to the variance for the root, relative: neighbouring quarters of an hour are almost the same.
JITTER = 1e-6


@dataclass(frozen=True)
class Memory:
    """Shares of a residual's variance."""

    lasting: float
    daily: float

    @property
    def share(self) -> float:
        """What is not left to the denoiser."""
        return self.lasting + self.daily


#: By whether the cell has no history, and whether its users are known at the hours that are asked for.
MEMORIES: dict[tuple[bool, bool], Memory] = {
    (False, False): Memory(0.0, 0.28),
    (False, True): Memory(0.0, 0.15),
    (True, False): Memory(0.70, 0.17),
    (True, True): Memory(0.16, 0.26),
}


def covariance(memory: Memory, steps: int, step_hours: float) -> Float[np.ndarray, "steps steps"]:
    """k of all pairs of steps."""
    hours = step_hours * np.abs(np.subtract.outer(np.arange(steps), np.arange(steps)))
    fading = np.exp(-hours / FADES_AFTER - 2 * np.sin(np.pi * hours / 24) ** 2)
    return np.asarray(memory.lasting + memory.daily * fading)


@cache
def _root(memory: Memory, steps: int, step_hours: float) -> Tensor:
    """L with L L' = k, lower triangular."""
    jitter = JITTER * memory.share * np.eye(steps)
    return torch.from_numpy(np.linalg.cholesky(covariance(memory, steps, step_hours) + jitter)).float()


def remembered(
    residual: Float[Tensor, "task member kept y x"],
    noise: Float[Tensor, "task member time y x"],
    step_hours: Float[Tensor, " task"],
    unseen: Bool[Tensor, "task y x"],
    told: Bool[Tensor, "task y x"],
    kept: slice = slice(None),
) -> Float[Tensor, "task member kept y x"]:
    """The same residuals with a memory, which is made of `noise`, standard normal and no part of them.

    Its first step rules what lasts: the root is lower triangular, and its first column the covariance with that step.
    `unseen`: cells without history; `told`: cells whose users are known at the hours that are asked for. `kept`: the
    steps of the window that `residual` has.
    """
    found = torch.empty_like(residual)
    kind = 2 * unseen.int() + told.int()
    for hours in step_hours.unique().tolist():
        rows = (step_hours == hours).nonzero()[:, 0]
        for is_kind in kind[rows].unique().tolist():
            memory = MEMORIES[bool(is_kind // 2), bool(is_kind % 2)]
            root = _root(memory, noise.shape[2], hours)[kept].to(residual)
            lasting = (root @ noise[rows].flatten(3)).view(len(rows), *residual.shape[1:])
            mixed = lasting.add_(residual[rows], alpha=(1 - memory.share) ** 0.5)
            here = (kind[rows] == is_kind)[:, None, None]
            found[rows] = mixed if bool(here.all()) else torch.where(here, mixed, found[rows])
    return found


__all__ = ["MEMORIES", "Memory", "covariance", "remembered"]
