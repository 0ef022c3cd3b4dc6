"""Where results go: checked before the work begins, so that a wrong path costs nothing.

Folders and tables replace only what is of their own kind: `--out city.zarr` cannot delete the city it was read from,
nor `--json counters.csv` an operator's counters.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fomo.app.errors import UsageError
from fomo.city import City
from fomo.files import whole_file
from fomo.forecast import Forecast, make_forecast, quantiles_of

if TYPE_CHECKING:
    import polars as pl

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
TABLES = (".csv", ".parquet")
ROWS = (".json", *TABLES, ".md")
#: By what a table is known to be of a forecast, its totals, or rows of 'fomo evaluate'; how the last begin in Markdown.
OF_A_FORECAST = frozenset({"row", "col", "mean", "q05", "q95", "unit"})
OF_TOTALS = frozenset({"row", "col", "total_mean", "busiest", "unit"})
OF_ROWS = frozenset({"forecaster", "city", "task", "rmse", "split"})
MARKDOWN_ROWS = "| forecaster | city | task |"
#: Digits of an amount in a table of text, as many as a float32 has; and columns that are places, with so many decimals.
DIGITS, PLACES, DECIMALS = 7, ("lon", "lat", "x", "y"), 6
#: Observed steps that a figure shows before a forecast.
SHOWN_HISTORY = 48


@dataclass(frozen=True)
class Outputs:
    """Files of one forecast; `table`, `figure` and `totals` are left out where None."""

    forecast: Path
    table: Path | None = None
    figure: Path | None = None
    totals: Path | None = None

    def check(self) -> Outputs:
        """Itself, if everything can be written. Raises `UsageError`."""
        check_folder(self.forecast, holds="asked", kind="a forecast")
        if self.table is not None:
            check_table(self.table)
        if self.totals is not None:
            check_table(self.totals, OF_TOTALS, "totals of a forecast")
        if self.figure is not None:
            check_file(self.figure, (".png",))
        check_apart(self.forecast, self.table, self.figure, self.totals)
        return self

    def write(self, forecast: Forecast, city: City) -> list[Path]:
        """Write all of them; `city` is what was observed. Returns the paths."""
        return [forecast.save(self.forecast), *self.write_beside(forecast, city)]

    def write_beside(self, forecast: Forecast, city: City) -> list[Path]:
        """Write tables and figure, where they are asked for. Returns the paths.

        A table holds members of one step at a time, a figure all of them.
        """
        written = []
        if self.table is not None:
            written.append(write_table(forecast, self.table))
        if self.totals is not None:
            from fomo.app.service.totals import write_totals

            written.append(write_totals(forecast, self.totals))
        if self.figure is not None:
            from fomo.evaluation.figures import forecast_figure, save_figure

            written.append(save_figure(forecast_figure(city, with_history(city, forecast)), self.figure))
        return written


def check_apart(*paths: Path | None) -> None:
    """Raises `UsageError` where two results go to one path; those that are left out are None."""
    named = [path for path in paths if path is not None]
    twice = [path for path in named if sum(path.resolve() == other.resolve() for other in named) > 1]
    if twice:
        raise UsageError(f"{twice[0]} is named for two results, one of which would be lost: name another")


def check_file(path: Path, suffixes: tuple[str, ...]) -> Path:
    """The path, if a file of one of these kinds can be written there. Raises `UsageError`."""
    if path.suffix not in suffixes:
        raise UsageError(f"cannot write {path}: the file name must end in {' or '.join(suffixes)}")
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder; name a file")
    return check_place(path)


def check_table(path: Path, columns: frozenset[str] = OF_A_FORECAST, what: str = "table of a forecast") -> Path:
    """The path, if a table with these columns can be written there and no other one is lost. Raises `UsageError`."""
    check_file(path, TABLES)
    if _is_something(path) and not _columns(path).issuperset(columns):
        raise UsageError(f"{path} exists and is no {what}: it would be lost; name another or remove it")
    return path


def check_rows(
    path: Path, suffixes: tuple[str, ...] = ROWS, columns: frozenset[str] = OF_ROWS, verb: str = "evaluate"
) -> Path:
    """The path, if scores of a verb can be written there and nothing but such is lost. Raises `UsageError`.

    `columns`: by what they are known.
    """
    check_file(path, suffixes)
    if _is_something(path) and not _holds_rows(path, columns):
        raise UsageError(
            f"{path} exists and holds no scores of 'fomo {verb}': it would be lost; name another or remove it"
        )
    return path


def check_folder(path: Path, *, holds: str, kind: str) -> Path:
    """The path, if nothing is there or a Zarr folder of the same kind, one with the variable `holds`."""
    if path.exists() and not (path / holds / "zarr.json").exists():
        raise UsageError(f"{path} exists and is not {kind}: it would be lost; name another --out or remove it")
    return check_place(path)


def check_results(path: Path, option: str = "--out") -> Path:
    """The path, if a folder of results can be there: it is no file, and not inside a city or a forecast.

    Raises `UsageError`.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"{option} {path}: it is a file; name a folder")
    _check_outside(f"{option} {path}", (path, *path.absolute().parents))
    return path


