"""Hours that the wall clock shows twice: what is known of each of the two, so that a row said again counts once.

A day has one place for such a period. It holds the mean of the two, or of a counter that only grows the later reading;
both are kept here, and beside the city's arrays, and a row finds the one that it speaks of.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Int8

from fomo.files import whole_file

#: Stands for `COUNTS`' `second` where a file does not say it.
UNTOLD = 2


@dataclass
class Twice:
    """Both of each period of a day that comes twice, first all that come first."""

    traffic: Float[np.ndarray, "showing period cell"]  # NaN = not recorded
    users: Float[np.ndarray, "showing period cell"]
    by_order: Bool[np.ndarray, "showing period cell"]  # no file says which of the two it is of

    @classmethod
    def of(cls, traffic: Float[np.ndarray, "period cell"], users: Float[np.ndarray, "period cell"]) -> Twice:
        """Of a day of which no more is known than a value for both: NaN, or what an older FoMo has stored."""
        return cls(np.stack([traffic, traffic]), np.stack([users, users]), np.zeros((2, *traffic.shape), bool))

    def add(
        self,
        place: Int[np.ndarray, " row"],
        traffic: Float[np.ndarray, " row"],
        users: Float[np.ndarray, " row"],
        second: Int8[np.ndarray, " row"],
    ) -> tuple[Bool[np.ndarray, " row"], Bool[np.ndarray, " row"]]:
        """Rows in their order; which say what was known, and which something else. `place`: period * cells + cell.

        The values of a row of which nobody says whether it comes first are the first where that has none, else the
        second; where both have one, the first again if they equal it, else they correct the second.
        """
        known, other = np.zeros(len(place), bool), np.zeros(len(place), bool)
        by_order = self.by_order.reshape(2, -1)
        for values, both in ((traffic, self.traffic), (users, self.users)):
            stored = both.reshape(2, -1)
            for rows in _each_place_once(place, np.flatnonzero(np.isfinite(values))):
                at, value = place[rows], values[rows]
                first = np.isnan(stored[0, at]) | (np.isfinite(stored[1, at]) & (stored[0, at] == value))
                untold = second[rows] == UNTOLD
                showing = np.where(untold, ~first, second[rows])
                before = stored[showing, at]
                known[rows] |= np.isfinite(before)
                other[rows] |= np.isfinite(before) & (before != value)
                stored[showing, at], by_order[showing, at] = value, untold
        return known, other

    def arrays(self) -> dict[str, Any]:
        """For a file."""
        return {"twice_traffic": self.traffic, "twice_users": self.users, "by_order": self.by_order}

    @classmethod
    def from_arrays(cls, arrays: Any) -> Twice | None:
        """From a file; None where it has none."""
        return cls(*(arrays[name] for name in ARRAYS)) if ARRAYS[0] in arrays else None


ARRAYS = ("twice_traffic", "twice_users", "by_order")


def mean_of(both: Float[np.ndarray, "showing *place"]) -> Float[np.ndarray, "*place"]:
    """The mean of two, or the one that is known."""
    mean: np.ndarray = both.sum(0, dtype=np.float64) / 2
    return np.where(np.isnan(mean), later_of(both), mean)


def later_of(both: Float[np.ndarray, "showing *place"]) -> Float[np.ndarray, "*place"]:
    """The second of two, or the first where that is not known."""
    return np.where(np.isnan(both[1]), both[0], both[1])


def read_twice(path: Path) -> Twice | None:
    """What was kept of a day; None where nothing was."""
    if not path.exists():
        return None
    with np.load(path) as arrays:
        return Twice.from_arrays(arrays)


def write_twice(path: Path, twice: Twice | None) -> None:
    """Keep it for a later run, or keep nothing where nothing is known."""
    if twice is None or not (np.isfinite(twice.traffic).any() or np.isfinite(twice.users).any()):
        path.unlink(missing_ok=True)
        return
    with whole_file(path) as fresh:
        np.savez_compressed(fresh, **twice.arrays())


def _each_place_once(
    place: Int[np.ndarray, " row"], rows: Int[np.ndarray, " part"]
) -> Iterator[Int[np.ndarray, " once"]]:
    """Rows in parts, in their order, none of which has a place twice."""
    order = np.argsort(place[rows], kind="stable")
    of = place[rows][order]
    starts = np.flatnonzero(np.concatenate([[True], of[1:] != of[:-1]])[: len(of)])
    earlier = np.arange(len(of)) - np.repeat(starts, np.diff(np.append(starts, len(of))))  # rows of the same place
    number = np.empty(len(of), np.int64)
    number[order] = earlier
    by_number = np.argsort(number, kind="stable")
    yield from (rows[part] for part in np.split(by_number, np.cumsum(np.bincount(number))[:-1]) if len(part))


__all__ = ["UNTOLD", "Twice", "later_of", "mean_of", "read_twice", "write_twice"]
