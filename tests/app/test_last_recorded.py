"""Where a forecast begins when the end of the record has not come yet."""

from __future__ import annotations

import numpy as np
import pytest

import fomo
from fomo.app.service.forecasting import to_last_recorded
from fomo.city import City


def silent_for(steps: int) -> City:
    city = fomo.synthetic_city(days=4, step_minutes=15, height=2, width=2)
    traffic = city["traffic"].copy()
    traffic[city.sizes["time"] - steps :] = np.nan
    return city.assign(traffic=traffic)


@pytest.mark.parametrize(("steps", "cut"), [(0, 0), (1, 1), (95, 95), (96, 96), (120, 120), (192, 0), (250, 0)])
def test_a_day_that_did_not_come_is_cut_and_a_longer_silence_is_one(steps: int, cut: int) -> None:
    city = silent_for(steps)
    if not cut:
        assert to_last_recorded(city, 48) is city
        return
    with pytest.warns(UserWarning, match="the forecast begins after"):
        assert to_last_recorded(city, 48).sizes["time"] == city.sizes["time"] - cut


@pytest.mark.parametrize("steps", [16, 96, 130, 400])
def test_a_city_of_which_nothing_is_recorded_is_left_as_it_is(steps: int) -> None:
    """One of 16 steps ended in an IndexError, and the cities after it were not forecast."""
    city = silent_for(0).isel(time=slice(0, steps))
    city = city.assign(traffic=city["traffic"] * np.nan)
    assert to_last_recorded(city, 48) is city


def test_a_silent_day_that_a_window_sees_past_stays() -> None:
    city = silent_for(100)
    assert to_last_recorded(city, 101) is city
