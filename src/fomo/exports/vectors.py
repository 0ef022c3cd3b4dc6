"""GeoJSON and GeoPackage: one square per cell and period, with one ISO 8601 time field; or one per cell.

The field is a date-time to GDAL, which QGIS' temporal controller takes as 'single field with date/time' (its event
duration is the step of the city) and kepler.gl as a time filter. GeoJSON (RFC 7946) is in WGS84 and tells the wall
clock with its offset; a GeoPackage is in the city's projection and, as OGC 12-128r18 (table 1, DATETIME) demands, in
UTC. Where the zone is unknown, both tell the wall clock without an offset.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from fomo.city import City
from fomo.exports.files import LAYER, check_kind, fresh_files
from fomo.exports.layers import (
    GROUND,
    Exportable,
    Statistic,
    covered_of,
    dataset_of,
    description,
    ground_of,
    layer_values,
    offset_minutes,
)
from fomo.ingest.ground import Ground, transformer
from fomo.ingest.ledger import IngestError

VectorKind: TypeAlias = Literal["geojson", "gpkg"]

MOST_FEATURES = 2_000_000
WGS84 = "EPSG:4326"
KM_PER_DEGREE = 40_030.0 / 360  # of latitude, on the mean sphere


def export_vector(
    what: Exportable,
    path: str | Path,
    *,
    kind: VectorKind,
    statistic: Statistic = "steps",
    city: City | None = None,
    times: slice | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a city or a forecast as features, one per covered cell and period; returns the path.

    `statistic` as in `layers.layer_values`; another than 'steps' makes one feature per covered cell, without a time.

    Fields: time, row and column of the cell (0 in the south and west), traffic and users of a city, or mean, low and
    high (5 % and 95 %) of a forecast; null where nothing is known. A city without a ground but with lon and lat is
    written in WGS84, as squares of `cell_km`, or as points where that is unknown or the layout is a list.

    Raises `IngestError` where a city says nowhere where it lies, for more than `MOST_FEATURES`, and where something
    else than an older export is at `path` (`overwrite=True` replaces it).
    """
    path = Path(path)
    check_kind(path, kind, get_args(VectorKind))
    try:
        import pyogrio
    except ImportError:
        raise IngestError("vector files need pyogrio: pip install 'fomo[operator]'") from None
    dataset = dataset_of(what, city, times)
    covered = covered_of(dataset)
    _check_count(dataset.sizes["time"] if statistic == "steps" else 1, dataset, int(covered.sum()))
    shapes, geometry, crs = _shapes(dataset, covered, kind)
    names, columns, masked = _fields(dataset, covered, statistic)
    offsets = offset_minutes(dataset) if statistic == "steps" else None
    zones = {} if offsets is None else {"time": np.repeat(offsets // 15 + 100, len(shapes))}  # GDAL's: quarters + 100
    told = description(dataset, "+".join(masked), statistic)
    options: dict[str, Any] = {"layer_options": _geojson_options(told)}
    if kind == "gpkg":
        options = {"layer_metadata": told}
        if offsets is not None:
            options["dataset_options"] = {"DATETIME_FORMAT": "UTC"}
    with fresh_files([path], kind, overwrite) as (fresh,):
        try:
            pyogrio.raw.write(
                fresh,
                np.tile(shapes, len(columns[0]) // len(shapes)),
                columns,
                np.array(names, dtype=object),
                layer=LAYER,
                driver={"geojson": "GeoJSON", "gpkg": "GPKG"}[kind],
                geometry_type=geometry,
                crs=crs,
                gdal_tz_offsets=zones,
                **options,
            )
        except (pyogrio.errors.DataSourceError, pyogrio.errors.CRSError, OSError) as error:
            raise IngestError(f"{path} cannot be written: {error}") from error
    return path


def _check_count(periods: int, dataset: xr.Dataset, cells: int) -> None:
    if not cells:
        raise IngestError("no cell is covered, so there are no features: export a city with traffic")
    if cells * periods <= MOST_FEATURES:
        return
    told = f"{cells} covered cells x {periods} periods are {cells * periods} features, more than {MOST_FEATURES}"
    fitting = MOST_FEATURES // cells
    if not fitting:
        raise IngestError(f"{told}: one period is too much already; export a raster, or a rectangle of the city")
    first, last = dataset["time"].values[[0, fitting - 1]].astype("datetime64[m]")
    raise IngestError(
        f"{told}: choose times, at most {fitting} periods, e.g. times=slice('{first}', '{last}') "
        f"(--first {first} --last {last})"
    )


def _fields(
    dataset: xr.Dataset, covered: Bool[np.ndarray, "y x"], statistic: Statistic
) -> tuple[list[str], list[np.ndarray], list[str]]:
    """Names and columns of all features, period by period, and the names of the amounts."""
    of_members = "sample" in dataset["traffic"].dims
    amounts = ["mean", "low", "high"] if of_members else [name for name in ("traffic", "users") if name in dataset]
    periods = dataset.sizes["time"] if statistic == "steps" else 1
    row, column = np.nonzero(covered)
    columns: list[np.ndarray] = [np.tile(part.astype(np.int32), periods) for part in (row, column)]
    columns += [layer_values(dataset, name, statistic)[:, covered].astype(np.float32).ravel() for name in amounts]
    names = ["row", "column", *amounts]
    if statistic == "steps":
        names.insert(0, "time")
        columns.insert(0, np.repeat(dataset["time"].values.astype("datetime64[ms]"), row.size))
    return names, columns, amounts


def _shapes(dataset: xr.Dataset, covered: Bool[np.ndarray, "y x"], kind: str) -> tuple[np.ndarray, str, str]:
    """Well-known binary of each covered cell, the type of geometry and the reference system."""
    try:
        import shapely
    except ImportError:
        raise IngestError("vector files need shapely: pip install 'fomo[operator]'") from None
    if any(name in dataset.attrs for name in GROUND) or "lon" not in dataset.coords:
        ground = ground_of(dataset)  # raises where it is told in part, or neither is there
        corners, crs = _corners(ground, kind == "geojson"), WGS84 if kind == "geojson" else ground.crs
        return shapely.to_wkb(shapely.polygons(corners[covered])), "Polygon", crs
    lon, lat = dataset["lon"].values[covered], dataset["lat"].values[covered]
    lost = ~(np.isfinite(lon) & np.isfinite(lat))
    if lost.any():
        y, x = np.argwhere(covered)[int(np.argmax(lost))]
        raise IngestError(f"{int(lost.sum())} covered cells have no lon and lat, the first at y={y}, x={x}: add them")
    edge = float(dataset.attrs.get("cell_km", 0))
    if not edge > 0 or dataset.attrs.get("layout") != "grid":
        return shapely.to_wkb(shapely.points(lon, lat)), "Point", WGS84
    north = edge / 2 / KM_PER_DEGREE
    east = north / np.cos(np.deg2rad(lat))
    return shapely.to_wkb(shapely.box(lon - east, lat - north, lon + east, lat + north)), "Polygon", WGS84


def _corners(ground: Ground, degrees: bool) -> Float[np.ndarray, "y x 5 2"]:
    """Closed rings of all cells, counterclockwise from the south-west; neighbours share their corners exactly."""
    east = ground.west + np.arange(ground.width + 1) * ground.cell_m
    north = ground.south + np.arange(ground.height + 1) * ground.cell_m
    x, y = np.meshgrid(east, north)
    if degrees:
        x, y = transformer(ground.crs, WGS84).transform(x, y)
    corner = np.stack([np.asarray(x), np.asarray(y)], axis=-1)
    south_west, south_east, north_west, north_east = corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]
    return np.stack([south_west, south_east, north_east, north_west, south_west], axis=-2)


def _geojson_options(told: dict[str, str]) -> dict[str, str]:
    """RFC 7946: seven decimals, rings counterclockwise; what the file says of itself is a member of its own."""
    return {
        "RFC7946": "YES",
        "NATIVE_DATA": json.dumps({"type": "FeatureCollection", "metadata": told}),
        "NATIVE_MEDIA_TYPE": "application/vnd.geo+json",
    }


__all__ = ["MOST_FEATURES", "VectorKind", "export_vector"]
