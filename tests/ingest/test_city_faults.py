"""Cities from files of unusual content, interrupted runs and several threads: nothing wrong, nothing lost unseen."""

from __future__ import annotations

import gzip
import os
import shutil
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars
import pytest
from counts_made import counts
from operator_made import traffic_of, write_days, write_sites

import fomo
from fomo.ingest import reading
from fomo.ingest.build import BuildConfig, append_city, build_city, report_of
from fomo.ingest.cube import NEVER, TO_COME, TWICE, Cube, State
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping
from fomo.ingest.pouring import NOT_OF_THE_CITY, WAITING, Pouring
from fomo.ingest.store import CityStore

GB = 1e-9


class Killed(BaseException):
    """As SIGKILL would have it."""


def here(work, *arguments):
    done: Future[object] = Future()
    done.set_result(work(*arguments))
    return done


@pytest.fixture
def config(tmp_path):
    return BuildConfig(
        counters=(tmp_path / "counters",), sites=write_sites(tmp_path), out=tmp_path / "city.zarr", cell_m=500.0
    )


def total(path):
    return float(np.nansum(fomo.open_city(path)["traffic"].values))


def test_killed_before_the_report_is_written_there_is_no_half_city(tmp_path, config, monkeypatch):
    write_days(tmp_path / "counters", traffic_of(1))
    calls, real = [0], CityStore.commit

    def dies(self, report):
        calls[0] += 1
        if calls[0] == 1:
            raise Killed
        real(self, report)

    monkeypatch.setattr(CityStore, "commit", dies)
    with pytest.raises(Killed):
        build_city(config)
    build_city(config)
    assert total(config.out) == pytest.approx(traffic_of(1).sum() * GB, rel=1e-5)


@pytest.mark.parametrize("killed", ["_grow", "write"])
def test_what_a_killed_run_left_is_not_shown_by_a_run_that_writes_nothing(tmp_path, config, monkeypatch, killed):
    paths = write_days(tmp_path / "all", traffic_of(3))
    build_city(replace(config, counters=(paths[0],)))
    before = total(config.out)
    with monkeypatch.context() as patch:
        real = getattr(CityStore, killed)

        def dies(self, *arguments, **more):
            if killed == "write":
                real(self, *arguments, **more)
            else:
                self._array("traffic").resize((72, *self._array("traffic").shape[1:]))  # and no further
            raise Killed

        patch.setattr(CityStore, killed, dies)
        with pytest.raises(Killed):
            append_city(config.out, paths[1:])
    append_city(config.out, paths[:1])  # known: nothing to write
    assert fomo.open_city(config.out).sizes["time"] == 24 and total(config.out) == before
    append_city(config.out, paths)
    assert total(config.out) == pytest.approx(traffic_of(3).sum() * GB, rel=1e-5)


def test_a_city_of_other_wishes_is_not_taken_for_this_one(tmp_path, config):
    write_days(tmp_path / "counters", traffic_of(1))
    build_city(config)
    build_city(config)  # the same: it goes on
    for change in (
        {"cell_m": 250.0},
        {"minutes": 120},
        {"mapping": Mapping.model_validate({"time": {"marks": "end"}})},
    ):
        with pytest.raises(IngestError, match=f"built with other {next(iter(change))}: remove it or"):
            build_city(replace(config, **change))
    config.sites.write_text(config.sites.read_text(encoding="utf-8") + "X,24.9,60.1,\n", encoding="utf-8")
    with pytest.raises(IngestError, match="built with other sites"):
        build_city(config)


