"""How the traffic of cells is spread over the grid: a counter belongs to a cell, a city needs it on the ground.

    allocation = allocate(sites, ground)
    traffic = allocation.to_grid(values)  # (time, cell) -> (time, y, x)

Total traffic is conserved: what a cell that is partly on the grid would serve beyond it is put on its part within, in
proportion (`lost` says how much that is). Only cells with nothing on the grid are left out; they are in `outside`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars
from jaxtyping import Bool, Float, Float64, Int

from fomo.city import EARLIEST, LATEST
from fomo.ingest.footprints import cell_footprints
from fomo.ingest.grid_areas import grid_areas
from fomo.ingest.ground import Ground
from fomo.ingest.ledger import IngestError
from fomo.ingest.sites import Sites

Method = Literal["point", "voronoi"]

LONGEST_KM = 10.0  # that a cell reaches where its range is not known
ROUNDING = 1e-9  # of a share
#: Times that are spread at once: their grids stay near the processor, where those of a whole day do not.
TOGETHER = 16
#: Days in service of a cell of which no end is said.
SINCE_EVER_FOR_EVER = (int(np.iinfo(np.int32).min), int(np.iinfo(np.int32).max))
NORTHWARD = 1e-4  # degrees: the step that shows where north is on the grid


@dataclass(frozen=True)
class Allocation:
    """Weights of cells in grid cells.

    `matrix`: scipy CSR, float64 (grid cells as y * width + x, cells); columns sum to 1, those of `outside` to 0.
    `lost`: share of each cell's ground that lies beyond the grid, 1 for those of `outside`. `service`: the first and
    the last day of each cell in days since 1970, None where all are in service throughout.
    """

    cells: tuple[str, ...]
    matrix: Any
    lost: Float[np.ndarray, " cell"]
    height: int
    width: int
    service: Int[np.ndarray, "cell 2"] | None = None

    def in_service(self, day: np.datetime64) -> Bool[np.ndarray, " cell"]:
        """Which cells are expected to report on a day."""
        if self.service is None:
            return np.ones(len(self.cells), bool)
        number = int(day.astype("datetime64[D]").astype(np.int64))
        return np.asarray((self.service[:, 0] <= number) & (number <= self.service[:, 1]))

    def serving(self, day: np.datetime64) -> Bool[np.ndarray, "y x"]:
        """Grid cells that any cell in service on a day serves."""
        if self.service is None:
            return self.covered
        served = self.matrix @ self.in_service(day).astype(np.float64)
        return np.asarray(served > 0).reshape(self.height, self.width)

    def days_served(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The first and the last day on which any cell serves each grid cell, datetime64[D] (y, x); None: none is said.

        NaT where one of its cells has no such end, or no cell serves it. Where the times of its cells leave a hole
        between them it is taken to be in service in the hole.
        """
        service = self.service
        if service is None:
            return None
        served = self.covered.reshape(-1)
        ends = np.tile(SINCE_EVER_FOR_EVER, (len(served), 1)).astype(np.int32)
        for end, of_all in enumerate((np.minimum, np.maximum)):
            cells = service[self.matrix.indices, end]
            ends[served, end] = of_all.reduceat(cells, self.matrix.indptr[:-1][served])
        first, last = dated_service(ends.reshape(self.height, self.width, 2))
        return first, last

    @property
    def outside(self) -> tuple[str, ...]:
        """Cells that serve nothing of the grid: their traffic is not on it."""
        return tuple(self.cells[at] for at in np.flatnonzero(self.lost >= 1))

    @property
    def covered(self) -> Bool[np.ndarray, "y x"]:
        """Grid cells that any cell serves."""
        return (np.diff(self.matrix.indptr) > 0).reshape(self.height, self.width)

    def to_grid(
        self,
        values: Float[np.ndarray, "time cell"],
        smallest_share: float = 0.01,
        expected: Bool[np.ndarray, " cell"] | None = None,
    ) -> Float[np.ndarray, "time y x"]:
        """Amounts of cells (traffic, users; NaN = missing) summed on the grid: in float64, returned as float32.

        Missing stays missing: a grid cell is NaN where cells are missing that usually carry more than `smallest_share`
        of it. Below that they count as nothing. What a cell usually carries is its mean over `values`, and where it has
        none, the mean of the cells: so it is known from these values alone, whatever comes before or after. Cells that
        are not `expected` (None: all are) count as nothing where they are missing. Where no cell serves the ground, or
        none of those that do is recorded, it is NaN as well. Raises `IngestError` for values of other cells than
        `cells`.
        """
        if values.shape[1] != len(self.cells):
            raise IngestError(
                f"values of {values.shape[1]} cells for an allocation of {len(self.cells)}: bring them to its order"
            )
        missing = np.isnan(values)
        some = np.flatnonzero(missing.any(0))
        bare = np.flatnonzero(~self.covered.reshape(-1))
        if len(some):
            usual = usual_amounts(values) if expected is None else usual_amounts(values) * expected
            weights = self.matrix[:, some]
            carried = weights.multiply(usual[None, some]).tocsr()
            most = smallest_share * (self.matrix @ usual)[:, None]
            everything = (1 - ROUNDING) * np.asarray(self.matrix.sum(1)).reshape(-1, 1)
        found = np.empty((len(values), self.matrix.shape[0]), np.float32)
        for first in range(0, len(values), TOGETHER):
            part = slice(first, first + TOGETHER)
            amounts = np.where(missing[part], 0.0, values[part]) if len(some) else values[part]
            grid = self.matrix @ np.ascontiguousarray(amounts.T, np.float64)
            grid[bare] = np.nan
            if len(some):
                absent = np.ascontiguousarray(missing[part][:, some].T, np.float64)
                grid[(carried @ absent > most) | (weights @ absent >= everything)] = np.nan
            found[part] = grid.T
        return found.reshape(-1, self.height, self.width)


