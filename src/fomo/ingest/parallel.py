"""The same city from several processes, on one machine or many: a task reads a file, then a task writes a day.

    with ProcessPoolExecutor(2) as pool:
        ingest_in_parallel(store, files, pool.submit, rejects=None)

What a file says of a day is written beside the city (`.parts/`), named by the file's hash: a run that was killed finds
it there. Then each day is put together in the order of the files, spread over the grid, and written to its own region
of the store, which all processes reach by its path. Bit for bit what one process makes (a test holds it). `submit` is
that of a `concurrent.futures` pool or of a `dask.distributed.Client`.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars

from fomo.files import whole_file
from fomo.ingest.clock import clock_changes
from fomo.ingest.counts import COUNTS
from fomo.ingest.cube import CORRECTED, REPEATED, Cube, Day, State
from fomo.ingest.faulty import Faulty
from fomo.ingest.formats.forms import read_counts
from fomo.ingest.gridding import grid_day
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping
from fomo.ingest.pouring import add_or_reject, days_at_hand, left_out
from fomo.ingest.reading import hash_of
from fomo.ingest.renamed import of_renamed
from fomo.ingest.shown_twice import Twice
from fomo.ingest.store import CityStore

#: (function, *arguments) -> something with result().
Submit = Callable[..., Any]


def ingest_in_parallel(
    store: CityStore, files: Sequence[Path], submit: Submit, progress: Callable[[int, int, str], None] | None = None
) -> dict[str, Any]:
    """Read files into the city by tasks; returns the report. Raises `IngestError`.

    Counters that only grow need the period before, and so one process.
    """
    mapping = Mapping.model_validate(store.report["mapping"])
    if mapping.traffic.cumulative:
        raise IngestError("counters that only grow are read by one process: leave out the workers")
    known: dict[str, str] = dict(store.report.get("files", {}))
    in_part = dict(store.report.get("files_in_part", {}))
    renamed = dict(store.report.get("renamed", {}))
    parts = store.path / ".parts"
    faults: dict[str, str] = {}
    of_key: dict[str, Path] = {}  # a copy of a file is read once
    for file in files:
        try:
            of_key.setdefault(hash_of(file), file)
        except IngestError as error:
            faults[str(file)] = str(error)
    begun = [str(file) for key, file in of_key.items() if key in in_part]
    if begun:
        raise IngestError(f"{begun[0]} was read in part by one process: finish it without the workers first")
    new = [(file, key) for key, file in of_key.items() if key not in known]
    reading = [submit(read_part, str(store.path), str(file), key) for file, key in new]
    ledger = Ledger(
        None, int(store.report.get("taken", 0)), Counter(store.report.get("rejected", {})),
        Counter(store.report.get("noted", {})), dict(store.report.get("first", {})),
    )  # fmt: skip
    unknown = Counter(store.report.get("cells_without_place", {}))
    faulty = Faulty(ledger, unknown, store.report.get("faulty", {}))
    days: dict[str, list[str]] = {}  # date -> keys of the files that say something of it, in their order
    for number, ((file, key), task) in enumerate(zip(new, reading, strict=True)):
        said = task.result()
        if said["fault"]:
            faults[str(file)] = said["fault"]
            if faulty.has(file, key):  # its rows are there, and counted
                continue
        else:
            known[key] = file.name
            renamed.pop(key, None)
        faulty.begin(file)
        ledger.taken += said["taken"]
        ledger.rejected.update(said["rejected"])
        ledger.noted.update(said["noted"])
        unknown.update(said["unknown"])
        for what, where in said["first"].items():
            ledger.first.setdefault(what, where)
        faulty.end(key, said["fault"], said.get("rows", 0))
        for date in said["days"]:
            days.setdefault(date, []).append(key)
        if progress is not None:
            progress(number + 1, len(new), file.name)
    if faults and len(faults) == len(files):
        raise IngestError(f"none of {len(files)} files can be read; the first: {next(iter(faults.values()))}")
    store.reserve([np.datetime64(date, "D") for date in days])
    writing = [submit(write_day, str(store.path), store.days, date, found) for date, found in sorted(days.items())]
    for task in writing:
        ledger.noted.update(task.result())
    store.commit(
        {
            "files": known, "taken": ledger.taken, "rejected": dict(ledger.rejected), "noted": dict(+ledger.noted),
            "first": ledger.first, "cells_without_place": dict(unknown.most_common(100)), "faults": faults,
            "faulty": faulty.counted, "renamed": renamed,
        }
    )  # fmt: skip
    shutil.rmtree(parts, ignore_errors=True)
    return store.report


def read_part(city: str, file: str, key: str) -> dict[str, Any]:
    """What a file says, each of its days to `.parts/DATE/KEY.npz`; returns counts of rows, as a task can."""
    path, store = Path(file), CityStore(Path(city))
    done = store.path / ".parts" / f"{key}.json"
    if done.exists():
        return dict(json.loads(done.read_text(encoding="utf-8")))
    mapping = Mapping.model_validate(store.report["mapping"])
    ledger, rows, refused, broken = Ledger(), 0, "", ""
    cells = store.cell_names()
    written = set[np.datetime64]()

    def part_of(date: np.datetime64) -> Path:
        return store.path / ".parts" / str(date) / f"{key}.npz"

    def load(date: np.datetime64) -> Day | None:
        return _read_day(part_of(date)) if date in written else None

    def write_out() -> None:
        for date, day in cube.days.items():
            with whole_file(part_of(date)) as fresh:
                more = {} if day.twice is None else day.twice.arrays()
                np.savez(fresh, traffic=day.traffic, users=day.users, state=day.state, **more)
        written.update(cube.days)
        cube.days.clear()

    cube = Cube(cells, store.cell_minutes, mapping.time.zone, ledger, load, store.first_day, left_out(store))
    most, renamed = days_at_hand(store.cell_minutes, len(cells)), store.report.get("renamed", {}).get(key)
    try:
        for read in read_counts(path, mapping, ledger):
            rows += read.height
            counts = of_renamed(read, renamed, ledger)
            if counts.height:
                refused = add_or_reject(cube, counts, path.name, cube.add) or refused
            if len(cube.days) > most:
                write_out()
    except IngestError as error:
        broken = str(error)
    except OSError as error:
        broken = f"{path} cannot be read ({error.strerror}): check the disk and its rights"
    write_out()
    said = {
        "fault": refused or broken, "rows": 0 if refused else rows, "taken": ledger.taken,
        "rejected": dict(ledger.rejected), "noted": dict(ledger.noted), "first": ledger.first,
        "unknown": cube.unknown, "days": sorted(map(str, written)),
    }  # fmt: skip
    if not (refused or broken):  # a file that could not be read is tried again
        with whole_file(done) as fresh:
            fresh.write_text(json.dumps(said), encoding="utf-8")
    return said


def write_day(city: str, days: int, date: str, keys: Sequence[str]) -> dict[str, int]:
    """A day from its parts, in their order, to its region of the store; returns what came up twice.

    `days`: that the store has room for.
    """
    store = CityStore(Path(city), days)
    cells = store.cell_names()
    mapping = Mapping.model_validate(store.report["mapping"])
    ledger, when = Ledger(), np.datetime64(date, "D")
    cube = Cube(cells, store.cell_minutes, mapping.time.zone, ledger, store.visible_day)
    for key in keys:
        cube.add(_rows(when, _read_day(store.path / ".parts" / date / f"{key}.npz"), cube), key)
    day = cube.day(when)
    minutes = (store.cell_minutes, store.step_minutes)
    trust, never = bool(store.report.get("trust_suspect")), clock_changes(when, mapping.time.zone, cube.minutes)[1]
    allocation = store.allocation()
    traffic, users = grid_day(day, allocation, *minutes, trust, never, allocation.in_service(when))
    store.write(when, day, traffic, users)
    return {what: ledger.noted[what] for what in (REPEATED, CORRECTED) if ledger.noted[what]}


def _read_day(path: Path) -> Day:
    with np.load(path) as part:
        return Day(part["traffic"], part["users"], part["state"], twice=Twice.from_arrays(part))


def _rows(date: np.datetime64, day: Day, cube: Cube) -> polars.DataFrame:
    """A day's values as the rows that they were."""
    once = np.full(len(day.traffic), True)
    parts = list[polars.DataFrame]()
    if day.twice is not None:
        twice, _ = clock_changes(date, cube.zone, cube.minutes)
        once = ~twice
        known = np.isfinite(day.twice.traffic) | np.isfinite(day.twice.users)
        showing, number, code = np.nonzero(known)
        period = np.flatnonzero(twice)[number]
        at = showing, number, code
        second = polars.Series(showing == 1).set(polars.Series(day.twice.by_order[at]), None)
        parts.append(_table(date, day, cube, period, code, day.twice.traffic[at], day.twice.users[at], second))
    period, code = np.nonzero((np.isfinite(day.traffic) | np.isfinite(day.users)) & once[:, None])
    parts.append(_table(date, day, cube, period, code, day.traffic[period, code], day.users[period, code]))
    return polars.concat(parts)


def _table(
    date: np.datetime64,
    day: Day,
    cube: Cube,
    period: np.ndarray,
    code: np.ndarray,
    traffic: np.ndarray,
    users: np.ndarray,
    second: polars.Series | None = None,
) -> polars.DataFrame:
    """Values of cells in periods of a day as `COUNTS`."""
    begin = date.astype("datetime64[us]") + period * np.timedelta64(cube.minutes, "m")
    return polars.DataFrame(
        {
            "cell": np.array(cube.cells, dtype=object)[code], "begin": begin,
            "minutes": np.full(len(period), cube.minutes, np.int32),
            "traffic": polars.Series(traffic.astype(float)).fill_nan(None),
            "users": polars.Series(users.astype(float)).fill_nan(None),
            "suspect": day.state[period, code] == State.SUSPECT,
            "second": polars.repeat(None, len(period), dtype=polars.Boolean, eager=True) if second is None else second,
        },
        schema=COUNTS,
    )  # fmt: skip


__all__ = ["Submit", "ingest_in_parallel", "read_part", "write_day"]
