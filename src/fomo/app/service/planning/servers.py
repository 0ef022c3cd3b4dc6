"""Cells that share a server: those of a square of `EDGE` x `EDGE` (all cells of a small region).

Cells that never carried anything are left out. That a square carries traffic does not say that a station stands in it:
where footprints are spread over squares, neighbouring stations serve it (`squares`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from fomo.city import City
from fomo.planning.load import PlanError

#: Cells along the edge of what one server runs: a region of the authors' release.
EDGE = 4


@dataclass(frozen=True)
class Server:
    """Cells that are planned together: a square of the grid."""

    name: str  # city or region, and the square's first row and column on a large grid
    places: Int[np.ndarray, "cell 2"]


def with_traffic(city: City) -> Int[np.ndarray, "cell 2"]:
    """The cells that ever carried traffic: for others there is nothing to plan."""
    return np.argwhere((city["traffic"].values > 0).any(0) & city["covered"].values)


def find_servers(city: City) -> list[Server]:
    """The squares of a grid with at least two cells that ever carried traffic; of a list, every `EDGE`² cells.

    A cell that is alone in its square shares with nobody: there is nothing to compare plans on.
    """
    servers = [each for each in _squares(city, with_traffic(city)) if len(each.places) > 1]
    if not servers:
        raise PlanError(f"{city.attrs['name']!r} has no two neighbouring cells with traffic: there is nothing to share")
    return servers


def servers_of_all(city: City, places: Int[np.ndarray, "cell 2"]) -> list[Server]:
    """Servers of all of these cells: one that is alone in its square is run by the server of the nearest other cell.

    Raises `PlanError` for a single cell.
    """
    if len(places) < 2:
        raise PlanError(f"only {len(places)} cell of {city.attrs['name']!r} carries traffic: there is nothing to share")
    servers = _squares(city, places)
    while True:
        lone = next((each for each in servers if len(each.places) == 1), None)
        if lone is None:
            return servers
        others = [each for each in servers if each is not lone]
        away = [np.hypot(*(each.places - lone.places).T).min() for each in others]
        nearest = others[int(np.argmin(away))]
        joined = Server(nearest.name, np.concatenate([nearest.places, lone.places]))
        servers = [joined if each is nearest else each for each in others]


def _squares(city: City, places: Int[np.ndarray, "cell 2"]) -> list[Server]:
    """The squares of a grid that have any of the places."""
    if city.attrs["layout"] == "list":
        index = places @ np.array([city.sizes["x"], 1])  # a list may lie along either axis
        squares = np.stack([np.zeros(len(places), int), index // EDGE**2], -1)
    else:
        squares = places // EDGE
    several, name = np.unique(squares, axis=0), str(city.attrs["name"])
    return [
        Server(
            name if len(several) == 1 else f"{name} [{square[0]},{square[1]}]",
            places[(squares == square).all(1)],
        )
        for square in several
    ]


__all__ = ["EDGE", "Server", "find_servers", "servers_of_all", "with_traffic"]
