"""Two forecasters of the scoreboard beside each other: their ratio's interval, on the same resampled regions or days.

The table has a number per forecaster; whether one is ahead of another by more than chance is another question, since a
hard region is hard for both. It takes what each did in each region, so that is kept beside the table: a line per
forecaster, column and region (or day) with the sums that RMSE, MAE and CRPS are made of, and of generated cells the two
histograms of the JSD.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import polars as pl

from fomo.evaluation.metrics import JSD_BINS, PIT_BINS, ErrorSums
from fomo.evaluation.protocol import EvaluationError
from fomo.evaluation.rows import ratio_interval, score_of, units_of
from fomo.evaluation.scoreboard import PAPER, Result
from fomo.files import whole_file

#: Of fewer regions or days a bootstrap says nothing that could be called 95 %.
FEWEST = 4
#: How far the sums of a line may be from the table's number: they are of other scores where they are further.
SAME = 1e-6
SUMS = ("count", "squared", "absolute", "crps")
HISTOGRAMS = ("truth", "forecast")
#: Places in `ErrorSums.vector`.
PLACES = len(fields(ErrorSums)) - 3 + PIT_BINS + 2 * JSD_BINS


@dataclass(frozen=True)
class UnitSums:
    """What a forecaster did in one region, or on one day, of a column; histograms are empty but for generated cells."""

    city: str
    protocol: str
    task: str
    context: str
    forecaster: str
    unit: str
    count: float
    squared: float
    absolute: float
    crps: float
    truth: tuple[int, ...]
    forecast: tuple[int, ...]

    @property
    def place(self) -> tuple[str, ...]:
        """The answer that it is a part of."""
        return self.protocol, self.task, self.context, self.city, self.forecaster


def unit_sums(results: Sequence[Result]) -> list[UnitSums]:
    """Those of every result that has scores."""
    found = []
    for result in results:
        units = None if result.scores is None else units_of(result.scores)
        if units is None or units.totals is None:
            continue
        about = (result.city, result.protocol, result.task, result.context, result.forecaster)
        for name, vector in zip(units.names, units.totals, strict=True):
            sums = ErrorSums.from_vector(vector)
            generated = result.task == "generate"
            truth, forecast = (tuple(map(int, getattr(sums, each))) if generated else () for each in HISTOGRAMS)
            count, squared, absolute, crps = (float(getattr(sums, each)) for each in SUMS)
            found.append(UnitSums(*about, name, count, squared, absolute, crps, truth, forecast))
    return found


def write_units(found: Sequence[UnitSums], path: Path) -> Path:
    """A Parquet file, written whole."""
    text = ("city", "protocol", "task", "context", "forecaster", "unit")
    schema: dict[str, pl.DataType] = dict.fromkeys(text, pl.String())
    schema |= dict.fromkeys(SUMS, pl.Float64()) | dict.fromkeys(HISTOGRAMS, pl.List(pl.Int64()))
    with whole_file(path) as fresh:
        pl.DataFrame([asdict(each) for each in found], schema=schema).write_parquet(fresh, compression_level=15)
    return path


def read_units(path: Path) -> list[UnitSums]:
    """The lines of such a file. Raises `EvaluationError`."""
    try:
        rows = pl.read_parquet(path).iter_rows(named=True)
        return [UnitSums(**{**each, **{name: tuple(each[name]) for name in HISTOGRAMS}}) for each in rows]
    except (OSError, pl.exceptions.PolarsError, TypeError, KeyError) as error:
        raise EvaluationError(f"{path} holds no sums that can be read: {error}") from error


def with_kept_units(found: Sequence[UnitSums], before: Sequence[UnitSums]) -> list[UnitSums]:
    """Those found, and of answers that have none those from before."""
    there = {each.place for each in found}
    return [*found, *(each for each in before if each.place not in there)]


class Beside:
    """Ratios of two forecasters' scores with intervals, as far as the sums of both are there."""

    def __init__(self, units: Sequence[UnitSums]) -> None:
        """Of these, in any order."""
        self._answers: dict[tuple[str, ...], dict[str, UnitSums]] = {}
        for each in units:
            self._answers.setdefault(each.place, {})[each.unit] = each

    def interval(self, row: dict[str, str | float | None], which: str, metric: str) -> tuple[float, float] | None:
        """Of FoMo's score over that of the best 'deep' or 'other' one, for a row of `first_place`.

        None where the sums of one are not there, or are not those of the table's number, and of fewer than `FEWEST`
        regions or days.
        """
        ratio, rival, own = row[f"over best {which}"], row[f"best {which}"], row["FoMo"]
        if not (isinstance(ratio, float) and isinstance(own, float)):
            return None
        context = str(row["context"])
        told = ("full", "none") if context == PAPER else (context, context)
        column = (str(row["protocol"]), str(row["task"]))
        ours, theirs = (
            self._answers.get((*column, each, str(row["city"]), name), {})
            for each, name in zip(told, ("FoMo", str(rival)), strict=True)
        )
        if len(ours) < FEWEST or sorted(ours) != sorted(theirs):
            return None
        totals = [np.stack([_vector(answer[name]) for name in sorted(ours)]) for answer in (ours, theirs)]
        for total, value in zip(totals, (own, own / ratio), strict=True):
            if abs(score_of(total, metric) / value - 1) > SAME:
                return None
        return ratio_interval(totals[0], totals[1], metric)


def _vector(unit: UnitSums) -> np.ndarray:
    """`ErrorSums.vector` with what is kept; the rest is 0."""
    vector = np.zeros(PLACES)
    for name in SUMS:
        vector[ErrorSums.column(name)] = getattr(unit, name)
    if unit.truth:
        vector[-2 * JSD_BINS :] = (*unit.truth, *unit.forecast)
    return vector


__all__ = ["Beside", "UnitSums", "read_units", "unit_sums", "with_kept_units", "write_units"]
