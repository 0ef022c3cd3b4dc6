"""What readers of measurement files make of values: nulls, sums, vectors, merges, rejects."""

from __future__ import annotations

from datetime import datetime

import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_measurements import GRANULARITY, SAME, TABLE, accounted, amounts, indexed, mapping_of, measured, read

from fomo.ingest.formats import long
from fomo.ingest.formats.long import MERGED, SUSPECT, TWICE, UNUSED, VECTOR
from fomo.ingest.formats.pm_xml import read_pm_xml
from fomo.ingest.ledger import Ledger


@pytest.mark.parametrize("text", ["", " ", "NIL", "null", "NaN", "\n", "/0"])
def test_missing_values_are_null_and_never_zero(written, text):
    rows, ledger = read(read_pm_xml, written(measured(indexed({"a": {"vol": text, "conn": "0"}}))))
    assert amounts(rows) == {"ME=1,a": (None, 0.0)}
    assert not ledger.rejected


def test_a_vector_is_no_number_unless_its_element_is_named(written):
    path = written(measured(indexed({"a": {"vol": "1,2,3"}, "b": {"vol": " , ,5"}, "c": {"vol": "9"}})))
    rows, ledger = read(read_pm_xml, path)
    assert amounts(rows) == {"ME=1,a": (None, None), "ME=1,b": (None, None), "ME=1,c": (9.0, None)}
    assert ledger.noted[VECTOR] == 2
    rows, ledger = read(read_pm_xml, path, mapping_of("vol[2]", "vol[0]"))
    assert amounts(rows) == {"ME=1,a": (3.0, 1.0), "ME=1,b": (5.0, None), "ME=1,c": (None, 9.0)}
    assert not ledger.noted


def test_sums_factors_and_quotients(written):
    table = {
        "a": {"x": "2", "y": "3", "s": "10", "n": "4"},
        "b": {"x": "2", "y": "", "s": "10", "n": "0"},
        "c": {"x": "2", "s": "0", "n": "5"},
    }
    mapping = mapping_of(
        traffic={"counters": {"x": 10.0, "y": 0.5}}, users={"counters": {"s": 1.0}, "over": {"n": 2.0}}
    )
    rows, _ = read(read_pm_xml, written(measured(indexed(table))), mapping)
    # A sum of which a part is missing is not the rest of it; 10 / 0 is no number of users.
    assert amounts(rows) == {"ME=1,a": (21.5, 1.25), "ME=1,b": (None, None), "ME=1,c": (None, 0.0)}


@pytest.mark.parametrize("text", ["abc", "0x10", "1_000", "1e", "--1"])
def test_what_is_neither_missing_nor_a_number_is_rejected_with_its_text(written, tmp_path, text):
    with Ledger(tmp_path / "rejected.csv") as ledger:
        rows, _ = read(read_pm_xml, written(measured(indexed({**TABLE, "bad": {"vol": text}}))), ledger=ledger)
    assert amounts(rows) == SAME
    assert ledger.rejected == {"not a number": 1}
    assert text in (tmp_path / "rejected.csv").read_text()


@pytest.mark.parametrize("text", ["-1", "inf", "1e999", "-inf"])
def test_negative_and_infinite_amounts_are_rejected(written, text):
    rows, ledger = read(read_pm_xml, written(measured(indexed({**TABLE, "bad": {"vol": text}}))))
    assert amounts(rows) == SAME
    assert ledger.rejected == {"negative or infinite": 1}


def test_factors_that_overflow_or_turn_the_sign_are_rejected_too(written):
    path = written(
        measured(indexed({"a": {"x": "1e300", "y": "1"}, "b": {"x": "1", "y": "3"}, "c": {"x": "3", "y": "1"}}))
    )
    mapping = mapping_of(users="", traffic={"counters": {"x": 1e10, "y": -2e10}})
    rows, ledger = read(read_pm_xml, path, mapping)
    assert amounts(rows) == {"ME=1,c": (1e10, None)}
    assert ledger.rejected == {"negative or infinite": 2}


def test_counters_of_a_cell_in_several_groups_are_one_row(written):
    body = (
        indexed({"a": {"vol": "1"}, "b": {"vol": "2"}})
        + indexed({"a": {"other": "5"}})
        + indexed({"b": {"conn": "4"}, "c": {"conn": "6"}})
    )
    rows, ledger = read(read_pm_xml, written(measured(body)))
    assert amounts(rows) == {"ME=1,a": (1.0, None), "ME=1,b": (2.0, 4.0), "ME=1,c": (None, 6.0)}
    assert ledger.noted == {MERGED: 1, UNUSED: 1}


