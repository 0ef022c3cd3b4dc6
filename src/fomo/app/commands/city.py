"""`fomo city build | append | inspect | export | mapping`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg, subcommand

from fomo.app.commands.console import plain_table, show, working, wrote
from fomo.app.commands.options import DaysOff, columns_of

Counters = Annotated[
    tuple[str, ...],
    arg(metavar="FILE", help="Counter files, folders of them, or globs in quotes; also .gz and .zst."),
]
CityFolder = Annotated[Path, Positional, arg(metavar="CITY", help="A city of 'fomo city build', *.zarr.")]
MappingFile = Annotated[
    Path | None,
    arg(metavar="FILE", help="What the counters mean (.toml).", help_behavior_hint="(default: guessed, and shown)"),
]
Zone = Annotated[
    str, arg(metavar="ZONE", help="Whose wall clock the times are, for example: Europe/Rome.", help_behavior_hint="")
]
Pattern = Annotated[
    str,
    arg(
        metavar="REGEX",
        help="Takes the cell's name out of an object's, in its group, for example: 'Cell Name=([^,]+)'.",
        help_behavior_hint="(default: the object's name)",
    ),
]
Rejects = Annotated[
    Path | None,
    arg(metavar="FILE", help="Also write every row that is not taken (.csv).", help_behavior_hint="(default: none)"),
]

SiteColumns = Annotated[
    tuple[str, ...],
    arg(
        metavar="NAME=COLUMN",
        help="What columns of the sites are called: cell, lon, lat, azimuth, range_km, range_m, from, to; "
        "like lon=X_WGS.",
        help_behavior_hint="",
    ),
]
Workers = Annotated[int, arg(metavar="N", help="Processes that read the files.")]
Scheduler = Annotated[
    str,
    arg(
        metavar="ADDRESS",
        help="A dask scheduler whose workers read instead; they reach the same paths.",
        help_behavior_hint="(default: none)",
    ),
]


@dataclass(frozen=True)
class Build:
    """An operator's counters and site list to a city on a grid; goes on where it was killed."""

    counters: Counters
    sites: Annotated[
        Path, arg(metavar="FILE", help="Cells with lon, lat and perhaps azimuth and range (.csv, .parquet).")
    ]
    out: Annotated[Path, arg(metavar="DIR", help="The city's folder, *.zarr.")]
    mapping: MappingFile = None
    time_zone: Zone = ""
    cell_pattern: Pattern = ""
    unit: Annotated[
        str, arg(metavar="TEXT", help="Of a traffic column that is taken as it is, like MB.", help_behavior_hint="")
    ] = ""
    site_columns: SiteColumns = ()
    cell_km: Annotated[float, arg(metavar="KM", help="Edge of a grid cell.")] = 1.0
    crs: Annotated[
        str | None,
        arg(metavar="EPSG", help="Projection in metres.", help_behavior_hint="(default: the UTM zone of the sites)"),
    ] = None
    minutes: Annotated[
        int | None,
        arg(metavar="MIN", help="Granularity period of the city.", help_behavior_hint="(default: the counters')"),
    ] = None
    method: Literal["voronoi", "point"] = "voronoi"
    """How a cell's traffic is spread: over its sector of the site's Voronoi region, or all where the site stands."""
    poi: Annotated[
        Path | None,
        arg(metavar="FILE", help="Points of interest: .osm.pbf or a table.", help_behavior_hint="(default: none)"),
    ] = None
    poi_columns: Annotated[
        tuple[str, ...],
        arg(metavar="NAME=COLUMN", help="What a table's lon, lat and category are called.", help_behavior_hint=""),
    ] = ()
    poi_gcj02: bool = False
    """The table's points are GCJ-02, as AMap and Tencent give them: move them to WGS 84."""
    residents: Annotated[
        Path | None, arg(metavar="FILE", help="Residents: a raster or a table.", help_behavior_hint="(default: none)")
    ] = None
    residents_columns: Annotated[
        tuple[str, ...],
        arg(metavar="NAME=COLUMN", help="What a table's lon, lat and people are called.", help_behavior_hint=""),
    ] = ()
    name: Annotated[
        str, arg(metavar="NAME", help="Name of the city.", help_behavior_hint="(default: the folder's)")
    ] = ""
    licence: Annotated[str, arg(metavar="TEXT", help="Of the counters.", help_behavior_hint="")] = ""
    trust_suspect: bool = False
    """Take values that their file calls suspect; otherwise they are missing on the grid."""
    days_off: DaysOff = None
    rejects: Rejects = None
    workers: Workers = 1
    scheduler: Scheduler = ""

    def run(self) -> int:
        """Read, spread, write, and say what was found."""
        with working("reading"):
            from fomo.app.service.city_building import BuildConfig, Surroundings, build, mapping_of, workers

            config = BuildConfig(
                counters=self.counters, sites=self.sites, out=self.out,
                mapping=mapping_of(self.mapping, self.time_zone, self.cell_pattern, self.unit),
                cell_m=1000 * self.cell_km, crs=self.crs, minutes=self.minutes, method=self.method, name=self.name,
                licence=self.licence, trust_suspect=self.trust_suspect, days_off=self.days_off,
                site_columns=columns_of("--site-columns", self.site_columns, "lon=X_WGS"),
            )  # fmt: skip
            around = Surroundings(
                self.poi, self.residents, poi_shifted=self.poi_gcj02,
                poi_columns=columns_of("--poi-columns", self.poi_columns, "category=TYPE"),
                residents_columns=columns_of("--residents-columns", self.residents_columns, "people=POP"),
            )  # fmt: skip
        with workers(self.workers, self.scheduler) as submit, _Bytes() as hear:
            report = build(config, around, rejects=self.rejects, progress=hear, submit=submit)
        return _told(report, self.out)


