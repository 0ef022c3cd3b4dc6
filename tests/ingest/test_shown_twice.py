"""Hours that the wall clock shows twice: rows said again, corrected, appended, and read by several processes."""

from __future__ import annotations

import shutil
from concurrent.futures import Future
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars
import pytest
from counts_made import counts

from fomo.ingest.build import BuildConfig, append_city, build_city
from fomo.ingest.cube import CORRECTED, REPEATED, TWICE, Cube, State
from fomo.ingest.ledger import Ledger
from fomo.ingest.mapping import Mapping
from fomo.ingest.shown_twice import later_of, mean_of
from fomo.ingest.store import CityStore

AUTUMN = np.datetime64("2024-10-27", "D")
START = datetime(2024, 10, 26)  # UTC; in Rome 02:00 comes at 00:00 and at 01:00 of the 27th


def filled(*rows, **more):
    """A cube of one cell with rows (value, whether it is the second of 02:00), each a batch."""
    cube = Cube(("a",), 60, "Europe/Rome", Ledger(), **more)
    for value, second in rows:
        cube.add(counts([("a", "2024-10-27T02:00", value, None, False, second)], 60), "file")
    return cube


@pytest.mark.parametrize(
    ("rows", "mean", "repeated", "corrected"),
    [
        ([(25.0, False), (26.0, True)], 25.5, 0, 0),
        ([(25.0, False), (25.0, False), (26.0, True)], 25.5, 1, 0),  # was 25.33: the mean of three
        ([(26.0, True), (25.0, False), (26.0, True)], 25.5, 1, 0),
        ([(20.0, False), (26.0, True), (25.0, False)], 25.5, 0, 1),  # was 23.67
        ([(25.0, False)], 25.0, 0, 0),
        ([(25.0, None), (26.0, None)], 25.5, 0, 0),
        ([(25.0, None), (25.0, None), (26.0, None)], 25.5, 0, 1),  # files that overlap: which is which is in the values
        ([(25.0, None), (26.0, None), (25.0, None), (26.0, None)], 25.5, 2, 0),
        ([(25.0, None), (26.0, None), (27.0, None)], 26.0, 0, 1),
    ],
)
def test_a_row_said_again_counts_once_and_a_correction_alone(rows, mean, repeated, corrected):
    """A file that overlapped the one before weighed an hour twice, and a corrected value stayed in the mean."""
    cube = filled(*rows)
    day = cube.days[AUTUMN]
    assert day.traffic[2, 0] == mean and day.state[2, 0] == State.CLOCK_CHANGE
    noted = cube.ledger.noted
    assert (noted[REPEATED], noted[CORRECTED], noted[TWICE]) == (repeated, corrected, len(rows))


@pytest.mark.parametrize("batches", [1, 2, 5])
def test_rows_of_one_batch_are_as_rows_one_by_one(batches):
    """The same by a dictionary, whatever the order and the batches."""
    random = np.random.default_rng(batches)
    rows = [
        (f"c{random.integers(4)}", f"2024-10-27T02:{15 * random.integers(4):02}", float(random.integers(5)), None,
         False, bool(random.integers(2)))
        for _ in range(200)
    ]  # fmt: skip
    cube = Cube(tuple(f"c{cell}" for cell in range(4)), 15, "Europe/Rome", Ledger())
    for part in np.array_split(np.arange(200), batches):
        cube.add(counts([rows[row] for row in part]), "file")
    last = {(cell, begin, second): value for cell, begin, value, _, _, second in rows}
    for cell in range(4):
        for quarter in range(4):
            key = f"c{cell}", f"2024-10-27T02:{15 * quarter:02}"
            known = [last[(*key, second)] for second in (False, True) if (*key, second) in last]
            assert cube.days[AUTUMN].traffic[8 + quarter, cell] == np.mean(known)
    assert cube.ledger.noted[REPEATED] + cube.ledger.noted[CORRECTED] == 200 - len(last)


def test_of_a_counter_that_only_grows_the_later_reading_stands():
    assert filled((25.0, False), (26.0, True), cumulative=True).days[AUTUMN].traffic[2, 0] == 26


