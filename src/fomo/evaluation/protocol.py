"""Ask a forecaster every question and add up its errors, window by window; `rows` makes a table of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fomo.evaluation.metrics import ErrorSums, error_sums
from fomo.evaluation.questions import Question
from fomo.evaluation.structure import structure
from fomo.forecast import Forecast
from fomo.forecasters.protocol import Forecaster
from fomo.windows.split import leaks

#: What is said where a city of that name was trained on, from a file that is not this one: it may hold the same.
ANOTHER_FILE = "trained on a city of this name, of another file"
#: A forecaster that is not defined at more than this share of the values has no scores: it did not answer.
FEW_UNDEFINED = 0.01


class EvaluationError(ValueError):
    """Scores that cannot be made or compared."""


@dataclass(frozen=True)
class WindowScore:
    """The errors of one window at the values that the forecast is defined at, all but `undefined`; None: at none."""

    region: str
    day: str
    first_step: int
    sums: ErrorSums | None
    undefined: int = 0


@dataclass(frozen=True)
class Scores:
    """Everything one forecaster did on a list of questions; `rows.row` and `rows.difference` read it.

    `note` says why the forecast is not defined, and at how many values where these are few, or is empty; `leakage` is
    True where training saw a tested step.
    """

    forecaster: str
    windows: tuple[WindowScore, ...]
    city: str
    task: str
    context: str
    split: str
    past_week: bool
    unit: str
    scale: str
    samples: int
    seconds: float
    leakage: bool
    note: str


def evaluate(
    forecaster: Forecaster,
    questions: Sequence[Question],
    *,
    samples: int = 20,
    seed: int = 0,
    batch: int = 32,
    progress: bool = True,
) -> Scores:
    """Ask all questions (of one family, task, context and split) in batches, with a progress bar on stderr.

    The same seed goes to every batch, so the scores do not depend on `batch`. Raises `EvaluationError` for no
    or mixed questions, no samples, or where a forecast does not lie on its task or has not as many members.
    """
    if samples < 1 or batch < 1:
        raise EvaluationError(f"{samples} samples in batches of {batch} are asked for; at least 1 of each is needed")
    if not questions:
        raise EvaluationError("there is no question to evaluate")
    first = questions[0]
    kinds = {(q.family, q.name, q.task.context, q.split, q.past_week, q.scale) for q in questions}
    if len(kinds) > 1:
        raise EvaluationError(f"these questions do not belong in one row: {sorted(map(str, kinds))[:3]}")
    windows: list[WindowScore] = []
    seconds = 0.0
    with _bar(progress) as bar:
        job = bar.add_task(f"{forecaster.name}: {first.family} {first.name}", total=len(questions))
        for start in range(0, len(questions), batch):
            part = questions[start : start + batch]
            began = time.perf_counter()
            forecasts = forecaster.forecast_tasks([question.task for question in part], samples, seed)
            seconds += time.perf_counter() - began
            if len(forecasts) != len(part):
                raise EvaluationError(f"{forecaster.name} answered {len(part)} tasks with {len(forecasts)} forecasts")
            for question, forecast in zip(part, forecasts, strict=True):
                _check_answer(forecaster.name, question, forecast, samples)
                windows.append(score_window(question, forecast))
            bar.advance(job, len(part))
    windows, note = _answered(windows, questions, getattr(forecaster, "undefined", "the forecast has missing values"))
    leakage, perhaps = (
        any(_leaks(forecaster, first, window, sha256) for window in windows)
        for sha256 in (str(first.task.window.attrs["sha256"]), "")
    )
    if perhaps and not leakage:
        note = "; ".join(filter(None, (note, ANOTHER_FILE)))
    return Scores(
        forecaster=forecaster.name,
        windows=tuple(windows),
        city=first.family,
        task=first.name,
        context=first.task.context,
        split=first.split,
        past_week=first.past_week,
        unit=str(first.task.window.attrs["unit"]),
        scale=first.scale,
        samples=samples,
        seconds=seconds,
        leakage=leakage,
        note=note,
    )


def _check_answer(name: str, question: Question, forecast: Forecast, samples: int) -> None:
    """Raises `EvaluationError` where a forecast is not the answer to this question."""
    window, members = question.task.window, forecast.samples
    for axis in ("time", "y", "x"):
        if not np.array_equal(members[axis].values, window[axis].values):
            raise EvaluationError(
                f"{name} answered {question.task.place} with a forecast that does not lie on its {axis}: give one "
                "forecast per task, in their order, on the task's window"
            )
    if forecast.attrs["city"] != window.attrs["name"]:
        raise EvaluationError(
            f"{name} answered {question.task.place} with a forecast of {forecast.attrs['city']!r}: give them in order"
        )
    if members.sizes["sample"] != samples and not forecast.attrs.get("quantiles"):
        raise EvaluationError(
            f"{name} answered {question.task.place} with {members.sizes['sample']} members, not {samples}: fewer make "
            "other scores"
        )


def _leaks(forecaster: Forecaster, first: Question, window: WindowScore, sha256: str) -> bool:
    """Whether training saw what a window tests; without a hash, in a file of whatever content."""
    begins = 0 if first.split in ("fold", "area") else window.first_step
    return leaks(forecaster.trained_on, window.region, begins, sha256, first.area or None)


def _answered(windows: list[WindowScore], questions: Sequence[Question], missing: str) -> tuple[list[WindowScore], str]:
    """The windows, without the scores of those that lack values where too many do; and what is to be said of it."""
    undefined = sum(window.undefined for window in windows)
    asked = sum(int(question.scored.sum()) for question in questions)
    if not undefined:
        return windows, ""
    if undefined <= FEW_UNDEFINED * asked and all(window.sums is not None for window in windows):
        return windows, f"{undefined} of {asked} values not defined: {missing}"
    where = "" if undefined == asked else f" at {undefined} of {asked} values"
    without = [replace(window, sums=None) if window.undefined else window for window in windows]
    return without, f"not defined{where}: {missing}"


def score_window(question: Question, forecast: Forecast) -> WindowScore:
    """The errors of one forecast at the scored values where it is defined."""
    members = forecast.samples.values
    if members.shape[1:] != question.scored.shape:
        raise EvaluationError(f"a forecast {members.shape} does not lie on its window {question.scored.shape}")
    at = question.scored & np.isfinite(members).all(0)
    sums = None
    if at.any():
        sums = error_sums(
            members[:, at],
            question.truth[at],
            question.reference,
            bool(forecast.attrs.get("antithetic")),
            structure(members, question.truth, at, question.reference),
            fair=not forecast.attrs.get("quantiles"),
        )
    undefined = int(question.scored.sum() - at.sum())
    return WindowScore(question.region, question.day, question.first_step, sums, undefined)


def _bar(show: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not show)


__all__ = ["EvaluationError", "Scores", "WindowScore", "evaluate", "score_window"]