@pytest.mark.parametrize("empty", [True, False])
def test_a_folder_that_is_no_city_is_not_written_into(tmp_path, config, empty):
    write_days(tmp_path / "counters", traffic_of(1))
    config.out.mkdir()
    if not empty:
        (config.out / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(IngestError, match="empty folder: remove it" if empty else "no city: name another place"):
        build_city(config)


@pytest.mark.parametrize("submit", [None, here])
def test_a_file_of_another_granularity_is_named_and_the_others_are_read(tmp_path, config, submit):
    traffic = traffic_of(2, minutes=60)
    paths = write_days(tmp_path / "counters", traffic)
    for path in paths:
        polars.read_csv(path).with_columns(minutes=60).write_csv(path)
    odd = polars.read_csv(paths[0]).with_columns(minutes=15)
    odd.write_csv(tmp_path / "counters/2024-03-01-odd.csv")
    report = build_city(config, submit=submit)
    assert [name.rsplit("/", 1)[1] for name in report["faults"]] == ["2024-03-01-odd.csv"]
    assert report["rejected"] == {NOT_OF_THE_CITY: odd.height} and report["taken"] == traffic.size
    assert total(config.out) == pytest.approx(traffic.sum() * GB, rel=1e-5) and len(report["files"]) == 2


def test_an_hourly_file_without_a_column_of_it_does_not_count_as_quarters(tmp_path, config):
    write_days(tmp_path / "counters", traffic_of(1, minutes=15), 15)
    (hourly,) = write_days(tmp_path / "hourly", traffic_of(1, minutes=60), 60)
    shutil.copy(hourly, tmp_path / "counters/2024-03-01-hourly.csv")
    report = build_city(config)
    assert "mixed granularity" in next(iter(report["faults"].values()))
    assert total(config.out) == pytest.approx(traffic_of(1, minutes=15).sum() * GB, rel=1e-5)


@pytest.mark.parametrize("submit", [None, here])
def test_copies_and_files_of_the_same_name(tmp_path, config, submit):
    traffic = traffic_of(2)
    one, two = write_days(tmp_path / "all", traffic)
    for folder, path in (("a", one), ("b", two), ("c", one)):
        (tmp_path / "counters" / folder).mkdir(parents=True)
        shutil.copy(path, tmp_path / "counters" / folder / "day.csv")
    report = build_city(config, submit=submit)
    assert report["taken"] == traffic.size and not report["noted"] and len(report["files"]) == 2


@pytest.mark.parametrize("submit", [None, here])
def test_a_file_that_goes_away_is_named_and_the_others_are_read(tmp_path, config, monkeypatch, submit):
    paths = write_days(tmp_path / "counters", traffic_of(2))
    build_city(replace(config, counters=(paths[0],)))
    gone = tmp_path / "gone.csv"
    monkeypatch.setattr("fomo.ingest.build.input_files", lambda _: (gone, *paths))
    report = append_city(config.out, ["any"], submit=submit)
    assert "gone.csv cannot be read (No such file" in report["faults"][str(gone)] and report["taken"] == 720


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_ends_of_periods_across_midnight_make_no_day_more(tmp_path, config, ending):
    traffic = traffic_of(1)
    (path,) = write_days(tmp_path / "counters", traffic, ending=ending)
    frame = polars.read_csv(path, try_parse_dates=True) if ending == "csv" else polars.read_parquet(path)
    frame = frame.with_columns(polars.col("time") + timedelta(hours=1))
    if ending == "csv":
        texts = polars.col("time").dt.strftime("%Y-%m-%d %H:%M").str.replace("2024-03-02 00:00", "2024-03-01 24:00")
        frame.with_columns(texts).write_csv(path)
    else:
        frame.write_parquet(path)
    report = build_city(replace(config, mapping=Mapping.model_validate({"time": {"marks": "end"}})))
    city = fomo.open_city(config.out)
    assert city.sizes["time"] == 24 and city["time"].values[0] == np.datetime64("2024-03-01T00:00")
    assert np.nansum(city["traffic"].values, (1, 2)) == pytest.approx(traffic.sum(1) * GB, rel=1e-5)
    assert not report["rejected"]


@pytest.mark.parametrize("order", [["cell", "time"], ["time"]])
def test_one_long_table_in_any_order_loses_no_cell_and_no_day(tmp_path, config, monkeypatch, order):
    monkeypatch.setattr("fomo.ingest.formats.overview.FIRST_LINES", 2000)
    traffic = traffic_of(3)
    paths = write_days(tmp_path / "all", traffic)
    whole = polars.concat([polars.read_csv(path) for path in paths]).sort(order, descending=order == ["time"])
    (tmp_path / "counters").mkdir()
    whole.write_csv(tmp_path / "counters/all.csv")
    report = build_city(config)
    assert report["taken"] == traffic.size and not report["rejected"]
    assert total(config.out) == pytest.approx(traffic.sum() * GB, rel=1e-5)


def test_days_as_periods(tmp_path, config):
    traffic = traffic_of(3).reshape(3, 24, -1).sum(1)
    cells = [f"S{cell // 3}-{cell % 3 + 1}" for cell in range(15)]
    rows = [(cells[c], f"2024-03-0{d + 1}", traffic[d, c]) for d in range(3) for c in range(15)]
    (tmp_path / "counters").mkdir()
    polars.DataFrame(rows, schema=["cell", "time", "dl_bytes"], orient="row").write_csv(tmp_path / "counters/a.csv")
    build_city(config)
    city = fomo.open_city(config.out)
    assert city.attrs["step_minutes"] == 1440 and city.sizes["time"] == 3
    assert np.nansum(city["traffic"].values, (1, 2)) == pytest.approx(traffic.sum(1) * GB, rel=1e-5)


def test_an_hour_of_three_quarters_is_missing(tmp_path, config):
    traffic = traffic_of(1, minutes=15)
    (path,) = write_days(tmp_path / "counters", traffic, 15)
    frame = polars.read_csv(path)
    frame.filter(polars.col("time") != "2024-03-01 05:30:00").write_csv(path)
    build_city(replace(config, minutes=60))
    city = fomo.open_city(config.out)
    found = city["traffic"].values[:, city["covered"].values]
    assert np.isnan(found[5]).all() and np.isfinite(np.delete(found, 5, 0)).all()


def test_users_in_files_of_their_own(tmp_path, config):
    traffic = traffic_of(1)
    (path,) = write_days(tmp_path / "counters", traffic)
    whole = polars.read_csv(path)
    whole.drop("users").write_csv(path)
    whole.drop("dl_bytes").write_csv(tmp_path / "counters/users.csv")
    report = build_city(config)
    city = fomo.open_city(config.out)
    assert not report["faults"] and not report["rejected"] and report["taken"] == 2 * traffic.size
    assert np.nansum(city["users"].values) == pytest.approx(traffic.sum() / 1e5, rel=1e-5)
    assert np.nansum(city["traffic"].values) == pytest.approx(traffic.sum() * GB, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "says"),
    [({"minutes": -60}, "periods of -60 minutes"), ({"minutes": 90}, "periods of 90 minutes cannot be made")],
)
def test_periods_that_cannot_be(tmp_path, config, change, says):
    write_days(tmp_path / "counters", traffic_of(1))
    with pytest.raises(IngestError, match=says):
        build_city(replace(config, **change))
    assert not config.out.exists()


