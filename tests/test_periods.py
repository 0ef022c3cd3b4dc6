"""A city in longer periods: what is summed, what is averaged, and what is kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fomo
from fomo.city import CityError, make_city, mock_city, open_city, save_city
from fomo.days_off import with_days_off
from fomo.periods import coarser


@given(st.integers(1, 8), st.integers(1, 40), st.integers(0, 30), st.integers(0, 99))
def test_a_coarser_city_conserves_traffic_over_its_whole_periods(factor, steps, late, seed):
    if 1440 % (15 * factor):
        factor = 4
    random = np.random.default_rng(seed)
    start = np.datetime64("2024-01-01T00:00") + np.timedelta64(15 * late, "m")
    fine = make_city(random.random((steps + 2 * factor, 2, 3)), name="fine", start=start, step_minutes=15)
    coarse = coarser(fine, 15 * factor)
    assert int(coarse.attrs["step_minutes"]) == 15 * factor
    periods = coarse["time"].values
    assert ((periods - periods.astype("datetime64[D]")) % np.timedelta64(15 * factor, "m") == np.timedelta64(0)).all()
    for period, values in zip(periods, coarse["traffic"].values, strict=True):
        inside = (fine["time"].values >= period) & (fine["time"].values < period + np.timedelta64(15 * factor, "m"))
        assert inside.sum() == factor
        np.testing.assert_allclose(values, fine["traffic"].values[inside].sum(0), rtol=1e-5)
    assert fine["time"].values[-1] - periods[-1] < 2 * np.timedelta64(15 * factor, "m")  # none is left out


def test_a_coarser_city_has_not_recorded_where_any_part_was_not():
    traffic = np.ones((8, 1, 2))
    traffic[5, 0, 1] = np.nan
    coarse = coarser(make_city(traffic, name="a", start="2024-01-01", step_minutes=30), 120)["traffic"].values
    np.testing.assert_array_equal(coarse, [[[4, 4]], [[4, np.nan]]])


def test_a_coarser_city_is_another_city_of_another_family_and_keeps_its_fold_and_geometry():
    fine = make_city(
        np.ones((10, 3, 4)), name="numbered", start="2024-01-01", step_minutes=60, family="cities", fold=3,
        layout="list", time_zone="Asia/Shanghai",
    )  # fmt: skip
    cell = np.arange(fine.sizes["y"] * fine.sizes["x"]).reshape(fine.sizes["y"], fine.sizes["x"])
    fine = fine.assign_coords(lon=(("y", "x"), 24.0 + cell), lat=(("y", "x"), 60.0 - cell))
    coarse = coarser(fine, 120)
    assert coarse.attrs["name"] == "numbered@120min"
    assert coarse.attrs["family"] == "cities@120min"
    for kept in ("fold", "cell_km", "layout", "time_zone", "unit", "synthetic"):
        assert coarse.attrs[kept] == fine.attrs[kept]
    for kept in ("covered", "lon", "lat"):
        np.testing.assert_array_equal(coarse[kept], fine[kept])


def test_a_coarser_step_that_does_not_divide_a_day_is_refused():
    with pytest.raises(CityError, match="420 minutes do not divide a day"):
        coarser(mock_city(step_minutes=60), 420)


@pytest.mark.parametrize(("start", "steps"), [("2024-01-01T00:05", 200), ("2024-01-01T00:15", 3)])
def test_periods_that_nothing_starts_are_refused_rather_than_begun_at_any_step(start, steps):
    """They began at five past, and their times did not say so."""
    fine = make_city(np.ones((steps, 1, 1)), name="late", start=start, step_minutes=15)
    with pytest.raises(CityError, match=f"'late' begins at {start}, and none of its steps starts 60 minutes"):
        coarser(fine, 60)


def test_quarters_become_hours_with_their_gaps_and_all_else(tmp_path):
    """Summed by xarray, an hour of four gaps became a zero."""
    random = np.random.default_rng(0)
    traffic, users = random.lognormal(size=(2, 4 * 24 + 3, 3, 4))
    traffic[8:12], users[40] = np.nan, np.nan
    fine = make_city(
        traffic, users=users, poi=np.ones((2, 3, 4)), residents=np.ones((3, 4)), name="town", start="2024-12-24T22:30",
        step_minutes=15, cell_km=0.5, unit="GB per 15 min", time_zone="Europe/Rome",
    )  # fmt: skip
    fine = with_days_off(fine, "IT").assign(landuse=(("kind", "y", "x"), np.ones((5, 3, 4))))
    coarse = fomo.coarser(fine, 60)
    assert coarse.time.values[0] == np.datetime64("2024-12-24T23:00") and coarse.sizes["time"] == 24
    np.testing.assert_allclose(coarse.traffic, traffic[2:98].reshape(24, 4, 3, 4).sum(1), rtol=1e-6)
    np.testing.assert_allclose(coarse.users, users[2:98].reshape(24, 4, 3, 4).mean(1), rtol=1e-6)
    assert np.isnan(coarse.traffic[1:3]).all() and np.isnan(coarse.users[9]).all()
    assert (coarse.attrs["step_minutes"], coarse.attrs["unit"], coarse.traffic.units) == (60, *["GB per 60 min"] * 2)
    for kept in ("poi", "residents", "covered", "landuse", "category", "y", "x"):
        assert coarse[kept].identical(fine[kept])
    changed = {"name", "family", "step_minutes", "unit"}
    assert {key for key in fine.attrs if fine.attrs[key] != coarse.attrs[key]} == changed
    assert open_city(save_city(coarse, tmp_path / "coarse.zarr")).traffic.identical(coarse.traffic)


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        ("GB per hour", "GB per 120 min"),
        ("GB per 60 min", "GB per 120 min"),
        ("GB per 160 min", "GB per 160 min x 60 min per 120 min"),
        ("GB per period", "GB per period"),
        ("GB/h", "GB per 120 min"),
        ("GB / 60 min", "GB per 120 min"),
        ("GB Per Hour", "GB per 120 min"),
        ("GB per hr", "GB per 120 min"),
        ("GB per 3600 s", "GB per 120 min"),
        ("GB/h/km2", "GB per 120 min/km2"),
        ("Mbit/s", "Mbit/s x 60 min per 120 min"),
        ("GB per shift", "GB per shift, summed over 120 min"),
        ("GB per 1/4 h", "GB per 1/4 h, summed over 120 min"),
        ("bytes", "bytes"),
    ],
)
def test_a_unit_that_ends_with_the_period_names_the_longer_one(unit, said):
    assert coarser(mock_city().assign_attrs(unit=unit), 120).attrs["unit"] == said


@pytest.mark.parametrize("unit", ["GB/15 min", "GB per quarter hour", "GB per quarter-hour", "GB per 900 s"])
def test_a_quarter_of_an_hour_is_known_however_it_is_written(unit):
    assert coarser(mock_city(step_minutes=15).assign_attrs(unit=unit), 60).attrs["unit"] == "GB per 60 min"


@pytest.mark.parametrize("unit", ["GB/15 min", "Mbit/s", "GB per shift", "bytes"])
def test_two_ways_to_a_period_make_one_city(unit):
    fine = mock_city(step_minutes=15).assign_attrs(unit=unit)
    assert coarser(coarser(fine, 30), 60).attrs == coarser(fine, 60.0).attrs
    assert coarser(fine, 15) is fine


@pytest.mark.parametrize(
    ("minutes", "message"),
    [
        (90, "periods of 90 minutes cannot be made of those of 'mock': choose a multiple of 60"),
        (15, "periods of 15 minutes cannot be made"),
        (0, "0 minutes do not divide a day"),
        (90.5, r"minutes of coarser\(\) is 90\.5: write a whole number"),
        (1440, "'mock' holds no whole period of 1440 minutes"),
    ],
)
def test_periods_that_cannot_be_made_are_refused(minutes, message):
    with pytest.raises(CityError, match=message):
        coarser(mock_city(steps=20), minutes)


def test_what_goes_by_time_and_is_not_known_is_left_to_the_user():
    city = mock_city()
    city = city.assign(speed=city.traffic)
    with pytest.raises(CityError, match=r"speed of 'mock' goes by time, .*: leave it out, city\.drop_vars\('speed'\)"):
        coarser(city, 120)
