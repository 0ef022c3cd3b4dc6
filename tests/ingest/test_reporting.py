"""Cells of the site list that a first look at the files does not meet, and those that no file has."""

from __future__ import annotations

import gzip
from concurrent.futures import Future

import polars
import pytest
from operator_made import START, traffic_of, write_days, write_sites

from fomo.ingest.build import BuildConfig, append_city, build_city
from fomo.ingest.cube import LEFT_OUT
from fomo.ingest.formats.forms import cells_in
from fomo.ingest.ledger import IngestError
from fomo.ingest.mapping import Mapping
from fomo.ingest.reporting import cells_that_report, each_source_first

PATTERN = Mapping.model_validate({"time": {"zone": "Europe/Rome"}, "cell": {"pattern": "EUtranCell=([^,]+)"}})
WANTED = Mapping.model_validate({**PATTERN.model_dump(), "traffic": {"counters": {"pmPdcpVolDlDrb": 1.0}}})
NODE = (
    '<measCollecFile><measData><managedElement localDn="ManagedElement=N{node}"/>'
    '<measInfo><granPeriod duration="PT900S" endTime="2024-05-06T{end}:00+02:00"/><measType p="1">{counter}</measType>'
    '<measValue measObjLdn="EUtranCell=S{node}-1"><r p="1">8000</r></measValue></measInfo></measData></measCollecFile>'
)


def here(work, *arguments):
    done: Future[object] = Future()
    done.set_result(work(*arguments))
    return done


def write_nodes(folder, nodes, ends=("00:15", "00:30")):
    """A file for each network element and quarter, as they are delivered."""
    folder.mkdir()
    for end in ends:
        for node in range(nodes):
            name = f"A20240506.0000+0200-{end.replace(':', '')}+0200_N{node:03}.xml"
            (folder / name).write_text(NODE.format(node=node, end=end, counter="pmPdcpVolDlDrb"), encoding="utf-8")


