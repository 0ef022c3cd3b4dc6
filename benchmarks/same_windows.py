"""Forecasters that answer some windows only, beside FoMo on the same ones.

    fomo scoreboard recipes/scoreboard.toml --only FoMo TabPFN-TS
    python benchmarks/same_windows.py      # from runs/scoreboard/scores to results/same-windows.md

The scoreboard does not rank a forecaster that is asked about each fifth window; here both are scored on those. Rows of
columns that are not scored there stay as they are.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from fomo.evaluation.protocol import Scores
from fomo.evaluation.rows import difference, row
from fomo.evaluation.stored import load_scores
from fomo.files import whole_file

ROOT = Path(__file__).resolve().parent.parent
PROTOCOLS = {
    "fold": "unseen regions, fold 0",
    "last_fifth": "last fifth of the time",
    "next_week": "next week",
    "area": "district",
}
HEADING = (
    "forecaster",
    "protocol",
    "city",
    "task",
    "users",
    "windows",
    "its RMSE",
    "FoMo's",
    "ratio",
    "FoMo less it, 95 %",
)


def on_the_same(own: Scores, other: Scores) -> Scores | None:
    """FoMo's scores on the windows of another, where it was asked about all of those; else None."""
    asked = {(window.region, window.first_step) for window in other.windows}
    common = tuple(window for window in own.windows if (window.region, window.first_step) in asked)
    return replace(own, windows=common) if len(common) == len(asked) else None


def pairs(scores: Path) -> Iterator[tuple[Scores, Scores]]:
    """FoMo and each other that answered a part of its windows, in all columns."""
    for folder in sorted(scores.glob("*/")):
        files = [file for file in sorted(folder.glob("*.npz")) if (scores / "fomo" / file.name).exists()]
        both = [(load_scores(scores / "fomo" / file.name)[0], load_scores(file)[0]) for file in files]
        if folder.name == "fomo" or not any(len(other.windows) < len(own.windows) for own, other in both):
            continue
        for own, other in both:
            some = on_the_same(own, other)
            if some is not None and not other.note and not own.note:
                yield some, other


def table(found: Iterable[tuple[Scores, Scores]], before: str = "") -> str:
    """One row a pair; rows of the table of before whose columns are not among these stay."""
    rows: dict[tuple[str, ...], str] = {}
    for line in before.splitlines()[2:]:
        rows[tuple(cell.strip() for cell in line.split("|")[1:6])] = line
    for own, other in found:
        ours, theirs, apart = row(own).rmse, row(other).rmse, difference(own, other)
        about = (other.forecaster, PROTOCOLS[other.split], other.city, other.task, other.context)
        cells = (
            *about,
            *(len(other.windows), f"{theirs:.4f}", f"{ours:.4f}", f"{ours / theirs:.2f}"),
            "–" if np.isnan(apart.low) else f"{apart.low:.4f} to {apart.high:.4f}",
        )
        rows[about] = "| " + " | ".join(map(str, cells)) + " |"
    lines = ["| " + " | ".join(HEADING) + " |", "|---" * len(HEADING) + "|"]
    return "\n".join([*lines, *(rows[about] for about in sorted(rows))]) + "\n"


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "runs/scoreboard", help="what the scoreboard keeps")
    scores = parser.parse_args().out / "scores"
    found = list(pairs(scores))
    if not found:  # the table that is there would be lost
        raise SystemExit(f"{scores} holds nobody who answered a part of FoMo's windows: run the scoreboard first")
    path = ROOT / "results/same-windows.md"
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    with whole_file(path) as fresh:
        fresh.write_text(table(found, before), encoding="utf-8")


if __name__ == "__main__":
    main()
