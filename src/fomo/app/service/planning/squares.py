"""Squares of a grid: where they lie, and how many of the network's own stations stand in them.

`fomo city build` spreads a cell's traffic over its footprint, so a square may carry that of stations elsewhere. How
many stations stand in a square is the city's layer `stations`; other cities do not say it.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import xarray as xr
from jaxtyping import Int

from fomo.city import City

#: Columns of a plan that say where its square lies on the grid, in their order.
ON_THE_GRID = ("row", "column", "x_km", "y_km")


def with_lonlat(plan: pl.DataFrame, *known: xr.Dataset) -> pl.DataFrame:
    """A plan with `lon` and `lat` of each row's square, in degrees, after its other columns of the place.

    By the first of `known`, cities or datasets of forecasts, that says where its squares are; where none does, the plan
    as it is. Null of squares whose place is not known.
    """
    of = next((each for each in known if {"lon", "lat"} <= set(each.coords)), None)
    if of is None:
        return plan
    rows, columns = plan.select("row", "column").to_numpy().T
    after = 1 + max(plan.get_column_index(name) for name in ON_THE_GRID if name in plan.columns)
    degrees = (pl.Series(name, np.asarray(of[name].values[rows, columns], np.float64)) for name in ("lon", "lat"))
    parts = plan.get_columns()
    return pl.DataFrame([*parts[:after], *(each.fill_nan(None) for each in degrees), *parts[after:]])


def place_said(plan: pl.DataFrame) -> str:
    """That a plan's rows say where they lie, as the end of a sentence; '' where they do not."""
    return ", with the centre of its square in degrees (lon, lat)" if "lon" in plan.columns else ""


def stations_of(city: City, places: Int[np.ndarray, "cell 2"]) -> Int[np.ndarray, " cell"] | None:
    """How many stations stand in each of the squares; None where the city does not say."""
    if "stations" not in city:
        return None
    return np.asarray(city["stations"].values[tuple(places.T)]).astype(np.int64)


def without_station(city: City, places: Int[np.ndarray, "cell 2"]) -> list[str]:
    """What a reader must know where some of the planned squares have no station; nothing where all have one."""
    stations = stations_of(city, places)
    if stations is None or (stations > 0).all():
        return []
    return [
        f"{int((stations == 0).sum())} of {len(places)} squares have no station: their traffic is served from "
        "neighbouring ones (column 'stations' of plan.csv). For a plan of the network's own sites build the city with "
        "fomo city build --method point."
    ]


def with_stations(plan: pl.DataFrame, city: City) -> pl.DataFrame:
    """A plan with the number of stations of each row's square after its column, where the city says it."""
    stations = stations_of(city, plan.select("row", "column").to_numpy())
    if stations is None:
        return plan
    return plan.insert_column(plan.get_column_index("column") + 1, pl.Series("stations", stations))


__all__ = ["place_said", "stations_of", "with_lonlat", "with_stations", "without_station"]
