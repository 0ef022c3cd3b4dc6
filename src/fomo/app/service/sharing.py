"""Which of several processes draws what: pieces of ensembles, city by city, district by district, members last.

All units of work stand in one row: cities, in each its districts, in each its members, as many at a time as must be
drawn together. Every process takes one stretch of about the same cost. A stretch ends between two cities or two
districts where that costs it little, so that few ensembles are cut and little is encoded twice.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

#: How much of a process's share it may be off for a cut between districts or cities.
UNEVEN = Fraction(1, 20)


@dataclass(frozen=True)
class Work:
    """What the forecast of one city consists of."""

    districts: int
    samples: int
    unit: int  # members that are drawn together
    cost: int = 1  # of a unit, beside those of other cities: cells of a district times steps

    @property
    def rows(self) -> int:
        """Units of a district."""
        return -(-self.samples // self.unit)

    @property
    def units(self) -> int:
        """Units of all districts."""
        return self.districts * self.rows

    def pieces(self, first: int, last: int) -> Iterator[Piece]:
        """The units from `first` to before `last` as pieces of ensembles."""
        for district in range(first // self.rows, -(-last // self.rows)):
            begin = district * self.rows
            low, high = max(first, begin) - begin, min(last, begin + self.rows) - begin
            yield Piece(district, range(low * self.unit, min(self.samples, high * self.unit)))


@dataclass(frozen=True)
class Piece:
    """Some members of one district."""

    district: int
    members: range

    def __str__(self) -> str:
        """As in the name of a file."""
        return f"district{self.district}-members{self.members.start}to{self.members.stop}"


#: City -> process -> its pieces; processes without any are left out.
Shares = list[dict[int, list[Piece]]]


def shared_work(works: Sequence[Work], processes: int) -> Shares:
    """The pieces of every process; one that nothing is left for has none."""
    begins = [0, *accumulate(work.units * work.cost for work in works)]
    counts = [0, *accumulate(work.units for work in works)]
    shares: Shares = [{} for _ in works]
    if not works or not begins[-1]:
        return shares
    cuts = list(accumulate((_cut(works, begins, counts, rank, processes) for rank in range(processes + 1)), max))
    for rank, (first, last) in enumerate(pairwise(cuts)):
        for city, work in enumerate(works):
            low, high = max(first, counts[city]) - counts[city], min(last, counts[city + 1]) - counts[city]
            if low < high:
                shares[city][rank] = list(work.pieces(low, high))
    return shares


def _cut(works: Sequence[Work], begins: list[int], counts: list[int], rank: int, processes: int) -> int:
    """The first unit of a process, counted over all cities."""
    share = Fraction(begins[-1], processes)
    place = share * rank
    city = min(bisect_right(begins, place) - 1, len(works) - 1)
    work, inside = works[city], place - begins[city]
    for edge in (work.units, work.rows, 1):
        units = _nearest(inside / (edge * work.cost)) * edge
        if edge == 1 or abs(units * work.cost - inside) <= UNEVEN * share:
            return counts[city] + min(units, work.units)
    raise AssertionError("the last edge is a unit")


def _nearest(number: Fraction) -> int:
    """The nearest whole number; halves go up, so that places one apart stay one apart."""
    return (number + Fraction(1, 2)).__floor__()


__all__ = ["Piece", "Shares", "Work", "shared_work"]
