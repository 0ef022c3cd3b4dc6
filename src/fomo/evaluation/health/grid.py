"""Sums over time of a city's grid, read in blocks of periods, so that no second cube is in memory."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from fomo.city import City, in_service

#: Periods of a block.
BLOCK = 256


def traffic_sums(
    city: City, when: Bool[np.ndarray, " time"] | None = None
) -> tuple[Float[np.ndarray, "y x"], Int[np.ndarray, "y x"]]:
    """Sum and number of the recorded values of each grid cell; of some periods, or of all.

    Zeros of what is out of service are no records.
    """
    traffic = city["traffic"].values
    total, count = np.zeros(traffic.shape[1:]), np.zeros(traffic.shape[1:], int)
    chosen = np.arange(len(traffic)) if when is None else np.flatnonzero(when)
    for begin in range(0, len(chosen), BLOCK):
        when = chosen[begin : begin + BLOCK]
        part = traffic[when]
        known = np.isfinite(part) & ((part > 0) | in_service(city, city["time"].values[when]))
        total += np.where(known, part, 0).sum(0, dtype=np.float64)
        count += known.sum(0)
    return total, count


__all__ = ["traffic_sums"]
