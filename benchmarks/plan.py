"""Plans: how long they take, and what FoMo's are worth beside other strategies' (Figure 11 of the paper).

    python benchmarks/plan.py speed                    # the last line is JSON
    python benchmarks/plan.py compare --data DIR       # results/planning.md, results/planning/

`compare` takes half an hour on two cores and goes on where it was killed: every plan's rows are kept in runs/planning.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from fomo.app.service.planning.allocating import PrbSetting
from fomo.app.service.planning.run import (
    Compared,
    Request,
    plan_deploy_of,
    plan_prb_of,
    plan_prb_of_measured,
    plan_sleep_of,
)
from fomo.app.service.planning.sleeping import SleepSetting
from fomo.app.service.planning.strategies import SHIPPED_FITS
from fomo.app.service.planning.writing import write_plan
from fomo.evaluation.figures import save_figure
from fomo.evaluation.planning_figures import sensitivity_figure, strategies_figure
from fomo.files import whole_file
from fomo.planning.channel import ChannelParameters, draw_channel
from fomo.planning.deployment import DeploymentParameters
from fomo.planning.dimensioning import dimension
from fomo.planning.energy import EnergyModel
from fomo.planning.facility import locate
from fomo.planning.load import Load, PlanError
from fomo.planning.rows import AS_FORECAST, STRATEGIES, PlanRow
from fomo.planning.scheduling import dimension_prbs, parameters_of_history
from fomo.planning.scheduling_play import play_prb
from fomo.planning.sleep import SleepParameters, plan_sleep
from fomo.sources.barcelona_radio import join_sites, read_radio_records

ROOT = Path(__file__).resolve().parent.parent
CITIES = ("uomo_shandong", "uomo_nanchang", "uomo_nanjing", "jinan", "mobile_nanjing", "nanchang_grid")
#: Three LTE sites as one server, with the channel that was measured.
BARCELONA = "barcelona_lte_dci"
#: Cities whose users are known: there plans are also made with the users of the planned hours, as the paper's are.
WITH_USERS = ("uomo_shandong", "uomo_nanchang", "uomo_nanjing", "nanchang_grid")
#: Start times per region: all of the whole cities', some of the regions'.
ORIGINS = {"uomo_shandong": 3, "uomo_nanchang": 3, "uomo_nanjing": 8, "jinan": 4, "mobile_nanjing": 4}
CLOSED = ("closed", "closed_low", "closed_high")
METRICS = {"sleep": ("QoS loss", "switching", "energy"), "prb": ("delay", "backlog"), "deploy": ("coverage",)}


def made_load(cells: int, hours: int, samples: int, seed: int = 0) -> Load:
    """Members of days with a night and a busy hour, each cell with a level of its own."""
    random = np.random.default_rng(seed)
    hour = np.arange(hours)[:, None]
    level = random.lognormal(0, 1, cells)
    shape = 0.55 - 0.45 * np.cos(2 * np.pi * (hour - 3 - random.uniform(-2, 2, cells)) / 24)
    members = level * shape * random.lognormal(0, 0.2, (samples, hours, cells))
    edge = math.ceil(math.sqrt(cells))
    places = np.stack(np.divmod(np.arange(cells), edge), -1)
    begin = np.datetime64("2024-03-04T00:00", "ns")
    return Load(
        members, begin + np.arange(hours) * np.timedelta64(1, "h"), places, places[:, ::-1] + 0.5, 60, "GB per hour"
    )


def speed(cells: int, hours: int, samples: int) -> dict[str, float]:
    """Seconds of each plan: all cells asleep or awake; servers of 100 cells; 16 x 16 places with 64 stations."""
    load = made_load(cells, hours, samples)
    began = time.perf_counter()
    plan_sleep(load, dimension(load), SleepParameters(), EnergyModel())
    sleep_seconds = time.perf_counter() - began
    truth = made_load(cells, hours, 1, seed=1)
    began = time.perf_counter()
    for first in range(0, cells, 100):
        part = np.arange(first, min(first + 100, cells))
        mine, came = load.of_cells(part), truth.of_cells(part)
        channel = draw_channel(ChannelParameters(), hours, len(part), 60, first)
        scale = 50 * float(channel.mean_bits_per_prb.mean()) / float(mine.members.mean())
        parameters = parameters_of_history(mine, bits_per_unit=scale)
        play_prb(mine, came, channel, dimension_prbs(mine, channel.mean_bits_per_prb, parameters), parameters)
    prb_seconds = time.perf_counter() - began
    day = made_load(256, 24, 1, seed=2)
    demand = day.members[0]
    parameters = DeploymentParameters(stations=64, reach_km=1.6).dimensioned_for(demand)
    began = time.perf_counter()
    located = locate(demand, day.position_km, parameters, weights=1 / demand.sum(1), seconds=20)
    deploy_seconds = time.perf_counter() - began
    return {
        "cells": cells, "hours": hours, "sleep_seconds": round(sleep_seconds, 2), "prb_seconds": round(prb_seconds, 2),
        "deploy_seconds": round(deploy_seconds, 2), "deploy_gap": round(located.gap, 5),
    }  # fmt: skip


def compare(data: Path, weights: str, elsewhere: str, kept: Path, only: list[str]) -> None:
    """Every plan on every city, three seeds; rows are kept one by one."""
    jobs = [(what, city, "past") for city in CITIES for what in ("sleep", "prb")]
    jobs += [("prb", BARCELONA, "past"), ("deploy", "nanchang_grid", "past")]
    jobs += [(what, city, "full") for city in WITH_USERS for what in ("sleep", "prb")]
    for what, city, context in jobs:
        name = f"{what}-{city}" + ("" if context == "past" else f"-{context}")
        file = kept / name / "comparison.csv"
        if (only and name not in only) or (file.exists() and not only):
            continue
        began = time.perf_counter()
        request = Request(
            city, data, elsewhere if what == "deploy" else weights, fits=SHIPPED_FITS, most=ORIGINS.get(city),
            context=context, sensitivity=context == "past", samples=128 if what == "deploy" else 24,
        )  # fmt: skip
        try:
            found = made(what, request)
        except PlanError as error:  # a test part shorter than a plan: the table goes on without it
            print(f"{name}: {error}", file=sys.stderr, flush=True)
            continue
        write_plan(found, request, [], kept / name)
        print(f"{name}: closes {found.closed[0]:.2f}, {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


def made(what: str, request: Request) -> Compared:
    def told(done: int, of: int, who: str) -> None:
        if done % 20 == 0:
            print(f"{request.city} {what}: {done} of {of}, {who}", file=sys.stderr, flush=True)

    if what == "sleep":
        return plan_sleep_of(request, SleepSetting(SleepParameters(), EnergyModel()), told)
    if request.city == BARCELONA:
        joined = join_sites(read_radio_records(Path(request.data or ".") / f"{BARCELONA}.parquet"))
        return plan_prb_of_measured(replace(request, context="past"), joined, PrbSetting(ChannelParameters()), told)
    if what == "prb":
        return plan_prb_of(request, PrbSetting(ChannelParameters()), told)
    return plan_deploy_of(request, DeploymentParameters(stations=64, reach_km=1.6), told, seconds=20.0)


def tables(kept: Path, out: Path) -> None:
    """What is kept as one tidy table, README's tables, and a figure per plan."""
    found: list[Found] = []
    for folder in sorted(kept.iterdir(), key=lambda path: _order(path.name)):
        if not (folder / "comparison.json").exists():
            continue
        what, city, context = _parts(folder.name)
        rows = [PlanRow(**row) for row in pl.read_csv(folder / "comparison.csv").iter_rows(named=True)]
        strategies = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
        of_fomo = next(each for each in strategies if each["strategy"] == "fomo")
        closed = tuple(math.nan if of_fomo[key] is None else of_fomo[key] for key in CLOSED)
        found.append(Found(what, city, context, rows, closed))
    folder = out / "planning"
    folder.mkdir(parents=True, exist_ok=True)
    everything = [asdict(row) | {"context": each.context} for each in found for row in each.rows]
    with whole_file(folder / "planning.csv") as fresh:
        pl.DataFrame(everything).write_csv(fresh, float_precision=6)
    for what in METRICS:
        some = [row for each in found if (each.what, each.context) == (what, "past") for row in each.rows]
        if some:
            few_colours(save_figure(strategies_figure(some), folder / f"{what}.png"))
            figure = sensitivity_figure(some, metric="above the oracle")
            few_colours(save_figure(figure, folder / f"{what}-sensitivity.png"))
    for path, text in ((out / "planning.md", markdown(found)), (folder / "parts.md", parts(found))):
        with whole_file(path) as fresh:
            fresh.write_text(text, encoding="utf-8")


