"""Whether saved forecasts held, by what the city has recorded since: `fomo verify`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fomo.app.errors import UsageError
from fomo.app.service.outputs import QUANTILES, check_apart, check_file, check_rows, check_table, write_frame
from fomo.app.service.totals import unit_of_totals
from fomo.city import City
from fomo.evaluation.tables import write_records
from fomo.evaluation.verification import CellTotals, Compared, Verification, cell_totals, verify
from fomo.forecast import Forecast, quantiles_of

if TYPE_CHECKING:
    import polars as pl

#: Cells that are named on the terminal, above and below what was expected.
NAMED = 3
#: Files of marks, and by what they are known.
SUMMARIES, OF_MARKS = (".json", ".csv", ".parquet"), frozenset({"forecaster", "values", "bias", "within90", "sums90"})
OF_CELLS = frozenset({"row", "col", "came", "expected", "unit"})


@dataclass(frozen=True)
class Mark:
    """A forecaster's line of the table, in the city's unit; shares are 0 to 1, None where they are not defined.

    `sums50` and `sums90` are of the sums over all cells, step by step; rules have none.
    """

    forecaster: str
    values: int
    unit: str
    rmse: float
    mae: float
    bias: float | None
    crps: float
    within50: float | None
    within90: float | None
    sums50: float | None = None
    sums90: float | None = None


@dataclass(frozen=True)
class Verified:
    """What a verification says: the marks, the forecasts' first; the cells of all forecasts in words; files."""

    marks: list[Mark]
    cells: list[str]
    remarks: list[str]
    written: list[Path]


@dataclass(frozen=True)
class VerifyOutputs:
    """Files beside the terminal, left out where None: a row per cell, a row per forecaster, a figure."""

    cells: Path | None = None
    summary: Path | None = None
    figure: Path | None = None

    def check(self) -> VerifyOutputs:
        """Itself, if everything can be written. Raises `UsageError`."""
        if self.cells is not None:
            check_table(self.cells, OF_CELLS, "table of 'fomo verify'")
        if self.summary is not None:
            check_rows(self.summary, SUMMARIES, OF_MARKS, "verify")
        if self.figure is not None:
            check_file(self.figure, (".png",))
        check_apart(self.cells, self.summary, self.figure)
        return self


def verify_forecasts(city: City, files: Sequence[Path], outputs: VerifyOutputs, *, seed: int = 0) -> Verified:
    """Saved forecasts of a city beside what it has recorded. Raises `CityError`, `ForecastError`, `UsageError`."""
    if not files:
        raise UsageError("--forecast: name one forecast of this city at least, as 'fomo forecast --out' writes it")
    named = dict.fromkeys(file.resolve() for file in files)  # one that is named twice counts once
    found = verify([Forecast.open(file) for file in named], city, seed=seed)
    marks = marks_of(found)
    written = []
    if outputs.cells is not None:
        written.append(write_frame(cells_frame(found), outputs.cells))
    if outputs.summary is not None:
        written.append(write_records(marks, outputs.summary, Mark))
    if outputs.figure is not None:
        from fomo.evaluation.figure_style import save_figure
        from fomo.evaluation.verification_figure import verification_figure

        written.append(save_figure(verification_figure(found), outputs.figure))
    return Verified(marks, _cells_said(found.compared), found.remarks, written)


def marks_of(found: Verification) -> list[Mark]:
    """A line per forecaster, the forecasts' first."""
    marks = []
    for index, values in enumerate(found.values):
        sums = [None, None] if index else [found.sums_within(0.5), found.sums_within(0.9)]
        marks.append(
            Mark(
                values.forecaster, values.truth.size, found.unit, values.rmse, values.mae, values.bias,
                float(values.crps.mean()), values.within(0.5), values.within(0.9), *sums,
            )
        )  # fmt: skip
    return marks


