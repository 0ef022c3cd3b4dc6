"""Tables of unusual but legal content, and what is wrong with others said in words."""

from __future__ import annotations

import gzip
from datetime import date, datetime, timedelta

import numpy as np
import polars
import pytest

from fomo.ingest.formats import lines as lines_module
from fomo.ingest.formats.overview import overview
from fomo.ingest.formats.table import read_table_counts
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping, load_mapping, mapping_text


def mapping(**sections):
    return Mapping.model_validate({"traffic": {"counters": {"bytes": 1.0}}, **sections})


def read(path, given=None, ledger=None):
    return polars.concat(list(read_table_counts(path, given or mapping(), ledger if ledger is not None else Ledger())))


@pytest.fixture
def write(tmp_path):
    def _write(text, name="counters.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return _write


FIFTEEN = mapping(time={"minutes": 15})
ROWS = "cell,time,bytes\na,2024-03-01 00:00,1\nb,2024-03-01 00:15,2\n"


@pytest.mark.parametrize(
    "text",
    [
        ROWS,
        ROWS.replace("\n", "\r\n"),
        ROWS.removesuffix("\n"),
        "\n\r\n" + ROWS,
        ROWS.replace("\na", "\n\na") + "\n\n",
        "sep=;\n" + ROWS.replace(",", ";"),
        '"sep=,"\r\n' + ROWS,
        ROWS.replace("\n", ",,\n"),
        ROWS.replace("1\n", "1,,\n").replace("2\n", "2,,\n"),
        ROWS.replace("bytes\n", "bytes,\n"),
        ROWS.replace(",", ", "),
        ROWS.replace("\n", " \n"),
        ROWS.replace("bytes", '"bytes"'),
        ROWS.replace("00:15", "24:15").replace("24:15", "00:15:00").replace("00:00,", "00:00:00,"),
        ROWS.replace("00:00,", "00:00:00.000,").replace("00:15,", "00:15:00.000,"),
    ],
)
def test_the_same_rows_however_they_are_written(write, text):
    ledger = Ledger()
    found = read(write(text), FIFTEEN, ledger)
    assert found["cell"].to_list() == ["a", "b"] and found["traffic"].to_list() == [1.0, 2.0]
    assert found["begin"].to_list() == [datetime(2024, 3, 1), datetime(2024, 3, 1, 0, 15)]
    assert not ledger.rejected and ledger.taken == 2


def test_a_row_with_a_line_break_in_quotes_is_one_row_whatever_the_blocks(write, monkeypatch):
    rows = "".join(f'"site\n{i}",2024-03-01 {i:02}:00,{i}\n' for i in range(24))
    path = write("cell,time,bytes\n" + rows)
    for size in (16, 100, 1 << 20):
        monkeypatch.setattr(lines_module, "BLOCK", size)
        ledger = Ledger()
        found = read(path, mapping(time={"minutes": 60}), ledger)
        assert found["cell"].to_list() == [f"site\n{i}" for i in range(24)] and not ledger.rejected


def test_letters_that_are_not_utf8_do_not_make_two_cells_one(write):
    text = "cell,time,bytes\nKöln,2024-03-01 00:00,1\nKäln,2024-03-01 00:00,2\n"
    ledger = Ledger()
    found = read(write(text.encode("latin-1")), FIFTEEN, ledger)
    assert found["cell"].to_list() == ["Köln", "Käln"] and ledger.noted[lines_module.WESTERN] == 2
    assert read(write(text), FIFTEEN)["cell"].to_list() == ["Köln", "Käln"]


def test_the_first_row_is_no_line_of_units_where_the_time_comes_later(write):
    path = write("Object Name,Result Time,bytes\nA,2024-03-01 10:00,5\nB,2024-03-01 10:00,6\n")
    assert read(path, FIFTEEN)["traffic"].to_list() == [5.0, 6.0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cell,time,bytes\na,2024-03-01 00:00,1\n".encode("utf-16-le"), "save it as UTF-8"),
        ("cell,time,bytes\ra,2024-03-01 00:00,1\r", "carriage return alone: save it"),
        ("cell,time,bytes\na,01/03/2024 00:00,1\n", "whether the day or the month comes first.*format"),
        ("cell,time,bytes\na,171010080000,1\n" + "b,99,2\n" * 3, r"no time that is known.*\[time\] format"),
    ],
)
def test_what_is_wrong_is_said_with_a_remedy(write, text, says):
    with pytest.raises(IngestError, match=says):
        read(write(text), FIFTEEN)


