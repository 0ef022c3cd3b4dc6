"""The cells that are looked at: the operator's own where they are there, else the covered cells of the grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int, Num, Shaped

from fomo.city import MINUTES_PER_DAY, SERVICE, City, CityError, served_on
from fomo.ingest.cube import State
from fomo.units import unit_per

#: What a value may be, in the order of the numbers in `state`.
STATES = tuple(state.name.lower().replace("_", " ") for state in State)
#: Length of a degree of latitude, in kilometres.
DEGREE = 111.32


@dataclass(frozen=True)
class Records:
    """Cells to look at: `columns` of `values`; positions in kilometres, NaN where unknown.

    `service`: the first and the last day in service, datetime64[D], NaT = no such end; None where none is said.
    """

    values: Float[np.ndarray, "time all"]
    columns: Int[np.ndarray, " cell"]
    names: Sequence[str]
    time: Shaped[np.ndarray, " time"]
    step_minutes: int
    unit: str = ""  # of a value, as its source has it; '' = not stated
    operator: bool = False  # the operator's own cells, not the grid's
    users: Num[np.ndarray, "time all"] | None = None
    state: Num[np.ndarray, "time all"] | None = None
    positions: Float[np.ndarray, "cell 2"] | None = None
    service: Shaped[np.ndarray, "2 all"] | None = None

    @property
    def periods_per_day(self) -> int:
        """Of a whole day."""
        return MINUTES_PER_DAY // self.step_minutes

    @property
    def hours(self) -> Int[np.ndarray, " hour"]:
        """Beginnings of the hours of a day; several hours each where a period does not fit into one."""
        count = gcd(self.periods_per_day, 24)
        return np.arange(count) * (24 // count)

    @property
    def offset(self) -> int:
        """Periods between the midnight before the first one and it."""
        since = self.time[0] - self.time[0].astype("datetime64[D]")
        return int(since / np.timedelta64(self.step_minutes, "m"))

    @property
    def days(self) -> Shaped[np.ndarray, " day"]:
        """All days that a period lies in."""
        first, last = (self.time[place].astype("datetime64[D]") for place in (0, -1))
        return np.arange(first, last + 1)

    def served(self, columns: Int[np.ndarray, " cell"]) -> Bool[np.ndarray, "cell time"]:
        """When these cells are in service; always, where nothing is said."""
        if self.service is None:
            return np.ones((len(columns), len(self.time)), bool)
        return served_on(self.time.astype("datetime64[D]"), *self.service[:, columns, None])

    def of(
        self, columns: Int[np.ndarray, " cell"]
    ) -> tuple[Num[np.ndarray, "cell time"], Bool[np.ndarray, "cell time"]]:
        """Values of these cells, NaN = not recorded, and which are expected.

        What is expected is in service, or recorded none the less: zeros of what is out of service are no records.
        """
        values, served = self.values[:, columns].T, self.served(columns)
        if self.service is not None:
            values = np.where((values == 0) & ~served, np.float32(np.nan), values)
        return values, served | np.isfinite(values)


def in_weekend(days: Shaped[np.ndarray, " day"]) -> Bool[np.ndarray, " day"]:
    """Which days (datetime64[D]) are Saturdays and Sundays."""
    return np.asarray((days.astype(np.int64) + 3) % 7 >= 5)  # 1970-01-01 was a Thursday


def records_of(city: City, cells: xr.Dataset | None = None) -> Records:
    """The cells to look at, without a copy of the cube. Raises `CityError`."""
    if cells is not None:
        return _operator_records(cells, str(city.attrs["name"]), int(city.attrs["step_minutes"]), city.attrs["unit"])
    steps, _, width = city["traffic"].shape
    columns = np.flatnonzero(city["covered"].values)
    rows, across = np.divmod(columns, width)
    names = [f"row {row}, column {column}" for row, column in zip(rows.tolist(), across.tolist(), strict=True)]
    placed = len(columns) > 0 and city.attrs["layout"] != "list"
    return Records(
        city["traffic"].values.reshape(steps, -1),
        columns,
        names,
        city["time"].values,
        int(city.attrs["step_minutes"]),
        str(city.attrs["unit"]),
        users=city["users"].values.reshape(steps, -1) if "users" in city else None,
        positions=np.stack([city["x"].values[across], city["y"].values[rows]], 1) if placed else None,
        service=_service(city),
    )


def _operator_records(cells: xr.Dataset, city: str, step_minutes: int, unit: str) -> Records:
    """Checked; `step_minutes` and `unit` are the city's, and the first counts where the cells have one period only."""
    if "traffic" not in cells:
        raise CityError(f"the cells of {city!r} have no variable 'traffic' (time, cell)")
    for variable in ("traffic", "users", "state"):
        if variable in cells and cells[variable].dims != ("time", "cell"):
            raise CityError(f"{variable} of the cells of {city!r} has the axes {cells[variable].dims}: transpose it "
                            "to ('time', 'cell')")  # fmt: skip
    time = cells["time"].values
    names = [str(name) for name in (cells["cell"].values if "cell" in cells.coords else range(cells.sizes["cell"]))]
    users, state = (cells[variable].values if variable in cells else None for variable in ("users", "state"))
    if state is not None and not _is_state(state):
        raise CityError(f"state of the cells of {city!r} is not made of the whole numbers 0 to {len(STATES) - 1}: "
                        f"{STATES}")  # fmt: skip
    step = _step_minutes(time, city, step_minutes)
    return Records(
        cells["traffic"].values,
        np.arange(len(names)),
        names,
        time,
        step,
        _unit_per(unit, step_minutes, step),
        True,
        users,
        state,
        _kilometres(cells),
        _service(cells),
    )


