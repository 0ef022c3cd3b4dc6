"""The ground that a cell serves: its part of the site's Voronoi region, as far as it reaches.

A point belongs to its nearest site, there to the sector whose azimuth is nearest, and no further than the cell reaches.
Azimuths closer than `SAME_AZIMUTH` are one sector (carriers of one panel). The only sector of a site serves
`LONE_SECTOR` degrees: what lies behind it is another site's in the field and stays uncovered here. Omnidirectional
cells serve the whole region, beside sectors too. Positions of the antennas of a roof are one site (`same_place`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from fomo.ingest.ledger import IngestError

#: Within how many metres positions are of one site: as far as antennas of a roof are apart, or less where that would
#: join the sites of a street one after the other. The least is how exact positions are.
SAME_PLACE_M = (50.0, 25.0, 12.5, 1.0)
SAME_AZIMUTH = 5.0  # degrees
LONE_SECTOR = 120.0  # degrees
CHORDS = 96  # of an arc: a circle of them has 0.07 % less area than the true one


@dataclass(frozen=True)
class Footprints:
    """`polygons` (shapely's) in metres; `of_cell` says which one is a cell's: carriers of a sector share theirs."""

    polygons: np.ndarray
    of_cell: np.ndarray


@dataclass(frozen=True)
class Sectors:
    """What each cell serves around its site, clockwise from `begin` to `end` in degrees from the grid's north.

    `number` is equal for the carriers of one sector of a site and -1 for omnidirectional cells (0 to 360 degrees).
    """

    begin: np.ndarray
    end: np.ndarray
    number: np.ndarray


def cell_footprints(
    east: Float[np.ndarray, " cell"],
    north: Float[np.ndarray, " cell"],
    azimuth: Float[np.ndarray, " cell"],
    reach_m: Float[np.ndarray, " cell"],
) -> Footprints:
    """Polygons of what cells at points (metres) serve; `azimuth` from the grid's north, NaN = omnidirectional.

    Raises `IngestError` where shapely or scipy is not there.
    """
    shapely = _shapely()
    place, site_east, site_north = same_place(east, north, azimuth)
    regions = voronoi_regions(site_east, site_north, float(reach_m.max()))
    sectors = split_by_azimuth(place, azimuth)
    kinds = np.stack([place, sectors.number, reach_m], 1)
    _, index, of_cell = np.unique(kinds, axis=0, return_index=True, return_inverse=True)
    whole = sectors.number[index] < 0
    pies = np.empty(len(index), object)
    for part, apex in ((whole, False), (~whole, True)):
        at = index[part]
        spot = site_east[place[at]], site_north[place[at]]
        pies[part] = _pies(*spot, sectors.begin[at], sectors.end[at], reach_m[at], apex)
    return Footprints(shapely.intersection(regions[place[index]], pies), of_cell.reshape(-1))


def same_place(
    east: Float[np.ndarray, " cell"], north: Float[np.ndarray, " cell"], azimuth: Float[np.ndarray, " cell"]
) -> tuple[Int[np.ndarray, " cell"], Float[np.ndarray, " site"], Float[np.ndarray, " site"]]:
    """The site of each cell, and where sites are: in the middle of their antennas' positions.

    Positions that are near to each other, or to one between them, are at one site, `SAME_PLACE_M` saying what is near:
    the largest of them with which all of a site's positions lie in a circle of that radius, as those of a roof do. So
    antennas on the edges of a roof do not cut its ground into pieces, and a street of small cells is not one site.
    Where none of them has an azimuth they are no sectors of one site, and apart from the least of these distances on.
    Raises `IngestError` where scipy is not there.
    """
    points, of_cell = np.unique(np.stack([east, north], 1), axis=0, return_inverse=True)
    of_cell = of_cell.reshape(-1)
    aimed = np.bincount(of_cell, np.isfinite(azimuth))
    site, open_ = np.full(len(points), -1), np.arange(len(points))
    for radius in SAME_PLACE_M:
        group = _linked(points[open_], radius)
        middle = _middles(points[open_], group)
        away = np.hypot(*(points[open_] - middle[group]).T)
        widest = np.zeros(len(middle))
        np.maximum.at(widest, group, away)
        joined = (widest <= radius) & (np.bincount(group, aimed[open_]) > 0)
        fits = joined[group] | (radius == SAME_PLACE_M[-1])
        site[open_[fits]] = site.max() + 1 + group[fits]
        open_ = open_[~fits]
    _, site = np.unique(site, return_inverse=True)
    middle = _middles(points, site)
    return site[of_cell].astype(np.int64), middle[:, 0], middle[:, 1]


def _linked(points: Float[np.ndarray, "point 2"], radius: float) -> Int[np.ndarray, " point"]:
    """A number for each group of points that are linked by steps of at most this length."""
    try:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components
        from scipy.spatial import cKDTree
    except ImportError:
        raise IngestError("the Voronoi regions of sites need scipy: pip install 'fomo[operator]'") from None
    if not len(points):
        return np.empty(0, np.int64)
    pairs = cKDTree(points).query_pairs(radius, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(points), len(points)))
    group: np.ndarray = connected_components(links, directed=False)[1]
    return group


def _middles(points: Float[np.ndarray, "point 2"], group: Int[np.ndarray, " point"]) -> Float[np.ndarray, "group 2"]:
    """The mean of each group's points."""
    count = np.bincount(group)
    return np.stack([np.bincount(group, axis) for axis in points.T], 1) / count[:, None]


def voronoi_regions(east: Float[np.ndarray, " site"], north: Float[np.ndarray, " site"], reach_m: float) -> np.ndarray:
    """The polygon of points that are nearest to each site, true up to `reach_m` from it at least.

    Four far sites are added, whose borders lie beyond that: with them every region is bounded, and one site, two or
    a line of them need no case of their own. Qhull is used as GEOS 3.14 fails on regular layouts (`voronoi_polygons`
    gives invalid or merged polygons where many sites lie on a circle). Raises `IngestError` where regions do not fit.
    """
    shapely = _shapely()
    try:
        from scipy.spatial import Voronoi
    except ImportError:
        raise IngestError("the Voronoi regions of sites need scipy: pip install 'fomo[operator]'") from None
    points = np.stack([east, north], 1)
    middle = (points.min(0) + points.max(0)) / 2
    half = float((np.ptp(points, axis=0) / 2).max()) + reach_m
    far = 4 * half * np.array([[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]])
    found = Voronoi(np.concatenate([points - middle, far]))
    corners = np.asarray(found.ridge_vertices)  # two of each border between two sites; both belong to both
    site = np.repeat(found.ridge_points.reshape(-1), 2)
    corner = np.repeat(corners[:, None], 2, 1).reshape(-1)
    order = np.argsort(site, kind="stable")
    order = order[site[order] < len(points)]
    site, corner = site[order], corner[order]
    if not np.array_equal(np.unique(site), np.arange(len(points))) or (corner < 0).any():
        raise IngestError(
            f"the Voronoi regions of {len(points)} sites over {half / 500:.0f} km cannot be computed, as some lie too "
            "close together for that distance: build parts of the country apart, or allocate with method='point'"
        )
    regions: np.ndarray = shapely.convex_hull(shapely.multipoints(found.vertices[corner] + middle, indices=site))
    return regions


def split_by_azimuth(place: Int[np.ndarray, " cell"], azimuth: Float[np.ndarray, " cell"]) -> Sectors:
    """Sectors of cells at sites: each up to half way to the azimuths of its neighbours."""
    begin, end, number = np.zeros(len(azimuth)), np.full(len(azimuth), 360.0), np.full(len(azimuth), -1)
    aimed = np.flatnonzero(np.isfinite(azimuth))
    if not len(aimed):
        return Sectors(begin, end, number)
    turned = np.mod(azimuth[aimed], 360.0)
    base = _first_after_a_gap(place[aimed], turned)
    turned = np.mod(turned - base, 360.0)  # no sector lies across 0 now
    order = np.lexsort((turned, place[aimed]))
    aimed, turned, base, site = aimed[order], turned[order], base[order], place[aimed][order]
    starts = _changes(site) | (np.diff(turned, prepend=0.0) > SAME_AZIMUTH)
    sector = np.cumsum(starts) - 1
    low, high = turned[starts], turned[_runs(sector)[1]][starts]
    head, tail = _runs(site[starts])  # first and last sector of the site, for each sector
    at = np.arange(len(low))
    border = (high + np.where(at == tail, 360.0, np.append(low[1:], 0.0))) / 2  # to the next sector
    before = np.where(at == head, border[tail] - 360.0, border[at - 1])
    lone = head == tail
    middle = (low + high) / 2
    begin[aimed] = base + np.where(lone, middle - LONE_SECTOR / 2, before)[sector]
    end[aimed] = base + np.where(lone, middle + LONE_SECTOR / 2, border)[sector]
    number[aimed] = sector
    return Sectors(begin, end, number)


def _first_after_a_gap(site: np.ndarray, azimuth: np.ndarray) -> np.ndarray:
    """For each cell an azimuth at which a sector of its site begins: one with none closely before it."""
    order = np.lexsort((azimuth, site))
    sorted_azimuth = azimuth[order]
    first, last = _runs(site[order])
    at = np.arange(len(order))
    gap = sorted_azimuth - np.where(at == first, sorted_azimuth[last] - 360.0, sorted_azimuth[at - 1])
    opening = np.flatnonzero(at == first)
    found = np.minimum.reduceat(np.where(gap > SAME_AZIMUTH, sorted_azimuth, np.inf), opening)
    found = np.where(np.isfinite(found), found, sorted_azimuth[opening])  # panels all around: begin anywhere
    base = np.empty(len(order))
    base[order] = found[np.cumsum(at == first) - 1]
    return base


def _changes(values: np.ndarray) -> Bool[np.ndarray, " value"]:
    """Where a sorted array has another value than before; true at its beginning."""
    return np.concatenate([[True], values[1:] != values[:-1]])


def _runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last index of the run of equal values that each element of a sorted array is in."""
    starts = np.flatnonzero(_changes(values))
    run = np.cumsum(_changes(values)) - 1
    return starts[run], np.append(starts[1:], len(values))[run] - 1


def _pies(
    east: np.ndarray, north: np.ndarray, begin: np.ndarray, end: np.ndarray, reach_m: np.ndarray, apex: bool
) -> np.ndarray:
    """Pieces of discs around points, or whole discs where there is no `apex`."""
    shapely = _shapely()
    angle = np.deg2rad(begin[:, None] + np.linspace(0, 1, CHORDS + 1) * (end - begin)[:, None])
    ring = np.stack([np.sin(angle), np.cos(angle)], 2) * reach_m[:, None, None]
    ring = np.concatenate([np.zeros((len(ring), 1, 2)), ring], 1) if apex else ring[:, :-1]
    pies: np.ndarray = shapely.polygons(ring + np.stack([east, north], 1)[:, None])
    return pies


def _shapely() -> Any:
    try:
        import shapely
    except ImportError:
        raise IngestError("what a cell serves needs shapely: pip install 'fomo[operator]'") from None
    return shapely


__all__ = ["Footprints", "Sectors", "cell_footprints", "same_place", "split_by_azimuth", "voronoi_regions"]
