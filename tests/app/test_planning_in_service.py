"""Plans of squares that are out of service in some or all of the forecast's periods."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import fomo
from fomo.app.service.planning.ahead import prb_ahead, sleep_ahead
from fomo.app.service.planning.allocating import PrbSetting
from fomo.app.service.planning.sleeping import SleepSetting
from fomo.city import City, in_service
from fomo.forecast import Forecast, make_forecast
from fomo.planning.channel import ChannelParameters
from fomo.planning.energy import EnergyModel
from fomo.planning.load import PlanError, load_of_forecast
from fomo.planning.sleep import SleepParameters

PLANS = (
    (sleep_ahead, SleepSetting(SleepParameters(), EnergyModel())),
    (prb_ahead, PrbSetting(ChannelParameters())),
)
#: Periods of three hours that are forecast: two days, of which the second is the 13th of January.
AHEAD = 16


def told(first: dict[tuple[int, int], str], last: dict[tuple[int, int], str]) -> City:
    """A city up to the 13th with days in service; where it is not, nothing is recorded."""
    city = fomo.mock_city(13 * 8, step_minutes=180)
    days = {}
    for variable, at in (("first_served", first), ("last_served", last)):
        values = np.full((4, 4), np.datetime64("NaT"), "datetime64[ns]")
        for place, day in at.items():
            values[place] = np.datetime64(day)
        days[variable] = (("y", "x"), values)
    city = city.assign(days)
    return city.assign(traffic=city["traffic"].where(in_service(city)))


def past(city: City) -> City:
    return city.isel(time=slice(-AHEAD))


def forecast_of(city: City, served: bool = True) -> Forecast:
    """Members around what will come; not `served`: also where squares are out of service, as of an older forecast."""
    window = city.isel(time=slice(-AHEAD, None))
    spread = np.random.default_rng(1).lognormal(0, 0.3, (8, *window["traffic"].shape))
    members = (np.nan_to_num(window["traffic"].values, nan=7.0) * spread).astype(np.float32)
    asked = in_service(window) if served else np.ones(members.shape[1:], bool)
    members[:, ~asked] = np.nan
    return make_forecast(members, asked, window, forecaster="FoMo", provenance={"weights": "x"})


ENDED = {(0, 0): "2024-01-08"}
ENDS, BEGINS = {(1, 2): "2024-01-12"}, {(3, 3): "2024-01-13"}


@pytest.mark.parametrize("served", [True, False])
@pytest.mark.parametrize(("plan", "setting"), PLANS)
def test_squares_out_of_service_are_not_planned_and_carry_nothing_while_they_are(plan, setting, served):
    """They were planned as if they went on, and a forecast that left them out was refused for its gaps."""
    city = told(BEGINS, ENDED | ENDS)
    found = plan(forecast_of(city, served), past(city), setting)
    squares = found.table.select("row", "column").unique().rows()
    assert len(squares) == 14 and (0, 0) not in squares and (3, 3) not in squares
    ends = found.table.filter((pl.col("row") == 1) & (pl.col("column") == 2)).sort("time")
    assert ends.height == AHEAD
    amount = ends["expected_load" if "expected_load" in ends.columns else "backlog_mean_slots"].to_numpy()
    assert (amount[8:] == 0).all()
    if plan is sleep_ahead:
        assert (amount[:8] > 0).all() and ends["active_rrus"][8:].max() < ends["active_rrus"][:8].max()
    for line in (
        "Out of service in all periods and not planned: 1 square, row 0, column 0.",
        "In service in some periods only, and planned as carrying nothing in the others: 1 square, row 1, column 2.",
        "In service from one of these periods on and not planned, as nothing is recorded of them: 1 square, row 3, "
        "column 3.",
    ):
        assert line in found.remarks


@pytest.mark.parametrize(("plan", "setting"), PLANS)
def test_where_all_are_in_service_a_plan_is_what_it_is_where_nothing_is_said(plan, setting):
    plain = fomo.mock_city(13 * 8, step_minutes=180)
    city = told({}, {})
    one, other = (plan(forecast_of(each), past(each), setting) for each in (plain, city))
    assert one.table.equals(other.table) and one.remarks == other.remarks
    assert not any("service" in line for line in one.remarks)


def test_gaps_of_squares_in_service_are_still_refused():
    city = told({}, ENDED | ENDS)
    forecast = forecast_of(city)
    forecast.samples.values[:, 5, 1, 2] = np.nan
    served = in_service(city, forecast.dataset["time"].values)
    with pytest.raises(PlanError, match=r"8 of .* values of the load are missing, .*row 1, column 2"):
        load_of_forecast(forecast, served)
    with pytest.raises(PlanError, match="values of the load are missing"):
        load_of_forecast(forecast_of(city))
    forecast.samples.values[:, :, 2, 2] = np.nan
    forecast.samples.values[:, 5, 1, 2] = 1
    with pytest.raises(PlanError, match=r"1 of 15 cells of .mock. .* not forecast, row 2, column 2"):
        sleep_ahead(forecast, past(city), PLANS[0][1])
