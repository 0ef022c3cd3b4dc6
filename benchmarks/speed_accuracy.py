"""Samplers by their number of steps, beside many steps: `python benchmarks/speed.py accuracy`.

Beside CRPS and coverage of single values, the spread of what a planner adds up: members may be right one by one and
still vary too little together. Looked at is what the denoiser alone says, without `fomo.diffusion.memory`, which would
cover differences. Writes results/few-steps.csv.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from alone import members_without
from clock import UOMO, some

from fomo.evaluation.metrics import coverage
from fomo.evaluation.protocol import score_window
from fomo.evaluation.questions import Question, TaskName, family_questions
from fomo.files import whole_file
from fomo.forecasters.drawing import SamplingConfig
from fomo.forecasters.fomo import FoMo, load
from fomo.sources import data_folder, read_family

ROOT = Path(__file__).resolve().parent.parent
TASKS: tuple[TaskName, ...] = ("short", "long")
STEPS = {"angle": (1, 2, 3, 4, 6, 8), "multistep": (1, 2, 3, 4, 6, 8), "heun": (2, 4, 8)}
SAMPLES = 24
#: What is added up of members (..., time, y, x), and the spread of which is compared.
QUANTITIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "each_value": lambda traffic: traffic,
    "sum_over_cells": lambda traffic: traffic.sum((-1, -2)),
    "mean_over_hours": lambda traffic: traffic.mean(-3),
    "both": lambda traffic: traffic.mean((-1, -2, -3)),
}


def samplers() -> list[SamplingConfig]:
    """Many steps first, then all that are compared."""
    few = [SamplingConfig.model_validate({"sampler": name, "steps": n}) for name, some in STEPS.items() for n in some]
    return [SamplingConfig(sampler="heun", steps=32), *few]


def scores(model: FoMo, asked: list[Question]) -> dict[str, float]:
    """CRPS, coverage and energy score of a forecaster, and the mean spread of every quantity."""
    forecasts = model.forecast_tasks([question.task for question in asked], SAMPLES, 0)
    sums = [score_window(question, forecast).sums for question, forecast in zip(asked, forecasts, strict=True)]
    known = [each for each in sums if each is not None]
    count = sum(each.count for each in known)
    found = {
        "crps": sum(each.crps for each in known) / count,
        "coverage50": sum(each.closed50 for each in known) / count,
        "coverage90": sum(each.closed90 for each in known) / count,
        "energy": sum(each.energy for each in known) / len(known),
    }
    for name, quantity in QUANTITIES.items():
        spreads, inside = [], []
        for question, forecast in zip(asked, forecasts, strict=True):
            steps = question.task.asked.any((1, 2))
            members, truth = forecast.samples.values[:, steps] / question.reference, question.truth[steps]
            spreads.append(float(quantity(members).std(0).mean()))
            if np.isfinite(truth).all():
                inside.append(np.mean(coverage(quantity(members), quantity(truth / question.reference), 0.9)))
        found[f"spread_{name}"] = float(np.mean(spreads))
        found[f"coverage90_{name}"] = float(np.mean(inside)) if inside else float("nan")
    return found


def few_steps(weights: str, data: Path | None, folds: list[int], windows: int) -> pl.DataFrame:
    """One row per fold, family, task, sampler and steps; `*_ratio` is over many steps."""
    folder = data_folder(data)
    models = [load(weights, sampling=sampling) for sampling in samplers()]
    rows = []
    for fold in folds:
        for family in UOMO:
            cities = read_family(folder, family)
            for task in TASKS:
                asked = some(family_questions(cities, task, fold=fold), windows)
                many: dict[str, float] | None = None
                for model in models:
                    with members_without():
                        found = scores(model, asked)
                    many = many or found
                    ratios = {
                        f"{name}_ratio": found[name] / many[name]
                        for name in found
                        if name in ("crps", "energy") or name.startswith("spread_")
                    }
                    place = {"fold": fold, "family": family, "task": task, "windows": len(asked)}
                    how = {"sampler": model.sampling.sampler, "steps": model.sampling.steps}
                    rows.append({**place, **how, **found, **ratios})
                print(f"fold {fold}: {family} {task}: {len(asked)} windows", flush=True)
    table = pl.DataFrame(rows)
    with whole_file(ROOT / "results/few-steps.csv") as fresh:
        table.write_csv(fresh, float_precision=5)
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160, tbl_hide_dataframe_shape=True):
        print(summary(table))
    return table


def summary(table: pl.DataFrame) -> pl.DataFrame:
    """The mean over families and tasks, by fold, sampler and steps."""
    ratios = [name for name in table.columns if name.endswith("_ratio")]
    worst = pl.max_horizontal(
        (pl.col("crps_ratio") - 1).abs(), *((pl.col(f"spread_{name}_ratio") - 1).abs() for name in QUANTITIES)
    )
    return table.group_by("fold", "sampler", "steps", maintain_order=True).agg(
        *(pl.col(name).mean().round(4) for name in (*ratios, "coverage50", "coverage90")), worst.max().alias("worst")
    )
