"""An operator's files to a city, timed beside the bare group-by of the engine on the same files.

    python benchmarks/ingest.py --rows 28800000      # or: make bench-ingest ROWS=28800000

Makes a synthetic operator (10,000 cells in sectors of 3,334 sites, quarters of an hour, a Parquet file a day), runs
`fomo city build` with its whole start, and polars' group-by of cell and time with the sum of the traffic and the mean
of the users, in turn, each in a process of its own; the least of each counts. The last line is JSON; it is also kept in
results/ingest.csv, and as a table in results/ingest.md. `--csv`: the same rows as text.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars

from fomo.files import whole_file

ROOT = Path(__file__).resolve().parent.parent
CELLS, PERIODS = 10_000, 96
START = np.datetime64("2024-03-01T00:00", "us")

BARE = """
import sys, polars
scan = polars.scan_csv if sys.argv[1].endswith("csv") else polars.scan_parquet
frame = scan(sys.argv[1]).group_by("cell", "time").agg(
    polars.col("dl_bytes").sum(), polars.col("users").mean()
).collect(engine="streaming")
print(frame.height)
"""


def make_operator(folder: Path, rows: int, ending: str) -> None:
    """Sites around one place, and a file a day."""
    random = np.random.default_rng(0)
    site = np.arange(CELLS) // 3
    names = [f"SITE{number // 3:05d}_{number % 3 + 1}" for number in range(CELLS)]
    lon, lat = (centre + random.normal(0, spread, CELLS)[site] for centre, spread in ((24.9, 0.15), (60.2, 0.08)))
    azimuth = (np.arange(CELLS) % 3) * 120.0
    polars.DataFrame({"cell": names, "lon": lon, "lat": lat, "azimuth": azimuth}).write_csv(folder / "sites.csv")
    level = random.lognormal(0, 1, CELLS) * 1e8
    (folder / "counters").mkdir()
    for day in range(-(-rows // (CELLS * PERIODS))):
        times = START + (day * PERIODS + np.arange(PERIODS)) * np.timedelta64(15, "m")
        rhythm = 1.2 + np.sin(2 * np.pi * (np.arange(PERIODS) / 4 - 9) / 24)
        traffic = (level * rhythm[:, None] * random.lognormal(0, 0.2, (PERIODS, CELLS))).astype(np.int64).ravel()
        frame = polars.DataFrame(
            {
                "cell": np.tile(names, PERIODS), "time": np.repeat(times, CELLS), "dl_bytes": traffic,
                "users": (traffic / 2e6).astype(np.float32),
            }
        )  # fmt: skip
        left = rows - day * CELLS * PERIODS
        path = folder / f"counters/{str(times[0])[:10]}.{ending}"
        frame = frame.head(left)
        if ending == "csv":
            frame.write_csv(path, datetime_format="%Y-%m-%d %H:%M:%S")
        else:
            frame.write_parquet(path)


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds and peak memory in GB of a command. Raises `SystemExit` where it fails."""
    began = time.perf_counter()
    process = os.posix_spawn(
        command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    )
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"{' '.join(command[:3])} failed")
    return time.perf_counter() - began, usage.ru_maxrss * 1024 / 1e9


def keep(found: dict[str, Any]) -> None:
    """The run in the tables, in place of an older one of as many rows."""
    table, text = ROOT / "results/ingest.csv", ROOT / "results/ingest.md"
    rows = polars.read_csv(table).to_dicts() if table.exists() else []
    rows = [row for row in rows if (row["form"], row["rows"]) != (found["form"], found["rows"])]
    rows = sorted([*rows, found], key=lambda row: (row["form"] == "csv", row["rows"]))
    with whole_file(table) as fresh:
        polars.DataFrame(rows).write_csv(fresh)
    lines = [
        "| form | rows | `fomo city build`, s | bare group-by, s | ratio | peak memory, GB | of the group-by, GB |"
    ]
    lines.append("|---" * 7 + "|")
    lines += [
        f"| {row['form']} | {row['rows']:,} | {row['seconds']:.1f} | {row['bare_seconds']:.1f} | {row['ratio']:.2f} | "
        f"{row['peak_rss_gb']:.2f} | {row['bare_peak_rss_gb']:.2f} |"
        for row in rows
    ]
    with whole_file(text) as fresh:
        fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=28_800_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--csv", action="store_true", help="CSV in place of Parquet")
    parser.add_argument("--folder", type=Path, help="where the operator is made; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        ending = "csv" if options.csv else "parquet"
        make_operator(folder, options.rows, ending)
        size = sum(file.stat().st_size for file in (folder / "counters").iterdir())
        print(f"{options.rows:,} rows of {CELLS:,} cells, {size / 1e6:.0f} MB", flush=True)
        build = [
            sys.executable, "-m", "fomo.app.cli", "city", "build", "--counters", str(folder / "counters"), "--sites",
            str(folder / "sites.csv"), "--out", str(folder / "city.zarr"), "--cell-km", "0.5",
        ]  # fmt: skip
        bare = [sys.executable, "-c", BARE, str(folder / f"counters/*.{ending}")]
        best = {"build": (float("inf"), 0.0), "bare": (float("inf"), 0.0)}
        for round_ in range(options.rounds):
            for what, command in (("bare", bare), ("build", build)):
                shutil.rmtree(folder / "city.zarr", ignore_errors=True)
                best[what] = min(best[what], timed(command))
                print(f"round {round_ + 1}, {what}: {best[what][0]:.1f} s, {best[what][1]:.2f} GB", flush=True)
    seconds, memory = best["build"]
    found = {
        "form": ending, "rows": options.rows, "seconds": round(seconds, 2), "bare_seconds": round(best["bare"][0], 2),
        "ratio": round(seconds / best["bare"][0], 3), "peak_rss_gb": round(memory, 2),
        "bare_peak_rss_gb": round(best["bare"][1], 2),
    }  # fmt: skip
    keep(found)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
