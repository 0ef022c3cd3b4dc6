from __future__ import annotations

import inspect
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars
import pytest
import xarray as xr

from fomo.city import CityError, make_city, mock_city, open_city, save_city, validate
from fomo.given import whole_number

ROME = ZoneInfo("Europe/Rome")


def a_town(**arrays):
    """A city of 24 steps on 3 x 4 cells with the arrays given."""
    return make_city(np.ones((24, 3, 4)), name="town", start="2024-01-01", step_minutes=60, **arrays)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"schema_version": 2}, "schema_version 2, this FoMo reads 1"),
        ({"cell_km": -1.0}, "cell_km -1.0"),
        ({"cell_km": float("nan")}, "cell_km nan"),
        ({"cell_km": "1 km"}, "cell_km '1 km'"),
        ({"cell_km": None}, "cell_km None"),
        ({"cell_km": True}, "cell_km True"),
        ({"time_zone": "Europe/Rom"}, "time_zone 'Europe/Rom' of 'mock' is unknown: write one like Europe/Rome"),
        ({"time_zone": "/etc/localtime"}, "time_zone '/etc/localtime' of 'mock' is unknown"),
        ({"time_zone": "Europe"}, "time_zone 'Europe' of 'mock' is unknown"),
        ({"time_zone": None}, "time_zone None of 'mock' is unknown"),
        ({"calendar": "holiday"}, "city 'mock' has calendar 'holiday': it is 'date' or 'weekday'"),
        ({"layout": "mesh"}, "city 'mock' has layout 'mesh': it is 'grid' or 'list'"),
        ({"days_off": ["2024-01-01", "09.05.2024"]}, r"days_off of 'mock' holds '09\.05\.2024': write dates like 2026"),
        ({"days_off": None}, "days_off of 'mock' holds 'None': write dates like 2026"),
        ({"days_worked": "Monday"}, "days_worked of 'mock' holds 'Monday': write dates like 2026"),
        ({"step_minutes": "60"}, "step_minutes of 'mock' is '60': write a whole number"),
        ({"step_minutes": 7.5}, r"step_minutes of 'mock' is 7\.5: write a whole number"),
        ({"step_minutes": None}, "step_minutes of 'mock' is None: write a whole number"),
    ],
)
def test_an_attribute_out_of_its_range_is_refused(changed, message):
    with pytest.raises(CityError, match=message):
        validate(mock_city().assign_attrs(changed))


@pytest.mark.parametrize("value", [24, 24.0, np.int64(24), np.float32(24)])
def test_a_whole_number_may_come_as_any_kind_of_number(value):
    found = whole_number(value, "horizon")
    assert found == 24 and type(found) is int


@pytest.mark.parametrize("value", [24.5, float("nan"), float("inf"), "24", None, True, np.True_, [24], 24j])
def test_what_is_no_whole_number_is_named(value):
    with pytest.raises(CityError, match=re.escape(f"horizon is {value!r}: write a whole number, like 24")):
        whole_number(value, "horizon")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"step_minutes": 15.5}, r"step_minutes of 'town' is 15\.5: write a whole number"),  # it was cut to 15
        ({"step_minutes": "60"}, "step_minutes of 'town' is '60'"),
        ({"step_minutes": None}, "step_minutes of 'town' is None"),
        ({"cell_km": None}, "city 'town' has cell_km None: it is the edge of a cell"),
        ({"cell_km": "1"}, "city 'town' has cell_km '1'"),
    ],
)
def test_numbers_of_the_wrong_kind_make_no_city(changed, message):
    given = {"name": "town", "start": "2024-01-01", "step_minutes": 60} | changed
    with pytest.raises(CityError, match=message):
        inspect.unwrap(make_city)(np.ones((24, 3, 4)), **given)


@pytest.mark.parametrize("what", ["steps", "height", "width", "step_minutes", "seed"])
def test_a_mock_city_of_no_number_is_refused(what):
    with pytest.raises(CityError, match=re.escape(f"{what} of mock_city() is '4': write a whole number")):
        inspect.unwrap(mock_city)(**{what: "4"})
    with pytest.raises(CityError, match="give one of each at least"):
        mock_city(steps=-4)


def test_a_step_may_be_written_with_a_point():
    city = make_city(np.ones((4, 1, 1)), name="town", start="2024-01-01", step_minutes=15.0)
    assert type(city.attrs["step_minutes"]) is int and city.attrs["step_minutes"] == 15


