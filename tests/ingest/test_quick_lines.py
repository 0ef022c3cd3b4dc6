"""A block of text that is parsed at once gives what reading it line by line gives: the same cube, the same ledger."""

from __future__ import annotations

import random

import numpy as np
import polars
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fomo.ingest.cube import Cube
from fomo.ingest.formats import lines as module
from fomo.ingest.formats.lines import Lines
from fomo.ingest.formats.table import read_table_counts
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping

CELLS = ("a", "b", "Köln", "c d")
MISSING = (
    {},
    {"missing": ["-1", "9999", "x"]},  # neither empty nor NaN are among them, and are nothing all the same
    {"decimal": ","},
)

cells = st.sampled_from([*CELLS, "", " a", "\ufeffa", "stranger", "a\x00", "a\\", "#a", "'a'"])
times = st.sampled_from(
    [f"2024-03-0{day} {hour:02}:{quarter:02}:00" for day in (1, 2) for hour in (0, 7, 23) for quarter in (0, 15)]
    + ["", "never", "2024-03-01 24:00:00", "1970-01-01 00:00:00", " 2024-03-01 03:00:00", "2024-03-01 00:07:00"]
)
numbers = st.one_of(
    st.integers(0, 10**12).map(str),
    st.floats(0, 1e12).map(repr),
    st.sampled_from(
        ["", "0", "1", "-1", "9999", "9999.0", "1e3", "nan", "NaN", "-nan", "inf", "1e999", "NIL", "x", "1.5 ", "1,5"]
    ),
    st.text("0123456789.,eE+-_ ", max_size=6),
)
fields = st.tuples(cells, times, numbers, numbers).map(list)
# Mostly rows that are right, so that blocks of nothing else come up.
good = st.tuples(st.sampled_from(CELLS), times.filter(lambda text: text[-3:] == ":00"), st.integers(0, 99).map(str),
                 st.integers(0, 99).map(str)).map(list)  # fmt: skip
lengths = st.one_of(
    good, good, fields, fields, fields.map(lambda row: row[:3]), fields.map(lambda row: [*row, ""]),
    fields.map(lambda row: [*row, "more"]), st.just([]), st.just([""]), st.just(["", "", "", ""]),
)  # fmt: skip
ends = st.sampled_from(["\n", "\n", "\n", "\r\n", "\r\r\n", "\n\n", " \n", "\r", '"\n'])


@st.composite
def tables(draw):
    """Bytes of a table: rows, then perhaps damage."""
    separator = draw(st.sampled_from(",;\t|"))
    rows = draw(st.lists(st.one_of(good, lengths) if draw(st.booleans()) else good, min_size=1, max_size=12))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    usual = draw(st.booleans())
    text = "".join(separator.join(row) + (end if usual else draw(ends)) for row in rows)
    text = separator.join(["cell", "time", "bytes", "users"]) + end + text
    if draw(st.booleans()):
        text = text.removesuffix("\n")
    content = bytearray(text.encode(draw(st.sampled_from(["utf-8", "utf-8", "latin-1"])), errors="replace"))
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(22, len(content)))
        content[at : at + draw(st.integers(0, 2))] = draw(
            st.sampled_from([b"", b'"', b"\r", b"\n", b"\xff", b",", b"\0"])
        )
    return bytes(content)


