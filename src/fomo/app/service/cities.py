"""Cities of files and folders: list, inspect, import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fomo.app.errors import UsageError
from fomo.app.service.outputs import check_file, check_folder
from fomo.city import SERVICE, City, CityError, in_service, save_city
from fomo.days_off import DaysOff, with_days_off
from fomo.sources import data_folder, list_families, read_cities, read_family, read_table


@dataclass(frozen=True)
class FamilySummary:
    """A line of `fomo data list`. `fault` says why a file cannot be read, else it is empty."""

    family: str
    file: str
    cities: int = 0
    grid: str = ""
    step_minutes: int = 0
    days: str = ""
    context: str = ""
    folds: str = ""
    unit: str = ""
    licence: str = ""
    fault: str = ""


@dataclass(frozen=True)
class CitySummary:
    """What `fomo data inspect` says of a city, in the order of the table."""

    facts: dict[str, str]


def list_data(folder: Path | None = None) -> list[FamilySummary]:
    """Every family of a folder; reads each file once. Raises `CityError` where there is no folder."""
    where = data_folder(folder)
    return [_summary(where, family, path) for family, path in list_families(where).items()]


def _summary(folder: Path, family: str, path: Path) -> FamilySummary:
    try:
        cities = read_family(folder, family)
    except CityError as error:
        return FamilySummary(family, path.name, fault=str(error))
    first = cities[0]
    known = [name for name in ("users", "poi", "residents") if name in first]
    folds = sorted({int(city.attrs["fold"]) for city in cities if "fold" in city.attrs})
    return FamilySummary(
        family,
        path.name,
        len(cities),
        _span([f"{city.sizes['y']} x {city.sizes['x']}" for city in cities]),
        int(first.attrs["step_minutes"]),
        _range([city.sizes["time"] * int(city.attrs["step_minutes"]) / 1440 for city in cities]),
        ", ".join(known),
        _folds(folds),
        str(first.attrs["unit"]),
        str(first.attrs["licence"]),
    )


def _span(texts: list[str]) -> str:
    different = list(dict.fromkeys(texts))
    return different[0] if len(different) == 1 else f"{different[0]} to {different[-1]}"


def _range(numbers: list[float]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:.3g}" if low == high else f"{low:.3g}–{high:.3g}"


def _folds(folds: list[int]) -> str:
    if not folds:
        return ""
    return f"{folds[0]}–{folds[-1]}" if len(folds) > 1 else str(folds[0])


def choose_city(path: Path, name: str | None = None) -> City:
    """The city of a file, or the one called `name` where it holds several. Raises `CityError`."""
    return _called(read_cities(path), name, str(path))


def find_city(where: str, folder: Path | None = None, name: str | None = None) -> City:
    """A city of a file or `*.zarr` folder, else of a family (`family` or `family/region`) of the data folder.

    Raises `CityError`.
    """
    if Path(where).exists():
        return choose_city(Path(where), name)
    family = where.split("/")[0]
    return _called(read_family(data_folder(folder), family), name or (where if "/" in where else None), family)


def _called(cities: list[City], name: str | None, where: str) -> City:
    if name is None:
        if len(cities) > 1:
            raise CityError(f"{where} holds {len(cities)} cities: choose one with --city, {_names(cities)}")
        return cities[0]
    named = [city for city in cities if name == city.attrs["name"]]
    if not named:
        named = [city for city in cities if name in (city.attrs["family"], str(city.attrs["name"]).split("/")[-1])]
    if len(named) != 1:
        fault = "no city" if not named else "several cities"
        raise CityError(f"{where} holds {fault} called {name!r}: there are {_names(cities)}")
    return named[0]


def _names(cities: list[City]) -> str:
    names = [str(city.attrs["name"]) for city in cities]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


def inspect_city(city: City, figure: Path | None = None) -> CitySummary:
    """The facts of a city; with `figure`, also a .png of its map, coverage and daily profile."""
    if figure is not None:
        check_file(figure, (".png",))
        from fomo.evaluation.city_figure import city_figure
        from fomo.evaluation.figure_style import save_figure

        save_figure(city_figure(city), figure)
    return CitySummary(_facts(city))


def _facts(city: City) -> dict[str, str]:
    attrs, traffic = city.attrs, city["traffic"].values
    covered = city["covered"].values
    recorded = np.isfinite(traffic[:, covered])
    expected = recorded | in_service(city)[:, covered]
    values = traffic[:, covered][recorded]
    time = city["time"].values
    begin, end = (np.datetime_as_string(moment, unit="m").replace("T", " ") for moment in (time[0], time[-1]))
    weekday_only = attrs["calendar"] == "weekday"
    context = [
        f"users, {np.isfinite(city['users'].values).mean():.0%} recorded" if "users" in city else "no users",
        f"{city.sizes['category']} POI categories" if "poi" in city else "no POI",
        "residents" if "residents" in city else "no residents",
    ]
    served = ", while in service" if SERVICE[0] in city else ""
    edge = f"{attrs['cell_km']:g} km" if attrs["cell_km"] else "size of a cell unknown"
    amounts = (
        f"mean {values.mean():.4g}, largest {values.max():.4g}, {np.mean(values == 0):.1%} zero"
        if values.size
        else "nothing recorded"
    )
    facts = {
        "name": f"{attrs['name']} (family {attrs['family']})",
        "grid": f"{city.sizes['y']} x {city.sizes['x']} cells, {edge}, {int(covered.sum())} covered",
        "layout": "grid" if attrs["layout"] == "grid" else "list: neighbours in the array are none on the ground",
        "time": f"{begin} to {end}" + (" (only weekday and hour are real)" if weekday_only else ""),
        "step": f"{attrs['step_minutes']} min, {len(time)} steps, {len(time) * attrs['step_minutes'] / 1440:.3g} days",
        "time zone": str(attrs["time_zone"]) or "unknown",
        "recorded": f"{recorded.sum() / expected.sum():.1%} of the covered values{served}"
        if expected.any()
        else "nothing",
        "traffic": f"{amounts} [{attrs['unit']}]",
        "context": ", ".join(context),
        "days off": DaysOff.of(city.attrs).counted(city),
        "made": "synthetic" if attrs["synthetic"] else "measured",
        "source": str(attrs["source"]),
        "licence": str(attrs["licence"]),
        "sha256": str(attrs["sha256"])[:16] or "–",
    }
    if "fold" in attrs:
        facts["fold"] = str(attrs["fold"])
    return facts


def import_table(
    table: Path,
    out: Path,
    *,
    positions: Path | None = None,
    cell_km: float | None = None,
    step_minutes: int | None = None,
    name: str | None = None,
    columns: Mapping[str, str] | None = None,
    unit: str | None = None,
    time_zone: str = "",
    days_off: str | None = None,
) -> City:
    """A long CSV or Parquet table as a city, saved at `out`. Raises `CityError`, `UsageError`.

    `days_off`: a country or a table, see `days_off.with_days_off`.
    """
    if out.suffix != ".zarr":
        raise UsageError(f"cannot write {out}: a city is a folder whose name ends in .zarr")
    check_folder(out, holds="covered", kind="a city")
    if (out / "cells").exists():
        raise UsageError(f"{out} is a city of 'fomo city build', which grows and would be lost: name another --out")
    said = {} if unit is None else {"unit": unit}
    city = read_table(
        table,
        positions,
        cell_km=cell_km,
        step_minutes=step_minutes,
        name=name or out.stem,
        columns=columns,
        time_zone=time_zone,
        **said,
    )
    if days_off is not None:
        city = with_days_off(city, days_off)
    save_city(city, out)
    return city


__all__ = ["CitySummary", "FamilySummary", "choose_city", "find_city", "import_table", "inspect_city", "list_data"]
