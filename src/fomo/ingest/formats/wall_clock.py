"""Times of a table, of either end of a period, to beginnings on the operator's wall clock.

Periods are as long as they are in real time: an end is an instant, and the period before it is taken off there. Across
a change of clocks the wall would give another beginning.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import polars

from fomo.ingest.clock import instants_of, is_steady, on_the_wall

#: No clock is set by more, and none is set twice within it.
_BEFORE_A_CHANGE = timedelta(hours=3)


class WallClock:
    """Of one file, as its rows are read: of a time that comes twice the first is the earlier one."""

    def __init__(self, zone: str, marks: Literal["begin", "end"]) -> None:
        """`zone` of the operator, '' where clocks do not change; `marks`: which end of its period a time names."""
        self.zone, self.ends = zone, marks == "end"
        self._met = polars.DataFrame(schema={"cell": polars.String(), "begin": polars.Datetime("us")})

    def begins(self, made: polars.DataFrame) -> polars.DataFrame:
        """Rows with `begin` on the wall clock, and `second` as of `COUNTS`; before, `begin` is a time as written."""
        written = made["begin"]
        told = isinstance(written.dtype, polars.Datetime) and written.dtype.time_zone is not None
        plain = not told and not (self.zone and self.ends and not is_steady(written, self.zone))
        if not told and not plain:
            made = made.with_columns(self._instants(made))
        if self.ends:
            made = made.with_columns(polars.col("begin") - polars.duration(minutes="minutes"))
        if plain:
            return made.with_columns(second=polars.lit(None, polars.Boolean))
        wall, second = on_the_wall(made["begin"], self.zone)
        return made.with_columns(wall.alias("begin"), second.alias("second"))

    def _instants(self, made: polars.DataFrame) -> polars.Series:
        """Times of the wall clock in UTC; one that it never shows is what it would be without the change."""
        wall = made["begin"]
        found, later = instants_of(wall, self.zone), instants_of(wall, self.zone, later=True)
        twice = (found != later).fill_null(False)
        if twice.any() and "cell" in made.columns:
            found = later.zip_with(self._is_second(made, twice), found)
        if found.null_count() > wall.null_count():
            found = found.fill_null(instants_of(wall - _BEFORE_A_CHANGE, self.zone) + _BEFORE_A_CHANGE)
        return found.alias("begin")

    def _is_second(self, made: polars.DataFrame, twice: polars.Series) -> polars.Series:
        """Which rows name a time of their cell that an earlier row has named, among those that come twice."""
        rows = made.select("cell", "begin").filter(twice)
        every = polars.concat([self._met, rows])
        again = every.select(polars.int_range(polars.len()).over("cell", "begin") > 0).to_series()
        self._met = every.unique()
        place = twice.arg_true()
        return polars.repeat(False, made.height, eager=True).scatter(place, again.tail(rows.height))


__all__ = ["WallClock"]
