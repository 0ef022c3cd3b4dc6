"""Where an operator's cells are: a checked site list, and the grid on the ground that covers it.

    sites = read_sites("sites.csv")
    ground = choose_ground(sites, cell_m=500.0)

A list is CSV, TSV or Parquet under usual column names (`site_files.USUAL_NAMES`), or OpenCelliD's and Mozilla's, whose
cells are called mcc-net-area-cell (there positions are centres of phone reports, not of sites).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars
from jaxtyping import Float

from fomo.ingest.clock import UnknownTimes, format_of, time_of
from fomo.ingest.footprints import same_place
from fomo.ingest.ground import Ground, check_projection, median_position, utm_zone
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.site_checks import check_degrees, check_far, one_row_each, told
from fomo.ingest.site_files import read_site_file

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Columns of a site list, in this order; lon and lat in degrees (WGS 84).
SITES: dict[str, polars.DataType] = {
    "cell": polars.String(),
    "lon": polars.Float64(),
    "lat": polars.Float64(),
    "azimuth": polars.Float64(),  # degrees from true north, clockwise, 0 to below 360; null = omnidirectional
    "range_km": polars.Float64(),  # null = not known
    "from": polars.Date(),  # the first and the last day on which it is in service; null = since ever, for ever
    "to": polars.Date(),
}
GUESSED_METRES = 100.0  # a range without a unit is in metres where half of them are above this, else in kilometres
#: The year of a day that says that there is no end, as days are written: first, last, or without anything between.
FAR_AWAY = r"^(?:9999|2999)(?:\b|\d{4}(?:\d{4}(?:\d{2})?)?$)|^\d{1,2}[-./ ]\w{1,3}[-./ ](?:9999|2999)\b"
#: Of a time, at its end.
OFFSET = r"\s*(?:[Zz]|[-+]\d{2}(?::?\d{2})?)$"
MOST_RANGE_KM = 300.0  # of a cell: what is above is a mistake
MOST_GRID_CELLS = 10_000_000  # of a ground
USUAL_GRID_CELLS = 10_000  # grids below this are never called nearly empty
SHRINKS = 4.0  # a grid that shrinks by this without its farthest cells is nearly empty because of them,
OUTLYING = 5.0  # where the farthest is this much further from the middle than half of the others


@dataclass(frozen=True)
class Sites:
    """One row per cell: `table` has the columns of `SITES`."""

    table: polars.DataFrame
    path: str = ""
    dated: bool = True  # whether the list has a column of days in service

    def __post_init__(self) -> None:
        """Raises `IngestError` where the table is none of cells with a position each."""
        if dict(self.table.schema) != SITES:
            raise IngestError(f"a site list has the columns {SITES}, not {dict(self.table.schema)}")
        if not self.table.height:
            raise IngestError("a site list without cells: name one with positions")
        twice = self.table.filter(polars.col("cell").is_duplicated())
        if twice.height:
            raise IngestError(f"cell {twice['cell'][0]!r} is twice in the site list: keep one row")
        if self.table.select(polars.any_horizontal(polars.col("cell", "lon", "lat").is_null()).any()).item():
            raise IngestError("a cell without name or position is in the site list: take it out")
        if self.table.select((polars.col("range_km") <= 0).any()).item():
            raise IngestError("a range of 0 km or less is in the site list: leave it empty where it is not known")
        turned = self.table.filter(polars.col("to") < polars.col("from"))
        if turned.height:
            cell, first, last = turned.select("cell", "from", "to").row(0)
            raise IngestError(
                f"cell {cell!r} is in service from {first} to {last} in the site list: correct a day, or leave it empty"
            )

    @property
    def cells(self) -> tuple[str, ...]:
        """The operator's names, in the order of the list."""
        return tuple(self.table["cell"].to_list())

    def column(self, name: str) -> Float[np.ndarray, " cell"]:
        """A column of numbers in the order of `cells`; NaN for null."""
        return self.table[name].cast(polars.Float64).fill_null(float("nan")).to_numpy()


def make_sites(table: polars.DataFrame, path: str = "") -> Sites:
    """Sites from a frame with cell, lon, lat and perhaps azimuth, range_km, from and to. Raises `IngestError`."""
    absent = [name for name in ("cell", "lon", "lat") if name not in table.columns]
    if absent:
        raise IngestError(f"a site list needs the columns {absent}; this one has {table.columns}")
    empty = [polars.lit(None).alias(name) for name in SITES if name not in table.columns]
    ordered = table.with_columns(empty).select(polars.col(name).cast(kind) for name, kind in SITES.items())
    return Sites(ordered, path)


