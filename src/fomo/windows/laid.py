"""The arrays of many cities laid out once, and cells of many windows taken out of them by one indexing.

All values of a layer lie in one flat array: city after city, step after step, cell after cell. Before them lies one
NaN, which stands for every cell outside a city. A flat array can be a memory map, so that many processes share it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int64

from fomo.windows.context import STATIC_LAYERS

#: Gives an array that holds the same numbers, perhaps elsewhere.
Keep = Callable[[np.ndarray], np.ndarray]


def as_it_is(array: np.ndarray) -> np.ndarray:
    """The array itself."""
    return array


@dataclass(frozen=True)
class CityArrays:
    """One city: shares of the references, and layers that do not change. None: it has no such layer."""

    share: Float[np.ndarray, "time y x"]  # NaN = not recorded
    covered: Bool[np.ndarray, "y x"]
    users: Float[np.ndarray, "time y x"] | None = None
    static: Float[np.ndarray, "layer y x"] | None = None


@dataclass(frozen=True)
class Cut:
    """Which cells of a city a window has: a block, turned and mirrored, or picked cells.

    `sources`: the city of every picked cell, where a made region has them from many.
    """

    city: int
    row: int = 0
    column: int = 0
    turns: int = 0
    mirror: bool = False
    pick: Int64[np.ndarray, " cell"] | None = None
    sources: Int64[np.ndarray, " cell"] | None = None


@dataclass(frozen=True)
class Cells:
    """The cells of many windows: `city` that each is of and its `cell` there, row by row; -1: outside the city."""

    city: Int64[np.ndarray, "window y x"]
    cell: Int64[np.ndarray, "window y x"]

    def rows(self, index: np.ndarray) -> Cells:
        """Those of some of the windows."""
        return Cells(self.city[index], self.cell[index])


@lru_cache(maxsize=32)
def _turned(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column within its block of every cell of a window, (turn and mirror, y, x): `2 turns + mirror`."""
    rows, columns = np.empty((8, height, width), np.int64), np.empty((8, height, width), np.int64)
    for turns in range(4):
        size = (width, height) if turns % 2 else (height, width)
        for part, found in zip(np.indices(size), (rows, columns), strict=True):
            turned = np.rot90(part, turns)
            found[2 * turns], found[2 * turns + 1] = turned, turned[:, ::-1]
    return rows, columns


class Laid:
    """The cities of a set in flat arrays."""

    def __init__(self, cities: Sequence[CityArrays], keep: Keep = as_it_is) -> None:
        """`keep` is given every flat array once, and what it returns is read from then on."""
        self.grid = np.array([city.covered.shape for city in cities], np.int64).reshape(-1, 2)
        self.cells = self.grid.prod(1)
        self.share, self._share_at = _flat([city.share for city in cities], np.float32, np.nan, keep)
        self.users, self._users_at = _flat([city.users for city in cities], np.float32, np.nan, keep)
        self.static, self._static_at = _flat([city.static for city in cities], np.float32, np.nan, keep)
        self.covered, self._covered_at = _flat([city.covered for city in cities], np.bool_, False, keep)

    @property
    def has_context(self) -> bool:
        """Whether any city has anything beside its traffic."""
        return bool(self._users_at.any() or self._static_at.any())

    def has_users(self, city: int) -> bool:
        """Whether it has any."""
        return bool(self._users_at[city] > 0)

    def has_static(self, city: int) -> bool:
        """Whether it has POI or residents."""
        return bool(self._static_at[city] > 0)

    def find(self, cuts: Sequence[Cut], height: int, width: int) -> Cells:
        """The cells of windows of `height` x `width`."""
        numbers = np.array([(c.city, c.row, c.column, 2 * c.turns + c.mirror) for c in cuts], np.int64)
        city, row, column, turn = numbers.reshape(-1, 4).T[..., None, None]
        rows, columns = (part[turn[:, 0, 0]] for part in _turned(height, width))
        rows, columns = rows + row, columns + column
        across = self.grid[city, 1]
        inside = (rows < self.grid[city, 0]) & (columns < across)
        cell = np.where(inside, rows * across + columns, -1)
        city = np.broadcast_to(city, cell.shape).copy()
        for index, cut in enumerate(cuts):
            if cut.pick is not None:
                cell[index] = cut.pick.reshape(height, width)
            if cut.sources is not None:
                city[index] = cut.sources.reshape(height, width)
        return Cells(city, cell)

    def shares(self, cells: Cells, first: Int64[np.ndarray, " window"], steps: int) -> Float[np.ndarray, "w t y x"]:
        """Traffic of `steps` steps from `first`. A window whose first step is below 0 is not known: NaN."""
        return self._series(self.share, self._share_at, cells, first, steps)

    def users_of(self, cells: Cells, first: Int64[np.ndarray, " window"], steps: int) -> Float[np.ndarray, "w t y x"]:
        """The same of users."""
        return self._series(self.users, self._users_at, cells, first, steps)

    def statics(self, cells: Cells) -> Float[np.ndarray, "w layer y x"]:
        """Layers that do not change."""
        at = self._static_at[cells.city]
        there = (cells.cell >= 0) & (at > 0)
        layer = np.arange(len(STATIC_LAYERS))[:, None, None]
        stride = np.where(there, self.cells[cells.city], 0)[:, None]
        return np.asarray(self.static[np.where(there, at + cells.cell, 0)[:, None] + layer * stride])

    def covers(self, cells: Cells) -> Bool[np.ndarray, "w y x"]:
        """Cells that the cities' data cover."""
        return np.asarray(self.covered[np.where(cells.cell >= 0, self._covered_at[cells.city] + cells.cell, 0)])

    def _series(
        self, values: np.ndarray, at: np.ndarray, cells: Cells, first: np.ndarray, steps: int
    ) -> Float[np.ndarray, "w t y x"]:
        begins = at[cells.city]
        there = (cells.cell >= 0) & (begins > 0) & (first >= 0)[:, None, None]
        stride = np.where(there, self.cells[cells.city], 0)
        origin = np.where(there, begins + cells.cell + first[:, None, None] * stride, 0)
        return np.asarray(values[origin[:, None] + np.arange(steps)[:, None, None] * stride[:, None]])


def _flat(
    parts: Sequence[np.ndarray | None], kind: type, outside: float | bool, keep: Keep
) -> tuple[np.ndarray, Int64[np.ndarray, " city"]]:
    """All parts behind one value `outside`, and where each begins; 0 where there is none."""
    sizes = np.array([0 if part is None else part.size for part in parts], np.int64)
    begins = 1 + np.concatenate([[0], np.cumsum(sizes)[:-1]])
    flat: np.ndarray = np.empty(1 + int(sizes.sum()), kind)
    flat[0] = outside
    for part, begin, size in zip(parts, begins, sizes, strict=True):
        if part is not None:
            flat[begin : begin + size] = part.ravel()
    return keep(flat), np.where(sizes > 0, begins, 0)


__all__ = ["Cells", "CityArrays", "Cut", "Keep", "Laid", "as_it_is"]
