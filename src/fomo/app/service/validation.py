"""How good a run is so far: errors on a fold that is neither trained on nor reported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fomo.city import CityError
from fomo.config import ConfigError
from fomo.evaluation.protocol import score_window
from fomo.evaluation.questions import Question, TaskName, family_questions
from fomo.forecasters.fomo import FoMo
from fomo.forecasters.protocol import Forecaster
from fomo.model.checkpoint import Checkpoint
from fomo.model.transformer import MaskedDiffusionTransformer
from fomo.sources import read_family
from fomo.training.loop import Validate
from fomo.training.recipe import DataConfig

TASKS: tuple[TaskName, ...] = ("short", "long")
#: Windows of each family and task, evenly over all of them, and members of each: seconds, not minutes.
WINDOWS, MEMBERS = 24, 8


def make_validation(config: DataConfig, folder: Path, checkpoint: Checkpoint) -> Validate | None:
    """RMSE on [0, 1] of the mean of the members, by family and task, and `validation`, their geometric mean.

    None where the recipe names no `validation_fold`. Raises `ConfigError` where no family has windows of that fold.
    """
    if config.validation_fold is None:
        return None
    columns: dict[str, list[Question]] = {}
    for family in config.families:
        if "@" in family:
            continue
        cities = read_family(folder, family)
        if not all("fold" in city.attrs for city in cities):
            continue
        cities = [
            city for city in cities if city.attrs["fold"] not in config.held_back_folds
        ]  # nor do they set a scale
        for task in TASKS:
            try:
                asked = family_questions(cities, task, fold=config.validation_fold)
            except CityError:
                continue  # no region of this fold, or too short: other families may have some
            columns[f"validation {family} {task}"] = asked[:: -(-len(asked) // WINDOWS)]
    if not columns:
        raise ConfigError(f"no family of the recipe has windows of the validation fold {config.validation_fold}")

    def validate(network: MaskedDiffusionTransformer) -> dict[str, float]:
        model = FoMo(network, checkpoint, device=str(next(network.parameters()).device))
        found = {column: error(model, questions, MEMBERS) for column, questions in columns.items()}
        return {"validation": geometric_mean(list(found.values())), **found}

    return validate


def error(model: Forecaster, questions: Sequence[Question], members: int) -> float:
    """RMSE on [0, 1] of the mean of the members over the scored values of some questions."""
    forecasts = model.forecast_tasks([question.task for question in questions], members, seed=0)
    sums = [score_window(question, answer).sums for question, answer in zip(questions, forecasts, strict=True)]
    squared = sum(each.squared for each in sums if each is not None)
    return float(np.sqrt(squared / sum(each.count for each in sums if each is not None)))


def mean_error(model: Forecaster, tasks: Sequence[Sequence[Question]], members: int) -> float:
    """The geometric mean of the errors of several tasks."""
    return geometric_mean([error(model, questions, members) for questions in tasks])


def geometric_mean(values: Sequence[float]) -> float:
    """Of positive numbers; tasks of other sizes of error count alike."""
    return float(np.exp(np.mean(np.log(values))))
