"""Rasters of people per pixel onto the ground, block by block, by area.

A pixel is cut into pieces no larger than half a cell. A piece is an upright rectangle on the ground, centred where
its centre projects to, as wide and high as the projection makes it there, and is shared by area between the (up to
four) cells that it touches. On a raster in the ground's own reference system that is the exact overlap; on others,
the outline of a piece is turned upright, which moves people by a small part of a piece and loses none.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from fomo.ingest.ground import Ground, transformer
from fomo.ingest.ledger import IngestError

PIXELS = 1_000_000  # read at once, about
PIECES = 500_000  # spread at once, about
MOST_CUTS = 700  # of a pixel's edge
#: Shares below this are rounding of edges that coincide: without it a neighbouring cell would count as recorded.
LEAST_SHARE = 1e-9
Project = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def people_of_raster(path: Path, ground: Ground) -> tuple[Float[np.ndarray, "y x"], float, str]:
    """People per cell (NaN where no pixel with a value is), people of the whole file, and a word on its form.

    Raises `IngestError` where the raster is damaged, has no reference system or several bands, or negative people,
    and where it does not reach the ground.
    """
    try:
        import rasterio
    except ImportError:
        raise IngestError("rasters need rasterio: pip install 'fomo[operator]'") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)  # refused below, with a remedy
            with rasterio.open(path) as raster:
                _check(raster, path)
                return _people(raster, ground, path)
    except rasterio.errors.RasterioError as error:
        cause = error.__cause__ or error
        raise IngestError(f"{path} is damaged or is no raster ({cause}): fetch it again") from None


def _check(raster: Any, path: Path) -> None:
    if raster.count != 1:
        raise IngestError(f"{path} has {raster.count} bands: write the one with the people to a file of its own")
    if raster.crs is None:
        raise IngestError(
            f"{path} has no reference system, so its place is unknown: put a .prj beside it, or write one into it "
            "(gdal_edit.py -a_srs EPSG:4326)"
        )
    if raster.transform.is_identity or raster.transform.determinant == 0:
        raise IngestError(f"{path} does not say where its pixels lie (no geotransform): georeference it")
    if raster.dtypes[0].startswith("complex"):
        raise IngestError(f"{path} holds {raster.dtypes[0]}: people are real numbers")


def _people(raster: Any, ground: Ground, path: Path) -> tuple[Float[np.ndarray, "y x"], float, str]:
    project = transformer(raster.crs.to_wkt(), ground.crs).transform
    first_row, last_row, first_column, last_column = _reach(raster, ground)
    size = ground.height * ground.width
    people, known = np.zeros(size), np.zeros(size)
    total = 0.0
    for row, column, block in _blocks(raster, path):
        total += float(np.nansum(block))
        top, bottom = max(first_row - row, 0), min(last_row - row, block.shape[0])
        left, right = max(first_column - column, 0), min(last_column - column, block.shape[1])
        if top < bottom and left < right:
            part = block[top:bottom, left:right]
            _spread(part, row + top, column + left, raster.transform, project, ground, people, known)
    if not known.any():
        west, south, east, north = raster.bounds
        raise IngestError(
            f"no pixel of {path} with a value lies on the grid: the raster reaches from {west:g}, {south:g} to "
            f"{east:g}, {north:g} in {raster.crs.to_string()[:40]}; take one of this place, or correct the grid"
        )
    people[known == 0] = np.nan
    form = f"raster of {raster.height} x {raster.width} pixels, {raster.crs.to_string()[:40]}"
    return people.reshape(ground.height, ground.width), total, form


def _blocks(raster: Any, path: Path) -> Iterator[tuple[int, int, Float[np.ndarray, "row column"]]]:
    """First row and column of blocks that cover the raster, and their people, NaN where there is no data."""
    from rasterio.windows import Window

    tile_height, tile_width = raster.block_shapes[0]
    width = min(raster.width, tile_width * max(1, PIXELS // (tile_height * tile_width)))
    height = max(1, PIXELS // (width * tile_height)) * tile_height  # whole tiles, so that none is unpacked twice
    scale, offset = raster.scales[0], raster.offsets[0]
    for row in range(0, raster.height, height):
        for column in range(0, raster.width, width):
            window = Window(column, row, min(width, raster.width - column), min(height, raster.height - row))
            found = raster.read(1, window=window, masked=True)
            block = np.ma.filled(found.astype(float), np.nan) * scale + offset
            wrong = (block < 0) | np.isinf(block)
            if wrong.any():
                at = np.unravel_index(int(np.argmax(wrong)), block.shape)
                raise IngestError(
                    f"{path} has {block[at]:g} people at row {row + at[0]}, column {column + at[1]}: people are finite "
                    f"and not negative; if that means no data, say so in the file (gdal_edit.py -a_nodata "
                    f"{block[at]:g}; it has {raster.nodata})"
                )
            yield row, column, block


def _reach(raster: Any, ground: Ground) -> tuple[int, int, int, int]:
    """First and last (exclusive) row and column of the pixels that may touch the ground."""
    west, south, east, north = ground.bounds
    edge = np.linspace(0, 1, 101)
    along_east, along_north = west + edge * (east - west), south + edge * (north - south)
    x = np.concatenate([along_east, along_east, np.full(101, west), np.full(101, east)])
    y = np.concatenate([np.full(101, south), np.full(101, north), along_north, along_north])
    raster_x, raster_y = transformer(ground.crs, raster.crs.to_wkt()).transform(x, y)
    finite = np.isfinite(raster_x) & np.isfinite(raster_y)
    if not finite.any():
        return 0, 0, 0, 0
    back = ~raster.transform
    raster_x, raster_y = np.asarray(raster_x)[finite], np.asarray(raster_y)[finite]
    column, row = back.a * raster_x + back.b * raster_y + back.c, back.d * raster_x + back.e * raster_y + back.f
    margin = 2  # pixels: the outline bulges between its points
    return (
        max(0, int(np.floor(row.min())) - margin),
        min(raster.height, int(np.ceil(row.max())) + margin),
        max(0, int(np.floor(column.min())) - margin),
        min(raster.width, int(np.ceil(column.max())) + margin),
    )


def _spread(
    block: Float[np.ndarray, "row column"],
    first_row: int,
    first_column: int,
    affine: Any,
    project: Project,
    ground: Ground,
    people: Float[np.ndarray, " cell"],
    known: Float[np.ndarray, " cell"],
) -> None:
    """Add a block's people, and the area that it knows of (in cells), to the cells of the ground."""
    at_row, at_column = np.nonzero(np.isfinite(block))
    if not len(at_row):
        return
    amount = block[at_row, at_column]
    row, column = at_row + first_row + 0.5, at_column + first_column + 0.5
    middle = len(row) // 2
    wide, high = _sizes(row[middle : middle + 1], column[middle : middle + 1], 1.0, affine, project, ground)
    size = np.concatenate([wide, high])
    cuts = max(1, int(np.ceil(2.2 * size[np.isfinite(size)].max(initial=0.0))))
    if cuts > MOST_CUTS:
        raise IngestError(f"a pixel is {cuts / 2.2:.0f} cells wide: take a finer raster than that, or larger cells")
    steps = (np.arange(cuts) + 0.5) / cuts - 0.5
    down, right = (step.ravel() for step in np.meshgrid(steps, steps, indexing="ij"))
    most = max(1, PIECES // cuts**2)
    for begin in range(0, len(row), most):
        part = slice(begin, begin + most)
        piece_row = (row[part, None] + down).ravel()
        piece_column = (column[part, None] + right).ravel()
        _share(
            _cells(piece_row, piece_column, affine, project, ground),
            _sizes(piece_row, piece_column, 1 / cuts, affine, project, ground),
            np.repeat(amount[part] / cuts**2, cuts**2),
            (ground.height, ground.width),
            people,
            known,
        )


def _cells(
    row: Float[np.ndarray, " piece"], column: Float[np.ndarray, " piece"], affine: Any, project: Project, ground: Ground
) -> tuple[Float[np.ndarray, " piece"], Float[np.ndarray, " piece"]]:
    """Columns and rows of the ground, with fractions, of places in pixels."""
    x = affine.a * column + affine.b * row + affine.c
    y = affine.d * column + affine.e * row + affine.f
    east, north = project(x, y)
    return (np.asarray(east) - ground.west) / ground.cell_m, (np.asarray(north) - ground.south) / ground.cell_m


def _sizes(
    row: Float[np.ndarray, " piece"],
    column: Float[np.ndarray, " piece"],
    edge: float,
    affine: Any,
    project: Project,
    ground: Ground,
) -> tuple[Float[np.ndarray, " piece"], Float[np.ndarray, " piece"]]:
    """Width and height in cells of pieces of `edge` pixels: root of squares, as spread is kept when turning upright."""
    half = edge / 2
    ends = [_cells(row, column + side, affine, project, ground) for side in (-half, half)]
    ends += [_cells(row + side, column, affine, project, ground) for side in (-half, half)]
    with np.errstate(invalid="ignore"):  # infinite where the projection does not reach
        wide, high = (np.hypot(ends[1][axis] - ends[0][axis], ends[3][axis] - ends[2][axis]) for axis in (0, 1))
    return wide, high


def _share(
    centre: tuple[Float[np.ndarray, " piece"], Float[np.ndarray, " piece"]],
    size: tuple[Float[np.ndarray, " piece"], Float[np.ndarray, " piece"]],
    amount: Float[np.ndarray, " piece"],
    shape: tuple[int, int],
    people: Float[np.ndarray, " cell"],
    known: Float[np.ndarray, " cell"],
) -> None:
    """Share pieces (places and sizes in cells, all smaller than a cell) between the cells that they touch."""
    finite = np.isfinite(centre[0]) & np.isfinite(centre[1]) & np.isfinite(size[0]) & np.isfinite(size[1])
    sides = []
    for place, length in zip(centre, size, strict=True):
        low, length = place[finite] - length[finite] / 2, np.maximum(length[finite], 1e-12)
        first = np.floor(low)
        upper = np.clip((low + length - first - 1) / length, 0, 1)  # the part in the next cell
        upper = np.where(upper < LEAST_SHARE, 0, np.where(upper > 1 - LEAST_SHARE, 1, upper))
        sides.append((first, upper))
    (column, right), (row, up) = sides
    area = size[0][finite] * size[1][finite]
    for next_row, part_row in ((0, 1 - up), (1, up)):
        for next_column, part_column in ((0, 1 - right), (1, right)):
            at_row, at_column, share = row + next_row, column + next_column, part_row * part_column
            inside = (at_row >= 0) & (at_row < shape[0]) & (at_column >= 0) & (at_column < shape[1]) & (share > 0)
            cell = (at_row[inside] * shape[1] + at_column[inside]).astype(np.int64)
            people += np.bincount(cell, (amount[finite] * share)[inside], len(people))
            known += np.bincount(cell, (area * share)[inside], len(known))


__all__ = ["people_of_raster"]
