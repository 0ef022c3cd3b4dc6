"""A city in longer periods than it was counted in, such as hours made of quarters."""

from __future__ import annotations

import numpy as np

from fomo.city import MINUTES_PER_DAY, City, CityError, validate
from fomo.given import whole_number
from fomo.units import unit_of_sums


def coarser(city: City, minutes: float) -> City:
    """The same city in periods of `minutes`: traffic summed, users averaged, NaN where any part of a period is.

    Periods begin at whole multiples of `minutes` from midnight, and are called by their beginning; what is left over
    before the first and after the last is dropped. All else is kept, but that the city is another one of another
    family, `town@60min`, as its amounts are of another scale; so is a unit that names a time, see `unit_of_sums`. A
    city that has such periods already is given back. Raises `CityError` where they cannot be made of its own.
    """
    name, step = validate(city).attrs["name"], int(city.attrs["step_minutes"])
    minutes = whole_number(minutes, "minutes of coarser()")
    if minutes == step:
        return city
    if minutes <= 0 or MINUTES_PER_DAY % minutes:
        raise CityError(f"{name!r}: {minutes} minutes do not divide a day: choose 15, 30, 60 or the like")
    if minutes % step:
        raise CityError(
            f"periods of {minutes} minutes cannot be made of those of {name!r}: choose a multiple of {step}"
        )
    strange = [each for each in city.data_vars if each not in ("traffic", "users") and "time" in city[each].dims]
    if strange:
        raise CityError(
            f"{strange[0]} of {name!r} goes by time, and whether it sums up is not known: leave it out, "
            f"city.drop_vars({strange[0]!r})"
        )
    time, factor = city["time"].values, minutes // step
    starts = (time - time.astype("datetime64[D]")) // np.timedelta64(1, "m") % minutes == 0
    if not starts.any():
        begin = np.datetime_as_string(time[0], unit="m")
        raise CityError(
            f"{name!r} begins at {begin}, and none of its steps starts {minutes} minutes of the clock: "
            f"shift its times, or do without steps of {minutes} minutes"
        )
    first = int(np.argmax(starts))
    periods = (len(time) - first) // factor
    if not periods:
        raise CityError(f"{name!r} holds no whole period of {minutes} minutes: record longer, or choose shorter ones")

    def parts(variable: str) -> np.ndarray:
        """(period, factor, y, x)."""
        values = city[variable].values[first : first + periods * factor]
        return np.asarray(values.reshape(periods, factor, *values.shape[1:]))

    unit = unit_of_sums(str(city.attrs["unit"]), step, minutes)
    made = {"traffic": (city["traffic"].dims, parts("traffic").sum(1), {**city["traffic"].attrs, "units": unit})}
    if "users" in city:
        made["users"] = (city["users"].dims, parts("users").mean(1), city["users"].attrs)
    whole = city.isel(time=slice(first, first + periods * factor, factor)).assign(made)
    called = {key: f"{str(city.attrs[key]).removesuffix(f'@{step}min')}@{minutes}min" for key in ("name", "family")}
    return validate(whole.assign_attrs(**called, step_minutes=minutes, unit=unit))


__all__ = ["coarser"]
