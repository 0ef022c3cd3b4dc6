"""Cells whose day runs against that of the others: clocks that are wrong by half a day, or night shifts."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from fomo.evaluation.health.thresholds import NIGHT, RHYTHM, UPSIDE_DOWN

#: A day of fewer parts, or a median of fewer cells, has no shape to compare with.
LEAST_HOURS, LEAST_CELLS = 6, 3


def upside_down(median: Float[np.ndarray, "cell hour"]) -> tuple[Float[np.ndarray, " cell"], dict[int, str]]:
    """Doubt of every cell's median day, and words for those with one."""
    cells, hours = median.shape
    doubt = np.zeros(cells)
    usable = np.flatnonzero(median.mean(1) > 0)  # NaN, where an hour is unknown, is not
    if hours < LEAST_HOURS or len(usable) < LEAST_CELLS:
        return doubt, {}
    shape = median[usable] / median[usable].mean(1, keepdims=True) - 1
    typical = np.median(shape, axis=0)
    typical = typical - typical.mean()
    size = np.sqrt((shape**2).sum(1) * (typical**2).sum())
    correlation = np.divide(shape @ typical, size, out=np.zeros(len(usable)), where=size > 0)
    lively = (np.ptp(shape, axis=1) >= RHYTHM) & (np.ptp(typical) >= RHYTHM)

    quarter = hours // 4
    quiet = np.argsort(typical, kind="stable")[:quarter]
    share = (shape[:, quiet] + 1).sum(1) / hours
    nightly = share / quarter >= NIGHT * (1 - share) / (hours - quarter)
    against = np.where(correlation <= UPSIDE_DOWN, -correlation, 0)
    doubt[usable] = np.where(lively, np.maximum(against, np.where(nightly, share, 0)), 0)

    words = {}
    for place in np.flatnonzero(doubt[usable]).tolist():  # only those that are strange
        cell = int(usable[place])
        peak = int(median[cell].argmax()) * (24 // hours)
        words[cell] = (
            f"busiest at {peak:02d}:00, {share[place]:.0%} of its traffic in the quietest quarter of the usual day; "
            f"correlation with that {correlation[place]:.2f}"
        )
    return doubt, words


__all__ = ["upside_down"]
