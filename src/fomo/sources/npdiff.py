"""Nanjing and Shanghai as released with tsinghua-fib-lab/NPDiff: one grid, weekday and slot of every step.

Nanjing's `traffic` has no stated unit; Shanghai's `events` are counts of records, not volume.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fomo.city import City, CityError, make_city
from fomo.sources.archive import Archive
from fomo.sources.source import Source, family_name
from fomo.sources.weekdays import MINUTES_PER_WEEK, minute_of_week, pseudo_date

UNITS = {"traffic": "unknown volume per period", "events": "events per period"}


def read(path: Path, layer: str = "") -> list[City]:
    """The grid (time, y, x) as one city; where its steps do not follow each other, one city per unbroken run.

    Only weekday and slot are published, so a gap of whole weeks cannot be seen. Runs are named 'family/run0'
    and so on. Raises `CityError`.
    """
    archive = Archive(path)
    family = family_name(path, layer)
    variable = "events" if "events" in archive.names else "traffic"
    amount = archive.take(variable, "time y x")
    weekday_slot = archive.take("weekday_slot", "time 2")
    step = archive.whole_number("step_minutes")
    minutes = minute_of_week(weekday_slot[:, 0], weekday_slot[:, 1], step, f"weekday_slot of {path}")
    if not minutes.size:
        raise CityError(f"array {variable!r} of {path} has no steps: fetch the file again")
    breaks = np.flatnonzero(np.diff(minutes) % MINUTES_PER_WEEK != step) + 1
    runs = np.split(np.arange(len(minutes)), breaks)
    return [
        make_city(
            amount[run],
            name=family if len(runs) == 1 else f"{family}/run{number}",
            family=family,
            start=pseudo_date(minutes[run[0]]),
            step_minutes=step,
            time_zone="Asia/Shanghai",
            calendar="weekday",
            unit=UNITS[variable],
            source="https://github.com/tsinghua-fib-lab/NPDiff",
            sha256=archive.sha256,
        )
        for number, run in enumerate(runs)
    ]


SOURCE = Source(
    "npdiff",
    "traffic or events (T, y, x), weekday_slot (T, 2), step_minutes",
    lambda names: "weekday_slot" in names,
    read,
)
