"""Score weights and the simple rules on the test part of a family: `fomo evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fomo.app.errors import UsageError
from fomo.app.service.forecasting import load_weights
from fomo.app.service.scoreboard.fits import ready
from fomo.city import City, CityError
from fomo.evaluation.protocol import evaluate as evaluate_forecaster
from fomo.evaluation.questions import Question, TaskName, family_questions
from fomo.evaluation.rows import Row, row
from fomo.forecasters.fomo import FoMo
from fomo.forecasters.protocol import Forecaster
from fomo.forecasters.registry import Entry, find_entries
from fomo.forecasters.rules import SeasonalAverage, rules_for
from fomo.forecasters.trained_spread import TrainedSpread
from fomo.sources import data_folder, read_family
from fomo.windows.split import Area
from fomo.windows.task import CONTEXT_LAYERS, ContextMode


@dataclass(frozen=True)
class Evaluation:
    """Rows of a table, FoMo's first, and what a reader must know beside them."""

    rows: list[Row]
    remarks: list[str]


def evaluate(
    folder: Path | None,
    family: str,
    task: TaskName,
    *,
    weights: str,
    context: ContextMode = "none",
    layers: Sequence[str] = CONTEXT_LAYERS,
    samples: int = 20,
    seed: int = 0,
    past_week: bool | None = None,
    next_week: bool = False,
    fold: int | None = None,
    area: Area | None = None,
    device: str = "auto",
    progress: bool = False,
    others: Sequence[str] = (),
    fits: Path = Path(),
    hindcasts: bool = True,
) -> Evaluation:
    """One row per forecaster on the test part of a family (`family` or `family/region`).

    The test part is one fold where the file has folds, 0 if none is named, the second week with `next_week`, and the
    last fifth of the time elsewhere. `past_week` None leaves it to the split: see `questions.family_questions`.
    `others`: names of the registry that are asked beside FoMo in place of the rules; trained ones lie in `fits`.
    Without `hindcasts` the network alone answers (`forecasters.blend`).
    Raises `CityError`, `CheckpointError`, `UsageError`.
    """
    rivals = [(entry, _rival(entry, fits)) for entry in find_entries(others)] if others else []  # all without names
    if samples < 1:
        raise UsageError(f"--samples {samples}: one member at least")
    if fold is not None and next_week:
        raise UsageError(
            f"--fold {fold} and --next-week contradict each other: the second week of all regions is tested"
        )
    cities = read_family(data_folder(folder), family.split("/")[0])
    if fold is not None and not all("fold" in city.attrs for city in cities):
        raise UsageError(
            f"--fold {fold}: {family} has no folds, its last fifth of the time is tested; leave --fold out"
        )
    fold = fold or 0
    _check_region(cities, family, next_week, fold)
    model = load_weights(weights, device) if hindcasts else load_weights(weights, device).without_hindcasts()

    def ask(known: ContextMode) -> list[Question]:
        questions = family_questions(
            cities,
            task,
            context=known,
            layers=layers,
            area=area,
            split="next_week" if next_week else None,
            fold=fold,
            past_week=past_week,
            reference=model.checkpoint.references.get(str(cities[0].attrs["family"])),
        )
        return [question for question in questions if "/" not in family or question.region == family]

    used = context_used(model, context)
    questions = ask(used)
    if not questions:
        raise CityError(f"{family} has no window of the task {task!r}: it is too short or has nothing to ask for")
    rule_questions = questions if context == used else ask(context)
    scores = [evaluate_forecaster(model, questions, samples=samples, seed=seed, progress=progress)]
    remarks = _remarks(questions, used, context)
    for entry, rival in rivals:
        reason = entry.cannot(task, rule_questions[0].task.context, questions[0].past_week)
        if reason:
            remarks.append(f"{entry.name} is left out: it {reason}")
            continue
        scores.append(evaluate_forecaster(rival, rule_questions, samples=samples, seed=seed, progress=progress))
    if rivals:
        return Evaluation([row(score) for score in scores], remarks)
    for rule in rules_for(rule_questions[0].task.context, questions[0].past_week, task, rule_questions[0].task.layers):
        scores.append(evaluate_forecaster(rule, rule_questions, samples=samples, seed=seed, progress=progress))
    spread = _seasonal_with_trained_spread(cities, task, questions[0], fold)
    if spread is not None:
        scores.append(evaluate_forecaster(spread, rule_questions, samples=samples, seed=seed, progress=progress))
    return Evaluation([row(score) for score in scores], remarks)


def _rival(entry: Entry, fits: Path) -> Forecaster:
    """A forecaster of the registry, ready to be asked. Raises `UsageError`."""
    if entry.kind == "fomo":
        raise UsageError("--forecasters FoMo: it is asked anyway, with --weights")
    return ready(entry, fits)


def _seasonal_with_trained_spread(
    cities: Sequence[City], task: TaskName, question: Question, fold: int
) -> TrainedSpread | None:
    """The seasonal rule with its residuals on the other folds: what a forecast's CRPS is to be held against.

    None where there are no other folds, or where the rule is not defined (a history under a day).
    """
    if question.split != "fold" or task != "short":
        return None
    others = sorted({int(city.attrs["fold"]) for city in cities} - {fold})
    asked = [other for k in others for other in family_questions(cities, task, fold=k, past_week=question.past_week)]
    rule = SeasonalAverage()
    examples = [(other.task, other.truth) for other in asked[::4]]
    if not examples or not np.isfinite(rule.point(examples[0][0])[examples[0][0].asked]).any():
        return None
    return TrainedSpread(rule, examples, sorted({other.region for other in asked}))


def context_used(model: FoMo, asked: ContextMode) -> ContextMode:
    """What of the asked context these weights read: all of it, or none."""
    return asked if model.reads_context else "none"


def _check_region(cities: Sequence[City], name: str, next_week: bool, fold: int) -> None:
    """Whether the region `family/region` is there and tested. Raises `UsageError`."""
    if "/" not in name:
        return
    folds = {str(city.attrs["name"]): city.attrs.get("fold") for city in cities}
    if name not in folds:
        raise UsageError(f"--city {name}: there is no such region; there are {', '.join(folds)}")
    if not next_week and None not in folds.values() and folds[name] != fold:
        raise UsageError(f"--city {name} is in fold {folds[name]}, and fold {fold} is tested: add --fold {folds[name]}")


def _remarks(questions: Sequence[Question], used: ContextMode, asked: ContextMode) -> list[str]:
    first = questions[0]
    parts = {"fold": "unseen regions (one fold)", "last_fifth": "the last fifth of the time", "next_week": "next week"}
    parts["area"] = "a district as if it had no history"
    remarks = [
        f"{len(questions)} windows of {len({question.region for question in questions})} region(s), "
        f"{parts[first.split]}; 1 = {first.reference:.6g} {first.task.window.attrs['unit']} ({first.scale}); "
        f"past week {'known' if first.past_week else 'not known'}"
    ]
    left = first.task.context
    if left != "none" or asked != "none":
        remarks.append(f"context {left}: {', '.join(first.task.layers) or 'no layer'}")
    if used == asked != left:
        remarks.append(f"the context falls back from {asked!r} to {left!r}: the city has no more")
    if used != asked:
        remarks.append(
            f"these weights do not read context: FoMo's row has context {used!r}, the rules' have {asked!r}, "
            "and the two are no fair comparison"
        )
    return remarks


__all__ = ["Evaluation", "context_used", "evaluate"]