def _check_outside(what: str, folders: Iterable[Path]) -> None:
    """Raises `UsageError` where one of the folders is a city or a forecast."""
    for folder in folders:
        if (folder / "zarr.json").exists():
            raise UsageError(f"{what}: {folder} is a city or a forecast, no place for results; name another")


def _is_something(path: Path) -> bool:
    """Whether there is a file that is not empty."""
    return path.exists() and path.stat().st_size > 0


def _columns(table: Path) -> frozenset[str]:
    """Names of the columns of a .csv or .parquet; none where it cannot be read."""
    import polars as pl

    try:
        lazy = pl.scan_csv(table) if table.suffix == ".csv" else pl.scan_parquet(table)
        return frozenset(lazy.collect_schema().names())
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError):
        return frozenset()


def _holds_rows(path: Path, columns: frozenset[str]) -> bool:
    """Whether a file holds records with these columns, or is Markdown that `evaluation.tables.write_rows` wrote."""
    if path.suffix in TABLES:
        return _columns(path).issuperset(columns)
    try:
        text = path.read_text(encoding="utf-8")
        found = [] if path.suffix == ".md" else json.loads(text)
    except ValueError:
        return False
    if path.suffix == ".md":
        return text.startswith(MARKDOWN_ROWS)
    return isinstance(found, list) and all(isinstance(row, dict) and columns.issubset(row) for row in found)


def check_place(path: Path) -> Path:
    """The path, if its folder is there or can be made, and in no city or forecast. Raises `UsageError`."""
    _check_outside(f"cannot write {path}", path.absolute().parents)
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise UsageError(f"cannot write {path}: {parent} is a file, not a folder")
    if not os.access(parent, os.W_OK):
        raise UsageError(f"cannot write {path}: no permission to write into {parent}")
    return path


def with_history(city: City, forecast: Forecast, steps: int = SHOWN_HISTORY) -> Forecast:
    """The forecast with the observed steps before it, for a figure. Itself where it holds observed steps already."""
    begins = forecast.dataset["time"].values[0]
    before = city.isel(time=city["time"].values < begins).isel(time=slice(-steps, None))
    if before.sizes["time"] == 0:
        return forecast
    seen, members = before["traffic"].values, forecast.samples.values
    time = np.concatenate([before["time"].values, forecast.dataset["time"].values])
    window = city.isel(time=slice(-1, None)).reindex(time=time)
    known = {"forecaster", "context", "seed", "city", "unit", "step_minutes"}
    return make_forecast(
        np.concatenate([np.broadcast_to(seen, (len(members), *seen.shape)), members], axis=1),
        np.concatenate([np.zeros(seen.shape, bool), forecast.asked.values]),
        window,
        forecaster=str(forecast.attrs["forecaster"]),
        context=str(forecast.attrs["context"]),
        seed=int(forecast.attrs["seed"]),
        provenance={key: value for key, value in forecast.attrs.items() if key not in known},
    )


def forecast_frame(forecast: Forecast) -> pl.DataFrame:
    """One row per asked value: time, row, col, y, x, lon and lat if known, mean, quantiles and unit."""
    import polars as pl

    step, row, column = np.nonzero(forecast.asked.values)
    data = forecast.dataset
    columns: dict[str, np.ndarray | pl.Series] = {
        "time": data["time"].values[step].astype("datetime64[us]"),
        "row": row,
        "col": column,
        "y": data["y"].values[row],
        "x": data["x"].values[column],
    }
    for name in ("lon", "lat"):
        if name in data.coords:
            columns[name] = data[name].values[row, column]
    members = forecast.samples.values[:, step, row, column]
    columns["mean"] = members.mean(0)
    for q, values in zip(QUANTILES, quantiles_of(members, QUANTILES), strict=True):
        columns[f"q{100 * q:02.0f}"] = values
    frame = pl.DataFrame(columns).with_columns(pl.lit(str(forecast.attrs["unit"])).alias("unit"))
    return frame.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None))


def write_table(forecast: Forecast, path: Path) -> Path:
    """`forecast_frame` as .csv or .parquet, whole or not at all. Returns the path."""
    import polars as pl

    steps = range(forecast.asked.sizes["time"])
    each = [forecast_frame(Forecast(forecast.dataset.isel(time=slice(step, step + 1)))) for step in steps]
    return write_frame(pl.concat(each), path)


def write_frame(frame: pl.DataFrame, path: Path) -> Path:
    """A table as .csv (times to the minute, amounts to seven digits) or .parquet, whole or not at all.

    Digits, not decimals: a square's traffic may be a millionth of the unit. Returns the path.
    """
    import polars.selectors as columns

    with whole_file(path) as fresh:
        if path.suffix == ".csv":
            places = columns.float() & columns.by_name(*PLACES, require_all=False)
            rounded = frame.with_columns((columns.float() - places).round_sig_figs(DIGITS), places.round(DECIMALS))
            rounded.write_csv(fresh, datetime_format="%Y-%m-%dT%H:%M")
        else:
            frame.write_parquet(fresh)
    return path


__all__ = [
    *("Outputs", "check_apart", "check_file", "check_folder", "check_results", "check_rows", "check_table"),
    "forecast_frame",
    *("with_history", "write_frame", "write_table"),
]
