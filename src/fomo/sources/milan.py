"""Milan, November 2013, in two forms: unlabelled activity with context on a grid, and bare internet traffic.

Both come from the Telecom Italia Big Data Challenge (ODbL) by way of repositories of other people.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fomo.city import MINUTES_PER_DAY, City, CityError, make_city
from fomo.sources.archive import Archive
from fomo.sources.source import Source, family_name

CELL_KM = 1.175  # 5 x 5 cells of 235 m
INTERNET_START = "2013-11-01T00:00"  # the internet form carries no date; its release covers this month


def read_activity(path: Path, layer: str = "") -> list[City]:
    """Activity (time, y, x) with lon/lat of centres, and as `poi` those of its context layers that count POI.

    Tweets and base stations are no POI; the layers meant are called `poi_*`.
    `date` names the days in the order of the steps; a day that is absent in between stays NaN. The centre of
    a cell is the mean of those of the fine cells that make it up. Raises `CityError`.
    """
    archive = Archive(path)
    activity = archive.take("activity", "time y x").astype(np.float32)
    step = archive.whole_number("step_minutes")
    dates = _dates(archive)
    if step <= 0 or MINUTES_PER_DAY % step or len(activity) != len(dates) * (MINUTES_PER_DAY // step):
        raise CityError(
            f"array 'activity' of {path} has {len(activity)} steps; {len(dates)} days of 'date' at {step} "
            "minutes make another number: fetch the file again"
        )
    slots = MINUTES_PER_DAY // step
    day = (dates - dates[0]).astype(int)
    traffic = np.full((int(day[-1]) + 1, slots, *activity.shape[1:]), np.nan, np.float32)
    traffic[day] = activity.reshape(len(dates), slots, *activity.shape[1:])
    centres = _coarse_centres(archive, *activity.shape[1:])
    names = [str(name) for name in archive.take("context_names", "category", text=True)]
    counted = [index for index, name in enumerate(names) if name.startswith("poi_")]
    layers = archive.take("context_20x20", "y x category").transpose(2, 0, 1)
    return [
        make_city(
            traffic.reshape(-1, *activity.shape[1:]),
            poi=layers[counted] if counted else None,
            poi_names=[names[index] for index in counted] if counted else None,
            lon=centres[..., 0],
            lat=centres[..., 1],
            cell_km=CELL_KM,
            name=family_name(path, layer),
            start=dates[0],
            step_minutes=step,
            time_zone="Europe/Rome",
            unit="unlabelled activity per period (shape of calls)",
            licence="ODbL (origin: Telecom Italia); the repository states none",
            source="Telecom Italia Big Data Challenge 2014",
            sha256=archive.sha256,
        )
    ]


def read_internet(path: Path, layer: str = "") -> list[City]:
    """Internet traffic (time, y, x) alone. Raises `CityError`.

    The form has no date: it starts on 2013-11-01 00:00, as its release says.
    """
    archive = Archive(path)
    return [
        make_city(
            archive.take("traffic", "time y x"),
            name=family_name(path, layer),
            start=INTERNET_START,
            step_minutes=archive.whole_number("step_minutes"),
            time_zone="Europe/Rome",
            unit="internet activity per period (proportional to volume)",
            licence="MIT (origin: Telecom Italia, ODbL)",
            source="https://github.com/suemon-suemon/DGRN",
            sha256=archive.sha256,
        )
    ]


def _dates(archive: Archive) -> np.ndarray:
    text = archive.take("date", "day", text=True)
    try:
        dates = text.astype("datetime64[D]")
    except ValueError:
        raise CityError(f"array 'date' of {archive.path} holds {text.tolist()}: write dates like 2013-11-08") from None
    if not len(dates) or np.isnat(dates).any() or (np.diff(dates) <= np.timedelta64(0, "D")).any():
        raise CityError(f"array 'date' of {archive.path} is empty, repeats or is not sorted: {text.tolist()}")
    return dates


def _coarse_centres(archive: Archive, height: int, width: int) -> np.ndarray:
    """lon, lat (y, x, 2): the mean centre of the fine cells in each cell."""
    fine = archive.take("cell_center_lonlat_100x100", "fine_y fine_x 2")
    if fine.shape[0] % height or fine.shape[1] % width:
        raise CityError(
            f"array 'cell_center_lonlat_100x100' of {archive.path} has {fine.shape[:2]} cells, which do not "
            f"divide into the {height} x {width} of 'activity': fetch the file again"
        )
    blocks = fine.reshape(height, fine.shape[0] // height, width, fine.shape[1] // width, 2)
    return np.asarray(blocks.mean(axis=(1, 3)))


ACTIVITY = Source(
    "milan activity",
    "activity (T, y, x), date (day), context_20x20 (y, x, category), context_names, "
    "cell_center_lonlat_100x100, step_minutes",
    lambda names: "activity" in names,
    read_activity,
)
INTERNET = Source(
    "milan internet",
    "traffic (T, y, x), step_minutes and nothing else (taken as Milan, from 2013-11-01)",
    lambda names: "traffic" in names and names <= {"traffic", "step_minutes"},
    read_internet,
)