def test_periods_of_a_cell_stay_apart(written):
    later = GRANULARITY.replace("10:15", "10:30")
    hour = GRANULARITY.replace("PT900S", "PT1H").replace("10:15", "11:00")
    body = "".join(indexed({"a": {"vol": str(n)}}, period) for n, period in enumerate((GRANULARITY, later, hour)))
    rows, _ = read(read_pm_xml, written(measured(body)))
    assert rows.select("begin", "minutes", "traffic").rows() == [
        (datetime(2024, 3, 5, 10, 0), 15, 0.0),
        (datetime(2024, 3, 5, 10, 15), 15, 1.0),
        (datetime(2024, 3, 5, 10, 0), 60, 2.0),
    ]


def test_a_counter_given_twice_and_differently_is_suspect_and_the_first_holds(written):
    body = indexed({"a": {"vol": "1"}, "b": {"vol": "2"}}) + indexed({"a": {"vol": "9"}, "b": {"vol": "2.0"}})
    rows, ledger = read(read_pm_xml, written(measured(body)))
    assert amounts(rows) == {"ME=1,a": (1.0, None), "ME=1,b": (2.0, None)}
    assert rows["suspect"].to_list() == [True, False]
    assert ledger.noted == {MERGED: 2, TWICE: 1, SUSPECT: 1}


def test_suspect_objects_are_marked(written):
    text = measured(indexed()).replace('<r p="1">100</r>', '<r p="1">100</r><suspect> TRUE </suspect>', 1)
    text = text.replace('<r p="1">0</r>', '<r p="1">0</r><suspect>false</suspect>')
    rows, ledger = read(read_pm_xml, written(text))
    assert rows["suspect"].to_list() == [True, False, False]
    assert amounts(rows) == SAME and ledger.noted == {SUSPECT: 1}


def test_the_pattern_names_cells_and_what_it_does_not_match_is_rejected(written):
    body = indexed({"CU=1,NRCellCU=5": {"conn": "3"}, "Board=1": {"vol": "8"}}) + indexed(
        {"DU=1,NRCellDU=5": {"vol": "4"}}
    )
    mapping = mapping_of(cell={"pattern": r"NRCell(?:CU|DU)=(\d+)(?!\d)"})
    rows, ledger = read(read_pm_xml, written(measured(body)), mapping)
    assert amounts(rows) == {"5": (4.0, 3.0)}
    assert ledger.rejected == {"no match of cell.pattern": 1}
    assert "ME=1,Board=1" in ledger.first["no match of cell.pattern"]


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_the_buffer_is_emptied_between_elements_and_nothing_is_lost(written, monkeypatch, size):
    monkeypatch.setattr(long, "BUFFER", size)
    body = "".join(
        f'<measData><managedElement localDn="ME={n}"/>{indexed({"a": {"vol": str(n)}})}'
        f"{indexed({'a': {'conn': '5'}})}{indexed({'a': {'vol': str(n)}})}</measData>"
        for n in range(20)
    )
    text = f"<measCollecFile>{body}</measCollecFile>"
    ledger = Ledger()
    frames = list(read_pm_xml(written(text), mapping_of(), ledger))
    assert ledger.taken + ledger.noted[MERGED] == 60
    # Groups of an element are merged unless a few of them fill the buffer twice.
    assert ledger.taken == (40 if size == 1 else 20)
    assert max(frame.height for frame in frames) <= min(size + 1, 20)
    rows = polars.concat(frames).unique(["cell", "traffic"], keep="first")
    assert sorted(rows["traffic"].to_list()) == list(range(20))


def written_to(path, content):
    path.write_bytes(content)
    return path


TEXTS = st.sampled_from(["1", "0", "2.5", "NIL", "", "7,8", "abc", "-3", "1e400", " 4 "])


@given(
    st.lists(
        st.dictionaries(st.sampled_from("abcd"), st.dictionaries(st.sampled_from(["vol", "conn", "z"]), TEXTS)),
        max_size=5,
    )
)
def test_any_table_is_read_as_a_loop_over_it_says(tmp_path_factory, tables):
    path = written_to(tmp_path_factory.mktemp("any") / "pm.xml", measured("".join(map(indexed, tables))).encode())
    rows, ledger = read(read_pm_xml, path)
    values: dict[str, dict[str, float]] = {}
    seen: dict[str, set[str]] = {}
    bad = unused = objects = 0
    for table in tables:
        wanted = {name for counters in table.values() for name in counters} & {"vol", "conn"}
        for cell, counters in table.items():
            objects += 1
            texts = {name: text.strip() for name, text in counters.items() if name != "z"}
            if not wanted:
                unused += 1
            elif {"abc", "-3", "1e400"} & set(texts.values()):
                bad += 1
            else:
                known = values.setdefault(f"ME=1,{cell}", {})
                seen.setdefault(f"ME=1,{cell}", set())
                for name, text in texts.items():
                    if text not in ("NIL", "", "7,8"):
                        known.setdefault(name, float(text))
    assert amounts(rows) == {cell: (known.get("vol"), known.get("conn")) for cell, known in values.items()}
    assert ledger.rejected.total() == bad and ledger.noted[UNUSED] == unused
    assert accounted(ledger) == objects
