"""One large file, killed on the way: the next run goes on after the rows of the last commit, and counts none twice."""

import json
from pathlib import Path

import numpy as np
import polars
import pytest
import zarr
from operator_made import traffic_of, write_days, write_sites

import fomo
from fomo.app.service.city_building import report_lines
from fomo.ingest.build import BuildConfig, build_city, report_of
from fomo.ingest.ledger import IngestError
from fomo.ingest.mapping import Mapping
from fomo.ingest.pouring import Pouring
from fomo.ingest.store import CityStore

#: Calls that come through, run for run: each commits, and is killed within the file.
AT = {"commit": (2, 1), "write": (5, 4), "add": (2, 1)}


class Killed(BaseException):
    """As SIGKILL would have it: nothing is caught."""


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Batches of some hundred rows, and a commit after each."""
    monkeypatch.setattr("fomo.ingest.formats.table.BATCH", 200)
    monkeypatch.setattr("fomo.ingest.formats.lines.BLOCK", 6000)
    monkeypatch.setattr("fomo.ingest.alone.COMMIT_SECONDS", -1.0)
    monkeypatch.setattr("fomo.ingest.alone.COMMIT_SHARE", float("inf"))


@pytest.fixture
def sites(tmp_path):
    return write_sites(tmp_path)


def one_file(folder: Path, ending: str, order: str, cumulative: bool = False) -> Path:
    """Four days in one file: repeated rows, empty and negative values, cells without a place."""
    traffic = traffic_of(4)
    parts = [polars.read_csv(path) for path in write_days(folder / "days", np.cumsum(traffic, 0))]
    frame = polars.concat(parts) if cumulative else polars.concat([*parts, parts[1].head(70), parts[0].tail(30)])
    number = polars.int_range(frame.height)
    odd = polars.when(number % 97 == 3).then(None).when(number % 89 == 5).then(-1).otherwise(polars.col("dl_bytes"))
    frame = frame.with_columns(odd.alias("dl_bytes"), cell=polars.col("cell").str.replace("S4-3", "X"))
    if order == "cells":
        frame = frame.sort("cell", maintain_order=True)
    elif order == "none":
        frame = frame.sample(fraction=1.0, shuffle=True, seed=4)
    (folder / "counters").mkdir()
    path = folder / f"counters/all.{ending}"
    if ending == "csv":
        frame.write_csv(path)
    else:
        frame.with_columns(polars.col("time").str.to_datetime()).write_parquet(path, row_group_size=130)
    return path


def config(folder: Path, sites: Path, out: str, cumulative: bool = False, zone: str = "") -> BuildConfig:
    counters = {"counters": {"dl_bytes": 1e-9}, "unit": "GB", "cumulative": cumulative}
    users = {"counters": {"users": 1.0}}
    mapping = Mapping.model_validate({"traffic": counters, "users": users, "time": {"zone": zone}})
    return BuildConfig((folder / "counters",), sites, folder / out, cell_m=1000, mapping=mapping, name="one")


def all_of(city: Path) -> tuple[dict[str, bytes | list[str]], dict[str, object]]:
    """Every array of a city by its bits, and its report."""
    arrays: dict[str, bytes | list[str]] = {}
    for file in sorted(city.rglob("zarr.json")):
        if json.loads(file.read_text(encoding="utf-8"))["node_type"] == "array":
            values = np.asarray(zarr.open_array(str(file.parent), mode="r")[...])
            name = str(file.parent.relative_to(city))
            arrays[name] = values.tolist() if values.dtype.kind in "OT" else values.tobytes()
    return arrays, {name: part for name, part in report_of(city).items() if name not in ("asked", "commits")}


def kill_at(monkeypatch, method, at):
    """The `at`th call of a method of the store or of the pouring is the last."""
    owner = CityStore if hasattr(CityStore, method) else Pouring
    calls, real = [0], getattr(owner, method)

    def dies(self, *given, **more):
        calls[0] += 1
        if calls[0] > at:
            raise Killed
        return real(self, *given, **more)

    monkeypatch.setattr(owner, method, dies)


@pytest.mark.parametrize("method", ["commit", "write", "add"])
@pytest.mark.parametrize(
    ("ending", "order", "cumulative"),
    [("parquet", "times", False), ("csv", "times", False), ("csv", "none", False), ("parquet", "cells", True)],
)
def test_killed_within_a_file_and_resumed_it_is_bit_for_bit_what_one_run_makes(
    tmp_path, sites, monkeypatch, ending, order, cumulative, method
):
    one_file(tmp_path, ending, order, cumulative)
    build_city(config(tmp_path, sites, "whole.zarr", cumulative))
    wanted = all_of(tmp_path / "whole.zarr")
    in_part = []
    for at in AT[method]:  # killed more than once, each time a little further
        with monkeypatch.context() as patch:
            kill_at(patch, method, at)
            with pytest.raises(Killed):
                build_city(config(tmp_path, sites, "city.zarr", cumulative))
        report = report_of(tmp_path / "city.zarr")
        in_part += [part["rows"] for part in report["files_in_part"].values()]
        assert not report["files"] and fomo.open_city(tmp_path / "city.zarr").sizes["time"] >= 24
    assert len(in_part) == 2 and 200 <= in_part[0] < in_part[1] < 1500
    build_city(config(tmp_path, sites, "city.zarr", cumulative))
    found = all_of(tmp_path / "city.zarr")
    assert found[0] == wanted[0]
    assert found[1] == wanted[1] and found[1]["files_in_part"] == {} and len(found[1]["files"]) == 1


def test_rows_that_are_in_the_city_are_not_given_to_it_again(tmp_path, sites, monkeypatch):
    path = one_file(tmp_path, "parquet", "times")
    with monkeypatch.context() as patch:
        kill_at(patch, "commit", 2)
        with pytest.raises(Killed):
            build_city(config(tmp_path, sites, "city.zarr"))
    (part,) = report_of(tmp_path / "city.zarr")["files_in_part"].values()
    lines = report_lines(report_of(tmp_path / "city.zarr"))
    assert ("file read in part", f"all.parquet: {part['rows']:,} rows so far") in lines
    given, real = [], Pouring.add
    monkeypatch.setattr(Pouring, "add", lambda self, counts, where: (given.append(counts), real(self, counts, where)))
    build_city(config(tmp_path, sites, "city.zarr"))
    sound = polars.read_parquet(path).filter(~(polars.col("dl_bytes") < 0).fill_null(False))
    assert sum(counts.height for counts in given) == sound.height - part["rows"] > 0
    assert given[0]["begin"][0] == sound["time"][part["rows"]]


def test_workers_leave_a_file_alone_that_one_process_has_begun(tmp_path, sites, monkeypatch):
    one_file(tmp_path, "csv", "times")
    with monkeypatch.context() as patch:
        kill_at(patch, "commit", 2)
        with pytest.raises(Killed):
            build_city(config(tmp_path, sites, "city.zarr"))
    with pytest.raises(IngestError, match=r"all\.csv was read in part by one process: finish it without the workers"):
        build_city(config(tmp_path, sites, "city.zarr"), submit=lambda *task: pytest.fail("no task is given"))


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_an_hour_that_comes_twice_is_the_same_wherever_a_run_is_cut(tmp_path, sites, monkeypatch, at):
    (tmp_path / "counters").mkdir()
    names = [f"S{cell // 3}-{cell % 3 + 1}" for cell in range(15)]
    hours = np.arange(60) * np.timedelta64(1, "h") + np.datetime64("2024-10-26T00:00")  # clocks change on the 27th
    times = np.repeat(hours, 15).astype("datetime64[us]")
    made = {"cell": np.tile(names, 60), "time": times, "dl_bytes": np.random.default_rng(0).random(900) * 1e9}
    frame = polars.DataFrame(made).with_columns(polars.col("time").dt.replace_time_zone("UTC"), users=1.0)
    frame.write_parquet(tmp_path / "counters/all.parquet")
    zone = "Europe/Helsinki"
    build_city(config(tmp_path, sites, "whole.zarr", zone=zone))
    with monkeypatch.context() as patch:
        kill_at(patch, "commit", at)
        with pytest.raises(Killed):
            build_city(config(tmp_path, sites, "city.zarr", zone=zone))
    (part,) = report_of(tmp_path / "city.zarr")["files_in_part"].values()
    assert 0 < part["rows"] <= 200 * (at + 1)
    build_city(config(tmp_path, sites, "city.zarr", zone=zone))
    assert all_of(tmp_path / "city.zarr") == all_of(tmp_path / "whole.zarr")
