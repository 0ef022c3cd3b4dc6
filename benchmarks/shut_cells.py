"""Cells that carried nothing in the whole window, as offices on a Sunday night: what is said of their Monday.

    fomo train recipes/without-jinan.toml --data DIR --out runs/without-jinan --threads 1 --export-half  # and the other
    python benchmarks/shut_cells.py --data DIR      # a minute; the table to results/shut-cells.md

The measured cities have next to none such at steps of an hour, so half of the cells of their busiest 8 x 8 are shut
here, at night and at weekends: all of their traffic is taken away, or all but a twentieth. Cities by weights that never
saw them, dates before the last fifth, asked between Sunday 22:00 and Monday 06:00. Scored are the open hours of these
cells: as it is, and without what was made for them, the past alone where the window says nothing
(`fomo.forecasters.blend.past_where_alone`) and deaf to days of another kind (`fomo.forecasters.own_past.KINDS_APART`).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from fomo.city import City
from fomo.evaluation.metrics import crps
from fomo.files import whole_file
from fomo.forecast import quantiles_of
from fomo.forecasters import drawing, own_past
from fomo.forecasters.fomo import FoMo, load
from fomo.sources import data_folder, read_family
from fomo.windows.clock import hours_since_monday
from fomo.windows.hindcast import busiest_block
from fomo.windows.split import last_fifth
from fomo.windows.task import forecast_task

ROOT = Path(__file__).resolve().parent.parent
CITIES = {"jinan": "without-jinan", "mobile_nanjing": "without-mobile-nanjing"}
CELLS, LEFT, HORIZON, MEMBERS, FEWEST_DAYS, OPENS, SHUTS = 64, (0.0, 0.05), 16, 40, 5, 7, 20
#: Hours since Monday 00:00 at which it is asked.
ASKED_AT = (0, 3, 6, 166)


def with_shut_cells(city: City, left: float, seed: int = 0) -> tuple[City, np.ndarray, np.ndarray]:
    """The city with about half of its cells shut but for a share `left`, which cells those are, and the open steps."""
    shut = np.random.default_rng(seed).random((city.sizes["y"], city.sizes["x"])) < 0.5
    hour = hours_since_monday(city["time"].values)
    is_open = (hour % 24 >= OPENS) & (hour % 24 < SHUTS) & (hour < 5 * 24)
    traffic = city["traffic"].values * np.where(shut & ~is_open[:, None, None], left, 1.0).astype(np.float32)
    return city.assign(traffic=city["traffic"].copy(data=traffic)), shut, is_open


def scores(model: FoMo, city: City, shut: np.ndarray, is_open: np.ndarray) -> dict[str, float]:
    """Means over the starts: CRPS over the traffic that came, mean over what came, share within 90 %."""
    hour = hours_since_monday(city["time"].values)
    first, found = FEWEST_DAYS * 24, []
    for start in range(first, city.sizes["time"] - HORIZON + 1):
        if int(hour[start]) not in ASKED_AT:
            continue
        forecast = model.forecast(city.isel(time=slice(0, start)), HORIZON, samples=MEMBERS, context="none")
        at = is_open[start:][:HORIZON]
        members = forecast.samples.values[:, at][:, :, shut]
        truth = city["traffic"].values[start:][:HORIZON][at][:, shut]
        known = np.isfinite(truth)
        low, high = quantiles_of(members, (0.05, 0.95))
        found.append(
            {
                "starts": 1.0,
                "crps": float(crps(members, truth)[known].mean() / truth[known].mean()),
                "mean": float(members.mean(0)[known].mean() / truth[known].mean()),
                "within_90": float(((low <= truth) & (truth <= high))[known].mean()),
            }
        )
    means = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
    return means | {"starts": float(len(found))}


def lines(data: Path) -> list[str]:
    """The table: a line for each city and share left, without and with."""
    table = [
        "| city | left at night and at weekends | starts | CRPS over what came | mean over what came | within 90 % |",
        "|---|---|---|---|---|---|",
    ]
    for name, weights in CITIES.items():
        run = ROOT / "runs" / weights
        if not run.is_dir():
            raise SystemExit(f"{run} is not there: fomo train recipes/{weights}.toml --data DIR --out {run}")
        model, (whole,) = load(run / "weights"), read_family(data, name)
        city = whole.isel(time=slice(0, last_fifth(whole)))
        rows, columns = busiest_block(forecast_task(city, HORIZON, 48), CELLS)
        city = city.isel(y=rows, x=columns)
        for left in LEFT:
            asked = with_shut_cells(city, left)
            own = scores(model, *asked)
            as_before = patch.object(drawing, "past_where_alone", lambda expected: expected)
            with as_before, patch.object(own_past, "KINDS_APART", np.inf):
                without = scores(model, *asked)
            table.append(
                f"| {name} | {100 * left:.0f} % | {own['starts']:.0f} | {without['crps']:.3f} to **{own['crps']:.3f}** "
                f"| {without['mean']:.2f} to {own['mean']:.2f} "
                f"| {100 * without['within_90']:.0f} to {100 * own['within_90']:.0f} % |"
            )
            print(table[-1], flush=True)
    return table


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the real data; default: FOMO_DATA")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table = lines(data_folder(options.data))
    with whole_file(ROOT / "results/shut-cells.md") as fresh:
        fresh.write_text("\n".join(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
