"""What loans of a GPU gave, as tables: their records in results/gpu/, the README's part in results/gpu.md.

The law of its runs goes to results/scaling-gpu.md.
"""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scaling import ROOT, figure_of, lines_of_others, over_families, score_lines, write_lines
from scaling import report as law_of

from fomo.evaluation.figure_style import save_figure
from fomo.files import whole_file

RESULTS = ROOT / "results"
#: The task of a record is the part of its name before the first hyphen.
PACE, PRESET, LAW = "pace", "preset", "law"
LAW_SCORES = (("short", "rmse"), ("long", "rmse"), ("generate", "rmse"), ("generate", "jsd"))
#: What the first records call the attention that PyTorch picks; later ones have no other.
CHOSEN = "PyTorch's choice"


def report(loans: Sequence[Path]) -> None:
    """Keep the records of some loans under their folders' names, and make the tables of all that are kept.

    Raises `SystemExit` where a folder has no record, or nothing was kept.
    """
    for loan in loans:
        records = sorted(loan.glob("*.json"))
        if not records:
            raise SystemExit(f"{loan} has no record of a job: run python benchmarks/gpu_loan.py run --out {loan} first")
        kept = RESULTS / "gpu" / loan.resolve().name
        kept.mkdir(parents=True, exist_ok=True)
        for record in records:
            shutil.copy(record, kept)
        for pattern in (f"{PRESET}-*/*", f"{LAW}-*"):
            for log in sorted(loan.glob(f"{pattern}/metrics.jsonl")):
                shutil.copy(log, kept / f"{'-'.join(log.parent.relative_to(loan).parts)}.jsonl")
    found = list(kept_records())
    if not found:
        raise SystemExit(f"{RESULTS / 'gpu'} has no records: name the folders of some loans")
    with whole_file(RESULTS / "gpu.md") as fresh:
        tables = [training_table(found), forecast_table(found), preset_table(found), law_table(found)]
        fresh.write_text("\n".join(tables), encoding="utf-8")
    add_law([record for kind, _, record in found if kind == LAW])


def kept_records() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(what it was, of which loan, what was found)."""
    for path in sorted((RESULTS / "gpu").glob("*/*.json")):
        yield path.stem.partition("-")[0], path.parent.name, json.loads(path.read_text(encoding="utf-8"))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def training_table(found: Sequence[tuple[str, str, dict[str, Any]]]) -> str:
    """Steps of training, by preset and way; those with an attention that was chosen by hand stay in the records."""
    rows = []
    for kind, loan, record in found:
        lines = [line for line in record["training"] if "step_seconds" in line] if kind == PACE else []
        rate = max((line["matrix_rate"] for line in lines), default=0.0)
        for line in (line for line in lines if line.get("attention", CHOSEN) == CHOSEN):
            alone = line.get("kernels_seconds")
            rows.append(
                (
                    loan, record["preset"], str(line["batch"]), "yes" if line["compiled"] else "no",
                    f"{1000 * line['step_seconds']:.0f}", f"{line['tokens_per_second'] / 1000:,.0f}",
                    f"{100 * line['operations'] / line['step_seconds'] / rate:.2g}",
                    "–" if alone is None else f"{100 * line['operations'] / alone / rate:.0f}",
                )
            )  # fmt: skip
    heads = (
        "loan", "preset", "windows a step", "compiled", "ms a step", "thousand tokens a second",
        "share of the measured peak, %", "of its kernels alone, %",
    )  # fmt: skip
    return table(heads, rows)


def forecast_table(found: Sequence[tuple[str, str, dict[str, Any]]]) -> str:
    """Forecasts of windows and of a city."""
    rows = [
        (
            loan, record["preset"], str(line["rows"]), "float32" if line["precision"] == "highest" else "tf32",
            f"{line['windows_per_second']:.0f}", f"{1000 * line['window_seconds']:.0f}",
            f"{1000 * line['city_seconds']:.0f}",
        )
        for kind, loan, record in found
        if kind == PACE
        for line in record["forecasting"]
    ]  # fmt: skip
    heads = (
        "loan", "preset", "members x tiles at once", "products", "windows a second", "one window, ms",
        "city of 20 x 28, ms",
    )  # fmt: skip
    return table(heads, rows)


def preset_table(found: Sequence[tuple[str, str, dict[str, Any]]]) -> str:
    """Regions never seen: RMSE of larger presets, and what it is of the shipped one's."""
    with (RESULTS / "unseen-regions.csv").open(newline="", encoding="utf-8") as file:
        shipped = {
            (row["city"], row["task"], row["context"]): row
            for row in csv.DictReader(file)
            if row["forecaster"].startswith("FoMo")
        }
    rows = []
    for kind, _, record in found:
        for context in ("none", "past", "full") if kind == PRESET else ():
            cells, ratios = [], []
            for row in (row for row in record["rows"] if row["context"] == context):
                known = shipped[row["family"], row["task"], context]
                ratios.append((row["rmse"] / float(known["rmse"]), row["crps"] / float(known["crps"])))
                cells.append(f"{row['rmse']:.4f} ({row['rmse'] / float(known['rmse']):.2f})")
            means = [math.exp(sum(math.log(pair[i]) for pair in ratios) / len(ratios)) for i in (0, 1)]
            rows.append((f"FoMo {record['preset']}, context {context}", *cells, *(f"{mean:.3f}" for mean in means)))
    columns = [f"{family.removeprefix('uomo_')} {task}" for task, family in _columns(found)]
    return table(("forecaster", *columns, "RMSE, mean ratio", "CRPS"), rows)


def _columns(found: Sequence[tuple[str, str, dict[str, Any]]]) -> list[tuple[str, str]]:
    rows = next((record["rows"] for kind, _, record in found if kind == PRESET), [])
    return list(dict.fromkeys((row["task"], row["family"]) for row in rows))


def law_table(found: Sequence[tuple[str, str, dict[str, Any]]]) -> str:
    """Runs of the scaling law: geometric means over the families, all with the same number of tokens."""
    runs = sorted(
        (record for kind, _, record in found if kind == LAW), key=lambda one: (one["parameters"], -one["share"])
    )
    rows = [
        (
            one["size"], f"{one['values'] / 1e6:.2f} M", f"{one['tokens'] / 1e6:.1f} M",
            *(f"{over_families(one, task, metric)['value']:.4f}" for task, metric in LAW_SCORES),
        )
        for one in runs
    ]  # fmt: skip
    return table(("preset", "values", "tokens", *(f"{task}, {metric.upper()}" for task, metric in LAW_SCORES)), rows)


def add_law(records: Sequence[dict[str, Any]]) -> None:
    """The law's runs into results/scaling.csv, in place of what these devices gave before; and their law.

    The law goes to results/scaling-gpu.md, its figure to docs/figures/scaling-gpu.png.
    """
    path = RESULTS / "scaling.csv"
    others = lines_of_others(path, {record["device"] for record in records})
    write_lines([*others, *score_lines(records)], path)
    try:
        text, laws = law_of(records)
    except ValueError as error:
        print(f"no law is fitted: {error}")
        return
    with whole_file(RESULTS / "scaling-gpu.md") as fresh:
        fresh.write_text(text, encoding="utf-8")
    save_figure(figure_of(records, laws), ROOT / "docs/figures/scaling-gpu.png")


__all__ = ["report"]
