"""The FoMo authors' own release (tsinghua-fib-lab/UoMo, MIT): regions of a few cells with users and POI.

Every region is one city. Dates are not published, only that the first step is `start_weekday_slot`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fomo.city import City, CityError, make_city
from fomo.sources.archive import Archive
from fomo.sources.source import Source, family_name
from fomo.sources.weekdays import minute_of_week, pseudo_date, recorded_steps


def read(path: Path, layer: str = "") -> list[City]:
    """One city per region, named 'family/03', with the attributes `fold` and `weeks`; its empty end is cut.

    Traffic is in the release's own unit, which it does not state. POI categories are unnamed.
    Raises `CityError`.
    """
    archive = Archive(path)
    family = family_name(path, layer)
    traffic = archive.take("traffic", "region time y x")
    users = archive.take("users", "region time y x")
    poi = archive.take("poi", "region category y x")
    fold, weeks = (_whole_numbers(archive, name) for name in ("fold", "weeks"))
    weekday, slot = archive.take("start_weekday_slot", "2")
    step = archive.whole_number("step_minutes")
    start = pseudo_date(int(minute_of_week(weekday, slot, step, f"start_weekday_slot of {path}")))
    digits = max(2, len(str(len(traffic) - 1)))
    cities = []
    for region in range(len(traffic)):
        steps = recorded_steps(traffic[region])
        cities.append(
            make_city(
                traffic[region, :steps],
                users=users[region, :steps],
                poi=poi[region],
                name=f"{family}/{region:0{digits}d}",
                family=family,
                start=start,
                step_minutes=step,
                time_zone="Asia/Shanghai",
                calendar="weekday",
                unit="unknown volume per period",
                licence="MIT",
                source="https://github.com/tsinghua-fib-lab/UoMo",
                sha256=archive.sha256,
                fold=int(fold[region]),
                weeks=int(weeks[region]),
            )
        )
    return cities


def _whole_numbers(archive: Archive, name: str) -> np.ndarray:
    values = archive.take(name, "region").astype(np.float64)
    wrong = ~(np.isfinite(values) & (values == np.floor(values)))
    if wrong.any():
        region = int(np.argmax(wrong))
        raise CityError(
            f"array {name!r} of {archive.path} is {values[region]:g} at region {region}: write whole numbers"
        )
    return values.astype(np.int64)


SOURCE = Source(
    "uomo",
    "traffic (region, T, y, x), users, poi, fold, weeks, step_minutes, start_weekday_slot",
    lambda names: "start_weekday_slot" in names,
    read,
)
