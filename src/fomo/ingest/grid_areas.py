"""How much of a polygon lies in each cell of a grid, exactly, without cutting it into squares.

Green's theorem: the area of a polygon (counter-clockwise) is the integral of x dy along its edges. The part of it in
column c of a row is the integral of clip(x - c, 0, 1) dy over its edges within that row. So the edges are cut at the
lines of the grid; a piece in column c gives (x - c) dy to that cell and dy to all cells of the row west of it. The cost
grows with the number of cells that the polygons touch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from fomo.ingest.ledger import IngestError

SMALLEST_SHARE = 1e-9  # of a polygon's area: what rounding leaves in cells that it does not touch


@dataclass(frozen=True)
class GridAreas:
    """Entries: the `share` of the area of a `polygon` that lies in the grid cell (`row`, `column`).

    The shares of a polygon sum to 1 less what is beyond the grid.
    """

    polygon: np.ndarray
    row: np.ndarray
    column: np.ndarray
    share: np.ndarray


@dataclass(frozen=True)
class Edges:
    """Straight lines with the polygon that they belong to, in units of grid cells from the grid's south-west corner."""

    polygon: Int[np.ndarray, " edge"]
    begin: Float[np.ndarray, "edge 2"]
    end: Float[np.ndarray, "edge 2"]


def grid_areas(polygons: np.ndarray, cell_m: float, height: int, width: int) -> GridAreas:
    """Shares of the areas of shapely's polygons in the cells of a grid, both in metres from its south-west corner.

    Lines and points have no area and no entries. Raises `IngestError` where shapely is not there.
    """
    edges, area = _edges(polygons, cell_m)
    pieces = _cut(edges, height, width)
    rise = pieces.end[:, 1] - pieces.begin[:, 1]
    middle = (pieces.begin + pieces.end) / 2
    row = np.floor(middle[:, 1]).astype(np.int64)
    column = np.clip(np.floor(middle[:, 0]), 0, width - 1).astype(np.int64)
    part = np.clip(middle[:, 0] - column, 0, 1) * rise  # beyond the grid: all of the last cell, none of the first
    taken = (row >= 0) & (row < height)
    key = (pieces.polygon[taken].astype(np.int64) * height + row[taken]) * width + column[taken]
    key, area_in = _sum_rows(key, part[taken], rise[taken], width)
    line, column = np.divmod(key, width)
    polygon, row = np.divmod(line, height)
    share = area_in / area[polygon]
    kept = share > SMALLEST_SHARE
    return GridAreas(polygon[kept], row[kept], column[kept], share[kept])


def _edges(polygons: np.ndarray, cell_m: float) -> tuple[Edges, np.ndarray]:
    """Edges of all rings, the outer ones counter-clockwise, and the area of each polygon in grid cells."""
    try:
        import shapely
    except ImportError:
        raise IngestError("areas on the grid need shapely: pip install 'fomo[operator]'") from None
    parts, part_of = shapely.get_parts(polygons, return_index=True)
    parts = shapely.normalize(parts)  # outer rings clockwise, holes the other way round
    rings, ring_of = shapely.get_rings(parts, return_index=True)
    points, point_of = shapely.get_coordinates(rings, return_index=True)
    points = points / cell_m
    within = point_of[1:] == point_of[:-1]
    polygon = part_of[ring_of[point_of[:-1][within]]]
    return (
        Edges(polygon, points[1:][within], points[:-1][within]),  # turned round
        np.asarray(shapely.area(polygons)) / cell_m**2,
    )


def _cut(edges: Edges, height: int, width: int) -> Edges:
    """The edges cut at the lines of the grid, in order; level pieces, which have no part in any area, are left out."""
    rising = edges.begin[:, 1] != edges.end[:, 1]
    begin, end = edges.begin[rising], edges.end[rising]
    number = np.arange(len(begin))
    owners, places = [number, number], [np.zeros(len(begin)), np.ones(len(begin))]
    for axis, most in ((0, width), (1, height)):
        low, high = (np.sort(np.stack([begin[:, axis], end[:, axis]]), 0)[side] for side in (0, 1))
        first = np.maximum(np.floor(low) + 1, 0)
        count = np.maximum(np.minimum(np.ceil(high) - 1, most) - first + 1, 0).astype(np.int64)
        owner = np.repeat(number, count)
        line = first[owner] + np.arange(len(owner)) - (np.cumsum(count) - count)[owner]
        owners.append(owner)
        places.append((line - begin[owner, axis]) / (end[owner, axis] - begin[owner, axis]))
    owner, place = np.concatenate(owners), np.clip(np.concatenate(places), 0, 1)
    order = np.lexsort((place, owner))
    owner, place = owner[order], place[order, None]
    points = begin[owner] * (1 - place) + end[owner] * place
    within = owner[1:] == owner[:-1]
    return Edges(edges.polygon[rising][owner[:-1][within]], points[:-1][within], points[1:][within])


def _sum_rows(
    key: Int[np.ndarray, " piece"], part: Float[np.ndarray, " piece"], rise: Float[np.ndarray, " piece"], width: int
) -> tuple[Int[np.ndarray, " entry"], Float[np.ndarray, " entry"]]:
    """Areas in grid cells of pieces and in those between them; `key`: (polygon, row, column) as one number.

    A cell has the parts of its own pieces and the rises of those east of it in its row.
    """
    key, at = np.unique(key, return_inverse=True)
    own = np.bincount(at, part, len(key)).astype(float)  # whole numbers where there is nothing
    summed = np.cumsum(np.bincount(at, rise, len(key)))  # the rises of a ring in a row sum to 0: this stays small
    closes = np.append(np.diff(key // width) != 0, True)[: len(key)]  # the last of its row of its polygon
    line = np.cumsum(np.concatenate([[False], closes[:-1]]))[: len(key)]
    east = summed[closes][line] - summed
    gap = np.where(closes, 0, np.diff(key, append=0) - 1)
    before = np.repeat(np.arange(len(key)), gap)
    between = key[before] + 1 + np.arange(len(before)) - (np.cumsum(gap) - gap)[before]
    return np.concatenate([key, between]), np.concatenate([own + east, east[before]])


__all__ = ["GridAreas", "grid_areas"]