@pytest.mark.parametrize(
    ("first", "second", "begins"),
    [
        ("2024-03-01 24:00", "2024-03-02 01:00", [(2, 0), (2, 1)]),
        ("2024-03-01T24:00:00", "2024-03-02T01:00:00", [(2, 0), (2, 1)]),
        ("13/03/2024 00:00", "01/03/2024 05:00", [(13, 0), (1, 5)]),
        ("20240301", "20240302", [(1, 0), (2, 0)]),
        ("2024-03-01", "2024-03-02", [(1, 0), (2, 0)]),
    ],
)
def test_times_of_text(write, first, second, begins):
    found = read(write(f"cell,time,bytes\na,{first},1\na,{second},1\n"), mapping(time={"minutes": 60}))
    assert found["begin"].to_list() == [datetime(2024, 3, day, hour) for day, hour in begins]


@pytest.mark.parametrize("text", ["2024-03-10T20:00:00Z", "2024-03-10T20:00:00.000Z", "1710100800000", "1710100800"])
def test_times_of_one_instant_in_text(write, text):
    given = mapping(time={"minutes": 60, "zone": "Europe/Rome"})
    assert read(write(f"cell,time,bytes\na,{text},1\n"), given)["begin"].to_list() == [datetime(2024, 3, 10, 21)]


BEGIN = datetime(2024, 3, 10, 20)


@pytest.mark.parametrize(
    "times",
    [
        polars.Series([BEGIN]).dt.replace_time_zone("UTC"),
        polars.Series([BEGIN]).dt.cast_time_unit("ns").dt.replace_time_zone("Asia/Tokyo") + timedelta(hours=9),
        *(polars.Series([1710100800 * scale]) for scale in (1, 10**3, 10**6, 10**9)),
        polars.Series([1710100800], dtype=polars.UInt32),
        polars.Series([1710100800000.0]),
        polars.Series(["2024-03-10T20:00:00+0000"], dtype=polars.Categorical),
    ],
)
def test_instants_in_parquet(tmp_path, times):
    path = tmp_path / "a.parquet"
    polars.DataFrame({"cell": ["a"], "time": times, "bytes": [1]}).write_parquet(path)
    assert read(path, mapping(time={"minutes": 60, "zone": "Europe/Rome"}))["begin"].to_list() == [
        datetime(2024, 3, 10, 21)
    ]
    with pytest.raises(IngestError, match=r"\[time\] zone"):
        read(path, mapping(time={"minutes": 60}))


@pytest.mark.parametrize(
    ("times", "begin"),
    [
        ([202403010015], datetime(2024, 3, 1, 0, 15)),
        ([20240301001500], datetime(2024, 3, 1, 0, 15)),
        ([20240301], datetime(2024, 3, 1)),
        ([date(2024, 3, 1)], datetime(2024, 3, 1)),
        ([b"2024-03-01 00:15"], datetime(2024, 3, 1, 0, 15)),
    ],
)
def test_wall_clocks_in_parquet(tmp_path, times, begin):
    path = tmp_path / "a.parquet"
    polars.DataFrame({"cell": ["a"], "time": times, "bytes": [1]}).write_parquet(path)
    assert read(path, FIFTEEN)["begin"].to_list() == [begin]


