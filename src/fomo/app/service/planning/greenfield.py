"""Where stations go by a saved forecast: a district to be built, of which nobody knows the users yet.

The cells that were asked for are the district, as `fomo generate --area` asks them. There is nobody to judge the plan
by; what it expects of itself is said.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from fomo.app.service.planning.ahead import PLAYED, Ahead
from fomo.app.service.planning.squares import with_lonlat
from fomo.evaluation.planning_figures import deployment_figure
from fomo.forecast import Forecast
from fomo.planning.coverage import play_coverage
from fomo.planning.deployment import DeploymentParameters, demand_of_traffic, proportional
from fomo.planning.facility import Located, locate
from fomo.planning.load import Load, PlanError, load_of_members


def stations_ahead(
    forecast: Forecast, parameters: DeploymentParameters, *, served: float = 0.85, seconds: float = 20.0
) -> Ahead:
    """Stations for the asked cells of a forecast, by its expected traffic. Raises `PlanError`.

    `served`: share of the traffic of the busiest hour of the mean day that all stations together can carry; `seconds`
    for the solver. The hours of the mean day count alike, as where plans are judged by coverage.
    """
    load = _district(forecast)
    demand = demand_of_traffic(load)
    parameters, hours = parameters.dimensioned_for(demand, served), len(demand)
    demand = demand[demand.sum(1) > 0]  # an hour without traffic says nothing of where stations go
    located = locate(demand, load.position_km, parameters, weights=1 / demand.sum(1), seconds=seconds)
    in_proportion = proportional(demand.sum(0), parameters.stations, parameters.stations_per_place)
    played = play_coverage(located.stations, demand, load.position_km, parameters)
    by_rule = play_coverage(in_proportion, demand, load.position_km, parameters).mean_ratio
    table = _table(forecast, load, demand, located, in_proportion, played.carried.sum(0) / hours)
    few = _by_member(load, located, parameters)
    about, unit = forecast.attrs, load.unit or "unit not stated"
    summary = [
        f"{parameters.stations} stations go into {int((located.stations > 0).sum())} of {len(load.places)} cells; "
        "plan.csv says where. No plan of so many stations carries the expected traffic better by more than "
        f"{located.gap:.2%}.",
        f"They carry {played.mean_ratio:.1%} of the expected traffic in the mean hour of the day; in proportion to the "
        f"traffic, as in the paper, {by_rule:.1%}.",
        f"If single members come, {few.min():.1%} to {few.max():.1%} ({len(few)} of them).",
    ]
    remarks = [
        f"Each station carries {parameters.users_per_station:.4g} [{unit}], all together {served:.0%} of the busiest "
        f"hour's expected traffic, and reaches {parameters.reach_km:g} km.",
        f"Forecast by {about['forecaster']}, weights {str(about.get('weights', ''))[:12]}, context {about['context']}, "
        f"{len(load.members)} members, seed {about['seed']}; planned is on their mean, and levels of cells without "
        "history differ much between them.",
        "Traffic stands for people: nobody's are known here, so nobody judges this plan. fomo plan deploy --city plays "
        "such plans against the users of a district that is there.",
    ]
    return Ahead(
        "deploy", str(about["city"]), table, summary, remarks, _map(forecast, load, located, in_proportion),
        rows="one row per cell", shows="maps of stations over the expected traffic",
    )  # fmt: skip


def _district(forecast: Forecast) -> Load:
    """The cells that were asked for, in the periods in which any was. Raises `PlanError`."""
    about, asked = forecast.attrs, forecast.asked.values
    if about.get("layout") == "list":
        raise PlanError(f"{about['city']!r} is a list of cells without a map: stations reach cells by their distance")
    if not about.get("cell_km"):
        raise PlanError(f"nobody said how large the cells of {about['city']!r} are: stations reach so many kilometres")
    periods = asked.any((1, 2))
    members = forecast.samples.values[:, periods]
    places = np.argwhere(asked.any(0) & np.isfinite(members).any((0, 1)))
    if len(places) < 2:
        raise PlanError(
            f"the forecast of {about['city']!r} asks for {len(places)} cells with traffic: a district has two or more, "
            "for example of 'fomo generate --area'"
        )
    return load_of_members(np.maximum(members, 0.0), forecast.dataset.isel(time=periods), places)


def _by_member(load: Load, located: Located, parameters: DeploymentParameters) -> Float[np.ndarray, " member"]:
    """Share of the traffic that the stations carry in the mean hour, if one of the first members comes."""
    some = replace(load, members=load.members[:PLAYED])
    demand = demand_of_traffic(some, by_member=True)
    ratio = play_coverage(located.stations, demand, load.position_km, parameters).ratio
    return np.asarray(np.nanmean(ratio.reshape(len(some.members), -1), axis=1))


def _table(
    forecast: Forecast,
    load: Load,
    demand: Float[np.ndarray, "hour cell"],
    located: Located,
    in_proportion: Int[np.ndarray, " cell"],
    carried: Float[np.ndarray, " cell"],
) -> pl.DataFrame:
    """The plan: one row per cell; loads are means of a period, the busiest one that of an hour of the mean day."""
    rows, columns = load.places.T
    table = pl.DataFrame(
        {
            "row": rows,
            "column": columns,
            "x_km": load.position_km[:, 0],
            "y_km": load.position_km[:, 1],
            "stations": located.stations,
            "stations_in_proportion": in_proportion,
            "expected_load": load.mean.mean(0),
            "busiest_hour_load": demand.max(0),
            "carried_by_stations": carried,
            "unit": load.unit,
        }
    )
    return with_lonlat(table, forecast.dataset)


def _map(forecast: Forecast, load: Load, located: Located, in_proportion: Int[np.ndarray, " cell"]) -> object:
    grid = forecast.asked.shape[1:]
    at = tuple(load.places.T)
    field = np.full(grid, np.nan)
    field[at] = load.mean.mean(0)
    inside = np.ix_(np.isfinite(field).any(1), np.isfinite(field).any(0))
    maps = {}
    for name, stations in ((str(forecast.attrs["forecaster"]), located.stations), ("in proportion", in_proportion)):
        counts = np.zeros(grid, np.int64)
        counts[at] = stations
        maps[name] = counts[inside]
    return deployment_figure(
        stations=maps, traffic=field[inside], traffic_name="expected traffic", unit=load.unit,
        cell_km=float(forecast.attrs.get("cell_km", 0.0)),
    )  # fmt: skip


__all__ = ["stations_ahead"]
