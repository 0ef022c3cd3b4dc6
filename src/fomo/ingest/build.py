"""An operator's files to a city on disk, file by file: what is done stays done, and the next run goes on from there."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import polars

import fomo
from fomo.city import MINUTES_PER_DAY
from fomo.days_off import DaysOffSource
from fomo.ingest.allocation import Allocation, Method, allocate
from fomo.ingest.alone import Progress, ingest_alone
from fomo.ingest.beginning import beginning, names_of_counters
from fomo.ingest.files import input_files, named_shortly
from fomo.ingest.following import check_names, tell_mapping, tell_names
from fomo.ingest.ground import Ground
from fomo.ingest.ledger import IngestError, Ledger, check_rejects
from fomo.ingest.lock import locked
from fomo.ingest.mapping import Mapping, guess_mapping, mapping_text
from fomo.ingest.name_patterns import advice, advice_on_unknown, pattern_for
from fomo.ingest.on_grid import LATEST_DAYS, on_grid
from fomo.ingest.parallel import Submit, ingest_in_parallel
from fomo.ingest.pouring import left_out
from fomo.ingest.reading import hash_of
from fomo.ingest.reporting import cells_that_report
from fomo.ingest.sites import Sites, choose_ground, make_sites, read_sites, stations_on
from fomo.ingest.store import ROOT, CityStore, Layout
from fomo.ingest.switching import tell_service
from fomo.ingest.this_run import this_run
from fomo.ingest.undo import put_back
from fomo.ingest.unlike_days import remark_on_users_alone, unlike_days, unlike_remark

#: Name -> (axes, values) of what does not change with time.
Layers = dict[str, tuple[tuple[str, ...], np.ndarray]]


@dataclass(frozen=True)
class Context:
    """What is around the cells: layers of the grid, whom to name for them, and what became of their files."""

    layers: Layers = field(default_factory=dict)
    named: tuple[str, ...] = ()
    said: dict[str, Any] = field(default_factory=dict)  # to the city's report, under `around`


@dataclass(frozen=True)
class BuildConfig:
    """What a city is built from. `minutes`: granularity period of the city, a multiple of the counters'.

    `days_off`: a country or a table, see `days_off.DaysOffSource`; None: of a city that is there as it knows them.
    """

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
    days_off: str | Path | None = None
    context: Callable[[Ground], Context] | None = None


def build_city(
    config: BuildConfig,
    *,
    rejects: Path | None = None,
    progress: Progress | None = None,
    submit: Submit | None = None,
) -> dict[str, Any]:
    """Make the city, or go on with it where `out` is one of the same sites; returns the report of all that was read.

    `rejects`: a CSV of the rows that are not taken; `submit`: where the work is done, if not here (`parallel.py`).
    Raises `IngestError`, `ConfigError`, `CityError`.
    """
    files = input_files(config.counters)
    days_off = _source(config.days_off)
    _check_rejects(rejects, submit)
    if config.out.is_dir() and not any(config.out.iterdir()):
        raise IngestError(f"{config.out} is an empty folder: remove it, or name a city that is not there yet")
    if config.out.exists() and not (config.out / ROOT).is_file():
        raise IngestError(f"{config.out} is there and is no city: name another place for the new one")
    asked = _asked(config)
    if config.out.exists():
        _check_asked(config.out, asked)
        return _ingest(config.out, files, rejects, progress, submit, days_off)
    Thread(target=_import_libraries).start()
    site_ledger = Ledger()
    listed = read_sites(config.sites, config.site_columns or None, site_ledger)
    check_names(config.mapping.cell.names, listed.cells, str(config.sites))
    guess = guess_mapping(names_of_counters(files), config.mapping)
    mapping = guess.mapping
    with ThreadPoolExecutor(1) as beside:
        of_all = beside.submit(_spread, listed.table, config)  # while files are looked at: often all cells report
        first, cell_minutes, seen = beginning(files, mapping)
        # Where other names have a pattern in common, looking on would meet no cell but names of their kind.
        other = seen.isdisjoint(listed.cells) and pattern_for(sorted(seen), listed.cells) is not None
        sought = [cell for cell in listed.cells if cell not in mapping.cell.names]  # the others report as another
        reporting = set[str]() if other else cells_that_report(sought, seen, files, mapping, progress)
    # A cell of the list that never reports would be missing for ever, and its ground with it.
    table = listed.table.filter(polars.col("cell").is_in(list(reporting)))
    if not table.height:
        raise IngestError(
            f"no cell of {files[0]} is in {config.sites}: the counters have {sorted(seen)[:3]}, the list "
            f"{list(listed.cells[:3])}; {advice(sorted(seen), listed.cells)}"
        )
    spread = of_all.result() if table.height == listed.table.height else _spread(table, config)
    sites, ground, allocation = spread
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
    around = config.context(ground) if config.context is not None else Context()
    lon, lat = _positions(sites, allocation)
    stations = stations_on(ground, *(listed.column(name) for name in ("lon", "lat", "azimuth")))
    layers: Layers = {**around.layers, "stations": (("y", "x"), stations)}
    layout = Layout(
        ground=ground, cells=allocation.cells, cell_lon=lon, cell_lat=lat, cell_minutes=cell_minutes,
        step_minutes=step, first_day=first, users=bool(mapping.users.counters),
        cumulative=mapping.traffic.cumulative,
        attributes={
            "name": config.name or config.out.stem, "family": config.name or config.out.stem,
            "time_zone": mapping.time.zone, "unit": f"{mapping.traffic.unit} per {step} min",
            "licence": config.licence or "none stated", "source": named_shortly(file.name for file in files),
            "context_source": "; ".join(filter(None, around.named)), "sha256": "", "synthetic": 0,
        },
        allocation=allocation,
    )  # fmt: skip
    said = {
        "mapping": mapping.model_dump(mode="json"), "mapping_text": mapping_text(mapping),
        "guessed": list(guess.reasons), "trust_suspect": config.trust_suspect, "method": config.method,
        "sites": {
            "file": config.sites.name, "sha256": hash_of(config.sites), "cells": len(allocation.cells),
            "without_counters": [cell for cell in listed.cells if cell not in reporting],
            "rejected": dict(site_ledger.rejected), "noted": dict(site_ledger.noted),
        },
        "cells_off_the_grid": list(allocation.outside),
        "versions": {"fomo": fomo.__version__, "python": platform.python_version(), "polars": polars.__version__},
        "asked": asked, "around": around.said,
    }  # fmt: skip
    CityStore.create(config.out, layout, layers, said)
    return _ingest(config.out, files, rejects, progress, submit, days_off)


def _spread(table: polars.DataFrame, config: BuildConfig) -> tuple[Sites, Ground, Allocation]:
    """Cells of the list, the grid around them, and how they are spread over it. Raises `IngestError`."""
    sites = make_sites(table, str(config.sites))
    ground = choose_ground(sites, config.cell_m, config.crs)
    return sites, ground, allocate(sites, ground, config.method)


def _import_libraries() -> None:
    """What the ground and the store need, in half a second in which polars looks at the files.

    What is not installed is said where it is needed.
    """
    for name in ("pyproj", "shapely", "scipy.sparse", "scipy.spatial", "zarr"):
        with suppress(ImportError):
            import_module(name)


def _asked(config: BuildConfig) -> dict[str, Any]:
    """What makes the city another one: kept with it, so that a later run with other wishes is told."""
    return {
        "mapping": config.mapping.model_dump(mode="json"), "sites": hash_of(config.sites) if config.sites.is_file()
        else "", "site_columns": dict(config.site_columns), "cell_m": config.cell_m, "crs": config.crs,
        "minutes": config.minutes, "method": config.method, "trust_suspect": config.trust_suspect,
    }  # fmt: skip


def _check_asked(out: Path, asked: dict[str, Any]) -> None:
    """Raises `IngestError` where the city was made of something else: it would stay as it is without a word."""
    before = dict(CityStore(out).report.get("asked", asked))
    # What an older FoMo did not ask for is as it is by default.
    before["mapping"] = Mapping.model_validate(before.get("mapping", asked["mapping"])).model_dump(mode="json")
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
    days_off: str | Path | None = None,
    mapping: Mapping | None = None,
    names: dict[str, str] | None = None,
    sites: Path | None = None,
    site_columns: dict[str, str] | None = None,
    rejects: Path | None = None,
    progress: Progress | None = None,
    submit: Submit | None = None,
) -> dict[str, Any]:
    """Read more files into a city; those that were read already are left out. Raises `IngestError`, `CityError`.

    `days_off`: as of `BuildConfig`. `mapping`: what the counters mean from these files on, which the city keeps in its
    own one's place. `names`: more of `[cell] names` of the mapping, which are kept, too. With either, files that were
    read already are read again (`following.py`). `sites`: a newer site list, whose days in service are taken over.
    """
    _check_rejects(rejects, submit)
    files = input_files(counters)
    service = None if sites is None else (sites, site_columns or {})
    return _ingest(out, files, rejects, progress, submit, _source(days_off), mapping, names or {}, service)


def _check_rejects(rejects: Path | None, submit: Submit | None) -> None:
    """Raises `IngestError`, before anything is kept, where rejected rows cannot be written out."""
    if rejects is not None and submit is not None:
        raise IngestError("rows that are not taken are written out by one process: leave out the workers")
    if rejects is not None:
        check_rejects(rejects)


def _source(days_off: str | Path | None) -> DaysOffSource | None:
    return None if days_off is None else DaysOffSource.of(days_off)


def _ingest(
    out: Path, files: Sequence[Path], rejects: Path | None, progress: Progress | None, submit: Submit | None,
    days_off: DaysOffSource | None, mapping: Mapping | None = None, names: dict[str, str] | None = None,
    service: tuple[Path, dict[str, str]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Read what is not read yet, alone; the report's `remarks` say what had to be cleared away for it, and what is odd.

    `on_grid` in the report is an `OnGrid`; `this_run` a `ThisRun`, where the city had read something before.

    Raises `IngestError`.
    """
    CityStore(out)  # says what is wrong with a folder that is none
    with locked(out) as remarks:
        store = CityStore(out)  # as it is now: another process may have written until a moment ago
        put_back(out, store.commits)
        if days_off is not None:
            store.tell_days_off(days_off)
        if mapping is not None:
            tell_mapping(store, mapping, files)
        if names:
            remarks += tell_names(store, names, files)
        if service is not None:
            remarks += tell_service(store, *service)
        before, first_new = store.report, store.first_day + np.timedelta64(store.visible_days, "D")
        if submit is None:
            report = ingest_alone(store, files, rejects, progress)
        else:
            report = ingest_in_parallel(store, files, submit, progress)
        report = {**_with_rows(report, store, files), "on_grid": on_grid(store, LATEST_DAYS)}
        added = this_run(before, store.report, store.touched, first_new)
        report |= {} if added is None else {"this_run": added}
        unlike = unlike_remark(unlike_days(store, store.touched))
        users_alone = remark_on_users_alone(store, store.touched)
        remarks += [remark for remark in (unlike, users_alone) if remark]
        remarks += _remark_on_unknown(store, before.get("cells_without_place", {}))
    return {**report, "remarks": remarks} if remarks else report


