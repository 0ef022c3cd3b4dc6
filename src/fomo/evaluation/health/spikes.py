"""Values far over what is usual in their cell and hour."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Shaped

from fomo.evaluation.health.thresholds import SPIKE, SPREAD

#: Share of the cell's traffic that is over the usual, number of spikes; then of the largest of them: the factor (value
#: over the usual, infinite where that is 0), its period, the value. 0 where there is none.
SPIKES = np.dtype([("share", float), ("number", int), ("factor", float), ("period", int), ("value", float)])


def spikes_of(
    values: Float[np.ndarray, "cell padded"],
    total: Float[np.ndarray, " cell"],
    count: Int[np.ndarray, " cell"],
    median: Float[np.ndarray, "cell hour"],
    spread: Float[np.ndarray, "cell hour"],
    days: int,
) -> Shaped[np.ndarray, " cell"]:
    """`SPIKES` of every cell; periods count from the first midnight.

    `values` are padded to whole `days`, NaN = not recorded; `total` and `count` are those of the recorded ones;
    `median` and `spread` (distance between the quartiles) those of an hour of the day.
    """
    found = np.zeros(len(values), SPIKES)
    hours = median.shape[1]
    known = np.where(np.isfinite(values), values, np.float32(-1))
    rest = np.where(count > 1, (total - known.max(1)) / np.maximum(count - 1, 1), 0)  # mean without the largest value
    usual = np.fmax(median, np.maximum(rest, 0)[:, None])
    limit = np.fmax(np.maximum(SPIKE * usual, median + SPREAD * spread), 0).astype(np.float32)
    parts = values.shape[1] // (days * hours)
    shaped = known.reshape(len(values), days, hours, parts)
    cell, day, hour, part = np.nonzero(shaped > limit[:, None, :, None])
    if len(cell) == 0:
        return found
    value, expected = shaped[cell, day, hour, part].astype(np.float64), usual[cell, hour]
    found["share"] = np.bincount(cell, value - expected, len(values)) / np.where(total > 0, total, 1)
    found["number"] = np.bincount(cell, minlength=len(values))
    order = np.argsort(value, kind="stable")  # the largest of a cell is written last
    factor = np.divide(value, expected, out=np.full(len(value), np.inf), where=expected > 0)
    found["factor"][cell[order]] = factor[order]
    found["period"][cell[order]] = ((day * hours + hour) * parts + part)[order]
    found["value"][cell[order]] = value[order]
    return found


__all__ = ["SPIKES", "spikes_of"]
