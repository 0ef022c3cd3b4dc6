"""The grid on the ground: square cells in metres of a projection, row 0 in the south, column 0 in the west."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from fomo.ingest.ledger import IngestError

METRES_PER_DEGREE = 40_030_000.0 / 360  # of latitude, on the mean sphere
FAR_DEGREES = 3.0  # beyond a projection's area of use: neighbouring UTM zones are used in the field, others are not
MOST_SCALE = 1.05  # of a projection's metre to a metre; UTM reaches 1.02 two zones away, web Mercator 1.4 at 45 degrees


@dataclass(frozen=True)
class Ground:
    """`west` and `south` are the outer edges of the grid, in metres of `crs` (an EPSG code like 'EPSG:32633')."""

    crs: str
    west: float
    south: float
    cell_m: float
    height: int
    width: int

    def __post_init__(self) -> None:
        """Raises `IngestError` for a grid without cells."""
        if not self.cell_m > 0 or self.height < 1 or self.width < 1:
            raise IngestError(f"a grid of {self.height} x {self.width} cells of {self.cell_m:g} m is none")

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in metres."""
        return (
            self.west,
            self.south,
            self.west + self.width * self.cell_m,
            self.south + self.height * self.cell_m,
        )

    def centres(self) -> tuple[Float[np.ndarray, "y x"], Float[np.ndarray, "y x"]]:
        """Metres east and north of the cell centres."""
        east = self.west + (np.arange(self.width) + 0.5) * self.cell_m
        north = self.south + (np.arange(self.height) + 0.5) * self.cell_m
        found = np.meshgrid(east, north)
        return found[0], found[1]

    def lonlat(self) -> tuple[Float[np.ndarray, "y x"], Float[np.ndarray, "y x"]]:
        """Degrees of the cell centres."""
        lon, lat = transformer(self.crs, "EPSG:4326").transform(*self.centres())
        return np.asarray(lon), np.asarray(lat)

    def project(
        self, lon: Float[np.ndarray, " point"], lat: Float[np.ndarray, " point"]
    ) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
        """Metres east and north of points; infinite where the projection does not reach."""
        east, north = transformer("EPSG:4326", self.crs).transform(np.asarray(lon, float), np.asarray(lat, float))
        return np.asarray(east), np.asarray(north)

    def cell_of(
        self, east: Float[np.ndarray, " point"], north: Float[np.ndarray, " point"]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row, column, and whether the point lies on the grid at all (rows and columns of others are -1)."""
        finite = np.isfinite(east) & np.isfinite(north)
        column = np.where(finite, np.floor((east - self.west) / self.cell_m), -1)
        row = np.where(finite, np.floor((north - self.south) / self.cell_m), -1)
        inside = finite & (row >= 0) & (row < self.height) & (column >= 0) & (column < self.width)
        return np.where(inside, row, -1).astype(int), np.where(inside, column, -1).astype(int), inside

    def attributes(self) -> dict[str, str | float]:
        """What a city says of its ground."""
        return {"crs": self.crs, "west_m": self.west, "south_m": self.south, "cell_m": self.cell_m}


def transformer(source: str, target: str):  # type: ignore[no-untyped-def]
    """pyproj's, longitude first. Raises `IngestError` where a reference system is unknown or pyproj not there."""
    pyproj = _pyproj()
    try:
        return pyproj.Transformer.from_crs(source, target, always_xy=True)
    except pyproj.exceptions.CRSError as error:
        raise IngestError(f"{source} or {target} is no reference system ({error}): write EPSG:32633") from None


def median_position(lon: Float[np.ndarray, " point"], lat: Float[np.ndarray, " point"]) -> tuple[float, float]:
    """Degrees east and north of the middle of points, each axis for itself; right across longitude 180 too."""
    first = float(lon[0])
    east = first + float(np.median((lon - first + 180) % 360 - 180))
    return (east + 180) % 360 - 180, float(np.median(lat))


def utm_zone(lon: float, lat: float) -> str:
    """EPSG code of the WGS 84 / UTM zone of a point, zones of 6 degrees throughout.

    The exceptions of Norway and Svalbard are not made: a neighbouring zone serves as well there. Raises `IngestError`
    beyond 84 degrees north and 80 south, where UTM ends.
    """
    if not -80 <= lat <= 84:
        raise IngestError(f"UTM ends at 80 degrees south and 84 north and the sites lie at {lat:g}: name a crs")
    return f"EPSG:{(32600 if lat >= 0 else 32700) + int((lon + 180) // 6) % 60 + 1}"


def check_projection(crs: str, lon: float, lat: float) -> str:
    """The code of a projection that measures in metres at a point (degrees); that code is what a `Ground` is given.

    Raises `IngestError` for what is no projection, has other units than metres, is made for another part of the world
    (more than `FAR_DEGREES` from its area of use) or has metres that are none at the point (by `MOST_SCALE`).
    """
    pyproj = _pyproj()
    try:
        found = pyproj.CRS.from_user_input(int(crs) if crs.isdigit() else crs)
    except pyproj.exceptions.CRSError:
        raise IngestError(f"{crs!r} is no reference system: write one like {_example(lon, lat)}") from None
    code = ":".join(found.to_authority() or ()) or crs
    called = f"{code} ({found.name})"
    units = sorted({axis.unit_name for axis in found.axis_info})
    if not found.is_projected or units != ["metre"]:
        raise IngestError(
            f"{called} measures in {' and '.join(units)} and is {'a' if found.is_projected else 'no'} projection: "
            f"the grid needs a projection in metres, {_example(lon, lat)} for these sites"
        )
    place = f"lon {lon:.4f}, lat {lat:.4f}"
    if found.area_of_use is not None:
        west, south, east, north = found.area_of_use.bounds
        beyond_east = (lon - west) % 360 - (east - west) % 360  # 0 or less = between west and east
        if east - west >= 360:
            beyond_east = 0.0
        beyond = max(min(beyond_east, (west - lon) % 360), south - lat, lat - north)
        if beyond > FAR_DEGREES:
            raise IngestError(
                f"{called} is a projection far from the site list: it is made for lon {west:g} to {east:g}, "
                f"lat {south:g} to {north:g}, and the middle of the sites is {place}; are lon and lat swapped? "
                f"Else take {_example(lon, lat)}"
            )
    scale = _scale(code, lon, lat)
    if not all(1 / MOST_SCALE < part < MOST_SCALE for part in scale):
        raise IngestError(
            f"a metre on the ground at {place} measures {scale[0]:.3g} m to the east and {scale[1]:.3g} m to the north "
            f"in {called}: take a projection that keeps metres there, {_example(lon, lat)}"
        )
    return code


def _scale(crs: str, lon: float, lat: float) -> tuple[float, float]:
    """Metres of the projection per metre on the ground, eastward and northward."""
    step = 1e-3
    east, north = transformer("EPSG:4326", crs).transform([lon, lon + step, lon], [lat, lat, lat + step])
    metres = step * METRES_PER_DEGREE
    return (
        float(np.hypot(east[1] - east[0], north[1] - north[0]) / (metres * np.cos(np.deg2rad(lat)))),
        float(np.hypot(east[2] - east[0], north[2] - north[0]) / metres),
    )


def _example(lon: float, lat: float) -> str:
    return utm_zone(lon, lat) if -80 <= lat <= 84 else "EPSG:32633"


def _pyproj():  # type: ignore[no-untyped-def]
    try:
        import pyproj
        import pyproj.exceptions
    except ImportError:
        raise IngestError("projections need pyproj: pip install 'fomo[operator]'") from None
    return pyproj


__all__ = ["METRES_PER_DEGREE", "Ground", "check_projection", "median_position", "transformer", "utm_zone"]
