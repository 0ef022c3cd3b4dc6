"""Plans for hours that have not come: from a saved forecast, and the city's record for what its hardware carries.

There is nothing to judge them by yet, so nothing is compared; what a plan expects of itself is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from fomo.app.service.outputs import write_frame
from fomo.app.service.planning.allocating import BLOCKS_A_CELL, PrbSetting, blocks_of, one_scale, prbs_of
from fomo.app.service.planning.in_service import out_of_service
from fomo.app.service.planning.moments import clock_of, is_dated, moment
from fomo.app.service.planning.own_cells import HOLDS, cells_that_serve
from fomo.app.service.planning.page import Picture, planning_page
from fomo.app.service.planning.record import cells_named, record_of, recorded_together, share_together
from fomo.app.service.planning.saved import load_and_history, open_both
from fomo.app.service.planning.servers import Server, servers_of_all
from fomo.app.service.planning.sleeping import SleepSetting, few_members_said, plan_table, risk_said
from fomo.app.service.planning.squares import place_said, with_lonlat, with_stations, without_station
from fomo.app.service.planning.writing import TITLES, preview
from fomo.city import City
from fomo.evaluation.figures import save_figure
from fomo.evaluation.planning_figures import scheduling_figure, sleep_figure
from fomo.files import whole_file
from fomo.forecast import Forecast
from fomo.planning.channel import mean_channel
from fomo.planning.dimensioning import dimension_recorded
from fomo.planning.dynamics import carried_by_radio_units
from fomo.planning.load import Load
from fomo.planning.rows import Application
from fomo.planning.scheduling_play import PrbOutcome, play_prb
from fomo.planning.sleep import plan_sleep

#: Members that blocks are played against, at most: each takes as long as the plan itself.
PLAYED = 10


@dataclass(frozen=True)
class Ahead:
    """A plan for periods to come: its table, what it expects, and how it looks."""

    application: Application
    city: str
    table: pl.DataFrame
    summary: list[str]
    remarks: list[str]
    figure: object | None  # None: of one period there is no picture over time
    cells: pl.DataFrame | None = None  # the operator's own ones that serve each square, where the city knows them
    rows: str = "one row per cell and period"  # of the table
    shows: str = "the plan over time"  # the figure, for those who do not see it


@dataclass(frozen=True)
class _Shared:
    """The blocks of one server, if what is expected comes."""

    server: Server
    prbs: int
    outcome: PrbOutcome
    backlog_unit_bits: float
    load: Load
    delay_slots: float  # mean over cells, slots and members that are played
    recorded: float  # share of the recorded periods that all cells have


def plan_saved(plan: Callable[..., Ahead], setting: object, forecast: Path, history: Path) -> Ahead:
    """A plan (`sleep_ahead`, `prb_ahead`) of a forecast and a city on disk, with the operator's cells where it has any.

    Raises `PlanError`, `ForecastError`, `CityError`.
    """
    opened, city = open_both(forecast, history)
    found = plan(opened, city, setting)
    squares = found.table.select("row", "column").unique(maintain_order=True).to_numpy()
    time = opened.dataset["time"].values[opened.asked.values.any((1, 2))]
    cells, remarks = cells_that_serve(history, squares, time)
    if cells is None:
        return found
    return replace(found, cells=with_lonlat(cells, opened.dataset, city), remarks=[*remarks, *found.remarks])


def sleep_ahead(forecast: Forecast, city: City, setting: SleepSetting) -> Ahead:
    """Radio units that may sleep in the forecast's periods. Raises `PlanError`."""
    load, history = load_and_history(forecast, city)
    rrus, dated = setting.parameters.rrus, is_dated(city)
    capacity = dimension_recorded(record_of(history, load.places), rrus, headroom=setting.headroom)
    plan = plan_sleep(load, capacity, setting.parameters, setting.energy)
    asleep, expected = 1 - plan.active.mean() / rrus, plan.expected.totals
    # All units awake do not carry everything either: what nobody carries is no energy saved.
    carried = carried_by_radio_units(load.members, np.array(rrus), capacity).mean(0)
    always = setting.energy.consumed(rrus, carried, capacity, rrus, load.step_minutes / 60).sum()
    summary = [
        f"From {moment(load.time[0], dated)} to {moment(load.time[-1], dated)}, {asleep:.0%} of the radio units of "
        f"{len(capacity)} cells may sleep in the mean; plan.csv says which and when.",
        f"That saves {1 - expected['energy'] / always:.0%} of the energy of all units awake, by the model.",
        risk_said(plan),
    ]
    if plan.risk_exceeded.any():
        summary.append(f"In {int(plan.risk_exceeded.sum())} cell-periods even all units do not keep to the asked risk.")
    figure = None
    if len(load.time) > 1:
        figure = sleep_figure(
            time=load.time, members=load.members, truth=None, active=plan.active, oracle_active=None,
            capacity=capacity, unit=load.unit, places=load.places, dated=dated,
        )  # fmt: skip
    few = few_members_said(setting.parameters.risk, len(load.members))
    about = [*out_of_service(load, city, history), *_about(forecast, city, history)]
    remarks = [*few, *without_station(city, load.places), *about]
    if forecast.attrs["forecaster"] == "FoMo" and "tails" not in forecast.attrs:
        remarks.append("Its members lack the tails that errors have, where traffic is lost: fomo forecast --tails.")
    table = with_lonlat(with_stations(plan_table(load, plan, capacity, dated), city), forecast.dataset, city)
    return Ahead("sleep", str(city.attrs["name"]), table, summary, remarks, figure)


