"""Forecasters that answer some windows only, beside FoMo on the same ones.

    fomo scoreboard recipes/scoreboard.toml --only FoMo TabPFN-TS
    python benchmarks/same_windows.py      # from runs/scoreboard/scores to results/same-windows.md

The scoreboard does not rank a forecaster that is asked about each fifth window; here both are scored on those.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from fomo.evaluation.protocol import Scores
from fomo.evaluation.rows import difference, row
from fomo.evaluation.stored import load_scores
from fomo.files import whole_file

ROOT = Path(__file__).resolve().parent.parent
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
    """FoMo's scores on the windows of another, where it was asked about more than those; else None."""
    asked = {(window.region, window.first_step) for window in other.windows}
    common = tuple(window for window in own.windows if (window.region, window.first_step) in asked)
    return replace(own, windows=common) if len(common) == len(asked) < len(own.windows) else None


def pairs(scores: Path) -> Iterator[tuple[Scores, Scores]]:
    """FoMo and each other that answered a part of its windows."""
    for file in sorted(scores.glob("*/*.npz")):
        beside = scores / "fomo" / file.name
        if file.parent.name == "fomo" or not beside.exists():
            continue
        other, own = load_scores(file)[0], load_scores(beside)[0]
        some = on_the_same(own, other)
        if some is not None and not other.note and not own.note:
            yield some, other


def table(found: Iterable[tuple[Scores, Scores]]) -> str:
    """One row a pair."""
    lines = ["| " + " | ".join(HEADING) + " |", "|---" * len(HEADING) + "|"]
    for own, other in found:
        ours, theirs, apart = row(own).rmse, row(other).rmse, difference(own, other)
        cells = (
            *(other.forecaster, other.split.replace("_", " "), other.city, other.task, other.context),
            *(len(other.windows), f"{theirs:.4f}", f"{ours:.4f}", f"{ours / theirs:.2f}"),
            f"{apart.low:.4f} to {apart.high:.4f}",
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "runs/scoreboard", help="what the scoreboard keeps")
    scores = parser.parse_args().out / "scores"
    found = list(pairs(scores))
    if not found:  # the table that is there would be lost
        raise SystemExit(f"{scores} holds nobody who answered a part of FoMo's windows: run the scoreboard first")
    with whole_file(ROOT / "results/same-windows.md") as fresh:
        fresh.write_text(table(found), encoding="utf-8")


if __name__ == "__main__":
    main()