@pytest.mark.parametrize(
    "cells",
    [
        polars.Series(["7"], dtype=polars.Categorical),
        polars.Series(["7"], dtype=polars.Enum(["7"])),
        polars.Series([7]),
        polars.Series([7], dtype=polars.UInt8),
        polars.Series([7.0]),
        polars.Series([b"7"]),
    ],
)
def test_names_of_cells_in_parquet(tmp_path, cells):
    path = tmp_path / "a.parquet"
    polars.DataFrame({"cell": cells, "time": [BEGIN], "bytes": ["1"]}).write_parquet(path)
    assert read(path, FIFTEEN)["cell"].to_list() == ["7"]
    assert overview(path, FIFTEEN, Ledger()).cells == {"7"}


def test_a_parquet_without_rows_is_no_fault(tmp_path):
    path = tmp_path / "a.parquet"
    polars.DataFrame(schema={"cell": polars.String, "time": polars.String, "bytes": polars.Int64}).write_parquet(path)
    assert sum(part.height for part in read_table_counts(path, mapping(), Ledger())) == 0
    assert overview(path, mapping(), Ledger()).times == frozenset()


def test_a_counter_that_is_no_number_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    polars.DataFrame({"cell": ["a"], "time": [BEGIN], "bytes": [[1, 2]]}).write_parquet(path)
    with pytest.raises(IngestError, match=r"a\.parquet cannot be read as the mapping has it"):
        read(path, FIFTEEN)


def test_a_number_that_stands_for_nothing_is_nothing_in_every_form(write, tmp_path):
    given = mapping(time={"minutes": 15}, numbers={"missing": ["-1", "NaN", "9999"]})
    text = "cell,time,bytes\n" + "".join(
        f"{c},2024-03-01 00:00,{v}\n" for c, v in zip("abcd", (1, -1, "9999.0", "nan"), strict=True)
    )
    path = write(text)
    assert read(path, given)["traffic"].to_list() == [1.0, None, None, None]
    assert read(write(text + '"e",2024-03-01 00:00,NAN\n'), given)["traffic"].to_list() == [1.0] + [None] * 4
    polars.DataFrame({"cell": ["a", "b"], "time": [BEGIN] * 2, "bytes": [9999, 5]}).write_parquet(
        tmp_path / "a.parquet"
    )
    assert read(tmp_path / "a.parquet", given)["traffic"].to_list() == [None, 5.0]


def test_a_decimal_point_among_commas_is_not_taken_out(write):
    given = mapping(time={"minutes": 15}, numbers={"decimal": ","})
    rows = zip("abcdef", ("1.234,5", "1.5", "1.500", "2,5", "3", "1,5E+3"), strict=True)
    ledger = Ledger()
    path = write("cell;time;bytes\n" + "".join(f"{cell};2024-03-01 00:00;{value}\n" for cell, value in rows))
    found = read(path, given, ledger)
    assert found["traffic"].to_list() == [1234.5, 1500.0, 2.5, 3.0, 1500.0]
    assert ledger.rejected == {"not a number": 1} and "line 3" in ledger.first["not a number"]


def test_lines_are_named_rightly_after_lines_that_were_left_out(write):
    text = "cell,time,bytes\na,2024-03-01 00:00\n\nb,2024-03-01 00:00,1\nc,never,1\n"
    ledger = Ledger()
    assert read(write(text), FIFTEEN, ledger).height == 1
    assert "line 2" in ledger.first["not 3 fields"] and "line 5" in ledger.first["no time that can be read"]


def test_a_block_of_nothing_but_broken_lines_does_not_end_the_file(write, monkeypatch):
    monkeypatch.setattr(lines_module, "BLOCK", 20)
    ledger = Ledger()
    found = read(write("cell,time,bytes\n" + "broken\n" * 9 + "a,2024-03-01 00:00,1\n"), FIFTEEN, ledger)
    assert found.height == 1 and ledger.rejected == {"not 3 fields": 9}


def test_a_clock_that_was_never_set_is_no_time(write):
    ledger = Ledger()
    found = read(write("cell,time,bytes\na,1970-01-01 00:00,1\na,2024-03-01 00:00,1\n"), FIFTEEN, ledger)
    assert found.height == 1 and ledger.rejected == {"a time before 1990 or after 2099": 1}


