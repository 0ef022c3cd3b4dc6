"""FoMo and four rivals in a city that none was trained on, from none, 5 % and 10 % of its cells (Figure 5).

    python benchmarks/few_shot_rivals.py --data DIR      # rivals that `fomo scoreboard` has trained on the set fold-0
    python benchmarks/few_shot_rivals.py --data DIR --only FoMo     # rows of the others stay as they are

All learn from the same blocks of 4 x 4 cells in the first four fifths of the time, in as many steps at the same rate,
and keep what they began with where that is better on the held-back last fifth. Scored there, in all cells, each second
window. Rows to results/few-shot-rivals.csv, the README's part to results/few-shot-rivals.md, the figure to
docs/figures/few-shot-rivals.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from fomo.app.service.adaptation import adapt
from fomo.app.service.rival_adaptation import adapt_rival
from fomo.app.service.scoreboard.fits import load_rival
from fomo.app.service.scoreboard.plan import slug
from fomo.evaluation.charts import small_lines_figure
from fomo.evaluation.figure_style import save_figure
from fomo.evaluation.protocol import evaluate
from fomo.evaluation.questions import TaskName, family_questions
from fomo.evaluation.rows import row
from fomo.files import whole_file
from fomo.forecasters.fomo import load
from fomo.forecasters.protocol import Forecaster
from fomo.forecasters.registry import find_entries
from fomo.forecasters.rivals.training import FitConfig
from fomo.sources import data_folder, read_family
from fomo.tokens.masks import MaskConfig
from fomo.windows.split import train_part

ROOT = Path(__file__).resolve().parent.parent
CITY = "milan_20x20"  # in no training part of the recipes
OWN, RIVALS = "FoMo", ("TimeGPT", "UniST", "Lag-Llama", "KG-Diff")
ROWS = ROOT / "results/few-shot-rivals.csv"
SHARES = (0.05, 0.10)
TASKS: tuple[TaskName, ...] = ("short", "long")
STEPS, RATE, EVERY = 120, 5e-4, 2
FEW = FitConfig(
    steps=STEPS, learning_rate=RATE, average=0.98,
    masks=MaskConfig(short=0.45, long=0.45, generation=0.05, random=0.05, exact=0.6),
)  # fmt: skip


@dataclass(frozen=True)
class Point:
    """A score of one forecaster, task and share; `changed`: what training gave was better and is what is scored."""

    city: str
    task: str
    forecaster: str
    share: float
    cells: int
    changed: bool
    rmse: float
    mae: float
    crps: float


def forecasters(data: Path, fits: Path, names: list[str]) -> Iterator[tuple[Forecaster, float, int, bool]]:
    """These forecasters at every share: with the cells they saw, and whether they changed them."""
    city = train_part(read_family(data, CITY)[0], "last_fifth")  # what is scored has no say in what is kept
    if OWN in names:
        yield load("fomo-tiny"), 0.0, 0, False
    for share in SHARES if OWN in names else ():
        out = ROOT / f"runs/few-shot/rivals-{CITY}-{round(100 * share)}"
        done = adapt(city, out, share=share, steps=STEPS, learning_rate=RATE, device="cpu")
        yield load(str(done.weights)), share, done.cells, done.step > 0
    for entry in (find_entries((name,))[0] for name in RIVALS if name in names):
        rival, _ = load_rival(entry, fits / slug(entry.name))
        yield rival, 0.0, 0, False
        for share in SHARES:
            found = adapt_rival(rival, city, FEW, share=share)
            yield found.rival, share, found.cells, found.kept


def points(data: Path, fits: Path, samples: int, names: list[str]) -> Iterator[Point]:
    """All scores, as they come."""
    cities = read_family(data, CITY)
    questions = {task: family_questions(cities, task, split="last_fifth")[::EVERY] for task in TASKS}
    for forecaster, share, cells, changed in forecasters(data, fits, names):
        name = OWN if forecaster.name.lower().startswith("fomo") else forecaster.name
        for task in TASKS:
            found = row(evaluate(forecaster, questions[task], samples=samples, seed=0, progress=False))
            assert found.rmse is not None and found.mae is not None and found.crps is not None
            yield Point(CITY, task, name, share, cells, changed, found.rmse, found.mae, found.crps)


def write(found: list[Point]) -> None:
    """Rows, the README's table and the figure."""
    with whole_file(ROWS) as fresh:
        pl.DataFrame([asdict(point) for point in found]).write_csv(fresh, float_precision=6)
    columns = [(task, share) for task in TASKS for share in (0.0, *SHARES)]
    lines = ["| forecaster | " + " | ".join(f"{task}, {share:.0%}" for task, share in columns) + " |"]
    lines.append("|---" * (1 + len(columns)) + "|")
    names = list(dict.fromkeys(point.forecaster for point in found))
    for name in names:
        own = {(p.task, p.share): f"{p.rmse:.4f}" for p in found if p.forecaster == name}
        lines.append(f"| {name} | " + " | ".join(own.get(column, "–") for column in columns) + " |")
    with whole_file(ROOT / "results/few-shot-rivals.md") as fresh:
        fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
    panels = {
        f"{CITY}, {task}": {
            name: (
                np.array([100 * p.share for p in found if (p.task, p.forecaster) == (task, name)]),
                np.array([p.rmse for p in found if (p.task, p.forecaster) == (task, name)]),
            )
            for name in names
        }
        for task in TASKS
    }
    figure = small_lines_figure(panels, across="share of the city's cells [%]", up="RMSE of traffic scaled to [0, 1]")
    save_figure(figure, ROOT / "docs/figures/few-shot-rivals.png")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the real data; default: FOMO_DATA")
    parser.add_argument("--fits", type=Path, default=ROOT / "runs/scoreboard/fits/fold-0")
    parser.add_argument("--samples", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=(OWN, *RIVALS), default=[OWN, *RIVALS])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    before = [Point(**each) for each in pl.read_csv(ROWS).iter_rows(named=True)]
    kept = [point for point in before if point.forecaster not in options.only]
    found: list[Point] = []
    for point in points(data_folder(options.data), options.fits, options.samples, options.only):
        found.append(point)
        print(point, flush=True)
        if len(found) % len(TASKS) == 0:
            write(sorted(found + kept, key=lambda each: (OWN, *RIVALS).index(each.forecaster)))


if __name__ == "__main__":
    main()
