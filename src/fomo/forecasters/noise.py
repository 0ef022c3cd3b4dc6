"""The random numbers that members begin with: the same for a seed and a place, however the work is cut.

On a grid larger than a district, numbers are drawn block by block, each block from a seed of its own, so that any part
of them is found again without the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from fomo.seeds import derived_seed


def member_noise(shape: tuple[int, ...], samples: int, seed: int, antithetic: bool) -> Float[Tensor, "sample time y x"]:
    """Standard normal numbers per member; with `antithetic`, member 2i + 1 has the negative of member 2i's."""
    generator = torch.Generator().manual_seed(seed)
    if not antithetic:
        return torch.randn((samples, *shape), generator=generator)
    half = torch.randn(((samples + 1) // 2, *shape), generator=generator)
    return torch.stack([half, -half], 1).flatten(0, 1)[:samples]


@dataclass(frozen=True)
class Noise:
    """Standard normal numbers of the members of some tasks on one grid, (task, sample, time, y, x)."""

    seeds: tuple[int, ...]  # one per task
    samples: int
    antithetic: bool
    shape: tuple[int, int, int]  # time, y, x of the whole grid
    block: tuple[int, int]  # a grid no larger than this is drawn as one
    only: range  # the members that are asked for

    def part(
        self, corner: tuple[int, int], size: tuple[int, int], draw: int | None = None
    ) -> Float[Tensor, "task sample time y x"]:
        """The numbers of the cells from `corner` on; `draw` counts fresh numbers for the same cells."""
        seeds = self.seeds if draw is None else tuple(derived_seed(seed, draw) for seed in self.seeds)
        unique = {seed: self._of_seed(seed, corner, size) for seed in dict.fromkeys(seeds)}
        return torch.stack([unique[seed] for seed in seeds])

    def _of_seed(self, seed: int, corner: tuple[int, int], size: tuple[int, int]) -> Float[Tensor, "sample time y x"]:
        """The numbers of one task."""
        time, height, width = self.shape
        if height <= self.block[0] and width <= self.block[1]:
            whole = self._members(self.shape, seed)
            return whole[..., corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]
        found = torch.empty(len(self.only), time, *size)
        columns = -(-width // self.block[1])
        for row, column in product(
            *(_blocks(at, n, edge) for at, n, edge in zip(corner, size, self.block, strict=True))
        ):
            place = 1 + row * columns + column
            drawn = self._members((time, *self.block), derived_seed(seed, place))
            (y_to, y_from), (x_to, x_from) = (
                _shared(at, n, index * edge, edge)
                for at, n, index, edge in zip(corner, size, (row, column), self.block, strict=True)
            )
            found[..., y_to, x_to] = drawn[..., y_from, x_from]
        return found

    def _members(self, shape: tuple[int, ...], seed: int) -> Float[Tensor, "sample time y x"]:
        """Those asked for, as they are among all."""
        return member_noise(shape, self.samples, seed, self.antithetic)[self.only.start : self.only.stop]


def _blocks(first: int, count: int, edge: int) -> range:
    """The blocks along one axis that `count` cells from `first` on touch."""
    return range(first // edge, (first + count - 1) // edge + 1)


def _shared(first: int, count: int, start: int, edge: int) -> tuple[slice, slice]:
    """Cells that a part and a block have in common along one axis: counted from the part, and from the block."""
    low, high = max(first, start), min(first + count, start + edge)
    return slice(low - first, high - first), slice(low - start, high - start)


__all__ = ["Noise", "member_noise"]
