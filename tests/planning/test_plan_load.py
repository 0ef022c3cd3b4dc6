"""A forecast as a load: what is below 0 by rounding is 0, what is negative is refused."""

from __future__ import annotations

import numpy as np
import pytest

import fomo
from fomo.forecast import Forecast, make_forecast, mock_forecast
from fomo.planning.load import PlanError, load_of_forecast


def forecast_with(smallest: float) -> Forecast:
    """A forecast with members up to 100 and a smallest one."""
    city = fomo.synthetic_city(days=3)
    forecast = mock_forecast(city)
    members = np.random.default_rng(0).uniform(0, 100, forecast.samples.shape).astype(np.float32)
    members[0, 0, 1, 1], members[1, 0, 1, 1] = smallest, 100.0
    members[..., ~city["covered"].values] = np.nan
    window = city.isel(time=slice(-members.shape[1], None))
    return make_forecast(members, np.isfinite(members[0]), window, forecaster="made")


def test_a_member_that_rounding_put_below_zero_is_zero() -> None:
    load = load_of_forecast(forecast_with(-1e-9))
    assert load.members.min() == 0
    assert load.members.max() == 100


def test_a_negative_member_is_refused() -> None:
    with pytest.raises(PlanError, match=r"the load is negative at .*\(-0.01 "):
        load_of_forecast(forecast_with(-0.01))