def test_periods_in_seconds_are_told(tmp_path, config):
    (path,) = write_days(tmp_path / "counters", traffic_of(1))
    polars.read_csv(path).with_columns(minutes=3600).write_csv(path)
    with pytest.raises(IngestError, match=r"3600 minutes, which do not divide a day: correct"):
        build_city(config)


def test_rejected_rows_are_written_whole_below_their_heading(tmp_path, config):
    (path,) = write_days(tmp_path / "counters", traffic_of(1))
    text = path.read_text(encoding="utf-8").replace("S3-", "X3-").replace("S4-1,2024-03-01 0", "S4-1,yesterday ")
    path.write_text(text, encoding="utf-8")
    report = build_city(config, rejects=tmp_path / "rejected.csv")
    written = polars.read_csv(tmp_path / "rejected.csv")
    assert written.columns == ["reason", "where", "row"]
    assert dict(written["reason"].value_counts().iter_rows()) == report["rejected"]
    assert written.height == 72 + 10


def test_an_empty_file_for_rejected_rows_gets_its_heading(tmp_path):
    (tmp_path / "rejected.csv").touch()
    with Ledger(tmp_path / "rejected.csv") as ledger:
        ledger.reject("why", "where", ["row\nof two lines"])
        assert polars.read_csv(tmp_path / "rejected.csv").rows() == [("why", "where", "row\nof two lines")]  # at once


