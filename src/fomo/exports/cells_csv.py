"""Traffic per cell under the operator's own names, as CSV or Parquet, and forecasts brought back to those cells.

Columns: cell, time, traffic, then low and high (5 % and 95 %) of a forecast, then users, then the unit of the traffic
where it is stated. A value that is not known is an empty field (null in Parquet). Times are the operator's wall clock,
as his own counters and `fomo.sources.table` have them, so they bear no offset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float

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


def forecast_per_cell(
    forecast: Forecast,
    matrix: Any,
    names: Sequence[str],
    usual: Float[np.ndarray, " cell"],
) -> xr.Dataset:
    """A gridded forecast brought back to the cells that feed the grid: traffic (the mean), low, high (time, cell).

    `matrix` (grid, cell) is scipy's sparse share of a cell's traffic that falls into a grid cell, grid cells counted
    row by row from the south-west; `names` and `usual` are the cells' names and mean traffic. Every member of a grid
    cell is shared among its cells in proportion to matrix * usual, so the cells' totals are the grid's, to rounding,
    wherever a cell with usual traffic feeds it. What no such cell feeds is counted: attributes `not_shared` (its part
    of the mean traffic) and `not_shared_grid_cells`.

    A cell is NaN where its usual traffic is unknown or a grid cell that it feeds is not forecast, and where it lies
    outside the grid; one that lies partly outside gets the part inside; a cell that never has traffic is 0. Raises
    `IngestError` where shapes do not fit, or a share or a usual traffic is negative.
    """
    members = forecast.samples.values
    samples, periods, height, width = members.shape
    usual = np.asarray(usual, dtype=float)
    shares = _shares(matrix, usual, (height * width, len(names)))
    flat = members.reshape(samples, periods, height * width)
    found = np.full((3, periods, len(names)), np.nan)
    block = max(1, VALUES // max(1, samples * len(names)))
    for begin in range(0, periods, block):
        part = flat[:, begin : begin + block]
        of_cells = (shares @ part.reshape(-1, height * width).T.astype(float)).T.reshape(*part.shape[:2], len(names))
        found[0, begin : begin + block] = of_cells.mean(0)
        found[1:, begin : begin + block] = quantiles_of(of_cells, (QUANTILES["low"], QUANTILES["high"]))
    outside = np.asarray(abs(matrix).sum(0)).ravel() == 0
    found[..., ~np.isfinite(usual) | outside] = np.nan
    mean = flat.mean((0, 1), dtype=float)
    unshared = (np.asarray(shares.sum(0)).ravel() == 0) & np.isfinite(mean) & (mean > 0)
    total = np.nansum(mean)
    counted = {
        "not_shared": float(mean[unshared].sum() / total) if total else 0.0,
        "not_shared_grid_cells": int(unshared.sum()),
    }
    unit = {"units": forecast.attrs.get("unit", "")}
    return xr.Dataset(
        {name: (("time", "cell"), values, unit) for name, values in zip(AMOUNTS[:3], found, strict=True)},
        {"time": forecast.dataset["time"].values, "cell": np.asarray(names, dtype=object)},
        {**forecast.attrs, **counted},
    )


def _shares(matrix: Any, usual: Float[np.ndarray, " cell"], shape: tuple[int, int]) -> Any:
    """Sparse (cell, grid): the part of a grid cell's traffic that is a cell's; columns sum to 1, or are empty."""
    try:
        from scipy import sparse
    except ImportError:
        raise IngestError("forecasts per cell need scipy: pip install 'fomo[operator]'") from None
    if tuple(matrix.shape) != shape or usual.shape != shape[1:]:
        raise IngestError(
            f"the forecast has {shape[0]} grid cells and there are {shape[1]} names, but the matrix is "
            f"{matrix.shape[0]} x {matrix.shape[1]} and usual has the shape {usual.shape}: "
            "forecast the whole grid that the matrix belongs to, and give one name and one usual traffic a cell"
        )
    matrix = sparse.csr_array(matrix).astype(float)
    if (matrix.data < 0).any() or (usual < 0).any() or np.isinf(usual).any():
        raise IngestError("a share or a usual traffic is negative or infinite: amounts are finite and not negative")
    weight = sparse.csr_array(matrix.multiply(np.nan_to_num(usual, nan=0.0)))
    total = np.asarray(weight.sum(1)).ravel()
    inverse = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
    shares = sparse.csr_array((sparse.diags_array(inverse) @ weight).T)
    shares.eliminate_zeros()  # 0 times a grid cell that is not forecast would be NaN
    return shares


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


__all__ = ["export_cells", "forecast_per_cell"]
