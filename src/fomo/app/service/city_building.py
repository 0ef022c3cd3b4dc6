"""`fomo city`: an operator's files to a city, what was found, and the way back to a planner's tools."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fomo.app.errors import UsageError
from fomo.app.service.city_counts import counted_lines
from fomo.app.service.city_surroundings import Surroundings, category_lines, context_of, some_of
from fomo.config import parse
from fomo.ingest.alone import Progress
from fomo.ingest.build import BuildConfig, build_city, names_of_counters
from fomo.ingest.files import input_files
from fomo.ingest.ledger import IngestError
from fomo.ingest.mapping import Mapping, guess_mapping, load_mapping, mapping_text
from fomo.ingest.on_grid import SILENT_DAYS, OnGrid
from fomo.ingest.parallel import Submit
from fomo.ingest.store import CityStore

if TYPE_CHECKING:
    import xarray as xr

    from fomo.city import City

Kind = Literal["geotiff", "bil", "asc", "geojson", "gpkg", "cells"]
Statistic = Literal["mean", "busy_hour", "peak", "steps"]
#: A year, month, day, minute or second, without an offset.
TIME = re.compile(r"\d{4}(-\d\d(-\d\d([T ]\d\d:\d\d(:\d\d)?)?)?)?")


def mapping_of(path: Path | None, zone: str, pattern: str = "", unit: str = "") -> Mapping:
    """The mapping file, or an empty one; `zone`, `pattern` and the traffic's `unit` where that says none.

    Raises `ConfigError`, `UsageError`.
    """
    mapping = Mapping() if path is None else load_mapping(path)
    if zone and mapping.time.zone and zone != mapping.time.zone:
        raise UsageError(f"--time-zone {zone} contradicts the mapping's {mapping.time.zone}: say it once")
    if pattern and mapping.cell.pattern and pattern != mapping.cell.pattern:
        raise UsageError(f"--cell-pattern {pattern} contradicts the mapping's {mapping.cell.pattern}: say it once")
    if zone:
        raw = {**mapping.model_dump(), "time": {**mapping.time.model_dump(), "zone": zone}}
        mapping = parse(raw, Mapping, "--time-zone")
    if pattern:
        raw = {**mapping.model_dump(), "cell": {**mapping.cell.model_dump(), "pattern": pattern}}
        mapping = parse(raw, Mapping, "--cell-pattern")
    if unit and mapping.traffic.counters:
        raise UsageError(f"--unit {unit}: the mapping names counters and says their unit, {mapping.traffic.unit}")
    if unit:
        mapping = mapping.model_copy(update={"traffic": mapping.traffic.model_copy(update={"unit": unit})})
    return mapping


def guessed(counters: Sequence[str | Path], base: Mapping) -> tuple[str, tuple[str, ...], bool]:
    """The text of a mapping file for these counters, why each is taken, and whether the traffic is known.

    Where it is not, the text is still a file to complete, and the reason says among which names. Raises `IngestError`.
    """
    names = names_of_counters(input_files(counters))
    try:
        guess = guess_mapping(names, base)
    except IngestError as error:
        return mapping_text(base), (str(error),), False
    return mapping_text(guess.mapping), guess.reasons, True


def times_of(first: str, last: str) -> slice | None:
    """Periods from `first` to `last`, both with it; '' is no limit. Raises `UsageError` for what is no wall clock."""
    for option, text in (("--first", first), ("--last", last)):
        try:
            known = not text or (TIME.fullmatch(text) and not np.isnat(np.datetime64(text)))
        except ValueError:
            known = False
        if not known:
            raise UsageError(f"{option} {text} is no time of the city's wall clock: write it like 2024-03-01T00:00")
    return slice(first or None, last or None) if first or last else None


@contextmanager
def workers(processes: int, scheduler: str) -> Iterator[Submit | None]:
    """Where files are read: here (None), in processes of this machine, or on a dask cluster. Raises `UsageError`."""
    if scheduler:
        try:
            from distributed import Client
        except ImportError:
            raise UsageError("--scheduler needs dask: pip install 'fomo[cluster]'") from None
        try:
            client = Client(scheduler, timeout="10s")
        except (OSError, ValueError) as error:
            raise UsageError(f"--scheduler {scheduler}: no scheduler answers there ({error})") from None
        with client:
            yield partial(client.submit, pure=False)
    elif processes > 1:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            yield pool.submit
    elif processes == 1:
        yield None
    else:
        raise UsageError(f"--workers {processes}: one process at least")


def build(
    config: BuildConfig,
    around: Surroundings,
    *,
    rejects: Path | None = None,
    progress: Progress | None = None,
    submit: Submit | None = None,
) -> dict[str, Any]:
    """The city with its surroundings; returns the report, in which `around` says what became of their files.

    Raises `IngestError`, `ConfigError`.
    """
    if rejects is not None and rejects.exists() and not config.out.exists():
        raise UsageError(f"{rejects} exists: it is added to when a city goes on; remove it or name another")
    context = partial(context_of, around)
    return build_city(replace(config, context=context), rejects=rejects, progress=progress, submit=submit)


def report_lines(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What became of the rows that were read, for a terminal."""
    lines = counted_lines(report)
    lines += [("files not read", error) for error in report.get("faults", {}).values()]
    lost = report.get("cells_without_place", {})
    if lost:
        shown = some_of([f"{cell} ({count:,} rows)" for cell, count in lost.items()])
        lines.append(("cells without a place", f"{len(lost)}{'+' if len(lost) >= 100 else ''}: {shown}"))
    for title, cells in (
        ("cells without counters", report.get("sites", {}).get("without_counters")),
        ("cells off the grid", report.get("cells_off_the_grid")),
    ):
        if cells:
            lines.append((title, f"{len(cells)}: {some_of(cells)}"))
    lines += _on_grid_lines(report["on_grid"]) if "on_grid" in report else []
    if "days_off" in report:
        lines.append(("days off", f"of {report['days_off']['where']}"))
    lines += [("remark", text) for text in report.get("remarks", [])]
    around = report.get("around", {})
    lines += [("around", text) for text in around.get("told", [])]
    lines += category_lines(around["poi"]) if "poi" in around else []
    lines += [("guessed", reason) for reason in report.get("guessed", [])]
    return lines