def prb_ahead(forecast: Forecast, city: City, setting: PrbSetting) -> Ahead:
    """Blocks of every server in the forecast's slots, as if what is expected came. Raises `PlanError`.

    All cells have one mean channel: no cell's own is known, and a drawn one would make the plan a lottery.
    """
    load, history = load_and_history(forecast, city)
    dated = is_dated(city)
    row = {tuple(place): index for index, place in enumerate(load.places.tolist())}
    shared = [
        _shared(
            server, load.of_cells(np.array([row[tuple(place)] for place in server.places.tolist()])), history, setting
        )
        for server in servers_of_all(history, load.places)
    ]
    table = pl.concat(
        [blocks_of(each.server, each.outcome, each.prbs, each.backlog_unit_bits, dated) for each in shared]
    )
    delay = np.average([each.delay_slots for each in shared], weights=[len(each.server.places) for each in shared])
    budgets = sorted({each.prbs for each in shared})
    budget = f"{budgets[0]} to {budgets[-1]}" if len(budgets) > 1 else str(budgets[0])
    many = f"{len(shared)} servers share" if len(shared) > 1 else "One server shares"
    summary = [
        f"{many} out {budget} blocks in every slot from {moment(load.time[0], dated)} to "
        f"{moment(load.time[-1], dated)}; plan.csv says how many each server has and each cell gets, if what is "
        "expected comes.",
        f"Assumed are one mean channel for all cells, {BLOCKS_A_CELL} blocks for a mean slot of a cell's traffic, and "
        f"servers whose busiest slot on record would use {setting.busy_share:.0%} of their blocks.",
        f"Expected delay: {delay:.2f} slots in the mean over cells, slots and {min(PLAYED, len(load.members))} members "
        "of the forecast, where blocks are given out slot by slot by what waits then.",
    ]
    figure = _blocks(shared, str(forecast.attrs["forecaster"]), dated) if len(load.time) > 1 else None
    about = [*out_of_service(load, city, history), *_about(forecast, city, history)]
    remarks = [*without_station(city, load.places), *about, *_gaps(shared)]
    table = with_lonlat(with_stations(table, city), forecast.dataset, city)
    return Ahead("prb", str(city.attrs["name"]), table, summary, remarks, figure)


