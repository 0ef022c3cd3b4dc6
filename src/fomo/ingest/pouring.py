"""Counts into days of the cells, days into the store, while the next file is being read."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import polars

from fomo.city import MINUTES_PER_DAY
from fomo.ingest.clock import clock_changes
from fomo.ingest.cube import Cube, Day, Kind, State
from fomo.ingest.gridding import grid_day
from fomo.ingest.growing import Changes, differences, readings
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping
from fomo.ingest.store import CityStore

#: Bytes of days that are kept at hand; older ones are written out and read again where a late row needs them.
AT_HAND = 1_500_000_000
#: A day that so many batches have had nothing of is written out while others are read.
QUIET_BATCHES = 2


#: Lots of days that wait to be written; beyond, reading waits, so that memory does not grow with the input.
WAITING = 2
COARSE = "rows of growing counters of which the city keeps seven digits (an older FoMo made it: build it again)"
NOT_OF_THE_CITY = "rows of a file of another granularity"


class Pouring:
    """Counts into days, days into the store: while one file is read, the days of those before are written."""

    def __init__(self, store: CityStore, mapping: Mapping, ledger: Ledger) -> None:
        """Days go to `store`, what becomes of rows to `ledger`."""
        self.store, self.cumulative = store, mapping.traffic.cumulative
        self.allocation = store.allocation()
        names = self.allocation.cells
        zone, first, others = mapping.time.zone, store.first_day, left_out(store)
        self.cube = Cube(
            names, store.cell_minutes, zone, ledger, self._stored, first, others,
            cumulative=self.cumulative, kind=store.kind,
        )  # fmt: skip
        self.trust = bool(store.report.get("trust_suspect"))
        self.most = days_at_hand(store.cell_minutes, len(names), store.kind)
        self.behind = ThreadPoolExecutor(1)
        self.writing: list[Future[None]] = []
        self.stored = store.visible_days  # days up to here may be there
        self.handed: set[np.datetime64] = set()  # days that were written by this run

    def add(self, counts: polars.DataFrame, where: str) -> None:
        """A batch. Days that the last batches had nothing of are written out, or all where there are too many."""
        self.cube.add(counts, where)
        if self.cumulative and self.store.kind is np.float32:
            self.cube.ledger.note(COARSE, counts.height, where)
        everything = len(self.cube.days) > self.most
        old = {
            date
            for date, batch in self.cube.touched.items()
            if everything or batch <= self.cube.batches - QUIET_BATCHES
        }
        if old:
            self._write_out(old)

    def try_to_add(self, counts: polars.DataFrame, where: str) -> str:
        """The same; a batch that is of another granularity is rejected, and why is returned."""
        return add_or_reject(self.cube, counts, where, self.add)

    def flush(self) -> None:
        """Write all that has changed, and wait for it."""
        self._write_out(set(self.cube.days))
        self._wait()

    def close(self) -> None:
        """Write no more; returns when nothing is being written."""
        self.behind.shutdown(wait=True, cancel_futures=True)

    def _stored(self, date: np.datetime64) -> Day | None:
        if date not in self.handed and date >= self.store.first_day + np.timedelta64(self.stored, "D"):
            return None  # nobody has written it, and the store may be busy with others
        self._wait()
        return self.store.day(date)

    def _wait(self) -> None:
        for future in self.writing:
            future.result()
        self.writing = []

    def _write_out(self, dates: set[np.datetime64]) -> None:
        """Hand days over to be written; from now on they are in the store."""
        days = {date: self.cube.days.pop(date) for date in sorted(dates) if date in self.cube.days}
        for date in dates:
            self.cube.touched.pop(date, None)
        changed = {date: day for date, day in days.items() if day.changed}
        if changed:
            self.handed |= set(changed)
            while len(self.writing) >= WAITING:
                self.writing.pop(0).result()
            self.writing.append(self.behind.submit(self._write, changed))

    def _write(self, days: dict[np.datetime64, Day]) -> None:
        """A day after a changed one is written, too, where counters only grow: its first differences are others now."""
        if self.cumulative:
            for date in [date + np.timedelta64(1, "D") for date in days]:
                after = None if date in days else self.store.day(date)
                if after is not None:
                    days[date] = after
        for date in sorted(days):
            day = days[date]
            shown = self._shown(date, day, days) if self.cumulative else day
            minutes = (self.store.cell_minutes, self.store.step_minutes)
            never, expected = self._changes(date)[1], self.allocation.in_service(date)
            traffic, users = grid_day(shown, self.allocation, *minutes, self.trust, never, expected)
            self.store.write(date, shown, traffic, users, counter=day.traffic if self.cumulative else None)

    def _shown(self, date: np.datetime64, day: Day, others: dict[np.datetime64, Day]) -> Day:
        before_date = date - np.timedelta64(1, "D")
        before = others.get(before_date)
        if before is None and before_date >= self.store.first_day:
            before = self.store.day(before_date)
        changes = self._changes(date)
        last = None if before is None else readings(self._trusted(before), self._changes(before_date))[0][-1]
        traffic, reset = differences(self._trusted(day), last, changes)
        state = np.where(reset, np.uint8(State.RESET), day.state)
        # What was read again from the store says what was known then: a day before may have come since.
        old = np.isfinite(traffic) & ((state == State.MISSING) | (state == State.RESET))
        sound = np.where(changes[0], np.uint8(State.CLOCK_CHANGE), np.uint8(State.RECORDED))
        state = np.where(old, sound[:, None], state)
        gone = np.isnan(traffic) & ~reset & ((state == State.RECORDED) | (state == State.RESET))
        state = np.where(gone, np.uint8(State.MISSING), state)
        return Day(traffic, day.users, state, twice=day.twice)

    def _trusted(self, day: Day) -> Day:
        """Without readings that their own file doubts: both differences that they are in would be wrong."""
        if self.trust:
            return day
        return replace(day, traffic=np.where(day.state == State.SUSPECT, np.nan, day.traffic))

    def _changes(self, date: np.datetime64) -> Changes:
        return clock_changes(date, self.cube.zone, self.store.cell_minutes)


def left_out(store: CityStore) -> list[str]:
    """Cells of the site list that are not in the city, as they did not report when it was built."""
    return list(store.report.get("sites", {}).get("without_counters", ()))


def days_at_hand(minutes: int, cells: int, kind: Kind = np.float32) -> int:
    """Days of so many cells, with traffic of this kind, that are kept in memory at most."""
    each = np.dtype(kind).itemsize + 5  # users and a state
    return max(2, AT_HAND // max(1, MINUTES_PER_DAY // minutes * cells * each))


def add_or_reject(
    cube: Cube, counts: polars.DataFrame, where: str, add: Callable[[polars.DataFrame, str], None]
) -> str:
    """Rows to a cube by `add`; those of a file that it does not take are counted as rejected. Returns why, or ''."""
    try:
        add(counts, where)
    except IngestError as error:
        cube.ledger.reject_frame(NOT_OF_THE_CITY, where, counts)
        cube.ledger.taken -= counts.height
        return str(error)
    return ""


__all__ = ["Pouring", "add_or_reject", "days_at_hand", "left_out"]
