"""Jinan's 4G and 5G volume, down and up (chuanting/wtpWeb): cells of 1 km and the sub-districts behind them.

Layers: 'core1km_5g_down' of the file is the main one; `stem_5g_up`, `stem_4g_down`, `stem_4g_up` the other
rasters; `stem_districts_5g_down` and so on the sub-districts themselves, a list of 1 x districts.

The raster spreads each sub-district's volume by area and counts an unrecorded sub-district as nothing. A cell
that lies in unrecorded sub-districts for the most part is not a measured zero: it is set to NaN here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from fomo.city import City, CityError, make_city
from fomo.sources.archive import Archive
from fomo.sources.source import Source, family_name

RASTER = "core1km_"
TABLE = "g"
MAIN = "5g_down"
KINDS = re.compile(r"[45]g_(down|up)")


def layers(names: frozenset[str]) -> list[str]:
    """'' for the main raster, '5g_up' and so on for others, 'districts_5g_down' for the sub-districts."""
    rasters = [name.removeprefix(RASTER) for name in sorted(names) if name.startswith(RASTER)]
    tables = [name.removeprefix(TABLE) for name in sorted(names) if name.startswith(TABLE)]
    found = ["" if kind == MAIN else kind for kind in rasters if KINDS.fullmatch(kind)]
    return sorted(found) + [f"districts_{kind}" for kind in tables if KINDS.fullmatch(kind)]


def read(path: Path, layer: str = "") -> list[City]:
    """One city of one layer, with lon/lat of its cells or sub-districts. The source states no unit.

    Raises `CityError`.
    """
    archive = Archive(path)
    kind = layer.removeprefix("districts_") or MAIN
    listed = layer.startswith("districts_")
    described: dict[str, Any] = _district_list(archive, kind) if listed else _raster(archive, kind)
    return [
        make_city(
            **described,
            name=family_name(path, layer),
            start=_start(archive),
            step_minutes=archive.whole_number("step_minutes"),
            time_zone="Asia/Shanghai",
            unit="unknown volume per period",
            source="https://github.com/chuanting/wtpWeb",
            sha256=archive.sha256,
        )
    ]


def _start(archive: Archive) -> np.datetime64:
    """The first moment in a text such as '2024-07-28T00:00 (local, UTC+8), step 1 h'."""
    text = str(archive.take("t0", "", text=True)[()])
    date = re.match(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}", text)
    if date is None:
        raise CityError(f"array 't0' of {archive.path} is {text!r}: it needs to begin like 2024-07-28T00:00")
    try:
        return np.datetime64(date.group(), "m")
    except ValueError:
        raise CityError(f"array 't0' of {archive.path} begins with {date.group()}: that is no date") from None


def _raster(archive: Archive, kind: str) -> dict[str, Any]:
    traffic = archive.take(RASTER + kind, "time y x").astype(np.float32)
    _, height, width = traffic.shape
    weights = archive.take("core1km_weights", "cell district")
    if len(weights) != height * width:
        raise CityError(
            f"array 'core1km_weights' of {archive.path} has {len(weights)} cells where {RASTER + kind!r} has "
            f"{height} x {width}: fetch the file again"
        )
    table = archive.take(TABLE + kind, "time district")
    dead = ~np.isfinite(table).any(0)
    area = weights * archive.take("area_km2", "district")
    unrecorded = area[:, dead].sum(1) > area[:, ~dead].sum(1)
    traffic[:, unrecorded.reshape(height, width)] = np.nan
    west, south = archive.take("core_origin_lonlat", "2")
    east, north = archive.take("label_1km_cell_deg", "2")
    lat, lon = np.meshgrid(
        south + (np.arange(height) + 0.5) * north, west + (np.arange(width) + 0.5) * east, indexing="ij"
    )
    return {"traffic": traffic, "lon": lon, "lat": lat, "cell_km": 1.0}


def _district_list(archive: Archive, kind: str) -> dict[str, Any]:
    traffic = archive.take(TABLE + kind, "time district")
    centroid = archive.take("centroid_lonlat", "district 2")
    return {
        "traffic": traffic[:, None, :],
        "lon": centroid[None, :, 0],
        "lat": centroid[None, :, 1],
        "layout": "list",
    }


SOURCE = Source(
    "jinan",
    "core1km_5g_down ... (T, y, x), g5g_down ... (T, district), core1km_weights, area_km2, centroid_lonlat, "
    "core_origin_lonlat, label_1km_cell_deg, t0, step_minutes",
    lambda names: bool(layers(names)),
    read,
    layers,
)
