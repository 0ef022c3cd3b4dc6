from __future__ import annotations

import polars
import pytest

from fomo.ingest.ledger import IngestError, Ledger


def test_rejected_rows_are_counted_and_written_out_where_that_is_wanted(tmp_path):
    frame = polars.DataFrame({"cell": ["a", "b"], "traffic": [1.0, None]})
    plain = Ledger()
    plain.reject_frame("too early", "f.csv", frame)
    assert plain.rejected == {"too early": 2} and plain.first == {"too early": "f.csv: a;1.0"}
    path = tmp_path / "deep/rejected.csv"
    with Ledger(path) as ledger:
        ledger.reject_frame("too early", "f.csv", frame)
        ledger.reject("no time", "f.csv, line 7", ['x,"y"'])
    with Ledger(path) as again:  # a run that goes on adds to it
        again.reject("no time", "g.csv", ["z"])
    found = polars.read_csv(path)
    assert found["row"].to_list() == ["a;1.0", "b;", 'x,"y"', "z"]
    assert found.columns == ["reason", "where", "row"] and ledger.rejected == {"too early": 2, "no time": 1}


@pytest.mark.parametrize("text", ["time,cell,traffic\n2024-01-01,a,3\n", "reason", "\x00", "x" * 1000])
def test_rejected_rows_are_added_to_no_other_file(tmp_path, text):
    """`--rejects counters.csv` once added them to the operator's counters."""
    path = tmp_path / "counters.csv"
    path.write_text(text)
    with pytest.raises(IngestError, match="holds no rejected rows, which would be added to it: name another file"):
        Ledger(path).__enter__()
    assert path.read_text() == text


def test_nothing_is_noted_of_no_rows():
    ledger = Ledger()
    ledger.reject("why", "f", [])
    ledger.reject_frame("why", "f", polars.DataFrame({"cell": []}))
    ledger.note("what", 0, "f")
    assert not ledger.rejected and not ledger.noted and not ledger.first


def test_one_ledger_counts_in_another():
    one, other = Ledger(taken=3), Ledger(taken=4)
    one.reject("why", "f", ["x"])
    other.reject("why", "g", ["y", "z"])
    other.note("what", 5, "g")
    one.absorb(other)
    assert one.taken == 7 and one.rejected == {"why": 3} and one.noted == {"what": 5}
    assert one.first == {"why": "f: x", "what": "g"}
