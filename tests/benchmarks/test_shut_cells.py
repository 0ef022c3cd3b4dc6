"""The shut cells of a city, and that both ways are asked the same."""

from __future__ import annotations

import numpy as np
import pytest

import fomo
from fomo.forecasters import own_past
from fomo.sources.synthetic import synthetic_city


def test_about_half_of_the_cells_are_shut_at_night_and_at_weekends_and_nothing_else_changes(benchmark_module):
    city = synthetic_city(days=9, height=6, width=6)
    made, shut, is_open = benchmark_module("shut_cells").with_shut_cells(city, 0.05)
    before, after = city["traffic"].values, made["traffic"].values
    assert 0.25 < shut.mean() < 0.75
    assert is_open.sum() == 13 * 7  # of nine days from a Monday on, two are the weekend's
    np.testing.assert_array_equal(after[:, ~shut], before[:, ~shut])
    np.testing.assert_array_equal(after[is_open], before[is_open])
    np.testing.assert_allclose(after[~is_open][:, shut], 0.05 * before[~is_open][:, shut], rtol=1e-6)


def test_it_is_asked_around_the_night_before_each_monday_and_what_is_open_is_scored(benchmark_module, monkeypatch):
    shut_cells = benchmark_module("shut_cells")
    made = shut_cells.with_shut_cells(synthetic_city(days=9, height=4, width=4), 0.0)
    monkeypatch.setattr(shut_cells, "MEMBERS", 20)
    own = shut_cells.scores(fomo.load(), *made)
    assert own["starts"] == 4
    monkeypatch.setattr(shut_cells.drawing, "past_where_alone", lambda expected: expected)
    monkeypatch.setattr(own_past, "KINDS_APART", np.inf)
    before = shut_cells.scores(fomo.load(), *made)
    assert own["crps"] < 0.5 * before["crps"]
    assert own["mean"] == pytest.approx(1, abs=0.2)
    assert own["within_90"] > before["within_90"]
