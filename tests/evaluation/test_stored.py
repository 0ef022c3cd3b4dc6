"""Scores go to disk and come back."""

from __future__ import annotations

import numpy as np
import pytest
from made_scores import made

from fomo.evaluation.protocol import EvaluationError
from fomo.evaluation.rows import row
from fomo.evaluation.stored import joined, load_scores, save_scores


def test_scores_come_back_as_they_were(tmp_path):
    scores = made()
    path = save_scores(scores, tmp_path / "deep" / "scores.npz", {"key": "k"})
    again, about = load_scores(path)
    assert about == {"key": "k"}
    assert row(again) == row(scores)
    assert [window.first_step for window in again.windows] == [0, 1, 2]


def test_undefined_scores_come_back_undefined(tmp_path):
    again, _ = load_scores(save_scores(made(defined=False, note="not defined: why"), tmp_path / "scores.npz"))
    assert row(again).rmse is None
    assert again.note == "not defined: why"


def test_a_damaged_file_says_what_to_do(tmp_path):
    path = tmp_path / "scores.npz"
    path.write_bytes(b"no zip")
    with pytest.raises(EvaluationError, match=r"scores\.npz.*remove it"):
        load_scores(path)


def test_folds_are_joined_window_by_window():
    parts = [made("a"), made("bb", leakage=True), made("ccc")]
    whole = joined(parts)
    assert len(whole.windows) == 9 and whole.seconds == 6 and whole.leakage
    squared = sum(window.sums.squared for part in parts for window in part.windows)
    assert row(whole).rmse == pytest.approx(np.sqrt(squared / 81))
    assert row(whole).units == 3 and row(whole).resampled == "regions"


def test_other_questions_are_not_joined():
    with pytest.raises(EvaluationError, match="do not belong"):
        joined([made(), made(task="long")])
