"""5G stations of the ITU 2023 challenge: hourly load from 0 to 1, no positions, a list of 1 x stations.

Some stations have a second cell that is recorded on one day only. Averaging it in would make a step where
there is none, so a station is its best recorded cell (the first by name on a tie). Hours without a record are
NaN.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fomo.city import City, CityError, make_city
from fomo.sources.archive import file_hash
from fomo.sources.frames import read_columns
from fomo.sources.source import Source, family_name

STEP_MINUTES = 60


def read(path: Path, layer: str = "") -> list[City]:
    """All stations as one city (time, 1, station), sorted by the number in their name. Raises `CityError`."""
    import polars

    frame = read_columns(path, {"Time": "time", "BS": "text", "CellName": "text", "load": "number"})
    best = (
        frame.group_by("BS", "CellName")
        .len()
        .sort("BS", "len", "CellName", descending=[False, True, False])
        .unique("BS", keep="first", maintain_order=True)
        .select("BS", "CellName")
    )
    frame = frame.join(best, on=["BS", "CellName"], how="inner")
    repeated = frame.filter(polars.struct("BS", "Time").is_duplicated())
    if repeated.height:
        first = repeated.sort("BS", "Time").row(0, named=True)
        raise CityError(f"{path} has more than one load of {first['BS']} at {first['Time']}: drop the duplicates")
    stations = best.select("BS", polars.col("BS").str.extract(r"(\d+)$").cast(polars.Int64).alias("number"))
    stations = stations.sort("number", "BS").select("BS").with_row_index("station")
    frame = frame.join(stations, on="BS")
    time = frame["Time"].to_numpy()
    start = time.min().astype("datetime64[m]")
    where = (time - start) / np.timedelta64(STEP_MINUTES, "m")
    if (where != np.floor(where)).any():
        raise CityError(f"{path} has times that are not whole hours apart: aggregate to hours")
    load = np.full((int(where.max()) + 1, 1, stations.height), np.nan, np.float32)
    load[where.astype(int), 0, frame["station"].to_numpy()] = frame["load"].to_numpy()
    return [
        make_city(
            load,
            name=family_name(path, layer),
            start=start,
            step_minutes=STEP_MINUTES,
            layout="list",
            unit="load 0-1",
            source="ITU AI/ML in 5G Challenge 2023, 5G energy consumption modelling",
            sha256=file_hash(path),
        )
    ]


SOURCE = Source(
    "itu",
    "table with the columns Time, BS, CellName, load",
    lambda names: {"Time", "BS", "CellName", "load"} <= names,
    read,
)
