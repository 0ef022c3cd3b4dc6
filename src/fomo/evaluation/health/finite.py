"""Statistics of what is finite; NaN where nothing is."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Num


def quantile(
    ordered: Float[np.ndarray, "*row value"], count: Int[np.ndarray, "*row"], level: float
) -> Float[np.ndarray, "*row"]:
    """Of values sorted along the last axis, `count` of them and the rest NaN; linear between neighbours."""
    last = np.maximum(count - 1, 0)
    low = (level * last).astype(int)
    below, above = (
        np.take_along_axis(ordered, place[..., None], -1)[..., 0].astype(np.float64)
        for place in (low, np.minimum(low + 1, last))
    )
    return np.asarray(below + (level * last - low) * (above - below))


def median(values: Num[np.ndarray, "..."]) -> float:
    """Of all values."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")


def mean(values: Float[np.ndarray, "..."], axis: int | tuple[int, ...]) -> Float[np.ndarray, "..."]:
    """Along axes."""
    known = np.isfinite(values)
    count = known.sum(axis)
    return np.asarray(np.where(known, values, 0).sum(axis) / np.where(count > 0, count, np.nan))


__all__ = ["mean", "median", "quantile"]
