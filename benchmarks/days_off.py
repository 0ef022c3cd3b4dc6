"""What it is worth to know which days are off: Nanjing over the Chinese New Year of 2021.

    fomo train recipes/without-mobile-nanjing.toml --data DIR --out runs/without-mobile-nanjing --export-half
    python benchmarks/days_off.py --data DIR   # rows to results/days-off.csv, the table to days-off.md, days-off.png

The release of `mobile_nanjing` tells weekdays, no dates. It begins on a Tuesday, its sixth day is a Sunday like a
working day, seven days from its tenth on are like Sundays, and a working day follows; the paper dates its Nanjing data
February to March 2021. That is 2 February 2021 alone: the holiday was 11 to 17 February, and Sunday the 7th was worked
for it.
Asked is the last fifth of the time (15 to 18 February), the same windows for all. `picture` draws the figure alone,
`choose` asks the dates before it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from pictures import together

from fomo.app.service.planning.strategies import SHIPPED_FITS
from fomo.app.service.scoreboard.fits import ready
from fomo.city import City
from fomo.days_off import with_days_off
from fomo.evaluation.figure_style import save_figure
from fomo.evaluation.metrics import crps
from fomo.evaluation.protocol import evaluate
from fomo.evaluation.questions import TaskName, family_questions
from fomo.evaluation.rows import Row, row
from fomo.evaluation.tables import write_rows
from fomo.evaluation.window_figures import windows_figure
from fomo.files import whole_file
from fomo.forecasters.fomo import FoMo, load
from fomo.forecasters.registry import find_entries
from fomo.forecasters.rule import Rule, observed
from fomo.forecasters.rules import SameHourLastWeek, SeasonalAverage
from fomo.sources import data_folder, read_family
from fomo.windows.clock import HOURS_PER_DAY, Clock
from fomo.windows.split import last_fifth
from fomo.windows.task import Task

ROOT = Path(__file__).resolve().parent.parent
CITY, BEGIN, COUNTRY = "mobile_nanjing", "2021-02-02", "CN"
TASKS: tuple[TaskName, ...] = ("short", "long")


class LatestDayOfItsKind(Rule):
    """The same hour of the latest day of the same kind, working day or not: what a rule can make of days off."""

    name = "latest day of its kind"
    undefined = "no day of its kind known"

    def point(self, task: Task) -> np.ndarray:
        """Traffic of that day, (time, y, x); NaN where there is none."""
        assert task.earlier is not None
        known = np.concatenate([task.earlier, observed(task)])
        before, steps = len(task.earlier), len(task.asked)
        clock = Clock.of(task.window)
        day, weekend = clock.steps(HOURS_PER_DAY), clock.before(before).weekend(before + steps)
        first = before + int(np.argmax(task.asked.any((1, 2))))
        found = np.full(task.asked.shape, np.nan)
        for step in range(steps):
            earlier = np.arange(before + step - day, -1, -day)
            alike = earlier[(earlier < first) & (weekend[earlier] == weekend[before + step])]
            if alike.size:
                found[step] = known[alike[0]]
        return found

    def residuals(self, task: Task) -> np.ndarray:
        """What is observed minus that."""
        return np.asarray(observed(task) - self.point(task))


def dated(data: Path) -> City:
    """The city with its dates."""
    city = read_family(data, CITY)[0]
    moved = city["time"].values + (np.datetime64(BEGIN) - city["time"].values[0].astype("datetime64[D]"))
    return city.assign_coords(time=moved).assign_attrs(calendar="date")


def rows(data: Path, samples: int) -> list[Row]:
    """FoMo, rules and the best deep rival, told of days off or not."""
    plain = dated(data)
    told = with_days_off(plain, COUNTRY)
    unseen, seen = load(ROOT / "runs/without-mobile-nanjing/weights"), load("fomo-tiny")
    found = []
    for task in TASKS:
        for name, forecaster, city in (
            ("FoMo, city never seen, days off told", unseen, told),
            ("FoMo, city never seen", unseen, plain),
            ("FoMo, city seen, days off told", seen, told),
            ("FoMo, city seen", seen, plain),
            ("latest day of its kind, days off told", LatestDayOfItsKind(), told),
            ("latest day of its kind", LatestDayOfItsKind(), plain),
            ("seasonal average", SeasonalAverage(), plain),
            ("same hour last week", SameHourLastWeek(), plain),
            ("Lag-Llama, city seen", ready(*find_entries(["Lag-Llama"]), SHIPPED_FITS), plain),
        ):
            scores = evaluate(forecaster, family_questions([city], task), samples=samples, batch=8)
            found.append(replace(row(scores), forecaster=name))
            print(task, name, found[-1].rmse, found[-1].crps, flush=True)
    return found


def markdown(found: list[Row]) -> str:
    """A line for every forecaster, the best of each column in bold."""
    lines = ["| forecaster | RMSE short | long | CRPS short | long | within 90 % short | long |", "|---" * 7 + "|"]
    names = list(dict.fromkeys(each.forecaster for each in found))
    by = {(each.forecaster, each.task): each for each in found}
    columns = [(score, task) for score in ("rmse", "crps") for task in TASKS]
    values = {(name, *column): getattr(by[name, column[1]], column[0]) for name in names for column in columns}
    known = {key: value for key, value in values.items() if value is not None}
    least = {column: min(value for key, value in known.items() if key[1:] == column) for column in columns}
    for name in names:
        cells = []
        for column in columns:
            value = values[(name, *column)]
            text = "–" if value is None else f"{value:.4f}"
            cells.append(f"**{text}**" if value == least[column] else text)
        within = [by[name, task].coverage90 for task in TASKS]
        cells += ["–" if each is None else f"{100 * each:.0f} %" for each in within]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines) + "\n"


def picture(data: Path, samples: int) -> None:
    """All cells together over the first working day after the holiday, told and not told."""
    model = load(ROOT / "runs/without-mobile-nanjing/weights")
    plain = dated(data)
    panels = []
    for name, city in (("not told", plain), ("days off told", with_days_off(plain, COUNTRY))):
        last = family_questions([city], "long")[-1]
        panels.append(together(model, last, f"Nanjing, 17 and 18 February 2021, {name}", samples))
    save_figure(windows_figure(panels, 2, one_scale=True), ROOT / "docs/figures/days-off.png")


def choose(data: Path, samples: int, starts: int = 12) -> None:
    """The same before the last fifth: RMSE and CRPS over the mean traffic, the 16 x 16 cells in the middle."""
    model = load(ROOT / "runs/without-mobile-nanjing/weights")
    plain = dated(data).isel(y=slice(2, 18), x=slice(6, 22))
    for name, city in (("not told", plain), ("told", with_days_off(plain, COUNTRY))):
        for horizon in (16, 48):
            print(f"{name}, {horizon} h: {scores_before(model, city, horizon, samples, starts)}", flush=True)


def scores_before(model: FoMo, city: City, horizon: int, samples: int, starts: int) -> str:
    """Means over starts from the sixth day to the last fifth."""
    squares, ranked, carried = [], [], []
    for start in np.linspace(5 * 24, last_fifth(city) - horizon, starts).astype(int):
        forecast = model.forecast(city.isel(time=slice(0, int(start))), horizon=horizon, samples=samples)
        members, truth = forecast.samples.values, city["traffic"].values[start : start + horizon]
        squares.append(np.nanmean((members.mean(0) - truth) ** 2))
        ranked.append(np.nanmean(crps(members, truth)))
        carried.append(np.nanmean(truth))
    level = np.mean(carried)
    return f"RMSE {np.sqrt(np.mean(squares)) / level:.4f}, CRPS {np.mean(ranked) / level:.4f} of the mean traffic"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["table", "picture", "choose"], default="table")
    parser.add_argument("--data", type=Path, help="folder of the real data; default: FOMO_DATA")
    parser.add_argument("--samples", type=int, default=24)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = data_folder(options.data)
    if options.what == "choose":
        choose(data, options.samples)
        return
    if options.what == "table":
        found = rows(data, options.samples)
        write_rows(found, ROOT / "results/days-off.csv")
        with whole_file(ROOT / "results/days-off.md") as fresh:
            fresh.write_text(markdown(found), encoding="utf-8")
    picture(data, 50)


if __name__ == "__main__":
    main()
