"""What errors remember and share: a cell above its forecast stays so for hours, and others are above theirs, too.

Residuals from the denoiser follow one another within a token and hardly beyond, so that sums over a day would be surer
than they are. So a part of their variance is drawn from a Gaussian process of time, cell by cell: a constant, for
levels that are not known, and one that comes back each day,

    k(t) = lasting + daily exp(-|t| / 240 h) exp(-2 sin^2(pi t / 24 h)),

a periodic covariance that fades (Rasmussen and Williams, 2006, 4.2.3). Its parts were fitted to the errors of regions
that were left out, three cities and two tasks (journal, 2026-11-26): they differ by what is known of the cell.

A rainy day or a holiday moves all cells at once, so that a sum over cells would be surer than it is, by far where cells
are many. So a part of the variance of every cell is one process that all cells of a window have in common,

    k(t) = lasting + daily exp(-|t| / 240 h) exp(-2 sin^2(pi t / 24 h)) + hourly exp(-|t| / 4 h).

How large that part is a city's own past says (`forecasters.blend`); else it is what cities and regions that were left
out have on average (journal, 2026-11-27).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

#: Hours after which a daily error has faded to 1/e, and an hourly one.
FADES_AFTER, HOURLY_FADES_AFTER = 240.0, 4.0
#: Added to the variance for the root, relative: neighbouring quarters of an hour are almost the same.
JITTER = 1e-6


@dataclass(frozen=True)
class Memory:
    """Shares of a residual's variance."""

    lasting: float
    daily: float
    hourly: float = 0.0

    @property
    def share(self) -> float:
        """What is not left to the denoiser."""
        return self.lasting + self.daily + self.hourly


#: By whether the cell has no history, and whether its users are known at the hours that are asked for.
MEMORIES: dict[tuple[bool, bool], Memory] = {
    (False, False): Memory(0.0, 0.28),
    (False, True): Memory(0.0, 0.15),
    (True, False): Memory(0.70, 0.17),
    (True, True): Memory(0.16, 0.26),
}
#: The process that all cells have in common, by whether they have no history; and its share of their variance where
#: nothing else is known of it.
IN_COMMON = {False: Memory(0.2, 0.4, 0.4), True: Memory(0.8, 0.1, 0.1)}
SHARE_IN_COMMON = {False: 0.05, True: 0.2}


def covariance(memory: Memory, steps: int, step_hours: float) -> Float[np.ndarray, "steps steps"]:
    """k of all pairs of steps."""
    hours = step_hours * np.abs(np.subtract.outer(np.arange(steps), np.arange(steps)))
    fading = np.exp(-hours / FADES_AFTER - 2 * np.sin(np.pi * hours / 24) ** 2)
    return np.asarray(memory.lasting + memory.daily * fading + memory.hourly * np.exp(-hours / HOURLY_FADES_AFTER))


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


def in_common(
    residual: Float[Tensor, "task member kept y x"],
    noise: Float[Tensor, "task member time"],
    share: Float[Tensor, " task"],
    step_hours: Float[Tensor, " task"],
    unseen: Bool[Tensor, "task y x"],
    kept: slice = slice(None),
) -> Float[Tensor, "task member kept y x"]:
    """The same residuals, a part of which all cells have in common; it is made of `noise`, as in `remembered`.

    `share`: the part of the variance of cells with history; of those without it is that of SHARE_IN_COMMON.
    """
    found = torch.empty_like(residual)
    for row, hours in enumerate(step_hours.tolist()):
        roots = {kind: _root(memory, noise.shape[2], hours)[kept].to(residual) for kind, memory in IN_COMMON.items()}
        known, unknown = ((root @ noise[row, ..., None])[..., None] for root in (roots[False], roots[True]))
        is_unseen = unseen[row]
        part = torch.where(is_unseen, SHARE_IN_COMMON[True], share[row])
        both = torch.where(is_unseen, unknown, known)
        found[row] = (1 - part).sqrt() * residual[row] + part.sqrt() * both
    return found


__all__ = ["IN_COMMON", "MEMORIES", "SHARE_IN_COMMON", "Memory", "covariance", "in_common", "remembered"]