def _service(where: xr.Dataset) -> Shaped[np.ndarray, "2 all"] | None:
    """First and last days in service, where they are said."""
    said = [name for name in SERVICE if name in where.variables]
    if not said:
        return None
    if len(said) < len(SERVICE):
        raise CityError(f"there is {said[0]} without the other end: give both, NaT where there is no such end")
    return np.stack([where[name].values.astype("datetime64[D]").reshape(-1) for name in SERVICE])


def _unit_per(unit: str, city_minutes: int, minutes: int) -> str:
    """The unit of a city, whose periods are of `city_minutes`, as it is of records of other periods."""
    told = unit_per(unit, city_minutes, minutes)
    if minutes == city_minutes or told != unit or not unit:
        return told
    return f"{unit}, of cells in periods of {minutes} min"


def _is_state(state: np.ndarray) -> bool:
    return state.dtype.kind in "iu" and int(state.min(initial=0)) >= 0 and int(state.max(initial=0)) < len(STATES)


def _step_minutes(time: np.ndarray, city: str, otherwise: int) -> int:
    """The one distance between neighbouring periods."""
    if time.size == 0 or time.dtype.kind != "M":
        raise CityError(f"the cells of {city!r} have no times: their axis 'time' is made of dates")
    steps = np.unique(np.diff(time) / np.timedelta64(1, "m"))
    step = int(steps[0]) if len(steps) else otherwise
    if len(steps) > 1 or step <= 0 or MINUTES_PER_DAY % step:
        raise CityError(f"the cells of {city!r} have periods of {steps[:5].tolist()} minutes: one that divides a day "
                        "is needed, with NaN in periods that were not recorded")  # fmt: skip
    return step


def _kilometres(cells: xr.Dataset) -> Float[np.ndarray, "cell 2"] | None:
    """East and north, on a sphere cut at the mean latitude: good enough to say who neighbours are."""
    if not {"lon", "lat"} <= set(cells.coords):
        return None
    longitude, latitude = (np.asarray(cells[axis].values, float) for axis in ("lon", "lat"))
    known = np.isfinite(latitude)
    across = DEGREE * np.cos(np.radians(latitude[known].mean() if known.any() else 0.0))
    return np.stack([longitude * across, latitude * DEGREE], 1)


__all__ = ["STATES", "Records", "in_weekend", "records_of"]