AUTUMN, SPRING = np.datetime64("2024-10-27", "D"), np.datetime64("2024-03-31", "D")


def autumn(*rows, load=lambda day: None):
    cube = Cube(("a",), 60, "Europe/Helsinki", Ledger(), load)
    for row in rows:
        cube.add(counts([("a", "2024-10-27T03:00", *row)], 60), "file")
    return cube


def test_the_second_hour_of_a_later_run_does_not_replace_the_first():
    stored = autumn((2.0, 10.0)).days[AUTUMN]
    day = autumn((4.0, 20.0), load=lambda _: stored).days[AUTUMN]
    assert day.traffic[3, 0] == 3 and day.users[3, 0] == 15


def test_means_of_hours_shown_twice_count_what_was_said_of_each():
    cube = autumn((None, 5.0), (4.0, None), (8.0, None), (None, None))
    day = cube.days[AUTUMN]
    assert day.traffic[3, 0] == 6 and day.users[3, 0] == 5
    assert cube.ledger.noted == {TWICE: 3, "rows without a value": 1}


def test_a_suspect_hour_shown_twice_stays_suspect_and_an_empty_one_missing():
    assert autumn((2.0, None, True), (4.0, None, False)).days[AUTUMN].state[3, 0] == State.SUSPECT
    assert autumn((None, None)).days[AUTUMN].state[3, 0] == State.MISSING


def test_hours_that_the_clock_never_shows_are_marked():
    cube = Cube(("a", "b"), 60, "Europe/Helsinki", Ledger())
    cube.add(counts([("a", "2024-03-31T03:00", 1.0), ("a", "2024-03-31T04:00", 1.0)], 60), "file")
    state = cube.days[SPRING].state
    assert state[3].tolist() == [State.RECORDED, State.CLOCK_CHANGE] and state[2, 1] == State.MISSING
    assert cube.ledger.noted == {NEVER: 1}


def test_users_alone_do_not_make_traffic_trusted():
    cube = Cube(("a",), 60, "", Ledger())
    for row in ((2.0, None, True), (None, 5.0, False)):
        cube.add(counts([("a", "2024-03-01T00:00", *row)], 60), "file")
    assert cube.days[np.datetime64("2024-03-01", "D")].state[0, 0] == State.SUSPECT
    cube.add(counts([("a", "2024-03-01T00:00", 3.0)], 60), "file")  # corrected
    assert cube.days[np.datetime64("2024-03-01", "D")].state[0, 0] == State.RECORDED


def test_states_of_growing_counters_follow_days_that_come_late(tmp_path, config):
    traffic = traffic_of(3)
    paths = write_days(tmp_path / "all", np.cumsum(traffic, 0))
    grows = Mapping.model_validate({"traffic": {"counters": {"dl_bytes": GB}, "cumulative": True}})
    build_city(replace(config, mapping=grows, counters=(paths[0], paths[2])))
    assert (CityStore(config.out).cells()["state"].values[48] == State.MISSING).all()
    append_city(config.out, [paths[1]])
    cells = CityStore(config.out).cells()
    assert np.isfinite(cells["traffic"].values[1:]).all() and (cells["state"].values[1:] == State.RECORDED).all()


