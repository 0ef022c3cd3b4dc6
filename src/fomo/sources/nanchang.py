"""Nanchang on web-mercator tiles (impchai/MCDiff_TON): a week of traffic and users, POI and residents.

Row 0 of the file is the north; a city's y grows to the north, so rows are turned over here. The file gives
no date: its first hour is taken as Monday 00:00. Tiles that are not `covered` have no traffic; some of them
keep POI and residents, which is all that a generator is given. POI of -1 are unknown, that is NaN.

The tiles are of Chinese maps: lon and lat are GCJ-02, here some 500 m off WGS-84. (POI of another source,
counted by tile, agree with the file's at a correlation of 0.96 in GCJ-02 and 0.81 in WGS-84.)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fomo.city import City, CityError, make_city
from fomo.sources.archive import Archive
from fomo.sources.source import Source, family_name
from fomo.sources.weekdays import MONDAY

ZOOM = 15
EARTH_KM = 40_075.017  # equator


def read(path: Path, layer: str = "") -> list[City]:
    """The one city of the file (time, y, x), traffic in the normalised unit of the release.

    Raises `CityError`.
    """
    archive = Archive(path)
    traffic = archive.take("traffic", "time y x").astype(np.float32)
    users = archive.take("users", "time y x")
    poi = archive.take("poi", "category y x").astype(np.float32)
    residents = archive.take("population", "y x")
    covered = archive.take("covered", "y x").astype(bool)
    stray = np.isfinite(traffic).any(0) & ~covered
    if stray.any():
        row, column = np.argwhere(stray)[0]
        raise CityError(
            f"array 'covered' of {path} is False at row {row}, column {column} where traffic is recorded: "
            "correct one of the two"
        )
    lon, lat = _tile_centres(archive.take("origin_tile_z15_yx", "2"), *covered.shape)
    return [
        make_city(
            traffic[:, ::-1],
            users=users[:, ::-1],
            poi=np.where(poi == -1, np.nan, poi)[:, ::-1],
            poi_names=_unique(archive.take("poi_names", "category", text=True)),
            residents=residents[::-1],
            covered=covered[::-1],
            lon=lon[::-1],
            lat=lat[::-1],
            cell_km=round(EARTH_KM / 2**ZOOM * float(np.cos(np.deg2rad(lat.mean()))), 2),
            name=family_name(path, layer),
            start=MONDAY,
            step_minutes=archive.whole_number("step_minutes"),
            time_zone="Asia/Shanghai",
            calendar="weekday",
            unit="normalised volume per period",
            source="https://github.com/impchai/MCDiff_TON",
            sha256=archive.sha256,
            datum="GCJ-02",
        )
    ]


def _tile_centres(origin: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """lon and lat (y, x) of tile centres, rows from north to south, by the inverse web-mercator."""
    row = origin[0] + np.arange(height) + 0.5
    column = origin[1] + np.arange(width) + 0.5
    lat = np.rad2deg(np.arctan(np.sinh(np.pi * (1 - 2 * row / 2**ZOOM))))
    lon = column / 2**ZOOM * 360 - 180
    grid = np.meshgrid(lon, lat)
    return grid[0], grid[1]


def _unique(names: np.ndarray) -> list[str]:
    """Category names, those the release leaves as '?' or repeats told apart by their number."""
    told = [str(name) if name != "?" else "unnamed" for name in names]
    return [f"{name} {index}" if name == "unnamed" or told.count(name) > 1 else name for index, name in enumerate(told)]


SOURCE = Source(
    "nanchang",
    "traffic and users (T, y, x), poi (category, y, x), population (y, x), covered (y, x), poi_names, "
    "origin_tile_z15_yx, step_minutes",
    lambda names: "origin_tile_z15_yx" in names,
    read,
)
