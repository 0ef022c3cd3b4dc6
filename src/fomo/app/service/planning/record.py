"""What a city's record says of some cells: what hardware that was there before the plan is dimensioned by."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from fomo.city import City, steps_per_day
from fomo.planning.load import Load, PlanError, load_of_city

#: Cells that a message names one by one.
NAMED = 4


def record_of(city: City, places: Int[np.ndarray, "cell 2"]) -> Float[np.ndarray, "period cell"]:
    """What was recorded in each of the cells, NaN where nothing was: for hardware that each cell has for itself.

    Raises `PlanError` for cells with less than a day of records (or than the whole of a shorter one).
    """
    found = city["traffic"].values[:, *places.T].astype(np.float64)
    counts, least = np.isfinite(found).sum(0), _least(city)
    few = np.flatnonzero(counts < least)
    if few.size:
        raise PlanError(
            f"{few.size} of {len(places)} cells of {city.attrs['name']!r} have too few recorded periods to say what "
            f"their hardware carries, {cells_named(places[few], [f'{counts[cell]} periods' for cell in few])}: it "
            f"takes {least}, or leave these cells out of the city"
        )
    return found


def recorded_together(city: City, places: Int[np.ndarray, "cell 2"]) -> Load:
    """The periods that were recorded in all of the cells: for hardware that a server's cells share.

    Raises `PlanError` where these are less than a day (or than the whole of a shorter record).
    """
    seen = _seen(city, places)
    whole, least = seen.all(1), _least(city)
    if whole.sum() < least:
        gaps = (~seen).sum(0)
        worst = np.argsort(-gaps, kind="stable")[: min(NAMED, int((gaps > 0).sum()))]
        raise PlanError(
            f"{int(whole.sum())} of {len(seen)} periods of {city.attrs['name']!r} are recorded in all {len(places)} "
            f"cells of a server, and it takes {least} to say how many blocks it has. Most are missing at "
            f"{cells_named(places[worst], [f'{gaps[cell]} missing' for cell in worst])}: leave such cells out of the "
            "city"
        )
    return load_of_city(city.isel(time=whole), places)


def share_together(city: City, places: Int[np.ndarray, "cell 2"]) -> float:
    """Share of the periods recorded in any of the cells that were recorded in all of them."""
    seen = _seen(city, places)
    return float(seen.all(1).sum() / max(seen.any(1).sum(), 1))


def cells_named(places: Int[np.ndarray, "cell 2"], more: list[str] | None = None) -> str:
    """Where cells are, in words: the first few of them, each with a word more."""
    words = [f"row {row}, column {column}" for row, column in places[:NAMED].tolist()]
    if more is not None:
        words = [f"{word} ({beside})" for word, beside in zip(words, more, strict=False)]
    rest = len(places) - len(words)
    return "; ".join(words) + (f" and {rest} more" if rest else "")


def _seen(city: City, places: Int[np.ndarray, "cell 2"]) -> Bool[np.ndarray, "period cell"]:
    return np.isfinite(city["traffic"].values[:, *places.T])


def _least(city: City) -> int:
    return min(steps_per_day(city), city.sizes["time"])


__all__ = ["cells_named", "record_of", "recorded_together", "share_together"]
