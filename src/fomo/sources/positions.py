"""Where the cells of a table lie: grid rows and columns as given, or longitudes and latitudes snapped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fomo.city import CityError
from fomo.sources.archive import table_columns
from fomo.sources.frames import read_renamed
from fomo.sources.in_memory import Table

if TYPE_CHECKING:
    import polars

MOST = 100_000  # rows or columns
MOST_GRID_CELLS = 100_000_000
KM_PER_DEGREE = 40_030.0 / 360  # of latitude, on the mean sphere


@dataclass(frozen=True)
class Grid:
    """`cells` has the columns cell, row, col; lon and lat (y, x) are cell centres or None;

    `farthest` is a cell.
    """

    cells: polars.DataFrame
    height: int
    width: int
    farthest: str
    lon: np.ndarray | None = None
    lat: np.ndarray | None = None


def grid_of(path: Table, renamed: Mapping[str, str], cell_km: float | None) -> Grid:
    """The grid from the columns cell and row, col or lon, lat of a table.

    Raises `CityError` naming the cell.
    """
    present = table_columns(path)
    called = {name: other for name, other in renamed.items() if other in present}
    for pair in (("row", "col"), ("lon", "lat")):
        kept = {"cell": "text"} | dict.fromkeys(pair, "number")
        if all(called.get(name, name) in present for name in kept):
            frame = _one_place_each(read_renamed(path, kept, called), path)
            return _given(frame, path) if pair[0] == "row" else _snapped(frame, path, cell_km)
    raise CityError(
        f"{path} does not say where the cells lie; it has the columns {present}: add row and col, or "
        "lon and lat, or pass positions= and columns= (--positions, --columns)"
    )


def _one_place_each(frame: polars.DataFrame, path: Table) -> polars.DataFrame:
    import polars

    frame = frame.unique(maintain_order=True)
    twice = frame.filter(polars.col("cell").is_duplicated())
    if twice.height:
        raise CityError(f"cell {twice['cell'][0]!r} has two positions in {path}: keep one")
    unknown = frame.filter(polars.any_horizontal(polars.col(frame.columns[1:]).is_null()))
    if unknown.height:
        raise CityError(f"cell {unknown['cell'][0]!r} has no position in {path}: fill its fields")
    return frame


def _given(frame: polars.DataFrame, path: Table) -> Grid:
    cell, row, column = (frame[name].to_numpy() for name in ("cell", "row", "col"))
    wrong = np.zeros(len(cell), bool)
    for index in (row, column):
        wrong |= ~((index >= 0) & (index < MOST) & (index == np.floor(index)))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise CityError(
            f"cell {cell[at]!r} of {path} lies outside the grid at row {row[at]:g}, col {column[at]:g}: "
            f"rows and columns are whole numbers from 0 to {MOST - 1}"
        )
    grid = _grid(frame, row, column)
    _check_span(grid, path)
    return grid


def _snapped(frame: polars.DataFrame, path: Table, cell_km: float | None) -> Grid:
    if cell_km is None or not cell_km > 0:
        raise CityError(
            f"{path} gives lon and lat, so the edge of a cell is needed: pass cell_km= (--cell-km), e.g. 1.0"
        )
    cell, lon, lat = (frame[name].to_numpy() for name in ("cell", "lon", "lat"))
    wrong = ~((np.abs(lon) <= 180) & (np.abs(lat) < 90))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise CityError(
            f"cell {cell[at]!r} of {path} lies outside the grid at lon {lon[at]:g}, lat {lat[at]:g}: "
            "degrees are needed, lon from -180 to 180 and lat from -90 to 90; are they swapped?"
        )
    south, west = lat.min(), lon.min()
    north_step = cell_km / KM_PER_DEGREE
    east_step = north_step / float(np.cos(np.deg2rad(lat.mean())))
    row = np.floor((lat - south) / north_step + 1e-9)
    column = np.floor((lon - west) / east_step + 1e-9)
    plain = _grid(frame, row, column)
    _check_span(plain, path, f" of {cell_km:g} km", " or pass a larger cell_km=")
    centre_lon, centre_lat = np.meshgrid(
        west + (np.arange(plain.width) + 0.5) * east_step,
        south + (np.arange(plain.height) + 0.5) * north_step,
    )
    return Grid(plain.cells, plain.height, plain.width, plain.farthest, centre_lon, centre_lat)


def _check_span(grid: Grid, path: Table, size: str = "", remedy: str = "") -> None:
    """Refuse a grid that is nearly empty: one misplaced cell makes it so."""
    if grid.height * grid.width > min(MOST_GRID_CELLS, 10_000 + 1_000 * grid.cells.height):
        raise CityError(
            f"the {grid.cells.height} cells of {path} span {grid.height} x {grid.width} grid cells{size}: "
            f"cell {grid.farthest!r} lies outside of any city; correct it{remedy}"
        )


def _grid(frame: polars.DataFrame, row: np.ndarray, column: np.ndarray) -> Grid:
    import polars

    cells = polars.DataFrame({"cell": frame["cell"], "row": row.astype(np.int64), "col": column.astype(np.int64)})
    away = np.abs(row - np.median(row)) + np.abs(column - np.median(column))
    farthest = str(frame["cell"][int(np.argmax(away))])
    return Grid(cells, int(row.max()) + 1, int(column.max()) + 1, farthest)