def markdown(found: list[Found]) -> str:
    """What plans cost above the oracle and how far FoMo goes, then the parts of (17), (18) and the coverage."""
    lines = [
        "| plan | users | city | always on | history | rival | FoMo | FoMo closes (95 %) | origins |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in found:
        regret = each.of("above the oracle")
        values = [f"{regret[name].value:.3g}" for name in STRATEGIES[:-1]]
        best = min(range(4), key=lambda place: regret[STRATEGIES[place]].value)
        values[best] = f"**{values[best]}**"
        share, low, high = each.closed
        said = "–" if math.isnan(share) else f"{share:.0%}" + (f" ({low:.0%} to {high:.0%})" if low < high else "")
        said = said.replace("%", " %")
        lines.append(f"| {each.head} | {' | '.join(values)} | {said} | {regret['fomo'].origins} |")
    return "\n".join(lines) + "\n"


def parts(found: list[Found]) -> str:
    """The parts of (17) and (18), and the coverage."""
    lines = ["| plan | users | city | part | unit | always on | history | rival | FoMo | what happened |"]
    lines.append("|---|---|---|---|---|---|---|---|---|---|")
    for each in found:
        for metric in METRICS[each.what]:
            part = each.of(metric)
            values = " | ".join(f"{part[name].value:.3g}" for name in STRATEGIES)
            lines.append(f"| {each.head} | {metric} | {part['fomo'].unit} | {values} |")
    return "\n".join(lines) + "\n"


def few_colours(path: Path) -> None:
    """A picture with fewer colours, so that it is small."""
    Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)