@pytest.mark.parametrize(
    ("when", "reaches"),
    [
        ({"start": "0024-02-01"}, "0024-02-01"),
        ({"start": np.datetime64("1677-12-31T23:00", "s")}, "1677-12-31"),
        ({"start": "2261-12-31T01:00"}, "2262-01-01T00:00"),
        ({"time": np.datetime64("2024-01-01") - np.arange(24, 0, -1) * np.timedelta64(2000 * 365, "D")}, "-"),
        ({"time": np.array([f"0024-02-01T{hour:02}:00" for hour in range(24)])}, "0024-02-01T00:00"),
        ({"time": np.array([datetime(24, 2, 1, hour) for hour in range(24)])}, "0024-02-01T00:00"),
    ],
)
def test_a_time_that_nanoseconds_do_not_hold_is_refused(when, reaches):
    """The year 24 came round to 1777, an even axis of another weekday and minute."""
    with pytest.raises(CityError, match=f"time of 'town' reaches {reaches}.*: write years with four digits"):
        make_city(np.ones((24, 3, 4)), name="town", step_minutes=60, **({"start": ""} | when))


def test_a_start_that_is_no_time_is_refused_with_a_remedy():
    with pytest.raises(CityError, match=r"a time of 'town' cannot be read .*01\.01\.2024.*: write it like 2024-01-31T"):
        make_city(np.ones((24, 3, 4)), name="town", start="01.01.2024", step_minutes=60)


def test_times_may_be_given_as_text_dates_or_times_of_python():
    times = [datetime(2024, 1, 31, 23), datetime(2024, 2, 1)]
    as_text = [time.isoformat() for time in times]
    for given in (times, as_text, np.array(times, "datetime64[us]")):
        city = make_city(np.ones((2, 3, 4)), name="town", start="", step_minutes=60, time=np.asarray(given))
        np.testing.assert_array_equal(city.time.values, np.array(as_text, "datetime64[ns]"))


@pytest.mark.parametrize("listed", [False, True])
def test_what_is_masked_is_missing_and_not_the_number_under_the_mask(listed):
    masked = np.ma.masked_equal(np.arange(24.0 * 12).reshape(24, 3, 4), 7)
    city = a_town(users=list(masked) if listed else masked, poi=masked[:2].astype(int), residents=masked[0])
    for variable, shape in (("users", (24, 3, 4)), ("poi", (2, 3, 4)), ("residents", (3, 4))):
        missing = np.argwhere(np.isnan(city[variable].values))
        np.testing.assert_array_equal(missing, np.argwhere(np.arange(np.prod(shape)).reshape(shape) == 7))
    traffic = make_city(masked, name="town", start="2024-01-01", step_minutes=60).traffic
    np.testing.assert_array_equal(traffic, city.users)
    traffic = np.ma.array(np.ones((24, 3, 4)), mask=np.zeros((24, 3, 4), bool))
    traffic[:, 1, 2] = np.ma.masked
    covered = np.ma.array(np.ones((3, 4), bool), mask=np.isnan(traffic.filled(np.nan)[0]))
    city = make_city(traffic, name="town", start="2024-01-01", step_minutes=60, covered=covered)
    assert not city.covered.values[1, 2] and city.covered.values.sum() == 11


def test_what_is_masked_in_lists_of_lists_is_missing_too():
    """It came back as the number under the mask, 999."""
    row = np.ma.masked_equal([1.0, 999.0, 3.0, 4.0], 999)
    city = a_town(users=[[row, row, [5.0] * 4]] * 24)
    missing = np.isnan(city.users.values)
    assert missing[:, :2, 1].all() and missing.sum() == 48


@pytest.mark.parametrize("nothing", [np.nan, None, np.ma.masked])
def test_what_is_not_known_to_be_covered_is_not(nothing):
    covered = [[1, nothing, 1, 0]] * 3
    city = make_city(np.full((24, 3, 4), np.nan), name="town", start="2024-01-01", step_minutes=60, covered=covered)
    np.testing.assert_array_equal(city.covered, [[True, False, True, False]] * 3)