@dataclass(frozen=True)
class Append:
    """More counter files into a city: new days, and late rows of old ones."""

    city: CityFolder
    counters: Counters
    days_off: DaysOff = None
    mapping: Annotated[
        Path | None,
        arg(
            metavar="FILE",
            help="What the counters mean from these files on (.toml), kept for later runs.",
            help_behavior_hint="(default: what the city knows)",
        ),
    ] = None
    cell_names: Annotated[
        tuple[str, ...],
        arg(
            metavar="NAME=CELL",
            help="Cells that have another name now: that of the counters and that of the city, kept for later runs.",
            help_behavior_hint="",
        ),
    ] = ()
    sites: Annotated[
        Path | None,
        arg(
            metavar="FILE",
            help="A newer site list: its from and to say since when or until when cells are in service.",
            help_behavior_hint="(default: what the city knows)",
        ),
    ] = None
    site_columns: SiteColumns = ()
    rejects: Rejects = None
    workers: Workers = 1
    scheduler: Scheduler = ""

    def run(self) -> int:
        """Read what is not read yet, and say what was found."""
        with working("reading"):
            from fomo.app.service.city_building import workers
            from fomo.ingest.build import append_city
            from fomo.ingest.mapping import load_mapping

            mapping = None if self.mapping is None else load_mapping(self.mapping)
        with workers(self.workers, self.scheduler) as submit, _Bytes() as hear:
            report = append_city(
                self.city, self.counters, days_off=self.days_off, mapping=mapping,
                names=columns_of("--cell-names", self.cell_names, "BX010_1=BO010_1"), sites=self.sites,
                site_columns=columns_of("--site-columns", self.site_columns, "lon=X_WGS"), rejects=self.rejects,
                progress=hear, submit=submit,
            )  # fmt: skip
        return _told(report, self.city)


@dataclass(frozen=True)
class Inspect:
    """A city's health: coverage, gaps, busy hours, the strangest cells; in the terminal and as a page."""

    city: CityFolder
    page: Annotated[
        Path | None, arg(metavar="FILE", help="Also write a page (.html).", help_behavior_hint="(default: none)")
    ] = None

    def run(self) -> int:
        """The facts as a table, the pictures as a page."""
        with working("reading"):
            from fomo.app.service.city_building import report_lines
            from fomo.app.service.city_page import city_lines, city_page
            from fomo.city import open_city
            from fomo.ingest.on_grid import on_grid
            from fomo.ingest.store import CityStore

            store = CityStore(self.city)
            city, cells = open_city(self.city), store.cells()
        with working("looking"):
            from fomo.evaluation.health import health_of

            health = health_of(city, cells)
            read = report_lines({**store.report, "on_grid": on_grid(store)})
            lines = [*city_lines(city, cells=cells, health=health), *read]
            told = {name: part for name, part in store.report.items() if name not in ("mapping", "files", "faulty")}
            pages = []
            if self.page is not None:
                pages = [city_page(city, self.page, cells=cells, report=told, health=health, read=read)]
        show(plain_table(("", ""), lines))
        wrote(pages)
        return 0


