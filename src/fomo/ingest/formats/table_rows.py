"""Raw rows of a table to `COUNTS`: how cells, times and numbers of a file are written, and what is no row."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import gcd
from pathlib import Path

import polars

from fomo.ingest.clock import UnknownTimes, format_of, is_instant, time_of, time_of_any, usual_gap
from fomo.ingest.counts import COUNTS
from fomo.ingest.formats.lines import Origin
from fomo.ingest.formats.repeats import Repeats
from fomo.ingest.formats.table_checks import checked
from fomo.ingest.formats.table_columns import Columns, find_columns
from fomo.ingest.formats.table_numbers import number
from fomo.ingest.formats.text_blocks import first_line as short
from fomo.ingest.formats.wall_clock import WallClock
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping, Quantity
from fomo.steps import agreed_step, coarse_cells

#: Columns of `COUNTS` that are found when all rows are there.
LATER = ("begin", "second")
#: Rows and distinct times of a file from which its step is told.
FIRST_ROWS, FEW_TIMES = 200_000, 7


class PeriodUnknown(IngestError):
    """A file of one period that does not say how long it is."""


def single_time(path: Path) -> str:
    """What is wrong with a file of one period."""
    return f"{path} has a single time, so its granularity period is not known: write it into the mapping, " + (
        "[time] minutes = 15"
    )


class Rows:
    """What is found once a file: columns, how times are written, the granularity period."""

    def __init__(self, path: Path, mapping: Mapping) -> None:
        """Of one file; the first rows say the rest."""
        self.path, self.mapping = path, mapping
        self.columns: Columns | None = None
        self.format = mapping.time.format
        self.minutes = mapping.time.minutes
        self.clock = WallClock(mapping.time.zone, mapping.time.marks)
        self.repeats = Repeats(path)
        self.absent: dict[str, str] = {}  # quantities whose counters the file has none of, and what to say of it

    def counts(self, frame: polars.DataFrame, origin: Origin, ledger: Ledger) -> polars.DataFrame:
        """A batch of rows as `COUNTS`; what cannot be one goes to the ledger."""
        if self.columns is None:
            self.columns = find_columns(self.path, frame.columns, self.mapping)
            self.check_counters(frame.columns)
        if not frame.height:
            return polars.DataFrame(schema=COUNTS)
        found, frame = self.columns, self.plain(frame)
        made = self._made(frame, found)
        # Only where times are lost, for looking is slow.
        if made["begin"].null_count() and frame.schema[found.time] == polars.String:
            lost = frame[found.time].filter(made["begin"].is_null())
            if lost.str.contains(r"[ T]24:00|^\s|\s$").any():
                made = self._made(frame, found, ends_of_days=True)
        known = (found.cell, found.time, found.minutes, found.reliability, *self.mapping.counters)
        self.repeats.look(made, frame, known, found.cell if self.mapping.cell.pattern else None)
        for name in self.absent:
            ledger.note(f"rows of files without the counters of the {name}", made.height, str(self.path))
        return checked(self.clock.begins(made).select(list(COUNTS)), frame, origin, self.path, self.mapping, ledger)

    def _made(self, frame: polars.DataFrame, found: Columns, ends_of_days: bool = False) -> polars.DataFrame:
        """Rows whose times are as written: instants in UTC or of the wall clock, of either end of a period."""
        begin = self._time(frame, found.time, ends_of_days)
        columns = [
            self.cell(found).alias("cell"),
            begin.alias("begin"),
            self._minutes(frame, found, begin).alias("minutes"),
            *(self._quantity(frame, name, part) for name, part in self._quantities()),
            self._suspect(found).alias("suspect"),
        ]
        try:
            kinds = {name: kind for name, kind in COUNTS.items() if name not in LATER}
            return frame.select(columns).cast(kinds)  # type: ignore[arg-type]
        except polars.exceptions.PolarsError as error:
            raise IngestError(
                f"{self.path} cannot be read as the mapping has it ({short(error)}): correct its columns and counters"
            ) from None

    def plain(self, frame: polars.DataFrame) -> polars.DataFrame:
        """Text as such, whatever kind of text a Parquet file has; names that are whole numbers as they are written."""
        texts = {
            name: polars.String for name, kind in frame.schema.items()
            if isinstance(kind, (polars.Categorical, polars.Enum, polars.Binary))
        }  # fmt: skip
        name = (self.columns or find_columns(self.path, frame.columns, self.mapping, partly=True)).cell
        if frame.schema.get(name, polars.String).is_float():  # 123.0 of a column that had gaps once
            frame = frame.with_columns(polars.col(name).cast(polars.Int64, strict=False))
        try:
            return frame.cast(texts) if texts else frame  # type: ignore[arg-type]
        except polars.exceptions.PolarsError as error:
            raise IngestError(f"{self.path} has text that is no UTF-8 ({short(error)}): write it anew") from None

    def cell(self, found: Columns) -> polars.Expr:
        """The cell's name within the object's."""
        cell = polars.col(found.cell)
        cell, pattern = cell.cast(polars.String), self.mapping.cell.pattern
        if not pattern:
            return cell
        try:
            polars.Series([""]).str.extract(pattern, 1)
        except polars.exceptions.PolarsError:  # what Python's expressions can and polars' cannot, such as looking back
            return cell.map_batches(_finder(pattern), return_dtype=polars.String)
        return cell.str.extract(pattern, 1)

    def places(self, frame: polars.DataFrame, found: Columns) -> polars.DataFrame:
        """Cell, begin and minutes alone."""
        frame = self.plain(frame)
        begin = self._time(frame, found.time, ends_of_days=True)
        minutes = self._minutes(frame, found, begin)
        made = frame.select(self.cell(found).alias("cell"), begin.alias("begin"), minutes.alias("minutes"))
        return self.clock.begins(made).drop("second")

    def times(self, frame: polars.DataFrame, found: Columns) -> polars.DataFrame:
        """Begin and minutes alone."""
        frame = self.plain(frame)
        begin = self._time(frame, found.time, ends_of_days=True)
        minutes = self._minutes(frame, found, begin)
        made = frame.select(begin.alias("begin"), minutes.alias("minutes")).drop_nulls()
        return self.clock.begins(made).drop("second")

    def check_counters(self, names: Sequence[str]) -> None:
        """A file may have the counters of the traffic or of the users, but no part of them.

        Raises `IngestError`.
        """
        asked = {name: {*part.counters, *part.over} for name, part in self._quantities() if part.counters}
        self.absent = {}
        for name, wanted in asked.items():
            lost = sorted(wanted - set(names))
            if lost:
                text = (
                    f"{self.path} has no column {lost[0]!r} ({name}); it has {list(names)[:30]}: correct the mapping's "
                    f"[{name}] (of a city that is there with fomo city append --mapping), or leave the file out"
                )
                if len(lost) < len(wanted):
                    raise IngestError(text)
                self.absent[name] = text
        if len(self.absent) == len(asked) and self.absent:
            raise IngestError(next(iter(self.absent.values())))

    def check_step(self, counts: polars.DataFrame, ledger: Ledger) -> None:
        """Times that are further apart, or nearer, than the periods of the city. Raises `IngestError`.

        Only where no column says how long a period is: values of an hour must not count as those of a quarter. Then the
        rows count as not taken.
        """
        if self.columns is None or self.columns.minutes or not self.mapping.time.minutes:
            return
        found = self._other_step(counts.head(FIRST_ROWS))
        odd = {} if found else coarse_cells(counts, self.minutes)
        if not found and not odd:
            return
        ledger.taken -= counts.height
        if found:
            raise IngestError(
                f"{self.path} has times {found} minutes apart, periods are of {self.minutes}: mixed granularity; build "
                "files of each granularity apart, or correct [time] minutes in the mapping"
            )
        raise IngestError(
            f"times of {len(odd)} of {counts['cell'].n_unique()} cells of {self.path} are {min(odd.values())} minutes "
            f"apart ({', '.join(list(odd)[:3])}), those of others {self.minutes}: mixed granularity; build a city of "
            "each granularity, or say how long the period of each row is in a column, [columns] minutes in the mapping"
        )

    def _other_step(self, counts: polars.DataFrame) -> int:
        """Minutes that all times are apart where that is not the city's step, else 0."""
        times = counts["begin"].unique().sort()
        gaps = times.diff().drop_nulls().dt.total_minutes()
        if not len(gaps) or (gaps == self.minutes).any():
            return 0
        if len(gaps) < FEW_TIMES:
            agreed = agreed_step(counts)
            return agreed if agreed < self.minutes or not agreed % self.minutes else 0
        step, usual = gcd(*(int(gap) for gap in gaps.unique())), usual_gap(times)
        if step % self.minutes == 0 and step > self.minutes:
            return step
        return usual if usual < self.minutes and (gaps < self.minutes).mean() > 0.5 else 0  # type: ignore[operator]

    def _quantities(self) -> tuple[tuple[str, Quantity], ...]:
        return (("traffic", self.mapping.traffic), ("users", self.mapping.users))

    def _time(self, frame: polars.DataFrame, name: str, ends_of_days: bool = False) -> polars.Expr:
        """As written: in UTC where times are instants, else of the wall clock."""
        column, kind = polars.col(name), frame.schema[name]
        if isinstance(kind, polars.Datetime):
            column = column.cast(polars.Datetime("us", kind.time_zone))
            return self._instant(column) if kind.time_zone else column
        if kind == polars.Date:
            return column.cast(polars.Datetime("us"))
        if kind.is_float():  # whole numbers of a column that had gaps once
            return self._time(frame.select(polars.col(name).cast(polars.Int64, strict=False)), name)
        if kind != polars.String and not kind.is_integer():
            raise IngestError(
                f"column {name!r} of {self.path} is {kind}, no time: name another in the mapping, [columns] time"
            )
        if not self.format:
            try:
                self.format = format_of(frame[name])
            except UnknownTimes as error:
                raise IngestError(
                    f"column {name!r} of {self.path} {error}: write its format into the mapping, "
                    '[time] format = "%Y-%m-%d %H:%M"'
                ) from None
        found = (time_of_any if ends_of_days else time_of)(column, self.format)
        return self._instant(found) if is_instant(self.format) else found

    def _instant(self, aware: polars.Expr) -> polars.Expr:
        """In UTC. Raises `IngestError` where nobody says whose wall clock the city has."""
        if not self.mapping.time.zone:
            raise IngestError(
                f"times of {self.path} are of one instant everywhere (with an offset or a zone, or since 1970): say "
                'whose wall clock the city has, [time] zone = "Europe/Rome" in the mapping'
            )
        return aware.dt.convert_time_zone("UTC")

    def _minutes(self, frame: polars.DataFrame, found: Columns, begin: polars.Expr) -> polars.Expr:
        if found.minutes:
            return polars.col(found.minutes).cast(polars.Float64, strict=False).cast(polars.Int32, strict=False)
        if not self.minutes:
            times = frame.select(begin.alias("t"))["t"].drop_nulls().unique()
            self.minutes = usual_gap(times)
            if not self.minutes and len(times):
                raise PeriodUnknown(single_time(self.path))
        return polars.lit(self.minutes or None, polars.Int32)

    def _quantity(self, frame: polars.DataFrame, name: str, part: Quantity) -> polars.Expr:
        """Counters times their factors, over others; null where any of them is."""
        if not part.counters or name in self.absent:
            return polars.lit(None, polars.Float64).alias(name)
        above = self._sum(frame, part.counters)
        if part.over:
            below = self._sum(frame, part.over)
            above = polars.when(below > 0).then(above / below)
        return above.alias(name)

    def _sum(self, frame: polars.DataFrame, counters: dict[str, float]) -> polars.Expr:
        parts = (number(frame, name, self.mapping.numbers) * factor for name, factor in counters.items())
        return sum(parts, start=polars.lit(0.0))

    @staticmethod
    def _suspect(found: Columns) -> polars.Expr:
        if not found.reliability:
            return polars.lit(False)
        text = polars.col(found.reliability).cast(polars.String).str.strip_chars().str.to_lowercase()
        return ~text.is_in(["reliable", "true", "1", "ok", ""]).fill_null(True)


def _finder(pattern: str) -> Callable[[polars.Series], polars.Series]:
    """The same as polars' `extract` with Python's regular expressions, each name once."""
    regex = re.compile(pattern)

    def find(names: polars.Series) -> polars.Series:
        each = names.drop_nulls().unique()
        found = [match[1] if (match := regex.search(name)) else None for name in each]
        return names.replace_strict(each, polars.Series(found, dtype=polars.String), return_dtype=polars.String)

    return find


__all__ = ["PeriodUnknown", "Rows", "single_time"]
