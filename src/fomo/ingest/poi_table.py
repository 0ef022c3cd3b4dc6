"""Points of interest from a table: a longitude, a latitude and a category a row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import polars

from fomo.ingest.gcj02 import wgs84_of_gcj02
from fomo.ingest.ground import Ground
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import plain
from fomo.ingest.poi import PoiLayers, count_points
from fomo.ingest.points import LAT, LON, read_points

#: Usual names of the column with the category.
CATEGORY = (
    *("category", "poi_category", "file_category", "main_category", "top_category", "fclass", "poi_type", "type"),
    *("class", "kind", "类别", "大类", "类型"),
)
SHIFTED_LON = ("lon_gcj02", "gcj02_lon", "lng_gcj02", "gcj02_lng", "gcj_lon", "gcj_lng", "经度")
SHIFTED_LAT = ("lat_gcj02", "gcj02_lat", "gcj_lat", "纬度")


def poi_of_table(
    path: str | Path,
    ground: Ground,
    columns: Mapping[str, str] | None = None,
    *,
    shifted: Literal["", "gcj02"] = "",
    attribution: str = "",
    ledger: Ledger | None = None,
) -> PoiLayers:
    """Points of a CSV, TSV or Parquet file per category (15, y, x) on the ground.

    `columns` says how 'lon', 'lat' and 'category' are called in the file; otherwise usual names are looked for, WGS 84
    before others. Degrees may have decimal commas. Categories are understood as `fomo.sources.categories` does (names
    of AMap and others, OpenStreetMap's key=value). A category without a point on the ground is NaN, not 0:
    releases are often partial, by city and category.
    Rows with an empty position, one that is no number or beyond the globe (longitude and latitude swapped) are
    rejected; every one is counted, in `PoiLayers.rejected` and in the ledger.

    Beware: Chinese maps (AMap, Tencent) give GCJ-02, some hundred metres off. `shifted='gcj02'` moves such points back
    to WGS 84. Columns that are called gcj02 are refused without it; others cannot be told, so say it where you know.

    Raises `IngestError` where the file is no such table, no row has a usable position, or no point is on the ground.
    """
    path = Path(path)
    if shifted not in ("", "gcj02"):
        raise IngestError(f"shifted={shifted!r} is not known: leave it out for WGS 84, or write 'gcj02'")
    ledger = Ledger() if ledger is None else ledger
    told = dict(columns or {})
    names = {"lon": (*LON, *SHIFTED_LON), "lat": (*LAT, *SHIFTED_LAT), "category": CATEGORY}
    if shifted:
        true = [name for name in (*LON, *LAT) if "wgs" in name]
        names["lon"] = (*SHIFTED_LON, *(name for name in LON if name not in true))
        names["lat"] = (*SHIFTED_LAT, *(name for name in LAT if name not in true))
    table = read_points(path, names, told, ledger, "--poi-columns")
    _check_shift(path, (table.columns["lon"], table.columns["lat"]), shifted)
    lon, lat = wgs84_of_gcj02(table.lon, table.lat) if shifted else (table.lon, table.lat)
    texts = table.values["category"].cast(polars.String).fill_null("").str.strip_chars()
    found = texts.unique(maintain_order=True)
    index = texts.replace_strict(found, np.arange(len(found)), return_dtype=polars.Int64).to_numpy()
    layers = count_points(
        lon, lat, index, found.to_list(), ground, path, attribution=attribution or path.name, rejected=table.rejected
    )
    ledger.taken += layers.points
    return layers


def _check_shift(path: Path, columns: tuple[str, str], shifted: str) -> None:
    """Refuse what the names of the columns deny."""
    told = {name: ("gcj" in plain(name), "wgs" in plain(name)) for name in columns}
    for name, (is_shifted, is_true) in told.items():
        if is_shifted and not shifted:
            raise IngestError(
                f"column {name!r} of {path} is GCJ-02, some hundred metres off: say --poi-gcj02, or "
                "name WGS 84 columns with --poi-columns lon=COLUMN lat=COLUMN"
            )
        if is_true and shifted:
            raise IngestError(f"column {name!r} of {path} is WGS 84 by its name: leave out --poi-gcj02")


__all__ = ["poi_of_table"]
