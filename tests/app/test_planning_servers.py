"""Who shares a server: squares of the grid, and what becomes of a cell that is alone in one."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.app.service.planning.servers import find_servers, servers_of_all, with_traffic
from fomo.city import City, make_city
from fomo.planning.load import PlanError


def city_at(*places: tuple[int, int], layout: str = "grid") -> City:
    """A grid of 12 x 12 (a list of 40) with traffic in a few cells."""
    traffic = np.zeros((24, 12, 12) if layout == "grid" else (24, 1, 40))
    traffic[:, *np.array(places).T] = 1.0
    return make_city(traffic, name="x", start="2024-01-01", step_minutes=60, layout=layout)  # type: ignore[arg-type]


def test_without_a_lone_cell_both_ways_find_the_same_servers() -> None:
    city = city_at((0, 0), (0, 3), (4, 4), (7, 7), (11, 0), (8, 1))
    ours = servers_of_all(city, with_traffic(city))
    for mine, theirs in zip(ours, find_servers(city), strict=True):
        assert mine.name == theirs.name
        np.testing.assert_array_equal(mine.places, theirs.places)


def test_a_lone_cell_joins_the_server_of_the_nearest_cell_and_all_cells_have_one() -> None:
    city = city_at((0, 0), (0, 3), (0, 4), (9, 9), (11, 11))
    servers = servers_of_all(city, with_traffic(city))
    assert [(each.name, each.places.tolist()) for each in servers] == [
        ("x [0,0]", [[0, 0], [0, 3], [0, 4]]),
        ("x [2,2]", [[9, 9], [11, 11]]),
    ]
    assert [len(each.places) for each in find_servers(city)] == [2, 2]  # a comparison leaves it out


def test_cells_that_are_all_alone_share_one_server_with_the_nearest() -> None:
    for city in (city_at((0, 0), (0, 11), (11, 0)), city_at((0, 0), (0, 20), (0, 39), layout="list")):
        servers = servers_of_all(city, with_traffic(city))
        assert all(len(each.places) > 1 for each in servers)
        assert sum(len(each.places) for each in servers) == 3


def test_a_single_cell_has_nobody_to_share_with() -> None:
    city = city_at((5, 5))
    with pytest.raises(PlanError, match="only 1 cell of 'x' carries traffic"):
        servers_of_all(city, with_traffic(city))


def test_a_list_may_lie_along_either_axis() -> None:
    along = make_city(np.ones((24, 1, 40)), name="x", start="2024-01-01", step_minutes=60, layout="list")
    down = make_city(np.ones((24, 40, 1)), name="x", start="2024-01-01", step_minutes=60, layout="list")
    sizes = [[len(each.places) for each in servers_of_all(city, with_traffic(city))] for city in (along, down)]
    assert sizes == [[16, 16, 8]] * 2
