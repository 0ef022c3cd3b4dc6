"""An operator's files to a city on disk, file by file: what is done stays done, and the next run goes on from there."""

from __future__ import annotations

import json
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars

import fomo
from fomo.city import MINUTES_PER_DAY
from fomo.ingest.allocation import Allocation, Method, allocate
from fomo.ingest.counts import empty_counts
from fomo.ingest.files import input_files
from fomo.ingest.formats.forms import counter_names, form_of, read_counts
from fomo.ingest.formats.overview import Overview, overview, overview_of
from fomo.ingest.formats.table_rows import PeriodUnknown
from fomo.ingest.ground import Ground
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping, guess_mapping, mapping_text
from fomo.ingest.parallel import Submit, ingest_in_parallel
from fomo.ingest.pouring import Pouring
from fomo.ingest.reading import Batch, ahead, hash_of, read_files
from fomo.ingest.sites import choose_ground, make_sites, read_sites, stations_on
from fomo.ingest.store import ROOT, CityStore, Layout

#: What was read is made visible at the end of the first file after so many seconds, and at the end.
COMMIT_SECONDS = 10.0
#: Name -> (axes, values) of what does not change with time.
Layers = dict[str, tuple[tuple[str, ...], np.ndarray]]
#: Hears how many bytes of how many are read, and of which file.
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class BuildConfig:
    """What a city is built from. `minutes`: granularity period of the city, a multiple of the counters'."""

    counters: tuple[str | Path, ...]
    sites: Path
    out: Path
    mapping: Mapping = field(default_factory=Mapping)
    site_columns: dict[str, str] = field(default_factory=dict)
    cell_m: float = 1000.0
    crs: str | None = None
    minutes: int | None = None
    method: Method = "voronoi"
    name: str = ""
    licence: str = ""
    trust_suspect: bool = False
    context: Callable[[Ground], tuple[Layers, list[str]]] | None = None  # its layers, and whom to name for them


def build_city(
    config: BuildConfig,
    *,
    rejects: Path | None = None,
    progress: Progress | None = None,
    submit: Submit | None = None,
) -> dict[str, Any]:
    """Make the city, or go on with it where `out` is one of the same sites; returns the report of all that was read.

    `rejects`: a CSV of the rows that are not taken; `submit`: where the work is done, if not here (`parallel.py`).
    Raises `IngestError`, `ConfigError`.
    """
    files = input_files(config.counters)
    if config.out.is_dir() and not any(config.out.iterdir()):
        raise IngestError(f"{config.out} is an empty folder: remove it, or name a city that is not there yet")
    if config.out.exists() and not (config.out / ROOT).is_file():
        raise IngestError(f"{config.out} is there and is no city: name another place for the new one")
    asked = _asked(config)
    if config.out.exists():
        _check_asked(config.out, asked)
        return append_city(config.out, config.counters, rejects=rejects, progress=progress, submit=submit)
    site_ledger = Ledger()
    listed = read_sites(config.sites, config.site_columns or None, site_ledger)
    guess = guess_mapping(names_of_counters(files), config.mapping)
    mapping = guess.mapping
    first, cell_minutes, seen = _beginning(files, mapping)
    # A cell of the list that never reports would be missing for ever, and its ground with it.
    table = listed.table.filter(polars.col("cell").is_in(list(seen)))
    if not table.height:
        raise IngestError(
            f"no cell of {files[0]} is in {config.sites}: the counters have {sorted(seen)[:3]}, the list "
            f"{list(listed.cells[:3])}; take the cell's name out of the object's with [cell] pattern in the mapping"
        )
    sites = make_sites(table, str(config.sites))
    ground = choose_ground(sites, config.cell_m, config.crs)
    allocation = allocate(sites, ground, config.method)
    if not mapping.time.minutes:
        time_config = mapping.time.model_copy(update={"minutes": cell_minutes})
        mapping = mapping.model_copy(update={"time": time_config})
    step = config.minutes or cell_minutes
    if cell_minutes < 1 or MINUTES_PER_DAY % cell_minutes:
        raise IngestError(
            f"the counters of {files[0]} seem to have periods of {cell_minutes} minutes, which do not divide a day: "
            "correct [time] minutes in the mapping, or [columns] minutes if that column is not in minutes"
        )
    if step < 1 or step % cell_minutes or MINUTES_PER_DAY % step:
        raise IngestError(
            f"periods of {step} minutes cannot be made of the counters' {cell_minutes}: name a multiple of them that "
            "divides a day, such as 15, 30 or 60"
        )
    layers, named = config.context(ground) if config.context is not None else ({}, [])
    lon, lat = _positions(sites, allocation)
    layers = {**layers, "stations": (("y", "x"), stations_on(ground, listed.column("lon"), listed.column("lat")))}
    layout = Layout(
        ground=ground, cells=allocation.cells, cell_lon=lon, cell_lat=lat, cell_minutes=cell_minutes,
        step_minutes=step, first_day=first, users=bool(mapping.users.counters),
        cumulative=mapping.traffic.cumulative,
        attributes={
            "name": config.name or config.out.stem, "family": config.name or config.out.stem,
            "time_zone": mapping.time.zone, "unit": f"{mapping.traffic.unit} per {step} min",
            "licence": config.licence or "none stated", "source": ", ".join(sorted({file.name for file in files})[:3]),
            "context_source": "; ".join(filter(None, named)), "sha256": "", "synthetic": 0,
        },
        allocation=allocation,
    )  # fmt: skip
    said = {
        "mapping": mapping.model_dump(mode="json"), "mapping_text": mapping_text(mapping),
        "guessed": list(guess.reasons), "trust_suspect": config.trust_suspect, "method": config.method,
        "sites": {
            "file": config.sites.name, "sha256": hash_of(config.sites), "cells": len(allocation.cells),
            "without_counters": [cell for cell in listed.cells if cell not in seen],
            "rejected": dict(site_ledger.rejected), "noted": dict(site_ledger.noted),
        },
        "cells_off_the_grid": list(allocation.outside),
        "versions": {"fomo": fomo.__version__, "python": platform.python_version(), "polars": polars.__version__},
        "asked": asked,
    }  # fmt: skip
    store = CityStore.create(config.out, layout, layers, said)
    return _ingest(store, files, rejects, progress, submit)


