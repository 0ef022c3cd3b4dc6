"""`fomo plan`: make every strategy's plans for a city's test part, play them, and sum up."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from fomo.app.service.forecasting import load_weights, parse_area
from fomo.app.service.planning import allocating, deploying, sleeping
from fomo.app.service.planning.moments import clock_of, is_dated, moment
from fomo.app.service.planning.origins import Origin, find_origins
from fomo.app.service.planning.servers import with_traffic
from fomo.app.service.planning.squares import with_lonlat, with_stations, without_station
from fomo.app.service.planning.strategies import Expected, Told, expected
from fomo.city import City
from fomo.evaluation.questions import TaskName
from fomo.forecast import Forecast
from fomo.planning.comparison import Played, closed_interval, rows_of, with_regret
from fomo.planning.deployment import DeploymentParameters
from fomo.planning.load import PlanError
from fomo.planning.rows import AS_FORECAST, LESS, MORE, SITE_FAILS, Application, PlanRow
from fomo.planning.sleep_terms import check_risk
from fomo.sources import data_folder, read_family
from fomo.sources.barcelona_radio import JoinedSites
from fomo.windows.split import leaks
from fomo.windows.task import ContextMode

#: Cells along the edge of the paper's district (§5.3).
DISTRICT = 16


@dataclass(frozen=True)
class Request:
    """What all three plans ask alike."""

    city: str  # a family of the data folder, or one region: family/region
    data: Path | None = None
    weights: str = "fomo-tiny"
    rival: str = "Lag-Llama"
    fits: Path = Path()
    context: ContextMode = "past"
    samples: int = 24
    seeds: tuple[int, ...] = (0, 1, 2)
    most: int | None = None  # origins per region
    device: str = "cpu"
    sensitivity: bool = True

    def __post_init__(self) -> None:
        """Refuse what no plan can be made of, before anything is read. Raises `PlanError`."""
        if self.samples < 1 or not self.seeds or (self.most is not None and self.most < 1):
            raise PlanError(
                f"{self.samples} samples, {len(self.seeds)} seeds and {self.most} origins: each is 1 or more"
            )


@dataclass(frozen=True)
class Compared:
    """What came of it: rows, how far FoMo goes towards the oracle, and the last plan with its pictures' data."""

    application: Application
    city: str
    rows: list[PlanRow]
    closed: tuple[float, float, float]
    table: pl.DataFrame  # the plan itself, one row per cell and period (or cell)
    remarks: list[str]
    origins: int
    dated: bool = True  # False where only weekday and hour of the city's clock are real
    region: str = ""  # whose plan the table is
    sleep: sleeping.SleepRun | None = None
    prb: allocating.PrbRun | None = None
    deploy: DeployRun | None = None


@dataclass(frozen=True)
class DeployRun:
    """A planned district, for pictures."""

    district: deploying.District
    deployments: list[deploying.Deployment]
    parameters: DeploymentParameters
    generated: np.ndarray  # (time, cell), mean of the members
    cell_km: float
    unit: str


@dataclass(frozen=True)
class _Part:
    """A city's test part with everyone's forecasts."""

    cities: dict[str, City]
    origins: list[Origin]
    everyone: list[Expected]
    remarks: list[str]

    @property
    def dated(self) -> bool:
        """Whether dates are real in all of its cities."""
        return all(is_dated(city) for city in self.cities.values())


def plan_sleep_of(request: Request, setting: sleeping.SleepSetting, told: Told) -> Compared:
    """Sleep plans for the next 48 steps at every origin. Raises `PlanError`, `CityError`, `UsageError`."""
    check_risk(setting.parameters.risk, request.samples)
    part = _prepare(request, "long", told, tails=True)  # a lost hour costs most, and is rare
    played = _play(part, request, partial(sleeping.play_sleeping, setting=setting))
    last = part.origins[-1]
    run = sleeping.one_run(part.cities[last.region], last, part.everyone, setting, request.seeds[0])
    table = sleeping.plan_table(run.load, run.plan, run.capacity, part.dated)
    table = table.insert_column(0, pl.lit(last.region).alias("region"))
    found = _sum_up("sleep", request, played, sleeping.UNITS, part, table)
    few = sleeping.few_members_said(setting.parameters.risk, request.samples)
    return replace(found, sleep=run, remarks=[*few, *found.remarks])


