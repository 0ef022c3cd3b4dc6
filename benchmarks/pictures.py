"""Figures like the paper's 4 and 6: single windows of the three tasks, of zero- and few-shot, and of whole cities.

    python benchmarks/pictures.py tasks --data DIR      # docs/figures/tasks.png
    python benchmarks/pictures.py few-shot --data DIR   # few-shot-windows.png, after few_shot.py
    python benchmarks/pictures.py sums --data DIR       # sums.png: all cells together; weights of without-NAME.toml

Nothing is picked by how well it went: the first test region, the window in the middle of those that are asked about,
and of the cells that are asked for the one with the most traffic.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from alone import members_without

from fomo.evaluation.figure_style import save_figure
from fomo.evaluation.questions import Question, TaskName, family_questions
from fomo.evaluation.window_figures import Panel, windows_figure
from fomo.forecasters.fomo import FoMo, load
from fomo.sources import data_folder, read_family
from fomo.windows.task import ContextMode

ROOT = Path(__file__).resolve().parent.parent
#: Families and their names in the figure, and what is known of the surroundings in each task.
FAMILIES = {"uomo_shandong": "Shandong", "uomo_nanchang": "Nanchang"}
TASKS: dict[TaskName, ContextMode] = {"short": "past", "long": "past", "generate": "full"}
CITIES = {"mobile_nanjing": "mobile-nanjing", "jinan": "jinan"}
SHARES = {"zero-shot": "", "5 % of cells": "5-trained", "10 % of cells": "10-trained"}


def panel(model: FoMo, question: Question, title: str, samples: int) -> Panel:
    """The busiest asked cell of a question."""
    forecast = model.forecast_tasks([question.task], samples, seed=0)[0]
    asked = question.task.asked
    carried = np.nansum(np.where(asked, question.truth, np.nan), axis=0)
    y, x = np.unravel_index(int(np.argmax(carried)), carried.shape)
    hours = np.arange(len(asked)) * question.task.window.attrs["step_minutes"] / 60
    return Panel(
        title,
        hours,
        question.truth[:, y, x] / question.reference,
        forecast.samples.values[:, :, y, x] / question.reference,
        asked[:, y, x],
    )


def together(model: FoMo, question: Question, title: str, samples: int) -> Panel:
    """The mean of all asked cells of a question."""
    forecast = model.forecast_tasks([question.task], samples, seed=0)[0]
    cells = question.task.asked.any(0)
    hours = np.arange(len(question.truth)) * question.task.window.attrs["step_minutes"] / 60
    return Panel(
        title,
        hours,
        question.truth[:, cells].mean(1) / question.reference,
        forecast.samples.values[:, :, cells].mean(2) / question.reference,
        question.task.asked.any((1, 2)),
    )


def middle(questions: list[Question]) -> Question:
    """The middle one of the first region's windows."""
    own = [question for question in questions if question.region == questions[0].region]
    return own[len(own) // 2]


def tasks(data: Path, samples: int) -> None:
    """Short, long and generation of two families."""
    model = load("fomo-tiny")
    panels = []
    for family, name in FAMILIES.items():
        cities = read_family(data, family)
        for task, context in TASKS.items():
            stored = model.checkpoint.references.get(family)
            question = middle(family_questions(cities, task, context=context, reference=stored))
            panels.append(panel(model, question, f"{name}, {task}, context {context}", samples))
    save_figure(windows_figure(panels, len(TASKS)), ROOT / "docs/figures/tasks.png")


def few_shot(data: Path, samples: int) -> None:
    """Long forecasts of two cities left out of training, by the share of their cells that was learned from."""
    panels = []
    for city, run in CITIES.items():
        question = middle(family_questions(read_family(data, city), "long"))
        for name, part in SHARES.items():
            folder = f"runs/few-shot/{run}-{part}/weights" if part else f"runs/without-{run}/weights"
            panels.append(panel(load(ROOT / folder), question, f"{city}, {name}", samples))
    save_figure(windows_figure(panels, len(SHARES)), ROOT / "docs/figures/few-shot-windows.png")


def sums(data: Path, samples: int) -> None:
    """All cells of cities left out of training, with what their errors have in common and as if they had nothing."""
    panels = []
    for city, run in CITIES.items():
        question = middle(family_questions(read_family(data, city), "long"))
        model = load(ROOT / f"runs/without-{run}/weights")
        panels.append(together(model, question, f"{city}, mean of all cells", samples))
        with members_without("in_common"):
            panels.append(together(model, question, f"{city}, as if cells erred apart", samples))
    save_figure(windows_figure(panels, 2), ROOT / "docs/figures/sums.png")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", choices=["tasks", "few-shot", "sums"])
    parser.add_argument("--data", type=Path, help="folder of the real data; default: FOMO_DATA")
    parser.add_argument("--samples", type=int, default=50)
    options = parser.parse_args()
    torch.set_num_threads(1)
    make = {"tasks": tasks, "few-shot": few_shot, "sums": sums}[options.figure]
    make(data_folder(options.data), options.samples)


if __name__ == "__main__":
    main()
