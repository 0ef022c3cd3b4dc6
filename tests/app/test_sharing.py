"""Who draws what: nothing twice, nothing left out, about equal shares, few cuts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fomo.app.service.sharing import UNEVEN, Shares, Work, shared_work


def cost(works: Sequence[Work], shares: Shares, process: int) -> int:
    """What a process pays."""
    return sum(
        work.cost * -(-len(piece.members) // work.unit)
        for work, ranks in zip(works, shares, strict=True)
        for piece in ranks.get(process, ())
    )


@pytest.mark.parametrize(
    "works",
    [
        [Work(1, 20, 2)],
        [Work(1, 21, 4)],
        [Work(9, 5, 2, 3000)],
        [Work(1, 20, 2, 16), Work(4, 20, 2, 2500), Work(1, 20, 2, 600)],
        [Work(1, 3, 2, 10)] * 11,
    ],
)
@pytest.mark.parametrize("processes", range(1, 8))
def test_every_member_of_every_district_is_drawn_once_by_about_equal_shares(works, processes):
    shares = shared_work(works, processes)
    for work, ranks in zip(works, shares, strict=True):
        drawn = [
            (piece.district, member) for rank in sorted(ranks) for piece in ranks[rank] for member in piece.members
        ]
        assert drawn == [(district, member) for district in range(work.districts) for member in range(work.samples)]
        assert all(piece.members.start % work.unit == 0 for pieces in ranks.values() for piece in pieces)
    share = sum(work.cost * work.units for work in works) / processes
    largest = max(work.cost for work in works)
    for process in range(processes):
        assert abs(cost(works, shares, process) - share) <= 2 * float(UNEVEN) * share + largest


@pytest.mark.parametrize("samples", [1, 2, 5, 20, 21])
@pytest.mark.parametrize("unit", [2, 4])
def test_of_one_ensemble_everyone_has_some_members_as_long_as_there_are_enough(samples, unit):
    work = Work(1, samples, unit)
    for processes in range(1, 13):
        (ranks,) = shared_work([work], processes)
        assert len(ranks) == min(processes, work.units)
        units = [-(-len(piece.members) // unit) for pieces in ranks.values() for piece in pieces]
        assert max(units) - min(units) <= 1


def test_cities_and_districts_stay_whole_where_that_is_nearly_even():
    cities = [Work(1, 20, 2, 100)] * 8
    assert all(len(ranks) == 1 for ranks in shared_work(cities, 4))
    nearly = [Work(1, 20, 2, 100), Work(1, 20, 2, 104)]
    assert [list(ranks) for ranks in shared_work(nearly, 2)] == [[0], [1]]
    (ranks,) = shared_work([Work(6, 20, 2)], 3)
    assert [[piece.district for piece in ranks[rank]] for rank in range(3)] == [[0, 1], [2, 3], [4, 5]]


def test_where_there_are_fewer_districts_than_processes_members_are_shared():
    (ranks,) = shared_work([Work(2, 8, 2)], 4)
    assert {rank: [(piece.district, piece.members) for piece in pieces] for rank, pieces in ranks.items()} == {
        0: [(0, range(4))],
        1: [(0, range(4, 8))],
        2: [(1, range(4))],
        3: [(1, range(4, 8))],
    }