def read_sites(path: Path | str, columns: Mapping[str, str] | None = None, ledger: Ledger | None = None) -> Sites:
    """A site list from CSV (any usual separator, `.gz` too), TSV or Parquet.

    `columns`: cell, lon, lat, azimuth, range_km or range_m, from, to -> name in the file, where that is not a usual
    one. Rows without name or position, or at 0/0, go to the `ledger`; what is not understood of azimuths and ranges is
    noted there. Raises `IngestError` for swapped, impossible and far positions, for cells with two of them, by name,
    and for a from or to that is no date.
    """
    path = Path(path)
    ledger = ledger if ledger is not None else Ledger()
    text = read_site_file(path, dict(columns or {}), ledger)
    read = text.height
    text = _reject(text, path, ledger)
    if not text.height:
        first = "; ".join(f"{reason} ({ledger.first[reason]})" for reason in ledger.rejected if ledger.first[reason])
        raise IngestError(f"none of the {read} rows of {path} is a cell with a position: {first or 'it has no rows'}")
    ledger.taken += text.height
    table = polars.DataFrame(
        {
            "cell": text["cell"],
            "lon": text["lon"],
            "lat": text["lat"],
            "azimuth": _azimuth(text, path, ledger),
            "range_km": _range_km(text, path, ledger),
            "from": _date(text, "from", path),
            "to": _date(text, "to", path),
        },
        schema=SITES,
    )
    check_degrees(table, path)
    table = one_row_each(table, path, ledger)
    check_far(table, path)
    return Sites(table, str(path), dated="from" in text.columns or "to" in text.columns)