def plan_prb_of(request: Request, setting: allocating.PrbSetting, told: Told) -> Compared:
    """Resource blocks of the next 16 slots at every origin. Raises `PlanError`, `CityError`, `UsageError`."""
    part = _prepare(request, "short", told)
    played = _play(part, request, partial(allocating.play_allocating, setting=setting))
    last = part.origins[-1]
    servers = allocating.servers_at(part.cities[last.region], last, setting, request.seeds[0])
    at = max(servers, key=lambda each: float(each.truth.members.sum()))
    run = allocating.run_at(at, last, part.everyone, setting, request.seeds[0])
    return replace(_sum_up("prb", request, played, allocating.UNITS, part, run.table(part.dated)), prb=run)


def plan_prb_of_measured(request: Request, joined: JoinedSites, setting: allocating.PrbSetting, told: Told) -> Compared:
    """Resource blocks of sites whose channel was measured: one server with all of them, no channel is drawn.

    The record of the sites takes the place of `request.city`. Raises `PlanError`, `CityError`, `UsageError`.
    """
    part = _prepare_of([joined.city], request, "short", told)
    played = [
        each
        for origin in part.origins
        for seed in request.seeds
        for each in allocating.played_at(
            allocating.measured_at(joined, origin, setting), origin, part.everyone, setting, seed
        )
    ]
    last = part.origins[-1]
    at = allocating.measured_at(joined, last, setting)
    run = allocating.run_at(at, last, part.everyone, setting, request.seeds[0])
    return replace(_sum_up("prb", request, played, allocating.UNITS, part, run.table(part.dated)), prb=run)


def plan_deploy_of(
    request: Request, parameters: DeploymentParameters, told: Told, *, area: str = "", served: float = 0.85,
    seconds: float = 20.0,
) -> Compared:  # fmt: skip
    """Stations for a district without history. Raises `PlanError`, `CityError`, `UsageError`.

    `area`: rows and columns as 'y0:y1,x0:x1', by default the square of 16 x 16 with the most recorded cells. `served`:
    share of the people of the busiest hour that all stations together can serve; `seconds` for each solver.
    """
    cities = read_family(data_folder(request.data), request.city.split("/")[0])
    named = [city for city in cities if request.city in (city.attrs["name"], city.attrs["family"])]
    if len(named) != 1:
        raise PlanError(
            f"{request.city!r} is {len(named)} cities: a district lies in one, for example {_names(cities)}"
        )
    city = named[0]
    inside = parse_area(area, city) if area else deploying.largest_square(city, DISTRICT)
    district = deploying.make_district(city, inside)
    parameters = parameters.dimensioned_for(district.people, served)
    model = load_weights(request.weights, request.device)
    played: list[Played] = []
    deployments: list[deploying.Deployment] = []
    generated: Forecast | None = None
    for number, seed in enumerate(request.seeds):
        told(number, len(request.seeds), "FoMo: generating the district")
        forecast = model.generate(
            _hidden(city, inside), inside, request.samples, seed, "full", layers=("poi", "residents")
        )
        made = deploying.plan_deployments(district, forecast, parameters, seconds, deployments)
        if not deployments:
            deployments, generated = made, forecast
        played += deploying.play_deployments(district, made, parameters, seed)
    assert generated is not None
    rows, columns = district.places.T
    run = DeployRun(
        district, deployments, parameters, generated.mean.values[:, rows, columns], float(city.attrs["cell_km"]),
        str(generated.attrs["unit"]),
    )  # fmt: skip
    remarks = [
        f"{parameters.stations} stations for {len(rows)} cells, together {served:.0%} of the busiest hour's people; "
        f"each reaches {parameters.reach_km:g} km; largest gap of a plan to its bound: "
        f"{max(each.located.gap for each in deployments):.2%}",
        *district.remarks,
        _bound_said(deployments),
        *clock_of(city),
        "a forecast that is 20 % too high or too low everywhere plans the same stations: only proportions count",
    ]
    if leaks(model.trained_on, str(city.attrs["name"]), 0, str(city.attrs["sha256"])):
        remarks.append(
            f"these weights were trained on {city.attrs['name']}: this is no test of a district never seen; give "
            "weights of fomo train recipes/without-nanchang-grid.toml with --weights"
        )
    return Compared(
        application="deploy",
        city=request.city,
        rows=rows_of(with_regret(played), "deploy", request.city, deploying.UNITS),
        closed=closed_interval(played),
        table=with_lonlat(deploying.station_table(district, deployments), city),
        remarks=remarks,
        origins=len({each.origin for each in played}),
        deploy=run,
    )


