"""Telling the form of a file from its content, and the registry of readers."""

from __future__ import annotations

import gzip
import json

import polars
import pytest
from made_measurements import MDC, SAME, TABLE, amounts, event, indexed, mapping_of, measured, omes, read, result

from fomo.ingest.formats.forms import FORMS, counter_names, form_of, read_counts
from fomo.ingest.ledger import IngestError
from fomo.ingest.mapping import guess_mapping

TABLE_TEXT = "cell,time,minutes,vol,conn\nME=1;Cell=1,2024-03-05T10:00:00,15,100,7\n"


def files(tmp_path):
    contents = {
        "3gpp": [measured(indexed()), measured(indexed(), root="measDataFile"), MDC.format(zone="Z")],
        "omes": [omes(result("X", vol="1", conn="2"))],
        "ves": [json.dumps(event()), "\n [" + json.dumps(event()) + "]"],
        "table": [TABLE_TEXT, TABLE_TEXT.replace(",", "\t")],
    }
    for form, texts in contents.items():
        for number, text in enumerate(texts):
            for suffix, content in (("", text.encode()), (".gz", gzip.compress(text.encode()))):
                path = tmp_path / f"{form}{number}{suffix}"
                path.write_bytes(content)
                yield form, path
    path = tmp_path / "parquet"
    polars.DataFrame({"cell": ["a"], "vol": [1.0]}).write_parquet(path)
    yield "table", path


def test_forms_are_told_by_content_not_by_name(tmp_path):
    told = [(form, form_of(path)) for form, path in files(tmp_path)]
    assert len(told) == 17 and {form for form, _ in told} == {form.name for form in FORMS}
    assert all(form == found for form, found in told)


def test_marks_and_utf16_are_seen_through(tmp_path):
    path = tmp_path / "marked"
    text = measured(indexed()).replace('<?xml version="1.0"?>\n', "")
    for content in (text.encode("utf-8-sig"), text.encode("utf-16"), b"\n " + text.encode()):
        path.write_bytes(content)
        assert form_of(path) == "3gpp"


def test_counter_names_of_measurement_files_are_what_mappings_are_guessed_from(tmp_path):
    for form, path in files(tmp_path):
        if form != "table":
            assert counter_names(path) == ["vol", "conn"]
    path = tmp_path / "known.xml"
    path.write_text(
        measured(indexed({"a": {"pmPdcpVolDlDrb": "8000000", "pmRrcConnLevSum": "6", "pmRrcConnLevSamp": "2"}}))
    )
    mapping = guess_mapping(counter_names(path)).mapping
    assert amounts(read(read_counts, path, mapping)[0]) == {"ME=1,a": (1.0, 3.0)}


def test_the_registry_reads_every_form(tmp_path):
    for form, path in files(tmp_path):
        if form in ("3gpp", "ves"):
            assert amounts(read(read_counts, path)[0]) == SAME
        elif form == "omes":
            assert amounts(read(read_counts, path)[0]) == {"X": (1.0, 2.0)}


def test_every_line_of_the_registry_names_functions_that_are_there():
    pytest.importorskip("fomo.ingest.formats.table")
    for form in FORMS:
        assert callable(form.function(form.read)) and callable(form.function(form.names))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\t", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"\x00\x01\x02\x03", "is binary"),
        (b"<html><body>Log in</body></html>", "XML with the root 'html'.*measCollecFile"),
        (b"<kml/>", "XML with the root 'kml'"),
        (b"< no xml", "line 1"),
        (b"PK\x03\x04", "unpack it"),
        (b'<!DOCTYPE r [<!ENTITY a "b">]><measCollecFile/>', "declares the entity 'a'"),
    ],
)
def test_what_has_no_known_form_says_what_it_is(tmp_path, content, message):
    path = tmp_path / "any.xml"
    path.write_bytes(content)
    for use in (form_of, counter_names, lambda path: read(read_counts, path)):
        with pytest.raises(IngestError, match=message):
            use(path)


def test_folders_and_absent_files_say_what_to_do(tmp_path):
    with pytest.raises(IngestError, match="is a folder: name its files"):
        form_of(tmp_path)
    with pytest.raises(IngestError, match="check the path"):
        form_of(tmp_path / "absent")


@pytest.mark.real_data
def test_forms_of_the_samples(real_data):
    folder = real_data / "operator_samples"
    forms = {path.name: form_of(path) for path in folder.iterdir() if path.suffix in (".xml", ".json")}
    assert len(forms) == 11
    assert forms.pop("bodastage_nokia_OMeS_pm.xml") == "omes"
    assert forms.pop("oransc_pm_report_28550.json") == "ves"
    assert set(forms.values()) == {"3gpp"}
    with pytest.raises(IngestError, match="is binary"):
        form_of(folder / "Monaco.osm.pbf")


def test_rows_of_all_forms_are_the_same_table(tmp_path):
    tables = [read(read_counts, path, mapping_of())[0] for form, path in files(tmp_path) if form in ("3gpp", "ves")]
    assert len(tables) == 10 and polars.concat(tables).height == 10 * len(TABLE)