def _remark_on_unknown(store: CityStore, before: dict[str, int]) -> list[str]:
    """What to do about names without a place that this run has met; `before`: those of earlier runs, and rows.

    Cells of the site list that did not report when the city was built have a remark of their own in the ledger.
    """
    lost = store.report.get("cells_without_place", {})
    listed = set(left_out(store))
    met = [name for name, rows in lost.items() if rows > before.get(name, 0) and name not in listed]
    patterned = bool(store.report["mapping"]["cell"].get("pattern"))
    told = advice_on_unknown(met, store.cell_names(), patterned=patterned)
    return [f"cells without a place: {told}"] if told else []


def _with_rows(report: dict[str, Any], store: CityStore, files: Sequence[Path]) -> dict[str, Any]:
    """The report of a city that has rows. Raises `IngestError` where none was taken."""
    if not store.visible_days:
        most = Counter(report.get("rejected", {})).most_common(3)
        reasons = (f"{count} rows: {reason}, {report['first'][reason]}" for reason, count in most)
        told = "; ".join(reasons) or "their rows have no value, or there are none"
        raise IngestError(f"no row of {len(files)} files has a place in the city: {told}")
    return report


def _positions(sites: Sites, allocation: Allocation) -> tuple[np.ndarray, np.ndarray]:
    order = polars.DataFrame({"cell": list(allocation.cells)})
    there = order.join(sites.table, on="cell", how="left", maintain_order="left")
    return there["lon"].to_numpy(), there["lat"].to_numpy()


def report_of(out: Path) -> dict[str, Any]:
    """What is known of how a city was built."""
    return dict(json.loads(CityStore(out).attributes["ingest"]))


__all__ = ["BuildConfig", "Context", "Layers", "append_city", "build_city", "names_of_counters", "report_of"]
