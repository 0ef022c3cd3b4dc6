"""What a plan of hours to come rests on: a saved forecast, and the city's record from before it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fomo.app.service.planning.record import cells_named
from fomo.app.service.planning.servers import with_traffic
from fomo.city import City, in_service, open_city
from fomo.forecast import Forecast
from fomo.forecasters.believed import believed
from fomo.planning.load import Load, PlanError, load_of_forecast


def open_both(forecast: Path, history: Path) -> tuple[Forecast, City]:
    """A forecast and the city that it is of, without slips, which would say what hardware carries.

    Raises `PlanError`, `ForecastError`, `CityError`.
    """
    found, city = Forecast.open(forecast), believed(open_city(history))
    grid = tuple(city.sizes[axis] for axis in ("y", "x"))
    if found.asked.shape[1:] != grid:
        raise PlanError(
            f"the forecast {forecast} is on a grid of {found.asked.shape[1:]}, the city {history} of {grid}"
        )
    if found.elsewhere(city):
        raise PlanError(f"the cells of {forecast} lie elsewhere than those of {history}: give the city that it is of")
    if found.attrs["city"] != city.attrs["name"]:
        raise PlanError(f"{forecast} is a forecast of {found.attrs['city']!r}, {history} is {city.attrs['name']!r}")
    if int(found.attrs["step_minutes"]) != int(city.attrs["step_minutes"]):
        raise PlanError(f"{forecast} and {history} have granularity periods of different length")
    if found.attrs.get("unit", "") != city.attrs["unit"]:
        raise PlanError(
            f"{forecast} is in {found.attrs.get('unit', '') or 'no stated unit'}, {history} in "
            f"{city.attrs['unit'] or 'no stated unit'}: hardware is dimensioned by the history, so both need one unit"
        )
    if (np.isfinite(found.samples.values[0]) & ~found.asked.values).any():
        raise PlanError(
            f"{forecast} holds recorded values beside those that were asked for, as 'fomo generate' and 'fomo fill' "
            "write them: plan on the periods to come, with 'fomo forecast'"
        )
    return found, city


def load_and_history(forecast: Forecast, city: City) -> tuple[Load, City]:
    """The forecast's load in the cells that ever carried traffic, and the city's record from before its first period.

    Cells that the city says are out of service in all of its periods are left out; others carry nothing while they are
    (`out_of_service` names both).

    Raises `PlanError`: no record or traffic before it, cells that carried traffic and are not forecast.
    """
    served = in_service(city, forecast.dataset["time"].values)
    load = load_of_forecast(forecast, served)
    before = city["time"].values < load.time[0]
    if not before.any():
        raise PlanError(
            f"{city.attrs['name']!r} has no record from before the forecast's first period: give the history that "
            "the forecast was made from"
        )
    history = city.isel(time=before)
    places, width = with_traffic(history), history.sizes["x"]
    places = places[np.asarray(served.any(0))[tuple(places.T)]]
    stations, forecast_cells = (each @ np.array([width, 1]) for each in (places, load.places))
    missing = ~np.isin(stations, forecast_cells)
    if not missing.any() and len(places):
        return load.of_cells(np.isin(forecast_cells, stations)), history
    if missing.all():
        raise PlanError(f"{city.attrs['name']!r} never carried traffic in the cells of the forecast")
    raise PlanError(
        f"{int(missing.sum())} of {len(places)} cells of {city.attrs['name']!r} carried traffic and are not forecast, "
        f"{cells_named(places[missing])}: forecast them too, or leave them out of the city"
    )


__all__ = ["load_and_history", "open_both"]