def test_a_file_for_each_element_and_quarter_loses_no_element(tmp_path, monkeypatch):
    """Twenty files of sixty elements were looked at: cells of the others were left out and all their rows dropped."""
    monkeypatch.setattr("fomo.ingest.beginning.SOURCES", 10)
    monkeypatch.setattr("fomo.ingest.beginning.EARLIEST", 10)
    write_nodes(tmp_path / "pm", 60)
    sites = [(f"S{node}-1", 9.0 + 0.02 * (node % 10), 45.4 + 0.02 * (node // 10)) for node in range(60)]
    polars.DataFrame(sites, schema=["cell", "lon", "lat"], orient="row").write_csv(tmp_path / "sites.csv")
    config = BuildConfig((tmp_path / "pm",), tmp_path / "sites.csv", tmp_path / "city.zarr", PATTERN)
    heard = []
    report = build_city(config, progress=lambda done, whole, file: heard.append(file))
    assert report["taken"] == 120 and not report["rejected"] and not report["sites"]["without_counters"]
    assert any(file.startswith("cells of ") for file in heard)


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_a_cell_that_begins_to_report_late_in_a_long_table_is_one_of_the_city(tmp_path, monkeypatch, ending):
    """Of a table in the order of its times only the first four megabytes were looked at."""
    monkeypatch.setattr("fomo.ingest.formats.overview.FIRST_LINES", 2000)
    traffic = traffic_of(3)
    paths = write_days(tmp_path / "all", traffic)
    whole = polars.concat([polars.read_csv(path) for path in paths])
    late = whole.filter((polars.col("cell") != "S2-2") | (polars.col("time") >= "2024-03-03"))
    (tmp_path / "counters").mkdir()
    path = tmp_path / f"counters/all.{ending}"
    if ending == "parquet":
        late.write_parquet(path)
    else:
        text = late.write_csv().encode()
        path.write_bytes(gzip.compress(text) if ending == "csv.gz" else text)
    report = build_city(BuildConfig((path,), write_sites(tmp_path), tmp_path / "city.zarr", cell_m=500.0))
    assert report["taken"] == late.height and not report["rejected"] and not report["sites"]["without_counters"]


@pytest.mark.parametrize("submit", [None, here])
def test_a_listed_cell_that_reports_after_the_city_was_built_is_named_as_such(tmp_path, submit):
    one, two = write_days(tmp_path / "all", traffic_of(2))
    polars.read_csv(one).filter(polars.col("cell") != "S2-2").write_csv(one)
    out = tmp_path / "city.zarr"
    report = build_city(BuildConfig((one,), write_sites(tmp_path), out, cell_m=500.0))
    assert report["sites"]["without_counters"] == ["S2-2"]
    text = two.read_text(encoding="utf-8").replace("S3-3", "X3-3")
    two.write_text(text, encoding="utf-8")
    report = append_city(out, [two], submit=submit)
    assert report["rejected"] == {LEFT_OUT: 24, "a cell that has no place in the city": 24}
    assert "build it again" in LEFT_OUT and "S2-2" in report["first"][LEFT_OUT]


def test_counters_of_a_whole_country_have_the_few_cells_of_a_list_somewhere(tmp_path):
    """The first files looked at have none of them, which was taken for names that do not match."""
    write_nodes(tmp_path / "pm", 60, ("00:15",))
    sites = [("S58-1", 9.0, 45.4), ("S59-1", 9.1, 45.4)]
    polars.DataFrame(sites, schema=["cell", "lon", "lat"], orient="row").write_csv(tmp_path / "sites.csv")
    report = build_city(BuildConfig((tmp_path / "pm",), tmp_path / "sites.csv", tmp_path / "city.zarr", PATTERN))
    assert report["taken"] == 2 and report["rejected"] == {"a cell that has no place in the city": 58}


def test_names_that_a_pattern_would_match_are_said_without_a_look_at_all_files(tmp_path, monkeypatch):
    monkeypatch.setattr("fomo.ingest.build.cells_that_report", None)
    (path,) = write_days(tmp_path / "all", traffic_of(1))
    frame = polars.read_csv(path)
    frame.with_columns(cell="Cell=" + polars.col("cell")).write_csv(path)
    with pytest.raises(IngestError, match="--cell-pattern"):
        build_city(BuildConfig((path,), write_sites(tmp_path), tmp_path / "city.zarr"))


def test_files_are_looked_at_no_longer_than_a_cell_is_sought(tmp_path, written):
    files = [written(NODE.format(node=node, end="00:15", counter="pmPdcpVolDlDrb"), f"{node}.xml") for node in range(4)]
    heard = []
    found = cells_that_report(
        ["S0-1", "S1-1"], {"S0-1"}, files, WANTED, lambda done, whole, file: heard.append((done, whole, file))
    )
    assert found == {"S0-1", "S1-1"} and [file for _, _, file in heard] == ["cells of 0.xml", "cells of 1.xml"]
    assert heard[1][0] == files[0].stat().st_size and heard[1][1] == sum(file.stat().st_size for file in files)
    assert cells_that_report(["S0-1"], {"S0-1"}, files, WANTED) == {"S0-1"}
    assert cells_that_report(["S0-1", "S9-1"], set(), [*files, tmp_path / "gone.xml"], WANTED) == {"S0-1"}


def test_a_file_of_each_element_comes_before_the_others(tmp_path):
    names = [f"A20240506.{hour:02}00+0200-{hour:02}15+0200_N{node}.xml" for hour in range(3) for node in range(2)]
    ordered = [file.name for file in each_source_first([tmp_path / name for name in sorted(names, reverse=True)])]
    assert [name[-5] for name in ordered[:2]] == ["1", "0"] and sorted(ordered) == sorted(names)


def test_cells_of_objects_are_those_with_counters_of_the_mapping(written):
    text = "".join(NODE.format(node=node, end="00:15", counter=("other", "pmPdcpVolDlDrb")[node]) for node in (0, 1))
    path = written(text.replace("</measCollecFile><measCollecFile>", ""))
    assert set().union(*cells_in(path, WANTED)) == {"S1-1"}
    old = written(
        "<mdc><md><neid><nedn>N=1</nedn></neid><mi><mts>20240506001500Z</mts><gp>900</gp><mt>pmPdcpVolDlDrb</mt>"
        "<mv><moid>EUtranCell=a</moid><r>1</r></mv><mv><moid>Cell=b</moid><r>1</r></mv></mi></md></mdc>"
    )
    assert set().union(*cells_in(old, WANTED)) == {"a"}


@pytest.mark.parametrize("quoted", [True, False])
def test_cells_of_a_text_are_its_column_of_names_however_it_is_written(written, quoted):
    names = ['"a,1"' if quoted else " a1 ", "é", "c"]
    lines = "".join(f"{START},{name},{number}\r\n" for number, name in enumerate(names))
    path = written(("time,cell,bytes\r\n" + lines).encode("cp1252"), "a.csv")
    mapping = Mapping.model_validate({"traffic": {"counters": {"bytes": 1.0}}})
    assert set().union(*cells_in(path, mapping)) == {"a,1" if quoted else "a1", "é", "c"}
    other = Mapping.model_validate({"traffic": {"counters": {"octets": 1.0}}})
    with pytest.raises(IngestError, match="no column 'octets'"):
        list(cells_in(path, other))
