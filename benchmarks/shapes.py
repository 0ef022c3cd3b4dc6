"""How well the regression on shapes forecasts by itself, no network: what its constants are chosen by.

    python benchmarks/shapes.py --data DIR

Each of folds 1-4 of the uomo_* regions is left out once; patterns come from the other three and the other cities of
the recipe. Fold 0 is neither learned from nor scored. RMSE on [0, 1], geometric mean over the folds: results/shapes.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from fomo.city import City
from fomo.evaluation.questions import Question, family_questions
from fomo.files import whole_file
from fomo.sources import data_folder, read_family
from fomo.training.data import training_cities
from fomo.training.recipe import load_recipe
from fomo.windows import shapes
from fomo.windows.batch import collate
from fomo.windows.observation import GUESSES, observe
from fomo.windows.sample import family_patterns, family_references
from fomo.windows.shapes import Pattern
from fomo.windows.task_arrays import task_arrays

ROOT = Path(__file__).resolve().parent.parent
FAMILIES = ("uomo_shandong", "uomo_nanchang", "uomo_nanjing")
FOLDS = (1, 2, 3, 4)
#: Rows of the table: the guess, and the constants that differ from the shipped ones.
VARIANTS: dict[str, tuple[str, dict[str, float]]] = {
    "level times rhythm": ("rhythm", {}),
    "level and shapes": ("shaped", {}),
    "and what lasts of the rest, as shipped": ("carried", {}),
    "covariances not smoothed": ("carried", {"SMOOTH_HOURS": 0.0}),
    "covariances smoothed over two hours": ("carried", {"SMOOTH_HOURS": 2.0}),
    "short steps as noisy as hours": ("carried", {"NOISE_POWER": 0.0}),
    "noise as 1 / step": ("carried", {"NOISE_POWER": -1.0}),
    "6 shapes": ("carried", {"SHAPES": 6}),
    "24 shapes": ("carried", {"SHAPES": 24}),
    "noise 0.1 of the variance": ("carried", {"NOISE_OF_VARIANCE": 0.1}),
    "noise 1.0 of the variance": ("carried", {"NOISE_OF_VARIANCE": 1.0}),
    "noise 0.005 of the rhythm": ("carried", {"NOISE_OF_RHYTHM": 0.005}),
    "noise 0.05 of the rhythm": ("carried", {"NOISE_OF_RHYTHM": 0.05}),
    "all families worth 5 cells": ("carried", {"GENERAL_WORTH": 5.0}),
    "all families worth 60 cells": ("carried", {"GENERAL_WORTH": 60.0}),
}


@contextmanager
def constants(changed: dict[str, float]) -> Iterator[None]:
    """Other constants in `fomo.windows.shapes` for a while."""
    before = {name: getattr(shapes, name) for name in changed}
    for name, value in changed.items():
        setattr(shapes, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(shapes, name, value)


def rmse(questions: list[Question], guess: str, pattern: Pattern) -> float:
    """Of one guess over the scored values of the questions."""
    observation = observe(collate([task_arrays(q.task, q.reference, pattern) for q in questions]))
    found = ((observation.known[:, GUESSES.index(guess)] + 1) * observation.unit[:, None]).numpy()
    truth = np.stack([question.truth / question.reference for question in questions])
    scored = np.stack([question.scored for question in questions])
    return float(np.sqrt(np.mean((found - truth)[scored] ** 2)))


def make_table(data: Path) -> str:
    """The Markdown table."""
    recipe = load_recipe(ROOT / "recipes/fomo-tiny.toml")
    regions = {family: read_family(data, family) for family in FAMILIES}
    columns = [(task, family) for task in ("short", "long") for family in FAMILIES]
    training: dict[int, list[City]] = {
        fold: training_cities(recipe.data.model_copy(update={"held_back_folds": (0, fold)}), data) for fold in FOLDS
    }
    lines = ["| | " + " | ".join(f"{family} {task}" for task, family in columns) + " |", "|---" * 7 + "|"]
    for name, (guess, changed) in VARIANTS.items():
        scores: dict[tuple[str, str], list[float]] = {column: [] for column in columns}
        with constants(changed):
            for fold, cities in training.items():
                patterns = family_patterns(cities, family_references(cities)).patterns
                for task, family in columns:
                    questions = family_questions(regions[family], task, fold=fold)  # type: ignore[arg-type]
                    scores[task, family].append(rmse(questions, guess, patterns[family]))
        cells = [f"{np.exp(np.mean(np.log(scores[column]))):.4f}" for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the real data; default: FOMO_DATA")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with whole_file(ROOT / "results/shapes.md") as fresh:
        fresh.write_text(make_table(data_folder(options.data)), encoding="utf-8")


if __name__ == "__main__":
    main()