def test_a_stray_time_does_not_make_the_period_short(write):
    times = ["00:00", "00:07", "00:15", "00:30", "00:45", "01:00", "01:15"]
    found = read(write("cell,time,bytes\n" + "".join(f"a,2024-03-01 {time},1\n" for time in times)))
    assert found["minutes"].unique().to_list() == [15]


@pytest.mark.parametrize("step", [60, 5])
def test_files_of_another_granularity_are_refused_where_no_column_tells_it(write, step):
    rows = "".join(f"a,{datetime(2024, 3, 1) + timedelta(minutes=step * i):%Y-%m-%d %H:%M},1\n" for i in range(24))
    with pytest.raises(IngestError, match=f"{step} minutes apart.*mixed granularity"):
        read(write("cell,time,bytes\n" + rows), FIFTEEN)


@pytest.mark.parametrize("step", [60, 5])
def test_a_few_times_are_enough_where_all_cells_agree(write, step):
    """Six hourly times were taken as quarters: seven gaps had to be there."""
    times = [f"{datetime(2024, 3, 1) + timedelta(minutes=step * number):%Y-%m-%d %H:%M}" for number in range(3)]
    text = "cell,time,bytes\n" + "".join(f"{cell},{time},1\n" for time in times for cell in "abc")
    with pytest.raises(IngestError, match=f"{step} minutes apart.*mixed granularity"):
        read(write(text), FIFTEEN)
    assert read(write(text.replace(f"b,{times[1]},1\n", "")), FIFTEEN).height == 8  # they do not: rows may be missing
    assert read(write("cell,time,bytes\n" + f"a,{times[0]},1\na,{times[2]},1\n"), FIFTEEN).height == 2


@pytest.mark.parametrize("by_cell", [True, False])
def test_hourly_cells_among_those_of_quarters_are_named(write, by_cell):
    """The times of all cells together were looked at: an hour's amount went into a quarter, three were missing."""
    times = [datetime(2024, 3, 1) + timedelta(minutes=15 * number) for number in range(96)]
    rows = [(cell, time) for time in times for cell in "abc" if cell != "c" or not time.minute]
    rows = sorted(rows) if by_cell else rows
    text = "cell,time,bytes\n" + "".join(f"{cell},{time:%Y-%m-%d %H:%M},1\n" for cell, time in rows)
    ledger = Ledger()
    with pytest.raises(IngestError, match=r"1 of 3 cells .* 60 minutes apart \(c\), .* \[columns\] minutes"):
        read(write(text), FIFTEEN, ledger)
    assert ledger.taken == 0
    told = "cell,time,bytes,minutes\n" + "".join(
        f"{cell},{time:%Y-%m-%d %H:%M},1,{60 if cell == 'c' else 15}\n" for cell, time in rows
    )
    assert read(write(told), FIFTEEN)["minutes"].value_counts().sort("count").rows() == [(60, 24), (15, 192)]


def test_gz_of_several_members_and_what_comes_before_a_cut(write):
    rows = "".join(f"a,2024-03-{1 + i // 96:02} {i // 4 % 24:02}:{i % 4 * 15:02},{i}\n" for i in range(960))
    packed = b"".join(gzip.compress(part.encode()) for part in ("cell,time,bytes\n", rows[:7777], rows[7777:]))
    assert read(write(packed, "a.csv.gz"), FIFTEEN).height == 960
    ledger, taken = Ledger(), 0
    with pytest.raises(IngestError, match="cut off"):
        for part in read_table_counts(write(packed[:-20], "b.csv.gz"), FIFTEEN, ledger):
            taken += part.height
    assert 0 < taken <= 960 and ledger.taken == taken


def test_a_pattern_that_looks_back(write):
    path = write('cell,time,bytes\n"X=1,Cell=S1",2024-03-01 00:00,1\nelse,2024-03-01 00:00,1\n')
    ledger = Ledger()
    found = read(path, mapping(time={"minutes": 15}, cell={"pattern": r"(?<=Cell=)(\w+)"}), ledger)
    assert found["cell"].to_list() == ["S1"] and ledger.rejected == {"no cell's name": 1}


