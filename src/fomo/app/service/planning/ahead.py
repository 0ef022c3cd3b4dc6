"""Plans for hours that have not come: from a saved forecast, and the city's record for what its hardware carries.

There is nothing to judge them by yet, so nothing is compared; what a plan expects of itself is said.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from fomo.app.service.outputs import write_frame
from fomo.app.service.planning.allocating import PrbSetting, blocks_of, one_scale
from fomo.app.service.planning.origins import Server, find_servers, recorded, with_traffic
from fomo.app.service.planning.page import Picture, planning_page
from fomo.app.service.planning.sleeping import SleepSetting, plan_table
from fomo.app.service.planning.writing import TITLES, preview
from fomo.city import City, open_city
from fomo.evaluation.figures import save_figure
from fomo.evaluation.planning_figures import scheduling_figure, sleep_figure
from fomo.files import whole_file
from fomo.forecast import Forecast
from fomo.planning.channel import draw_channel
from fomo.planning.dimensioning import dimension
from fomo.planning.load import Load, PlanError, load_of_forecast
from fomo.planning.scheduling import dimension_prbs
from fomo.planning.scheduling_play import PrbOutcome, play_prb
from fomo.planning.sleep import plan_sleep
from fomo.seeds import seed_of


@dataclass(frozen=True)
class Ahead:
    """A plan for periods to come: its table, what it expects, and how it looks."""

    application: Literal["sleep", "prb"]
    city: str
    table: pl.DataFrame
    summary: list[str]
    remarks: list[str]
    figure: object | None  # None: of one period there is no picture over time


def open_both(forecast: Path, history: Path) -> tuple[Forecast, City]:
    """A forecast and the city that it is of. Raises `PlanError`, `ForecastError`, `CityError`."""
    found, city = Forecast.open(forecast), open_city(history)
    grid = tuple(city.sizes[axis] for axis in ("y", "x"))
    if found.asked.shape[1:] != grid:
        raise PlanError(
            f"the forecast {forecast} is on a grid of {found.asked.shape[1:]}, the city {history} of {grid}"
        )
    if found.attrs["city"] != city.attrs["name"]:
        raise PlanError(f"{forecast} is a forecast of {found.attrs['city']!r}, {history} is {city.attrs['name']!r}")
    if int(found.attrs["step_minutes"]) != int(city.attrs["step_minutes"]):
        raise PlanError(f"{forecast} and {history} have granularity periods of different length")
    if (np.isfinite(found.samples.values[0]) & ~found.asked.values).any():
        raise PlanError(
            f"{forecast} holds recorded values beside those that were asked for, as 'fomo generate' and 'fomo fill' "
            "write them: plan on the periods to come, with 'fomo forecast'"
        )
    return found, city


def sleep_ahead(forecast: Forecast, city: City, setting: SleepSetting) -> Ahead:
    """Radio units that may sleep in the forecast's periods. Raises `PlanError`."""
    load = _of_stations(load_of_forecast(forecast), city)
    capacity = dimension(recorded(city, load.places), setting.parameters.rrus, headroom=setting.headroom)
    plan = plan_sleep(load, capacity, setting.parameters, setting.energy)
    asleep, expected = 1 - plan.active.mean() / setting.parameters.rrus, plan.expected.totals
    always = setting.energy.consumed(
        setting.parameters.rrus, load.mean, capacity, setting.parameters.rrus, load.step_minutes / 60
    ).sum()
    summary = [
        f"From {_minute(load.time[0])} to {_minute(load.time[-1])}, {asleep:.0%} of the radio units of "
        f"{len(capacity)} cells may sleep in the mean; plan.csv says which and when.",
        f"That saves {1 - expected['energy'] / always:.0%} of the energy of all units awake, by the model.",
        f"The forecast puts the probability that a cell is overloaded in a period at {plan.planned_risk:.1%}.",
    ]
    if plan.risk_exceeded.any():
        summary.append(f"In {int(plan.risk_exceeded.sum())} cell-periods even all units do not keep to the asked risk.")
    figure = None
    if len(load.time) > 1:
        figure = sleep_figure(
            time=load.time, members=load.members, truth=None, active=plan.active, oracle_active=None,
            capacity=capacity, unit=load.unit,
        )  # fmt: skip
    table = plan_table(load, plan, capacity)
    remarks = _about(forecast, city)
    if forecast.attrs["forecaster"] == "FoMo" and "tails" not in forecast.attrs:
        remarks.append("Its members lack the tails that errors have, where traffic is lost: fomo forecast --tails.")
    return Ahead("sleep", str(city.attrs["name"]), table, summary, remarks, figure)


