"""Both ways of a comparison ask the same, and differ in the width alone."""

from __future__ import annotations

import numpy as np
import pytest

import fomo
from fomo.sources.synthetic import synthetic_city


@pytest.mark.parametrize("days", [3, 12])
def test_the_other_way_is_as_wide_as_the_network_says_until_there_are_hindcasts(benchmark_module, days):
    few_days = benchmark_module("few_days")
    model = fomo.load()
    other = few_days.AsWideAsTheNetworkSays(model.network, model.checkpoint)
    city = few_days.known_before(synthetic_city(days=14, height=4, width=4), 14 * 24, days)
    assert city.sizes["time"] == days * 24
    one, two = (each.forecast(city, horizon=16, samples=4, context="none") for each in (model, other))
    if days == 12:
        np.testing.assert_array_equal(one.samples.values, two.samples.values)
        return
    assert one.attrs["width"] != 1 and two.attrs["width"] == 1
    assert one.attrs["blend"] == two.attrs["blend"]
    found = few_days.scores(model, synthetic_city(days=5, height=4, width=4), 3, 16)
    assert 0 < found["crps"] < 1 and 0 <= found["within_90"] <= 1 and found["width"] > 0


def test_the_table_has_both_ways_in_one_line(benchmark_module):
    row = {"city": "a", "task": "short", "days": 2, "hindcasts": 0.0}
    own = row | {"width_from": "own", "width": 0.5, "crps": 0.08, "within_90": 0.9, "sums_within_90": 0.8}
    alone = row | {"width_from": "network", "width": 1.0, "crps": 0.1, "within_90": 0.99, "sums_within_90": 0.85}
    line = benchmark_module("few_days").table([own, alone]).splitlines()[-1]
    assert line == "| a, short | 2 | 0.0 | 0.50 | 0.1000 to **0.0800** | -20 % | 99 to 90 % | 85 to 80 % |"
