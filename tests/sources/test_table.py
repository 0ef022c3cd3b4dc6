from __future__ import annotations

import inspect
import re
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays

from fomo.city import CityError
from fomo.sources import read_cities, read_table

START = datetime(2024, 3, 1, 22)


def rows(**changed) -> polars.DataFrame:
    """Two cells, three hours; `changed` replaces columns."""
    table = {
        "cell": ["a", "b"] * 3,
        "time": [START + timedelta(hours=hour) for hour in (0, 0, 1, 1, 2, 2)],
        "traffic": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        "row": [0, 1] * 3,
        "col": [0, 2] * 3,
    }
    return polars.DataFrame({**table, **changed})


@pytest.fixture
def write(tmp_path):
    def write(frame: polars.DataFrame, name: str = "counters.csv") -> Path:
        path = tmp_path / name
        frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
        return path

    return write


@pytest.mark.parametrize("name", ["counters.csv", "counters.parquet"])
def test_a_table_with_its_own_positions_is_read_and_recognised(write, name):
    path = write(rows(), name)
    city = read_table(path, cell_km=0.5, unit="GB per period")
    assert city.traffic.shape == (3, 2, 3)
    np.testing.assert_array_equal(city.traffic[:, 0, 0], [1, 3, 5])
    np.testing.assert_array_equal(city.traffic[:, 1, 2], [2, 4, 6])
    assert city.covered.values.sum() == 2
    assert (city.attrs["step_minutes"], city.attrs["cell_km"]) == (60, 0.5)
    assert read_cities(path)[0].traffic.identical(read_table(path).traffic)


def test_rows_in_any_order_make_the_same_city(write):
    straight = read_table(write(rows()))
    shuffled = read_table(write(rows().sample(fraction=1, shuffle=True, seed=3)))
    assert straight.traffic.identical(shuffled.traffic)


def test_absent_periods_and_empty_fields_are_missing_and_zero_is_zero(write):
    frame = rows(traffic=[0.0, 2.0, None, 4.0, 5.0, 6.0]).filter(polars.int_range(6) != 3)
    city = read_table(write(frame))
    np.testing.assert_array_equal(city.traffic[:, 0, 0], [0, np.nan, 5])
    np.testing.assert_array_equal(city.traffic[:, 1, 2], [2, np.nan, 6])


def test_cells_at_one_position_are_summed_and_the_sum_is_missing_where_one_of_them_is(write):
    frame = rows(row=[0] * 6, col=[0] * 6, traffic=[1.0, 2.0, None, 4.0, None, None])
    np.testing.assert_array_equal(read_table(write(frame)).traffic[:, 0, 0], [3, np.nan, np.nan])
    never = rows(row=[0] * 6, col=[0] * 6, traffic=[1.0, None, 2.0, None, 0.0, None])
    np.testing.assert_array_equal(read_table(write(never)).traffic[:, 0, 0], [1, 2, 0])


def test_a_sum_is_kept_without_a_cell_that_carries_next_to_nothing_of_it(write):
    for little, expected in ((0.5, 100.0), (2.0, np.nan)):
        frame = rows(row=[0] * 6, col=[0] * 6, traffic=[100.0, little, 100.0, None, 100.0, little])
        np.testing.assert_allclose(read_table(write(frame)).traffic[:, 0, 0], [100 + little, expected, 100 + little])


def test_semicolons_between_columns_are_named(tmp_path):
    path = tmp_path / "counters.csv"
    path.write_text("cell;time;traffic\na;2024-01-01T00:00;1,5\n")
    with pytest.raises(CityError, match="are separated by ';'"):
        read_table(path)


def test_a_time_zone_that_there_is_not_is_named(write):
    with pytest.raises(CityError, match="time_zone 'Europe/Nowhere' is unknown"):
        read_table(write(rows()), time_zone="Europe/Nowhere")


def test_positions_in_a_second_table_and_other_column_names(write):
    amounts = rows().drop("row", "col").rename({"cell": "ecgi", "traffic": "dl_bytes"})
    amounts = amounts.with_columns(conns=polars.Series([1.0] * 6))
    places = polars.DataFrame({"cell": ["b", "a", "silent"], "row": [1, 0, 2], "col": [0, 0, 0]})
    city = read_table(
        write(amounts),
        write(places, "sites.csv"),
        columns={"cell": "ecgi", "traffic": "dl_bytes", "users": "conns"},
        name="mine",
    )
    np.testing.assert_array_equal(city.traffic[:, :2, 0], [[1, 2], [3, 4], [5, 6]])
    np.testing.assert_array_equal(city.covered.values[:, 0], [True, True, False])
    assert float(city.users.sum()) == 6
    assert city.attrs["name"] == "mine"


