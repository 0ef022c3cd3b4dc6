"""How sure forecasts are where only a few days are known: widths from those days, and the network's own.

    fomo train recipes/without-jinan.toml --data DIR --out runs/without-jinan --threads 1 --export-half  # and others
    python benchmarks/few_days.py --data DIR      # ten minutes; rows to results/few-days.csv, the table to few-days.md

Cities by weights that never saw them, their busiest 16 x 16 cells, dates before the last fifth. At some starts all but
the last days before them is forgotten.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from never_seen import CITIES

from fomo.city import City
from fomo.diffusion.memory import SHARE_IN_COMMON
from fomo.evaluation.metrics import crps
from fomo.files import whole_file
from fomo.forecast import quantiles_of
from fomo.forecasters.blend import FEWEST_HINDCASTS, Blend
from fomo.forecasters.fomo import FoMo, load
from fomo.sources import data_folder, read_family
from fomo.windows.hindcast import busiest_block
from fomo.windows.split import last_fifth
from fomo.windows.task import HISTORY_AND_HORIZON, Task, forecast_task

ROOT = Path(__file__).resolve().parent.parent
DAYS, STARTS, MEMBERS, CELLS = (2, 3, 4, 5), 6, 20, 256


class AsWideAsTheNetworkSays(FoMo):
    """Before there are four hindcasts, members are as wide, and as much alike, as they are elsewhere."""

    def _blend(self, task: Task, reference: float) -> Blend:
        blend = super()._blend(task, reference)
        if blend.hindcasts >= FEWEST_HINDCASTS:
            return blend
        return replace(blend, width=1.0, in_common=SHARE_IN_COMMON[False])


def busiest(city: City) -> City:
    """Its busiest block."""
    rows, columns = busiest_block(forecast_task(city, 16, 48), CELLS)
    part = city.isel(y=rows, x=columns)
    part.attrs = dict(city.attrs)
    return part


def known_before(city: City, start: int, days: int) -> City:
    """The last days before a step."""
    steps = round(days * 1440 / city.attrs["step_minutes"])
    part = city.isel(time=slice(start - steps, start))
    part.attrs = dict(city.attrs)
    return part


def scores(model: FoMo, city: City, days: int, horizon: int) -> dict[str, float]:
    """Means over starts: CRPS over the mean traffic, shares of values and of hourly sums within 90 %."""
    covered, found = city["covered"].values, []
    first = round(days * 1440 / city.attrs["step_minutes"])
    for start in np.linspace(first, city.sizes["time"] - horizon, STARTS).astype(int):
        forecast = model.forecast(
            known_before(city, int(start), days), horizon=horizon, samples=MEMBERS, context="none"
        )
        truth = city["traffic"].values[start : start + horizon][:, covered]
        members, known = forecast.samples.values[:, :, covered], np.isfinite(truth)
        low, high = quantiles_of(members, (0.05, 0.95))
        sums = np.where(known, members, 0.0).sum(2)
        of_sums, total = quantiles_of(sums, (0.05, 0.95)), np.where(known, truth, 0.0).sum(1)
        found.append(
            {
                "crps": crps(members, truth)[known].mean() / truth[known].mean(),
                "within_90": ((low <= truth) & (truth <= high))[known].mean(),
                "sums_within_90": ((of_sums[0] <= total) & (total <= of_sums[1])).mean(),
                "width": float(forecast.attrs["width"]),
                "hindcasts": float(forecast.attrs["hindcasts"]),
            }
        )
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def measured(data: Path) -> Iterator[dict[str, Any]]:
    """A row for each city, task, number of days and way."""
    for name, weights in CITIES.items():
        run = ROOT / "runs" / weights
        if not run.is_dir():
            raise SystemExit(f"{run} is not there: fomo train recipes/{weights}.toml --data DIR --out {run}")
        model = load(run / "weights")
        ways = {"own": model, "network": AsWideAsTheNetworkSays(model.network, model.checkpoint)}
        (whole,) = read_family(data, name)
        city = whole.isel(time=slice(0, last_fifth(whole)))
        city.attrs = dict(whole.attrs)
        city = busiest(city)
        for task, (_, horizon) in HISTORY_AND_HORIZON.items():
            for days in DAYS:
                if city.sizes["time"] < days * 1440 / city.attrs["step_minutes"] + horizon + STARTS:
                    continue
                for way, asked in ways.items():
                    row = {"city": name, "task": task, "days": days, "width_from": way}
                    row |= scores(asked, city, days, horizon)
                    print(row, flush=True)
                    yield row


def table(rows: list[dict[str, Any]]) -> str:
    """Both ways side by side, without and with what is found in the days that are known."""
    lines = [
        "| city, task | days known | hindcasts | width | CRPS over the mean traffic | change | values within 90 % "
        "| sums over the cells within 90 % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for own in (row for row in rows if row["width_from"] == "own"):
        key = ("city", "task", "days")
        alone = next(row for row in rows if row["width_from"] == "network" and all(row[k] == own[k] for k in key))
        lines.append(
            f"| {own['city']}, {own['task']} | {own['days']} | {own['hindcasts']:.1f} | {own['width']:.2f} "
            f"| {alone['crps']:.4f} to **{own['crps']:.4f}** | {changed(own['crps'] / alone['crps'])} "
            f"| {100 * alone['within_90']:.0f} to {100 * own['within_90']:.0f} % "
            f"| {100 * alone['sums_within_90']:.0f} to {100 * own['sums_within_90']:.0f} % |"
        )
    return "\n".join(lines) + "\n"


def changed(ratio: float) -> str:
    """A ratio as percent more or less."""
    percent = round(100 * (ratio - 1))
    return f"{percent:+d} %" if percent else "0 %"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the real data; default: FOMO_DATA")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = list(measured(data_folder(options.data)))
    with whole_file(ROOT / "results/few-days.csv") as fresh, fresh.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    with whole_file(ROOT / "results/few-days.md") as fresh:
        fresh.write_text(table(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
