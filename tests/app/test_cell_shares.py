"""Forecasts under cell names: shares go by hour and kind of day, and what was recorded stays as it was."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import sparse

from fomo.app.service.cell_shares import recorded_beside, usual_of_cells
from fomo.city import City, make_city
from fomo.days_off import DaysOff
from fomo.exports.cells_csv import forecast_per_cell
from fomo.forecast import Forecast, make_forecast

NAMES = ["office", "home", "ended", "new"]
#: Of one square.
MATRIX = sparse.csr_array(np.ones((1, 4)))
DAYS = 28
START = "2024-09-30"  # a Monday


def traffic_of(days: int = DAYS) -> np.ndarray:
    """(hour, cell): offices by day on working days, homes always; one ended after two days, one began on the last."""
    hour, day = np.tile(np.arange(24), days), np.repeat(np.arange(days), 24)
    works = (hour >= 8) & (hour < 18) & (day % 7 < 5)
    ended, new = np.where(day < 2, 5.0, np.nan), np.where(day < days - 1, np.nan, 1.0)
    return np.stack([np.where(works, 9.0, 0.1), np.full(len(hour), 1.0), ended, new], 1)


def city_of(traffic: np.ndarray, off: tuple[str, ...] = ()) -> tuple[City, xr.Dataset]:
    """A city of one square, missing where any cell but the ended and the new one is, and its cells."""
    square = np.where(np.isnan(traffic[:, :2]).any(1), np.nan, np.nansum(traffic, 1))
    city = make_city(square[:, None, None], name="made", start=START, step_minutes=60, unit="GB per 60 min")
    days = DaysOff(tuple(np.datetime64(day).item() for day in off))
    cells = xr.Dataset({"traffic": (("time", "cell"), traffic)}, {"time": city["time"].values, "cell": NAMES})
    return days.on(city), cells


def ahead_of(city: City, amount: float = 10.0, days: int = 7) -> Forecast:
    """A forecast of the days after a city, of one amount."""
    time = city["time"].values[-1] + np.arange(1, 24 * days + 1) * np.timedelta64(1, "h")
    window = city.isel(time=np.arange(24 * days) % city.sizes["time"]).assign_coords(time=time)
    members = np.full((3, len(time), 1, 1), amount) * np.array([0.5, 1, 1.5])[:, None, None, None]
    return make_forecast(members, np.ones(members.shape[1:], bool), window, forecaster="made")


def shared(city: City, cells: xr.Dataset, forecast: Forecast) -> xr.Dataset:
    usual, recorded = usual_of_cells(cells, city, forecast), recorded_beside(cells, city, forecast, MATRIX)
    return forecast_per_cell(forecast, MATRIX, NAMES, usual, recorded)


def test_shares_go_by_the_hour_and_the_kind_of_day_of_the_last_weeks() -> None:
    """They were those of the whole record: offices had their weekdays' share on Sundays, what had ended its part."""
    found = shared(*(made := city_of(traffic_of())), ahead_of(made[0]))
    by_hour = found["traffic"].values.reshape(7, 24, 4)
    np.testing.assert_allclose(by_hour.sum(2), 10, rtol=1e-6)
    np.testing.assert_allclose(by_hour[0, 12], [90 / 11, 10 / 11, 0, 10 / 11])  # Monday
    np.testing.assert_allclose(by_hour[0, 3], [1 / 2.1, 10 / 2.1, 0, 10 / 2.1])
    np.testing.assert_allclose(by_hour[6, 12], by_hour[0, 3])  # Sunday
    assert (by_hour[:, :, 2] == 0).all()
    np.testing.assert_allclose(found["low"].sum("cell"), 5, rtol=1e-6)


def test_a_day_off_of_which_the_city_knows_is_shared_as_a_sunday() -> None:
    found = shared(*(made := city_of(traffic_of(), ("2024-10-29",))), ahead_of(made[0]))
    by_hour = found["traffic"].values.reshape(7, 24, 4)
    np.testing.assert_allclose(by_hour[1], by_hour[6])  # a Tuesday
    assert by_hour[2, 12, 0] > 4 * by_hour[1, 12, 0]


def test_a_square_of_which_all_cells_are_silent_of_late_goes_by_all_that_is_known_of_them() -> None:
    traffic = traffic_of()
    traffic[10 * 24 :] = np.nan
    city, cells = city_of(traffic)
    found = shared(city, cells, ahead_of(city))
    means = np.nanmean(traffic[:, :3], 0)
    np.testing.assert_allclose(found["traffic"].values[:, :3], np.tile(10 * means / means.sum(), (7 * 24, 1)))
    assert np.isnan(found["traffic"].values[:, 3]).all()  # it was never recorded


def test_a_square_of_silent_hours_goes_by_the_means_of_the_last_weeks() -> None:
    traffic = traffic_of()[:, :4]
    traffic[np.arange(len(traffic)) % 24 == 4] = 0
    city, cells = city_of(traffic)
    found = shared(city, cells, ahead_of(city))["traffic"].values.reshape(7, 24, 4)
    np.testing.assert_allclose(found.sum(2), 10, rtol=1e-6)
    assert found[0, 4, 0] > found[0, 4, 1] > 0