def _asked(config: BuildConfig) -> dict[str, Any]:
    """What makes the city another one: kept with it, so that a later run with other wishes is told."""
    return {
        "mapping": config.mapping.model_dump(mode="json"), "sites": hash_of(config.sites) if config.sites.is_file()
        else "", "site_columns": dict(config.site_columns), "cell_m": config.cell_m, "crs": config.crs,
        "minutes": config.minutes, "method": config.method, "trust_suspect": config.trust_suspect,
    }  # fmt: skip


def _check_asked(out: Path, asked: dict[str, Any]) -> None:
    """Raises `IngestError` where the city was made of something else: it would stay as it is without a word."""
    before = CityStore(out).report.get("asked", asked)
    others = [name for name, value in asked.items() if before.get(name, value) != value]
    if others:
        raise IngestError(
            f"{out} was built with other {', '.join(others)}: remove it or name another place, or add files to it as "
            "it is with 'fomo city append'"
        )


def append_city(
    out: Path,
    counters: Sequence[str | Path],
    *,
    rejects: Path | None = None,
    progress: Progress | None = None,
    submit: Submit | None = None,
) -> dict[str, Any]:
    """Read more files into a city; those that were read already are left out. Raises `IngestError`."""
    return _ingest(CityStore(out), input_files(counters), rejects, progress, submit)


def _ingest(
    store: CityStore, files: Sequence[Path], rejects: Path | None, progress: Progress | None, submit: Submit | None
) -> dict[str, Any]:
    """Read what is not read yet. A file that cannot be read is written down, and the others are read all the same.

    Raises `IngestError` where none can be.
    """
    if submit is not None:
        if rejects is not None:
            raise IngestError("rows that are not taken are written out by one process: leave out the workers")
        return _with_rows(ingest_in_parallel(store, files, submit, progress), store, files)
    mapping = Mapping.model_validate(store.report["mapping"])
    known: dict[str, str] = dict(store.report.get("files", {}))  # hash -> name
    ledger = Ledger(
        rejects, int(store.report.get("taken", 0)), Counter(store.report.get("rejected", {})),
        Counter(store.report.get("noted", {})), dict(store.report.get("first", {})),
    )  # fmt: skip
    pouring = Pouring(store, mapping, ledger)
    pouring.cube.unknown.update(store.report.get("cells_without_place", {}))
    sizes = {file: _size(file) for file in files}
    done, whole = 0, sum(sizes.values())
    committed, faults = time.monotonic(), dict[str, str]()
    with ledger:
        for read in ahead(read_files(files, mapping, known, rejects)):
            if progress is not None:
                progress(done, whole, read.file.name)
            if isinstance(read, Batch):
                fault = pouring.try_to_add(read.counts, read.file.name)
                if fault:
                    faults.setdefault(str(read.file), fault)
                continue
            ledger.absorb(read.ledger)
            if read.fault:
                faults.setdefault(str(read.file), read.fault)
            elif str(read.file) not in faults:
                known.setdefault(read.key, read.file.name)
            done += sizes[read.file]
            if time.monotonic() - committed > COMMIT_SECONDS:
                pouring.flush()
                store.commit({**_said(ledger, pouring, known), "faults": faults})
                committed = time.monotonic()
        pouring.flush()
        store.commit({**_said(ledger, pouring, known), "faults": faults})
    if progress is not None:
        progress(done, whole, "")
    if len(faults) == len(files):
        raise IngestError(f"none of {len(files)} files can be read; the first: {next(iter(faults.values()))}")
    return _with_rows(store.report, store, files)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # it is named when it comes to be read
        return 0


