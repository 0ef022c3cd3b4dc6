"""How plans write a time: as a date, or as weekday and hour where a city's dates are made up."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, Shaped

from fomo.city import City
from fomo.windows.clock import HOURS_PER_DAY, hours_since_monday

WEEKDAYS = np.array(["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"])


def is_dated(city: City) -> bool:
    """Whether dates are real; else only weekday and hour are."""
    return bool(city.attrs["calendar"] == "date")


def moment(time: np.datetime64, dated: bool) -> str:
    """A time in a sentence: '2024-03-04 14:00', or 'Monday 14:00'."""
    day, clock = str(np.datetime_as_string(time, unit="m")).split("T")
    return f"{day if dated else weekdays(np.array([time]))[0]} {clock}"


def weekdays(time: Shaped[np.ndarray, " time"]) -> Shaped[np.ndarray, " time"]:
    """Names of the weekdays."""
    return WEEKDAYS[hours_since_monday(time).astype(np.int64) // HOURS_PER_DAY]


def time_columns(
    time: Shaped[np.ndarray, " time"], step: Int[np.ndarray, " row"], dated: bool
) -> dict[str, np.ndarray]:
    """The columns of a table that say when: `time`, or number of the period, weekday and time of day.

    step: the period of every row. The number tells weeks apart where no date does.
    """
    if dated:
        return {"time": time[step].astype("datetime64[us]")}
    clock = np.array([text[-5:] for text in np.datetime_as_string(time, unit="m")])
    return {"period": step + 1, "weekday": weekdays(time)[step], "time": clock[step]}


def clock_of(city: City) -> list[str]:
    """What a reader must know of the times of a city: their zone where it is known, and dates that are made up."""
    zone = str(city.attrs["time_zone"])
    said = [f"Times are local, {zone}."] if zone else []
    if not is_dated(city):
        said.append("Only weekday and time of day of this city are real: its plans have no dates.")
    return said


__all__ = ["clock_of", "is_dated", "moment", "time_columns", "weekdays"]
