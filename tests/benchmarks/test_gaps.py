"""Which values are hidden, and that both ways are asked the same."""

from __future__ import annotations

import numpy as np

import fomo
from fomo.city import mock_city
from fomo.sources.synthetic import synthetic_city


def test_each_cell_loses_one_stretch_of_recorded_values(benchmark_module):
    city = mock_city(24 * 5, 3, 3)
    traffic = city["traffic"].copy()
    traffic[40:44, 0, 0] = np.nan
    hidden = benchmark_module("gaps").stretches(city.assign(traffic=traffic), 10)
    assert hidden.sum(0).max() == 10 and not hidden[40:44, 0, 0].any()
    for cell in hidden.reshape(len(hidden), -1).T[1:]:
        at = np.flatnonzero(cell)
        assert at.size in (0, 10) and (at.size == 0 or at[-1] - at[0] == 9)


def test_a_stretch_of_four_days_is_filled_better_from_the_record(benchmark_module):
    gaps, model = benchmark_module("gaps"), fomo.load()
    city = gaps.middle(synthetic_city(days=9, height=6, width=6))
    hidden = gaps.stretches(city, 90)
    alone, _ = gaps.scores(model.without_hindcasts(), city, hidden)
    told, within = gaps.scores(model, city, hidden)
    assert told < 0.8 * alone and 0.6 < within <= 1.0