def _with_rows(report: dict[str, Any], store: CityStore, files: Sequence[Path]) -> dict[str, Any]:
    """The report of a city that has rows. Raises `IngestError` where none was taken."""
    if not store.visible_days:
        most = Counter(report.get("rejected", {})).most_common(3)
        reasons = (f"{count} rows: {reason}, {report['first'][reason]}" for reason, count in most)
        told = "; ".join(reasons) or "their rows have no value, or there are none"
        raise IngestError(f"no row of {len(files)} files has a place in the city: {told}")
    return report


def _said(ledger: Ledger, pouring: Pouring, known: dict[str, str]) -> dict[str, Any]:
    worst = sorted(pouring.cube.unknown.items(), key=lambda item: -item[1])
    return {
        "files": known, "taken": ledger.taken, "rejected": dict(ledger.rejected), "noted": dict(ledger.noted),
        "first": ledger.first, "cells_without_place": dict(worst[:100]),
    }  # fmt: skip


def _some(files: Sequence[Path]) -> list[Path]:
    """The first files, and each so manieth of the others."""
    return [*files[:20], *files[20::200]]


def names_of_counters(files: Sequence[Path]) -> list[str]:
    """Counters of a few of the files, for they may be spread over kinds. Raises `IngestError` where none is read."""
    names: set[str] = set()
    faults: list[Exception] = []
    some = _some(files)
    for file in some:
        try:
            names |= set(counter_names(file))
        except (IngestError, OSError) as error:  # it is named when it comes to be read
            faults.append(error)
    if len(faults) == len(some):
        raise faults[0]
    return sorted(names)


def _beginning(files: Sequence[Path], mapping: Mapping) -> tuple[np.datetime64, int, set[str]]:
    """The first day of all files, the granularity period of the counters, and the cells that there are.

    Of every table the first rows are read, of other forms some files whole: times within a file grow, or all lie within
    a few days; names of files go with time; and a cell that does not report then does not belong to the network yet.
    What turns out to lie before the first day is counted, and said, when it is read. Where files of one period each do
    not say how long it is, it is the least distance of two of them.
    """
    ledger, times, cells = Ledger(), set[datetime](), set[str]()
    steps = Counter[int]()  # granularity period -> files
    anything = mapping.model_copy(update={"time": mapping.time.model_copy(update={"minutes": 1, "marks": "begin"})})
    single = set[datetime]()  # of files that do not say how long a period is: as written, begin or end
    faults: list[Exception] = []
    lacks: list[dict[str, str]] = []
    few = set(_some(files))
    for file in files:
        try:
            if file not in few and form_of(file) != "table":
                continue
            try:
                first = _first_rows(file, mapping, ledger)
                times |= first.times
                steps[first.minutes] += bool(first.minutes)
            except PeriodUnknown:
                first = _first_rows(file, anything, ledger)
                single |= first.times
            lacks.append(first.lacks)
        except (IngestError, OSError) as error:  # it is named when it comes to be read
            faults.append(error)
            continue
        cells |= first.cells
    # Some files may have one quantity alone, but one that none has is a mistake.
    if lacks and (nowhere := set.intersection(*(set(each) for each in lacks))):
        raise IngestError(lacks[0][min(nowhere)])
    if not times | single and faults:
        raise faults[0]
    if not times | single:
        reasons = "; ".join(f"{reason}: {ledger.first[reason]}" for reason in ledger.rejected) or "they hold no rows"
        raise IngestError(f"no row of {files[0]} and {len(files) - 1} more files can be read: {reasons}")
    # That of most files, the shorter of two: one odd file among them is named when it is read.
    minutes = min(steps, key=lambda step: (-steps[step], step), default=0)
    if not minutes:
        gaps = [round((late - early).total_seconds() / 60) for early, late in pairwise(sorted(single))]
        if not gaps:
            raise IngestError(
                f"{files[0]} has a single time, so its granularity period is not known: write it into the mapping, "
                "[time] minutes = 15"
            )
        minutes = min(gaps)
    ends = timedelta(minutes=minutes if mapping.time.marks == "end" else 0)
    earliest = min(times | {time - ends for time in single})
    return np.datetime64(earliest.date(), "D"), minutes, cells


def _first_rows(file: Path, mapping: Mapping, ledger: Ledger) -> Overview:
    """What the first rows of a file say, or all of a Parquet file."""
    if form_of(file) == "table":
        return overview(file, mapping, ledger)
    batches = read_counts(file, mapping, ledger)
    return overview_of(next((counts for counts in batches if counts.height), empty_counts()))


def _positions(sites: Any, allocation: Allocation) -> tuple[np.ndarray, np.ndarray]:
    order = polars.DataFrame({"cell": list(allocation.cells)})
    there = order.join(sites.table, on="cell", how="left", maintain_order="left")
    return there["lon"].to_numpy(), there["lat"].to_numpy()


def report_of(out: Path) -> dict[str, Any]:
    """What is known of how a city was built."""
    return dict(json.loads(CityStore(out).attributes["ingest"]))


__all__ = ["BuildConfig", "Layers", "Progress", "append_city", "build_city", "names_of_counters", "report_of"]
