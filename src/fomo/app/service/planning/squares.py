"""Squares of a grid and the network's own stations: a plan is for squares, and not every square has a station.

`fomo city build` spreads a cell's traffic over its footprint, so a square may carry that of stations elsewhere. How
many stations stand in a square is the city's layer `stations`; other cities do not say it.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from jaxtyping import Int

from fomo.city import City


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


__all__ = ["stations_of", "with_stations", "without_station"]
