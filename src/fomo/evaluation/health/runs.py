"""Runs of one value: where a cell records nothing, and where it is stuck."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from fomo.evaluation.health.thresholds import STUCK_HOURS, ZERO_HOURS

#: Periods in long runs; then of the longest of them: periods, its first one, the value. 0 where there is none.
STUCK = np.dtype([("periods", int), ("longest", int), ("begin", int), ("value", float)])


def runs(
    mask: Bool[np.ndarray, "row column"],
) -> tuple[Int[np.ndarray, " run"], Int[np.ndarray, " run"], Int[np.ndarray, " run"]]:
    """Row, first column and length of every run of True."""
    edges = np.zeros((len(mask), mask.shape[1] + 1), bool)  # true where a run begins or has just ended
    edges[:, 1:-1] = mask[:, 1:] != mask[:, :-1]
    edges[:, 0], edges[:, -1] = mask[:, 0], mask[:, -1]
    row, column = np.nonzero(edges)
    return row[::2], column[::2], column[1::2] - column[::2]


def stuck_runs(values: Float[np.ndarray, "cell time"], step_minutes: int) -> Shaped[np.ndarray, " cell"]:
    """`STUCK` of every cell: runs of one value for `STUCK_HOURS` (zero: `ZERO_HOURS`), 4 periods at least.

    A cell where half of the other neighbouring periods are equal too counts in coarse numbers: it is not stuck.
    """
    found = np.zeros(len(values), STUCK)
    if values.shape[1] < 2:
        return found
    equal = values[:, 1:] == values[:, :-1]
    row, begin, pairs = runs(equal)  # a run of equal pairs has one period more
    value = values[row, begin]
    hours = (pairs + 1) * step_minutes / 60
    long = (pairs >= 3) & (hours >= np.where(value == 0, ZERO_HOURS, STUCK_HOURS))
    in_long = np.bincount(row[long], pairs[long], len(values))
    others = (np.isfinite(values[:, 1:]) & np.isfinite(values[:, :-1])).sum(1) - in_long
    taken = long & (equal.sum(1) - in_long <= others / 2)[row]
    row, begin, periods, value = row[taken], begin[taken], pairs[taken] + 1, value[taken]
    found["periods"] = np.bincount(row, periods, len(values))
    order = np.argsort(periods, kind="stable")  # the longest of a row is written last
    found["longest"][row[order]] = periods[order]
    found["begin"][row[order]] = begin[order]
    found["value"][row[order]] = value[order]
    return found


__all__ = ["STUCK", "runs", "stuck_runs"]
