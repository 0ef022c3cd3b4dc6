"""Anyone's traffic as a long table, one row per cell and period, in CSV, Parquet or memory.

    city = read_table("counters.csv", "sites.csv", cell_km=0.5, columns={"traffic": "dl_bytes"})

The table has the columns `cell`, `time`, `traffic` and perhaps `users`. Where the cells lie is said by `row`
and `col` (whole numbers, row 0 in the south, column 0 in the west) or by `lon` and `lat`, which are snapped
to a grid of `cell_km`; these columns are in the table itself or in a second one with one row per cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

import numpy as np

from fomo.city import City, CityError, make_city
from fomo.given import edge_km, whole_number
from fomo.sources.archive import file_hash, table_columns
from fomo.sources.frames import read_renamed
from fomo.sources.in_memory import Table, table_of
from fomo.sources.positions import grid_of
from fomo.sources.source import Source
from fomo.steps import agreed_step, coarse_cells

if TYPE_CHECKING:
    import polars

COLUMNS = ("cell", "time", "traffic", "users", "row", "col", "lon", "lat")
MOST_EMPTY = 1_000  # empty periods for each recorded one
SMALL_PART = 0.01  # a square is missing where cells are that carry more of it in the mean, as in `ingest.allocation`
LARGEST = 2_000_000_000  # values of a dense (time, y, x) array; more is a misplaced cell or a misread date


def read_table(
    path: Any,
    positions: Any = None,
    *,
    step_minutes: float | None = None,
    cell_km: float | None = None,
    name: str | None = None,
    columns: Mapping[str, str] | None = None,
    unit: str = "unknown volume per period",
    time_zone: str = "",
) -> City:
    """A city (time, y, x) from a long table; `columns` maps names used here to those of the table.

    `path` and `positions` are files, CSV or Parquet, or DataFrames of polars or pandas. `name` is that of the file, or
    `table`, if not given.

    Rows may come in any order. Cells at one grid position are summed; where one is missing that carries more than
    1 % of them, so is the sum. A period without a row, and an empty field, is NaN. `step_minutes` is found from the
    times if not given. Times are local wall clock; those of a column with a zone are converted to `time_zone`.
    Raises `CityError` for duplicate rows, uneven or misread times, cells without a position or outside the grid,
    negative amounts, an unknown time zone, a `cell_km` or `step_minutes` that is no such number; it names the first.
    """
    import polars

    path = table_of(path, "the table")
    where = table_of(positions, "the table of positions") if positions is not None else path
    called = name or (path.stem if isinstance(path, Path) else "table")
    cell_km = None if cell_km is None else edge_km(cell_km, called)
    renamed = {} if columns is None else _renamed(columns)
    if time_zone and time_zone not in available_timezones():
        raise CityError(f"time_zone {time_zone!r} is unknown: write one like Europe/Rome")
    frame = _read_amounts(path, renamed, time_zone)
    grid = grid_of(where, renamed, cell_km)
    time, step = _time_axis(frame, path, step_minutes)
    _check_steps(frame, path, step)
    if len(time) * grid.height * grid.width > LARGEST:
        raise CityError(
            f"{path} would fill {len(time)} periods x {grid.height} x {grid.width} cells: cell "
            f"{grid.farthest!r} lies outside of any city, or a date is misread; correct it"
        )
    frame = frame.join(grid.cells, on="cell", how="left")
    lost = frame["row"].is_null()
    if lost.any():
        raise CityError(
            f"cell {frame.filter(lost)['cell'][0]!r} of {path} has no position in {where}: "
            "add its row and col, or lon and lat"
        )
    places = (len(time), grid.height, grid.width)
    step_index = ((frame["time"].to_numpy() - time[0]) / np.timedelta64(step, "m")).astype(np.int64)
    index = np.ravel_multi_index((step_index, frame["row"].to_numpy(), frame["col"].to_numpy()), places)
    codes = frame["cell"].cast(polars.Categorical).to_physical().to_numpy()
    cell = np.unique(codes, return_inverse=True)[1]
    extra: dict[str, Any] = {}
    if "users" in frame.columns:
        extra["users"] = _sum_at(index, cell, frame["users"], places)
    return make_city(
        _sum_at(index, cell, frame["traffic"], places),
        **extra,
        name=called,
        start=time[0],
        step_minutes=step,
        lon=grid.lon,
        lat=grid.lat,
        cell_km=cell_km or 0.0,
        time_zone=time_zone,
        unit=unit,
        source=path.name if isinstance(path, Path) else "a table in memory",
        sha256=file_hash(path) if isinstance(path, Path) else "",
    )


def _renamed(columns: object) -> dict[str, str]:
    """Names used here -> those of the table. Raises `CityError`."""
    if not isinstance(columns, Mapping):
        raise CityError(f"columns= is {columns!r}: give a mapping of names, like {{'traffic': 'dl_bytes'}}")
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        raise CityError(f"columns= names {unknown}; its keys are {', '.join(COLUMNS)}, its values those of the file")
    return dict(columns)


def _read_amounts(path: Table, renamed: Mapping[str, str], time_zone: str) -> polars.DataFrame:
    import polars

    kinds = {"cell": "text", "time": "time", "traffic": "number"}
    if renamed.get("users", "users") in table_columns(path) or "users" in renamed:
        kinds["users"] = "number"
    frame = read_renamed(path, kinds, renamed, time_zone)
    for name in list(kinds)[2:]:
        amount = polars.col(name)
        wrong = frame.filter((amount < 0) | amount.is_infinite())
        if wrong.height:
            row = wrong.row(0, named=True)
            raise CityError(
                f"{name} of cell {row['cell']!r} at {row['time']:%Y-%m-%dT%H:%M} in {path} is {row[name]:g}: "
                "amounts are finite and not negative; leave the field empty where nothing was recorded"
            )
    repeated = frame.group_by("cell", "time").len().filter(polars.col("len") > 1)
    if repeated.height:
        cell, time, count = repeated.sort("time", "cell").row(0)
        raise CityError(
            f"{path} has {count} rows of cell {cell!r} at {time:%Y-%m-%dT%H:%M}: keep one of them, "
            "as of the hour that clocks show twice, or their sum where each is a part"
        )
    return frame


def _time_axis(frame: polars.DataFrame, path: Table, step_minutes: float | None) -> tuple[np.ndarray, int]:
    """The even axis from the first to the last time, and its step in minutes."""
    time = frame["time"].unique().sort().to_numpy().astype("datetime64[us]")
    if step_minutes is None:
        if len(time) < 2:
            raise CityError(f"{path} has a single time, so its step is unknown: pass step_minutes= (--step-minutes)")
        step = np.diff(time).min() / np.timedelta64(1, "m")
        if step != int(step):
            raise CityError(f"times of {path} are {step:g} minutes apart: aggregate to whole minutes or more")
        step_minutes = int(step)
    step_minutes = whole_number(step_minutes, "step_minutes")
    if step_minutes <= 0:
        raise CityError(f"step_minutes is {step_minutes}: it needs to be a divisor of 1440")
    offset = (time - time[0]) / np.timedelta64(step_minutes, "m")
    uneven = np.flatnonzero(offset != np.floor(offset))
    if uneven.size:
        at = int(uneven[0])
        before, after = (np.datetime_as_string(moment, unit="s") for moment in time[at - 1 : at + 1])
        raise CityError(
            f"time of {path} is uneven: {before} is followed by {after} but the step is {step_minutes} min: "
            "correct that row, or aggregate to the step"
        )
    _check_dates(time, offset, path)
    return time[0] + np.arange(int(offset[-1]) + 1) * np.timedelta64(step_minutes, "m"), step_minutes


def _check_steps(frame: polars.DataFrame, path: Table, step: int) -> None:
    """Refuse cells whose periods are longer than the step or those of others: an hour's amount is no quarter's."""
    rows = frame.select("cell", frame["time"].alias("begin"))
    times = rows["begin"].unique().sort().diff().dt.total_minutes()
    apart = agreed_step(rows) if not (times <= step).any() else 0
    coarse = coarse_cells(rows, step)
    if apart > step or len(coarse) == frame["cell"].n_unique():
        raise CityError(
            f"times of {path} are {apart or min(coarse.values())} minutes apart, and step_minutes says {step}: leave "
            "that out (--step-minutes), as an amount of a longer period is none of a shorter one"
        )
    if coarse:
        minutes = min(coarse.values())
        raise CityError(
            f"times of {len(coarse)} of {frame['cell'].n_unique()} cells of {path} are {minutes} minutes apart "
            f"({', '.join(list(coarse)[:3])}), those of others {step}: sum the others to {minutes} minutes, or import "
            "these cells apart"
        )


def _check_dates(time: np.ndarray, offset: np.ndarray, path: Table) -> None:
    """Refuse an axis that is nearly empty: one misread date makes it so. `offset` is in periods."""
    gaps = np.diff(offset)
    at = int(np.argmax(gaps)) if gaps.size else 0
    pause = gaps.size and gaps[at] > max(MOST_EMPTY, 10 * (offset[-1] - gaps[at]))
    if pause or offset[-1] > 10 * MOST_EMPTY + MOST_EMPTY * len(time):
        first, last, before, after = (
            np.datetime_as_string(moment, unit="m") for moment in (time[0], time[-1], time[at], time[at + 1])
        )
        raise CityError(
            f"times of {path} run from {first} to {last}, {int(offset[-1]) + 1} periods of which {len(time)} are "
            f"recorded and none between {before} and {after}: a date is misread; correct it, or import the parts apart"
        )


def _sum_at(index: np.ndarray, cell: np.ndarray, amount: polars.Series, places: tuple[int, int, int]) -> np.ndarray:
    """Amounts of cells summed into a dense array of NaN; a place at which nothing was recorded stays NaN.

    So does one at which cells are missing that carry more than `SMALL_PART` of it in the mean: the sum of the others
    would look like a fall. A cell that never recorded anything is not missed.
    """
    values = amount.fill_null(float("nan")).to_numpy()
    recorded = ~np.isnan(values)
    index, cell, values = index[recorded], cell[recorded], values[recorded]
    total = np.full(int(np.prod(places)), np.nan, np.float32)
    total[index] = 0
    np.add.at(total, index, values.astype(np.float32))
    count = np.bincount(cell)
    usual = np.bincount(cell, values) / np.maximum(count, 1)
    first = np.unique(cell, return_index=True)[1]
    squares = places[1] * places[2]
    whole = np.bincount(index[first] % squares, usual[cell[first]], squares)
    there = np.bincount(index, usual[cell], total.size)
    partly = there < (1 - SMALL_PART) * np.tile(whole, places[0])
    return np.where(partly, np.float32(np.nan), total).reshape(places)


def read(path: Path, layer: str = "") -> list[City]:
    """The one city of a long table that holds its own positions. Raises `CityError`."""
    return [read_table(path)]


SOURCE = Source(
    "table",
    "table with the columns cell, time, traffic, row, col (lon and lat, other names: read_table)",
    lambda names: {"cell", "time", "traffic"} <= names,
    read,
)
