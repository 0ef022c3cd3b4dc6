"""A forecaster that answers some windows is held against FoMo on those alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fomo.evaluation.metrics import error_sums
from fomo.evaluation.protocol import Scores, WindowScore
from fomo.evaluation.stored import save_scores


def scores(forecaster: str, errors: dict[int, float]) -> Scores:
    """Windows of one region, each off by one error everywhere."""
    truth = np.full(4, 0.5)
    windows = tuple(
        WindowScore("a", f"day {first}", first, error_sums(np.tile(truth + error, (3, 1)), truth, 1.0))
        for first, error in errors.items()
    )
    return Scores(
        forecaster, windows, city="here", task="short", context="none", split="next_week", past_week=True, unit="GB",
        scale="own", samples=3, seconds=1.0, leakage=False, note="",
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    save_scores(scores("FoMo", {0: 0.3, 1: 0.01, 2: 0.3, 3: 0.01}), tmp_path / "fomo" / "q.npz")
    save_scores(scores("slow", {1: 0.02, 3: 0.02}), tmp_path / "slow" / "q.npz")
    save_scores(scores("whole", {0: 0.1, 1: 0.1, 2: 0.1, 3: 0.1}), tmp_path / "whole" / "q.npz")
    save_scores(scores("alone", {1: 0.1}), tmp_path / "alone" / "other.npz")
    return tmp_path


def test_both_are_scored_on_the_windows_that_the_slow_one_answered(benchmark_module, folder):
    same_windows = benchmark_module("same_windows")
    lines = same_windows.table(same_windows.pairs(folder)).splitlines()
    assert len(lines) == 3  # a heading of two lines: who answered all, or what FoMo did not, is left out
    assert lines[2].split(" | ")[5:9] == ["2", "0.0200", "0.0100", "0.50"]


def test_of_a_slow_one_columns_with_all_windows_are_shown_too_and_rows_of_before_stay(benchmark_module, folder):
    """A column of a single window could not be shown, and rows of scores that are gone were lost."""
    same_windows = benchmark_module("same_windows")
    for name, error in (("FoMo", 0.01), ("slow", 0.04)):
        kept = replace(scores(name, {0: error}), task="long", split="last_fifth")
        save_scores(kept, folder / name.lower() / "long.npz")
    before = (
        "| a |\n|---|\n| slow | next week | gone | short | none | 9 |\n| slow | next week | here | short | none | 7 |\n"
    )
    lines = same_windows.table(same_windows.pairs(folder), before).splitlines()[2:]
    assert [line.split(" | ")[1:6] for line in lines] == [
        ["last fifth of the time", "here", "long", "none", "1"],
        ["next week", "gone", "short", "none", "9 |"],
        ["next week", "here", "short", "none", "2"],
    ]
    assert lines[0].endswith("| 0.25 | – |")


def test_windows_that_fomo_was_not_asked_about_make_no_pair(benchmark_module):
    own, other = scores("FoMo", {0: 0.1, 1: 0.1}), scores("slow", {1: 0.1, 7: 0.1})
    assert benchmark_module("same_windows").on_the_same(own, other) is None
    assert benchmark_module("same_windows").on_the_same(own, replace(other, windows=other.windows[:1])) is not None


def test_without_scores_the_table_that_is_there_stays(benchmark_module, tmp_path, monkeypatch):
    """It was written anew, with no row."""
    same_windows = benchmark_module("same_windows")
    monkeypatch.setattr(same_windows, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["same_windows.py", "--out", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit, match="run the scoreboard first"):
        same_windows.main()
    assert not (tmp_path / "results").exists()
