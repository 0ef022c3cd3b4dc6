"""One job of the scoreboard, in a process of its own: train a forecaster, answer its cells, keep the scores."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from fomo.app.service.scoreboard.digest import code_digest, digest
from fomo.app.service.scoreboard.fits import Trained, made_by, trained
from fomo.app.service.scoreboard.plan import Cell, Job, ScoreboardRecipe, slug
from fomo.app.service.training import file_of
from fomo.city import City
from fomo.evaluation.protocol import EvaluationError, Scores, evaluate
from fomo.evaluation.questions import Question, family_questions
from fomo.evaluation.stored import load_scores, save_scores
from fomo.files import whole_file
from fomo.sources import read_family

#: Code that scores depend on: how errors are counted, what is asked, and how data are read.
SCORING = (
    *(f"evaluation/{name}.py" for name in ("metrics", "structure", "questions", "protocol")),
    *("windows", "sources", "city.py"),
)
#: Seconds between two words on the progress.
SAID_EVERY = 2.0


@dataclass(frozen=True)
class Place:
    """Where a scoreboard reads and writes."""

    data: Path
    out: Path

    def status(self, job: Job) -> Path:
        """One line of progress while the job runs; the error where it failed."""
        return self.out / "status" / f"{slug(job.name)}.txt"

    def error(self, job: Job) -> Path:
        """The traceback of a job that failed; it is gone when the job has succeeded."""
        return self.out / "errors" / f"{slug(job.name)}.txt"

    def scores(self, cell: Cell) -> Path:
        """The scores of a cell."""
        return self.out / cell.file


def work(job: Job, recipe: ScoreboardRecipe, place: Place) -> str:
    """Do the job; returns '' or what went wrong, in a line. Never raises: one rival must not stop the table."""
    torch.set_num_threads(1)
    say = _speaker(place.status(job))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = trained(job.entry, job.set, recipe, place.data, place.out, say)
            for index, cell in enumerate(job.cells):
                asking = f"asking {cell.city} {cell.task} {cell.context}, fold {cell.fold}"
                _tell(place.status(job), index / len(job.cells), asking)
                answer(cell, found, recipe, place)
    except Exception as error:  # it is the table that reports it, and the next run tries again
        with whole_file(place.error(job)) as fresh:
            fresh.write_text(traceback.format_exc(), encoding="utf-8")
        place.status(job).unlink(missing_ok=True)
        return f"{type(error).__name__}: {error}".split("\n")[0]
    place.status(job).unlink(missing_ok=True)
    place.error(job).unlink(missing_ok=True)
    return ""


def answer(cell: Cell, found: Trained, recipe: ScoreboardRecipe, place: Place) -> Scores:
    """The scores of a cell, from the disk where nothing that they depend on has changed."""
    asked = asked_of(cell, recipe, place)
    key = digest([found.identity, asked])
    path = place.scores(cell)
    if path.exists():
        scores, about = load_scores(path)
        if about.get("key") == key:
            return scores
    questions = ask(cell, place.data)
    scores = evaluate(found.forecaster, questions, samples=recipe.samples, seed=recipe.seed, progress=False)
    about = {
        "key": key,
        "asked": asked,
        "made_by": made_by(cell.entry, cell.set, recipe, place.data),
        "train_seconds": found.seconds,
        "parameters": found.parameters,
        "remark": found.remark,
    }
    save_scores(scores, path, about)
    return scores


def asked_of(cell: Cell, recipe: ScoreboardRecipe, place: Place) -> str:
    """What a cell's scores depend on beside the forecaster: questions, data, and how errors are counted."""
    column = cell.column.model_dump(mode="json", exclude={"cities", "folds", "tasks", "contexts", "set", "protocol"})
    return digest(
        [code_digest(SCORING), column, cell.city, cell.task, cell.context, cell.fold, cell.every, recipe.samples,
         recipe.seed, _file(place.data, cell.city)]
    )  # fmt: skip


def ask(cell: Cell, data: Path) -> list[Question]:
    """The questions of a cell. Raises `CityError`, `EvaluationError`."""
    column = cell.column
    questions = family_questions(
        _cities(data, cell.city), cell.task, context=cell.context, split=column.split, fold=cell.fold,
        past_week=column.past_week, area=column.area,
    )  # fmt: skip
    if questions[0].task.context != cell.context:
        raise EvaluationError(f"{cell.city} has no context {cell.context!r}: take it out of the column")
    return questions[:: cell.every]


@lru_cache(maxsize=4)
def _cities(data: Path, family: str) -> list[City]:
    """A family is asked many times; nobody changes it."""
    return read_family(data, family)


@lru_cache(maxsize=64)
def _file(data: Path, family: str) -> str:
    """The hash of a family's file; nobody changes it while a scoreboard runs."""
    return file_of(data, family)


def _speaker(path: Path) -> Callable[[float, str], None]:
    """Writes progress to a file now and then."""
    said = [0.0]

    def say(done: float, text: str) -> None:
        if time.monotonic() - said[0] > SAID_EVERY:
            said[0] = time.monotonic()
            _tell(path, done, text)

    return say


def _tell(path: Path, done: float, text: str) -> None:
    with whole_file(path) as fresh:
        fresh.write_text(f"{done:.0%} {text}", encoding="utf-8")


__all__ = ["Place", "answer", "ask", "work"]