def test_arrays_with_names_of_their_axes_are_turned_by_name():
    """They were taken as they lay: days became rows, and the city was upside down in time and space."""
    traffic, poi = np.random.default_rng(0).random((24, 3, 4)), np.ones((2, 3, 4))
    plain = a_town(users=traffic, poi=poi, residents=traffic[0], lon=traffic[1], lat=traffic[2])
    named = {"users": traffic, "residents": traffic[0], "lon": traffic[1], "lat": traffic[2]}
    named = {key: xr.DataArray(value, dims=("time", "y", "x")[-value.ndim :]).T for key, value in named.items()}
    assert plain.identical(a_town(poi=xr.DataArray(poi.T, dims=("x", "y", "category")), **named))
    np.testing.assert_array_equal(a_town(users=xr.DataArray(traffic)).users, plain.users)  # dim_0 says nothing


def test_axes_of_other_names_are_refused():
    with pytest.raises(
        CityError, match=r"users of 'town' has the axes \(time, lat, lon\); it needs \(time, y, x\): re"
    ):
        a_town(users=xr.DataArray(np.ones((24, 3, 4)), dims=("time", "lat", "lon")))
    with pytest.raises(CityError, match=r"residents of 'town' has the axes \(y\); it needs \(y, x\)"):
        a_town(residents=xr.DataArray(np.ones(3), dims="y"))


@pytest.mark.parametrize(
    ("users", "message"),
    [
        (np.full((24, 3, 4), "1"), r"does not hold numbers \(text\): parse it to float32"),
        (np.full((24, 3, 4), "1").astype(object), r"does not hold numbers \(text\)"),
        (np.full((24, 3, 4), {}), "does not hold numbers"),
        (np.full((24, 3, 4), 1j), r"does not hold numbers \(complex128\)"),
        (np.full((24, 3, 4), np.timedelta64(1, "h")), "does not hold numbers"),
        ([[[1.0, 2.0]], [[1.0]]], "is no array .*: give all its rows one length"),
        ([np.ma.ones((3, 4)), np.ma.ones((3, 3))], "is no array .*: give all its rows one length"),
    ],
)
def test_amounts_that_are_no_numbers_are_refused(users, message):
    with pytest.raises(CityError, match=f"users of 'town' {message}"):
        a_town(users=users)


def test_amounts_may_be_lists_whole_numbers_and_none():
    city = a_town(users=[[[1, None, 3, 4]] * 3] * 24, residents=[[1, 2, 3, 4]] * 3)
    np.testing.assert_array_equal(city.users[0, 0], [1, np.nan, 3, 4])
    assert city.users.dtype == city.residents.dtype == np.float32


def with_zone(times) -> dict:
    """The same moments of Rome, in every form that tells the zone."""
    rome = [moment.replace(tzinfo=ROME) for moment in times]
    series = polars.Series(times).dt.replace_time_zone("Europe/Rome")
    index = xr.DataArray(np.array(times, "datetime64[us]"), dims="time").to_index().tz_localize("Europe/Rome")
    return {
        "list": rome,
        "UTC": [moment.astimezone(UTC) for moment in rome],
        "text": [moment.isoformat() for moment in rome],
        "Z": [f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}Z" for moment in rome],
        "array": np.array(rome, object),
        "index": index,
        "pandas": index.to_series(),
        "xarray": xr.DataArray(index, dims="time"),
        "polars": series,
    }


@pytest.mark.parametrize("form", with_zone([datetime(2024, 1, 1)]))
def test_times_with_a_zone_are_brought_to_the_clock_of_the_city(form):
    """They were turned to UTC without a word: the evening peak of Rome lay an hour or two early."""
    times = [datetime(2024, 7, 31, 22) + timedelta(hours=hour) for hour in range(4)]
    given = with_zone(times)[form]
    made = {"traffic": np.ones((4, 1, 1)), "name": "town", "start": "", "step_minutes": 60, "time": given}
    np.testing.assert_array_equal(make_city(**made, time_zone="Europe/Rome").time, np.array(times, "datetime64[ns]"))
    helsinki = make_city(**made, time_zone="Europe/Helsinki").time
    np.testing.assert_array_equal(helsinki, np.array(times, "datetime64[ns]") + np.timedelta64(1, "h"))
    with pytest.raises(CityError, match=r"'town' has a zone or an offset, as in 2024-07-31.*give time_zone=, like"):
        make_city(**made)
    with pytest.raises(CityError, match="time_zone 'Europe/Rom' of 'town' is unknown: write one like Europe/Rome"):
        make_city(**made, time_zone="Europe/Rom")


