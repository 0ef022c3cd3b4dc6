"""Tables with one point a row: longitude, latitude and a value, from CSV, TSV or Parquet, and where they lie on a grid.

Separators of text are comma, semicolon, tab or |, whichever is most frequent in the first line. Rows without a usable
position are rejected into the `Ledger`, with their line.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from fomo.ingest.ground import Ground
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import NumberConfig, plain

if TYPE_CHECKING:
    import polars

TABLES = (".csv", ".tsv", ".txt", ".tab", ".parquet", ".csv.gz", ".tsv.gz")
#: Usual names of the columns, the most telling first.
LON = ("lon_wgs84", "wgs84_lon", "wgs_lon", "lon", "longitude", "lng", "long", "x")
LAT = ("lat_wgs84", "wgs84_lat", "wgs_lat", "lat", "latitude", "y")
DECIMAL_COMMA = r"^\s*([+-]?\d+),(\d+)\s*$"
EMPTY = "the position is empty"
NO_NUMBER = "the position is no number"
NO_LATITUDE = "the latitude is beyond 90 degrees: swapped with the longitude, or no degrees"
NO_LONGITUDE = "the longitude is beyond 180 degrees: no degrees"


@dataclass(frozen=True)
class PointTable:
    """Rows with a position: degrees, and the other columns (`values`, unconverted, one row a point).

    `line` is the line of the file, or the row (from 1) of a Parquet. `rejected`: reason -> rows that are not here.
    `columns`: wanted name -> name in the file. `decimal_comma`: the degrees are written with decimal commas.
    """

    lon: Float[np.ndarray, " point"]
    lat: Float[np.ndarray, " point"]
    values: polars.DataFrame
    line: Int[np.ndarray, " point"]
    columns: dict[str, str]
    decimal_comma: bool = False
    rejected: dict[str, int] = field(default_factory=dict)


def is_table(path: Path) -> bool:
    """Told by the name, or by the first bytes of a Parquet."""
    if path.name.lower().endswith(TABLES):
        return True
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def read_points(
    path: Path, names: Mapping[str, Sequence[str]], columns: Mapping[str, str], ledger: Ledger, option: str
) -> PointTable:
    """The points of a table. `names`: what is wanted ('lon', 'lat' and others) -> usual names of its column, best
    first; `columns`: what is wanted -> the name in this file, where it is told; `option`: by which it is told.

    Raises `IngestError` where the file is no table, a column is not there, or no row has a position.
    """
    import polars

    if not path.is_file():
        raise IngestError(f"there is no file {path}: check the path")
    try:
        table, first = _scan(path)
        present = table.collect_schema().names()
        found = _columns(path, present, names, columns, option)
        frame = table.select(polars.col(name).alias(wanted) for wanted, name in found.items()).collect()
    except (polars.exceptions.PolarsError, OSError, EOFError, UnicodeError, zlib.error) as error:
        told = (str(error).splitlines() or [type(error).__name__])[0]
        raise IngestError(f"{path} is damaged or is no table in UTF-8 ({told}): export it again") from None
    if not frame.height:
        raise IngestError(f"{path} has no rows: export it again")
    line = np.arange(frame.height) + first
    lon, lon_bad, lon_comma = numbers(frame["lon"], decimal_comma=True)
    lat, lat_bad, lat_comma = numbers(frame["lat"], decimal_comma=True)
    reasons = {
        NO_NUMBER: lon_bad | lat_bad,
        EMPTY: np.isnan(lon) | np.isnan(lat),
        NO_LATITUDE: np.abs(lat) > 90,
        NO_LONGITUDE: np.abs(lon) > 180,
    }
    kept = np.ones(frame.height, bool)
    rejected: dict[str, int] = {}
    for reason, bad in reasons.items():
        new = bad & kept
        kept &= ~bad
        if new.any():
            rejected[reason] = int(new.sum())
            reject_rows(ledger, reason, path, frame.filter(new), line[new])
    if not kept.any():
        told = "; ".join(f"{reason} ({rows} rows)" for reason, rows in rejected.items())
        raise IngestError(f"none of the {frame.height} rows of {path} has a usable position: {told}")
    values = frame.drop("lon", "lat").filter(kept) if frame.width > 2 else polars.DataFrame()
    return PointTable(lon[kept], lat[kept], values, line[kept], found, lon_comma or lat_comma, rejected)


def numbers(
    column: polars.Series, *, decimal_comma: bool
) -> tuple[Float[np.ndarray, " row"], Bool[np.ndarray, " row"], bool]:
    """Numbers of a column (NaN where empty), which fields hold something that is none, and whether commas were decimal.

    `decimal_comma`: '24,95' is taken as 24.95; otherwise it is no number, as it may be a thousand and more.
    """
    import polars

    commas = False
    if column.dtype in (polars.String, polars.Categorical) or isinstance(column.dtype, polars.Enum):
        text = column.cast(polars.String).str.strip_chars()
        text = text.set(text.is_in(list(NumberConfig().missing)), None)
        if decimal_comma:
            commas = bool(text.str.contains(DECIMAL_COMMA).any())
            text = text.str.replace(DECIMAL_COMMA, "${1}.${2}")
        converted = text.cast(polars.Float64, strict=False)
        bad = (converted.is_null() & text.is_not_null()).to_numpy()
    else:
        converted = column.cast(polars.Float64, strict=False)
        bad = (converted.is_null() & column.is_not_null()).to_numpy()
    values = converted.fill_null(float("nan")).to_numpy().astype(float)
    infinite = np.isinf(values)
    return np.where(infinite, np.nan, values), bad | infinite, commas


def reject_rows(
    ledger: Ledger, reason: str, path: Path, rows: polars.DataFrame, lines: Int[np.ndarray, " row"]
) -> None:
    """Write rows that are not taken, with their lines, to the ledger."""
    texts = [
        f"{line}: " + ",".join("" if value is None else str(value) for value in row)
        for line, row in zip(lines.tolist(), rows.iter_rows(), strict=True)
    ]
    ledger.reject(reason, f"{path}, line or row", texts)


def place(
    ground: Ground, lon: Float[np.ndarray, " point"], lat: Float[np.ndarray, " point"], path: Path, what: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column of each point, and whether it lies on the grid, as `Ground.cell_of`.

    Raises `IngestError` where none does: a file of another place, or longitude and latitude swapped.
    """
    row, column, inside = ground.cell_of(*ground.project(lon, lat))
    if inside.any():
        return row, column, inside
    centre_lon, centre_lat = ground.lonlat()
    here = f"{centre_lon.mean():.4f} E, {centre_lat.mean():.4f} N"
    if len(lon) == 0:
        raise IngestError(f"{path} has no {what}: it is empty or holds something else")
    if ground.cell_of(*ground.project(lat, np.clip(lon, -90, 90)))[2].mean() > 0.5:
        raise IngestError(
            f"longitude and latitude of {path} are swapped: swap the columns; the grid lies around {here}"
        )
    raise IngestError(
        f"none of the {len(lon)} {what} of {path} lies on the grid around {here}: they lie from {lon.min():.4f} to "
        f"{lon.max():.4f} E and from {lat.min():.4f} to {lat.max():.4f} N; take a file of this place, or "
        "correct the grid"
    )


