"""`fomo city`: an operator's files to a city, what was found, and the way back to a planner's tools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fomo.app.errors import UsageError
from fomo.city import City
from fomo.config import parse
from fomo.forecast import Forecast
from fomo.ingest.build import BuildConfig, Layers, Progress, build_city, names_of_counters
from fomo.ingest.files import input_files
from fomo.ingest.ground import Ground
from fomo.ingest.mapping import Mapping, guess_mapping, load_mapping, mapping_text
from fomo.ingest.openstreetmap import poi_of_extract
from fomo.ingest.parallel import Submit
from fomo.ingest.poi_table import poi_of_table
from fomo.ingest.residents import residents_of
from fomo.ingest.store import CityStore

Kind = Literal["geotiff", "bil", "asc", "geojson", "gpkg", "cells"]
Statistic = Literal["mean", "busy_hour", "peak", "steps"]


@dataclass(frozen=True)
class Surroundings:
    """Files that say what is around the cells."""

    poi: Path | None = None  # .osm.pbf, or a table of points
    residents: Path | None = None  # a raster, or a table of points


def mapping_of(path: Path | None, zone: str) -> Mapping:
    """The mapping file, or an empty one; `zone` where that says none. Raises `ConfigError`, `UsageError`."""
    mapping = Mapping() if path is None else load_mapping(path)
    if zone and mapping.time.zone and zone != mapping.time.zone:
        raise UsageError(f"--time-zone {zone} contradicts the mapping's {mapping.time.zone}: say it once")
    if not zone:
        return mapping
    raw = {**mapping.model_dump(), "time": {**mapping.time.model_dump(), "zone": zone}}
    return parse(raw, Mapping, "--time-zone")


def guessed(counters: Sequence[str | Path], base: Mapping) -> tuple[str, tuple[str, ...]]:
    """The text of a mapping file for these counters, and why each is taken. Raises `IngestError`."""
    guess = guess_mapping(names_of_counters(input_files(counters)), base)
    return mapping_text(guess.mapping), guess.reasons


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
    """The city with its surroundings; returns the report. Raises `IngestError`, `ConfigError`."""
    if rejects is not None and rejects.exists() and not config.out.exists():
        raise UsageError(f"{rejects} exists: it is added to when a city goes on; remove it or name another")
    context = partial(context_layers, around)
    return build_city(replace(config, context=context), rejects=rejects, progress=progress, submit=submit)


def context_layers(around: Surroundings, ground: Ground) -> tuple[Layers, list[str]]:
    """POI in the paper's categories and residents on the ground, and whom to name for them."""
    layers: Layers = {}
    sources: list[str] = []
    if around.poi is not None:
        of_map = around.poi.name.endswith((".pbf", ".osm"))
        poi = poi_of_extract(around.poi, ground) if of_map else poi_of_table(around.poi, ground)
        layers["poi"] = (("category", "y", "x"), poi.count.astype(np.float32))
        layers["category"] = (("category",), np.array(poi.names, dtype=object))
        sources.append(poi.attribution)
    if around.residents is not None:
        residents = residents_of(around.residents, ground)
        layers["residents"] = (("y", "x"), residents.count.astype(np.float32))
        sources.append(residents.source)
    return layers, sources


def report_lines(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What became of the rows that were read, for a terminal."""
    lines = [("files read", str(len(report.get("files", {})))), ("rows taken", f"{report.get('taken', 0):,}")]
    first = report.get("first", {})
    for kind, title in (("rejected", "rows not taken"), ("noted", "rows taken and marked")):
        for reason, count in sorted(report.get(kind, {}).items(), key=lambda item: -item[1]):
            where = f", first: {first[reason]}" if first.get(reason) else ""
            lines.append((title, f"{count:,} {reason}{where}"))
    lines += [("files not read", error) for error in report.get("faults", {}).values()]
    lost = report.get("cells_without_place", {})
    if lost:
        shown = ", ".join(f"{cell} ({count} rows)" for cell, count in list(lost.items())[:5])
        lines.append(("cells without a place", f"{len(lost)}{'+' if len(lost) >= 100 else ''}: {shown}"))
    sites = report.get("sites", {})
    if sites.get("without_counters"):
        idle = sites["without_counters"]
        lines.append(("sites without counters", f"{len(idle)}: {', '.join(idle[:5])}"))
    if report.get("cells_off_the_grid"):
        lines.append(("cells off the grid", ", ".join(report["cells_off_the_grid"][:5])))
    lines += [("guessed", reason) for reason in report.get("guessed", [])]
    return lines


def export(
    city: City,
    where: Path,
    out: Path,
    kind: Kind,
    *,
    statistic: Statistic = "mean",
    variable: str = "traffic",
    forecast: Path | None = None,
    times: slice | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """A city of `fomo city build`, or a forecast of it, in a form that others read; returns the files.

    Raises `IngestError`, `UsageError`.
    """
    from fomo.exports.cells_csv import export_cells, forecast_per_cell
    from fomo.exports.rasters import export_raster
    from fomo.exports.vectors import export_vector

    what = city if forecast is None else Forecast.open(forecast)
    if kind == "cells":
        store = CityStore(where)
        cells = store.cells()
        if isinstance(what, Forecast):
            usual = cells["traffic"].mean("time").values
            cells = forecast_per_cell(what, store.allocation().matrix, store.allocation().cells, usual)
        elif times is not None:
            cells = cells.sel(time=times)
        return [export_cells(cells, out, overwrite=overwrite)]
    given = None if forecast is None else city
    if kind == "geojson" or kind == "gpkg":
        return [export_vector(what, out, kind=kind, city=given, times=times, overwrite=overwrite)]
    return list(
        export_raster(
            what, out, kind=kind, statistic=statistic, variable=variable, city=given, times=times, overwrite=overwrite
        )
    )


__all__ = [
    "BuildConfig",
    "Kind",
    "Statistic",
    "Surroundings",
    "build",
    "context_layers",
    "export",
    "guessed",
    "mapping_of",
    "report_lines",
    "workers",
]