@dataclass(frozen=True)
class Found:
    """One plan on one city."""

    what: str
    city: str
    context: str
    rows: list[PlanRow]
    closed: tuple[float, ...]

    @property
    def head(self) -> str:
        return f"{self.what} | {'of no one' if self.what == 'deploy' else self.context} | {self.city}"

    def of(self, metric: str) -> dict[str, PlanRow]:
        return {row.strategy: row for row in self.rows if (row.metric, row.scenario) == (metric, AS_FORECAST)}


def _parts(name: str) -> tuple[str, str, str]:
    what, city = name.split("-", 1)
    return (what, city.removesuffix("-full"), "full") if city.endswith("-full") else (what, city, "past")


def _order(name: str) -> tuple[int, int, int]:
    what, city, context = _parts(name)
    return (list(METRICS).index(what), ["past", "full"].index(context), (*CITIES, BARCELONA).index(city))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    fast = verbs.add_parser("speed")
    fast.add_argument("--cells", type=int, default=10_000)
    fast.add_argument("--hours", type=int, default=168)
    fast.add_argument("--samples", type=int, default=24)
    judge = verbs.add_parser("compare")
    judge.add_argument("--data", type=Path, required=True)
    judge.add_argument("--weights", default="fomo-tiny")
    judge.add_argument("--elsewhere", default="runs/without-nanchang-grid/weights", help="for deploy")
    judge.add_argument("--kept", type=Path, default=ROOT / "runs/planning")
    judge.add_argument("--only", nargs="*", default=[], help="like sleep-jinan; made again")
    judge.add_argument("--tables", action="store_true", help="no work, tables from what is kept")
    said = parser.parse_args()
    if said.verb == "speed":
        print(json.dumps(speed(said.cells, said.hours, said.samples)))
        return
    if not said.tables:
        compare(said.data, said.weights, said.elsewhere, said.kept, said.only)
    tables(said.kept, ROOT / "results")


if __name__ == "__main__":
    main()
