"""Counts of the operator's cells as dense arrays, a day at a time: (period, cell) traffic, users and a state.

Rows may come in any order and from any number of batches. A row that says again what is known is noted as repeated; one
that says something else counts as a correction, the later one holds. Nothing is filled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import polars
from jaxtyping import Bool, Float, Int, Int8, UInt8

from fomo.city import MINUTES_PER_DAY
from fomo.ingest.clock import clock_changes
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.shown_twice import UNTOLD, Twice, later_of, mean_of


class State(IntEnum):
    """What is known of a value of a cell."""

    RECORDED = 0
    MISSING = 1
    SUSPECT = 2  # there is a value, which the file itself does not trust
    RESET = 3  # a counter that only grows has become smaller
    CLOCK_CHANGE = 4  # the wall clock shows this period twice (the value is the mean) or never (no value)


#: Of the traffic: half the memory, or the digits that readings of a counter that only grows must have.
Kind = type[np.float32] | type[np.float64]


@dataclass
class Day:
    """One local day of all cells."""

    traffic: Float[np.ndarray, "period cell"]  # NaN = not recorded
    users: Float[np.ndarray, "period cell"]
    state: UInt8[np.ndarray, "period cell"]
    changed: bool = False
    twice: Twice | None = None  # both of the periods that the wall clock shows twice

    @classmethod
    def empty(cls, periods: int, cells: int, kind: Kind = np.float32) -> Day:
        """Nothing is recorded."""
        return cls(
            np.full((periods, cells), np.nan, kind),
            np.full((periods, cells), np.nan, np.float32),
            np.full((periods, cells), State.MISSING, np.uint8),
        )


MINUTE_US = 60_000_000
#: What the ledger notes of rows that speak of a value that is known.
REPEATED, CORRECTED = "repeated rows", "corrected rows (the later counts)"

TO_COME = "a day that is still to come (is the time right, and this machine's clock?)"
LEFT_OUT = "a cell of the site list that had no counters when the city was built: build it again with all files"
TWICE = "rows of an hour that the clock shows twice (their mean counts)"
NEVER = "rows of an hour that the clock never shows (is the time zone right?)"

#: The day of a date as it is stored, or None where there is none yet.
Load = Callable[[np.datetime64], Day | None]


class Cube:
    """Days of an operator's cells, filled from tables of counts."""

    def __init__(
        self,
        cells: Sequence[str],
        minutes: int,
        zone: str,
        ledger: Ledger,
        load: Load = lambda day: None,
        first_day: np.datetime64 | None = None,
        left_out: Collection[str] = (),
        *,
        cumulative: bool = False,
        kind: Kind = np.float32,
    ) -> None:
        """`cells`: names in the order of the arrays; `minutes`: the granularity period; `first_day`: of the city.

        `left_out`: cells of the site list that did not report when the city was built. `cumulative`: counters that
        only grow, kept as `kind`.
        """
        if minutes <= 0 or MINUTES_PER_DAY % minutes:
            raise IngestError(f"a granularity period of {minutes} minutes does not divide a day")
        self.cells, self.minutes, self.zone, self.ledger, self.load = tuple(cells), minutes, zone, ledger, load
        self.periods, self.first_day = MINUTES_PER_DAY // minutes, first_day
        self.days: dict[np.datetime64, Day] = {}
        self.batches, self.touched = 0, dict[np.datetime64, int]()  # tables so far, and the last one of each day
        self.unknown: dict[str, int] = {}  # cells that are not among them -> rows
        self.left_out = list(left_out)
        #: One row of a wrong clock would make a city of decades, for good: it cannot be cut. A day for other zones.
        self.last_day = np.datetime64("today", "D") + np.timedelta64(1, "D")
        self._names = polars.Enum(list(self.cells))
        none = polars.Series("cell", [], polars.String)
        self._numbered = none, none.cast(self._names)  # names of the last batch, and the same as numbers
        self._order = np.zeros(self.periods * len(self.cells), np.int32)
        self.cumulative, self.kind = cumulative, kind

    def day(self, date: np.datetime64) -> Day:
        """The day's arrays, loaded or new."""
        if date not in self.days:
            day = self.load(date)
            twice, never = clock_changes(date, self.zone, self.minutes)
            if day is None:
                day = Day.empty(self.periods, len(self.cells), self.kind)
                day.state[never] = State.CLOCK_CHANGE
            if twice.any() and day.twice is None:
                day.twice = Twice.of(day.traffic[twice], day.users[twice])
            self.days[date] = day
        return self.days[date]

    def add(self, counts: polars.DataFrame, where: str) -> None:
        """Rows of `COUNTS` into their places; `where`: the file. Raises `IngestError` for another granularity."""
        self.batches += 1
        counts = self._of_known_cells(self._of_this_period(counts, where), where)
        if not counts.height:
            return
        users = counts["users"].cast(polars.Float32).to_numpy()
        traffic = counts["traffic"].cast(polars.Float32 if self.kind is np.float32 else polars.Float64).to_numpy()
        suspect = counts["suspect"].to_numpy()
        second = counts["second"].cast(polars.Int8).fill_null(UNTOLD).to_numpy()
        period = counts["begin"].to_physical().to_numpy() // (self.minutes * MINUTE_US)
        first = int(period.min()) // self.periods  # a day, since 1970
        place = (period - first * self.periods) * len(self.cells)
        place += counts["cell"].to_physical().to_numpy()
        for number, rows in _by_day(place // (self.periods * len(self.cells))):
            date = np.datetime64(first + number, "D")
            if self.first_day is not None and date < self.first_day:
                early = counts if isinstance(rows, slice) else counts[rows]
                self.ledger.reject_frame("a day before the city's first: build it again with these files", where, early)
                self.ledger.taken -= early.height
                continue
            if date > self.last_day:
                late = counts if isinstance(rows, slice) else counts[rows]
                self.ledger.reject_frame(TO_COME, where, late)
                self.ledger.taken -= late.height
                continue
            of_day = place[rows] - number * self.periods * len(self.cells)
            self._write(date, of_day, traffic[rows], users[rows], suspect[rows], second[rows], where)

    def _of_this_period(self, counts: polars.DataFrame, where: str) -> polars.DataFrame:
        """The rows of the city's granularity that begin at a multiple of it since midnight."""
        same = polars.col("minutes") == self.minutes
        at = polars.col("begin").to_physical() % (self.minutes * MINUTE_US) == 0
        if counts.select(fine=(same & at).all()).item():
            return counts
        others = counts.filter(~same)
        if others.height == counts.height:
            shortest = others["minutes"].to_numpy().min()
            raise IngestError(
                f"{where} has periods of {shortest} minutes, the city of {self.minutes}: mixed "
                "granularity; build files of each granularity apart"
            )
        odd = counts.filter(same & ~at)
        self.ledger.reject_frame(f"granularity other than {self.minutes} min", where, others)
        self.ledger.reject_frame(f"a period that does not begin at a multiple of {self.minutes} min", where, odd)
        self.ledger.taken -= others.height + odd.height
        return counts.filter(same & at)

    def _of_known_cells(self, counts: polars.DataFrame, where: str) -> polars.DataFrame:
        """The rows of cells that are known, the names as numbers."""
        names = counts["cell"]
        before, numbered = self._numbered
        # Files that are written day after day by one machine name the same cells in the same order.
        if not (len(names) and len(names) == len(before) and names[-1] == before[-1] and names.equals(before)):
            numbered = names.cast(self._names, strict=False)
            self._numbered = names, numbered
        known = counts.with_columns(numbered)
        if numbered.null_count():
            lost = numbered.is_null()
            rows = counts.filter(lost)
            for cell, count in rows["cell"].value_counts().iter_rows():
                self.unknown[cell] = self.unknown.get(cell, 0) + count
            listed = rows["cell"].is_in(self.left_out)
            self.ledger.reject_frame("a cell that has no place in the city", where, rows.filter(~listed))
            self.ledger.reject_frame(LEFT_OUT, where, rows.filter(listed))
            self.ledger.taken -= rows.height
            known = known.filter(~lost)
        return known

    def _write(
        self,
        date: np.datetime64,
        place: Int[np.ndarray, " row"],
        traffic: Float[np.ndarray, " row"],
        users: Float[np.ndarray, " row"],
        suspect: np.ndarray,
        second: Int8[np.ndarray, " row"],
        where: str,
    ) -> None:
        """Rows of one day."""
        day = self.day(date)
        self.touched[date] = self.batches
        twice, never = clock_changes(date, self.zone, self.minutes)
        if never.any():
            self.ledger.note(NEVER, int(never[place // len(self.cells)].sum()), where)
        if twice.any():
            shown_twice = twice[place // len(self.cells)]
            if shown_twice.any():
                there = place[shown_twice], traffic[shown_twice], users[shown_twice]
                self._write_twice(day, twice, *there, suspect[shown_twice], second[shown_twice], where)
                place, traffic, users, suspect = (part[~shown_twice] for part in (place, traffic, users, suspect))
        amounts = ((traffic, day.traffic.reshape(-1)), (users, day.users.reshape(-1)))
        given = [np.isfinite(values) for values, _ in amounts]
        whole = [bool(some.all()) for some in given]
        last = self._last_of(place) if any(whole) else None
        known, other, fresh = (np.zeros(len(place), bool) for _ in range(3))
        for (values, stored), some, every in zip(amounts, given, whole, strict=True):
            if not every and not some.any():
                continue
            rows = slice(None) if every else some
            at = place[rows]
            found = _put(stored, at, values[rows], last if every else self._last_of(at))
            if found is None:
                fresh[rows] = True
            else:
                known[rows] |= found[0]
                other[rows] |= found[1]
                fresh[rows] |= ~found[0]
        something = given[0] | given[1]
        self.ledger.note("rows without a value", int((~something).sum()), where)
        if known.any():
            # A row that repeats users and has a traffic that was missing is none.
            self.ledger.note(REPEATED, int((known & ~other & ~fresh).sum()), where)
            self.ledger.note(CORRECTED, int(other.sum()), where)
        if not something.all():
            place, suspect = place[something], suspect[something]
        marks = (
            np.where(suspect, np.uint8(State.SUSPECT), np.uint8(State.RECORDED)) if suspect.any() else State.RECORDED
        )
        state = day.state.reshape(-1)
        if not whole[0]:  # users alone do not make traffic sound that its own file did not trust
            doubted = (state[place] == State.SUSPECT) & np.isnan(traffic[something])
            doubted &= np.isfinite(day.traffic.reshape(-1)[place])
            marks = np.where(doubted, np.uint8(State.SUSPECT), marks)
        state[place] = marks
        day.changed |= bool(len(place))

    def _last_of(self, place: Int[np.ndarray, " row"]) -> Int[np.ndarray, " row"] | None:
        """For every row the last row of its place; None where no place comes twice."""
        if (place[1:] > place[:-1]).all():
            return None
        number = np.arange(len(place), dtype=np.int32)
        self._order[place] = number
        winner = self._order[place]
        return None if (winner == number).all() else winner

    def _write_twice(
        self,
        day: Day,
        twice: Bool[np.ndarray, " period"],
        place: Int[np.ndarray, " row"],
        traffic: Float[np.ndarray, " row"],
        users: Float[np.ndarray, " row"],
        suspect: Bool[np.ndarray, " row"],
        second: Int8[np.ndarray, " row"],
        where: str,
    ) -> None:
        """Periods that the wall clock shows twice: the mean of both; suspect where any of it is."""
        something = np.isfinite(traffic) | np.isfinite(users)
        self.ledger.note("rows without a value", int((~something).sum()), where)
        place, traffic, users, suspect, second = (part[something] for part in (place, traffic, users, suspect, second))
        if not len(place):
            return
        self.ledger.note(TWICE, len(place), where)
        assert day.twice is not None
        period, cell = np.divmod(place, len(self.cells))
        number = np.cumsum(twice) - 1  # of a period among those that come twice
        known, other = day.twice.add(number[period] * len(self.cells) + cell, traffic, users, second)
        self.ledger.note(REPEATED, int((known & ~other).sum()), where)
        self.ledger.note(CORRECTED, int(other.sum()), where)
        day.traffic[twice] = (later_of if self.cumulative else mean_of)(day.twice.traffic)
        day.users[twice] = mean_of(day.twice.users)
        state = day.state.reshape(-1)
        doubted = np.unique(place[suspect | (state[place] == State.SUSPECT)])
        state[place] = State.CLOCK_CHANGE
        state[doubted] = State.SUSPECT
        day.changed = True


def _by_day(day: Int[np.ndarray, " row"]) -> Iterator[tuple[int, slice | Int[np.ndarray, " part"]]]:
    """Each day of rows, in order, and which rows are of it, in theirs."""
    first, last = int(day.min()), int(day.max())
    if first == last:
        yield first, slice(None)
        return
    order = np.argsort(day.astype(np.uint16), kind="stable")  # a century has fewer, and so short numbers sort fast
    sorted_days = day[order]
    for rows in np.split(order, np.flatnonzero(sorted_days[1:] != sorted_days[:-1]) + 1):
        yield int(day[rows[0]]), rows


def _put(
    stored: Float[np.ndarray, " place"],
    place: Int[np.ndarray, " row"],
    values: Float[np.ndarray, " row"],
    winner: Int[np.ndarray, " row"] | None,
) -> tuple[Bool[np.ndarray, " row"], Bool[np.ndarray, " row"]] | None:
    """Values to their places, the last of a place holds; which rows say what was known, and which something else.

    None where nothing was known. What counters of other files say of the same period stays: a row is silent on what it
    has no value of.
    """
    before = stored[place]
    said = np.isfinite(before)
    if winner is None:
        stored[place] = values
        return (said, said & (before != values)) if said.any() else None
    last = winner == np.arange(len(place))
    said |= ~last
    before = np.where(last, before, values[winner])
    stored[place] = values[winner]
    return said, said & (before != values)


__all__ = ["CORRECTED", "LEFT_OUT", "REPEATED", "Cube", "Day", "Kind", "Load", "State"]
