"""`fomo data list | inspect | import`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg, subcommand

from fomo.app.commands.console import plain_table, show, working, wrote
from fomo.app.commands.options import CityName, DataFolder, DaysOff, Figure, columns_of


@dataclass(frozen=True)
class List:
    """The families of a folder: what each file holds, its unit and licence."""

    data: DataFolder = None

    def run(self) -> int:
        """One line per family."""
        with working("reading"):
            from fomo.app.service.cities import list_data

            found = list_data(self.data)
        if not found:
            print("no file of a known form; see docs/data.md")
            return 0
        headings = ("family", "cities", "grid", "step", "days", "also", "folds", "unit", "licence")
        lines = [
            (family.family, "–", "–", "–", "–", f"cannot be read: {family.fault}", "", "", "")
            if family.fault
            else (
                family.family,
                str(family.cities),
                family.grid,
                f"{family.step_minutes} min",
                family.days,
                family.context,
                family.folds,
                family.unit,
                family.licence,
            )
            for family in found
        ]
        show(plain_table(headings, lines, right=("cities", "step", "days")))
        return 0


@dataclass(frozen=True)
class Inspect:
    """One city: its grid, time, gaps and amounts, and a figure of them."""

    where: Annotated[
        str,
        Positional,
        arg(metavar="WHERE", help="A file, a *.zarr folder, or a family (or family/region) of the data folder."),
    ]
    city: CityName = None
    data: DataFolder = None
    figure: Figure = None

    def run(self) -> int:
        """The facts as a table."""
        with working("reading"):
            from fomo.app.service.cities import find_city, inspect_city

            found = inspect_city(find_city(self.where, self.data, self.city), self.figure)
        show(plain_table(("", ""), list(found.facts.items())))
        wrote([self.figure] if self.figure is not None else [])
        return 0


@dataclass(frozen=True)
class Import:
    """A long CSV or Parquet table (cell, time, traffic[, users]) to a city on disk."""

    table: Annotated[
        Path,
        Positional,
        arg(metavar="TABLE", help="One row per cell and period: cell, time, traffic, perhaps users and positions."),
    ]
    out: Annotated[Path, arg(metavar="DIR", help="The city's folder, *.zarr.")]
    positions: Annotated[
        Path | None,
        arg(
            metavar="FILE",
            help="A second table, one row per cell: cell and row, col (row 0 in the south), or cell and lon, lat.",
            help_behavior_hint="(default: in the table itself)",
        ),
    ] = None
    cell_km: Annotated[
        float | None, arg(metavar="KM", help="Edge of a grid cell; needed with lon and lat.", help_behavior_hint="")
    ] = None
    step_minutes: Annotated[
        int | None,
        arg(metavar="MIN", help="Granularity period.", help_behavior_hint="(default: found from the times)"),
    ] = None
    name: Annotated[
        str | None, arg(metavar="NAME", help="Name of the city.", help_behavior_hint="(default: the folder's)")
    ] = None
    columns: Annotated[
        tuple[str, ...],
        arg(
            metavar="NAME=COLUMN",
            help="What columns are called in the table, for example: traffic=dl_bytes time=begin.",
            help_behavior_hint="",
        ),
    ] = ()
    unit: Annotated[
        str | None,
        arg(metavar="UNIT", help="Of the traffic, for example: 'GB per hour'.", help_behavior_hint=""),
    ] = None
    time_zone: Annotated[
        str, arg(metavar="ZONE", help="Of the times, for example: Europe/Rome.", help_behavior_hint="")
    ] = ""
    days_off: DaysOff = None

    def run(self) -> int:
        """Read, check, save, and say what was found."""
        with working("reading"):
            from fomo.app.service.cities import import_table, inspect_city

            city = import_table(
                self.table,
                self.out,
                positions=self.positions,
                cell_km=self.cell_km,
                step_minutes=self.step_minutes,
                name=self.name,
                columns=columns_of("--columns", self.columns, "traffic=dl_bytes"),
                unit=self.unit,
                time_zone=self.time_zone,
                days_off=self.days_off,
            )
        show(plain_table(("", ""), list(inspect_city(city).facts.items())))
        wrote([self.out])
        return 0


@dataclass(frozen=True)
class Data:
    """List, inspect and import cities."""

    what: Annotated[
        Annotated[List, subcommand("list", prefix_name=False)]
        | Annotated[Inspect, subcommand("inspect", prefix_name=False)]
        | Annotated[Import, subcommand("import", prefix_name=False)],
        arg(name=""),
    ]

    def run(self) -> int:
        """Run what was asked."""
        return self.what.run()
