"""Rasters in metres: GeoTIFF, BIL (.bil, .hdr, .prj) and ASCII grids (.asc, .prj), as radio planning tools load them.

All are float32, -9999 where nothing is known, rows from north to south. Units and attribution are tags of a GeoTIFF;
BIL and ASC carry them in the .aux.xml that GDAL and QGIS read and others pass over.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import xarray as xr
from jaxtyping import Float, Float32

from fomo.city import City
from fomo.exports.files import check_kind, fresh_files
from fomo.exports.layers import (
    Exportable,
    Statistic,
    dataset_of,
    description,
    ground_of,
    layer_values,
    time_texts,
    unit_of,
)
from fomo.ingest.ground import Ground
from fomo.ingest.ledger import IngestError

RasterKind: TypeAlias = Literal["geotiff", "bil", "asc"]

NODATA = -9999.0
MOST_BANDS = 65_535  # a GeoTIFF counts them in 16 bits
MOST_FILES = 10_000


def export_raster(
    what: Exportable,
    path: str | Path,
    *,
    kind: RasterKind,
    variable: str = "traffic",
    statistic: Statistic,
    city: City | None = None,
    times: slice | None = None,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write a statistic of a city or a forecast as a raster in metres; returns the files without those beside them.

    `variable` and `statistic` as in `layers.layer_values`. 'steps' is every period: bands of one GeoTIFF, described by
    their ISO 8601 times, or files NAME_2024-01-31T2345.bil. `city` says where a forecast lies; `times` chooses
    periods. Raises `IngestError` where there is no ground, no such variable, too many periods, or something else than
    an older export at `path` (`overwrite=True` replaces it).
    """
    path = Path(path)
    check_kind(path, kind, get_args(RasterKind))
    dataset = dataset_of(what, city, times)
    ground = ground_of(dataset)
    profile = _profile(ground)
    _check_count(dataset, kind, statistic)
    values = layer_values(dataset, variable, statistic)
    tags = description(dataset, variable, statistic)
    names = time_texts(dataset) if statistic == "steps" else [f"{variable}, {statistic}"]
    unit = unit_of(dataset, variable)
    one_file = kind == "geotiff" or statistic != "steps"
    paths = [path] if one_file else _period_paths(path, dataset)
    import rasterio.errors

    with fresh_files(paths, kind, overwrite) as fresh:
        try:
            if kind == "geotiff":
                _write_geotiff(fresh[0], values, names, unit, tags, profile)
            else:
                write = _write_bil if kind == "bil" else _write_asc
                for file, layer, name in zip(fresh, values, names, strict=True):
                    write(file, layer, name, unit, tags | ({} if one_file else {"TIME": name}), profile)
        except (rasterio.errors.RasterioError, OSError) as error:
            raise IngestError(f"{path} cannot be written: {error}") from error
    return tuple(paths)


def _profile(ground: Ground) -> dict[str, Any]:
    """What rasterio needs to know of a raster on the ground. Raises `IngestError` for an unknown projection."""
    try:
        import rasterio.crs
        import rasterio.errors
        import rasterio.transform
    except ImportError:
        raise IngestError("rasters need rasterio: pip install 'fomo[operator]'") from None
    try:
        crs = rasterio.crs.CRS.from_user_input(ground.crs)
    except rasterio.errors.CRSError as error:
        raise IngestError(f"{ground.crs} is no reference system ({error}): write EPSG:32633") from None
    west, _, _, north = ground.bounds
    return {
        "width": ground.width,
        "height": ground.height,
        "dtype": "float32",
        "nodata": NODATA,
        "crs": crs,
        "transform": rasterio.transform.from_origin(west, north, ground.cell_m, ground.cell_m),
    }


def _check_count(dataset: xr.Dataset, kind: str, statistic: str) -> None:
    most, things = (MOST_BANDS, "bands") if kind == "geotiff" else (MOST_FILES, "files")
    if statistic == "steps" and dataset.sizes["time"] > most:
        first, last = dataset["time"].values[[0, most - 1]].astype("datetime64[m]")
        raise IngestError(
            f"{dataset.sizes['time']} periods are more than {most} {things}: choose times, e.g. "
            f"times=slice('{first}', '{last}') (--first {first} --last {last})"
        )


def _period_paths(path: Path, dataset: xr.Dataset) -> list[Path]:
    """Names with the wall clock of each period, without the colons that some file systems refuse."""
    minutes = np.datetime_as_string(dataset["time"].values, unit="m")
    return [path.with_name(f"{path.stem}_{minute.replace(':', '')}{path.suffix}") for minute in minutes]


def _from_the_north(layer: Float[np.ndarray, "y x"]) -> Float32[np.ndarray, "y x"]:
    """Row 0 of a city is in the south, that of a raster in the north."""
    return np.where(np.isnan(layer), NODATA, layer)[::-1].astype(np.float32)


def _fill(
    raster: Any, values: Float[np.ndarray, "layer y x"], names: Sequence[str], unit: str, tags: dict[str, str]
) -> None:
    """Layers into the bands of an open raster."""
    raster.update_tags(**tags)
    for band, (layer, name) in enumerate(zip(values, names, strict=True), start=1):
        raster.write(_from_the_north(layer), band)
        raster.set_band_description(band, name)
        raster.set_band_unit(band, unit)


def _write_geotiff(
    path: Path,
    values: Float[np.ndarray, "layer y x"],
    names: Sequence[str],
    unit: str,
    tags: dict[str, str],
    profile: dict[str, Any],
) -> None:
    import rasterio

    options = {"driver": "GTiff", "compress": "deflate", "bigtiff": "if_safer", "interleave": "band"}
    with rasterio.open(path, "w", count=len(names), **options, **profile) as raster:
        _fill(raster, values, names, unit, tags)


def _write_bil(
    path: Path,
    layer: Float[np.ndarray, "y x"],
    name: str,
    unit: str,
    tags: dict[str, str],
    profile: dict[str, Any],
) -> None:
    import rasterio

    with rasterio.open(path, "w", driver="EHdr", count=1, **profile) as raster:
        _fill(raster, layer[None], [name], unit, tags)


def _write_asc(
    path: Path,
    layer: Float[np.ndarray, "y x"],
    name: str,
    unit: str,
    tags: dict[str, str],
    profile: dict[str, Any],
) -> None:
    import rasterio.io
    import rasterio.shutil

    with rasterio.io.MemoryFile() as memory:
        with memory.open(driver="GTiff", count=1, **profile) as raster:
            _fill(raster, layer[None], [name], unit, tags)
        with memory.open() as raster:  # the driver can only copy; nine digits tell every float32 apart
            rasterio.shutil.copy(raster, path, driver="AAIGrid", SIGNIFICANT_DIGITS=9)


__all__ = ["NODATA", "RasterKind", "export_raster"]
