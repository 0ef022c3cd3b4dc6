"""The interval of a ratio: paired, from sums that are kept, and of the table's own numbers only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_scores import made

from fomo.evaluation.beside import Beside, read_units, unit_sums, with_kept_units, write_units
from fomo.evaluation.metrics import error_sums
from fomo.evaluation.protocol import EvaluationError, Scores, WindowScore
from fomo.evaluation.scoreboard import Result, first_place, lines

REGIONS = 9


def scores(factor: float, seed: int, regions: int = REGIONS, **changes: str) -> Scores:
    """Hard regions are hard for all: errors grow with the region's number, times `factor`."""
    random = np.random.default_rng(seed)
    windows = []
    for region in range(regions):
        truth = 0.2 + 0.6 * np.random.default_rng(region).random(60)
        error = factor * (0.01 + 0.01 * region)
        members = truth + error * (1 + 0.1 * random.normal()) + 0.002 * random.normal(size=(6, 60))
        for step in range(2):  # windows of a region stay together
            windows.append(WindowScore(f"region {region}", f"day {step}", step, error_sums(members, truth, 1.0)))
    return replace(made(), windows=tuple(windows), **changes)


def result(forecaster: str, kind: str, found: Scores | None, context: str = "none", task: str = "short") -> Result:
    return Result("here", "unseen", task, context, forecaster, kind, found, None)


def board(*results: Result, metric: str = "rmse", context: str = "none"):
    (row,) = [row for row in first_place(lines(results), metric) if row["context"] == context]
    return row


def test_the_interval_is_that_of_the_paired_bootstrap_done_by_hand():
    ours, theirs = scores(0.8, 1), scores(1.0, 2)
    results = [result("FoMo", "fomo", ours), result("rival", "deep", theirs)]
    low, high = Beside(unit_sums(results)).interval(board(*results), "other", "rmse")
    squares = [
        np.array([sum(w.sums.squared for w in each.windows if w.region == f"region {n}") for n in range(REGIONS)])
        for each in (ours, theirs)
    ]
    random = np.random.default_rng(5)
    draws = [np.sqrt(squares[0][at].sum() / squares[1][at].sum()) for at in random.integers(9, size=(20_000, 9))]
    assert low == pytest.approx(np.quantile(draws, 0.025), abs=0.01)
    assert high == pytest.approx(np.quantile(draws, 0.975), abs=0.01)
    assert low < board(*results)["over best other"] < high < 1


def test_it_is_far_narrower_than_what_the_intervals_of_both_numbers_would_say():
    results = [result("FoMo", "fomo", scores(0.8, 1)), result("rival", "deep", scores(1.0, 2))]
    low, high = Beside(unit_sums(results)).interval(board(*results), "deep", "rmse")
    own = next(line for line in lines(results) if line.metric == "rmse")
    assert (high - low) < 0.4 * (own.high - own.low) / own.value


def test_of_generated_cells_the_jsd_is_compared_too_and_of_others_no_histogram_is_kept():
    forecasts = [result("FoMo", "fomo", scores(0.8, 1)), result("rival", "deep", scores(1.0, 2))]
    assert all(each.truth == () == each.forecast for each in unit_sums(forecasts))
    cells = [replace(each, task="generate") for each in forecasts]
    units = unit_sums(cells)
    assert {sum(each.truth) for each in units} == {120} and {sum(each.forecast) for each in units} == {720}
    row = board(*cells, metric="jsd")
    low, high = Beside(units).interval(row, "other", "jsd")
    assert low < row["over best other"] < high


def test_in_the_papers_setting_fomo_knows_users_and_the_rival_does_not():
    results = [
        result("FoMo", "fomo", scores(0.9, 1)), result("FoMo", "fomo", scores(0.4, 3), "full"),
        result("rival", "deep", scores(1.0, 2)), result("rival", "deep", scores(0.7, 4), "full"),
    ]  # fmt: skip
    beside = Beside(unit_sums(results))
    for context, about in (("paper", 0.4), ("none", 0.9), ("full", 0.4 / 0.7)):
        row = board(*results, context=context)
        low, high = beside.interval(row, "deep", "rmse")
        assert low < row["over best deep"] < high and 0.8 * about < low < high < 1.2 * about


@pytest.mark.parametrize("case", ["nobody's", "other regions", "three regions", "of another number"])
def test_no_interval_where_sums_are_not_those_of_the_table(case):
    count = 3 if case == "three regions" else REGIONS
    results = [result("FoMo", "fomo", scores(0.8, 1, count)), result("rival", "deep", scores(1.0, 2, count))]
    units = unit_sums(results)
    if case == "nobody's":
        units = [each for each in units if each.forecaster == "FoMo"]
    if case == "other regions":
        units = [each for each in units if (each.forecaster, each.unit) != ("rival", "region 4")]
    if case == "of another number":
        units = [
            replace(each, squared=1.00001 * each.squared) if each.forecaster == "rival" else each for each in units
        ]
    assert Beside(units).interval(board(*results), "other", "rmse") is None


def test_a_file_holds_what_was_written_and_anything_else_is_refused(tmp_path):
    units = unit_sums([result("FoMo", "fomo", scores(0.8, 1), task="generate"), result("rival", "deep", None)])
    assert len(units) == REGIONS
    assert read_units(write_units(units, tmp_path / "units.parquet")) == units
    assert read_units(write_units([], tmp_path / "empty.parquet")) == []
    (tmp_path / "no.parquet").write_text("no table")
    for name in ("no.parquet", "nowhere.parquet"):
        with pytest.raises(EvaluationError, match=name):
            read_units(tmp_path / name)


def test_answers_that_were_not_given_again_keep_their_sums():
    before = unit_sums([result("FoMo", "fomo", scores(0.8, 1)), result("rival", "deep", scores(1.0, 2))])
    now = unit_sums([result("FoMo", "fomo", scores(0.7, 3))])
    kept = with_kept_units(now, before)
    assert kept[:REGIONS] == now and {each.forecaster for each in kept[REGIONS:]} == {"rival"}
    assert len(kept) == 2 * REGIONS