def test_longitudes_and_latitudes_are_snapped_to_a_grid(write):
    frame = (
        rows()
        .drop("row", "col")
        .with_columns(lon=polars.Series([24.90, 24.95] * 3), lat=polars.Series([60.17, 60.20] * 3))
    )
    city = read_table(write(frame), cell_km=1.0)
    assert city.traffic.shape == (3, 4, 3)  # 3.3 km to the north, 2.8 km to the east
    np.testing.assert_array_equal(city.traffic[:, 0, 0], [1, 3, 5])
    np.testing.assert_array_equal(city.traffic[:, 3, 2], [2, 4, 6])
    assert abs(float(city.lat[3, 2]) - 60.20) < 0.009
    assert abs(float(city.lon[3, 2]) - 24.95) < 0.018
    with pytest.raises(CityError, match="pass cell_km="):
        read_cities(write(frame))


@pytest.mark.parametrize("wrong", ["1", -1.0, float("nan"), float("inf"), [1.0], True])
@pytest.mark.parametrize("by", ["row", "lon"])
def test_an_edge_that_is_no_length_is_named(write, by, wrong):
    """'1' ended in a TypeError: '>' not supported between instances of 'str' and 'int'."""
    frame = rows() if by == "row" else rows().rename({"row": "lat", "col": "lon"})
    with pytest.raises(CityError, match=re.escape(f"cell_km {wrong!r}: it is the edge of a cell in kilometres")):
        inspect.unwrap(read_table)(write(frame), cell_km=wrong)


def test_columns_that_are_no_mapping_are_refused(write):
    with pytest.raises(CityError, match="columns= is 'traffic=dl_bytes': give a mapping of names"):
        inspect.unwrap(read_table)(write(rows()), columns="traffic=dl_bytes")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cell": ["a", "b", "a", "b", "a", "a"]}, "2 rows of cell 'a' at 2024-03-02T00:00: keep one of them, as of"),
        ({"traffic": [1.0, -2.0, 3, 4, 5, 6]}, "traffic of cell 'b' at 2024-03-01T22:00 .* is -2"),
        ({"traffic": ["1", "n/a", "3", "4", "5", "6"]}, "'traffic' .* is 'n/a' in line 3"),
        ({"row": [0, -1] * 3}, "cell 'b' .* outside the grid at row -1"),
        ({"row": [0.0, 0.5] * 3}, "cell 'b' .* outside the grid at row 0.5"),
        (
            {"cell": list("abc") * 2, "row": [0, 0, 99_999] * 2, "col": [0, 1, 99_999] * 2},
            "cell 'c' lies outside",
        ),
        ({"cell": list("abc") * 2, "row": [0, 0, 3_000] * 2, "col": [0, 1, 3_000] * 2}, "cell 'c' lies outside"),
        (
            {"time": [datetime(1991, 3, 1, 22), *[START + timedelta(hours=hour) for hour in (0, 1, 1, 2, 2)]]},
            "run from 1991-03-01T22:00 to 2024-03-02T00:00, .*: a date is misread",
        ),
        ({"row": [0, 1, 0, 1, 0, 7]}, "cell 'b' has two positions"),
        ({"row": [0, None] * 3}, "cell 'b' has no position"),
        ({"time": ["noon"] * 6}, "begins with 'noon': write local wall-clock"),
        ({"time": ["2024-01-01T00:00"] * 5 + ["later"]}, "'time' .* is 'later' in line 7"),
        ({"time": ["2024-01-01T00:00"] * 5 + [None]}, "'time' .* is empty in line 7"),
        ({"time": [1, 2, 3, 4, 5, 6]}, "write local wall-clock"),
    ],
)
def test_what_is_wrong_is_named(write, changed, message):
    name = "numbers.parquet" if changed.get("time", [""])[0] == 1 else "counters.csv"
    with pytest.raises(CityError, match=f"(?s){message}"):
        read_table(write(rows(**changed), name))


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["01.02.24 00:00", "01.02.24 01:00"], "'01.02.24 00:00' in line 2"),
        (["24-01-31 23:45", "24-01-31 23:50"], "'24-01-31 23:45' in line 2"),
        (["31-01-24 23:45", "01-02-24 00:00"], "'31-01-24 23:45' in line 2"),
        (["2024-01-31 23:00", "24-02-01 00:00"], "'24-02-01 00:00' in line 3"),
        (["2024-01-31 23:00", "1970-01-01 00:00"], "'1970-01-01 00:00' in line 3"),
        (["2024-01-31 23:00", "2124-02-01 00:00"], "'2124-02-01 00:00' in line 3"),
    ],
)
def test_a_year_of_two_digits_and_other_times_of_no_counter_are_named(tmp_path, times, message):
    """The year 24 was taken, and came round to 1777 in nanoseconds, of another weekday and minute."""
    path = tmp_path / "counters.csv"
    path.write_text("cell,time,traffic,row,col\n" + "".join(f"a,{time},1,0,0\n" for time in times))
    with pytest.raises(CityError, match=f"column 'time' of .* is {message}: .*years with four digits"):
        read_table(path)