def told(path, given, size, rejects, quick):
    """Days, ledger, file of rejected rows and error of a table."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", size)
        parsed_at_once = [0]
        real = Lines._quick

        def counted(self, *arguments):
            found = real(self, *arguments) if quick else None
            parsed_at_once[0] += found is not None
            return found

        patch.setattr(Lines, "_quick", counted)
        rejects.unlink(missing_ok=True)
        fault = ""
        with Ledger(rejects) as ledger:
            cube = Cube(CELLS, 15, "Europe/Rome", ledger)
            try:
                for counts in read_table_counts(path, given, ledger):
                    cube.add(counts, path.name)
            except IngestError as error:
                fault = str(error)
        days = {
            str(date): (day.traffic.tobytes(), day.users.tobytes(), day.state.tobytes())
            for date, day in cube.days.items()
        }
        written = rejects.read_text(encoding="utf-8")
        return (
            days, ledger.taken, ledger.rejected, ledger.noted, ledger.first, cube.unknown, written, fault,
        ), parsed_at_once[0]  # fmt: skip


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(tables(), st.sampled_from(MISSING), st.sampled_from([60, 200, 1 << 20]))
@example(b"cell,time,bytes,users\na,2024-03-01 00:00:00,54607683,1\nb,never,54607683,2\n", {}, 1 << 20)
@example(b"cell,time,bytes,users\na,2024-03-01 00:00:00,1,2\nb,2024-03-01 00:00:00,1,2,", {}, 1 << 20)
@example(b"cell,time,bytes,users\na,2024-03-01 00:00:00,1\nb,2024-03-01 00:00:00,1,2,3\n", {}, 1 << 20)
def test_at_once_and_line_by_line_are_the_same(tmp_path_factory, content, numbers, size):
    folder = tmp_path_factory.getbasetemp()
    path = folder / "counters.csv"
    path.write_bytes(content)
    given = Mapping.model_validate({
        "traffic": {"counters": {"bytes": 1e-6}}, "users": {"counters": {"users": 1.0}}, "time": {"minutes": 15},
        "numbers": numbers,
    })  # fmt: skip
    quick, slow = (told(path, given, size, folder / "rejected.csv", way)[0] for way in (True, False))
    assert quick == slow


def clean(rows, last="7"):
    return "cell,time,bytes,users\n" + "".join(
        f"{'ab'[row % 2]},2024-03-01 {row // 8 % 24:02}:{row // 2 % 4 * 15:02}:00,{row},{last}\n" for row in range(rows)
    )


GIVEN = Mapping.model_validate({
    "traffic": {"counters": {"bytes": 1.0}}, "users": {"counters": {"users": 1.0}}, "time": {"minutes": 15},
})  # fmt: skip


@pytest.mark.parametrize("last", ["7", ""])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_is_clean_is_parsed_at_once_also_with_empty_fields_at_the_end(tmp_path, last, end):
    path = tmp_path / "counters.csv"
    path.write_bytes(clean(192, last).replace("\n", end).encode())
    (_, taken, rejected, *_), at_once = told(path, GIVEN, 1000, tmp_path / "rejected.csv", quick=True)
    assert taken == 192 and not rejected and at_once > 5


def test_one_bad_line_costs_its_own_block_alone(tmp_path):
    path = tmp_path / "counters.csv"
    path.write_text(clean(192).replace(",100,7", ",100"), encoding="utf-8")
    (_, taken, rejected, *_), at_once = told(path, GIVEN, 1000, tmp_path / "rejected.csv", quick=True)
    assert taken == 191 and rejected == {"not 4 fields": 1} and at_once > 3


def test_a_rejected_row_is_written_as_it_stands_in_the_file(tmp_path):
    path = tmp_path / "counters.csv"
    path.write_text("cell,time,bytes,users\nb,2024-03-01 00:00:00,1,2\na,never,222984166,0.10\n", encoding="utf-8")
    told(path, GIVEN, 1000, tmp_path / "rejected.csv", quick=True)
    assert "a;never;222984166;0.10" in (tmp_path / "rejected.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("threads_see", [50_000])
def test_large_damaged_blocks_are_never_taken_for_whole(threads_see):
    """The engine splits large blocks among its threads: what one of them meets is met all the same."""
    chance = random.Random(0)
    rows = [f"a,2024-03-01 00:00:00,{row},7" for row in range(threads_see)]
    lines = object.__new__(Lines)
    lines.names, lines.separator = ("cell", "time", "bytes", "users"), ","
    for wrong in (
        "a,2024-03-01 00:00:00,1",
        "a,2024-03-01 00:00:00,1,2,",
        "a,2024-03-01 00:00:00,1,2,3",
        "",
        "a",
        ",,,,",
    ):
        for at in [0, len(rows) - 1, *(chance.randrange(len(rows)) for _ in range(3))]:
            block = "\n".join([*rows[:at], wrong, *rows[at + 1 :]]).encode()
            assert lines._quick(block, len(rows), ("bytes", "users")) is None, (wrong, at)
    block = "\n".join(rows).encode()
    found = lines._quick(block, len(rows), ("bytes", "users"))
    assert found is not None and found.to_series(2).sum() == np.arange(len(rows)).sum()
    assert found.dtypes == [polars.String, polars.String, polars.Float64, polars.Float64]
