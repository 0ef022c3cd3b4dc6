"""Traffic per cell under the operator's own names, as CSV or Parquet, and forecasts brought back to those cells.

Columns: cell, time, traffic, then low and high (5 % and 95 %) of a forecast, then users, then the unit of the traffic
where it is stated. A value that is not known is an empty field (null in Parquet). Times are the operator's wall clock,
as his own counters and `fomo.sources.table` have them, so they bear no offset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from fomo.exports.files import fresh_files, kind_of_suffix
from fomo.exports.layers import QUANTILES
from fomo.forecast import Forecast, quantiles_of
from fomo.ingest.ledger import IngestError

if TYPE_CHECKING:
    import polars

AMOUNTS = ("traffic", "low", "high", "users")
ROWS = 1_000_000  # written at once
VALUES = 20_000_000  # members of cells held at once


def export_cells(cells: xr.Dataset, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write traffic (time, cell), and users, low and high where they are, to .csv or .parquet; returns the path.

    Rows go period by period, cells in their order. Raises `IngestError` for another suffix, for a dataset of another
    form, for names that repeat, for infinite amounts, and where there is a file already
    (`overwrite=True` replaces it).
    """
    import polars

    path = Path(path)
    kind = kind_of_suffix(path, ("csv", "parquet"))
    _check_cells(cells)
    with fresh_files([path], kind, overwrite) as (fresh,):
        try:
            if kind == "parquet":
                polars.concat(list(_tables(cells))).write_parquet(fresh)
            else:
                with fresh.open("wb") as file:
                    for number, table in enumerate(_tables(cells)):
                        table.write_csv(file, include_header=not number, datetime_format="%Y-%m-%dT%H:%M:%S")
        except OSError as error:
            raise IngestError(f"{path} cannot be written: {error}") from error
    return path


@dataclass(frozen=True)
class Usual:
    """What cells usually carry at the periods of a forecast: at each the amounts of one row; NaN = not known."""

    values: Float[np.ndarray, "row cell"]
    row: Int[np.ndarray, " time"]

    def at(self, periods: slice) -> Float[np.ndarray, "time cell"]:
        """Of some of the periods; 0 where it is not known."""
        return np.nan_to_num(np.asarray(self.values[self.row[periods]], float), nan=0.0)


