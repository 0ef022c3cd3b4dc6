"""What `fomo plan` leaves behind: the plan as a table, the comparison, pictures, and a page to hand on."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fomo.app.service.outputs import write_frame
from fomo.app.service.planning.moments import moment
from fomo.app.service.planning.page import Picture, planning_page
from fomo.app.service.planning.record import cells_named
from fomo.app.service.planning.run import Compared, Request
from fomo.app.service.planning.sleeping import risk_said
from fomo.app.service.planning.squares import place_said
from fomo.evaluation.figures import save_figure
from fomo.evaluation.planning_figures import (
    coverage_figure,
    deployment_figure,
    scheduling_figure,
    sensitivity_figure,
    sleep_figure,
    strategies_figure,
)
from fomo.files import whole_file
from fomo.planning.comparison import REGRET
from fomo.planning.coverage import play_coverage
from fomo.planning.rows import AS_FORECAST, PlanRow

TITLES = {"sleep": "Radio units that may sleep", "prb": "Resource blocks", "deploy": "Base stations"}
#: Rows of the plan that the page shows.
PREVIEW = 8


def strategy_rows(found: Compared) -> list[dict[str, Any]]:
    """One row per strategy, the objective and its parts with their intervals: what `--json` writes."""
    rows: list[dict[str, Any]] = []
    for row in found.rows:
        if row.scenario != AS_FORECAST:
            continue
        if not rows or rows[-1]["strategy"] != row.strategy:
            rows.append(
                {
                    "application": row.application, "city": row.city, "strategy": row.strategy,
                    "forecaster": row.forecaster, "origins": row.origins, "seeds": row.seeds,
                }
            )  # fmt: skip
        name = row.metric.replace(" ", "_")
        rows[-1] |= {name: row.value, f"{name}_low": row.low, f"{name}_high": row.high, f"{name}_unit": row.unit}
    share, low, high = (None if math.isnan(value) else value for value in found.closed)
    for each in rows:
        if each["strategy"] == "fomo":
            each |= {"closed": share, "closed_low": low, "closed_high": high}
    return rows


def write_json(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    """The rows as JSON, whole or not at all."""
    with whole_file(path) as fresh:
        fresh.write_text(json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    return path


def write_plan(
    found: Compared, request: Request, parameters: Sequence[tuple[str, object, str, str]], out: Path
) -> list[Path]:
    """Everything into a folder: plan.csv, plan.parquet, comparison.csv, comparison.json, pictures, plan.html."""
    out.mkdir(parents=True, exist_ok=True)
    written = [write_json(strategy_rows(found), out / "comparison.json"), write_frame(found.table, out / "plan.csv")]
    written += [
        write_frame(found.table, out / "plan.parquet"),
        write_frame(rows_frame(found.rows), out / "comparison.csv"),
    ]
    pictures, sensitivity = _pictures(found, out)
    written += [Path(str(each[2])) for each in (*pictures, *sensitivity)]
    page = planning_page(
        f"{TITLES[found.application]}: {found.city}",
        summary=summary(found),
        parameters=[*parameters, ("weights", request.weights, "", "FoMo's"), ("members", request.samples, "", "drawn")],
        rows=found.rows,
        figures=pictures,
        plan_preview=preview(found.table),
        files=[
            ("plan.csv", f"{_table_said(found)}{place_said(found.table)}; also .parquet"),
            ("comparison.csv", "every number of this page with its interval"),
        ],
        remarks=found.remarks,
        sensitivity_figures=sensitivity,
    )
    with whole_file(out / "plan.html") as fresh:
        fresh.write_text(page, encoding="utf-8")
    return [*written, out / "plan.html"]


def preview(plan: pl.DataFrame) -> tuple[list[str], list[tuple[object, ...]]]:
    """Names of the columns and the first rows, times as they are in plan.csv."""
    first = plan.head(PREVIEW).with_columns(pl.col(pl.Datetime).dt.strftime("%Y-%m-%dT%H:%M"))
    return first.columns, first.rows()


def rows_frame(rows: Sequence[PlanRow]) -> pl.DataFrame:
    """The tidy table of a comparison."""
    return pl.DataFrame([asdict(row) for row in rows])


def summary(found: Compared) -> list[str]:
    """What the plan says, how it compares, and how sure that is: plain sentences."""
    lines = _what(found)
    share, low, high = found.closed
    best = min((row for row in _objectives(found) if row.strategy not in ("fomo", "real")), key=lambda row: row.value)
    if math.isnan(share):
        lines.append(
            f"The best other strategy ({best.forecaster}) is no worse than knowing the future here: there is nothing "
            "to gain by a better forecast."
        )
    else:
        lines.append(
            f"Of the distance between the best other strategy ({best.forecaster}) and knowing the future, FoMo's plans "
            f"close {share:.0%} (95 % interval {low:.0%} to {high:.0%}, over {found.origins} places and start times)."
        )
    return lines


def _table_said(found: Compared) -> str:
    """What plan.csv holds."""
    if found.prb is not None:
        return f"the plan of the last start time of server {found.prb.at.server.name}, one row per cell and period"
    if found.deploy is not None:
        return "the plan, one row per cell: the stations of every strategy"
    return f"the plan of the last start time of {found.region}, one row per cell and period"


def _objectives(found: Compared) -> list[PlanRow]:
    return [row for row in found.rows if row.metric == "objective" and row.scenario == AS_FORECAST]


def _what(found: Compared) -> list[str]:
    if found.sleep is not None:
        plan, cells = found.sleep.plan, found.sleep.plan.active.shape[1]
        rrus = plan.expected.parameters.rrus
        asleep = 1 - plan.active.mean() / rrus
        by_period = plan.active.mean(1)
        time = found.sleep.load.time
        first, quiet, busy = (moment(time[at], found.dated) for at in (0, by_period.argmin(), by_period.argmax()))
        return [
            f"From {first}, {asleep:.0%} of the radio units of {cells} cells of {found.region} may sleep in the mean; "
            f"most at {quiet}, fewest at {busy}. plan.csv says which and when.",
            risk_said(plan),
        ]
    if found.prb is not None:
        outcome = found.prb.outcomes["fomo"]
        return [
            f"Server {found.prb.at.server.name} shares out {found.prb.at.prbs} resource blocks to "
            f"{outcome.prbs.shape[1]} cells in every slot; plan.csv says who gets how many.",
            f"With this plan {outcome.carried_share:.1%} of the bits were carried, delayed by "
            f"{outcome.mean_delay_slots:.2f} slots in the mean.",
        ]
    assert found.deploy is not None
    chosen = next(each for each in found.deploy.deployments if each.strategy == "fomo").located
    coverage = next(r for r in found.rows if (r.strategy, r.metric, r.scenario) == ("fomo", "coverage", AS_FORECAST))
    return [
        f"{int(chosen.stations.sum())} stations go into {int((chosen.stations > 0).sum())} of {len(chosen.stations)} "
        "cells; plan.csv says where. No plan of so many stations serves the generated demand better by more than "
        f"{chosen.gap:.2%}.",
        f"Played against the users who were really there, they serve {coverage.value:.1%} of them in the mean hour.",
    ]


def _pictures(found: Compared, out: Path) -> tuple[list[Picture], list[Picture]]:
    figures: list[tuple[str, str, str, Any]] = [
        ("strategies", "Every strategy's plans, judged by what happened; intervals over places and start times.",
         "dots with intervals, one per strategy", strategies_figure(found.rows, title=TITLES[found.application])),
    ]  # fmt: skip
    if found.sleep is not None:
        run = found.sleep
        figures.append(
            ("plan", f"The plan of the last start time of {found.region}: the busiest cell, and all cells.",
             "load and awake radio units",
             sleep_figure(time=run.load.time, members=run.load.members, truth=run.truth.members[0],
                          active=run.plan.active, oracle_active=run.oracle.active, capacity=run.capacity,
                          unit=run.load.unit, places=run.load.places, dated=found.dated))
        )  # fmt: skip
    if found.prb is not None:
        outcomes, unit = found.prb.outcomes, found.prb.at.parameters.backlog_unit_bits
        figures.append(
            ("plan", f"The busiest server of {found.region} at the last start time, and no other.",
             "backlog, delay and blocks over time",
             scheduling_figure(time=outcomes["fomo"].time,
                               backlog={name: each.backlog_bits.sum(1) / unit for name, each in outcomes.items()},
                               delay={name: each.delay_slots.mean(1) for name, each in outcomes.items()},
                               blocks=outcomes["fomo"].prbs, budget=float(found.prb.at.prbs),
                               backlog_unit="mean slots of a cell", names=_names(found),
                               cell_names=[cells_named(place[None]) for place in found.prb.at.server.places],
                               planned_by=f"FoMo, {found.prb.at.server.name}", dated=found.dated))
        )  # fmt: skip
    if found.deploy is not None:
        figures += _district(found)
    made: list[Picture] = [
        (caption, alt, save_figure(figure, out / f"{name}.png")) for name, caption, alt, figure in figures
    ]
    if len({row.scenario for row in found.rows}) == 1:
        return made, []
    figure = sensitivity_figure(found.rows, metric=REGRET, title=TITLES[found.application])
    path = save_figure(figure, out / "sensitivity.png")
    return made, [("What plans cost above the oracle, by scenario.", "dots by scenario and strategy", path)]


def _district(found: Compared) -> list[tuple[str, str, str, Any]]:
    assert found.deploy is not None
    run, names = found.deploy, _names(found)
    district = run.district
    field = np.full(district.area.shape, np.nan)
    field[tuple(district.places.T)] = run.generated.mean(0)
    inside = np.ix_(district.area.any(1), district.area.any(0))
    maps: dict[str, np.ndarray] = {}
    coverage: dict[str, np.ndarray] = {}
    hours = np.arange(24)
    for each in run.deployments:
        grid = np.zeros(district.area.shape, np.int64)
        grid[tuple(district.places.T)] = each.located.stations
        maps[names[str(each.strategy)]] = grid[inside]
        played = play_coverage(each.located.stations, district.people, district.position_km, run.parameters)
        coverage[each.strategy] = played.by_hour_of_day(district.time)
    return [
        ("stations", "Stations of every strategy over the generated traffic.", "maps of stations",
         deployment_figure(stations=maps, traffic=field[inside], traffic_name="generated traffic", unit=run.unit,
                           cell_km=run.cell_km)),
        ("coverage", "Who is served as people move through the day (Figure 11 c).", "coverage by hour of day",
         coverage_figure(hours=hours, coverage=coverage, names=names)),
    ]  # fmt: skip


def _names(found: Compared) -> dict[str, str]:
    """How strategies are called in pictures: the rival by who it is; those of a district by what they go by."""
    named = {row.strategy: row.forecaster for row in _objectives(found)}
    return {str(name): by for name, by in named.items() if found.application == "deploy" or name == "rival"}


__all__ = ["preview", "rows_frame", "strategy_rows", "summary", "write_json", "write_plan"]