def _bound_said(deployments: Sequence[deploying.Deployment]) -> str:
    """How far the oracle's stations are a bound: as far as the solver went."""
    (oracle,) = (each.located for each in deployments if each.strategy == "real")
    if oracle.gap == 0:
        return "stations planned on what happened are proved the best: no plan of so many serves more people"
    return (
        f"stations planned on what happened are the best up to the solver's gap ({oracle.method}): another plan may "
        f"serve more people, by {oracle.gap:.2%} at most, and FoMo's then closes more than all of the distance"
    )


def _hidden(city: City, area: np.ndarray) -> City:
    """The city without the users of the district: a new one has none."""
    return city.assign(users=city["users"].where(~area)) if "users" in city else city


def _prepare(request: Request, task: TaskName, told: Told, tails: bool = False) -> _Part:
    cities = read_family(data_folder(request.data), request.city.split("/")[0])
    return _prepare_of(cities, request, task, told, tails)


def _prepare_of(cities: Sequence[City], request: Request, task: TaskName, told: Told, tails: bool = False) -> _Part:
    by_name = {str(city.attrs["name"]): city for city in cities}
    if "/" in request.city and request.city not in by_name:
        raise PlanError(f"there is no region {request.city!r}; there are {_names(cities)}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        origins = find_origins(cities, task, request.context, request.most)
    origins = [each for each in origins if "/" not in request.city or each.region == request.city]
    if not origins:
        raise PlanError(f"{request.city} is not in the test part: regions of the other folds were trained on")
    everyone = expected(
        origins, weights=request.weights, rival=request.rival, fits=request.fits, samples=request.samples,
        seeds=request.seeds, device=request.device, tails=tails, told=told,
    )  # fmt: skip
    context = origins[0].task.context
    dated = all(is_dated(city) for city in cities)
    since = f", from {moment(min(each.start for each in origins), dated)}" if dated else ""
    remarks = [
        f"{len(origins)} start times in {len({each.region for each in origins})} region(s){since}; "
        f"{len(request.seeds)} seeds, {request.samples} members"
        f"{', of FoMo with the tails of its errors' if tails else ''}; "
        f"context {context}, past week known where recorded",
        *dict.fromkeys(str(each.message) for each in caught),
        *clock_of(cities[0]),
    ]
    return _Part(by_name, origins, everyone, remarks)


def _play(part: _Part, request: Request, play: Callable[..., list[Played]]) -> list[Played]:
    played: list[Played] = []
    for origin in part.origins:
        city = part.cities[origin.region]
        played += play(city, origin, part.everyone, seeds=request.seeds)
        if request.sensitivity:  # on every seed, as each has members and channels of its own: a change is of one thing
            played += play(city, origin, part.everyone, seeds=request.seeds, bias=1.2, scenario=MORE)
            played += play(city, origin, part.everyone, seeds=request.seeds, bias=0.8, scenario=LESS)
            played += play(city, origin, part.everyone, seeds=request.seeds, scenario=SITE_FAILS, fails=True)
    return played


def _sum_up(
    application: Application,
    request: Request,
    played: Sequence[Played],
    units: dict[str, str],
    part: _Part,
    table: pl.DataFrame,
) -> Compared:
    rows = rows_of(with_regret(played), application, request.city, units)
    number = len({each.origin for each in played if each.scenario == AS_FORECAST})
    region = part.origins[-1].region
    city = part.cities[region]
    remarks = [*without_station(city, with_traffic(city)), *part.remarks]
    table = with_lonlat(with_stations(table, city), city)
    return Compared(
        application, request.city, rows, closed_interval(played), table, remarks, number, part.dated, region
    )


def _names(cities: Sequence[City]) -> str:
    names = [str(city.attrs["name"]) for city in cities]
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


__all__ = ["Compared", "DeployRun", "Request", "plan_deploy_of", "plan_prb_of", "plan_prb_of_measured", "plan_sleep_of"]