def prb_ahead(forecast: Forecast, city: City, setting: PrbSetting, seed: int = 0) -> Ahead:
    """Blocks of every server in the forecast's slots, as if what is expected came. Raises `PlanError`."""
    load = _of_stations(load_of_forecast(forecast), city)
    place = {tuple(each): index for index, each in enumerate(load.places.tolist())}
    tables, outcomes = [], []
    for server in find_servers(city):
        inside = [place[tuple(each)] for each in server.places.tolist() if tuple(each) in place]
        if len(inside) < 2:
            continue
        mine = load.of_cells(np.array(inside))
        server = Server(server.name, mine.places)
        history = recorded(city, mine.places)
        channel = draw_channel(
            setting.channel, len(mine.time), len(inside), mine.step_minutes, seed_of(seed, server.name)
        )
        channel = replace(channel, bits_per_prb=np.broadcast_to(channel.mean_bits_per_prb, channel.bits_per_prb.shape))
        parameters = one_scale(channel, setting.parameters_of(history))
        prbs = dimension_prbs(history, channel.mean_bits_per_prb, parameters, setting.busy_share)
        expected = replace(mine, members=mine.mean[None])
        outcome = play_prb(mine, expected, channel, prbs, parameters, setting.method)
        tables.append(blocks_of(server, outcome, parameters.backlog_unit_bits))
        outcomes.append((float(mine.members.sum()), server, prbs, outcome, parameters.backlog_unit_bits))
    if not outcomes:
        raise PlanError("no two neighbouring cells of the forecast carry traffic: there is nothing to share")
    _, server, prbs, outcome, unit = max(outcomes, key=lambda each: each[0])
    summary = [
        f"{len(outcomes)} servers share out their blocks from {_minute(load.time[0])} to {_minute(load.time[-1])}; "
        "plan.csv says how many each cell gets, with mean channels and if what is expected comes.",
        f"Expected delay: {np.mean([each[3].mean_delay_slots for each in outcomes]):.2f} slots in the mean.",
    ]
    figure = _blocks(outcome, prbs, unit, server) if len(load.time) > 1 else None
    return Ahead("prb", str(city.attrs["name"]), pl.concat(tables), summary, _about(forecast, city), figure)


def write_ahead(found: Ahead, parameters: list[tuple[str, object, str, str]], out: Path) -> list[Path]:
    """plan.csv, plan.parquet, plan.html, and plan.png where there is a figure."""
    out.mkdir(parents=True, exist_ok=True)
    written = [write_frame(found.table, out / "plan.csv"), write_frame(found.table, out / "plan.parquet")]
    pictures: list[Picture] = []
    if found.figure is not None:
        path = save_figure(found.figure, out / "plan.png")  # type: ignore[arg-type]
        pictures.append(("The plan, and the forecast that it rests on.", "the plan over time", path))
        written.append(path)
    page = planning_page(
        f"{TITLES[found.application]}: {found.city}",
        summary=found.summary,
        parameters=parameters,
        rows=[],
        figures=pictures,
        plan_preview=preview(found.table),
        files=[("plan.csv", "the plan, one row per cell and period; also .parquet")],
        remarks=found.remarks,
    )
    with whole_file(out / "plan.html") as fresh:
        fresh.write_text(page, encoding="utf-8")
    return [*written, out / "plan.html"]


def _of_stations(load: Load, city: City) -> Load:
    """The cells of a load that ever carried traffic."""
    stations = set(map(tuple, with_traffic(city).tolist()))
    keep = np.array([tuple(place) in stations for place in load.places.tolist()])
    if not keep.any():
        raise PlanError(f"{city.attrs['name']!r} never carried traffic in the cells of the forecast")
    return load.of_cells(keep)


def _blocks(outcome: PrbOutcome, prbs: int, unit: float, server: Server) -> object:
    return scheduling_figure(
        time=outcome.time, backlog={"fomo": outcome.backlog_bits.sum(1) / unit},
        delay={"fomo": outcome.delay_slots.mean(1)}, blocks=outcome.prbs, budget=float(prbs),
        backlog_unit="mean slots of a cell", planned_by=f"FoMo, {server.name}",
    )  # fmt: skip


def _about(forecast: Forecast, city: City) -> list[str]:
    about = forecast.attrs
    return [
        f"Forecast by {about['forecaster']}, weights {str(about.get('weights', ''))[:12]}, context {about['context']}, "
        f"{forecast.samples.sizes['sample']} members, seed {about['seed']}.",
        f"Hardware is dimensioned by the busy hours of {city.attrs['name']}, {_minute(city['time'].values[0])} to "
        f"{_minute(city['time'].values[-1])}.",
        "Nothing came yet to judge this plan by: fomo plan on a data folder plays such plans against a past.",
    ]


def _minute(time: np.datetime64) -> str:
    return str(np.datetime_as_string(time, unit="m")).replace("T", " ")


__all__ = ["Ahead", "open_both", "prb_ahead", "sleep_ahead", "write_ahead"]