def test_days_that_wait_to_be_written_do_not_pile_up(tmp_path, config, monkeypatch):
    write_days(tmp_path / "counters", traffic_of(1))
    build_city(config)
    store = CityStore(config.out)
    pouring, most, real = Pouring(store, Mapping(), Ledger()), [0], Pouring._write

    def counted(self, days):
        most[0] = max(most[0], len(pouring.writing))
        real(self, days)

    monkeypatch.setattr(Pouring, "_write", counted)
    for day in range(20):
        begin = datetime(2024, 3, 2) + timedelta(days=day)
        pouring.add(counts([("S0-1", begin.isoformat(), 1.0)], 60), "file")
        assert len(pouring.writing) <= WAITING
    pouring.flush()
    assert most[0] <= WAITING and store.days == 21


def test_a_part_of_more_days_than_memory_holds_is_the_same(tmp_path, config, monkeypatch):
    traffic = traffic_of(4)
    paths = write_days(tmp_path / "all", traffic)
    (tmp_path / "counters").mkdir()
    whole = polars.concat([polars.read_csv(path) for path in paths]).sample(fraction=1.0, shuffle=True, seed=0)
    whole.write_csv(tmp_path / "counters/all.csv")
    monkeypatch.setattr("fomo.ingest.formats.lines.BLOCK", 4000)
    monkeypatch.setattr("fomo.ingest.parallel.days_at_hand", lambda *_: 1)
    report = build_city(config, submit=here)
    assert report["taken"] == traffic.size and not report["noted"]
    assert total(config.out) == pytest.approx(traffic.sum() * GB, rel=1e-5)


def test_a_file_that_could_not_be_read_is_tried_again_by_tasks(tmp_path, config):
    paths = write_days(tmp_path / "counters", traffic_of(2))
    build_city(replace(config, counters=(paths[0],)))
    with pytest.MonkeyPatch.context() as patch:

        def fails(*_):
            raise IngestError("zstd files need zstandard")

        patch.setattr("fomo.ingest.parallel.read_counts", fails)
        with pytest.raises(IngestError, match="none of 1 files"):
            append_city(config.out, [paths[1]], submit=here)
    assert append_city(config.out, [paths[1]], submit=here)["taken"] == 720