def write_ahead(found: Ahead, parameters: list[tuple[str, object, str, str]], out: Path) -> list[Path]:
    """plan.csv and plan.html, plan.png where there is a figure, plan-cells.csv where there are cells.

    Tables are .parquet too. Of those that this plan has not, an earlier one's are removed: they would seem to be of
    this plan. Returns the paths.
    """
    out.mkdir(parents=True, exist_ok=True)
    tables = {"plan": found.table} if found.cells is None else {"plan": found.table, "plan-cells": found.cells}
    written = [
        write_frame(table, out / f"{name}{suffix}") for name, table in tables.items() for suffix in (".csv", ".parquet")
    ]
    pictures: list[Picture] = []
    if found.figure is not None:
        path = save_figure(found.figure, out / "plan.png")  # type: ignore[arg-type]
        pictures.append(("The plan, and the forecast that it rests on.", found.shows, path))
        written.append(path)
    page = planning_page(
        f"{TITLES[found.application]}: {found.city}",
        summary=found.summary,
        parameters=parameters,
        rows=[],
        figures=pictures,
        plan_preview=preview(found.table),
        files=[
            ("plan.csv", f"the plan, {found.rows}{place_said(found.table)}; also .parquet"),
            *([] if found.cells is None else [("plan-cells.csv", HOLDS)]),
        ],
        remarks=found.remarks,
    )
    with whole_file(out / "plan.html") as fresh:
        fresh.write_text(page, encoding="utf-8")
    for name in ("plan-cells.csv", "plan-cells.parquet", "plan.png"):
        if out / name not in written:
            (out / name).unlink(missing_ok=True)
    return [*written, out / "plan.html"]


def _shared(server: Server, load: Load, history: City, setting: PrbSetting) -> _Shared:
    record = recorded_together(history, server.places)
    channel = mean_channel(setting.channel, len(load.time), len(load.places), load.step_minutes)
    parameters = one_scale(channel, setting.parameters_of(record))
    prbs = prbs_of(record, channel, parameters, setting)

    def played(member: np.ndarray) -> PrbOutcome:
        return play_prb(load, replace(load, members=member[None]), channel, prbs, parameters, setting.method)

    return _Shared(
        server, prbs, played(load.mean), parameters.backlog_unit_bits, load,
        float(np.mean([played(member).mean_delay_slots for member in load.members[:PLAYED]])),
        share_together(history, server.places),
    )  # fmt: skip


def _gaps(shared: Sequence[_Shared]) -> list[str]:
    """What a reader must know of servers whose cells were not all recorded at the same times."""
    worst = min(shared, key=lambda each: each.recorded)
    if worst.recorded == 1:
        return []
    return [
        f"Blocks are dimensioned by the periods that all cells of a server recorded: of {worst.server.name} that is "
        f"{worst.recorded:.0%} of them, the least."
    ]


def _blocks(shared: Sequence[_Shared], forecaster: str, dated: bool) -> object:
    """All servers together: sums, means and blocks are those of the cells of the whole plan."""
    whose = shared[0].server.name if len(shared) == 1 else f"{len(shared)} servers"
    backlog = [each.outcome.backlog_bits / each.backlog_unit_bits for each in shared]
    return scheduling_figure(
        time=shared[0].outcome.time, backlog={"fomo": np.concatenate(backlog, 1).sum(1)},
        delay={"fomo": np.concatenate([each.outcome.delay_slots for each in shared], 1).mean(1)},
        blocks=np.concatenate([each.outcome.prbs for each in shared], 1),
        budget=float(sum(each.prbs for each in shared)),
        backlog_unit="mean slots of a cell", names={"fomo": forecaster},
        cell_names=[cells_named(place[None]) for each in shared for place in each.server.places],
        planned_by=f"{forecaster}, {whose}", dated=dated,
    )  # fmt: skip


def _about(forecast: Forecast, city: City, history: City) -> list[str]:
    about, time = forecast.attrs, history["time"].values
    days = len(time) * int(city.attrs["step_minutes"]) / 1440
    span = f"{moment(time[0], True)} to {moment(time[-1], True)}" if is_dated(city) else f"{days:.1f} days"
    return [
        f"Forecast by {about['forecaster']}, weights {str(about.get('weights', ''))[:12]}, context {about['context']}, "
        f"{forecast.samples.sizes['sample']} members, seed {about['seed']}.",
        f"Hardware is dimensioned by the busy hours of {city.attrs['name']} before the plan, {span}.",
        *clock_of(city),
        "Nothing came yet to judge this plan by: fomo plan on a data folder plays such plans against a past.",
    ]


__all__ = ["Ahead", "open_both", "plan_saved", "prb_ahead", "sleep_ahead", "write_ahead"]