@pytest.mark.parametrize(
    "start",
    [
        "2024-05-06T00:00+02:00",
        "2024-05-05T22:00Z",
        "2024-05-06 00:00:00+0200",
        datetime.fromisoformat("2024-05-06T00+02"),
    ],
)
def test_so_is_a_start_with_an_offset(start):
    with pytest.raises(CityError, match=r"'town' has a zone or an offset, as in 2024-05-0.*give time_zone="):
        make_city(np.ones((2, 1, 1)), name="town", start=start, step_minutes=60)
    city = make_city(np.ones((2, 1, 1)), name="town", start=start, step_minutes=60, time_zone="Europe/Rome")
    assert city.time.values[0] == np.datetime64("2024-05-06T00:00")


def test_times_of_which_some_have_an_offset_are_refused():
    time = ["2024-05-06T00:00+02:00", "2024-05-06T01:00"]
    with pytest.raises(CityError, match=r"an offset in 2024-05-06T00:00\+02:00, and none in 2024-05-06T01:00: "):
        make_city(np.ones((2, 1, 1)), name="town", start="", step_minutes=60, time=time, time_zone="Europe/Rome")


@pytest.mark.parametrize("kind", [int, float, "timedelta64[h]"])
def test_numbers_are_no_times(kind):
    with pytest.raises(CityError, match=r"time of 'town' holds .*, no dates: parse it to datetime64"):
        a_town(time=(3600 * np.arange(24)).astype(kind))


def test_there_is_one_time_for_each_step():
    time = np.datetime64("2024-01-01T00", "h") + np.arange(23)
    with pytest.raises(CityError, match=r"time of 'town' has the shape \(23,\), but the traffic has 24 steps"):
        a_town(time=time)


@pytest.mark.parametrize("axis", ["y", "x"])
@pytest.mark.parametrize(
    "centres", [[4.0, 3, 2, 1], [1.0, 2, 2, 3], [0.0, 1, np.nan, 3], [0, 1, 2, np.inf], list("abcd")]
)
def test_rows_go_to_the_north_and_columns_to_the_east(axis, centres):
    """A city whose first row is the north was taken, and its maps were upside down."""
    with pytest.raises(CityError, match=rf"{axis} of 'mock' does not grow to .*, city\.sortby\('{axis}'"):
        validate(mock_city().assign_coords({axis: centres}))
    turned = mock_city().isel({axis: slice(None, None, -1)})
    assert validate(turned.sortby(axis)).identical(mock_city())


@pytest.mark.parametrize("axis", ["time", "y", "x"])
def test_an_axis_that_was_chosen_away_is_asked_back(axis):
    with pytest.raises(CityError, match=rf"traffic of 'mock' lacks the axis '{axis}'.*, city\.isel\({axis}=\[0\]\)"):
        validate(mock_city().isel({axis: 0}))
    assert validate(mock_city().isel({axis: [0]}))


def test_of_the_hour_that_clocks_show_twice_one_is_kept():
    """The message said to sum them, which makes a peak of two hours; docs/beware.md said to keep one."""
    doubled = mock_city().isel(time=[0, 1, 2, 2, 3])
    with pytest.raises(CityError, match=r"'mock' repeats: 2024-01-01T02:00 .*: keep one of those"):
        validate(doubled)
    assert validate(doubled.drop_duplicates("time")).sizes["time"] == 4


@pytest.mark.parametrize(
    ("name", "family"), [("uomo_shandong/03", "uomo_shandong"), ("town", "town"), ("a/b/c", "a"), ("town/1", "town")]
)
def test_the_family_is_what_stands_before_the_slash_of_the_name(name, family):
    made = {"name": name, "start": "2024-01-01", "step_minutes": 60}
    assert make_city(np.ones((2, 1, 1)), **made).attrs["family"] == family
    assert make_city(np.ones((2, 1, 1)), **made, family="other").attrs["family"] == "other"


def test_times_are_on_whole_minutes():
    with pytest.raises(CityError, match=r"time of 'town' is 2024-01-01T00:00:30\.000, which is no whole minute"):
        make_city(np.ones((2, 1, 1)), name="town", start="2024-01-01T00:00:30", step_minutes=60)


def test_covered_is_true_or_false_and_true_where_traffic_is_recorded():
    city = mock_city()
    with pytest.raises(CityError, match="covered of 'mock' is int64"):
        validate(city.assign(covered=city.covered.astype(np.int64)))
    covered = city.covered.copy()
    covered[1, 2] = False
    with pytest.raises(CityError, match="False at y=1, x=2 where traffic is recorded; 1 such"):
        validate(city.assign(covered=covered))
    assert validate(city.assign(covered=covered, traffic=city.traffic.where(covered)))


