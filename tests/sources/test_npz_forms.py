"""One section per form; what all forms share is in test_registry.py."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.city import CityError, open_city, save_city
from fomo.sources import read_cities


def missing(city) -> np.ndarray:
    return np.isnan(city.traffic.values)


# uomo


def test_each_region_is_a_city_with_fold_weeks_users_and_poi(write_form):
    arrays = write_form.arrays_of("uomo")
    cities = read_cities(write_form("uomo", name="uomo_x"))
    assert [city.attrs["name"] for city in cities] == ["uomo_x/00", "uomo_x/01", "uomo_x/02"]
    assert [(city.attrs["fold"], city.attrs["weeks"]) for city in cities] == [(4, 1), (0, 2), (2, 2)]
    np.testing.assert_array_equal(cities[1].traffic, arrays["traffic"][1])
    np.testing.assert_array_equal(cities[1].users, arrays["users"][1].astype(np.float32))
    np.testing.assert_array_equal(cities[2].poi, arrays["poi"][2])


def test_the_empty_end_of_a_region_is_cut_and_its_start_is_a_pseudo_thursday(write_form):
    city = read_cities(write_form("uomo"))[0]
    assert city.sizes["time"] == 48
    assert str(city.time.values[0])[:16] == "2024-01-04T07:00"
    assert city.attrs["calendar"] == "weekday"


@pytest.mark.parametrize("array", ["traffic", "users", "poi", "fold", "weeks", "step_minutes"])
def test_a_missing_array_is_named(write_form, array):
    with pytest.raises(CityError, match=rf"any_name.npz lacks the array '{array}'"):
        read_cities(write_form("uomo", drop=(array,)))


@pytest.mark.parametrize(
    ("array", "value", "message"),
    [
        ("fold", np.zeros(2, np.int8), "'fold' .* has 2 along 'region' where 'traffic' has 3"),
        ("fold", np.array([0, np.nan, 1]), "'fold' .* is nan at region 1"),
        ("weeks", np.array([np.inf, 1, 1]), "'weeks' .* is inf at region 0"),
        ("users", np.zeros((3, 60, 5, 2), np.float32), "'users' .* along 'y' where 'traffic' has 2"),
        ("traffic", np.zeros((60, 2, 5), np.float32), r"'traffic' .* needs the axes \(region, time, y, x\)"),
        ("traffic", np.full((3, 60, 2, 5), "a"), "'traffic' .*write numbers"),
        ("traffic", np.full((3, 60, 2, 5), -1.0), "traffic of 'any_name/00' is -1"),
        ("step_minutes", np.int64(7), "7, which does not divide a day"),
        ("step_minutes", np.array([60, 60]), "step_minutes"),
        ("start_weekday_slot", np.array([7, 0]), "weekday 7, slot 0"),
        ("start_weekday_slot", np.array([0, 0, 0]), "start_weekday_slot"),
    ],
)
def test_contradictions_are_named(write_form, array, value, message):
    with pytest.raises(CityError, match=message):
        read_cities(write_form("uomo", **{array: value}))


# npdiff


def test_the_weekday_and_slot_of_the_first_step_make_the_pseudo_date(write_form):
    (city,) = read_cities(write_form("npdiff"))
    assert str(city.time.values[0])[:16] == "2024-01-03T05:00"
    np.testing.assert_array_equal(city.traffic, write_form.arrays_of("npdiff")["traffic"])


def test_events_are_not_called_volume(write_form):
    counts = np.ones((50, 3, 4), np.int16)
    (city,) = read_cities(write_form("npdiff", drop=("traffic",), events=counts))
    assert city.attrs["unit"] == "events per period"


def test_a_break_in_the_steps_splits_the_grid_into_runs(write_form):
    arrays = write_form.arrays_of("npdiff")
    kept = np.r_[0:20, 23:50]
    path = write_form("npdiff", traffic=arrays["traffic"][kept], weekday_slot=arrays["weekday_slot"][kept])
    first, second = read_cities(path)
    assert (first.attrs["name"], second.attrs["name"]) == ("any_name/run0", "any_name/run1")
    assert (first.sizes["time"], second.sizes["time"]) == (20, 27)
    assert str(second.time.values[0])[:16] == "2024-01-04T04:00"


def test_a_slot_beyond_the_day_is_refused(write_form):
    slots = write_form.arrays_of("npdiff")["weekday_slot"].copy()
    slots[9, 1] = 24
    with pytest.raises(CityError, match="slot 24 at row 9"):
        read_cities(write_form("npdiff", weekday_slot=slots))


# jinan


def test_the_raster_has_real_dates_and_the_centres_of_its_cells(write_form):
    city = read_cities(write_form("jinan"))[0]
    assert city.attrs["name"] == "any_name"
    assert str(city.time.values[0])[:16] == "2024-08-05T06:00"
    np.testing.assert_allclose(city.lat.values[:, 0], [36.0045, 36.0135])
    np.testing.assert_allclose(city.lon.values[0], [117.0056, 117.0168, 117.028])


def test_a_raster_cell_in_an_unrecorded_district_is_missing_and_not_zero(write_form):
    city = read_cities(write_form("jinan"))[0]
    assert not city.covered.values[1, 2]
    assert missing(city).sum() == 30


def test_districts_are_a_list(write_form):
    city = next(city for city in read_cities(write_form("jinan")) if "districts_4g_up" in city.attrs["name"])
    assert city.attrs["layout"] == "list"
    assert city.traffic.shape == (30, 1, 4)
    np.testing.assert_array_equal(city.covered, [[True, True, True, False]])


def test_a_start_without_a_date_is_refused(write_form):
    with pytest.raises(CityError, match=r"'t0' .* needs to begin like"):
        read_cities(write_form("jinan", t0=np.array("last summer")))


# nanchang


def test_rows_are_turned_so_that_y_grows_to_the_north(write_form):
    arrays = write_form.arrays_of("nanchang")
    (city,) = read_cities(write_form("nanchang"))
    np.testing.assert_array_equal(city.traffic[:, -1], arrays["traffic"][:, 0])
    np.testing.assert_array_equal(city.residents[0], arrays["population"][3])
    assert (np.diff(city.lat.values, axis=0) > 0).all()
    assert (np.diff(city.lon.values, axis=1) > 0).all()
    assert city.attrs["cell_km"] == 1.07


def test_unknown_poi_and_withheld_tiles_stay_missing_while_their_context_is_kept(write_form):
    (city,) = read_cities(write_form("nanchang"))
    assert np.isnan(city.poi.values[:, 0, 0]).all()
    assert np.isnan(city.poi.values).sum() == 3
    assert not city.covered.values[3, 2]
    assert missing(city)[:, 3, 2].all()
    assert np.isfinite(city.residents.values[3, 2])
    assert list(city.category.values) == ["Medical", "unnamed 1", "unnamed 2"]


def test_traffic_on_an_uncovered_tile_is_a_contradiction(write_form):
    with pytest.raises(CityError, match=r"'covered' .* False at row 0, column 0"):
        read_cities(write_form("nanchang", covered=np.zeros((4, 3), bool)))


# milan


def test_a_day_that_is_absent_stays_missing_on_an_even_axis(write_form):
    arrays = write_form.arrays_of("milan activity")
    (city,) = read_cities(write_form("milan activity"))
    assert city.sizes["time"] == 4 * 24
    assert missing(city)[48:72].all()
    assert missing(city).sum() == 24 * 6
    np.testing.assert_array_equal(city.traffic[72:], arrays["activity"][48:])


def test_context_becomes_poi_and_fine_centres_are_averaged(write_form):
    arrays = write_form.arrays_of("milan activity")
    (city,) = read_cities(write_form("milan activity"))
    np.testing.assert_array_equal(city.poi, arrays["context_20x20"][..., 1:].transpose(2, 0, 1))  # tweets are no POI
    assert city.category.values.tolist() == ["poi_other"]
    np.testing.assert_allclose(city.lon.values[0], [9.0015, 9.0075, 9.0135])
    np.testing.assert_allclose(city.lat.values[:, 0], [45.001, 45.005])


@pytest.mark.parametrize(
    ("array", "value", "message"),
    [
        ("date", np.array(["2013-11-08", "2013-11-07", "2013-11-11"]), "not sorted"),
        ("date", np.array(["2013-11-08"]), "72 steps; 1 days"),
        ("date", np.array(["a", "b", "c"]), "write dates like"),
        ("cell_center_lonlat_100x100", np.zeros((5, 6, 2)), "do not divide"),
    ],
)
def test_contradictions_in_milan_are_named(write_form, array, value, message):
    with pytest.raises(CityError, match=message):
        read_cities(write_form("milan activity", **{array: value}))


def test_bare_internet_traffic_starts_on_the_first_of_november(write_form):
    (city,) = read_cities(write_form("milan internet"))
    assert str(city.time.values[0])[:16] == "2013-11-01T00:00"
    assert city.attrs["step_minutes"] == 10


# c2tm


def test_absent_hours_stay_missing_and_the_rest_keeps_its_hour(write_form):
    arrays = write_form.arrays_of("c2tm")
    (city,) = read_cities(write_form("c2tm"))
    assert city.traffic.shape == (100, 1, 4)
    assert city.attrs["layout"] == "list"
    assert missing(city)[30:40].all()
    assert missing(city).sum() == 40
    np.testing.assert_array_equal(city.users[40:, 0], arrays["users"][30:])
    assert str(city.time.values[40])[:16] == arrays["time"][30].replace(" ", "T")


def test_a_byte_spike_is_clipped_and_counted_and_nothing_else_is_touched(write_form):
    arrays = write_form.arrays_of("c2tm")
    (city,) = read_cities(write_form("c2tm"))
    spike = arrays["bytes"] == 1e9
    found = city.traffic.values[:, 0][~missing(city)[:, 0].any(1)]
    assert city.attrs["clipped_values"] == 1
    assert 0 < found[spike].item() < 100
    np.testing.assert_array_equal(found[~spike], arrays["bytes"][~spike])


def test_times_out_of_order_are_refused(write_form):
    time = write_form.arrays_of("c2tm")["time"].copy()
    time[3] = time[2]
    with pytest.raises(CityError, match="not sorted or repeats: 2012-08-21 00:00"):
        read_cities(write_form("c2tm", time=time))


# german


def test_made_traffic_is_marked_and_context_of_another_grid_is_left_out_aloud(write_form):
    _, city = read_cities(write_form("german"))
    assert city.attrs["synthetic"] == 1
    assert city.attrs["family"] == "any_name_ulm"
    assert "poi" not in city
    assert "(6, 8) is not that of the traffic (3, 4)" in city.attrs["context"]


def test_context_of_the_same_grid_is_kept(write_form):
    _, city = read_cities(write_form("german", ulm_poi=np.ones((2, 3, 4), np.float32)))
    assert city.poi.shape == (2, 3, 4)


def test_context_alone_is_a_city_in_which_no_traffic_is_recorded(write_form, tmp_path):
    arrays = write_form.arrays_of("german")
    city, _ = read_cities(write_form("german"))
    assert city.attrs["name"] == "any_name_trier_context"
    assert city.traffic.shape == (7 * 24, 5, 5)
    assert str(city.time.values[0])[:16] == "2024-01-01T00:00"
    assert missing(city).all()
    assert (city.attrs["synthetic"], city.attrs["cell_km"], city.attrs["clipped_values"]) == (0, 0.25, 5)
    np.testing.assert_array_equal(city.residents, np.maximum(arrays["trier_pop"][0], 0))
    np.testing.assert_array_equal(city.poi, arrays["trier_poi"])
    assert list(city.category.values) == ["unnamed 0", "unnamed 1"]
    np.testing.assert_array_equal(city.landuse, arrays["trier_landuse"])
    assert city.landuse.dims == ("landuse_class", "y", "x")
    assert open_city(save_city(city, tmp_path / "trier.zarr")).identical(city)


def test_a_place_of_which_the_context_says_nothing_is_not_covered(write_form):
    city, _ = read_cities(write_form("german"))
    np.testing.assert_array_equal(city.covered, ~np.eye(5, dtype=bool))
    unknown = np.full((1, 5, 5), np.nan, np.float32)
    city, _ = read_cities(write_form("german", trier_pop=unknown))
    np.testing.assert_array_equal(city.covered, np.tri(5, k=-1, dtype=bool))


@pytest.mark.parametrize("array", ["trier_pop", "trier_poi", "trier_landuse"])
def test_context_that_is_not_whole_makes_no_city(write_form, array):
    assert [city.attrs["name"] for city in read_cities(write_form("german", drop=(array,)))] == ["any_name_ulm"]


@pytest.mark.parametrize(
    ("array", "value", "message"),
    [
        ("trier_pop", np.full((1, 5, 5), -3.0), r"'trier_pop' of .* is -3 at \(0, 0\); 25 such values: write people"),
        ("trier_landuse", np.full((3, 5, 5), 40.0), r"'trier_landuse' of .* is 40 at \(0, 0, 0\).*write shares"),
        ("trier_landuse", np.ones((3, 5, 6)), "'trier_landuse' of .* has 6 along 'x' where"),
        ("trier_pop", np.ones((5, 5)), r"'trier_pop' of .* it needs the axes \(1, y, x\)"),
    ],
)
def test_context_that_cannot_be_is_refused(write_form, array, value, message):
    with pytest.raises(CityError, match=message):
        read_cities(write_form("german", **{array: value}))
