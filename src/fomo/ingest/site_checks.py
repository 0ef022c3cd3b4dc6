"""Positions that cannot be: no degrees, swapped, two of a cell, far from all others. The cell is always named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars
from jaxtyping import Float

from fomo.ingest.ground import METRES_PER_DEGREE, median_position
from fomo.ingest.ledger import IngestError, Ledger

FAR_KM = 100.0  # from the middle of the sites; cells further than this and FAR_TIMES the usual distance are misplaced
FAR_TIMES = 20.0
SAME_DEGREES = 1e-5  # positions of a cell's rows that are one: a metre


def told(table: polars.DataFrame, at: int) -> str:
    """A cell and its position, for messages."""
    return f"cell {table['cell'][at]!r} at lon {table['lon'][at]:g}, lat {table['lat'][at]:g}"


def check_degrees(table: polars.DataFrame, path: Path) -> None:
    """Raises `IngestError` where positions are no degrees, or latitude and longitude are swapped in every row."""
    lon, lat = (table[name].to_numpy() for name in ("lon", "lat"))
    wrong = (np.abs(lat) > 90) | (np.abs(lon) > 180)
    if not wrong.any():
        return
    at = int(np.argmax(wrong))
    place = f"{told(table, at)} of {path}"
    if max(abs(lon[at]), abs(lat[at])) > 360:
        raise IngestError(f"{place}: that is no degree; are they metres of a projection? Write degrees (WGS 84)")
    swapped = (np.abs(lat) > 90) & (np.abs(lat) <= 180) & (np.abs(lon) <= 90)
    if swapped.all():
        raise IngestError(f"lon and lat are swapped in all {len(lon)} rows: {place}; swap the columns")
    hint = "swap them" if swapped[at] else "correct them"
    raise IngestError(f"{place}, one of {int(wrong.sum())} such rows: lon is -180 to 180 and lat -90 to 90; {hint}")


def one_row_each(table: polars.DataFrame, path: Path, ledger: Ledger) -> polars.DataFrame:
    """The first row of every cell. Raises `IngestError` for cells whose rows say different things."""
    once = table.unique("cell", keep="first", maintain_order=True)
    ledger.note(
        "cell is more than once in the site list, with the same position", table.height - once.height, str(path)
    )
    if once.height == table.height:
        return once
    spread = polars.col("lon", "lat").max() - polars.col("lon", "lat").min()
    apart = table.group_by("cell", maintain_order=True).agg(spread)
    apart = apart.filter(polars.max_horizontal("lon", "lat") > SAME_DEGREES)
    if apart.height:
        cell = apart["cell"][0]
        rows = table.filter(polars.col("cell") == cell).unique(("lon", "lat"), maintain_order=True)
        places = " and ".join(f"lon {lon:.6g}, lat {lat:.6g}" for lon, lat in rows.select("lon", "lat").head(2).rows())
        raise IngestError(f"cell {cell!r} of {path} has two positions, {places}; {apart.height} such cells: keep one")
    turned = table.group_by("cell", maintain_order=True).agg(polars.col("azimuth", "range_km", "from", "to").n_unique())
    for name in ("azimuth", "range_km", "from", "to"):
        found = turned.filter(polars.col(name) > 1)
        if found.height:
            raise IngestError(f"cell {found['cell'][0]!r} of {path} has two values of {name}: keep one row a cell")
    return once


def check_far(table: polars.DataFrame, path: Path) -> None:
    """Raises `IngestError` for a cell nowhere near the others; says so where swapping its position brings it there."""
    lon, lat = (table[name].to_numpy() for name in ("lon", "lat"))
    middle = median_position(lon, lat)
    away = _km_from(middle, lon, lat)
    limit = max(FAR_KM, FAR_TIMES * float(np.median(away)))
    far = away > limit
    if not far.any():
        return
    swapped = far & (_km_from(middle, lat, lon) <= limit)
    if swapped.any():
        at = int(np.argmax(swapped))
        raise IngestError(
            f"{told(table, at)} of {path} has lon and lat swapped: swapped back it is among the others, as it stands "
            f"{away[at]:.0f} km away; {int(swapped.sum())} such cells: swap them"
        )
    at = int(np.argmax(away))
    raise IngestError(
        f"{told(table, at)} of {path} lies {away[at]:.0f} km from the middle of the sites (lon {middle[0]:.4g}, "
        f"lat {middle[1]:.4g}), {int(far.sum())} such cells: correct it, or take it out and build a city of its own"
    )


def _km_from(
    middle: tuple[float, float], lon: Float[np.ndarray, " cell"], lat: Float[np.ndarray, " cell"]
) -> Float[np.ndarray, " cell"]:
    """Great-circle kilometres from a point (degrees)."""
    east, north, south = np.deg2rad(lon - middle[0]), np.deg2rad(lat), np.deg2rad(middle[1])
    half = np.sin((north - south) / 2) ** 2 + np.cos(north) * np.cos(south) * np.sin(east / 2) ** 2
    radius = METRES_PER_DEGREE / 1000 * 180 / np.pi
    return np.asarray(2 * radius * np.arcsin(np.sqrt(np.clip(half, 0, 1))))


__all__ = ["check_degrees", "check_far", "one_row_each", "told"]