@pytest.mark.parametrize(
    ("variable", "shape", "message"),
    [
        ("users", (24, 4, 3), "a grid of 4 x 3 cells, but the traffic has 3 x 4: bring users to the grid"),
        ("users", (23, 3, 4), "23 steps, but the traffic has 24: cut users to the steps of the traffic"),
        ("users", (3, 4), "it needs the axes (time, y, x): reshape it"),
        ("poi", (2, 6, 8), "a grid of 6 x 8 cells, but the traffic has 3 x 4: bring poi to the grid"),
        ("poi", (3, 4), "it needs the axes (category, y, x): reshape it"),
        ("residents", (3, 5), "a grid of 3 x 5 cells, but the traffic has 3 x 4: bring residents to the grid"),
        ("residents", (1, 3, 4), "it needs the axes (y, x): reshape it"),
        ("covered", (4, 3), "a grid of 4 x 3 cells, but the traffic has 3 x 4: bring covered to the grid"),
    ],
)
def test_what_lies_beside_the_traffic_is_on_its_grid_and_its_steps(variable, shape, message):
    with pytest.raises(CityError, match=re.escape(f"{variable} of 'town' has the shape {shape}") + "[,;] ") as caught:
        a_town(**{variable: np.ones(shape)})
    assert message in str(caught.value)


def test_positions_are_of_the_grid_of_the_traffic():
    with pytest.raises(CityError, match=r"lat of 'town' has the shape \(4, 3\), a grid of 4 x 3 cells"):
        a_town(lon=np.ones((3, 4)), lat=np.ones((4, 3)))


@pytest.mark.parametrize("value", [-1.0, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("variable", "shape", "where"),
    [
        ("users", (24, 3, 4), "time=2, y=1, x=3 (2024-01-01T02:00)"),
        ("poi", (3, 3, 4), "category=2, y=1, x=3"),
        ("residents", (3, 4), "y=1, x=3"),
    ],
)
def test_an_amount_that_is_negative_or_infinite_is_refused_at_its_place(variable, shape, where, value):
    array = np.ones(shape)
    array[(2, 1, 3)[-len(shape) :]] = value
    message = f"{variable} of 'town' is {value} at {where}; 1 such values: amounts are finite and not negative"
    with pytest.raises(CityError, match=re.escape(message)):
        a_town(**{variable: array})


def test_what_is_not_known_beside_the_traffic_is_nan():
    city = a_town(users=np.full((24, 3, 4), np.nan), poi=np.full((2, 3, 4), np.nan), residents=np.full((3, 4), np.nan))
    assert list(city.category.values) == ["unnamed 0", "unnamed 1"]


def test_each_layer_of_poi_has_one_name_of_its_own():
    poi = np.ones((3, 3, 4))
    with pytest.raises(CityError, match="poi of 'town' has 3 layers but 2 names: give one name a layer"):
        a_town(poi=poi, poi_names=["shop", "bank"])
    with pytest.raises(CityError, match="poi_names of 'town' name 2 layers but there is no poi: pass poi= as well"):
        a_town(poi_names=["shop", "bank"])
    message = "poi of 'town' has two layers called 'shop', category=0 and category=2: sum them or give each a name"
    with pytest.raises(CityError, match=message):
        a_town(poi=poi, poi_names=["shop", "bank", "shop"])
    with pytest.raises(CityError, match=r"poi of 'town' has 3 layers without names: assign_coords\(category="):
        validate(a_town(poi=poi).drop_vars("category"))


def test_a_city_may_be_without_any_recorded_traffic():
    nothing = np.full((24, 3, 4), np.nan)
    city = make_city(nothing, name="new", start="2024-01-01", step_minutes=60, covered=np.ones((3, 4), bool))
    assert city.covered.values.all()


def test_saving_replaces_a_city_but_never_something_else(tmp_path):
    first, second = mock_city(seed=1), mock_city(seed=2)
    path = save_city(first, tmp_path / "a.zarr")
    assert open_city(save_city(second, path)).identical(second)
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "mine.txt").write_text("keep")
    for place in (foreign, foreign / "mine.txt"):
        with pytest.raises(CityError, match="exists and is no city: name another path or remove it"):
            save_city(first, place)
    assert (foreign / "mine.txt").read_text() == "keep"
    assert sorted(part.name for part in tmp_path.iterdir()) == ["a.zarr", "photos"]