def usual_amounts(values: Float[np.ndarray, "time cell"]) -> Float64[np.ndarray, " cell"]:
    """What each cell carries in the mean of its values; where it has none, the mean of the cells that have some."""
    known = np.isfinite(values)
    count = known.sum(0)
    mean = np.where(known, values, 0.0).sum(0, dtype=np.float64) / np.maximum(count, 1)
    return np.where(count > 0, mean, mean[count > 0].mean() if count.any() else 1.0)


def allocate(sites: Sites, ground: Ground, method: Method = "voronoi", longest_km: float = LONGEST_KM) -> Allocation:
    """Weights of the cells of a site list in the cells of a grid.

    'point': all in the grid cell of the site. 'voronoi': over the part of the site's Voronoi region that lies in the
    cell's sector (`footprints.py`) and within its range, or `longest_km` where that is not known, by area. Raises
    `IngestError` where a site cannot be projected, and where scipy or shapely is not there.
    """
    if method not in ("point", "voronoi"):
        raise IngestError(f"method {method!r} is not known: write point or voronoi")
    if not (longest_km > 0 and np.isfinite(longest_km)):
        raise IngestError(f"longest_km is {longest_km:g}: write how far a cell reaches, e.g. {LONGEST_KM:g}")
    try:
        from scipy.sparse import csc_array
    except ImportError:
        raise IngestError("spreading cells over the grid needs scipy: pip install 'fomo[operator]'") from None
    lon, lat = sites.column("lon"), sites.column("lat")
    east, north = ground.project(lon, lat)
    beyond = ~(np.isfinite(east) & np.isfinite(north))
    if beyond.any():
        cell = sites.cells[int(np.argmax(beyond))]
        raise IngestError(f"cell {cell!r} cannot be projected to {ground.crs}: correct its position or the crs")
    shape = (ground.height * ground.width, len(sites.cells))
    of_cell = np.arange(len(sites.cells))
    if method == "point":
        row, column, inside = ground.cell_of(east, north)
        spot = row[inside], column[inside], of_cell[inside]
        share = np.ones(len(spot[0]))
    else:
        reach_m = 1000 * np.nan_to_num(sites.column("range_km"), nan=longest_km)
        azimuth = sites.column("azimuth") + _bearing_of_north(ground, lon, lat)
        found = cell_footprints(east - ground.west, north - ground.south, azimuth, reach_m)  # small numbers are exact
        of_cell = found.of_cell
        areas = grid_areas(found.polygons, ground.cell_m, ground.height, ground.width)
        spot, share = (areas.row, areas.column, areas.polygon), areas.share
    on_grid = np.bincount(spot[2], share, of_cell.max() + 1)
    lost = np.where(on_grid > 0, 1 - on_grid, 1.0)
    lost[np.abs(lost) < ROUNDING] = 0.0
    service = _service(sites)
    index = (spot[0] * ground.width + spot[1], spot[2])
    matrix = csc_array((share / on_grid[spot[2]], index), shape=(shape[0], len(on_grid)))[:, of_cell]
    return Allocation(sites.cells, matrix.tocsr(), lost[of_cell], ground.height, ground.width, service)


def _service(sites: Sites) -> Int[np.ndarray, "cell 2"] | None:
    """First and last days of cells, in days since 1970; None where the list says none."""
    if sites.table.select(polars.all_horizontal(polars.col("from", "to").is_null()).all()).item():
        return None
    return days_in_service(sites.table)


def days_in_service(table: polars.DataFrame) -> Int[np.ndarray, "cell 2"]:
    """`from` and `to` of the cells of a table, in days since 1970; the ends of `SINCE_EVER_FOR_EVER` where none."""
    days = (
        table[name].to_physical().fill_null(end) for name, end in zip(("from", "to"), SINCE_EVER_FOR_EVER, strict=True)
    )
    return np.stack([each.to_numpy().astype(np.int32) for each in days], 1)


def dated_service(service: Int[np.ndarray, "*axes 2"]) -> tuple[np.ndarray, np.ndarray]:
    """First and last days in service, datetime64[D], of days since 1970; NaT where there is no such end."""
    # No time of a city lies beyond these, and nanoseconds do not hold every year.
    nearest, farthest = (int(np.datetime64(end, "D").astype(np.int64)) for end in (EARLIEST, LATEST))
    days = service.clip(nearest, farthest).astype("datetime64[D]")
    days[service == SINCE_EVER_FOR_EVER] = np.datetime64("NaT")
    return days[..., 0], days[..., 1]


def _bearing_of_north(
    ground: Ground, lon: Float[np.ndarray, " cell"], lat: Float[np.ndarray, " cell"]
) -> Float[np.ndarray, " cell"]:
    """Degrees from the grid's north to true north, clockwise: up to 3 at the edge of a UTM zone."""
    east, north = ground.project(lon, lat - NORTHWARD / 2)
    further_east, further_north = ground.project(lon, lat + NORTHWARD / 2)
    return np.rad2deg(np.arctan2(further_east - east, further_north - north))


__all__ = ["LONGEST_KM", "SINCE_EVER_FOR_EVER", "Allocation", "Method", "allocate", "dated_service", "days_in_service"]
