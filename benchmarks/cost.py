"""What a forecast costs on this machine, and how far from the floor: operations over the measured matrix rate.

    python benchmarks/cost.py --weights fomo-tiny

Writes results/cost.csv and results/cost.md. Times are medians, the rate of the product is the best; ratios are of one
run, so they carry over to other machines better than the seconds do.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch
from clock import EDGE, operations, seconds_of

from fomo.city import City
from fomo.forecasters.fomo import load
from fomo.sources.synthetic import synthetic_city
from fomo.training.pace import matrix_rate

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Case:
    """A forecast to time."""

    name: str
    height: int
    width: int
    horizon: int
    samples: int
    repeats: int


CASES = (
    Case("64 x 4 x 4 window, short", 4, 4, 16, 20, 15),
    Case("64 x 4 x 4 window, long", 4, 4, 48, 20, 15),
    Case("20 x 28 city, short", 20, 28, 16, 20, 3),
    Case("20 x 28 city, long", 20, 28, 48, 20, 3),
)


def measure(weights: str) -> pl.DataFrame:
    """One row per case."""
    model = load(weights)
    rate = matrix_rate("cpu", EDGE)
    rows = []
    for case in CASES:
        city = synthetic_city(height=case.height, width=case.width, days=7)

        def forecast(city: City = city, case: Case = case) -> object:
            return model.forecast(city, case.horizon, samples=case.samples, past_week=False)

        seconds = statistics.median(seconds_of(forecast, case.repeats))
        count = operations(forecast)
        rows.append(
            {
                "case": case.name,
                "samples": case.samples,
                "steps": model.sampling.steps,
                "seconds": seconds,
                "seconds per sample": seconds / case.samples,
                "gflop": count / 1e9,
                "matrix gflop/s": rate / 1e9,
                "times the floor": seconds / (count / rate),
                "threads": torch.get_num_threads(),
            }
        )
        print(rows[-1], flush=True)
    return pl.DataFrame(rows)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="fomo-tiny")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table = measure(options.weights)
    (ROOT / "results").mkdir(exist_ok=True)
    table.write_csv(ROOT / "results/cost.csv")
    lines = ["| case | samples | seconds, whole | per sample | GFLOP | times the floor |", "|---" * 6 + "|"]
    lines += [
        f"| {r['case']} | {r['samples']} | {r['seconds']:.2f} | {r['seconds per sample']:.4f} | {r['gflop']:.1f} | "
        f"{r['times the floor']:.1f} |"
        for r in table.iter_rows(named=True)
    ]
    rate = f"{table['matrix gflop/s'][0]:.0f} GFLOP/s"
    note = f"\n{table['threads'][0]} threads; matrix product measured in the same run: {rate}.\n"
    (ROOT / "results/cost.md").write_text("\n".join(lines) + "\n" + note, encoding="utf-8")


if __name__ == "__main__":
    main()
