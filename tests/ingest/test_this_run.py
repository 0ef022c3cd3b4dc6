"""An append says what it did itself, beside what was read since the city was built."""

from __future__ import annotations

import gzip
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars
import pytest
from operator_made import traffic_of, write_days, write_sites

from fomo.ingest.build import BuildConfig, append_city, build_city
from fomo.ingest.this_run import this_run

DAY = np.timedelta64(1, "D")
FIRST = np.datetime64("2024-03-01")
A_DAY = 15 * 24  # rows


@pytest.fixture
def days(tmp_path: Path) -> list[Path]:
    write_sites(tmp_path)
    return write_days(tmp_path / "counters", traffic_of(5))


def built(folder: Path, files: list[Path]) -> tuple[Path, dict]:
    config = BuildConfig(tuple(files), folder / "sites.csv", folder / "city.zarr")
    return config.out, build_city(config)


def change(path: Path, out: Path, what: polars.Expr) -> Path:
    polars.read_csv(path).with_columns(what).write_csv(out)
    return out


def test_a_first_build_has_nothing_beside_it(tmp_path, days):
    _, report = built(tmp_path, days)
    assert "this_run" not in report


@pytest.mark.parametrize("workers", [False, True])
def test_an_append_counts_its_own_rows_and_days(tmp_path, days, workers):
    """The totals since the build hid what a morning's files had brought."""
    city, _ = built(tmp_path, days[:3])
    late = change(days[1], tmp_path / "late.csv", polars.col("dl_bytes") + 1)
    stranger = (
        polars.when(polars.col("cell") == "S0-1").then(polars.lit("X")).otherwise(polars.col("cell")).alias("cell")
    )
    strange = change(days[4], tmp_path / "strange.csv", stranger)
    with ThreadPoolExecutor(1) as pool:
        report = append_city(city, [days[0], late, days[3], strange], submit=pool.submit if workers else None)
    run = report["this_run"]
    assert (run.files, run.taken) == (3, 3 * A_DAY - 24) and report["taken"] == 6 * A_DAY - 24
    (reason,) = run.rejected
    assert run.rejected[reason] == 24 == report["rejected"][reason]
    assert list(run.noted.values()) == [A_DAY]  # corrected
    assert run.added == (FIRST + 3 * DAY, FIRST + 4 * DAY) and run.rewritten == (FIRST + DAY,)
    assert not run.nothing


def test_a_run_whose_files_were_read_already_added_nothing(tmp_path, days):
    city, _ = built(tmp_path, days)
    run = append_city(city, days)["this_run"]
    assert run.nothing and (run.files, run.taken, run.rejected, run.noted) == (0, 0, {}, {})


def test_rows_that_are_there_change_no_day(tmp_path, days):
    city, _ = built(tmp_path, days)
    again = tmp_path / "again.csv.gz"
    again.write_bytes(gzip.compress(days[2].read_bytes()))
    run = append_city(city, [again])["this_run"]
    assert run.nothing and (run.files, run.taken) == (1, A_DAY) and run.noted == {"repeated rows": A_DAY}


def test_rows_of_a_file_that_an_earlier_run_has_read_in_part_are_not_this_runs():
    after = {"files": {"a": "a.csv"}, "taken": 100}
    before = {"files": {}, "taken": 0, "files_in_part": {"a": {"file": "a.csv", "rows": 40}}}
    run = this_run(before, after, {FIRST + DAY}, FIRST + DAY)
    assert (run.files, run.taken, run.added, run.rewritten) == (1, 60, (FIRST + DAY,), ())
    assert this_run({}, after, set(), FIRST) is None


def test_a_repaired_file_counts_as_what_was_read_of_it_now(tmp_path, days):
    """The totals take back what was counted of it before: their difference would be less than this run took."""
    city, _ = built(tmp_path, days[:3])
    whole = days[3].read_bytes()
    packed = tmp_path / "late.csv.gz"
    packed.write_bytes(gzip.compress(whole)[:-2000])
    first = append_city(city, [days[0], packed])
    assert first["faults"] and first["this_run"].files == 0
    packed.write_bytes(gzip.compress(whole))
    report = append_city(city, [packed])
    run = report["this_run"]
    assert (run.files, run.taken) == (1, A_DAY) and report["taken"] == 4 * A_DAY
    assert run.noted.get("repeated rows", 0) == first["this_run"].taken and not run.nothing


def test_what_a_repaired_file_brings_is_no_nothing():
    counted = {"key": "x", "taken": 50, "rejected": {"no number": 3}, "noted": {}}
    before = {"files": {"a": "a.csv"}, "taken": 80, "rejected": {"no number": 4}, "faulty": {"b.csv": counted}}
    after = {"files": {"a": "", "b": ""}, "taken": 100, "rejected": {"no number": 1}, "noted": {"repeated rows": 50}}
    run = this_run(before, after, {FIRST}, FIRST + DAY)
    assert (run.files, run.taken, run.rejected, run.rewritten) == (1, 70, {}, (FIRST,)) and not run.nothing
