"""Zero-, 5 %- and 10 %-shot on cities left out of training (Figure 5), beside the same network trained from nothing.

    python benchmarks/few_shot.py --data DIR       # weights of fomo train recipes/without-NAME.toml

Learned from: blocks of 4 x 4 cells in the first four fifths of the time, the last fifth of that held back to stop by.
Scored: the last fifth of the time, all cells. Rows to results/few-shot.csv, where cities that are not asked keep
theirs, the README's part to results/few-shot.md, the figure to docs/figures/few-shot.png.
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from fomo.app.service.adaptation import adapt
from fomo.app.service.evaluation import evaluate
from fomo.evaluation.charts import small_lines_figure
from fomo.evaluation.figure_style import save_figure
from fomo.evaluation.questions import TaskName
from fomo.files import whole_file
from fomo.sources import data_folder, read_family
from fomo.windows.split import train_part

ROOT = Path(__file__).resolve().parent.parent
CITIES = {"mobile_nanjing": "mobile-nanjing", "jinan": "jinan", "milan_20x20": "milan"}
ROWS = ROOT / "results/few-shot.csv"
SHARES = (0.05, 0.10)
TASKS: tuple[TaskName, ...] = ("short", "long")
#: Steps and learning rate from trained weights, and from nothing.
TUNED, FRESH = (120, 5e-4), (240, 1e-3)


@dataclass(frozen=True)
class Point:
    """A score of one city, task and share."""

    city: str
    task: str
    begun: str  # with trained weights, or from nothing
    share: float
    cells: int
    stopped_at: int
    held_back_before: float
    held_back_after: float
    seconds: float  # that adapting took, scores of the held-back part among them
    rmse: float
    mae: float
    crps: float


def points(data: Path, city: str, samples: int) -> list[Point]:
    """All scores of one city."""
    start = str(ROOT / f"runs/without-{CITIES[city]}/weights")
    part = train_part(read_family(data, city)[0], "last_fifth")
    nan = float("nan")
    found = _scored(data, city, start, samples, ("trained weights", 0.0, 0, 0, nan, nan, nan))
    for share in SHARES:
        for begun, (steps, rate) in (("trained weights", TUNED), ("nothing", FRESH)):
            out = ROOT / f"runs/few-shot/{CITIES[city]}-{round(100 * share)}-{begun.split()[0]}"
            started = time.perf_counter()
            done = adapt(
                part, out, weights=start, share=share, steps=steps, learning_rate=rate,
                scheme="output", from_nothing=begun == "nothing", device="cpu",
            )  # fmt: skip
            took = round(time.perf_counter() - started, 1)
            told = (begun, share, done.cells, done.step, done.before, done.after, took)
            found += _scored(data, city, str(done.weights), samples, told)
    return found


def _scored(
    data: Path, city: str, weights: str, samples: int, told: tuple[str, float, int, int, float, float, float]
) -> list[Point]:
    found = []
    for task in TASKS:
        row = evaluate(data, city, task, weights=weights, samples=samples, device="cpu").rows[0]
        assert row.rmse is not None and row.mae is not None and row.crps is not None
        found.append(Point(city, task, *told, row.rmse, row.mae, row.crps))
        print(found[-1], flush=True)
    return found


def kept(others: list[str]) -> list[Point]:
    """What the table has of cities that are not asked."""
    if not ROWS.exists():
        return []
    numbers = dict.fromkeys(("held_back_before", "held_back_after", "seconds"), pl.Float64)
    rows = pl.read_csv(ROWS, schema_overrides=numbers).filter(pl.col("city").is_in(others)).iter_rows(named=True)
    return [Point(**{"seconds": float("nan"), **row}) for row in rows]


def write(found: list[Point]) -> None:
    """Rows, the README's table and the figure."""
    found = sorted(found, key=lambda point: list(CITIES).index(point.city))
    with whole_file(ROWS) as fresh, fresh.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(found[0])))
        writer.writeheader()
        writer.writerows(asdict(point) for point in found)
    columns = list(dict.fromkeys((point.city, point.task) for point in found))
    lines = ["| begun with | share | " + " | ".join(f"{city} {task}" for city, task in columns) + " |"]
    lines.append("|---" * (2 + len(columns)) + "|")
    for begun, share in dict.fromkeys((point.begun, point.share) for point in found):
        cells = {(p.city, p.task): f"{p.rmse:.4f}" for p in found if (p.begun, p.share) == (begun, share)}
        lines.append(f"| {begun} | {share:.0%} | " + " | ".join(cells.get(column, "–") for column in columns) + " |")
    with whole_file(ROOT / "results/few-shot.md") as fresh:
        fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
    panels = {}
    for city, task in columns:
        panels[f"{city}, {task}"] = {
            begun: (
                np.array([100 * p.share for p in found if (p.city, p.task, p.begun) == (city, task, begun)]),
                np.array([p.rmse for p in found if (p.city, p.task, p.begun) == (city, task, begun)]),
            )
            for begun in ("trained weights", "nothing")
        }
    figure = small_lines_figure(panels, across="share of the city's cells [%]", up="RMSE of traffic scaled to [0, 1]")
    save_figure(figure, ROOT / "docs/figures/few-shot.png")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the real data; default: FOMO_DATA")
    parser.add_argument("--samples", type=int, default=12)
    parser.add_argument("--cities", nargs="+", default=list(CITIES), choices=list(CITIES))
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = kept([city for city in CITIES if city not in options.cities])
    for city in options.cities:
        found += points(data_folder(options.data), city, options.samples)
        write(found)


if __name__ == "__main__":
    main()
