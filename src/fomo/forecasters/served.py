"""What of an answer is left out, as its squares are out of service then: neither asked for nor given."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from fomo.city import SERVICE, City, CityError, in_service
from fomo.forecast import Forecast

#: Attribute of a forecast: what was left out, in words; not there where nothing was.
OUT_OF_SERVICE = "out_of_service"


def check_in_service(city: City, time: np.ndarray) -> None:
    """Raises `CityError` where none of a city's covered squares is in service at any of these times."""
    covered = city["covered"].values
    if SERVICE[0] not in city or not covered.any() or in_service(city, time)[:, covered].any():
        return
    first, last = (city[variable].values[covered] for variable in SERVICE)
    begin, end = (np.datetime_as_string(moment, unit="m") for moment in time[[0, -1]])
    told = [f"no square of {city.attrs['name']!r} is in service from {begin} to {end}"]
    if (ended := last < time[0]).any():
        told.append(f"{_squares(int(ended.sum()))} ended, the last on {np.datetime_as_string(last[ended].max(), 'D')}")
    if (later := first > time[-1]).any():
        told.append(f"{_squares(int(later.sum()))} not before {np.datetime_as_string(first[later].min(), 'D')}")
    raise CityError(
        f"{'; '.join(told)}: where that is wrong, correct its first_served and last_served, which 'fomo city build' "
        "takes from the site list"
    )


def only_in_service(forecast: Forecast, city: City) -> Forecast:
    """The forecast without what is out of service in its city, which is NaN in its members then, in place.

    The network was asked for it: hindcasts ask the same question of earlier days, on which these squares were there and
    would be seen if they were not asked for, and what blocks go on from has no holes. So the others' members do not
    hang on what is left out.
    """
    if SERVICE[0] not in city:
        return forecast
    asked = forecast.asked.values
    out = asked & ~in_service(city, forecast.dataset["time"].values)
    if not out.any():
        return forecast
    forecast.samples.values[:, out] = np.nan
    kept = forecast.asked.copy(data=asked & ~out)
    return Forecast(forecast.dataset.assign(asked=kept).assign_attrs({OUT_OF_SERVICE: _in_words(out, asked)}))


def told_unfilled(forecast: Forecast, city: City) -> Forecast:
    """A filled city's forecast with what was not filled, as its square is out of service then, in words."""
    out = ~np.isfinite(city["traffic"].values) & city["covered"].values & ~in_service(city)
    if not out.any():
        return forecast
    told = f"{int(out.sum()):,} values of {_squares(int(out.any(0).sum()))}"
    return Forecast(forecast.dataset.assign_attrs({OUT_OF_SERVICE: told}))


def _in_words(out: Bool[np.ndarray, "time y x"], asked: Bool[np.ndarray, "time y x"]) -> str:
    """`3 squares at all steps, 2 from a day on, 1 up to a day`."""
    never = (out == asked).all(0) & asked.any(0)
    some = out.any(0) & ~never
    counts = {"at all steps": never, "from a day on": some & out[-1], "up to a day": some & out[0]}
    told = [(int(which.sum()), when) for when, which in counts.items() if which.any()]
    (number, when), *more = told
    return ", ".join([f"{_squares(number)} {when}", *(f"{other} {then}" for other, then in more)])


def _squares(number: int) -> str:
    return f"{number:,} square{'s' if number != 1 else ''}"


__all__ = ["OUT_OF_SERVICE", "check_in_service", "only_in_service", "told_unfilled"]
