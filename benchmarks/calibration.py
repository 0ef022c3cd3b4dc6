"""Are the intervals right where weights were not trained? By temperature, and for sums and means.

    fomo train recipes/validated.toml --data DIR --out runs/validated --threads 1 --export-half
    fomo train recipes/without-jinan.toml --data DIR --out runs/without-jinan --threads 1 --export-half  # and others
    python benchmarks/calibration.py --data DIR

The temperature of the shipped weights is chosen here, not on fold 0: results/calibration.md. What members remember and
share (`fomo.diffusion.memory`) is told by the tables of sums and means, with it and without: on fold 2, and on the last
fifth of whole cities, each by weights that never saw the city.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from alone import members_without

from fomo.evaluation.metrics import coverage
from fomo.evaluation.protocol import evaluate
from fomo.evaluation.questions import Question, TaskName, family_questions
from fomo.evaluation.rows import row
from fomo.files import whole_file
from fomo.forecasters.fomo import FoMo, load
from fomo.model.checkpoint import Checkpoint, load_checkpoint
from fomo.model.transformer import MaskedDiffusionTransformer
from fomo.sources import data_folder, read_family
from fomo.training.recipe import load_recipe

ROOT = Path(__file__).resolve().parent.parent
FAMILIES = ("uomo_shandong", "uomo_nanchang", "uomo_nanjing")
TASKS: tuple[TaskName, ...] = ("short", "long")
GENERATED: TaskName = "generate"
TEMPERATURES = (0.8, 0.9, 1.0, 1.1)
#: Every so many windows are asked.
STRIDE = 4


#: Whole cities that have weights without them: runs/without-NAME.
CITIES = ("jinan", "mobile_nanjing", "nanchang_grid")

Questions = dict[tuple[TaskName, str], list[Question]]
#: Columns of a table: what is asked, and of whom.
Asked = dict[tuple[TaskName, str], tuple[FoMo, list[Question]]]


def by_temperature(network: MaskedDiffusionTransformer, checkpoint: Checkpoint, asked: Questions, samples: int) -> str:
    """Within 50 %, within 90 %, CRPS: a line for each temperature, a column for each family and task."""
    lines = heading("temperature", asked)
    for temperature in TEMPERATURES:
        model = FoMo(network, checkpoint.model_copy(update={"temperature": temperature}))
        found = [row(evaluate(model, questions, samples=samples)) for questions in asked.values()]
        cells = [f"{each.coverage50:.0%}, {each.coverage90:.0%}, {each.crps:.5f}" for each in found]
        lines.append(f"| {temperature} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


#: What a planner adds up: arrays (..., time, cell) of what is asked for to (..., quantity).
QUANTITIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "each value": lambda traffic: traffic.reshape(*traffic.shape[:-2], -1),
    "sum over the cells": lambda traffic: traffic.sum(-1),
    "mean over the horizon": lambda traffic: traffic.mean(-2),
    "both": lambda traffic: traffic.mean((-1, -2))[..., None],
}


def by_quantity(asked: Asked, samples: int) -> str:
    """Within 50 %, within 90 %: a line for each quantity. Windows with unrecorded truth are left out.

    Both ends of an interval belong to it, so that cells without traffic, forecast without traffic, count as within.
    """
    found: dict[str, list[str]] = {name: [] for name in QUANTITIES}
    for model, questions in asked.values():
        forecasts = model.forecast_tasks([question.task for question in questions], samples, seed=0)
        inside: dict[str, list[list[float]]] = {name: [] for name in QUANTITIES}
        for question, forecast in zip(questions, forecasts, strict=True):
            steps, cells = question.task.asked.any((1, 2)), question.task.asked.any(0)
            pairs = bool(forecast.attrs.get("antithetic"))
            members, truth = forecast.samples.values[:, steps][..., cells], question.truth[steps][:, cells]
            if np.isfinite(truth).all():
                for name, quantity in QUANTITIES.items():
                    drawn, came = quantity(members), quantity(truth)
                    both = [coverage(drawn, came, level, antithetic=pairs).mean() for level in (0.5, 0.9)]
                    inside[name].append([float(each) for each in both])
        for name, windows in inside.items():
            half, most = np.mean(windows, 0)
            found[name].append(f"{half:.0%}, {most:.0%}")
    return "\n".join([*heading("of", asked), *(f"| {name} | {' | '.join(cells)} |" for name, cells in found.items())])


def heading(first: str, asked: Iterable[tuple[TaskName, str]]) -> list[str]:
    """The first two lines of a Markdown table."""
    names = [f"{family} {task}" for task, family in asked]
    return [f"| {first} | " + " | ".join(names) + " |", "|---" * (1 + len(names)) + "|"]


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
    network, checkpoint = load_checkpoint(options.weights)
    chosen = load_recipe(ROOT / "recipes/fomo-tiny.toml").temperature
    data = data_folder(options.data)
    everything: Questions = {
        (task, family): family_questions(read_family(data, family), task, fold=options.fold)[::STRIDE]
        for task in (*TASKS, GENERATED)
        for family in FAMILIES
    }
    asked = {key: questions for key, questions in everything.items() if key[0] in TASKS}
    temperatures = by_temperature(network, checkpoint, asked, options.samples)
    model = FoMo(network, checkpoint.model_copy(update={"temperature": chosen}))
    regions: Asked = {key: (model, questions) for key, questions in everything.items()}
    cities: Asked = {}
    for city in CITIES:
        never_saw = load(ROOT / f"runs/without-{city.replace('_', '-')}/weights")
        for task in TASKS:
            cities[task, city] = never_saw, family_questions(read_family(data, city), task, split="last_fifth")
    parts = [f"Fold {options.fold}; within 50 %, within 90 %, CRPS.", temperatures]
    for asked_of, who in (
        (regions, f"Fold {options.fold}"),
        (cities, "Whole cities, the last fifth of their time, by weights that never saw them"),
    ):
        parts += [
            f"{who}; within 50 %, within 90 %, at a temperature of {chosen}.",
            by_quantity(asked_of, options.samples),
        ]
        with members_without():
            alone = by_quantity(asked_of, options.samples)
        parts += ["The same with the denoiser's residuals alone, without `fomo.diffusion.memory`.", alone]
    with whole_file(ROOT / "results/calibration.md") as fresh:
        fresh.write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
