"""A day of cells to a day of the grid: allocated, and summed to the city's periods."""

from __future__ import annotations

import numpy as np
from einops import reduce
from jaxtyping import Bool, Float

from fomo.ingest.allocation import Allocation
from fomo.ingest.cube import Day, State


def grid_day(
    day: Day,
    allocation: Allocation,
    cell_minutes: int,
    step_minutes: int,
    trust_suspect: bool = False,
    never: Bool[np.ndarray, " period"] | None = None,
    expected: Bool[np.ndarray, " cell"] | None = None,
) -> tuple[Float[np.ndarray, "step y x"], Float[np.ndarray, "step y x"]]:
    """Traffic summed and users averaged over each period of the city; NaN where any part of it is missing.

    Values that their file does not trust are missing unless `trust_suspect`. Users are NaN where there are none.
    `never`: periods that the wall clock does not show, of which a longer period of the city has no part. `expected`:
    cells that are in service that day.
    """
    several = step_minutes // cell_minutes
    out = (day.state == State.SUSPECT) & (not trust_suspect)
    amounts = [day.traffic, day.users] if np.isfinite(day.users).any() else [day.traffic]
    if out.any():
        amounts = [np.where(out, np.nan, amount) for amount in amounts]
    spread = [allocation.to_grid(amount, expected=expected) for amount in amounts]
    if several == 1:
        traffic, *others = spread
        return traffic, others[0] if others else np.full(traffic.shape, np.nan, np.float32)
    there = np.ones(len(day.traffic), bool) if never is None else ~never
    of_step = reduce(there.astype(int), "(step k) -> step", "sum", k=several)
    none = ~there & (np.repeat(of_step, several) > 0)  # where none of a step's periods is, it stays missing
    for found in spread:
        found[none] = 0.0  # an hour that never was adds nothing
    traffic, *others = (
        reduce(found.astype(np.float64), "(step k) y x -> step y x", "sum", k=several) for found in spread
    )
    if not others:
        return traffic.astype(np.float32), np.full(traffic.shape, np.nan, np.float32)
    return traffic.astype(np.float32), (others[0] / np.maximum(of_step, 1)[:, None, None]).astype(np.float32)


__all__ = ["grid_day"]