@pytest.mark.parametrize("submit", [None, here])
def test_the_rows_of_a_damaged_file_count_once_however_often_it_is_tried(tmp_path, config, submit):
    """Each of three runs counted them again, and the run after the repair once more."""
    traffic = traffic_of(12)
    paths = write_days(tmp_path / "all", traffic)
    text = b"cell,time,dl_bytes,users\n" + b"".join(path.read_bytes().split(b"\n", 1)[1] for path in paths[1:])
    whole = gzip.compress(text.replace(b"S3-", b"X3-"))
    damaged, empty = tmp_path / "damaged.csv.gz", tmp_path / "empty.csv"
    empty.write_text("cell,time,dl_bytes,users\n", encoding="utf-8")
    damaged.write_bytes(whole[: len(whole) // 2])
    build_city(replace(config, counters=(paths[0],)))
    reports = []
    for _ in range(3):
        empty.write_text(empty.read_text(encoding="utf-8") + "\n", encoding="utf-8")  # another file, without rows
        reports.append(append_city(config.out, [damaged, empty], submit=submit))
    first = reports[0]
    assert list(first["faults"]) == [str(damaged)] and 360 < first["taken"] < traffic.size
    for report in reports[1:]:
        for what in ("taken", "rejected", "noted", "cells_without_place", "faults"):
            assert report[what] == first[what]
    damaged.write_bytes(whole)
    report = append_city(config.out, [damaged], submit=submit)
    assert report["taken"] == traffic.size - 11 * 72 and sum(report["rejected"].values()) == 11 * 72
    assert not report["faults"] and not report["faulty"]


def test_a_file_of_another_granularity_is_counted_once_too(tmp_path, config):
    paths = write_days(tmp_path / "all", traffic_of(2))
    build_city(replace(config, counters=(paths[0],)))
    odd = polars.read_csv(paths[1]).with_columns(minutes=15)
    odd.write_csv(tmp_path / "odd.csv")
    for _ in range(2):
        with pytest.raises(IngestError, match="mixed granularity"):
            append_city(config.out, [tmp_path / "odd.csv"])
    assert report_of(config.out)["rejected"] == {NOT_OF_THE_CITY: odd.height}


def test_a_file_that_can_be_read_at_last_counts_as_a_whole(tmp_path, config, monkeypatch):
    paths = write_days(tmp_path / "all", traffic_of(2))
    build_city(replace(config, counters=(paths[0],)))
    real = reading.read_counts

    def breaks(path, mapping, ledger):
        yield next(real(path, mapping, ledger)).head(100)
        ledger.taken = 100
        raise IngestError("zstd files need zstandard")

    with monkeypatch.context() as patch:
        patch.setattr(reading, "read_counts", breaks)
        with pytest.raises(IngestError, match="zstandard"):
            append_city(config.out, [paths[1]])
    assert report_of(config.out)["taken"] == 460
    assert append_city(config.out, [paths[1]])["taken"] == 720


def test_cells_without_place_of_earlier_runs_stay_in_the_report(tmp_path, config):
    paths = write_days(tmp_path / "all", traffic_of(2))
    for path, letter in zip(paths, "XY", strict=True):
        path.write_text(path.read_text(encoding="utf-8").replace("S3-", f"{letter}3-"), encoding="utf-8")
    build_city(replace(config, counters=(paths[0],)))
    append_city(config.out, [paths[1]])
    assert set(report_of(config.out)["cells_without_place"]) == {f"{letter}3-{n}" for letter in "XY" for n in (1, 2, 3)}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_rights_is_named(tmp_path, config):
    paths = write_days(tmp_path / "counters", traffic_of(2))
    paths[1].chmod(0)
    assert "Permission denied" in next(iter(build_city(config)["faults"].values()))


@pytest.mark.parametrize("submit", [None, here])
def test_a_file_that_stays_broken_does_not_undo_what_others_corrected(tmp_path, config, submit):
    """Each run poured what could be read of it once more, over the corrections, and reported nothing."""
    first, second = traffic_of(2)[:24], traffic_of(2)[24:]
    paths = write_days(tmp_path / "all", traffic_of(2))
    folder = tmp_path / "counters"
    folder.mkdir()
    shutil.copy(paths[0], folder / "a.csv")
    whole = gzip.compress(paths[1].read_bytes(), mtime=0)
    (folder / "b.csv.gz").write_bytes(whole[:-60])
    build_city(config, submit=submit)
    cut = total(config.out)
    assert cut > first.sum() * GB
    text = polars.read_csv(paths[1]).with_columns(dl_bytes=0, users=0.0)
    text.write_csv(folder / "c.csv")
    append_city(config.out, [folder], submit=submit)
    assert total(config.out) == pytest.approx(first.sum() * GB, rel=1e-5)
    report = append_city(config.out, [folder], submit=submit)
    assert total(config.out) == pytest.approx(first.sum() * GB, rel=1e-5) and len(report["faults"]) == 1
    (folder / "b.csv.gz").write_bytes(whole)  # another content: a later delivery, which holds
    append_city(config.out, [folder], submit=submit)
    assert total(config.out) == pytest.approx((first.sum() + second.sum()) * GB, rel=1e-5)


@pytest.mark.parametrize("submit", [None, here])
def test_a_row_of_a_day_that_is_still_to_come_is_not_taken(tmp_path, config, submit):
    """One row of a wrong clock made a city of 56 years, for good."""
    paths = write_days(tmp_path / "counters", traffic_of(2))
    build_city(replace(config, counters=tuple(paths[:1])), submit=submit)
    paths[1].write_text(paths[1].read_text(encoding="utf-8") + "S1-1,2080-01-06 00:00:00,5,1.0\n", encoding="utf-8")
    report = append_city(config.out, paths[1:], submit=submit)
    assert report["rejected"] == {TO_COME: 1} and "2080-01-06" in report["first"][TO_COME]
    assert report["taken"] == 2 * 24 * 15 and fomo.open_city(config.out).sizes["time"] == 48
