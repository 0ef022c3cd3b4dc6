"""LTE sites decoded from the air: bits down and users every two minutes.

From vperifan/Federated-Time-Series-Forecasting. Each site is one city of 1 x 1 cell with periods of 15
minutes. A period holds seven or eight records in turn, so a plain sum would swing by 14 %: its volume is
the mean of its records times 7.5. With fewer than six records it is NaN. A record without any bits or users
is an outage of the decoder and counts as none (the file has one block of hours of them); `outage_records`
in the attributes says how many there are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fomo.city import City, make_city
from fomo.sources.archive import file_hash
from fomo.sources.frames import read_columns
from fomo.sources.source import Source, family_name

STEP_MINUTES = 15
RECORD_MINUTES = 2
TIME_ZONE = "Europe/Madrid"
LEAST_RECORDS = 6
BITS_PER_BYTE = 8


def read(path: Path, layer: str = "") -> list[City]:
    """One city per site, named 'family/SITE': bytes down per 15 minutes and mean users (RNTI).

    Raises `CityError`.
    """
    import polars

    family = family_name(path, layer)
    kinds = {"site": "text", "time": "time", "down": "number", "rnti_count": "number"}
    frame = read_columns(path, kinds, TIME_ZONE)
    heard = (polars.col("down") > 0) | (polars.col("rnti_count") > 0)
    period = polars.col("time").dt.truncate(f"{STEP_MINUTES}m")
    sha256 = file_hash(path)
    cities = []
    for site in frame["site"].unique().sort():
        records = frame.filter(polars.col("site") == site)
        table = (
            records.filter(heard)
            .group_by(period.alias("time"))
            .agg(polars.col("down").mean(), polars.col("rnti_count").mean(), polars.len().alias("records"))
            .filter(polars.col("records") >= LEAST_RECORDS)
        )
        time = records.select(period)["time"]
        start, end = time.sort().to_numpy()[[0, -1]].astype("datetime64[m]")
        where = ((table["time"].to_numpy() - start) / np.timedelta64(STEP_MINUTES, "m")).astype(int)
        steps = int((end - start) / np.timedelta64(STEP_MINUTES, "m")) + 1
        traffic, users = np.full((2, steps, 1, 1), np.nan)
        traffic[where, 0, 0] = table["down"].to_numpy() * (STEP_MINUTES / RECORD_MINUTES) / BITS_PER_BYTE
        users[where, 0, 0] = table["rnti_count"].to_numpy()
        cities.append(
            make_city(
                traffic,
                users=users,
                name=f"{family}/{site}",
                family=family,
                start=start,
                step_minutes=STEP_MINUTES,
                time_zone=TIME_ZONE,
                unit="bytes per period",
                source="https://github.com/vperifan/Federated-Time-Series-Forecasting",
                sha256=sha256,
                outage_records=records.filter(~heard).height,
            )
        )
    return cities


SOURCE = Source(
    "barcelona",
    "table with the columns site, time, down, rnti_count",
    lambda names: {"site", "time", "down", "rnti_count"} <= names,
    read,
)
