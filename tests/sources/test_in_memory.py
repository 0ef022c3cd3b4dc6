"""Tables in memory, of polars and of pandas, are read like the same tables in files."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas
import polars
import pytest

import fomo
from fomo.city import CityError

START = datetime(2024, 3, 1, 22)


def counters() -> polars.DataFrame:
    """Three hours of two cells, of which one has a gap."""
    hours = [START + timedelta(hours=hour) for hour in (0, 0, 1, 1, 2, 2)]
    traffic = [1.0, 2.0, None, 4.5, 0.0, 6.0]
    return polars.DataFrame({"cell": ["a", "b"] * 3, "time": hours, "traffic": traffic, "note": ["x", None] * 3})


def places() -> polars.DataFrame:
    return polars.DataFrame({"cell": ["a", "b"], "row": [0, 1], "col": [0, 2]})


def as_pandas(frame: polars.DataFrame) -> pandas.DataFrame:
    return pandas.DataFrame(frame.to_dict(as_series=False))


FORMS = {"polars": lambda frame: frame, "lazy": lambda frame: frame.lazy(), "pandas": as_pandas}


@pytest.mark.parametrize("form", FORMS)
def test_a_frame_is_read_like_the_file_of_it(tmp_path, form):
    files = tmp_path / "counters.parquet", tmp_path / "sites.parquet"
    for frame, file in zip((counters(), places()), files, strict=True):
        frame.write_parquet(file)
    of_files = fomo.read_table(*files, name="town")
    of_frames = fomo.read_table(FORMS[form](counters()), positions=FORMS[form](places()), name="town")
    kept = {"source": "a table in memory", "sha256": ""}
    assert of_frames.identical(of_files.assign_attrs(kept))
    assert fomo.read_table(FORMS[form](counters()), files[1]).attrs["name"] == "table"


@pytest.mark.parametrize(
    "changed",
    [
        {"cell": lambda frame: frame["cell"].astype("category")},
        {"cell": lambda frame: frame["cell"].astype(object)},
        {"time": lambda frame: frame["time"].astype("datetime64[s]")},
        {"time": lambda frame: frame["time"].dt.strftime("%Y-%m-%d %H:%M")},
        {"time": lambda frame: frame["time"].astype(object)},
        {"traffic": lambda frame: frame["traffic"].astype("Float64")},
        {"traffic": lambda frame: frame["traffic"].astype(object)},
        {"traffic": lambda frame: frame["traffic"].astype("float32")},
        {"note": lambda frame: [{}] * 6},
    ],
)
def test_columns_of_pandas_may_be_of_any_kind_that_says_the_same(changed):
    plain = as_pandas(counters())
    other = plain.assign(**{name: change(plain) for name, change in changed.items()})
    assert fomo.read_table(other, places()).identical(fomo.read_table(plain, places()))


def test_numbers_of_cells_are_their_names():
    both = (as_pandas(frame) for frame in (counters(), places()))
    frames = [frame.assign(cell=frame["cell"].map({"a": 1, "b": 2})) for frame in both]
    np.testing.assert_array_equal(fomo.read_table(*frames).traffic[:, 0, 0], [1, np.nan, 0])


@pytest.mark.parametrize("form", FORMS)
def test_times_of_a_zone_in_a_frame_become_the_local_wall_clock(form):
    frame = counters().with_columns(polars.col("time").dt.replace_time_zone("Europe/Rome"))
    city = fomo.read_table(FORMS[form](frame), places(), time_zone="Europe/Helsinki")
    assert city.time.values[0] == np.datetime64("2024-03-01T23:00")
    with pytest.raises(CityError, match=r"column 'time' of the table: times are in .*: pass the city's time zone"):
        fomo.read_table(FORMS[form](frame), places())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((None,), "the table is of the type NoneType: give the path of a CSV or Parquet file, or a DataFrame of"),
        ((np.ones((2, 3)),), "the table is of the type ndarray"),
        ((counters(), {"a": (0, 0)}), "the table of positions is of the type dict"),
        ((as_pandas(counters())["traffic"],), "the table is of the type Series"),
        ((counters(),), "the table does not say where the cells lie"),
        ((counters().drop("time"), places()), r"the table lacks the columns \['time'\]"),
        ((counters()[:0], places()), "the table has no rows"),
        ((counters(), places()[:1]), "cell 'b' of the table has no position in the table of positions"),
        ((as_pandas(counters()).assign(traffic="much"), places()), "column 'traffic' of the table is 'much' at row 0"),
        ((counters().with_columns(traffic=[[1.0]] * 6), places()), "column 'traffic' of the table is List.*no number"),
        ((as_pandas(counters()).assign(traffic=[{}] * 6), places()), "column 'traffic' of the table is .*no number"),
    ],
)
def test_what_is_wrong_with_a_frame_is_named(given, message):
    with pytest.raises(CityError, match=message):
        fomo.read_table(*given)


def test_two_columns_of_one_name_are_named():
    frame = as_pandas(counters()).rename(columns={"note": "traffic"})
    with pytest.raises(CityError, match="the table has two columns 'traffic': keep one, or rename one"):
        fomo.read_table(frame, places())
