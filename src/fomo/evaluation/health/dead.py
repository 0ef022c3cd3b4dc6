"""Cells that are zero all along while their neighbours carry traffic."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from fomo.evaluation.health.finite import median
from fomo.evaluation.health.records import Records
from fomo.evaluation.health.survey import Survey
from fomo.evaluation.health.thresholds import DEAD

NEIGHBOURS = 8
#: Distances that are held at once.
BLOCK = 2_000_000


def dead_cells(survey: Survey, records: Records, enough: Bool[np.ndarray, " cell"]) -> Float[np.ndarray, " cell"]:
    """Doubt of every cell: how many neighbours carry, and how much beside the median cell.

    Without a position the neighbours are all others. `enough`: cells with enough records to be called dead.
    """
    carries = survey.mean > 0
    dead = np.flatnonzero(enough & (survey.mean == 0))
    doubt = np.zeros(len(survey.mean))
    if len(dead) == 0 or not carries.any():
        return doubt
    known = np.flatnonzero(survey.count > 0)
    doubt[dead] = carries.sum() / max(1, len(known) - 1)
    if records.positions is not None:
        placed = np.isfinite(records.positions).all(1)
        dead, known = dead[placed[dead]], known[placed[known]]
        if len(known) > 1:
            doubt[dead] = _beside_neighbours(dead, known, survey.mean, records.positions)
    return np.where(doubt >= DEAD, doubt, 0)


def _beside_neighbours(
    dead: np.ndarray, known: np.ndarray, mean: Float[np.ndarray, " cell"], positions: Float[np.ndarray, "cell 2"]
) -> Float[np.ndarray, " dead"]:
    """Share of the nearest of the `known` that carry, times their level over the median cell's (at most 1)."""
    usual = median(mean[mean > 0])
    count = min(NEIGHBOURS, len(known) - 1)
    doubt = np.zeros(len(dead))
    size = max(1, BLOCK // len(known))
    for begin in range(0, len(dead), size):
        some = dead[begin : begin + size]
        distances = ((positions[some][:, None] - positions[known][None]) ** 2).sum(2)
        distances[some[:, None] == known] = np.inf
        near = mean[known[np.argpartition(distances, count - 1, axis=1)[:, :count]]]
        doubt[begin : begin + size] = (near > 0).mean(1) * np.minimum(1, np.median(near, axis=1) / usual)
    return doubt


__all__ = ["dead_cells"]