def _on_grid_lines(found: OnGrid) -> list[tuple[str, str]]:
    share = found.lost / found.recorded if found.recorded else 0.0
    lost = f"{share:.2%} of what cells recorded ({_amount(found.lost)} of {_amount(found.recorded)} {found.unit})"
    why = ": their squares are missing, as other cells of these are, or they lie beside it" if found.lost else ""
    users = "" if found.users is None else f", users {found.users:.1%}"
    never = f"; {found.never} of these squares never have one" if found.never else ""
    latest = f", the last {found.days} of {found.of_days} days" if found.days < found.of_days else ""
    lines = [
        ("not on the grid", lost + latest + why),
        (
            "known on the grid",
            f"traffic {found.traffic:.1%}{users} of the values of {found.covered} squares{latest}{never}",
        ),
    ]
    if found.without_users:
        told = f"{found.without_users} of {found.cells}: users of squares that they share are not known"
        lines.append(("cells without users", told))
    if found.silent:
        some = some_of([f"{cell} (last {day})" if day else cell for cell, day in found.silent.items()])
        told = (
            f"{len(found.silent)} without a record in the last {SILENT_DAYS} days, so squares are missing: {some}. "
            "If they are out of service say so in a column 'to' of the site list ('fomo city append --sites'), if they "
            "have another name now with 'fomo city append --cell-names'"
        )
        lines.append(("silent cells", told))
    return lines


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def export(
    city: City,
    where: Path,
    out: Path,
    kind: Kind,
    *,
    statistic: Statistic | None = None,
    variable: str = "traffic",
    forecast: Path | None = None,
    times: slice | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """A city of `fomo city build`, or a forecast of it, in a form that others read; returns the files.

    `statistic`: by default the mean of rasters and every period of what holds times.

    Raises `IngestError`, `UsageError`.
    """
    from fomo.app.service.cell_shares import recorded_beside, usual_of_cells
    from fomo.app.service.outputs import check_place
    from fomo.exports.cells_csv import export_cells, forecast_per_cell
    from fomo.exports.city_cells import cells_of_city
    from fomo.exports.layers import dataset_of
    from fomo.exports.rasters import export_raster
    from fomo.exports.vectors import export_vector
    from fomo.forecast import Forecast

    check_place(out)
    if kind == "cells" and statistic not in (None, "steps"):
        raise UsageError(f"--statistic {statistic} is of maps: --kind cells holds every period")
    if kind in ("geojson", "gpkg", "cells") and variable != "traffic":
        raise UsageError(f"--variable {variable} is of rasters: --kind {kind} holds all of them")
    what = city if forecast is None else Forecast.open(forecast)
    if kind == "cells":
        store = CityStore(where)
        cells = cells_of_city(store)
        dataset_of(what, city, times)  # raises for another city's forecast, and where no period is left
        if isinstance(what, Forecast):
            spread = store.allocation()
            usual = usual_of_cells(cells, city, what, spread.in_service)
            recorded = recorded_beside(cells, city, what, spread.matrix)
            days, of_day = np.unique(what.dataset["time"].values.astype("datetime64[D]"), return_inverse=True)
            there = np.stack([spread.in_service(day) for day in days])[of_day]
            cells = forecast_per_cell(what, spread.matrix, spread.cells, usual, recorded, there)
            _say_not_shared(cells)
        if times is not None:
            cells = cells.sel(time=times)
        return [export_cells(cells, out, overwrite=overwrite)]
    given = None if forecast is None else city
    if kind == "geojson" or kind == "gpkg":
        statistic = statistic or "steps"
        written = export_vector(what, out, kind=kind, statistic=statistic, city=given, times=times, overwrite=overwrite)
        return [written]
    statistic = statistic or "mean"
    return list(
        export_raster(
            what, out, kind=kind, statistic=statistic, variable=variable, city=given, times=times, overwrite=overwrite
        )
    )


def _say_not_shared(cells: xr.Dataset) -> None:
    """Warn of what of a forecast is in no cell's row."""
    squares = cells.attrs["not_shared_grid_cells"]
    if squares:
        warnings.warn(
            f"{100 * cells.attrs['not_shared']:.2g} % of the forecast traffic is in no cell's row: {squares} squares, "
            "some at some times only, have no cell in service that ever carried any",
            stacklevel=3,
        )


__all__ = [
    "BuildConfig",
    "Kind",
    "Statistic",
    "Surroundings",
    "build",
    "export",
    "guessed",
    "mapping_of",
    "report_lines",
    "times_of",
    "workers",
]
