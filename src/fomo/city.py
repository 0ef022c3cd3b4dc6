"""The noun at every border of FoMo: a city's traffic on a grid of cells, as one validated dataset.

A `City` is an `xarray.Dataset`:

    traffic   (time, y, x)      float32  volume per granularity period; NaN = not recorded, 0 = measured zero
    users     (time, y, x)      float32  optional: users per cell and period
    poi       (category, y, x)  float32  optional: points of interest per cell and category
    residents (y, x)            float32  optional: people who live in the cell
    covered   (y, x)            bool     False where no traffic is ever recorded
    first_served, last_served (y, x) datetime64  optional, both: days in service, see `in_service`; NaT = no such end

`time` is local wall-clock on whole minutes, evenly spaced by `attrs["step_minutes"]`, a divisor of a day. `y` and `x`
are cell centres in kilometres, `y` growing to the north, `x` to the east. Attributes say what the numbers are and where
they come from; `SCHEMA_ATTRIBUTES` lists them. Everything is in physical units: scaling happens inside the
forecasters.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fomo.files import whole_folder
from fomo.given import CityError as CityError  # who has to do with cities has it from here
from fomo.given import edge_km, iso_dates, moments_of, numbers_of, whole_number, zone_of

if TYPE_CHECKING:  # xarray is there with the first city: reading an operator's files needs half a second less
    import xarray as xr

    City: TypeAlias = xr.Dataset
else:

    def __getattr__(name: str) -> Any:
        """`City`, with the library that it is of."""
        if name != "City":
            raise AttributeError(f"module 'fomo.city' has no attribute {name!r}")
        from xarray import Dataset

        return Dataset


SCHEMA_VERSION = 1
MINUTES_PER_DAY = 24 * 60
#: What lies outside is no time of counters: a clock that was never set, a year of two digits, a slip of the pen.
EARLIEST, LATEST = datetime(1990, 1, 1), datetime(2100, 1, 1)
#: attribute -> what it says. All are present in every valid city; text may be empty, never missing.
SCHEMA_ATTRIBUTES = {
    "schema_version": "version of this schema",
    "name": "short unique name, 'family' or 'family/region'",
    "family": "cities that share a unit and a scale, e.g. all regions of one release",
    "step_minutes": "granularity period in minutes, a divisor of 1440",
    "cell_km": "edge of a cell in kilometres; 0 where the source does not say",
    "layout": "'grid' where neighbours in the array are neighbours on the ground, 'list' where they are not",
    "time_zone": "IANA zone of the wall clock, '' where unknown",
    "calendar": "'date' for real dates; 'weekday' where only weekday and time of day are real",
    "unit": "unit of traffic",
    "licence": "licence stated by the source",
    "source": "where the numbers come from",
    "sha256": "hash of the input file, '' for made data",
    "synthetic": "1 where the traffic was made, 0 where it was measured",
}

#: variable -> its axes.
VARIABLE_AXES = {
    "traffic": ("time", "y", "x"),
    "users": ("time", "y", "x"),
    "poi": ("category", "y", "x"),
    "residents": ("y", "x"),
    "covered": ("y", "x"),
    "first_served": ("y", "x"),
    "last_served": ("y", "x"),
}
#: The first and the last day on which a square is in service; both or none of them are there.
SERVICE = ("first_served", "last_served")


def make_city(
    traffic: ArrayLike,
    *,
    name: str,
    start: str | datetime | np.datetime64,
    step_minutes: float,
    family: str | None = None,
    users: ArrayLike | None = None,
    poi: ArrayLike | None = None,
    poi_names: Sequence[str] | None = None,
    residents: ArrayLike | None = None,
    covered: ArrayLike | None = None,
    lon: ArrayLike | None = None,
    lat: ArrayLike | None = None,
    cell_km: float = 0.0,
    layout: str = "grid",
    time_zone: str = "",
    calendar: str = "date",
    unit: str = "unknown volume per period",
    licence: str = "none stated",
    source: str = "",
    sha256: str = "",
    synthetic: bool = False,
    time: Any = None,
    **extra: Any,
) -> City:
    """A validated city from plain arrays.

    `traffic` and `users` are (time, y, x), `poi` (category, y, x), `residents`, `covered`, `lon`, `lat` (y, x). Those
    with names of their axes, as of xarray, are turned to that order by name; what is masked is NaN, and not covered.
    `time` replaces the even axis made of `start` and `step_minutes`; both are wall clock, and where they name a zone or
    an offset they are brought to the clock of `time_zone`. `extra` becomes attributes (e.g. `fold=0`).
    `covered` defaults to the cells with at least one recorded value, `family` to the name before its slash. Raises
    `CityError`.
    """
    for variable in extra.keys() & VARIABLE_AXES.keys():
        raise CityError(f"{variable} of {name!r} is no attribute: city.assign({variable}=(('y', 'x'), days)) gives it")
    step_minutes, edge = whole_number(step_minutes, f"step_minutes of {name!r}"), edge_km(cell_km, name) or 1.0
    amounts = numbers_of(traffic, VARIABLE_AXES["traffic"], f"traffic of {name!r}")
    if amounts.ndim != 3:
        raise CityError(f"traffic of {name!r} has {amounts.ndim} axes; it needs three: (time, y, x)")
    steps, height, width = amounts.shape
    if time is None:
        first = moments_of(str(start), name, time_zone)
        time = first.astype("datetime64[ns]") + np.arange(steps) * np.timedelta64(step_minutes, "m")
        moments_of(first.astype("datetime64[m]") + (steps - 1) * np.timedelta64(step_minutes, "m"), name)
    given = {"users": users, "poi": poi, "residents": residents, "covered": covered, "lon": lon, "lat": lat}
    kinds: dict[str, DTypeLike] = {"covered": bool, "lon": np.float64, "lat": np.float64}
    others = {
        variable: numbers_of(
            value, VARIABLE_AXES.get(variable, ("y", "x")), f"{variable} of {name!r}", kinds.get(variable, np.float32)
        )
        for variable, value in given.items()
        if value is not None
    }
    _check_shapes(amounts.shape, others, name)
    variables: dict[str, Any] = {
        "traffic": (("time", "y", "x"), amounts, {"units": unit}),
        "covered": (("y", "x"), others["covered"] if "covered" in others else np.isfinite(amounts).any(0)),
    }
    if "users" in others:
        variables["users"] = (("time", "y", "x"), others["users"], {"units": "users per period"})
    if "residents" in others:
        variables["residents"] = (("y", "x"), others["residents"], {"units": "people"})
    moments = moments_of(time, name, time_zone)
    if moments.shape != (steps,):
        raise CityError(
            f"time of {name!r} has the shape {moments.shape}, but the traffic has {steps} steps: give one time a step"
        )
    coordinates: dict[str, Any] = {
        "time": moments.astype("datetime64[ns]"),
        "y": ("y", (np.arange(height) + 0.5) * edge, {"units": "km"}),
        "x": ("x", (np.arange(width) + 0.5) * edge, {"units": "km"}),
    }
    if poi is None and poi_names is not None:
        raise CityError(f"poi_names of {name!r} name {len(poi_names)} layers but there is no poi: pass poi= as well")
    if "poi" in others:
        layers = len(others["poi"])
        variables["poi"] = (("category", "y", "x"), others["poi"], {"units": "count"})
        names = list(poi_names) if poi_names is not None else [f"unnamed {i}" for i in range(layers)]
        if len(names) != layers:
            raise CityError(f"poi of {name!r} has {layers} layers but {len(names)} names: give one name a layer")
        coordinates["category"] = np.asarray(names, dtype=str)
    if "lon" in others and "lat" in others:
        coordinates["lon"] = (("y", "x"), others["lon"], {"units": "degrees_east"})
        coordinates["lat"] = (("y", "x"), others["lat"], {"units": "degrees_north"})
    import xarray as xr

    city = xr.Dataset(variables, coordinates)
    city.attrs = {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "family": family or str(name).partition("/")[0],
        "step_minutes": step_minutes,
        "cell_km": float(cell_km),
        "layout": layout,
        "time_zone": time_zone,
        "calendar": calendar,
        "unit": unit,
        "licence": licence,
        "source": source,
        "sha256": sha256,
        "synthetic": int(synthetic),
        **extra,
    }
    return validate(city)


def validate(city: City) -> City:
    """The city itself if it keeps the schema; otherwise `CityError` naming variable, place and remedy."""
    import xarray as xr

    if not isinstance(city, xr.Dataset):
        raise CityError(f"a city is an xarray.Dataset, not {type(city).__name__}: build one with fomo.make_city")
    missing = [name for name in SCHEMA_ATTRIBUTES if name not in city.attrs]
    if missing:
        raise CityError(f"the city lacks the attributes {missing}: build it with fomo.make_city")
    name = city.attrs["name"]
    if city.attrs["schema_version"] != SCHEMA_VERSION:
        raise CityError(
            f"city {name!r} has schema_version {city.attrs['schema_version']!r}, this FoMo reads {SCHEMA_VERSION}: "
            "use the FoMo that wrote it, or build it again with fomo.make_city"
        )
    if "traffic" not in city:
        raise CityError(f"city {name!r} has no variable 'traffic' (time, y, x)")
    _check_axes(city, name)
    _check_time(city, name)
    _check_covered(city, name)
    _check_service(city, name)
    _check_categories(city, name)
    for variable in ("traffic", "users", "poi", "residents"):
        if variable in city:
            _check_amount(city, variable, name)
    for attribute, known in (("layout", ("grid", "list")), ("calendar", ("date", "weekday"))):
        if city.attrs[attribute] not in known:
            raise CityError(
                f"city {name!r} has {attribute} {city.attrs[attribute]!r}: it is {known[0]!r} or {known[1]!r}"
            )
    edge_km(city.attrs["cell_km"], name)
    if city.attrs["time_zone"] != "":
        zone_of(city.attrs["time_zone"], name)
    for attribute in ("days_off", "days_worked"):
        iso_dates(city.attrs.get(attribute, ()), f"{attribute} of {name!r}")
    return city


def _check_shapes(traffic: tuple[int, ...], arrays: dict[str, np.ndarray], name: str) -> None:
    """Refuse arrays of other steps or another grid than the traffic (time, y, x)."""
    steps, height, width = traffic
    for variable, array in arrays.items():
        axes = VARIABLE_AXES.get(variable, ("y", "x"))
        told = f"{variable} of {name!r} has the shape {array.shape}"
        if array.ndim != len(axes):
            raise CityError(f"{told}; it needs the axes ({', '.join(axes)}): reshape it")
        if array.shape[-2:] != (height, width):
            raise CityError(
                f"{told}, a grid of {array.shape[-2]} x {array.shape[-1]} cells, but the traffic has "
                f"{height} x {width}: bring {variable} to the grid of the traffic"
            )
        if axes[0] == "time" and len(array) != steps:
            raise CityError(
                f"{told}, {len(array)} steps, but the traffic has {steps}: "
                f"cut {variable} to the steps of the traffic, with NaN where there are none"
            )


def _check_axes(city: City, name: str) -> None:
    for variable, expected in VARIABLE_AXES.items():
        if variable in city and city[variable].dims != expected:
            lost = [axis for axis in expected if axis not in city[variable].dims]
            if lost and set(city[variable].dims) < set(expected):
                raise CityError(
                    f"{variable} of {name!r} lacks the axis {lost[0]!r}; it needs {expected}: keep it where one is "
                    f"chosen, city.isel({lost[0]}=[0])"
                )
            raise CityError(
                f"{variable} of {name!r} has the axes {city[variable].dims}; it needs {expected}: transpose it"
            )
    if "covered" not in city:
        raise CityError(f"city {name!r} has no variable 'covered' (y, x): build it with fomo.make_city")
    for axis in ("time", "y", "x"):
        if city.sizes[axis] == 0:
            raise CityError(f"city {name!r} is empty along {axis!r}")
    for axis, far in (("y", "north"), ("x", "east")):
        centres = city[axis].values
        if centres.dtype.kind not in "iuf" or not np.isfinite(centres).all() or (np.diff(centres) <= 0).any():
            raise CityError(
                f"{axis} of {name!r} does not grow to the {far} from cell to cell: number its cells in kilometres, or "
                f"sort the city by it, city.sortby({axis!r})"
            )


def _check_time(city: City, name: str) -> None:
    step = whole_number(city.attrs["step_minutes"], f"step_minutes of {name!r}")
    if step <= 0 or MINUTES_PER_DAY % step:
        raise CityError(
            f"the step of {name!r} is {step} minutes, which does not divide a day: aggregate to 15, 30 or 60"
        )
    time = city["time"].values
    if time.dtype.kind != "M" or np.isnat(time).any():
        raise CityError(f"the time axis of {name!r} is not made of dates: parse it to datetime64")
    broken = time != time.astype("datetime64[m]")
    if broken.any():
        moment = np.datetime_as_string(time[int(np.argmax(broken))], unit="ms")
        raise CityError(f"time of {name!r} is {moment}, which is no whole minute: write when each period begins")
    if time.size < 2:
        return
    gaps = np.diff(time) / np.timedelta64(1, "m")
    wrong = np.flatnonzero(gaps != step)
    if wrong.size:
        at = int(wrong[0])
        before, after = (np.datetime_as_string(time[at + i], unit="m") for i in (0, 1))
        if gaps[at] < 0:
            fault, remedy = "is not sorted", "sort it"
        elif gaps[at] == 0:
            fault, remedy = "repeats", "keep one of those at the same time, as of the hour that clocks show twice"
        else:
            fault, remedy = "is uneven", "insert the missing periods as NaN or cut the city there"
        raise CityError(
            f"time of {name!r} {fault}: {before} is followed by {after} but the step is {step} min: {remedy}"
        )


def _check_covered(city: City, name: str) -> None:
    covered = city["covered"].values
    if covered.dtype != bool:
        raise CityError(f"covered of {name!r} is {covered.dtype}: write True and False")
    stray = np.isfinite(city["traffic"].values[:, ~covered]).any(0)
    if stray.any():
        y, x = np.argwhere(~covered)[int(np.argmax(stray))]
        raise CityError(
            f"covered of {name!r} is False at y={y}, x={x} where traffic is recorded; {int(stray.sum())} such cells: "
            "correct covered, or write NaN into traffic there"
        )


def _check_service(city: City, name: str) -> None:
    given = [variable for variable in SERVICE if variable in city]
    if not given:
        return
    if len(given) < len(SERVICE):
        (other,) = set(SERVICE) - set(given)
        raise CityError(f"city {name!r} has {given[0]} without {other}: give both, NaT where there is no such end")
    for variable in SERVICE:
        days = city[variable].values
        if days.dtype.kind != "M":
            raise CityError(f"{variable} of {name!r} is {days.dtype}: give days as datetime64, NaT where there is none")
        broken = (days != days.astype("datetime64[D]")) & ~np.isnat(days)
        if broken.any():
            y, x = np.argwhere(broken)[0]
            moment = np.datetime_as_string(days[y, x], unit="m")
            raise CityError(f"{variable} of {name!r} is {moment} at y={y}, x={x}, which is no day: leave the time out")
    first, last = (city[variable].values for variable in SERVICE)
    turned = first > last
    if turned.any():
        y, x = np.argwhere(turned)[0]
        begin, end = (np.datetime_as_string(days[y, x], unit="D") for days in (first, last))
        raise CityError(
            f"{name!r} is in service from {begin} to {end} at y={y}, x={x}; {int(turned.sum())} such cells: correct "
            "first_served or last_served"
        )


def _check_categories(city: City, name: str) -> None:
    if "poi" not in city:
        return
    if "category" not in city.coords:
        raise CityError(
            f"poi of {name!r} has {city.sizes['category']} layers without names: "
            "assign_coords(category=[...]) with one name a layer, 'unnamed 0' and so on where there are none"
        )
    names = [str(category) for category in city["category"].values]
    for index, category in enumerate(names):
        first = names.index(category)
        if first < index:
            raise CityError(
                f"poi of {name!r} has two layers called {category!r}, category={first} and category={index}: "
                "sum them or give each a name of its own"
            )


def _check_amount(city: City, variable: str, name: str) -> None:
    values = city[variable].values
    bad = np.isinf(values) | (values < 0)
    if bad.any():
        place = np.unravel_index(int(np.argmax(bad)), bad.shape)
        where = ", ".join(f"{axis}={index}" for axis, index in zip(city[variable].dims, place, strict=True))
        if "time" in city[variable].dims:
            where += f" ({np.datetime_as_string(city['time'].values[place[0]], unit='m')})"
        raise CityError(
            f"{variable} of {name!r} is {values[place]} at {where}; {int(bad.sum())} such values: "
            "amounts are finite and not negative; write NaN where nothing was recorded"
        )


def save_city(city: City, path: str | Path) -> Path:
    """Write the city as Zarr v3 and return the path. Raises `CityError` where something else than a city is there.

    The new city is written beside `path` and takes the place of an older one when it is complete, so a failed
    write leaves the old one untouched (`files.whole_folder`).
    """
    validate(city)
    path = Path(path)
    if path.exists() and not (path / "covered" / "zarr.json").exists():
        raise CityError(f"{path} exists and is no city: name another path or remove it")
    text = {name: city[name].astype(object) for name in city.coords if city[name].dtype.kind == "U"}
    with whole_folder(path) as fresh:
        city.assign_coords(text).to_zarr(fresh, zarr_format=3, consolidated=False)  # Zarr v3 has no fixed-length text
    return path


def open_city(path: str | Path) -> City:
    """Read a city written by `save_city` and validate it. Raises `CityError` where there is none."""
    import xarray as xr

    path = Path(path)
    if not (path / "zarr.json").exists():
        raise CityError(f"{path} is not a city on disk (no zarr.json): write one with fomo.save_city or 'fomo data'")
    if (path / "asked" / "zarr.json").exists():
        raise CityError(f"{path} is a forecast, not a city: name the city that it was made from")
    # The root of a city that grows says what is there; arrays may be ahead of it.
    grows = "consolidated_metadata" in json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    # Without chunks: all of it is read at once, and dask would take half a second to import.
    return validate(xr.open_zarr(path, chunks=None, consolidated=grows).load())


def steps_per_day(city: City) -> int:
    """Granularity periods in a day."""
    return MINUTES_PER_DAY // int(city.attrs["step_minutes"])


def times_after(city: City, steps: int) -> np.ndarray:
    """The first so many times after the end of a city, datetime64 (step)."""
    step = np.timedelta64(int(city.attrs["step_minutes"]), "m")
    return np.asarray(city["time"].values[-1] + step * np.arange(1, steps + 1))


def in_service(city: City, time: np.ndarray | None = None) -> np.ndarray:
    """At which steps squares are in service, bool (time, y, x): those of the city, or others of its wall clock.

    From `first_served` to `last_served`, both days included. True everywhere where the city does not say them.
    """
    days = (city["time"].values if time is None else time).astype("datetime64[D]")[:, None, None]
    if SERVICE[0] not in city:
        return np.ones((len(days), city.sizes["y"], city.sizes["x"]), bool)
    return served_on(days, *(city[variable].values for variable in SERVICE))


def served_on(days: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """On which days, datetime64[D], what is in service from `first` to `last` is so, bool; NaT = no such end."""
    return np.asarray((np.isnat(first) | (first <= days)) & (np.isnat(last) | (days <= last)))


def mock_city(steps: int = 96, height: int = 4, width: int = 4, step_minutes: int = 60, seed: int = 0) -> City:
    """A small random city that keeps the schema; for tests. `sources.synthetic` makes a lifelike one.

    Raises `CityError` for sizes that make none.
    """
    sizes = {"steps": steps, "height": height, "width": width, "step_minutes": step_minutes, "seed": seed}
    steps, height, width, step_minutes, seed = (
        whole_number(value, f"{name} of mock_city()") for name, value in sizes.items()
    )
    if min(steps, height, width) < 1:
        raise CityError(f"{steps} steps of {height} x {width} cells are no city: give one of each at least")
    random = np.random.default_rng(seed % 2**64)
    hours = np.arange(steps) * step_minutes / 60
    rhythm = 1.2 + np.sin(2 * np.pi * (hours - 9) / 24)
    level = random.lognormal(1.0, 0.8, (height, width))
    noise = random.lognormal(0.0, 0.1, (steps, height, width))
    return make_city(
        rhythm[:, None, None] * level * noise,
        name="mock",
        start="2024-01-01T00:00",
        step_minutes=step_minutes,
        cell_km=1.0,
        unit="GB per period",
        source="fomo.mock_city",
        synthetic=True,
    )
