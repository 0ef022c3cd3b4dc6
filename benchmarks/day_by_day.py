"""A planner's week: the next day forecast every midnight, and verified a day later as `fomo verify` does it.

    fomo train recipes/without-jinan.toml --data DIR --out runs/without-jinan --threads 1 --export-half  # and others
    python benchmarks/day_by_day.py --data DIR      # minutes; results/day-by-day.md, docs/figures/verification.png

Cities by weights that never saw them, the midnights of the last fifth of their time, what is known by then (`past`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from never_seen import CITIES

from fomo.city import City, steps_per_day
from fomo.evaluation.figure_style import save_figure
from fomo.evaluation.verification import Verification, cell_totals, verify
from fomo.evaluation.verification_figure import verification_figure
from fomo.files import whole_file
from fomo.forecasters.fomo import FoMo, load
from fomo.sources import data_folder, read_family
from fomo.windows.split import last_fifth

ROOT = Path(__file__).resolve().parent.parent
PICTURE = "jinan"


def midnights(city: City) -> list[int]:
    """Steps at midnight in the last fifth of a city, with a whole day after them."""
    time = city["time"].values
    at = np.flatnonzero(time == time.astype("datetime64[D]"))
    return [int(step) for step in at if last_fifth(city) <= step <= len(time) - steps_per_day(city)]


def verified(model: FoMo, city: City, samples: int) -> Verification:
    """Each of these days, forecast the midnight before."""
    days = [
        model.forecast(city.isel(time=slice(0, step)), steps_per_day(city), samples=samples, context="past")
        for step in midnights(city)
    ]
    return verify(days, city)


def line(name: str, found: Verification) -> str:
    """A row of the table."""
    ours, rules = found.values[0], found.values[1:]
    best = min(rules, key=lambda rule: float(rule.crps.mean()))
    totals = [cell_totals(each) for each in found.compared]
    outside = np.concatenate([each.outside for each in totals])
    by_chance = 2 / (ours.samples + 1)
    crps = [float(each.crps.mean() / ours.truth.mean()) for each in (ours, best)]
    texts = f"{crps[0]:.4f}", f"{crps[1]:.4f} ({best.forecaster})"
    best_in_bold = [f"**{text}**" if score == min(crps) else text for text, score in zip(texts, crps, strict=True)]
    shares = [ours.within(0.5), ours.within(0.9), found.sums_within(0.5), found.sums_within(0.9)]
    told = ["–" if share is None else f"{share:.0%}".replace("%", " %") for share in shares]
    cells = [
        name,
        str(len(found.compared)),
        f"{ours.bias:+.1%}".replace("%", " %"),
        *best_in_bold,
        *told,
        f"{(outside != 0).mean():.0%} ({by_chance:.0%})".replace("%", " %"),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the real data; default: FOMO_DATA")
    parser.add_argument("--samples", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = [
        "| city | days | bias | CRPS over the mean traffic | best rule's | within 50 % | within 90 % "
        "| sums of all cells within 50 % | within 90 % | cells' totals outside all members (by chance) |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, weights in CITIES.items():
        (city,) = read_family(data_folder(options.data), name)
        found = verified(load(ROOT / f"runs/{weights}/weights"), city, options.samples)
        table.append(line(name, found))
        print(table[-1], flush=True)
        if name == PICTURE:
            save_figure(verification_figure(found), ROOT / "docs/figures/verification.png")
    with whole_file(ROOT / "results/day-by-day.md") as fresh:
        fresh.write_text("\n".join(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
