"""Files in UTF-16 with a byte order mark are read as the same in UTF-8 are."""

from __future__ import annotations

import codecs
import gzip
import json

import polars
import pytest
from made_measurements import amounts, event, indexed, measured, read

from fomo.ingest.formats.forms import counter_names, form_of, read_counts
from fomo.ingest.formats.text_blocks import blocks, open_text
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping

GIVEN = Mapping.model_validate({"traffic": {"counters": {"bytes": 1.0}}, "time": {"minutes": 15}})
ROWS = "cell;time;bytes\r\n" + "".join(
    f"Köln\U0001f4f6{row};2024-03-01 {row // 4 % 24:02}:{row % 4 * 15:02};{row}\r\n" for row in range(96)
)
WAYS = [(codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")]


def table(path, ledger=None):
    return polars.concat(list(read_counts(path, GIVEN, ledger if ledger is not None else Ledger())))


@pytest.mark.parametrize(("mark", "encoding"), WAYS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_table_in_utf16_is_the_table(tmp_path, mark, encoding, pack):
    one, other = tmp_path / "utf8.csv", tmp_path / "utf16.csv"
    one.write_text(ROWS, encoding="utf-8", newline="")
    other.write_bytes(pack(mark + ROWS.encode(encoding)))
    assert form_of(other) == "table" and counter_names(other) == ["bytes"]
    ledger = Ledger()
    assert table(other, ledger).equals(table(one)) and ledger.taken == 96 and not ledger.rejected


@pytest.mark.parametrize(("mark", "encoding"), WAYS)
def test_events_and_measurements_in_utf16(tmp_path, mark, encoding):
    for name, text in (("ves", json.dumps(event())), ("3gpp", measured(indexed()).split("?>\n", 1)[1])):
        path = tmp_path / name
        path.write_bytes(mark + text.encode(encoding))
        assert form_of(path) == name
        plain = tmp_path / "plain"
        plain.write_text(text, encoding="utf-8")
        assert amounts(read(read_counts, path)[0]) == amounts(read(read_counts, plain)[0])


@pytest.mark.parametrize(("mark", "encoding"), WAYS)
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_signs_may_lie_across_the_pieces_that_are_read(tmp_path, monkeypatch, mark, encoding, size):
    monkeypatch.setattr("fomo.ingest.formats.utf16.CHUNK", size)
    path = tmp_path / "a.csv"
    path.write_bytes(mark + ROWS.encode(encoding))
    with open_text(path) as file:
        assert b"".join(blocks(file, path, 100)) == ROWS.encode()


@pytest.mark.parametrize(("mark", "encoding"), WAYS)
@pytest.mark.parametrize("damage", [b"\x00", b"\xd8\xd8\x41\x41\x41\x41"])
def test_what_comes_before_damage_is_read_and_the_damage_named(tmp_path, mark, encoding, damage):
    path = tmp_path / "a.csv"
    path.write_bytes(mark + ROWS.encode(encoding) + damage)
    ledger, taken = Ledger(), 0
    with pytest.raises(IngestError, match=r"a\.csv is no UTF-8, and no UTF-16 before byte"):
        for part in read_counts(path, GIVEN, ledger):
            taken += part.height
    assert taken == ledger.taken == 96


def test_without_a_mark_bytes_are_bytes(tmp_path):
    path = tmp_path / "a.csv"
    for content in (ROWS.encode("utf-16-le"), codecs.BOM_UTF32_LE + ROWS.encode("utf-32-le")):
        path.write_bytes(content)
        with pytest.raises(IngestError, match="UTF-16 without a byte order mark"):
            form_of(path)
