"""Tables of counters: CSV, TSV and Parquet with a row per cell and period, Huawei's exports among them.

Columns are found by usual names or named in the mapping; each counter is a column. CSV is read in blocks of lines, so
neither a file nor what it is compressed from has to fit in memory. Huawei's second line of units is skipped, its
'Unreliable' rows are suspect.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
import polars

from fomo.ingest.counts import BATCH, COUNTS, empty_counts
from fomo.ingest.formats.lines import Lines, first_line
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping, Quantity, plain

#: Usual names of columns, as `plain` writes them; first ones preferred.
USUAL: dict[str, tuple[str, ...]] = {
    "cell": ("cell", "cellname", "cellid", "objectname", "eutrancellid", "nrcellid", "eutrancell", "nrcelldu", "ci"),
    "time": ("time", "begin", "resulttime", "timestamp", "datetime", "starttime", "begintime", "periodstarttime"),
    "minutes": ("minutes", "granularityperiod", "granularity", "gp", "interval"),
    "reliability": ("reliability",),
}
#: Times as they are written; the first value of a column chooses. `%z` stands for an offset.
TIME_FORMATS = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%dT%H:%M:%S%z",
    "%Y-%m-%d %H:%M:%S%z",
    "%Y-%m-%dT%H:%M%z",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%m/%d/%Y %H:%M",
    "%Y%m%d%H%M",
    "%Y%m%d%H%M%S",
)


_AMOUNTS = polars.col("traffic", "users")
#: What a row must not be.
CHECKS = {
    "no cell's name": polars.col("cell").is_null() | (polars.col("cell") == ""),
    "no time that can be read": polars.col("begin").is_null(),
    "no granularity period": ~(polars.col("minutes") > 0).fill_null(False),
    "not a number": polars.any_horizontal(_AMOUNTS.is_nan().fill_null(False)),
    "negative or infinite": polars.any_horizontal(((_AMOUNTS < 0) | _AMOUNTS.is_infinite()).fill_null(False)),
}


class PeriodUnknown(IngestError):
    """A file of one period that does not say how long it is."""


@dataclass(frozen=True)
class _Columns:
    """What the columns of a file are called; '' where there is none."""

    cell: str
    time: str
    minutes: str
    reliability: str


def read_table_counts(path: Path, mapping: Mapping, ledger: Ledger) -> Iterator[polars.DataFrame]:
    """Batches of `COUNTS`. Raises `IngestError`: columns that are not there, times that cannot be read, damage."""
    state = _State(path, mapping)
    for line, frame in _frames(path, mapping, ledger):
        yield state.counts(frame, line, ledger)


def table_counter_names(path: Path) -> list[str]:
    """All columns of the file but those of cell and time: what a mapping is guessed from."""
    names = _parquet_names(path) if _is_parquet(path) else Lines(path).names
    taken = {plain(usual) for usual in (*USUAL["cell"], *USUAL["time"])}
    return [name for name in names if plain(name) not in taken]


#: Bytes of a CSV that an overview is taken from.
FIRST_LINES = 4 << 20


@dataclass(frozen=True)
class Overview:
    """What a file holds: its first and last period, how long periods are (0: no rows), its cells."""

    times: frozenset[datetime]
    minutes: int
    cells: frozenset[str]


def overview(path: Path, mapping: Mapping, ledger: Ledger) -> Overview:
    """Of a Parquet file, from its columns of times and cells alone; of text, from its first lines.

    Raises `IngestError`.
    """
    state = _State(path, mapping)
    if not _is_parquet(path):
        _, frame = next(Lines(path).frames(ledger, size=FIRST_LINES), (0, None))
        return overview_of(empty_counts() if frame is None else state.counts(frame, 1, ledger))
    columns = _found(path, _parquet_names(path), mapping)
    names = [columns.time, *([columns.minutes] if columns.minutes else [])]
    try:
        times = polars.scan_parquet(path).select(names).unique().collect(engine="streaming").sort(columns.time)
        cell = polars.col(columns.cell).unique()
        cells = polars.scan_parquet(path).select(cell).select(state.cell(columns)).collect(engine="streaming")
    except (polars.exceptions.PolarsError, OSError) as error:
        raise IngestError(f"{path} is damaged ({first_line(error)}): fetch it again") from None
    found = overview_of(state.times(times, columns))
    return Overview(found.times, found.minutes, frozenset(cells.to_series().drop_nulls().to_list()))


def overview_of(counts: polars.DataFrame) -> Overview:
    """Of a table that has some of the columns of `COUNTS`."""
    times = (counts["begin"].min(), counts["begin"].max())
    minutes = int(counts["minutes"].mode().sort()[0]) if counts.height else 0
    cells = counts["cell"].drop_nulls().unique().to_list() if "cell" in counts.columns else []
    return Overview(frozenset(time for time in times if isinstance(time, datetime)), minutes, frozenset(cells))


class _State:
    """What is found once a file: columns, how times are written, the granularity period."""

    def __init__(self, path: Path, mapping: Mapping) -> None:
        self.path, self.mapping = path, mapping
        self.columns: _Columns | None = None
        self.format = mapping.time.format
        self.minutes = mapping.time.minutes

    def counts(self, frame: polars.DataFrame, first_line: int, ledger: Ledger) -> polars.DataFrame:
        """A batch of rows as `COUNTS`; what cannot be one goes to the ledger."""
        if self.columns is None:
            self.columns = _found(self.path, frame.columns, self.mapping)
        found = self.columns
        cell = self.cell(found)
        begin = self._begin(frame, found.time)
        minutes = self._minutes(frame, found, begin)
        columns = [
            cell.alias("cell"),
            begin.alias("begin"),
            minutes.alias("minutes"),
            *(self._quantity(frame, name, part) for name, part in self._quantities()),
            self._suspect(found).alias("suspect"),
        ]
        made = frame.select(columns).select(polars.col(name).cast(kind) for name, kind in COUNTS.items())
        if self.mapping.time.marks == "end":
            made = made.with_columns(polars.col("begin") - polars.duration(minutes="minutes"))
        return self._checked(made, frame, first_line, ledger)

    def cell(self, found: _Columns) -> polars.Expr:
        """The cell's name within the object's."""
        cell = polars.col(found.cell).cast(polars.String)
        return cell.str.extract(self.mapping.cell.pattern, 1) if self.mapping.cell.pattern else cell

    def times(self, frame: polars.DataFrame, found: _Columns) -> polars.DataFrame:
        """Begin and minutes alone."""
        begin = self._begin(frame, found.time)
        minutes = self._minutes(frame, found, begin)
        return frame.select(begin.cast(COUNTS["begin"]).alias("begin"), minutes.alias("minutes")).drop_nulls()

    def _quantities(self) -> tuple[tuple[str, Quantity], ...]:
        return (("traffic", self.mapping.traffic), ("users", self.mapping.users))

    def _begin(self, frame: polars.DataFrame, name: str) -> polars.Expr:
        column = frame[name]
        if column.dtype == polars.String:
            if not self.format:
                self.format = _format_of(column, self.path, name)
            aware = "%z" in self.format
            parsed = polars.col(name).str.to_datetime(
                self.format, strict=False, time_unit="us", time_zone="UTC" if aware else None
            )
            return self._wall(parsed) if aware else parsed
        if isinstance(column.dtype, polars.Datetime):
            return self._wall(polars.col(name)) if column.dtype.time_zone else polars.col(name)
        if column.dtype.is_integer():
            # Milliseconds or seconds of the Unix epoch: those of this century are told apart by their size.
            largest = column.max()
            unit: Literal["ms", "s"] = "ms" if isinstance(largest, int) and largest > 10**11 else "s"
            return self._wall(polars.from_epoch(polars.col(name), unit).dt.replace_time_zone("UTC"))
        raise IngestError(
            f"column {name!r} of {self.path} is {column.dtype}, no time: name another in the mapping, [columns] time"
        )

    def _wall(self, aware: polars.Expr) -> polars.Expr:
        """Wall clock of the operator's zone."""
        if not self.mapping.time.zone:
            raise IngestError(
                f"times of {self.path} are of one instant everywhere (with an offset or a zone, or since 1970): say "
                'whose wall clock the city has, [time] zone = "Europe/Rome" in the mapping'
            )
        return aware.dt.convert_time_zone(self.mapping.time.zone).dt.replace_time_zone(None)

    def _minutes(self, frame: polars.DataFrame, found: _Columns, begin: polars.Expr) -> polars.Expr:
        if found.minutes:
            return polars.col(found.minutes).cast(polars.Float64, strict=False).cast(polars.Int32, strict=False)
        if not self.minutes:
            times = frame.select(begin.alias("t"))["t"].drop_nulls().unique().sort()
            gaps = times.diff().drop_nulls().dt.total_minutes() if len(times) > 1 else None
            if gaps is None or not gaps.len():
                raise PeriodUnknown(
                    f"{self.path} has a single time, so its granularity period is not known: write it into the "
                    "mapping, [time] minutes = 15"
                )
            self.minutes = int(gaps.min())  # type: ignore[arg-type]
        return polars.lit(self.minutes, polars.Int32)

    def _quantity(self, frame: polars.DataFrame, name: str, part: Quantity) -> polars.Expr:
        """Counters times their factors, over others; null where any of them is."""
        if not part.counters:
            return polars.lit(None, polars.Float64).alias(name)
        absent = [each for each in (*part.counters, *part.over) if each not in frame.columns]
        if absent:
            raise IngestError(f"{self.path} has no column {absent[0]!r} ({name}); it has {frame.columns[:30]}")
        above = sum(
            (self._number(frame, each) * factor for each, factor in part.counters.items()), start=polars.lit(0.0)
        )
        if part.over:
            below = sum(
                (self._number(frame, each) * factor for each, factor in part.over.items()), start=polars.lit(0.0)
            )
            above = polars.when(below > 0).then(above / below)
        return above.alias(name)

    def _number(self, frame: polars.DataFrame, name: str) -> polars.Expr:
        """A number; NaN where the text is none, null where it stands for nothing."""
        column = polars.col(name)
        if frame.schema[name] != polars.String:
            return column.cast(polars.Float64).fill_nan(None)
        text = column.str.strip_chars()
        missing = text.is_null() | text.is_in(list(self.mapping.numbers.missing))
        plain_text = text
        if self.mapping.numbers.decimal == ",":
            plain_text = text.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
        number = plain_text.cast(polars.Float64, strict=False)
        return polars.when(missing).then(None).otherwise(number.fill_null(float("nan")))

    @staticmethod
    def _suspect(found: _Columns) -> polars.Expr:
        if not found.reliability:
            return polars.lit(False)
        text = polars.col(found.reliability).cast(polars.String).str.strip_chars().str.to_lowercase()
        return ~text.is_in(["reliable", "true", "1", "ok", ""]).fill_null(True)

    def _checked(
        self, made: polars.DataFrame, frame: polars.DataFrame, first_line: int, ledger: Ledger
    ) -> polars.DataFrame:
        """Rows that are counts; the others are written down with their reason, the first that holds."""
        if any(made.select(check.any().alias(reason) for reason, check in CHECKS.items()).row(0)):
            masks = made.select(check.alias(reason) for reason, check in CHECKS.items())
            wrong = polars.Series(np.zeros(made.height, bool))
            for reason in CHECKS:
                fresh = masks[reason] & ~wrong
                if fresh.any():
                    self._write_down(reason, frame, fresh, first_line, ledger)
                    wrong = wrong | fresh
            made = made.filter(~wrong)
        ledger.taken += made.height
        ledger.note("suspect rows", int(made["suspect"].sum()), str(self.path))
        return made

    def _write_down(
        self, reason: str, frame: polars.DataFrame, mask: polars.Series, first_line: int, ledger: Ledger
    ) -> None:
        if reason == "not a number" and self.mapping.numbers.decimal == ".":
            texts = [name for name in self.mapping.counters if frame.schema.get(name) == polars.String]
            commas = any(frame.filter(mask)[name].str.contains(r"^\s*-?\d+,\d+\s*$").any() for name in texts)
            if commas and mask.mean() > 0.5:  # type: ignore[operator]
                raise IngestError(
                    f'numbers of {self.path} have a decimal comma: write it into the mapping, [numbers] decimal = ","'
                )
        lines = (mask.arg_true() + first_line).to_list()
        where = f"{self.path.name}, line {lines[0]}" + (f" to {lines[-1]}" if len(lines) > 1 else "")
        ledger.reject_frame(reason, where, frame.filter(mask))