def test_an_overview_of_a_table_in_the_order_of_its_cells_or_backwards(write, monkeypatch):
    monkeypatch.setattr("fomo.ingest.formats.overview.FIRST_LINES", 400)
    times = [datetime(2024, 3, 1) + timedelta(hours=hour) for hour in range(72)]
    rows = [f"c{cell},{time:%Y-%m-%d %H:%M},1\n" for cell in range(9) for time in times]
    backwards = [f"c{cell},{time:%Y-%m-%d %H:%M},1\n" for time in reversed(times) for cell in range(9)]
    for some in (rows, backwards):
        found = overview(write("cell,time,bytes\n" + "".join(some)), mapping(), Ledger())
        assert found.cells == {f"c{cell}" for cell in range(9)} and found.minutes == 60
        assert found.times == {times[0], times[-1]}


def test_a_file_of_one_quantity_alone(write):
    both = mapping(time={"minutes": 15}, users={"counters": {"users": 1.0}})
    ledger = Ledger()
    found = read(write("cell,time,users\na,2024-03-01 00:00,3\n"), both, ledger)
    assert found["traffic"].to_list() == [None] and found["users"].to_list() == [3.0]
    assert ledger.noted == {"rows of files without the counters of the traffic": 1}


def test_a_mapping_is_written_so_that_it_can_be_read(tmp_path):
    odd = mapping(users={"counters": {'two\nlines\t"\\\x7f': 1.0}})
    (tmp_path / "mapping.toml").write_text(mapping_text(odd), encoding="utf-8")
    assert load_mapping(tmp_path / "mapping.toml") == odd


@pytest.mark.parametrize("order", [("time", "cell"), ("cell", "time"), ()])
def test_an_overview_of_parquet_misses_no_cell_and_no_time(tmp_path, order):
    random = np.random.default_rng(len(order))
    row = np.arange(4000)
    hour = np.array(["2024-03-01"], "datetime64[us]") + (row // 40) * np.timedelta64(15, "m")
    frame = polars.DataFrame({"cell": [f"c{number % 40}" for number in row], "time": hour, "bytes": 1})
    frame = frame.sort(order) if order else frame.sample(fraction=1.0, shuffle=True, seed=1)
    frame = frame.filter(polars.Series(random.random(4000) > 0.1))  # gaps move what comes after
    odd = polars.int_range(frame.height)
    frame = frame.with_columns(  # one cell and one time in a single row each; nulls
        cell=polars.when(odd == 2717).then(polars.lit("once")).when(odd % 501 == 7).then(None).otherwise("cell"),
        time=polars.when(odd == 1900).then(polars.lit(np.datetime64("2024-02-28", "us"))).otherwise("time"),
    )
    frame.write_parquet(tmp_path / "made.parquet", row_group_size=333)
    found = overview(tmp_path / "made.parquet", mapping(), Ledger())
    assert found.cells == set(frame["cell"].drop_nulls()) and "once" in found.cells
    assert found.times == {frame["time"].min(), frame["time"].max()} and found.minutes == 15


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_is_cut_within_its_last_number_is_noted(write, packed):
    """Half a number is a number, and nobody said that the line did not end."""
    text, noted = (ROWS[:-2] + "12345\n").encode(), []
    for name, content in (("whole", text), ("cut", text[:-4]), ("blank", text + b"  ")):
        ledger = Ledger()
        frame = read(write(gzip.compress(content) if packed else content, f"{name}.csv"), FIFTEEN, ledger)
        assert frame["traffic"].to_list() == [1, 12 if name == "cut" else 12345]
        noted.append((ledger.noted[lines_module.UNENDED], ledger.first.get(lines_module.UNENDED)))
    assert noted == [(0, None), (1, "cut.csv, line 3"), (0, None)]
