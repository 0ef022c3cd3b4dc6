"""Tables that part a cell's period further, by bearer, operator or slice: one row would replace the other.

A few cells and periods of a file's beginning are followed through all of it. A row that comes once more with other
values is a correction, as the city has it, where nothing else tells it from the one before. Where many come again, and
a column of few values tells their rows apart, that column is a further key; not all cells need to be parted by it, as a
network that several operators share. Where a pattern finds cells in the names of objects, several objects of one cell
are seen by their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars

from fomo.ingest.formats.table_columns import is_parquet
from fomo.ingest.ledger import IngestError

#: Rows of the beginning among which cells and periods are chosen, and times of these.
FIRST, TIMES = 2000, 8
#: Cells and periods that must come again, and the part of those that are followed.
FEW, MOST = 4, 0.1
#: The part of cells and periods in which a key differs.
NEARLY_ALL = 0.9
_KEY, _VALUES = ("(cell)", "(begin)"), ("(traffic)", "(users)")


class Repeats:
    """What comes again of a few cells and periods of one file."""

    def __init__(self, path: Path) -> None:
        """Of one file, whose first rows are seen first."""
        self.path = path
        self.followed: polars.DataFrame | None = None  # cells and times
        self.rows: polars.DataFrame | None = None  # of these: with all columns of the file that are read

    def look(
        self, made: polars.DataFrame, frame: polars.DataFrame, known: Sequence[str], objects: str | None = None
    ) -> None:
        """A batch of rows, as counts and as read, in one order; `known`: columns that are a key or a counter.

        `objects`: the column of names in which cells are found by a pattern. Raises `IngestError` where another column
        is a key, or several objects are one cell.
        """
        counts = made.select("cell", "begin", "traffic", "users").rename(
            dict(zip(("cell", "begin", "traffic", "users"), (*_KEY, *_VALUES), strict=True))
        )
        if self.followed is None:
            keys = counts.head(FIRST).select(_KEY).drop_nulls()
            times = keys["(begin)"].unique(maintain_order=True).head(TIMES)
            self.followed = keys.filter(polars.col("(begin)").is_in(times.implode())).unique()
        times = self.followed["(begin)"].unique()
        here = counts["(begin)"].is_in(times.implode()).fill_null(False)
        if not here.any():
            return
        if not is_parquet(self.path):  # all columns are here, and those of no number are text
            frame = frame.drop([name for name in known if name in frame.columns and name != objects])
        both = polars.concat([counts.filter(here), frame.filter(here)], how="horizontal")
        fresh = both.join(self.followed, on=_KEY, how="semi")
        self.rows = fresh if self.rows is None else polars.concat([self.rows, fresh])
        again = self.rows.filter(polars.struct(_VALUES).n_unique().over(_KEY) > 1)
        if objects is not None:
            self._check_objects(again, objects)
        count = again.select(_KEY).n_unique()
        if count >= FEW and count > MOST * self.followed.height:
            self._check(again, known)

    def _check_objects(self, again: polars.DataFrame, objects: str) -> None:
        """Raises `IngestError` where rows of one cell and time, with other values, have objects of other names."""
        several = again.filter(polars.col(objects).n_unique().over(_KEY) > 1).sort(_KEY, maintain_order=True)
        if several.height:
            one, other = several[objects].unique(maintain_order=True).head(2).to_list()
            raise IngestError(
                f"{self.path} has several objects of one cell and period: {one!r} and {other!r} are both "
                f"{several['(cell)'][0]!r} by [cell] pattern of the mapping, and each would replace the one before; "
                "sum them to a row of each cell and period"
            )

    def _check(self, again: polars.DataFrame, known: Sequence[str]) -> None:
        """Raises `IngestError` where columns of few values tell rows of the same cell and time apart."""
        again = self._with_all_columns(again)
        others = [name for name in again.columns if name not in (*known, *_KEY, *_VALUES)]
        groups = again.group_by(_KEY).agg(polars.len().alias("(rows)"), polars.col(others).n_unique())
        largest = groups["(rows)"].max()
        assert isinstance(largest, int)
        few = min(2 * largest, again.height // 2)
        keys = [
            name for name in others if again[name].n_unique() <= few and (groups[name] > 1).mean() >= NEARLY_ALL  # type: ignore[operator]
        ]  # fmt: skip
        if not keys:
            return
        told = again.group_by(_KEY).agg((polars.struct(keys).n_unique() == polars.len()).alias("told"))["told"]
        if told.mean() < NEARLY_ALL:  # type: ignore[operator]
            return
        cell, values = again["(cell)"][0], again[keys[0]].unique(maintain_order=True).head(3).to_list()
        raise IngestError(
            f"{self.path} has several rows of one cell and period, which differ in {', '.join(keys)} "
            f"({', '.join(map(str, values))} of {cell!r}): each would replace the one before; sum them to a row of "
            "each cell and period"
        )

    def _with_all_columns(self, again: polars.DataFrame) -> polars.DataFrame:
        """Of a Parquet file only columns that are wanted were read."""
        if not is_parquet(self.path):
            return again
        shared = [name for name in again.columns if name not in (*_KEY, *_VALUES)]
        whole = polars.scan_parquet(self.path).join(again.lazy().select(shared).unique(), on=shared, how="semi")
        return whole.collect().join(again.unique(shared), on=shared, how="left")


__all__ = ["Repeats"]
