from __future__ import annotations

import gzip
from datetime import datetime

import numpy as np
import polars
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fomo.ingest.counts import COUNTS
from fomo.ingest.formats import lines as module
from fomo.ingest.formats.table import read_table_counts, table_counter_names
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping, guess_mapping

PLAIN = Mapping.model_validate({"traffic": {"unit": "MB", "counters": {"bytes": 1e-6}}})
HUAWEI = (
    "Result Time,Granularity Period,Object Name,Reliability,L.Thrp.bits.DL,L.Traffic.User.Avg\n"
    ",Minutes,,,bit,None\n"
    '2024-03-01 10:00,60,"S1/Cell:eNodeB Function Name=S1, Local Cell ID=6, Cell Name=S1-6, eNodeB ID=7",'
    "Reliable,8000000000,12.5\n"
    '2024-03-01 11:00,60,"S1/Cell:eNodeB Function Name=S1, Local Cell ID=6, Cell Name=S1-6, eNodeB ID=7",'
    "Unreliable,NIL,/0\n"
)


def read(path, mapping=PLAIN, ledger=None):
    parts = list(read_table_counts(path, mapping, ledger or Ledger()))
    return polars.concat(parts)


@pytest.fixture
def write(tmp_path):
    def _write(text, name="counters.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def test_a_plain_table_becomes_counts(write):
    found = read(write("cell,time,bytes\na,2024-03-01 00:00,3000000\na,2024-03-01 00:15,\nb,2024-03-01 00:15,0\n"))
    assert dict(found.schema) == COUNTS
    assert found["traffic"].to_list() == [3.0, None, 0.0]  # empty is not recorded, 0 is
    assert found["minutes"].to_list() == [15] * 3 and found["begin"][0] == datetime(2024, 3, 1)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_other_separators_and_a_byte_order_mark(tmp_path, separator):
    path = tmp_path / "counters.tsv"
    lines = ["cell,time,bytes", "a,01.03.2024 00:00,1e6", "a,01.03.2024 01:00,2e6"]
    path.write_text("\n".join(lines).replace(",", separator), encoding="utf-8-sig")
    assert read(path)["traffic"].to_list() == [1.0, 2.0]


def test_huaweis_export_with_units_names_in_quotes_and_unreliable_rows(write):
    path = write(HUAWEI)
    assert table_counter_names(path) == [
        "Granularity Period", "Reliability", "L.Thrp.bits.DL", "L.Traffic.User.Avg",
    ]  # fmt: skip
    base = Mapping.model_validate({"cell": {"pattern": "Cell Name=([^,]+)"}})
    ledger = Ledger()
    found = read(path, guess_mapping(table_counter_names(path), base).mapping, ledger)
    assert found["cell"].to_list() == ["S1-6", "S1-6"] and found["minutes"].to_list() == [60, 60]
    assert found["traffic"].to_list() == [1.0, None] and found["users"].to_list() == [12.5, None]  # GB
    assert found["suspect"].to_list() == [False, True] and ledger.noted["suspect rows"] == 1


def test_quotients_and_sums_of_counters(write):
    text = "cell,time,ul,dl,sum,samples\na,2024-03-01 00:00,1,2,30,3\na,2024-03-01 00:15,1,,30,0\n"
    mapping = Mapping.model_validate(
        {
            "traffic": {"counters": {"ul": 1.0, "dl": 10.0}},
            "users": {"counters": {"sum": 1.0}, "over": {"samples": 1.0}},
        }
    )
    found = read(write(text), mapping)
    assert found["traffic"].to_list() == [21.0, None] and found["users"].to_list() == [10.0, None]


def test_ends_of_periods_and_times_with_an_offset(write):
    text = "cell,time,bytes\na,2024-03-01T00:15:00+0200,1\na,2024-03-01T00:30:00+0200,1\n"
    with pytest.raises(IngestError, match=r"whose wall clock .* \[time\] zone"):
        read(write(text))
    zone = {"time": {"zone": "Europe/Rome", "marks": "end"}}
    found = read(write(text), PLAIN.model_copy(update={"time": Mapping.model_validate(zone).time}))
    assert found["begin"].to_list() == [datetime(2024, 2, 29, 23, 0), datetime(2024, 2, 29, 23, 15)]


def test_decimal_commas_are_named_or_read(write):
    path = write("cell;time;bytes\na;2024-03-01 00:00;1.000.000,5\nb;2024-03-01 00:15;2,5\n")
    with pytest.raises(IngestError, match=r"decimal comma.*\[numbers\] decimal"):
        read(path)
    comma = Mapping.model_validate({**PLAIN.model_dump(), "numbers": {"decimal": ","}})
    assert read(path, comma)["traffic"].to_list() == pytest.approx([1.0000005, 2.5e-6])


def test_commas_between_thousands_are_not_taken_for_decimal_ones(write):
    """The advice was a decimal comma, with which every number was a thousandth of itself."""
    rows = [f"c;2024-03-01 0{number}:00;{number * 400:,}" for number in range(9)]  # some are below a thousand
    with pytest.raises(IngestError, match=r"commas between thousands \(bytes is '1,200'\): write the file without"):
        read(write("\n".join(["cell;time;bytes", *rows])))
    few = [*(f"c,2024-03-01 0{number}:00,7" for number in range(9)), 'c,2024-03-01 09:00,"1,234,567.5"']
    with pytest.raises(IngestError, match="commas between thousands"):
        read(write("\n".join(["cell,time,bytes", *few])))


@pytest.mark.parametrize("texts", [["0,125", "1,250"], ["1,25", "2,125"], ["1,500", "12345"]])
def test_commas_that_cannot_be_between_thousands_are_decimal_ones(write, texts):
    rows = [f"c{number};2024-03-01 00:0{number};{text}" for number, text in enumerate([texts[0], *texts])]
    with pytest.raises(IngestError, match=r"decimal comma.*\[numbers\] decimal"):
        read(write("\n".join(["cell;time;bytes", *rows])))


def test_every_row_that_is_not_taken_is_counted_and_can_be_written_out(write, tmp_path):
    lines = [
        "cell,time,bytes", "a,2024-03-01 00:00,1", ",2024-03-01 00:15,2", "b,yesterday,3", "c,2024-03-01 00:15,many",
        "d,2024-03-01 00:15,-1", "e,2024-03-01 00:15", "f,2024-03-01 00:15,1,2", "g,2024-03-01 00:15,inf",
        "h,2024-03-01 00:15,5",
    ]  # fmt: skip
    with Ledger(tmp_path / "rejected.csv") as ledger:
        found = read(write("\n".join(lines)), ledger=ledger)
    assert found["cell"].to_list() == ["a", "h"] and ledger.taken == 2
    assert ledger.rejected == {
        "no cell's name": 1, "no time that can be read": 1, "not a number": 1, "negative or infinite": 2,
        "not 3 fields": 2,
    }  # fmt: skip
    out = polars.read_csv(tmp_path / "rejected.csv")
    assert out.height == 7 and "e,2024-03-01 00:15" in out["row"].to_list()
    assert "counters.csv, line 4" in ledger.first["no time that can be read"]


def test_blocks_and_batches_give_what_the_whole_gives(write, monkeypatch):
    text = "cell,time,bytes\n" + "".join(f"c{i % 7},2024-03-01 {i // 7 % 24:02}:00,{i}\n" for i in range(160))
    whole = read(write(text))
    monkeypatch.setattr(module, "BLOCK", 400)
    assert read(write(text)).equals(whole)


def test_parquet_gz_and_csv_say_the_same(write, tmp_path):
    text = "cell,time,bytes,users\n" + "".join(
        f"c{i % 3},2024-03-0{1 + i // 24} {i % 24:02}:00,{i},\n" for i in range(72)
    )
    path = write(text)
    (tmp_path / "counters.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    frame = polars.read_csv(path).with_columns(polars.col("time").str.to_datetime("%Y-%m-%d %H:%M"))
    frame.write_parquet(tmp_path / "counters.parquet")
    plain, packed, columns = (
        read(tmp_path / f"counters.{ending}").sort("cell", "begin") for ending in ("csv", "csv.gz", "parquet")
    )
    assert plain.equals(packed) and plain.equals(columns)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("cell,when,bytes\na,b,c\n", "no column of the time"),
        ("cell,time,volume\na,2024-03-01 00:00,1\na,2024-03-01 00:15,1\n", "has no column 'bytes'"),
        ("cell,time,bytes\na,first of March,1\n", r"\[time\] format"),
        ("cell,time,bytes\na,2024-03-01 00:00,1\n", r"\[time\] minutes"),
        ("cell,time,bytes,bytes\na,2024-03-01 00:00,1,1\n", "two columns 'bytes'"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(write, text, says):
    with pytest.raises(IngestError, match=says):
        read(write(text))


def test_damaged_parquet_names_the_file(tmp_path):
    path = tmp_path / "counters.parquet"
    polars.DataFrame({"cell": ["a"] * 1000, "time": ["2024-03-01 00:00"] * 1000, "bytes": range(1000)}).write_parquet(
        path
    )
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(IngestError, match=r"counters\.parquet is damaged"):
        read(path)


VALID = ("cell,time,bytes\n" + "".join(f"c{i % 4},2024-03-01 {i // 4:02}:15,{i * 1000}\n" for i in range(60))).encode()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), min_size=1, max_size=12))
def test_no_damage_of_a_csv_crashes_or_loses_a_row(tmp_path, changes):
    """Bytes are changed anywhere: what is read and what is rejected are all lines, or an error says what is wrong."""
    damaged = bytearray(VALID)
    for at, byte in changes:
        damaged[at] = byte
    path = tmp_path / "counters.csv"
    path.write_bytes(damaged)
    ledger = Ledger()
    try:
        found = sum(part.height for part in read_table_counts(path, PLAIN, ledger))
    except IngestError as error:
        assert "counters.csv" in str(error)
        return
    text = bytes(damaged).decode("utf-8", errors="replace")
    lines = [line for line in text.split("\n", 1)[1].splitlines() if line.strip()]
    assert found == ledger.taken
    assert ledger.taken + sum(ledger.rejected.values()) >= len([line for line in lines]) - len(changes)
    assert np.isfinite(found)
