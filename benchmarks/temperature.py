"""How wide members should be: coverage on a fold that was not trained on, by temperature.

    fomo train recipes/validated.toml --data DIR --out runs/validated --threads 1 --export-half
    python benchmarks/temperature.py --data DIR

The temperature of the shipped weights is chosen here, not on fold 0: results/temperature.md
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from fomo.evaluation.protocol import evaluate
from fomo.evaluation.questions import TaskName, family_questions
from fomo.evaluation.rows import row
from fomo.evaluation.tables import whole_file
from fomo.forecasters.fomo import FoMo
from fomo.model.checkpoint import load_checkpoint
from fomo.sources import data_folder, read_family

ROOT = Path(__file__).resolve().parent.parent
FAMILIES = ("uomo_shandong", "uomo_nanchang", "uomo_nanjing")
TASKS: tuple[TaskName, ...] = ("short", "long")
TEMPERATURES = (0.8, 0.9, 1.0, 1.1)
#: Every so many windows are asked.
STRIDE = 4


def make_table(weights: Path, fold: int, data: Path, samples: int) -> str:
    """Within 50 %, within 90 %, CRPS: a line for each temperature, a column for each family and task."""
    network, checkpoint = load_checkpoint(weights)
    columns = [(task, family) for task in TASKS for family in FAMILIES]
    questions = {
        (task, family): family_questions(read_family(data, family), task, fold=fold)[::STRIDE]
        for task, family in columns
    }
    lines = ["| temperature | " + " | ".join(f"{family} {task}" for task, family in columns) + " |", "|---" * 7 + "|"]
    for temperature in TEMPERATURES:
        model = FoMo(network, checkpoint.model_copy(update={"temperature": temperature}))
        found = [row(evaluate(model, questions[column], samples=samples)) for column in columns]
        cells = [f"{each.coverage50:.0%}, {each.coverage90:.0%}, {each.crps:.5f}" for each in found]
        lines.append(f"| {temperature} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return f"Fold {fold}; within 50 %, within 90 %, CRPS.\n\n" + "\n".join(lines) + "\n"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the real data; default: FOMO_DATA")
    parser.add_argument("--weights", type=Path, default=ROOT / "runs/validated/weights")
    parser.add_argument("--fold", type=int, default=2, help="the fold that the weights have not seen")
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with whole_file(ROOT / "results/temperature.md") as fresh:
        table = make_table(options.weights, options.fold, data_folder(options.data), options.samples)
        fresh.write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
