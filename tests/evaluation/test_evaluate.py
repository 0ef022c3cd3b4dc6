"""Asking a forecaster: batches, seeds, undefined forecasts and leakage."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.city import make_city, mock_city
from fomo.evaluation.metrics import error_sums
from fomo.evaluation.protocol import EvaluationError, evaluate
from fomo.evaluation.questions import family_questions
from fomo.evaluation.rows import row
from fomo.forecast import make_forecast
from fomo.forecasters.rules import Persistence, SeasonalAverage


class Noted:
    """Answers with a constant and notes how it was asked."""

    name = "noted"

    def __init__(self, value=1.0, trained_on=(), lose=0):
        self.value, self.trained_on, self.lose = value, trained_on, lose
        self.batches, self.seeds = [], []

    def forecast_tasks(self, tasks, samples, seed):
        self.batches.append(len(tasks))
        self.seeds.append(seed)
        answers = []
        for task in tasks:
            members = np.full((samples, *task.asked.shape), self.value)
            answers.append(make_forecast(members, task.asked, task.window, forecaster=self.name))
        return answers[self.lose :]


def family(steps=150):
    random = np.random.default_rng(0)
    return [
        make_city(
            random.gamma(2.0, 1.0, (steps, 4, 4)),
            name=f"made/{i}",
            family="made",
            start="2024-01-01T00:00",
            step_minutes=60,
            fold=i % 2,
            unit="GB per period",
        )
        for i in range(4)
    ]


def test_all_questions_are_asked_once_in_batches_with_the_same_seed():
    questions = family_questions(family(), "short")
    forecaster = Noted()
    scores = evaluate(forecaster, questions, samples=3, seed=9, batch=32, progress=False)
    assert sum(forecaster.batches) == len(questions) == len(scores.windows)
    assert forecaster.batches == [32, len(questions) - 32]
    assert set(forecaster.seeds) == {9}


def test_the_scores_do_not_depend_on_the_batch():
    questions = family_questions(family(), "short")
    few, many = (
        row(evaluate(SeasonalAverage(), questions, samples=5, seed=1, batch=batch, progress=False)) for batch in (3, 50)
    )
    assert few.crps == many.crps and few.rmse == many.rmse and few.rmse_high == many.rmse_high


def test_a_row_is_the_score_of_all_scored_values_together():
    questions = family_questions(family(), "long")
    found = row(evaluate(Noted(0.5), questions, samples=1, progress=False))
    reference = questions[0].reference
    truth = np.concatenate([q.truth[q.scored] for q in questions])
    wanted = error_sums(np.full((1, truth.size), 0.5), truth, reference).scores()
    assert found.rmse == pytest.approx(wanted["rmse"]) and found.mae == pytest.approx(wanted["mae"])
    assert found.rmse_physical == pytest.approx(np.sqrt(((0.5 - truth) ** 2).mean()))
    assert (found.city, found.task, found.unit, found.context) == ("made", "long", "GB per period", "none")
    assert (found.windows, found.regions, found.samples) == (len(questions), 2, 1)
    assert found.coverage50 is None and found.coverage90 is None  # one member holds no interval


def test_a_rule_that_is_not_defined_at_one_scored_value_has_no_score_and_says_why():
    cities = [mock_city(408, step_minutes=15)]
    found = row(evaluate(SeasonalAverage(), family_questions(cities, "short"), progress=False))
    assert found.rmse is None and found.crps is None and found.rmse_low is None
    assert found.note == "not defined: history under a day"
    assert row(evaluate(Persistence(), family_questions(cities, "short"), progress=False)).note == ""


class Gappy(Persistence):
    """Persistence, but for some cells of which it says nothing."""

    undefined = "a gap"

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells

    def forecast_tasks(self, tasks, samples, seed):
        found = super().forecast_tasks(tasks, samples, seed)
        for forecast in found:
            forecast.samples[:, :, 0, : self.cells] = np.nan
        return found


def test_a_forecaster_that_is_not_defined_at_a_few_values_is_scored_at_the_others_and_says_so():
    questions = family_questions([mock_city(408, 12, 12)], "short")  # 144 cells: one is less than a hundredth
    count = sum(int(question.scored.sum()) for question in questions)
    found, whole = (row(evaluate(Gappy(cells), questions, progress=False)) for cells in (1, 0))
    assert found.rmse is not None and found.rmse != whole.rmse and found.rmse == pytest.approx(whole.rmse, rel=0.05)
    assert (whole.note, found.note) == ("", f"{count // 144} of {count} values not defined: a gap")
    found = row(evaluate(Gappy(2), questions, progress=False))
    assert found.rmse is None and found.note.startswith("not defined at ") and found.note.endswith(" values: a gap")


def test_a_city_of_this_name_from_another_file_is_said_where_no_leak_can_be_told():
    cities = family()
    for city in cities:
        city.attrs["sha256"] = "f" * 64
    questions = family_questions(cities, "short")
    for digest, leakage, note in (
        ("f" * 16, True, ""),
        ("0" * 16, False, "trained on a city of this name, of another file"),
    ):
        persistence = Persistence()
        persistence.trained_on = (f"{questions[0].region}#{digest}",)
        found = evaluate(persistence, questions, progress=False)
        assert (found.leakage, found.note) == (leakage, note)


def test_missing_values_where_nothing_is_scored_do_not_matter():
    city = mock_city(408)
    city["covered"][0, 0] = False
    city["traffic"][:, 0, 0] = np.nan
    found = row(evaluate(Persistence(), family_questions([city], "short"), progress=False))
    assert found.rmse is not None and found.rmse > 0


@pytest.mark.parametrize(
    ("trained_on", "split", "leakage"),
    [
        ((), "fold", False),
        (("made/1", "made/3"), "fold", False),
        (("made/1", "made/2"), "fold", True),
        (("made/2[:40]",), "fold", True),
        (("made/2[:120]",), "last_fifth", False),
        (("made/2[:121]",), "last_fifth", True),
        (("made/2",), "last_fifth", True),
    ],
)
def test_leakage_is_flagged_when_training_saw_a_tested_step(trained_on, split, leakage):
    questions = family_questions(family(), "short", split=split)
    assert row(evaluate(Noted(trained_on=trained_on), questions, samples=1, progress=False)).leakage is leakage


def test_questions_of_two_kinds_do_not_make_one_row():
    cities = family()
    questions = family_questions(cities, "short") + family_questions(cities, "long")
    with pytest.raises(EvaluationError, match="do not belong in one row"):
        evaluate(Noted(), questions, progress=False)
    with pytest.raises(EvaluationError, match="no question"):
        evaluate(Noted(), [], progress=False)


def test_a_forecaster_that_loses_a_task_is_caught():
    with pytest.raises(EvaluationError, match="answered"):
        evaluate(Noted(lose=1), family_questions(family(), "short"), progress=False)
