"""The scoreboard at a glance: FoMo beside the best rule and the best of all others, over the cities of a protocol.

    python benchmarks/glance.py      # from results/scoreboard.parquet to results/glance.md

Each row is the geometric mean over cities, and the least and the largest of them: RMSE of forecasts, MAE of generated
cells. How often the truth lies within 50 and 90 % of the members is the mean over cities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from fomo.evaluation.scoreboard import Line, first_place, read_scoreboard
from fomo.files import whole_file

ROOT = Path(__file__).resolve().parent.parent
#: Protocols and how the table calls them, in order; of the unseen regions the fold that all have answered.
PROTOCOLS = {
    "unseen regions, fold 0": "regions never seen",
    "last fifth of the time": "whole cities, 5 to 18 days known",
    "next week": "next week, one week known",
    "district": "a district without history",
}
TASKS = {"short": "next hours", "long": "next days", "generate": "generated"}
KNOWN = {"none": "traffic alone", "full": "users and POI too"}


def glance(found: Sequence[Line]) -> str:
    """The table, a row for each protocol, task and what is known."""
    heading = ("asked for", "of", "known", "cities", "over the best rule", "over the best of all", "within 50, 90 %")
    lines = ["| " + " | ".join(heading) + " |", "|---" * len(heading) + "|"]
    for protocol, of in PROTOCOLS.items():
        for task, asked in TASKS.items():
            metric = "mae" if task == "generate" else "rmse"
            for context, known in KNOWN.items():
                here = [line for line in found if (line.protocol, line.task, line.context) == (protocol, task, context)]
                own = {line.city: line.value for line in here if line.kind == "fomo" and line.metric == metric}
                if not any(own.values()):
                    continue
                rules = [line for line in here if line.kind in ("fomo", "rule")]
                cells = [ratios(rules, metric), ratios(here, metric), inside(here)]
                lines.append(f"| {asked} | {of} | {known} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def ratios(found: Sequence[Line], metric: str) -> str:
    """FoMo's error over that of the best other, as mean and range over the cities."""
    over = [row["over best other"] for row in first_place(found, metric)]
    known = [value for value in over if isinstance(value, float)]
    if not known:
        return "–"
    mean = math.exp(sum(map(math.log, known)) / len(known))
    return f"{mean:.2f}" + (f" ({min(known):.2f} to {max(known):.2f})" if len(known) > 1 else "")


def inside(found: Sequence[Line]) -> str:
    """How much of the truth lies within 50 and 90 % of FoMo's members."""
    shares = []
    for metric in ("coverage50", "coverage90"):
        values = [
            line.value for line in found if line.kind == "fomo" and line.metric == metric and line.value is not None
        ]
        shares.append(f"{100 * sum(values) / len(values):.0f} %" if values else "–")
    return ", ".join(shares)


def main() -> None:
    """Write the table."""
    with whole_file(ROOT / "results/glance.md") as fresh:
        fresh.write_text(glance(read_scoreboard(ROOT / "results/scoreboard.parquet")), encoding="utf-8")


if __name__ == "__main__":
    main()