def _format_of(column: polars.Series, path: Path, name: str) -> str:
    """How most times of the first values are written; months and days may be in either order, so all are tried."""
    some = column.drop_nulls().head(1000)
    best, read = "", 0
    for form in TIME_FORMATS:
        aware = "UTC" if "%z" in form else None
        parsed = some.str.to_datetime(form, strict=False, time_unit="us", time_zone=aware)
        count = len(parsed) - parsed.null_count()
        if count > read:
            best, read = form, count
    if not best:
        example = some[0] if len(some) else ""
        raise IngestError(
            f"column {name!r} of {path} begins with {example!r}, no time that is known: write its format into the "
            'mapping, [time] format = "%Y-%m-%d %H:%M"'
        )
    return best


def _found(path: Path, names: Sequence[str], mapping: Mapping) -> _Columns:
    """The columns by the mapping, else by usual names. Raises `IngestError` without a cell or a time."""
    present = {plain(name): name for name in reversed(names)}
    found = {}
    for role, usual in USUAL.items():
        given = str(getattr(mapping.columns, role))
        if given and given not in names:
            raise IngestError(f"{path} has no column {given!r} ([columns] {role}); it has {list(names)[:30]}")
        found[role] = given or next((present[each] for each in usual if each in present), "")
    for role in ("cell", "time"):
        if not found[role]:
            raise IngestError(
                f"{path} has no column of the {role} by a usual name; it has {list(names)[:30]}: name it in the "
                f"mapping, [columns] {role}"
            )
    return _Columns(**found)


