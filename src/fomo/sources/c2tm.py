"""C2TM, a mid-size Chinese city from August 2012: bytes, packets and users of clusters of base stations.

Clusters have no position, so the city is a list of 1 x clusters. Hours that the release lacks stay NaN.

Single hours of a cluster carry up to thousands of times its usual volume. They are clipped at five times
the cluster's own 95th percentile; the 99th, four hours of so short a record, is itself a spike in many
clusters. The attributes `clipped_values` and `clip_rule` say what was done: with 127 clusters, 0.7 %.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fomo.city import City, CityError, make_city
from fomo.sources.archive import Archive
from fomo.sources.source import Source, family_name

PERCENTILE = 95.0
FACTOR = 5.0
STEP_MINUTES = 60


def read(path: Path, layer: str = "") -> list[City]:
    """The clusters as one city (time, 1, cluster): bytes and users of every hour from first to last.

    Raises `CityError`.
    """
    archive = Archive(path)
    amount = archive.take("bytes", "time cluster").astype(np.float32)
    users = archive.take("users", "time cluster").astype(np.float32)
    hour = _hours(archive)
    clipped, count = clip_spikes(amount)
    shape = (int((hour[-1] - hour[0]).astype(int)) + 1, amount.shape[1])
    where = (hour - hour[0]).astype(int)
    traffic, people = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    traffic[where], people[where] = clipped, users
    return [
        make_city(
            traffic[:, None, :],
            users=people[:, None, :],
            name=family_name(path, layer),
            start=hour[0],
            step_minutes=STEP_MINUTES,
            layout="list",
            time_zone="Asia/Shanghai",
            unit="bytes per period",
            licence="GPLv3",
            source="C2TM (City Cellular Traffic Map)",
            sha256=archive.sha256,
            clipped_values=count,
            clip_rule=f"at {FACTOR:g} times the {PERCENTILE:g}th percentile of the cluster",
        )
    ]


def clip_spikes(amount: np.ndarray) -> tuple[np.ndarray, int]:
    """(time, cell) with spikes clipped per cell, and how many were.

    A cell that is mostly 0 stays as it is.
    """
    recorded = np.isfinite(amount).any(0)
    limit = np.full(amount.shape[1], np.inf)
    limit[recorded] = FACTOR * np.nanpercentile(amount[:, recorded], PERCENTILE, axis=0)
    limit[limit == 0] = np.inf
    return np.minimum(amount, limit).astype(np.float32), int((amount > limit).sum())


def _hours(archive: Archive) -> np.ndarray:
    text = archive.take("time", "time", text=True)
    try:
        time = text.astype("datetime64[m]")
    except ValueError as error:
        raise CityError(f"array 'time' of {archive.path}: {error}: write times like 2012-08-16 10:00") from None
    hour = time.astype("datetime64[h]")
    if not len(time) or np.isnat(time).any() or (hour != time).any():
        raise CityError(f"array 'time' of {archive.path} is empty or not on full hours: write 2012-08-16 10:00")
    wrong = np.flatnonzero(np.diff(hour) <= np.timedelta64(0, "h"))
    if wrong.size:
        raise CityError(
            f"array 'time' of {archive.path} is not sorted or repeats: {text[wrong[0]]} is followed by "
            f"{text[wrong[0] + 1]}: sort it"
        )
    return hour


SOURCE = Source(
    "c2tm",
    "bytes and users (T, cluster), time (T) as text",
    lambda names: {"bytes", "time"} <= names,
    read,
)
