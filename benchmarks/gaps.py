"""Gaps that are made where the answer is known, and filled: by the network alone, and with the record around them.

    fomo train recipes/without-jinan.toml --data DIR --out runs/without-jinan --threads 1 --export-half  # and others
    python benchmarks/gaps.py --data DIR      # minutes; the table to results/gaps.md

Cities by weights that never saw them, the middle 12 x 12 cells of their first twelve days. Each of forty cells that
carry a tenth of the mean and more loses one stretch of so many hours, anywhere in the record. Errors are over each
cell's mean, so that a quiet cell counts as much as a busy one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from never_seen import CITIES

from fomo.city import City, steps_per_day
from fomo.evaluation.metrics import coverage
from fomo.files import whole_file
from fomo.forecasters.fomo import FoMo, load
from fomo.sources import data_folder, read_family

ROOT = Path(__file__).resolve().parent.parent
HOURS, DAYS, EDGE, CELLS, SMALLEST, MEMBERS = (1, 3, 12, 24, 48, 96), 12, 12, 40, 0.1, 24


def middle(city: City) -> City:
    """Its middle cells, its first days."""
    rows, columns = (slice(max(0, (city.sizes[axis] - EDGE) // 2), None) for axis in ("y", "x"))
    part = city.isel(time=slice(0, DAYS * steps_per_day(city)), y=rows, x=columns)
    return part.isel(y=slice(0, EDGE), x=slice(0, EDGE))


def stretches(city: City, steps: int, seed: int = 0) -> np.ndarray:
    """Recorded values to hide, bool (time, y, x): one stretch of so many steps in each of some cells."""
    traffic, random = city["traffic"].values, np.random.default_rng(seed)
    mean = np.nanmean(traffic, 0)
    cells = np.argwhere(mean > SMALLEST * np.nanmean(mean))
    hidden = np.zeros(traffic.shape, bool)
    for row, column in random.permutation(cells)[:CELLS]:
        first = random.integers(0, len(traffic) - steps + 1)
        hidden[first : first + steps, row, column] = True
    return hidden & np.isfinite(traffic)


def scores(model: FoMo, city: City, hidden: np.ndarray) -> tuple[float, float]:
    """Root mean square of the error over the cell's mean, and the share within 90 %."""
    truth = city["traffic"].values
    seen = city.assign(traffic=city["traffic"].copy(data=np.where(hidden, np.nan, truth)))
    filled = model.fill(seen, samples=MEMBERS, context="none")
    members, came = filled.samples.values[:, hidden].astype(np.float64), truth[hidden].astype(np.float64)
    mean = np.broadcast_to(np.nanmean(truth, 0), truth.shape)[hidden]
    within = coverage(members, came, 0.9, antithetic=bool(filled.attrs["antithetic"])).mean()
    return float(np.sqrt((((members.mean(0) - came) / mean) ** 2).mean())), float(within)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the real data; default: FOMO_DATA")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = [
        "| city | " + " | ".join(f"{hours} h" for hours in HOURS) + " | within 90 % |",
        "|---" * (len(HOURS) + 2) + "|",
    ]
    for name, weights in CITIES.items():
        city, model = middle(read_family(data_folder(options.data), name)[0]), load(ROOT / f"runs/{weights}/weights")
        errors, within = [], []
        for hours in HOURS:
            hidden = stretches(city, max(1, hours * steps_per_day(city) // 24))
            pair = [scores(each, city, hidden) for each in (model.without_hindcasts(), model)]
            told = f"{pair[1][0]:.3f}"
            errors.append(f"{pair[0][0]:.3f} to " + (f"**{told}**" if pair[1][0] < pair[0][0] else told))
            within.append([one[1] for one in pair])
        covered = [f"{share:.0%}".replace("%", " %") for share in np.mean(within, 0)]
        table.append(f"| {name} | " + " | ".join(errors) + f" | {covered[0]} to {covered[1]} |")
        print(table[-1], flush=True)
    with whole_file(ROOT / "results/gaps.md") as fresh:
        fresh.write_text("\n".join(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
