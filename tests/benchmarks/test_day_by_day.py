"""Every midnight of the last fifth is forecast from what was before it, and the row says what came of it."""

from __future__ import annotations

import numpy as np

from fomo.city import mock_city
from fomo.forecast import make_forecast
from fomo.windows.split import last_fifth


class Sees:
    """A forecaster that remembers what it was shown, and says a tenth more than what will come."""

    def __init__(self, city):
        self.city, self.ends = city, []

    def forecast(self, past, horizon, samples, context):
        self.ends.append(past.sizes["time"])
        window = self.city.isel(time=slice(past.sizes["time"], past.sizes["time"] + horizon))
        truth = window["traffic"].values
        spread = 1.1 * (1 + 0.4 * (np.arange(samples) / (samples - 1) - 0.5))[:, None, None, None]
        return make_forecast(truth * spread, np.ones(truth.shape, bool), window, forecaster="FoMo")


def test_days_are_those_of_the_last_fifth_and_the_row_has_their_bias(benchmark_module):
    city = mock_city(24 * 12)
    module, model = benchmark_module("day_by_day"), Sees(city)
    found = module.verified(model, city, samples=20)
    assert model.ends == [step for step in range(0, 24 * 12, 24) if last_fifth(city) <= step]
    assert len(found.compared) == len(model.ends) == 2
    cells = [cell.strip() for cell in module.line("made", found).strip("|").split("|")]
    assert cells[:3] == ["made", "2", "+10.0 %"]
    assert cells[6] == "100 %" and cells[-1] == "0 % (10 %)"
