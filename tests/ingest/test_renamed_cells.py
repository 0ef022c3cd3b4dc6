"""Cells that have another name from some day on are one cell, and none that is missing."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import polars
import pytest
import xarray as xr
from operator_made import traffic_of, write_days, write_measurements, write_sites

import fomo
from fomo.ingest import parallel
from fomo.ingest.build import BuildConfig, append_city, build_city, report_of
from fomo.ingest.ledger import IngestError
from fomo.ingest.mapping import Mapping
from fomo.ingest.store import CityStore

RENAMED = Mapping.model_validate({"cell": {"names": {"X1-1": "S1-1"}}})


def config(tmp_path, paths, name="city", **more):
    given = {"counters": tuple(paths), "sites": tmp_path / "sites.csv", "out": tmp_path / f"{name}.zarr"}
    return BuildConfig(**{**given, "cell_m": 500.0, **more})


@pytest.fixture
def days(tmp_path):
    """Four days; from the third on a cell of the list has another name."""
    write_sites(tmp_path)
    paths = write_days(tmp_path / "counters", traffic_of(4))
    build_city(config(tmp_path, paths, "whole"))
    for path in paths[2:]:
        path.write_text(path.read_text(encoding="utf-8").replace("S1-1", "X1-1"), encoding="utf-8")
    return paths


def same_as_whole(tmp_path, name="city"):
    one, other = (fomo.open_city(tmp_path / f"{each}.zarr").drop_attrs() for each in (name, "whole"))
    xr.testing.assert_equal(one, other)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_both_names_count_as_one_cell(tmp_path, days, ending):
    """A rename took the squares of the cell for good, and there was no way to say it."""
    if ending == "parquet":
        tables = [polars.read_csv(path, try_parse_dates=True) for path in days]
        days = [path.with_suffix(".parquet") for path in days]
        for table, path in zip(tables, days, strict=True):
            table.write_parquet(path)
    report = build_city(config(tmp_path, days, mapping=RENAMED))
    same_as_whole(tmp_path)
    assert not report["rejected"] and report["taken"] == 4 * 360 and not report["sites"]["without_counters"]


def test_a_list_may_hold_both_names_and_a_cell_may_be_met_by_the_other_name_alone(tmp_path, days):
    sites = polars.read_csv(tmp_path / "sites.csv")
    both = polars.concat([sites, sites.filter(polars.col("cell") == "S1-1").with_columns(cell=polars.lit("X1-1"))])
    both.write_csv(tmp_path / "sites.csv")
    report = build_city(config(tmp_path, days, mapping=RENAMED))
    same_as_whole(tmp_path)
    assert report["sites"]["without_counters"] == ["X1-1"]
    build_city(config(tmp_path, days[2:], "late", mapping=RENAMED))
    assert "S1-1" in CityStore(tmp_path / "late.zarr").cell_names()


def test_names_of_objects_are_taken_out_before(tmp_path):
    write_sites(tmp_path)
    traffic = traffic_of(1)
    paths = write_measurements(tmp_path / "xml", traffic)
    said = {"cell": {"pattern": "Cell=(.+)$", "names": {"S1-1": "S0-1"}}, "time": {"zone": "Europe/Helsinki"}}
    build_city(config(tmp_path, paths, mapping=Mapping.model_validate(said)))
    cells = CityStore(tmp_path / "city.zarr").cells()
    assert "S1-1" not in cells["cell"].values.tolist()
    np.testing.assert_allclose(cells["traffic"].sel(cell="S0-1").values, traffic[:, 3] / 1e9, rtol=1e-6)


def test_a_name_that_leads_to_no_cell_is_refused(tmp_path, days):
    wrong = Mapping.model_validate({"cell": {"names": {"X1-1": "S1-9"}}})
    with pytest.raises(IngestError, match=r"\[cell\] names says that 'X1-1' is 'S1-9'.*sites.csv has no cell"):
        build_city(config(tmp_path, days, mapping=wrong))
    assert not (tmp_path / "city.zarr").exists()


def test_a_cell_that_is_renamed_later_is_told_at_an_append_and_remembered(tmp_path, days):
    build_city(config(tmp_path, days[:2]))
    city = tmp_path / "city.zarr"
    report = append_city(city, [days[2]], names={"X1-1": "S1-1"})
    assert not report["rejected"]
    append_city(city, [days[3]])
    same_as_whole(tmp_path)
    assert report_of(city)["mapping"]["cell"]["names"] == {"X1-1": "S1-1"}


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"X1-1": "S1-9"}, r"city.zarr has no cell of that name"),
        ({"S0-1": "S1-1"}, "'S0-1' is a cell of .*city.zarr itself"),
    ],
)
def test_names_that_cannot_be_are_refused_at_an_append(tmp_path, days, names, says):
    build_city(config(tmp_path, days[:2]))
    before = report_of(tmp_path / "city.zarr")
    with pytest.raises(IngestError, match=says):
        append_city(tmp_path / "city.zarr", days[2:], names=names)
    assert report_of(tmp_path / "city.zarr") == before


def test_a_city_of_an_older_fomo_goes_on_with_the_same_mapping(tmp_path, days):
    build_city(config(tmp_path, days[:2], mapping=Mapping()))
    root = tmp_path / "city.zarr/zarr.json"
    root.write_text(root.read_text(encoding="utf-8").replace(', \\"names\\": {}', ""), encoding="utf-8")
    assert "names" not in report_of(tmp_path / "city.zarr")["asked"]["mapping"]["cell"]
    build_city(config(tmp_path, days[:2], mapping=Mapping()))


def test_rows_that_came_before_their_name_was_told_are_said_and_their_files_can_be_given_again(tmp_path, days):
    """The name stayed on the list of cells without a place, and a file that was given again was passed over unsaid."""
    build_city(config(tmp_path, days[:2]))
    city = tmp_path / "city.zarr"
    (remark,) = append_city(city, days[2:])["remarks"]
    assert "--cell-names X1-1=OLD" in remark
    report = append_city(city, days[2:3], names={"X1-1": "S1-1"})
    (remark,) = report["remarks"]
    assert remark.startswith("48 rows under X1-1 were read before the name was told") and "read again" in remark
    assert report["cells_without_place"] == {} == report_of(city)["cells_without_place"]
    assert "remarks" not in append_city(city, days[3:], names={"X1-1": "S1-1"})
    same_as_whole(tmp_path)


def test_names_without_a_place_are_remarked_by_the_run_that_meets_them(tmp_path, days):
    build_city(config(tmp_path, days[:1]))
    assert "remarks" in append_city(tmp_path / "city.zarr", days[2:3])
    report = append_city(tmp_path / "city.zarr", days[1:2])
    assert "remarks" not in report and "X1-1" in report["cells_without_place"]


def test_a_name_that_is_told_later_does_not_undo_what_was_corrected_since(tmp_path, days):
    """Files that were read again for the name were poured whole: rows of all other cells, too."""
    build_city(config(tmp_path, days))
    fixed = polars.read_csv(days[3]).filter(polars.col("cell") == "S2-1").with_columns(dl_bytes=7)
    fixed.write_csv(tmp_path / "fixed.csv")
    append_city(tmp_path / "city.zarr", [tmp_path / "fixed.csv"])
    report = append_city(tmp_path / "city.zarr", days[2:], names={"X1-1": "S1-1"})
    cells, whole = (CityStore(tmp_path / f"{name}.zarr").cells()["traffic"] for name in ("city", "whole"))
    np.testing.assert_allclose(cells.sel(cell="S2-1").values[72:], 7e-9, rtol=1e-6)
    others = [name for name in whole["cell"].values.tolist() if name != "S2-1"]
    np.testing.assert_array_equal(cells.sel(cell=others), whole.sel(cell=others))
    assert report["taken"] == 4 * 360 + 24 and report["renamed"] == {}


class Killed(BaseException):
    """As SIGKILL would have it."""


def killed_between_reading_and_writing(work, *arguments):
    if work is parallel.write_day:
        raise Killed
    return here(work, *arguments)


def here(work, *arguments):
    done: Future[object] = Future()
    done.set_result(work(*arguments))
    return done


@pytest.mark.parametrize("between", [None, "one process"])
def test_a_name_that_is_told_after_a_killed_run_of_several_processes_reads_the_files_anew(tmp_path, days, between):
    """What was found of the files by the names of before lay there, and was taken for what they say."""
    out = tmp_path / "city.zarr"
    build_city(config(tmp_path, days[:2]))
    with pytest.raises(Killed):
        append_city(out, days[2:], submit=killed_between_reading_and_writing)
    assert (out / ".parts").exists()
    if between:
        append_city(out, days[2:])
        assert not (out / ".parts").exists()
    append_city(out, days[2:], names={"X1-1": "S1-1"}, submit=here)
    same_as_whole(tmp_path)


def test_a_name_that_is_told_after_a_run_that_was_killed_within_a_file_reads_it_from_its_beginning(
    tmp_path, days, monkeypatch
):
    """The rows before the kill were passed over: the cell lacked them, and the report said that they were read."""
    out = tmp_path / "city.zarr"
    build_city(config(tmp_path, days[:2]))
    both = tmp_path / "both.csv"
    polars.concat([polars.read_csv(path) for path in days[2:]]).write_csv(both)
    monkeypatch.setattr("fomo.ingest.formats.lines.BLOCK", 1500)
    monkeypatch.setattr("fomo.ingest.formats.table.SEVERAL", 1)
    monkeypatch.setattr("fomo.ingest.formats.table.BATCH", 60)
    monkeypatch.setattr("fomo.ingest.alone.COMMIT_SECONDS", 0.0)
    monkeypatch.setattr("fomo.ingest.alone.COMMIT_SHARE", 1e9)
    real, calls = CityStore.commit, [0]

    def commit(self, report):
        real(self, report)
        calls[0] += 1
        if calls[0] == 5:
            raise Killed

    with monkeypatch.context() as kill:
        kill.setattr(CityStore, "commit", commit)
        with pytest.raises(Killed):
            append_city(out, [both])
    assert report_of(out)["files_in_part"]
    append_city(out, [both], names={"X1-1": "S1-1"})
    same_as_whole(tmp_path)