def filled(city: City, amount: float) -> Forecast:
    """What is not recorded as members around an amount, the rest repeated."""
    truth = city["traffic"].values
    asked = np.isnan(truth)
    members = np.where(asked, amount * np.array([0.9, 1, 1.1])[:, None, None, None], truth)
    return make_forecast(members, asked, city, forecaster="made")


def test_of_a_filled_city_recorded_cells_stay_as_they_were_and_the_others_share_the_rest() -> None:
    """The table said something else of every cell of a square, recorded ones too."""
    traffic = traffic_of()
    gap = 15 * 24 + 12
    traffic[gap, 0] = np.nan
    city, cells = city_of(traffic)
    found = shared(city, cells, filled(city, 20.0))
    known = np.isfinite(traffic)
    for name in ("traffic", "low", "high"):
        np.testing.assert_array_equal(found[name].values[known], traffic[known])
    assert found["traffic"].values[gap].tolist() == pytest.approx([19, 1, 0, 0])
    assert found["low"].values[gap, 0] == pytest.approx(17) and found["high"].values[gap, 0] == pytest.approx(21)
    elsewhere = np.arange(len(traffic)) != gap
    assert not found["traffic"].values[elsewhere][~known[elsewhere]].any()  # nothing is left of what was recorded


def test_what_a_fill_says_is_less_than_what_is_recorded_leaves_nothing_for_the_others() -> None:
    traffic = traffic_of()
    traffic[15 * 24 + 12, 1] = np.nan
    city, cells = city_of(traffic)
    found = shared(city, cells, filled(city, 5.0))
    assert found["traffic"].values[15 * 24 + 12].tolist() == [9, 0, 0, 0]


def test_cells_out_of_service_have_no_share() -> None:
    city, cells = city_of(traffic_of())
    forecast = ahead_of(city)

    def in_service(day: np.datetime64) -> np.ndarray:
        return np.array([True, day < city["time"].values[-1] + np.timedelta64(3, "D"), True, True])

    usual = usual_of_cells(cells, city, forecast, in_service)
    by_hour = forecast_per_cell(forecast, MATRIX, NAMES, usual)["traffic"].values.reshape(7, 24, 4)
    assert (by_hour[:3, :, 1] > 0).all() and not by_hour[3:, :, 1].any()
    np.testing.assert_allclose(by_hour.sum(2), 10, rtol=1e-6)


@pytest.mark.parametrize("served", [False, True])
def test_a_cell_alone_in_its_square_has_no_share_out_of_service_and_the_square_is_not_shared(served: bool) -> None:
    """All that it ever carried said that the square's traffic was its own, ended or not."""
    city, cells = city_of(traffic_of())
    one, forecast = cells.isel(cell=[1]), ahead_of(city)
    end = city["time"].values[-1] + np.timedelta64(3, "D")
    usual = usual_of_cells(one, city, forecast, lambda day: np.array([served or day < end]))
    found = forecast_per_cell(forecast, sparse.csr_array(np.ones((1, 1))), ["home"], usual)
    by_day = found["traffic"].values.reshape(7, 24)
    np.testing.assert_allclose(by_day[:3], 10, rtol=1e-6)
    np.testing.assert_allclose(by_day[3:], 10 if served else 0, rtol=1e-6)
    assert found.attrs["not_shared"] == pytest.approx(0 if served else 4 / 7)
    assert found.attrs["not_shared_grid_cells"] == (not served)


def test_a_forecast_whose_days_have_come_since_is_still_the_forecast() -> None:
    traffic = traffic_of(DAYS + 7)
    city, cells = city_of(traffic)
    before = city.isel(time=slice(0, DAYS * 24))
    late, early = (shared(city, of, ahead_of(before)) for of in (cells, cells.isel(time=slice(0, DAYS * 24))))
    np.testing.assert_allclose(late["traffic"].values[:, :3], early["traffic"].values[:, :3])


def test_a_row_that_came_after_the_city_was_filled_changes_no_cell_that_was_recorded() -> None:
    """One late row of one cell put shares in place of what was recorded of all cells of the city in that period."""
    names, gap = ["both", "late", "far"], 15 * 24 + 12
    matrix = sparse.csr_array(np.array([[0.5, 1, 0], [0.5, 0, 0], [0, 0, 1]]))  # squares in a row
    traffic = np.tile([4.0, 9.0, 2.0], (DAYS * 24, 1))

    def made(amounts: np.ndarray) -> tuple[City, xr.Dataset]:
        grid = (matrix @ amounts.T).T  # NaN where a cell is: only what feeds the square
        grid = np.stack([grid[:, 0], amounts[:, 0] / 2, amounts[:, 2]], 1)
        city = make_city(grid[:, None], name="made", start=START, step_minutes=60, unit="GB per 60 min")
        cells = xr.Dataset({"traffic": (("time", "cell"), amounts)}, {"time": city["time"].values, "cell": names})
        return city, cells

    before = traffic.copy()
    before[gap, 1] = np.nan
    forecast = filled(made(before)[0], 8.0)
    tables = []
    for city, cells in (made(before), made(traffic)):
        recorded = recorded_beside(cells, city, forecast, matrix)
        tables.append(forecast_per_cell(forecast, matrix, names, usual_of_cells(cells, city, forecast), recorded))
    for found in tables:
        np.testing.assert_allclose(found["traffic"].values[gap], [4, 6, 2])
    np.testing.assert_array_equal(tables[0]["traffic"].values, tables[1]["traffic"].values)