def cells_frame(found: Verification) -> pl.DataFrame:
    """One row per forecast and cell: its total over the recorded steps, what was expected of it, how far off it is.

    `unit` is that of totals. `steps_within90`: share of the steps in the 90 % interval, counted by the place of what
    came among the members (`metrics.coverage`), not by quantiles.
    """
    import polars as pl

    parts = []
    for compared in found.compared:
        totals, data = cell_totals(compared), compared.forecast.dataset
        row, column = totals.places.T
        columns: dict[str, np.ndarray] = {
            "begins": np.full(len(row), compared.time[0]).astype("datetime64[us]"),
            "row": row,
            "col": column,
            "y": data["y"].values[row],
            "x": data["x"].values[column],
        }
        columns |= {name: data[name].values[row, column] for name in ("lon", "lat") if name in data.coords}
        columns |= {"steps": totals.steps, "came": totals.came, "expected": totals.members.mean(0)}
        for q, values in zip(QUANTILES, quantiles_of(totals.members, QUANTILES), strict=True):
            columns[f"q{100 * q:02.0f}"] = values
        columns |= {"deviation": totals.deviation, "steps_within90": totals.within}
        columns["outside"] = np.array(["below", "", "above"])[totals.outside + 1]
        parts.append(pl.DataFrame(columns))
    unit = unit_of_totals(found.compared[0].forecast)
    frame = pl.concat(parts).with_columns(pl.lit(unit).alias("unit"))
    return frame.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None))


def _cells_said(compared: Sequence[Compared]) -> list[str]:
    """How many cells' totals lie outside all members, of all forecasts, and which are farthest off, in lines."""
    totals = [cell_totals(each) for each in compared]
    above, below = (sum(int((each.outside == side).sum()) for each in totals) for side in (1, -1))
    by_chance = sum(len(each.steps) / (len(each.members) + 1) for each in totals)
    members = " or ".join(str(number) for number in sorted({len(each.members) for each in totals}))
    unit, begins = unit_of_totals(compared[0].forecast) or "unit not stated", [_begins(each) for each in compared]
    if len(compared) == 1:
        whose = f"{len(totals[0].steps)} cells over {len(compared[0].time)} steps from {begins[0]}"
    else:
        whose = f"cells of {len(compared)} forecasts from {begins[0]} to {begins[-1]}, {_number(totals)} in all"
    lines = [
        f"totals [{unit}] of {whose}: {above} above all {members} members, {below} below; by chance about "
        f"{by_chance:.3g} each"
    ]
    off = [(float(each.deviation[cell]), which, cell) for which, each in enumerate(totals) for cell in _defined(each)]
    for word, side in (("more", 1), ("less", -1)):
        farthest = sorted(off, key=lambda found: -side * found[0])[:NAMED]
        named = [(which, cell) for deviation, which, cell in farthest if side * deviation > 0]
        if named:
            said = [
                _cell_said(totals[which], cell, f" from {begins[which]}" if len(compared) > 1 else "")
                for which, cell in named
            ]
            lines.append(f"most {word} than expected: " + "; ".join(said))
    return lines


def _number(totals: Sequence[CellTotals]) -> str:
    return f"{sum(len(each.steps) for each in totals):,}"


def _defined(totals: CellTotals) -> list[int]:
    """Cells that have a deviation: their members do not agree."""
    return np.flatnonzero(np.isfinite(totals.deviation)).tolist()


def _begins(compared: Compared) -> str:
    return str(np.datetime_as_string(compared.time[0], unit="m"))


def _cell_said(totals: CellTotals, cell: int, when: str) -> str:
    row, column = totals.places[cell]
    return (
        f"row {row}, column {column}{when} ({totals.came[cell]:.4g} for {totals.members[:, cell].mean():.4g}, "
        f"{totals.deviation[cell]:+.1f} standard deviations)"
    )


__all__ = ["Mark", "Verified", "VerifyOutputs", "cells_frame", "marks_of", "verify_forecasts"]