def forecast_per_cell(
    forecast: Forecast,
    matrix: Any,
    names: Sequence[str],
    usual: Sequence[Usual],
    recorded: Float[np.ndarray, "time cell"] | None = None,
    in_service: Bool[np.ndarray, "time cell"] | None = None,
) -> xr.Dataset:
    """A gridded forecast brought back to the cells that feed the grid: traffic (the mean), low, high (time, cell).

    `matrix` (grid, cell) is scipy's sparse share of a cell's traffic that falls into a grid cell, grid cells counted
    row by row from the south-west; `names` are the cells' names. Every member of a grid cell is shared among its cells
    in proportion to matrix * usual, so the cells' totals are the grid's, to rounding, wherever a cell with usual
    traffic feeds it. The first `usual` counts by which any of its cells carries something. What no such cell feeds is
    counted: attributes `not_shared` (its part of the mean traffic) and `not_shared_grid_cells`. `low` and `high` are
    those of the grid cells shared out: that shares are not sure has no part in them.

    `recorded` (NaN = not known) stays as it is, low and high too, and the others share what it leaves of a grid cell
    that was asked: nothing where it leaves less than nothing.

    A cell is NaN where no usual traffic is known of it or a grid cell that it feeds is not forecast, where it lies
    outside the grid, and where it is not `in_service` (None: all are) nor recorded; one that lies partly outside gets
    the part inside; a cell without usual traffic is 0. Raises `IngestError` where shapes do not fit, or a share or a
    usual traffic is negative.
    """
    members = forecast.samples.values
    samples, periods, height, width = members.shape
    matrix = _checked(matrix, usual, (height * width, len(names)), periods)
    kept = np.full((periods, len(names)), np.nan) if recorded is None else np.asarray(recorded, float)
    if kept.shape != (periods, len(names)):
        raise IngestError(
            f"what is recorded has the shape {kept.shape}; it needs {periods} periods, {len(names)} cells"
        )
    flat, asked = members.reshape(samples, periods, -1), forecast.asked.values.reshape(periods, -1)
    unknown = np.isnan(usual[-1].values).all(0) | (np.asarray(matrix.sum(0)).ravel() == 0)
    found = np.empty((3, periods, len(names)))
    lost, unshared = 0.0, np.zeros(height * width, bool)
    block = max(1, VALUES // max(1, samples * max(len(names), height * width)))
    for begin in range(0, periods, block):
        part = slice(begin, begin + block)
        rest = _left(flat[:, part].astype(float), asked[part], matrix, kept[part])
        missing = np.isnan(kept[part])
        of_cells, open_ = _shared(rest, matrix, [each.at(part) for each in usual], missing)
        mean = rest.mean(0)
        open_ &= mean > 0
        lost += float(mean[open_].sum())
        unshared |= open_.any(0)
        of_cells[:, missing & unknown] = np.nan
        of_cells = np.where(missing, of_cells, kept[part])
        found[0, begin : begin + block] = of_cells.mean(0)
        found[1:, begin : begin + block] = quantiles_of(of_cells, (QUANTILES["low"], QUANTILES["high"]))
    if in_service is not None:
        found[:, ~in_service & np.isnan(kept)] = np.nan
    found[..., np.isfinite(kept)] = kept[np.isfinite(kept)]  # a mean of equal numbers is rounded
    total = np.nansum(flat.mean(0, dtype=float))
    counted = {"not_shared": lost / total if total else 0.0, "not_shared_grid_cells": int(unshared.sum())}
    unit = {"units": forecast.attrs.get("unit", "")}
    return xr.Dataset(
        {name: (("time", "cell"), values, unit) for name, values in zip(AMOUNTS[:3], found, strict=True)},
        {"time": forecast.dataset["time"].values, "cell": np.asarray(names, dtype=object)},
        {**forecast.attrs, **counted},
    )


def _left(
    members: Float[np.ndarray, "sample time grid"],
    asked: Bool[np.ndarray, "time grid"],
    matrix: Any,
    recorded: Float[np.ndarray, "time cell"],
) -> Float[np.ndarray, "sample time grid"]:
    """What members leave of grid cells when what is recorded of their cells is taken away."""
    some = np.isfinite(recorded).any(1)
    if not some.any():
        return members
    held = (matrix @ np.nan_to_num(recorded).T).T
    left = np.maximum(members - held, 0.0)
    # What was not asked repeats what was recorded: cells that are missing there count as nothing.
    return np.where(some[:, None] & ~asked & np.isfinite(members), 0.0, left)


def _shared(
    amounts: Float[np.ndarray, "sample time grid"],
    matrix: Any,
    usual: Sequence[Float[np.ndarray, "time cell"]],
    taking: Bool[np.ndarray, "time cell"],
) -> tuple[Float[np.ndarray, "sample time cell"], Bool[np.ndarray, "time grid"]]:
    """Amounts of grid cells shared among the cells that take part, and the grid cells of which nobody does."""
    samples, periods, grid = amounts.shape
    found = np.zeros((samples, periods, taking.shape[1]))
    left = np.ones((periods, grid), bool)
    for level in usual:
        weight = np.where(taking, level, 0.0)
        whole = (matrix @ weight.T).T
        here = left & (whole > 0)
        left &= ~here
        if here.any():
            each = np.where(here, amounts / np.where(here, whole, 1.0), 0.0).reshape(-1, grid)
            back = (matrix.T @ each.T).T.reshape(found.shape)
            found += np.where(weight > 0, weight * back, 0.0)  # 0 times a grid cell that is not forecast would be NaN
        if not (left & (amounts > 0).any(0)).any():
            break
    return found, left


def _checked(matrix: Any, usual: Sequence[Usual], shape: tuple[int, int], periods: int) -> Any:
    """The matrix as floats (grid, cell). Raises `IngestError`."""
    try:
        from scipy import sparse
    except ImportError:
        raise IngestError("forecasts per cell need scipy: pip install 'fomo[operator]'") from None
    other = [each for each in usual if each.values.shape[1:] != shape[1:] or each.row.shape != (periods,)]
    if tuple(matrix.shape) != shape or other:
        told = [(each.values.shape, each.row.shape) for each in other]
        raise IngestError(
            f"the forecast has {shape[0]} grid cells and {periods} periods and there are {shape[1]} names, but the "
            f"matrix is {matrix.shape[0]} x {matrix.shape[1]} and usual has the shapes {told or 'that fit'}: "
            "forecast the whole grid that the matrix belongs to, and give one name and one usual traffic a cell"
        )
    matrix = sparse.csr_array(matrix).astype(float)
    amounts = [each.values for each in usual]
    if (matrix.data < 0).any() or any((each < 0).any() or np.isinf(each).any() for each in amounts):
        raise IngestError("a share or a usual traffic is negative or infinite: amounts are finite and not negative")
    matrix.eliminate_zeros()
    return matrix


def _check_cells(cells: xr.Dataset) -> None:
    if "traffic" not in cells or "cell" not in cells.coords or "time" not in cells.coords:
        raise IngestError("traffic (time, cell) with the coordinates time and cell is needed: it is not there")
    for name in AMOUNTS:
        if name in cells and cells[name].dims != ("time", "cell"):
            raise IngestError(f"{name} has the axes {cells[name].dims}; it needs ('time', 'cell'): transpose it")
    if not cells["traffic"].size:
        raise IngestError("there are no cells or no periods to write: choose others")
    told = np.array([str(name) for name in cells["cell"].values], dtype=object)  # of objects, of numpy's StringDType
    names, counts = np.unique(told, return_counts=True)
    if counts.max() > 1:
        twice = str(names[int(counts.argmax())])
        raise IngestError(f"the cell {twice!r} is there {counts.max()} times: sum or rename them")


def _tables(cells: xr.Dataset) -> Iterator[polars.DataFrame]:
    """Long tables of about `ROWS` rows, period by period."""
    import polars

    names = polars.Series("cell", [str(name) for name in cells["cell"].values], dtype=polars.String)
    amounts = [name for name in AMOUNTS if name in cells]
    unit = str(cells["traffic"].attrs.get("units", ""))
    stated = {"unit": polars.lit(unit)} if unit else {}
    block = max(1, ROWS // len(names))
    for begin in range(0, cells.sizes["time"], block):
        part = cells.isel(time=slice(begin, begin + block))
        time = part["time"].values.astype("datetime64[us]")
        columns = {name: np.ascontiguousarray(part[name].values).ravel() for name in amounts}
        for name, values in columns.items():
            if np.isinf(values).any():
                period, cell = divmod(int(np.argmax(np.isinf(values))), len(names))
                raise IngestError(f"{name} of cell {names[cell]!r} at {time[period]} is infinite: correct it")
        yield polars.DataFrame(
            {
                "cell": names.gather(np.tile(np.arange(len(names)), len(time))),
                "time": np.repeat(time, len(names)),
                **{name: polars.Series(values).fill_nan(None) for name, values in columns.items()},
            }
        ).with_columns(**stated)


__all__ = ["Usual", "export_cells", "forecast_per_cell"]