@dataclass(frozen=True)
class Export:
    """A city, or a forecast of it, for a planner's tools: rasters in metres, maps that play, tables per cell."""

    city: CityFolder
    out: Annotated[Path, arg(metavar="FILE", help="The file to write.")]
    kind: Annotated[
        Literal["geotiff", "bil", "asc", "geojson", "gpkg", "cells"],
        arg(
            help="Rasters: geotiff, bil, asc. Squares: geojson, gpkg. A table (.csv, .parquet) under the operator's "
            "own names: cells."
        ),
    ]
    statistic: Annotated[
        Literal["mean", "busy_hour", "peak", "steps"] | None,
        arg(
            metavar="{mean,busy_hour,peak,steps}",
            help="Of maps, in the unit per period: mean of all periods, or of each square's busiest clock hour; the "
            "largest value (peak); every period (steps).",
            help_behavior_hint="(default: mean of rasters, steps of geojson and gpkg)",
        ),
    ] = None
    variable: Annotated[
        str, arg(metavar="NAME", help="Of a raster: traffic or users; of a forecast mean, low, high (5, 95 %).")
    ] = "traffic"
    forecast: Annotated[
        Path | None,
        arg(metavar="DIR", help="A forecast of this city, instead of the city.", help_behavior_hint="(default: none)"),
    ] = None
    first: Annotated[
        str,
        arg(
            metavar="TIME",
            help="First period on the city's wall clock, like 2024-03-01T00:00.",
            help_behavior_hint="(default: all)",
        ),
    ] = ""
    last: Annotated[
        str, arg(metavar="TIME", help="Last period, or the day or month of it.", help_behavior_hint="(default: all)")
    ] = ""
    overwrite: bool = False
    """Replace a file that is there."""

    def run(self) -> int:
        """Write it."""
        with working("writing"):
            from fomo.app.service.city_building import export, times_of
            from fomo.city import open_city

            times = times_of(self.first, self.last)
            written = export(
                open_city(self.city), self.city, self.out, self.kind, statistic=self.statistic,
                variable=self.variable, forecast=self.forecast, times=times, overwrite=self.overwrite,
            )  # fmt: skip
        wrote(written[:3])
        if len(written) > 3:
            print(f"and {len(written) - 3} more beside them")
        return 0


@dataclass(frozen=True)
class Mapping:
    """What counters seem to mean: a mapping file to correct, on stdout, and why, on stderr."""

    counters: Counters
    mapping: MappingFile = None
    time_zone: Zone = ""
    cell_pattern: Pattern = ""

    def run(self) -> int:
        """Print it; 1 where the traffic is not known and is to be named in it."""
        with working("reading"):
            from fomo.app.service.city_building import guessed, mapping_of

            text, reasons, known = guessed(self.counters, mapping_of(self.mapping, self.time_zone, self.cell_pattern))
        print(text, end="")
        for reason in reasons:
            print(reason, file=sys.stderr)
        return 0 if known else 1


@dataclass(frozen=True)
class City:
    """Build, append to, inspect and export cities made of an operator's own files."""

    what: Annotated[
        Annotated[Build, subcommand("build", prefix_name=False)]
        | Annotated[Append, subcommand("append", prefix_name=False)]
        | Annotated[Inspect, subcommand("inspect", prefix_name=False)]
        | Annotated[Export, subcommand("export", prefix_name=False)]
        | Annotated[Mapping, subcommand("mapping", prefix_name=False)],
        arg(name=""),
    ]

    def run(self) -> int:
        """Run what was asked."""
        return self.what.run()


def _told(report: dict[str, object], out: Path) -> int:
    from fomo.app.service.city_building import report_lines

    show(plain_table(("", ""), report_lines(report)))
    wrote([out])
    return 1 if report.get("faults") else 0


class _Bytes:
    """A bar of the bytes read, with the time left; nothing where stderr is no terminal."""

    def __enter__(self) -> _Bytes:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        self.bar = None
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns, console=Console(stderr=True)).__enter__()
            self.job = self.bar.add_task("reading", total=None)
        return self

    def __call__(self, done: int, total: int, file: str) -> None:
        if self.bar is not None:
            self.bar.update(self.job, completed=done, total=total, description=file or "done")

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.__exit__(None, None, None)


__all__ = ["City"]