def _frames(path: Path, mapping: Mapping, ledger: Ledger) -> Iterator[tuple[int, polars.DataFrame]]:
    """Batches of raw rows, and the number of the first one's line (of a Parquet file: row)."""
    if not _is_parquet(path):
        yield from Lines(path).frames(ledger, mapping.counters if mapping.numbers.decimal == "." else ())
        return
    names = _parquet_names(path)
    columns = _found(path, names, mapping)
    roles = (columns.cell, columns.time, columns.minutes, columns.reliability)
    wanted = [name for name in dict.fromkeys([*roles, *sorted(mapping.counters)]) if name in names]
    first = 1
    try:
        for frame in polars.scan_parquet(path).select(wanted).collect_batches(chunk_size=BATCH):
            yield first, frame
            first += frame.height
    except (polars.exceptions.PolarsError, OSError) as error:
        raise IngestError(f"{path} is damaged after row {first - 1} ({first_line(error)}): fetch it again") from None


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _parquet_names(path: Path) -> list[str]:
    try:
        return polars.scan_parquet(path).collect_schema().names()
    except (polars.exceptions.PolarsError, OSError) as error:
        raise IngestError(f"{path} is damaged or no Parquet file ({first_line(error)}): fetch it again") from None


__all__ = [
    "Overview",
    "PeriodUnknown",
    "overview",
    "overview_of",
    "read_table_counts",
    "table_counter_names",
]