@pytest.mark.parametrize("kind", [polars.Time, polars.Duration("us")])
def test_a_time_without_a_date_is_refused(write, kind):
    frame = rows(time=[datetime(1970, 1, 1, hour) for hour in (0, 0, 1, 1, 2, 2)])
    time = frame["time"].dt.time() if kind == polars.Time else frame["time"].cast(polars.Int64).cast(kind)
    with pytest.raises(CityError, match=r"column 'time' of .* is (Time|Duration.*): write local wall-clock"):
        read_table(write(frame.with_columns(time=time), "counters.parquet"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"users": "traffic"}, "'traffic' .* both traffic and users"),
        ({"cell": "row"}, "'row' .* both cell and row"),
        ({"row": "col"}, "'col' .* both row and col"),
    ],
)
def test_one_column_is_not_two(write, columns, message):
    with pytest.raises(CityError, match=f"column {message}: name another one"):
        read_table(write(rows()), columns=columns)


def test_a_cell_at_longitude_and_latitude_zero_beside_a_city_is_named(write):
    frame = rows(cell=list("abc") * 2, time=[START] * 3 + [START + timedelta(hours=1)] * 3).drop("row", "col")
    frame = frame.with_columns(lon=polars.Series([24.90, 24.95, 0] * 2), lat=polars.Series([60.17, 60.20, 0] * 2))
    with pytest.raises(CityError, match="cell 'c' lies outside of any city"):
        read_table(write(frame), cell_km=1.0)


def test_one_misread_date_beside_many_is_named(write):
    times = [datetime(1991, 1, 1), *[START + timedelta(hours=hour) for hour in range(1_000)]]
    frame = polars.DataFrame({"cell": "a", "time": times, "traffic": 1.0, "row": 0, "col": 0})
    with pytest.raises(CityError, match="none between 1991-01-01T00:00 and 2024-03-01T22:00"):
        read_table(write(frame))
    paused = frame[1:].filter(~polars.col("time").is_between(datetime(2024, 3, 3), datetime(2024, 4, 10)))
    assert read_table(write(paused)).sizes["time"] == 1_000


def test_times_with_a_zone_become_the_local_wall_clock(write):
    path = write(rows().with_columns(polars.col("time").dt.replace_time_zone("UTC")), "counters.parquet")
    assert read_table(path, time_zone="Europe/Helsinki").time.values[0] == np.datetime64("2024-03-02T00:00")
    with pytest.raises(CityError, match="times are in UTC: pass the city's time zone"):
        read_table(path)
    with pytest.raises(CityError, match="time_zone 'Mars/Olympus' is unknown"):
        read_table(path, time_zone="Mars/Olympus")


@pytest.mark.parametrize("ending", ["Z", "+00:00", "+0000"])
@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"])
def test_text_with_an_offset_becomes_the_local_wall_clock(write, form, ending):
    """It was refused with a time zone, too, though it says which instant it is of."""
    path = write(rows().with_columns(polars.col("time").dt.strftime(form) + ending))
    assert read_table(path, time_zone="Europe/Helsinki").time.values[0] == np.datetime64("2024-03-02T00:00")
    with pytest.raises(CityError, match=r"times have an offset, as in '2024-.*: pass .* \(--time-zone\)"):
        read_table(path)


def test_a_table_that_is_not_utf8_is_called_that_and_not_damaged(tmp_path):
    path = tmp_path / "latin.csv"
    path.write_bytes("cell,time,traffic,row,col\nKöln,2024-01-01T00:00,1,0,0\n".encode("latin-1"))
    with pytest.raises(CityError, match=r"latin\.csv is not in UTF-8, perhaps in Latin-1: write it anew in UTF-8"):
        read_table(path)