def _scan(path: Path) -> tuple[polars.LazyFrame, int]:
    """The table, text columns as text, and the line of its first row."""
    import polars

    with path.open("rb") as file:
        magic = file.read(4)
    if magic == b"PAR1":
        return polars.scan_parquet(path), 1
    if not magic:
        raise IngestError(f"{path} is empty: export it again")
    with gzip.open(path) if magic[:2] == b"\x1f\x8b" else path.open("rb") as text:
        head = text.readline(100_000).decode("utf-8-sig")
    separator = max(",;\t|", key=head.count)
    return polars.scan_csv(path, separator=separator, infer_schema=False), 2


def _columns(
    path: Path, present: Sequence[str], names: Mapping[str, Sequence[str]], told: Mapping[str, str], option: str
) -> dict[str, str]:
    unknown = [name for name in told if name not in names]
    if unknown:
        raise IngestError(f"{option} names {unknown}; it takes {', '.join(names)}, each with a column of the file")
    compared = {plain(name): name for name in reversed(present)}
    found: dict[str, str] = {}
    for wanted, usual in names.items():
        name = told.get(wanted) or next((compared[plain(name)] for name in usual if plain(name) in compared), "")
        if name not in present:
            raise IngestError(
                f"{path} has no column {told.get(wanted) or wanted!r}; it has {list(present)[:30]}: "
                f"say which one is the {wanted} with {option} {wanted}=COLUMN"
            )
        found[wanted] = name
    return found


__all__ = ["LAT", "LON", "PointTable", "is_table", "numbers", "place", "read_points", "reject_rows"]
