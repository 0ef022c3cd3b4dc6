"""What a forecaster answers is held against what it was asked before it is scored."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from fomo.city import make_city
from fomo.evaluation.protocol import EvaluationError, evaluate
from fomo.evaluation.questions import family_questions
from fomo.forecast import Forecast
from fomo.forecasters.rules import rules_for


class Answers:
    """A forecaster that answers with what a rule says, changed."""

    name, trained_on = "mine", ()

    def __init__(self, change) -> None:
        self.change, self.rule = change, rules_for("none", past_week=False)[0]

    def forecast_tasks(self, tasks, samples, seed) -> list[Forecast]:
        return self.change(self.rule.forecast_tasks(tasks, samples, seed))


@pytest.fixture(scope="module")
def questions() -> list:
    regions = []
    for number, start in enumerate(("2024-05-06", "2024-05-06", "2024-05-08")):
        traffic = np.random.default_rng(number).gamma(2, 1, (170, 4, 4)).astype(np.float32)
        regions.append(make_city(traffic, name=f"made/{number}", start=start, step_minutes=60))
    regions = [region.assign_attrs(family="made", fold=number % 2) for number, region in enumerate(regions)]
    return family_questions(regions, "short", fold=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda answers: answers[::-1], r"mine answered made/0 .* give "),
        (lambda answers: [Forecast(each.dataset.isel(sample=slice(0, 2))) for each in answers], "2 members, not 20"),
        (lambda answers: [Forecast(each.dataset.isel(y=slice(None, None, -1))) for each in answers], "lie on its y"),
    ],
)  # fmt: skip
def test_answers_to_other_questions_have_no_scores(questions, change, message):
    """In another order they had three times the error, and nothing was said."""
    with pytest.raises(EvaluationError, match=message):
        evaluate(Answers(change), questions, progress=False)
    assert evaluate(Answers(lambda answers: answers), questions, progress=False).windows


@pytest.mark.parametrize(("samples", "batch"), [(0, 32), (20, 0), (20, -1)])
def test_no_samples_and_no_batches_are_refused_before_anything_is_asked(questions, samples, batch):
    with pytest.raises(EvaluationError, match=f"{samples} samples in batches of {batch} are asked for"):
        evaluate(Answers(lambda answers: pytest.fail("asked")), questions, samples=samples, batch=batch, progress=False)


def test_tasks_and_splits_that_there_are_not_are_refused_in_words(tmp_path):
    """In a process of its own, where no types are checked: there it was a KeyError."""
    asked = """
from fomo.city import CityError, mock_city
from fomo.evaluation.questions import family_questions
for task, split, says in (
    ("medium", None, "there is no task 'medium': there are short, long, generate"),
    ("short", "random", "there is no split 'random': there are fold, last_fifth, next_week, area"),
):
    try:
        family_questions([mock_city()], task, split=split)
    except CityError as error:
        assert says in str(error), error
    else:
        raise AssertionError("it passed")
"""
    subprocess.run([sys.executable, "-c", asked], check=True, cwd=tmp_path)