def test_uneven_times_are_refused_and_name_the_place(write):
    times = [START + timedelta(minutes=minute) for minute in (0, 0, 60, 60, 150, 150)]
    with pytest.raises(CityError, match="uneven: 2024-03-01T23:00:00 is followed by 2024-03-02T00:30:00"):
        read_table(write(rows(time=times)))
    assert read_table(write(rows(time=times)), step_minutes=30).sizes["time"] == 6


def test_hourly_cells_among_those_of_quarters_are_named(write):
    """Their amounts were taken as those of a quarter, and three quarters of each hour as missing."""
    times = [START + timedelta(minutes=15 * number) for number in range(96)]
    kept = [(cell, time) for time in times for cell in "abc" if cell != "c" or not time.minute]
    cells, when = zip(*kept, strict=True)
    table = {"cell": cells, "time": when, "traffic": [1.0] * len(kept), "row": [0] * len(kept), "col": [0] * len(kept)}
    with pytest.raises(CityError, match=r"1 of 3 cells .* 60 minutes apart \(c\), those of others 15: sum the others"):
        read_table(write(polars.DataFrame(table)))


@pytest.mark.parametrize("hours", [3, 24])
@pytest.mark.parametrize("step", [15, 30])
def test_a_table_of_hours_is_no_table_of_shorter_periods(write, hours, step):
    """Each hour's amount was taken as that of its first half, and the other half as missing."""
    times = [START + timedelta(hours=hour) for hour in range(hours) for _ in "ab"]
    table = {"cell": ["a", "b"] * hours, "time": times, "traffic": 1.0, "row": 0, "col": [0, 1] * hours}
    path = write(polars.DataFrame(table))
    with pytest.raises(CityError, match=f"are 60 minutes apart, and step_minutes says {step}: leave that out"):
        read_table(path, step_minutes=step)
    assert read_table(path, step_minutes=60).sizes["time"] == hours


def test_times_of_few_rows_say_nothing_of_the_step(write):
    assert read_table(write(rows()[:4]), step_minutes=30).sizes["time"] == 3


def test_a_cell_without_a_position_is_named(write):
    places = write(polars.DataFrame({"cell": ["a"], "row": [0], "col": [0]}), "sites.csv")
    with pytest.raises(CityError, match=r"cell 'b' of .* has no position in .*sites.csv"):
        read_table(write(rows().drop("row", "col")), places)


def test_columns_that_are_absent_or_misspelt_are_named(write):
    with pytest.raises(CityError, match="does not say where the cells lie"):
        read_table(write(rows().drop("row")))
    with pytest.raises(CityError, match=r"lacks the columns \['volume'\]"):
        read_table(write(rows()), columns={"traffic": "volume"})
    with pytest.raises(CityError, match="'trafic'"):
        read_table(write(rows()), columns={"trafic": "traffic"})
    with pytest.raises(CityError, match="has no rows"):
        read_table(write(rows()[:0]))
    with pytest.raises(CityError, match="pass step_minutes="):
        read_table(write(rows()[:2]))
    with pytest.raises(CityError, match="there is no file"):
        read_table("absent.csv")


@settings(max_examples=25, deadline=None)
@given(
    traffic=arrays(
        np.float32,
        some.tuples(some.integers(2, 6), some.integers(1, 4), some.integers(1, 4)),
        elements=some.floats(0, 1e6, width=32) | some.just(float("nan")),
    ),
    step=some.sampled_from([5, 15, 60, 1440]),
    suffix=some.sampled_from(["csv", "parquet"]),
    order=some.randoms(use_true_random=False),
)
def test_any_traffic_survives_the_way_to_a_table_and_back(traffic, step, suffix, order):
    time, row, col = np.indices(traffic.shape).reshape(3, -1)
    table = polars.DataFrame(
        {
            "cell": [f"{r}-{c}" for r, c in zip(row, col, strict=True)],
            "time": [START + timedelta(minutes=int(t) * step) for t in time],
            "traffic": traffic.astype(np.float64).ravel(),
            "row": row,
            "col": col,
        }
    )
    places = list(range(len(table)))
    order.shuffle(places)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"table.{suffix}"
        (table[places].write_csv if suffix == "csv" else table[places].write_parquet)(path)
        city = read_table(path, step_minutes=step)
    np.testing.assert_array_equal(city.traffic, traffic)
    assert city.time.values[0] == np.datetime64(START)
