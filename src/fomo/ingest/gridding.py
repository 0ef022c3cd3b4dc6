"""A day of cells to a day of the grid: allocated, and summed to the city's periods."""

from __future__ import annotations

import numpy as np
from einops import reduce
from jaxtyping import Bool, Float

from fomo.ingest.allocation import Allocation
from fomo.ingest.cube import Day, State


def grid_day(
    day: Day, allocation: Allocation, cell_minutes: int, step_minutes: int, trust_suspect: bool = False
) -> tuple[Float[np.ndarray, "step y x"], Float[np.ndarray, "step y x"]]:
    """Traffic summed and users averaged over each period of the city; NaN where any part of it is missing.

    Values that their file does not trust are missing unless `trust_suspect`. Users are NaN where there are none.
    """
    several = step_minutes // cell_minutes
    out = (day.state == State.SUSPECT) & (not trust_suspect)
    amounts = [day.traffic, day.users] if np.isfinite(day.users).any() else [day.traffic]
    if out.any():
        amounts = [np.where(out, np.nan, amount) for amount in amounts]
    found = allocation.to_grid(np.concatenate(amounts))  # at once: the matrix is read once
    if several > 1:
        found = reduce(found.astype(np.float64), "(step k) y x -> step y x", "sum", k=several)
    steps = len(found) // len(amounts)
    traffic = found[:steps].astype(np.float32)
    if len(amounts) == 1:
        return traffic, np.full(traffic.shape, np.nan, np.float32)
    return traffic, (found[steps:] / several).astype(np.float32)


def differences(
    counter: Float[np.ndarray, "period cell"], before: Float[np.ndarray, " cell"] | None
) -> tuple[Float[np.ndarray, "period cell"], Bool[np.ndarray, "period cell"]]:
    """What a counter that only grows has grown by in each period, and where it was reset; both ends must be known.

    `before`: the last value of the day before. Where it has become smaller, nobody knows what was carried: NaN.
    """
    first = np.full((1, counter.shape[1]), np.nan, np.float32) if before is None else before[None]
    grown = np.diff(np.concatenate([first, counter]), axis=0)
    reset = grown < 0
    return np.where(reset, np.nan, grown).astype(np.float32), reset


__all__ = ["differences", "grid_day"]
