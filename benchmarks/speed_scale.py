"""Cost and memory of forecasts by cells, samples and horizon: `python benchmarks/speed.py scale`.

Every point is a process of its own, so that its memory is its own: the highest resident set while it forecasts, less
what was resident before (Linux). Writes results/speed-scale.csv and docs/figures/speed-scale.png.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
from matplotlib.axes import Axes

from fomo.evaluation.figure_style import BLUE, HALF, ORANGE, SMALL, TEXT, WIDE, new_figure, save_figure, tidy
from fomo.files import whole_file
from fomo.forecasters.fomo import load
from fomo.sources.synthetic import synthetic_city

ROOT = Path(__file__).resolve().parent.parent
#: Edges of square cities, from 10^2 to 10^5 cells.
EDGES = (10, 18, 32, 56, 100, 178, 316)
#: Axis -> (height, width, samples, horizon) of its points.
POINTS = {
    "cells": [(edge, edge, 4, 16) for edge in EDGES],
    "samples": [(8, 8, samples, 16) for samples in (2, 8, 32, 128, 512, 2048)],
    "horizon": [(8, 8, 4, horizon) for horizon in (8, 24, 48, 168, 504)],
}
UNITS = {"cells": "cells", "samples": "samples", "horizon": "horizon (steps of an hour)"}


def peak(reset: bool = False) -> float:
    """The highest resident set in MB; `reset` begins again from what is resident now."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def point(weights: str, height: int, width: int, samples: int, horizon: int) -> dict[str, float]:
    """Seconds and memory of one forecast."""
    model = load(weights)
    city = synthetic_city(height=height, width=width, days=3)
    model.forecast(synthetic_city(height=8, width=8, days=3), 16, samples=2, past_week=False)  # warm
    before = peak(reset=True)
    began = time.perf_counter()
    found = model.forecast(city, horizon, samples=samples, past_week=False, context="none")
    seconds, memory = time.perf_counter() - began, peak() - before
    for _ in range(4 if seconds < 4 else 0):
        began = time.perf_counter()
        model.forecast(city, horizon, samples=samples, past_week=False, context="none")
        seconds = min(seconds, time.perf_counter() - began)
    return {
        "cells": height * width,
        "samples": samples,
        "horizon": horizon,
        "seconds": seconds,
        "result_mb": found.samples.values.nbytes / 2**20,
        "window_mb": samples * height * width * max(64, horizon) * 4 / 2**20,
        "memory_mb": memory,
    }


def scale(weights: str, threads: int) -> pl.DataFrame:
    """All points, their table and their figure."""
    rows = []
    for axis, points in POINTS.items():
        for size in points:
            command = [sys.executable, str(Path(__file__).with_name("speed.py")), "scale", "--weights", weights]
            command += ["--threads", str(threads), "--point", *map(str, size)]
            answer = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
            if answer.returncode:
                raise SystemExit(f"{size}: {answer.stderr.strip()[-2000:]}")
            rows.append({"axis": axis, **json.loads(answer.stdout.splitlines()[-1]), "threads": threads})
            print(rows[-1], flush=True)
    table = pl.DataFrame(rows)
    with whole_file(ROOT / "results/speed-scale.csv") as fresh:
        table.write_csv(fresh, float_precision=4)
    draw(table)
    return table


def draw(table: pl.DataFrame) -> None:
    """Seconds above, memory below, one column an axis; both logarithmic."""
    figure = new_figure(WIDE, 1.2 * HALF)
    axes = figure.subplots(2, len(POINTS), squeeze=False)
    for column, axis in enumerate(POINTS):
        rows = table.filter(pl.col("axis") == axis).sort(axis)
        place = rows[axis].to_list()
        time_axes, memory_axes = axes[0, column], axes[1, column]
        time_axes.plot(place, rows["seconds"].to_list(), "o-", color=BLUE, markersize=4)
        per = rows["seconds"][-1] / place[-1]
        time_axes.plot(place, [per * each for each in place], ":", color="#7F7F7F", label="in proportion")
        memory_axes.plot(
            place, rows["memory_mb"].to_list(), "o-", color=BLUE, markersize=4, label="peak, beyond before"
        )
        memory_axes.plot(
            place, rows["window_mb"].to_list(), "s--", color=ORANGE, markersize=4, label="members themselves"
        )
        for each, unit in ((time_axes, "seconds"), (memory_axes, "MB")):
            label(each, UNITS[axis], unit if column == 0 else "")
    axes[0, 0].legend(fontsize=SMALL, frameon=False)
    axes[1, 0].legend(fontsize=SMALL, frameon=False)
    save_figure(figure, ROOT / "docs/figures/speed-scale.png")


def label(axes: Axes, below: str, beside: str) -> None:
    """Logarithmic axes with their units."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(below, fontsize=TEXT)
    axes.set_ylabel(beside, fontsize=TEXT)
    tidy(axes, grid="both")
