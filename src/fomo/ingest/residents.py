"""People who live in each cell of the ground, from a raster of people per pixel or from a table of points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from fomo.ingest.ground import Ground
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.points import LAT, LON, is_table, numbers, place, read_points, reject_rows

#: Usual names of the column with the people.
PEOPLE = ("people", "residents", "population", "pop", "inhabitants", "persons", "pop_total", "total_pop", "count")
NO_PEOPLE = "the people are empty"
NO_NUMBER = "the people are no number"


@dataclass(frozen=True)
class Residents:
    """People on the ground.

    count            (y, x) people; NaN = not recorded: no pixel with a value overlaps the cell, or no point lies in it
    total_on_ground  people of `count`
    total_in_file    people of the whole file
    source           the file and its form
    rejected         reason -> rows of a table that were not taken
    """

    count: Float[np.ndarray, "y x"]
    total_on_ground: float
    total_in_file: float
    source: str
    rejected: dict[str, int] = field(default_factory=dict)


def residents_of(
    path: str | Path, ground: Ground, columns: Mapping[str, str] | None = None, *, ledger: Ledger | None = None
) -> Residents:
    """Residents (y, x) from a raster (GeoTIFF, ASC, BIL ...) of people per pixel, not per square kilometre, or from a
    table (CSV, TSV, Parquet) of points with longitude, latitude in degrees and people.

    A raster's pixels are shared by area between the cells that they overlap, so that people are conserved; see
    `people_raster.py`. Pixels without data say nothing: a cell with no others is NaN. `columns` says how 'lon', 'lat'
    and 'people' of a table are called. A point's people all belong to the cell in which it lies; people may be written
    with decimal commas where the degrees are. Rows without a position or people are rejected and counted.

    Raises `IngestError` where a raster has no reference system or several bands, nothing of the file lies on the
    ground, people are negative, or the file is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise IngestError(f"there is no file {path}: check the path")
    if is_table(path):
        return _of_table(path, ground, dict(columns or {}), Ledger() if ledger is None else ledger)
    from fomo.ingest.people_raster import people_of_raster

    count, total, form = people_of_raster(path, ground)
    return Residents(count, float(np.nansum(count)), total, f"{path.name} ({form})")


def _of_table(path: Path, ground: Ground, columns: dict[str, str], ledger: Ledger) -> Residents:
    table = read_points(path, {"lon": LON, "lat": LAT, "people": PEOPLE}, columns, ledger, "--residents-columns")
    people, wrong, _ = numbers(table.values["people"], decimal_comma=table.decimal_comma)
    negative = people < 0
    if negative.any():
        at = int(np.argmax(negative))
        raise IngestError(
            f"{path}, line or row {table.line[at]}: {people[at]:g} people, and {int(negative.sum())} such rows: "
            "people are not negative; leave the field empty where nothing is known"
        )
    rejected = dict(table.rejected)
    empty = np.isnan(people) & ~wrong
    for reason, rows in ((NO_NUMBER, wrong), (NO_PEOPLE, empty)):
        if rows.any():
            rejected[reason] = int(rows.sum())
            reject_rows(ledger, reason, path, table.values.filter(rows), table.line[rows])
    kept = ~(wrong | empty)
    if not kept.any():
        raise IngestError(f"no row of {path} has a number of people in {table.columns['people']!r}: check the column")
    people = people[kept]
    ledger.taken += len(people)
    row, column, inside = place(ground, table.lon[kept], table.lat[kept], path, "points with people")
    cell = row[inside] * ground.width + column[inside]
    size = ground.height * ground.width
    count = np.bincount(cell, people[inside], size)
    count[np.bincount(cell, minlength=size) == 0] = np.nan
    shape = (ground.height, ground.width)
    return Residents(
        count.reshape(shape), float(np.nansum(count)), float(people.sum()), f"{path.name} (points)", rejected
    )


__all__ = ["Residents", "residents_of"]
