"""Where base stations go in a district without history: every strategy's plan, judged by whom it serves.

The district's traffic is generated (6) from POI and residents and from the traffic around it; its users, who move by
the hour, are the judge, and no strategy but the oracle sees them. Strategies have the names of the other applications:
`always_on` spreads stations evenly, `history` follows residents and `rival` POI (the paper's two comparisons), `fomo`
follows the generated traffic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from fomo.city import City
from fomo.forecast import Forecast
from fomo.planning.comparison import REGRET, Played
from fomo.planning.coverage import play_coverage
from fomo.planning.deployment import DeploymentParameters, demand_of_traffic, proportional, without
from fomo.planning.facility import Located, locate
from fomo.planning.load import PlanError, load_of_members
from fomo.planning.rows import AS_FORECAST, SITE_FAILS, Strategy

#: Metric -> unit. The objective is what is not covered, so that lower is better as everywhere.
UNITS = {
    "objective": "share not served",
    REGRET: "share not served",
    "coverage": "share of people",
    "coverage by day": "share, 08:00 to 20:00",
    "coverage by night": "share, 20:00 to 08:00",
    "worst hour": "share of people",
}
#: Stations in proportion to the density, where the plain scenario places them by the solver.
IN_PROPORTION = "in proportion, as in the paper"
DENSITIES: dict[Strategy, str] = {
    "always_on": "nothing: evenly",
    "history": "residents",
    "rival": "POI",
    "fomo": "FoMo",
    "real": "what happened",
}
DAY_BEGINS, DAY_ENDS = 8, 20


@dataclass(frozen=True)
class District:
    """A part of a city as if it had no history: cells, and who was there when that is known of all of them."""

    area: Bool[np.ndarray, "y x"]
    places: Int[np.ndarray, "cell 2"]
    position_km: Float[np.ndarray, "cell 2"]
    time: np.ndarray  # of the periods that are judged, datetime64
    people: Float[np.ndarray, "time cell"]
    residents: Float[np.ndarray, " cell"]
    poi: Float[np.ndarray, " cell"]
    remarks: tuple[str, ...] = ()  # what is left out for gaps of the users


@dataclass(frozen=True)
class Deployment:
    """The stations of one strategy: by the solver, and in proportion to what it goes by."""

    strategy: Strategy
    located: Located
    in_proportion: Int[np.ndarray, " cell"] | None  # None: it goes by nothing, so all places are alike


def make_district(city: City, area: Bool[np.ndarray, "y x"]) -> District:
    """The covered cells of an area whose users, POI and residents are known, and the periods that they have in common.

    Where users have gaps, cells with the most of them are left out as long as the others then have more cells times
    periods in common, see `remarks`. Raises `PlanError` where the city lacks what it takes.
    """
    lacking = [name for name in ("users", "poi", "residents") if name not in city]
    if lacking:
        raise PlanError(
            f"{city.attrs['name']!r} has no {', '.join(lacking)}: a deployment is planned from POI and residents and "
            "judged by users; 'fomo city build' makes a city with all of them"
        )
    around = area & city["covered"].values & np.isfinite(city["residents"].values)
    around &= np.isfinite(city["poi"].values).any(0)
    found = np.argwhere(around & np.isfinite(city["users"].values).any(0))
    if len(found) < 2:
        raise PlanError(f"{len(found)} cells of the area have users, POI and residents: choose another --area")
    seen = np.isfinite(city["users"].values[:, *found.T])
    cell, period = _in_common(seen, city["time"].values)
    places = found[cell]
    rows, columns = places.T
    return District(
        area=area,
        places=places,
        position_km=np.stack([city["x"].values[columns], city["y"].values[rows]], -1).astype(np.float64),
        time=city["time"].values[period],
        people=city["users"].values[period][:, rows, columns].astype(np.float64),
        residents=city["residents"].values[rows, columns].astype(np.float64),
        poi=np.nansum(city["poi"].values, 0)[rows, columns].astype(np.float64),
        remarks=_gaps_said(cell, period),
    )


def _in_common(
    seen: Bool[np.ndarray, "time cell"], time: np.ndarray
) -> tuple[Bool[np.ndarray, " cell"], Bool[np.ndarray, " time"]]:
    """Cells, those with the fewest gaps first, and the periods known in all of them: the most cells times periods.

    Every hour of the day is among the periods, and a day with day and night. Raises `PlanError` where no two cells have
    such periods in common.
    """
    order = np.argsort(-seen.sum(0), kind="stable")
    together = np.logical_and.accumulate(seen[:, order], axis=1)
    for cells in sorted(
        range(2, len(order) + 1), key=lambda number: (-number * together[:, number - 1].sum(), -number)
    ):
        period = together[:, cells - 1]
        if _enough(time[period], time):
            return np.isin(np.arange(len(order)), order[:cells]), period
    known = int(together[:, 1].sum())
    raise PlanError(
        f"no two cells of the area have users in every hour of the day: the two of {len(order)} with the fewest gaps "
        f"have {known:,} of {len(time):,} periods in common. A deployment is judged by the users of whole days: choose "
        "another --area, or plan without judging by 'fomo plan deploy --forecast'"
    )


def _enough(some: np.ndarray, time: np.ndarray) -> bool:
    """Whether some periods have all hours of the day that there are, and a day with hours of day and of night."""
    if not np.isin(_hour(time), _hour(some)).all():
        return False
    day, light = some.astype("datetime64[D]"), _by_day(some)
    return bool(np.isin(day[light], day[~light]).any())


def _gaps_said(cell: Bool[np.ndarray, " cell"], period: Bool[np.ndarray, " time"]) -> tuple[str, ...]:
    if cell.all() and period.all():
        return ()
    left = int((~cell).sum())
    return (
        f"Users have gaps: judged are the {int(period.sum()):,} of {len(period):,} periods in which they are known in "
        f"all of {int(cell.sum())} cells; {left} cell{'' if left == 1 else 's'} of the area with more gaps "
        f"{'is' if left == 1 else 'are'} left out.",
    )


def _hour(time: np.ndarray) -> Int[np.ndarray, " time"]:
    """Hour of the day."""
    return ((time - time.astype("datetime64[D]")) // np.timedelta64(1, "h")).astype(np.int64)


def _by_day(time: np.ndarray) -> Bool[np.ndarray, " time"]:
    """Whether periods are by day, else by night."""
    hour = _hour(time)
    return (hour >= DAY_BEGINS) & (hour < DAY_ENDS)


def largest_square(city: City, edge: int) -> Bool[np.ndarray, "y x"]:
    """The square of `edge` x `edge` cells of which the most can be judged: the district, where none is named.

    The whole grid where it is smaller. Only what is recorded is looked at, no values: the district has none yet.
    """
    weight = city["covered"].values.astype(np.int64)
    height, width = weight.shape
    tall, wide = min(edge, height), min(edge, width)
    total = np.lib.stride_tricks.sliding_window_view(weight, (tall, wide)).sum((2, 3))
    row, column = np.unravel_index(int(total.argmax()), total.shape)
    area = np.zeros((height, width), bool)
    area[row : row + tall, column : column + wide] = True
    return area


def plan_deployments(
    district: District,
    generated: Forecast,
    parameters: DeploymentParameters,
    seconds: float,
    made: Sequence[Deployment] = (),
) -> list[Deployment]:
    """Every strategy's stations. `generated`: traffic of the district's cells; `seconds`: for each solver at most.

    `made`: those of another seed, of which only FoMo's hang on it.
    """
    kept: dict[Strategy, Deployment] = {each.strategy: each for each in made if each.strategy != "fomo"}
    load = load_of_members(np.maximum(generated.samples.values, 0.0), generated.dataset, district.places)
    most = float(district.people.sum(1).max())
    demands: dict[Strategy, np.ndarray] = {
        "always_on": _still(np.ones(len(district.places)), most),
        "history": _still(district.residents, most),
        "rival": _still(district.poi, most),
        "fomo": demand_of_traffic(load, people=most),
        "real": district.people[district.people.sum(1) > 0],
    }
    return [
        kept.get(strategy)
        or Deployment(
            strategy,
            locate(demand, district.position_km, parameters, weights=1 / demand.sum(1), seconds=seconds),
            None
            if strategy == "always_on"
            else proportional(demand.sum(0), parameters.stations, parameters.stations_per_place),
        )
        for strategy, demand in demands.items()
    ]


def play_deployments(
    district: District, deployments: Sequence[Deployment], parameters: DeploymentParameters, seed: int
) -> list[Played]:
    """What each deployment serves on every recorded day: by the solver, in proportion, with its largest site failed."""
    found = []
    for each in deployments:
        largest = int(np.argmax(each.located.stations))
        failed = without(each.located.stations, largest, int(each.located.stations[largest]))
        for scenario, stations in (
            (AS_FORECAST, each.located.stations),
            (IN_PROPORTION, each.in_proportion),
            (SITE_FAILS, failed),
        ):
            if stations is None:
                continue
            ratio = play_coverage(stations, district.people, district.position_km, parameters).ratio
            found += _days(each.strategy, ratio, district.time, seed, scenario)
    return found


def station_table(district: District, deployments: Sequence[Deployment]) -> pl.DataFrame:
    """The plan: one row per cell, the stations of every strategy."""
    columns: dict[str, np.ndarray] = {
        "row": district.places[:, 0],
        "column": district.places[:, 1],
        "x_km": district.position_km[:, 0],
        "y_km": district.position_km[:, 1],
    }
    for each in deployments:
        columns[f"stations_{each.strategy}"] = each.located.stations
        if each.in_proportion is not None:
            columns[f"stations_{each.strategy}_in_proportion"] = each.in_proportion
    return pl.DataFrame(columns)


def _still(density: np.ndarray, people: float) -> Float[np.ndarray, "1 cell"]:
    """People who stay where a density says."""
    if not density.sum() > 0:
        raise PlanError("residents or POI are 0 everywhere in the district: there is nothing to plan by")
    return (density * (people / density.sum()))[None]


def _days(
    strategy: Strategy, ratio: Float[np.ndarray, " time"], time: np.ndarray, seed: int, scenario: str
) -> list[Played]:
    """Coverage of each whole day as an origin: days are what is independent."""
    day, light = time.astype("datetime64[D]"), _by_day(time)
    found = []
    for date in np.unique(day):
        here = (day == date) & np.isfinite(ratio)
        if not ((here & light).any() and (here & ~light).any()):
            continue
        mean = float(ratio[here].mean())
        metrics = {
            "objective": 1 - mean,
            "coverage": mean,
            "coverage by day": float(ratio[here & light].mean()),
            "coverage by night": float(ratio[here & ~light].mean()),
            "worst hour": float(ratio[here].min()),
        }
        found.append(Played(strategy, DENSITIES[strategy], str(date), seed, metrics, float(here.sum()), scenario))
    return found


__all__ = [
    "DENSITIES",
    "IN_PROPORTION",
    "UNITS",
    "Deployment",
    "District",
    "largest_square",
    "make_district",
    "plan_deployments",
    "play_deployments",
    "station_table",
]
