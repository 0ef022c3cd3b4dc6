"""Few-shot: weights made to fit a new city from a small share of its cells, never worse where they are checked.

The first four fifths of the city's time are learned from, in a few blocks of cells; the last fifth, in all cells, is
held back. The weights that forecast the held-back part best are kept; those that were begun with where none is better
by more than chance may be.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import fomo
from fomo.app.errors import UsageError
from fomo.app.service.forecasting import choose_device, load_weights
from fomo.app.service.outputs import check_results
from fomo.app.service.training import WEIGHTS
from fomo.app.service.validation import mean_error
from fomo.city import City, CityError, validate
from fomo.evaluation.questions import WINDOW, Question, TaskName, family_questions
from fomo.forecasters.fomo import FoMo
from fomo.model.checkpoint import FORMAT_VERSION, Checkpoint, save_checkpoint
from fomo.model.transformer import MaskedDiffusionTransformer, parameter_count
from fomo.training.finetune import merged
from fomo.training.loop import Report, Training
from fomo.training.recipe import Recipe, Scheme
from fomo.windows.answers import answer_of, rate_variances
from fomo.windows.context import UsersPattern
from fomo.windows.patterns import UsersOfCity, city_sums, sum_of, users_of_city
from fomo.windows.rhythm import GENERAL
from fomo.windows.sample import TrainingSet, family_references
from fomo.windows.shapes import OF_PER_USER, adapted_pattern
from fomo.windows.split import train_part, trained_name

#: Edge of a block of cells, that of a training window.
BLOCK = 4
#: What is added to the variances of the logarithm of traffic per user that few cells show.
FEW_CELLS = 0.04
#: Windows of each task that the held-back part is scored on, at most, and members of each.
WINDOWS, MEMBERS = 4, 6
#: What weights must gain on them to be taken, as a share of the error: eight windows do not tell less from chance, and
#: the best of five tries looks better than it is.
LEAST_GAIN = 0.01


@dataclass(frozen=True)
class Adaptation:
    """What came of it: errors on the held-back part, RMSE on [0, 1], geometric mean of short and long."""

    folder: Path
    weights: Path
    before: float
    after: float
    step: int  # of the weights that were kept; 0: those that were begun with
    cells: int
    trained: int
    parameters: int


def adapt(
    city: City,
    out: Path,
    *,
    weights: str = "fomo-tiny",
    share: float = 0.05,
    scheme: Scheme = "output",
    steps: int = 120,
    learning_rate: float = 5e-4,
    seed: int = 0,
    from_nothing: bool = False,
    device: str = "auto",
    half: bool = False,
    report: Report | None = None,
) -> Adaptation:
    """Fine-tune on `share` of a city's cells; writes `out/weights`.

    `from_nothing` begins with random weights, for comparison. Raises `CityError`, `CheckpointError`, `UsageError`.
    """
    validate(city)
    check_results(out)
    if not 0 < share <= 1:
        raise UsageError(f"--share {share:g}: a share of the cells above 0 and up to 1, for example 0.05")
    if steps < 1:
        raise UsageError(f"--steps {steps}: one step at least")
    part = train_part(city, "last_fifth")
    if part.sizes["time"] < WINDOW:
        raise CityError(
            f"{city.attrs['name']!r} has {city.sizes['time']} steps: fine-tuning needs {WINDOW * 5 // 4} at least, "
            "four fifths of them to learn from; forecast it as it is"
        )
    model = load_weights(weights, choose_device(device))
    cells = some_cells(part, share, seed)
    learned = only(part, cells)
    questions = held_back(city)
    checkpoint = adapted(model.checkpoint, learned, city, questions[0][0].task.reference)
    recipe = _recipe(model, learned, scheme, steps, learning_rate, seed, weights)
    if from_nothing:
        recipe = recipe.model_copy(update={"finetune": None})
    references = {str(city.attrs["family"]): checkpoint.references[str(city.attrs["family"])]}
    users = {name: value for name, value in checkpoint.users_references.items() if name in references}
    data = TrainingSet(
        districts(learned), references, recipe.augment, None, users if recipe.context is not None else None
    )
    data.seen_as(model.checkpoint.pattern(GENERAL), model.checkpoint.users_pattern(GENERAL))
    training = Training(recipe, data, model.device, start=None if from_nothing else model.network)

    before = mean_error(model, questions, MEMBERS)
    best, after = (1 - LEAST_GAIN) * before, before
    kept, step, description = model.network, 0, model.checkpoint
    every = max(1, steps // 4)

    def consider(network: MaskedDiffusionTransformer) -> float:
        return mean_error(FoMo(network, checkpoint, device=model.device), questions, MEMBERS)

    if from_nothing:
        best = after = float("inf")
    elif (found := consider(model.network)) < best:
        best = after = found
        description = checkpoint
    while training.step < steps:
        numbers = training.advance()
        if training.step % every == 0 or training.step == steps:
            found = consider(merged(training.average))
            numbers = {**numbers, "validation": found}
            if found < best:
                best = after = found
                step, description = training.step, checkpoint
                kept = copy.deepcopy(merged(training.average))
        if report is not None:
            report(training.step, numbers)
    description = description.model_copy(
        update={
            "name": f"{model.checkpoint.name}, {city.attrs['name']}",
            "provenance": {
                "begun_with": model.checkpoint.name, "weights_sha256": model.weights, "share": share, "seed": seed,
                "scheme": scheme, "steps": step, "from_nothing": from_nothing, "fomo": fomo.__version__,
                "torch": torch.__version__,
            },
        }
    )  # fmt: skip
    written = save_checkpoint(out / WEIGHTS, kept, description, half)
    return Adaptation(
        out, written, before, after, step, int(cells.sum()),
        parameter_count(training.network, trainable_only=True), parameter_count(training.network),
    )  # fmt: skip


def some_cells(city: City, share: float, seed: int) -> np.ndarray:
    """Blocks of 4 x 4 cells, as many as `share` of the covered cells needs, one at least: bool (y, x).

    In a list of cells any cells are taken. Blocks without traffic are never drawn: they teach nothing. Raises
    `CityError` where there is no other.
    """
    carries = (city["traffic"].values > 0).any(0)  # never true of what was not recorded
    covered = city["covered"].values
    if not (covered & carries).any():
        raise CityError(
            f"no traffic is recorded in the first four fifths of {city.attrs['name']!r}, or all is zero: "
            "there is nothing to learn from"
        )
    random = np.random.default_rng(seed)
    wanted = max(1, round(share * int(covered.sum())))
    y, x = np.indices(covered.shape)
    blocks = (y // BLOCK) * covered.shape[1] + x // BLOCK
    if city.attrs["layout"] == "list":
        blocks, wanted = np.arange(covered.size).reshape(covered.shape), max(wanted, BLOCK * BLOCK)
    chosen = np.zeros(covered.shape, bool)
    for block in random.permutation(np.unique(blocks[covered & carries])):
        if chosen.sum() >= wanted:
            break
        chosen |= (blocks == block) & covered
    return chosen


def only(city: City, cells: np.ndarray) -> City:
    """The city with nothing recorded outside some cells."""
    part = city.copy()
    for variable in ("traffic", "users"):
        if variable in city:
            part[variable] = city[variable].where(cells[None])
    part["covered"] = city["covered"] & cells
    part.attrs = dict(city.attrs)
    return part


def districts(city: City) -> list[City]:
    """The blocks of a grid that have a covered cell, each as a city of the family; a list of cells as it is."""
    if city.attrs["layout"] == "list":
        return [city]
    found = []
    for y in range(0, city.sizes["y"], BLOCK):
        for x in range(0, city.sizes["x"], BLOCK):
            block = city.isel(y=slice(y, y + BLOCK), x=slice(x, x + BLOCK))
            if block["covered"].values.any():
                block.attrs = {**city.attrs, "name": f"{city.attrs['name']}/{y},{x}"}
                found.append(block)
    return found


def held_back(city: City) -> list[list[Question]]:
    """Questions on the last fifth of the city's time, in all its cells: short, then long."""
    found = []
    tasks: tuple[TaskName, ...] = ("short", "long")
    for task in tasks:
        questions = family_questions([city], task, split="last_fifth", context="past")
        found.append(questions[:: -(-len(questions) // WINDOWS)])
    return found


def adapted(checkpoint: Checkpoint, city: City, whole: City, full: float | None = None) -> Checkpoint:
    """The description with what is usual in this city, as some of its cells say.

    `full`: what counts as full traffic in the forecasts of a city that the weights have not seen. A few cells rarely
    have the busiest among them: trained by their own fullest hour, another scale would be learned than is asked for.
    `trained_on` names the `whole` city: weights that are chosen by its last fifth have seen it.
    """
    family = str(city.attrs["family"])
    found = family_references([city]) if full is None else {family: full}
    references = {**found, **checkpoint.references}
    pattern = adapted_pattern(city_sums(city, references[family]), checkpoint.pattern(GENERAL))
    changed = {
        "format_version": FORMAT_VERSION,
        "references": references,
        "rhythms": {**checkpoint.rhythms, family: tuple(np.round(pattern.curve, 4).tolist())},
        "shapes": {**checkpoint.shapes, family: pattern.stored},
        "trained_on": tuple(sorted({*checkpoint.trained_on, trained_name(whole)})),
    }
    general = checkpoint.users_pattern(GENERAL)
    if "users" in city and general is not None:
        users_references = {**family_references([city], "users"), **checkpoint.users_references}
        own = [users_of_city(block, references[family], users_references[family]) for block in districts(city)]
        changed["users_references"] = users_references
        checkpoint = checkpoint.with_users({family: adapted_users(own, general)})
    return checkpoint.model_copy(update=changed)


def adapted_users(own: Sequence[UsersOfCity], general: UsersPattern) -> UsersPattern:
    """What is usual of the users of a new city, from some of its districts; what they do not show is as elsewhere."""
    sums = (sum_of([each.users for each in own]), sum_of([each.per_user for each in own]))
    users, per_user = (
        adapted_pattern(each, usual, steady)
        for each, usual, steady in zip(sums, (general.users, general.per_user), (None, OF_PER_USER), strict=True)
    )
    traffic, people = float(sums[1].traffic.sum()), sums[1].divisor
    weeks = [each.weeks for each in own]
    within, between = rate_variances(weeks)
    return UsersPattern(
        users,
        per_user,
        traffic / people if traffic > 0 and people > 0 else general.rate,
        general.within if within is None else within + FEW_CELLS,
        general.between if between is None else between + FEW_CELLS,
        answer_of(weeks, users, per_user),
    )


def _recipe(
    model: FoMo, city: City, scheme: Scheme, steps: int, learning_rate: float, seed: int, weights: str
) -> Recipe:
    """A short run on one city, with what the weights were trained with."""
    stored = model.checkpoint.provenance.get("recipe", {})
    return Recipe.model_validate(
        {
            "name": f"{city.attrs['name']}, few-shot",
            "seed": seed,
            "data": {"families": {str(city.attrs["family"]): 1.0}, "held_back_folds": []},
            "model": model.checkpoint.model.model_dump(),
            "process": model.checkpoint.process,
            "temperature": model.checkpoint.temperature,
            "finetune": {"start": weights, "scheme": scheme},
            "context": {} if model.reads_context else None,
            "loss": stored.get("loss", {}),
            "optimiser": {
                "steps": steps, "batch": 32, "learning_rate": learning_rate, "warm_up": min(20, steps),
                "weight_decay": 0.1, "average": 0.98,
            },
            "masks": {"short": 0.45, "long": 0.45, "generation": 0.05, "random": 0.05, "exact": 0.6},
            "augment": {"mix": 0.0, "forget_week": 0.3, "forget_rhythm": 0.0},
        }
    )  # fmt: skip


__all__ = ["MEMBERS", "Adaptation", "adapt", "adapted", "districts", "held_back", "only", "some_cells"]