def choose_ground(sites: Sites, cell_m: float, crs: str | None = None, margin_m: float = 1_000.0) -> Ground:
    """The grid that covers all sites and `margin_m` around them, its edges at whole multiples of `cell_m`.

    `crs`: a projection in metres; without it the UTM zone of the sites' middle. Raises `IngestError` for a crs that
    does not suit the sites, naming it, and for a grid that is nearly empty or too large, naming the cell to blame.
    """
    if not (cell_m > 0 and np.isfinite(cell_m)) or not margin_m >= 0:
        raise IngestError(f"grid cells of {cell_m:g} m and a margin of {margin_m:g} m: write e.g. 500 and 1000")
    lon, lat = sites.column("lon"), sites.column("lat")
    middle = median_position(lon, lat)
    code = check_projection(crs if crs is not None else utm_zone(*middle), *middle)
    east, north = Ground(code, 0.0, 0.0, cell_m, 1, 1).project(lon, lat)
    beyond = ~(np.isfinite(east) & np.isfinite(north))
    if beyond.any():
        at = int(np.argmax(beyond))
        raise IngestError(f"{told(sites.table, at)} cannot be projected to {code}: correct its position")
    away = np.hypot(east - np.median(east), north - np.median(north))
    order = np.argsort(away, kind="stable")
    farthest = int(order[-1])
    whole = _grid_around(code, east, north, cell_m, margin_m)
    count = whole.height * whole.width
    if len(order) > 1 and count > USUAL_GRID_CELLS:
        kept = order[: len(order) - max(1, len(order) // 100)]
        without = _grid_around(code, east[kept], north[kept], cell_m, margin_m)
        outlying = away[farthest] > OUTLYING * np.median(away[kept])
        if outlying and count > SHRINKS * without.height * without.width:
            raise IngestError(
                f"{told(sites.table, farthest)} lies {away[farthest] / 1000:.1f} km from the middle of the sites: "
                f"with it the grid has {whole.height} x {whole.width} cells of {cell_m:g} m and is nearly empty, "
                f"without it and its like {without.height} x {without.width}; correct or drop it"
            )
    if count > MOST_GRID_CELLS:
        raise IngestError(
            f"the {len(order)} cells span {whole.height} x {whole.width} grid cells of {cell_m:g} m: take larger ones; "
            f"the farthest is {told(sites.table, farthest)}"
        )
    return whole


def stations_on(
    ground: Ground,
    lon: Float[np.ndarray, " cell"],
    lat: Float[np.ndarray, " cell"],
    azimuth: Float[np.ndarray, " cell"],
) -> Float[np.ndarray, "y x"]:
    """How many stations stand in each cell of the grid; antennas of one roof are one station (`same_place`)."""
    east, north = ground.project(lon, lat)
    # Small numbers are exact.
    _, site_east, site_north = same_place(east - ground.west, north - ground.south, azimuth)
    row, column, inside = ground.cell_of(site_east + ground.west, site_north + ground.south)
    found = np.bincount(row[inside] * ground.width + column[inside], minlength=ground.height * ground.width)
    return found.reshape(ground.height, ground.width).astype(np.float32)


def _grid_around(code: str, east: np.ndarray, north: np.ndarray, cell_m: float, margin_m: float) -> Ground:
    first, last = (
        [int(np.floor((bound + sign * margin_m) / cell_m)) for bound in bounds]
        for bounds, sign in (((east.min(), north.min()), -1), ((east.max(), north.max()), 1))
    )
    return Ground(
        code, first[0] * cell_m, first[1] * cell_m, cell_m, last[1] - first[1] + 1, last[0] - first[0] + 1
    )  # a site on the last edge lies in a cell of its own, as edges belong to the cell north-east of them


def _reject(text: polars.DataFrame, path: Path, ledger: Ledger) -> polars.DataFrame:
    """Rows with name and position, lon and lat as numbers; the others are in the ledger, each for its first reason."""
    lon, lat = _number(text["lon"]), _number(text["lat"])
    empty = text["lon"].is_null() | text["lat"].is_null()
    reasons = {
        "cell without a name": text["cell"].is_null(),
        "cell without a position": empty,
        "position is no number of degrees": lon.is_null() | lat.is_null(),
        "position is 0/0": ((lon == 0) & (lat == 0)).fill_null(False),
    }
    left = polars.repeat(True, text.height, dtype=polars.Boolean, eager=True)
    for reason, wrong in reasons.items():
        ledger.reject(reason, str(path), list(_rows(text.filter(left & wrong))))
        left = left & ~wrong
    return text.with_columns(lon.alias("lon"), lat.alias("lat")).filter(left)


def _rows(text: polars.DataFrame) -> Iterator[str]:
    for row in text.iter_rows():
        yield f"row {row[0]}: " + ",".join("" if value is None else str(value) for value in row[1:])


def _number(column: polars.Series) -> polars.Series:
    """Finite numbers with a point or a comma before their decimals; null for anything else."""
    commas = column.str.contains(r"^[-+]?\d+,\d+$").fill_null(False)
    points = column.str.replace(",", ".", literal=True).zip_with(commas, column)
    number = points.cast(polars.Float64, strict=False)
    return number.set(~number.is_finite().fill_null(True), None)


def _azimuth(text: polars.DataFrame, path: Path, ledger: Ledger) -> polars.Series:
    if "azimuth" not in text.columns:
        return polars.Series([None] * text.height, dtype=polars.Float64)
    given = text["azimuth"]
    omni = given.is_null() | given.str.to_lowercase().is_in(["omni", "omnidirectional"])
    azimuth = _number(given)
    azimuth = azimuth.set(~((azimuth >= 0) & (azimuth <= 360)).fill_null(True), None)
    lost = int((azimuth.is_null() & ~omni).sum())
    ledger.note("azimuth is no number from 0 to 360: taken as omnidirectional", lost, str(path))
    azimuth = azimuth.set((azimuth == 360).fill_null(False), 0.0)
    if text.height > 2 and azimuth.null_count() == 0 and (azimuth == 0).all():
        ledger.note("azimuth is 0 in every row: taken as not filled in, cells as omnidirectional", text.height)
        return polars.Series([None] * text.height, dtype=polars.Float64)
    return azimuth


def _range_km(text: polars.DataFrame, path: Path, ledger: Ledger) -> polars.Series:
    key = next((name for name in ("range_km", "range_m", "range") if name in text.columns), "")
    if not key:
        return polars.Series([None] * text.height, dtype=polars.Float64)
    given = text[key]
    amount = _number(given)
    if key == "range":
        middle = amount.filter(amount > 0).median()
        key = "range_m" if isinstance(middle, float) and middle > GUESSED_METRES else "range_km"
        unit = "metres" if key == "range_m" else "kilometres"
        ledger.note(f"range has no unit: read as {unit}, from its values", int((amount > 0).sum()), str(path))
    amount = amount / 1000 if key == "range_m" else amount
    usable = ((amount > 0) & (amount <= MOST_RANGE_KM)).fill_null(False)
    lost = int((given.is_not_null() & ~usable).sum())
    ledger.note(f"range is no number above 0 and up to {MOST_RANGE_KM:g} km: taken as not known", lost, str(path))
    return amount.set(~usable, None)


def _date(text: polars.DataFrame, name: str, path: Path) -> polars.Series:
    """Days of a column; null where it is empty, or far away: 9999-12-31 stands for no end. Raises `IngestError`.

    They are those that are written: midnight of a zone is on its day, whatever day it is in UTC.
    """
    nothing = polars.Series([None] * text.height, dtype=polars.Date)
    if name not in text.columns:
        return nothing
    given = text[name]
    far = given.str.contains(FAR_AWAY).fill_null(False)
    given = given.set(far, None)
    try:
        form = format_of(given)
    except UnknownTimes as error:
        raise IngestError(f"column {name!r} of {path} {error}: write days like 2024-03-31") from None
    if not form:
        return nothing
    zoned = form.endswith("%#z")
    local = given.str.replace(OFFSET, "") if zoned else given
    days = polars.select(time_of(polars.lit(local), form.removesuffix("%#z"))).to_series().cast(polars.Date)
    wrong = days.is_null() & given.is_not_null()
    if wrong.any():
        at = wrong.arg_max() or 0
        raise IngestError(
            f"{name} of cell {text['cell'][at]!r} of {path} is {given[at]!r}, no day like those of the others: "
            "write days like 2024-03-31, and leave it empty where there is none"
        )
    return days


__all__ = ["SITES", "Sites", "choose_ground", "make_sites", "read_sites", "stations_on"]
