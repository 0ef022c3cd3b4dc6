"""The acceptance test of the protocol: the table of trivial rules of NOTES.md, to the digits printed."""

from __future__ import annotations

import pytest

from fomo.evaluation.protocol import evaluate
from fomo.evaluation.questions import family_questions
from fomo.evaluation.rows import row
from fomo.forecasters.rules import rules_for
from fomo.sources import read_family

WINDOWS = {"uomo_shandong": 252, "uomo_nanchang": 504, "uomo_nanjing": 84}

#: RMSE / MAE of NOTES.md; None where the rule is not defined.
NOTES = {
    ("uomo_shandong", "short"): {
        "persistence": "0.1198 / 0.0653",
        "history mean": "0.0801 / 0.0455",
        "seasonal average": "0.0225 / 0.0116",
        "traffic per user": "0.0291 / 0.0167",
    },
    ("uomo_nanchang", "short"): {
        "persistence": "0.0553 / 0.0238",
        "history mean": "0.0442 / 0.0203",
        "seasonal average": "0.0202 / 0.0091",
        "traffic per user": "0.0288 / 0.0133",
    },
    ("uomo_nanjing", "short"): {
        "persistence": "0.0208 / 0.0081",
        "history mean": "0.0224 / 0.0104",
        "seasonal average": None,
        "traffic per user": "0.0131 / 0.0052",
    },
    ("uomo_shandong", "long"): {
        "persistence": "0.1101 / 0.0578",
        "history mean": "0.0856 / 0.0478",
        "seasonal average": None,
        "traffic per user": "0.0307 / 0.0175",
    },
    ("uomo_nanchang", "long"): {
        "persistence": "0.0624 / 0.0276",
        "history mean": "0.0551 / 0.0244",
        "seasonal average": None,
        "traffic per user": "0.0366 / 0.0164",
    },
    ("uomo_nanjing", "long"): {
        "persistence": "0.0266 / 0.0116",
        "history mean": "0.0247 / 0.0116",
        "seasonal average": None,
        "traffic per user": "0.0142 / 0.0056",
    },
}


@pytest.mark.real_data
@pytest.mark.parametrize(("family", "task"), list(NOTES), ids=lambda value: value)
def test_the_rules_score_what_the_notes_say(real_data, family, task):
    questions = family_questions(read_family(real_data, family), task, context="full")
    assert len(questions) == WINDOWS[family]
    found = {}
    for rule in rules_for("full", past_week=False):
        scored = row(evaluate(rule, questions, samples=5, progress=False), resamples=10)
        assert (scored.rmse is None) == scored.note.endswith(": history under a day")
        found[rule.name] = None if scored.rmse is None else f"{scored.rmse:.4f} / {scored.mae:.4f}"
        assert scored.scale == "training folds" and not scored.leakage
    assert found == NOTES[family, task]


@pytest.mark.real_data
@pytest.mark.parametrize("family", ["mobile_nanjing", "jinan", "milan_20x20", "mobile_shanghai"])
@pytest.mark.parametrize("task", ["short", "long", "generate"])
def test_whole_cities_are_scored_in_their_last_fifth(real_data, family, task):
    cities = read_family(real_data, family)
    questions = family_questions(cities, task)
    steps = cities[0].sizes["time"]
    assert all(4 * steps // 5 <= question.first_step < steps for question in questions)
    rule = rules_for("none", past_week=False, task=task)[0]
    scored = row(evaluate(rule, questions, samples=3, progress=False), resamples=10)
    assert scored.rmse is not None and 0 < scored.rmse < 0.3 and scored.scale == "own history"


@pytest.mark.real_data
def test_next_week_is_asked_of_the_two_week_regions_only(real_data):
    for family, regions in (("uomo_nanchang", 7), ("uomo_nanjing", 2)):
        cities = read_family(real_data, family)
        questions = family_questions(cities, "short", split="next_week")
        two_weeks = {city.attrs["name"] for city in cities if city.attrs["weeks"] == 2}
        assert {question.region for question in questions} == two_weeks and len(two_weeks) == regions
