"""The rule that a calendar alone makes, and the table of the benchmark."""

from __future__ import annotations

import datetime
from dataclasses import replace

import numpy as np

from fomo.city import make_city
from fomo.days_off import DaysOff
from fomo.evaluation.protocol import evaluate
from fomo.evaluation.questions import family_questions
from fomo.evaluation.rows import row
from fomo.forecasters.rules import Persistence


def test_the_latest_day_of_its_kind_is_found_by_a_loop(benchmark_module):
    rule = benchmark_module("days_off").LatestDayOfItsKind()
    traffic = np.random.default_rng(0).uniform(1, 9, (24 * 20, 2, 2)).astype(np.float32)
    city = make_city(traffic, name="mine", start="2024-01-01", step_minutes=60)
    off = datetime.date(2024, 1, 17)  # a Wednesday among the asked days
    told = DaysOff((off,)).on(city)
    for each, free in ((city, set()), (told, {off})):
        question = family_questions([each], "long")[0]
        found = rule.point(question.task)
        time = each["time"].values.astype("datetime64[h]").astype(object)
        start = question.first_step - 16
        for step in range(64):
            kinds = [moment.date() in free or moment.weekday() >= 5 for moment in time]
            index = start + step
            earlier = [
                index - 24 * ago
                for ago in range(1, 20)
                if 0 <= index - 24 * ago < question.first_step and kinds[index - 24 * ago] == kinds[index]
            ]
            np.testing.assert_array_equal(found[step], traffic[earlier[0]])
    assert off in {moment.date() for moment in time[start + 16 : start + 64]}


def test_the_table_has_the_best_of_each_column_in_bold(benchmark_module):
    city = make_city(np.random.default_rng(0).uniform(1, 9, (480, 2, 2)), name="a", start="2024-01-01", step_minutes=60)
    rows = []
    for task in ("short", "long"):
        scored = row(evaluate(Persistence(), family_questions([city], task), samples=20, progress=False))
        rows += [replace(scored, forecaster="one"), replace(scored, forecaster="other", rmse=0.01, crps=0.5)]
        rows.append(replace(scored, forecaster="not defined", rmse=None, crps=None, coverage90=None))
    lines = benchmark_module("days_off").markdown(rows).splitlines()
    assert lines[0].count("|") == lines[2].count("|") == 8
    assert lines[3].startswith("| other | **0.0100** | **0.0100** | 0.5000 | 0.5000 | ")
    assert lines[2].startswith("| one | ") and lines[2].count("**") == 4
    assert lines[4] == "| not defined | – | – | – | – | – | – |"