def test_of_two_values_one_may_be_missing():
    both = np.array([[1.0, np.nan, 3.0, np.nan], [2.0, 5.0, np.nan, np.nan]], np.float32)
    np.testing.assert_array_equal(mean_of(both), [1.5, 5, 3, np.nan])
    np.testing.assert_array_equal(later_of(both), [2, 5, 3, np.nan])


def test_a_day_of_which_the_mean_alone_is_known_takes_both_hours_anew():
    """As an older FoMo stored it: no more than the mean of what it had."""
    stored = filled((25.0, False)).days[AUTUMN]
    stored.twice = None
    assert filled((25.0, False), (26.0, True), load=lambda _: stored).days[AUTUMN].traffic[2, 0] == 25.5


def write_hours(path: Path, first: int, last: int) -> Path:
    """Hours of three cells by their instants, each with its number."""
    rows = [
        (cell, f"{START + timedelta(hours=hour):%Y-%m-%dT%H:%M:%S}Z", hour + 1)
        for hour in range(first, last)
        for cell in "ABC"
    ]
    polars.DataFrame(rows, schema=["cell", "time", "traffic"], orient="row").write_csv(path)
    return path


@pytest.fixture
def config(tmp_path):
    """A first file that ends with the first 02:00, and a second that begins an hour before it."""
    sites = tmp_path / "sites.csv"
    sites.write_text("cell,lon,lat\nA,9.0,45.4\nB,9.02,45.4\nC,9.0,45.42\n", encoding="utf-8")
    files = write_hours(tmp_path / "1.csv", 0, 25), write_hours(tmp_path / "2.csv", 23, 72)
    mapping = Mapping.model_validate({"time": {"zone": "Europe/Rome"}})
    return BuildConfig(counters=files, sites=sites, out=tmp_path / "city.zarr", mapping=mapping)


def hour_of(city: Path) -> np.ndarray:
    return CityStore(city).cells()["traffic"].sel(time="2024-10-27T02:00").values


def at_once(work, *arguments):
    """A task done in this process."""
    done: Future[object] = Future()
    done.set_result(work(*arguments))
    return done


def test_files_that_overlap_in_such_an_hour_make_one_city_in_any_way(config, tmp_path):
    """In one build, by an append, by tasks: 02:00 was 25.33 each time."""
    build_city(config)
    assert (hour_of(config.out) == 25.5).all()
    appended, tasks, both = (tmp_path / name for name in ("appended.zarr", "tasks.zarr", "both.zarr"))
    for out in (appended, both):
        build_city(BuildConfig(**{**vars(config), "out": out, "counters": config.counters[:1]}))
        assert (hour_of(out) == 25).all()
    append_city(appended, config.counters)
    append_city(both, config.counters, submit=at_once)
    build_city(BuildConfig(**{**vars(config), "out": tasks}), submit=at_once)
    wanted = CityStore(config.out)
    for out in (appended, tasks, both):
        found = CityStore(out)
        for name in ("traffic", "state"):
            assert found.cells()[name].values.tobytes() == wanted.cells()[name].values.tobytes()
        assert found.report["noted"] == wanted.report["noted"]
    assert wanted.report["noted"][REPEATED] == 6


def test_a_city_without_the_two_hours_still_grows(config):
    """As one that was built before they were kept."""
    build_city(BuildConfig(**{**vars(config), "counters": config.counters[:1]}))
    shutil.rmtree(config.out / ".twice")
    append_city(config.out, config.counters[1:])
    assert (hour_of(config.out) == 25.5).all()


class Killed(BaseException):
    """As SIGKILL would have it."""


def test_what_a_killed_run_has_said_of_such_an_hour_is_put_back(config, monkeypatch):
    build_city(BuildConfig(**{**vars(config), "counters": config.counters[:1]}))
    kept = (config.out / ".twice/2024-10-27.npz").read_bytes()

    def dies(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(CityStore, "commit", dies)
        with pytest.raises(Killed):
            append_city(config.out, config.counters[1:])
    assert (config.out / ".twice/2024-10-27.npz").read_bytes() != kept
    report = append_city(config.out, config.counters[1:])
    assert (hour_of(config.out) == 25.5).all() and report["noted"][REPEATED] == 6
