"""What is called a quantile of members is one of what may come."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.city import mock_city
from fomo.forecast import Forecast, make_forecast, quantiles_of


def forecast_of(members: np.ndarray, seed: int = 0) -> Forecast:
    window = mock_city(steps=members.shape[1], height=members.shape[2], width=members.shape[3])
    return make_forecast(
        members, np.ones(members.shape[1:], bool), window, forecaster="made", context="none", seed=seed
    )


@pytest.mark.parametrize("number", [10, 20, 50])
@pytest.mark.parametrize(("low", "high"), [(0.1, 0.9), (0.25, 0.75)])
def test_between_two_quantiles_of_draws_lies_what_their_names_say(number, low, high):
    """Interpolated from the first draw to the last, 10 to 90 % of ten held 70."""
    random = np.random.default_rng(0)
    ends = forecast_of(random.normal(10, 1, (number, 300, 8, 8)).astype(np.float32)).quantile([low, high]).values
    came = random.normal(10, 1, ends.shape[1:])
    assert ((ends[0] <= came) & (came <= ends[1])).mean() == pytest.approx(high - low, abs=0.015)


def test_quantiles_of_a_forecast_are_those_of_its_members_with_its_axes():
    members = np.random.default_rng(1).gamma(2, 1, (7, 5, 2, 3)).astype(np.float32)
    members[:, :, 1, 1] = np.nan  # never covered
    forecast = forecast_of(members)
    several, one = forecast.quantile([0.05, 0.5]), forecast.quantile(0.5)
    assert several.dims == ("quantile", "time", "y", "x") and one.dims == ("time", "y", "x")
    assert several["quantile"].values.tolist() == [0.05, 0.5]
    np.testing.assert_array_equal(several.values, quantiles_of(members, [0.05, 0.5]))
    np.testing.assert_array_equal(one.values, forecast.median.values)
    np.testing.assert_array_equal(one.values, np.median(members, axis=0))
    assert several.attrs == forecast.samples.attrs


def test_a_quantile_beyond_the_outermost_draw_is_that_draw():
    draws = np.array([3.0, 1.0, 2.0])
    assert quantiles_of(draws, [0.01, 0.25, 0.99]).tolist() == [1, 1, 3]
    assert quantiles_of(draws[:1], 0.9) == 3


def test_forecasts_are_equal_where_all_of_them_is():
    members = np.random.default_rng(1).gamma(2, 1, (3, 5, 2, 3)).astype(np.float32)
    one, same, other, of_other_seed = (
        forecast_of(*each) for each in ((members,), (members.copy(),), (members + 1,), (members, 1))
    )
    assert one == same
    assert one != other
    assert one != of_other_seed
    assert one != members.tolist()
    assert other not in [one, same]
