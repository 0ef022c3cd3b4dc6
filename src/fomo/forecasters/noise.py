"""The random numbers that members begin with: the same for a seed and a place, however the work is cut.

On a grid larger than a district, numbers are drawn block by block, each block from a seed of its own, so that any part
of them is found again without the rest. Members are read in order from a stream, so that a part of a large ensemble is
drawn without holding the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import product

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from fomo.forecasters.tiles import in_common
from fomo.seeds import derived_seed

#: `torch.randn` on a CPU turns uniform numbers into normal ones in groups of so many; those left over at the end of a
#: tensor are drawn again with the last whole group.
GROUP = 16
#: Numbers that are passed over at a time.
PASSED_OVER = 2**20
#: Numbers of blocks begin here: smaller ones are of other streams of the same seed (`drawing.py`).
BLOCKS = 2**16
_WORD = 2**32


def member_noise(shape: tuple[int, ...], samples: int, seed: int, antithetic: bool) -> Float[Tensor, "sample time y x"]:
    """Standard normal numbers per member; with `antithetic`, member 2i + 1 has the negative of member 2i's."""
    generator = torch.Generator().manual_seed(seed)
    if not antithetic:
        return torch.randn((samples, *shape), generator=generator)
    half = torch.randn(((samples + 1) // 2, *shape), generator=generator)
    return torch.stack([half, -half], 1).flatten(0, 1)[:samples]


class Stream:
    """The numbers of `torch.randn(total)` one after another, without holding all of them.

    Whole groups drawn one after another are those of one call, as long as the end is drawn with a whole group before
    it; a test compares them.
    """

    def __init__(self, seed: int, total: int) -> None:
        """`total`: how many there are."""
        self._generator = torch.Generator().manual_seed(seed)
        self._total, self._drawn = total, 0
        self._left = torch.empty(0)  # drawn and not yet taken

    @property
    def taken(self) -> int:
        """How many have been taken."""
        return self._drawn - len(self._left)

    def take(self, count: int) -> Float[Tensor, " number"]:
        """The next ones."""
        if count <= len(self._left):
            taken, self._left = self._left[:count], self._left[count:]
            return taken
        end = self.taken + count
        until = -(-end // GROUP) * GROUP
        if self._total - until < GROUP:
            until = self._total
        fresh = torch.randn(until - self._drawn, generator=self._generator)
        found = torch.cat([self._left, fresh]) if len(self._left) else fresh
        self._drawn = until
        self._left = found[count:].clone()  # a view would keep all of them
        return found[:count]

    def pass_over(self, count: int) -> None:
        """Go on without the next ones."""
        while count > 0:
            count -= len(self.take(min(count, PASSED_OVER)))


@dataclass(frozen=True)
class Noise:
    """Standard normal numbers of the members of some tasks on one grid, (task, sample, time, y, x)."""

    seeds: tuple[int, ...]  # one per task
    samples: int
    antithetic: bool
    shape: tuple[int, int, int]  # time, y, x of the whole grid
    block: tuple[int, int]  # a grid no larger than this is drawn as one
    only: range  # the members that are asked for
    #: Seed and shape -> where its numbers have been read to; those of later members go on from there.
    streams: dict[tuple[int, tuple[int, ...]], Stream] = field(default_factory=dict, compare=False, repr=False)

    def part(
        self, corner: tuple[int, int], size: tuple[int, int], draw: int | None = None, only: range | None = None
    ) -> Float[Tensor, "task sample time y x"]:
        """The numbers of the cells from `corner` on; `draw` counts fresh numbers for the same cells.

        `only`: of these members. They cost least in order: going back begins again from the first member.
        """
        only = self.only if only is None else only
        seeds = self.seeds if draw is None else tuple(derived_seed(seed, draw) for seed in self.seeds)
        unique = {seed: self._of_seed(seed, corner, size, only) for seed in dict.fromkeys(seeds)}
        return torch.stack([unique[seed] for seed in seeds])

    def _of_seed(
        self, seed: int, corner: tuple[int, int], size: tuple[int, int], only: range
    ) -> Float[Tensor, "sample time y x"]:
        """The numbers of one task."""
        time, height, width = self.shape
        if height <= self.block[0] and width <= self.block[1]:
            whole = self._members(self.shape, seed, only)
            return whole[..., corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]
        found = torch.empty(len(only), time, *size)
        columns = -(-width // self.block[1])
        for row, column in product(
            *(_blocks(at, n, edge) for at, n, edge in zip(corner, size, self.block, strict=True))
        ):
            place = BLOCKS + row * columns + column
            drawn = self._members((time, *self.block), derived_seed(seed, place), only)
            (y_to, y_from), (x_to, x_from) = (
                in_common(at, n, index * edge, edge)
                for at, n, index, edge in zip(corner, size, (row, column), self.block, strict=True)
            )
            found[..., y_to, x_to] = drawn[..., y_from, x_from]
        return found

    def _members(self, shape: tuple[int, ...], seed: int, only: range) -> Float[Tensor, "sample time y x"]:
        """Those of `member_noise` that are asked for, as they are among all."""
        unit, each = 2 if self.antithetic else 1, math.prod(shape)
        first, last = only.start // unit, -(-only.stop // unit)
        stream = self.streams.get((seed, shape))
        if stream is None or stream.taken > first * each:
            stream = self.streams[seed, shape] = Stream(seed, -(-self.samples // unit) * each)
        stream.pass_over(first * each - stream.taken)
        drawn = stream.take((last - first) * each).view(last - first, *shape)
        if self.antithetic:
            drawn = torch.stack([drawn, -drawn], 1).flatten(0, 1)
        return drawn[only.start - first * unit : only.stop - first * unit]


def evenly_spread(
    seeds: Float[Tensor, "task y x"], members: range, antithetic: bool
) -> Float[Tensor, "task member y x"]:
    """Standard normal numbers of which the first 2^n of a cell lie one in each of 2^n equal parts of the distribution.

    Where one number rules a whole member of a cell, the mean over a few members is near its own. They are the points of
    van der Corput's sequence, each cell's scrambled on its own (Owen, 1995) by a hash (Burley, 2020); a member's number
    depends on its place alone, not on how many there are. `seeds`: a standard normal number for each cell. With
    `antithetic`, member 2i + 1 has the negative of member 2i's.
    """
    seed = (torch.special.ndtr(seeds.double()) * _WORD).long()[:, None].clamp(0, _WORD - 1)
    place = torch.tensor(list(members), device=seeds.device)
    first = (place // 2 if antithetic else place)[None, :, None, None].expand(-1, -1, *seeds.shape[1:])
    # In another order in each cell, blocks of 2^n members together: else all would rise and fall at once.
    shuffled = _reversed(_from_below(_reversed(first), seed))
    point = _reversed(_from_below(shuffled, (seed * 0x9E3779B1 + 0x7F4A7C15) % _WORD))
    normal = torch.special.ndtri((point.double() + 0.5) / _WORD).float()
    sign = 1 - 2 * (place % 2) if antithetic else torch.ones_like(place)
    return normal * sign[None, :, None, None]


def _from_below(x: Int64[Tensor, "*#axes"], seed: Int64[Tensor, "*#axes"]) -> Int64[Tensor, "..."]:
    """A permutation of 32 bits in which every bit depends on itself and those below it alone."""
    x = (x ^ (x * 0x3D20ADEA)) % _WORD
    x = (x + seed) % _WORD
    x = (x * ((seed >> 16) | 1)) % _WORD
    x = (x ^ (x * 0x05526C56)) % _WORD
    return (x ^ (x * 0x53A22864)) % _WORD


def _reversed(x: Int64[Tensor, "*axes"]) -> Int64[Tensor, "*axes"]:
    """32 bits, the last one first."""
    for width, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF), (16, 0x0000FFFF)):
        x = ((x & mask) << width) | ((x >> width) & mask)
    return x


def _blocks(first: int, count: int, edge: int) -> range:
    """The blocks along one axis that `count` cells from `first` on touch."""
    return range(first // edge, (first + count - 1) // edge + 1)


__all__ = ["Noise", "Stream", "evenly_spread", "member_noise"]
