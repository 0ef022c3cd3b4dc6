"""Sums and peaks of a forecast: what cannot be had from the quantiles of single values.

A member is one course of events, so its sum over hours or cells is one possible sum; the quantiles of the members' sums
are those of the sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int64

from fomo.app.service.outputs import QUANTILES, write_frame
from fomo.forecast import Forecast, quantiles_of
from fomo.units import total_unit

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Totals:
    """Sums over the asked values of every member, in the city's unit times steps; cells not asked for have 0 steps."""

    steps: Int64[np.ndarray, "y x"]  # asked, of each cell
    total: Float[np.ndarray, "sample y x"]  # over the steps
    peak: Float[np.ndarray, "sample y x"]  # the largest of them
    busiest: Int64[np.ndarray, "y x"]  # the step with the largest mean
    together: Float[np.ndarray, "sample time"]  # over the cells

    @classmethod
    def of(cls, forecast: Forecast) -> Totals:
        """Those of a forecast, of which one step at a time is held."""
        asked, (samples, time, height, width) = forecast.asked.values, forecast.samples.shape
        total = np.zeros((samples, height, width))
        peak, largest = np.full(total.shape, -np.inf), np.full((height, width), -np.inf)
        busiest, together = np.zeros((height, width), np.int64), np.zeros((samples, time))
        for step in range(time):
            here = asked[step]
            members = forecast.samples[:, step].values.astype(np.float64)
            known = np.where(here, members, 0.0)
            total += known
            together[:, step] = known.sum((1, 2))
            peak = np.where(here, np.maximum(peak, members), peak)
            mean = members.mean(0)
            higher = here & (mean > largest)
            busiest, largest = np.where(higher, step, busiest), np.where(higher, mean, largest)
        return cls(asked.sum(0), total, peak, busiest, together)


def totals_frame(forecast: Forecast, totals: Totals) -> pl.DataFrame:
    """One row per asked cell: place, steps, total and peak with quantiles, the step at which the mean is largest.

    Totals are in `total_unit`, peaks in `unit` (per period).
    """
    import polars as pl

    row, column = np.nonzero(totals.steps)
    data = forecast.dataset
    columns: dict[str, np.ndarray] = {
        "row": row,
        "col": column,
        "y": data["y"].values[row],
        "x": data["x"].values[column],
    }
    columns |= {name: data[name].values[row, column] for name in ("lon", "lat") if name in data.coords}
    columns["steps"] = totals.steps[row, column]
    for name, members in (("total", totals.total[:, row, column]), ("peak", totals.peak[:, row, column])):
        columns[f"{name}_mean"] = members.mean(0)
        for q, values in zip(QUANTILES, quantiles_of(members, QUANTILES), strict=True):
            columns[f"{name}_q{100 * q:02.0f}"] = values
    columns["busiest"] = data["time"].values[totals.busiest[row, column]].astype("datetime64[us]")
    frame = pl.DataFrame(columns).with_columns(
        pl.lit(unit_of_totals(forecast)).alias("total_unit"), pl.lit(str(forecast.attrs["unit"])).alias("unit")
    )
    return frame.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None))


def write_totals(forecast: Forecast, path: Path) -> Path:
    """`totals_frame` as .csv or .parquet, whole or not at all. Returns the path."""
    return write_frame(totals_frame(forecast, Totals.of(forecast)), path)


def all_together(forecast: Forecast, totals: Totals) -> str:
    """The sum over all asked values and the busiest step of all cells, each with its 5 to 95 %."""
    step = int(totals.together.mean(0).argmax())
    clock = np.datetime_as_string(forecast.dataset["time"].values[step], unit="m")
    sums, most = _spread(totals.together.sum(1)), _spread(totals.together[:, step])
    total, rate = (unit or "(unit not stated)" for unit in (unit_of_totals(forecast), str(forecast.attrs["unit"])))
    return f"all together {sums} {total}, most at {clock}: {most} {rate}"


def unit_of_totals(forecast: Forecast) -> str:
    """The unit of sums over the periods of a forecast."""
    return total_unit(str(forecast.attrs["unit"]), int(forecast.attrs["step_minutes"]))


def _spread(members: Float[np.ndarray, " sample"]) -> str:
    """Mean, and the 5 to 95 % of the members."""
    values = members.mean(), *quantiles_of(members, (0.05, 0.95))
    mean, low, high = (f"{float(f'{value:.4g}'):,.10g}" for value in values)  # four digits, no exponent
    return f"{mean} ({low} to {high})"


__all__ = ["Totals", "all_together", "totals_frame", "unit_of_totals", "write_totals"]
