"""Tables of counters: CSV, TSV and Parquet with a row per cell and period, Huawei's exports among them.

Columns are found by usual names or named in the mapping; each counter is a column. CSV is read in blocks of lines, so
neither a file nor what it is compressed from has to fit in memory. Huawei's second line of units is skipped, its
'Unreliable' rows are suspect.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import gcd
from pathlib import Path

import numpy as np
import polars

from fomo.ingest.clock import EARLIEST, LATEST, UnknownTimes, format_of, is_instant, time_of, time_of_any, usual_gap
from fomo.ingest.counts import BATCH, COUNTS
from fomo.ingest.formats.lines import Lines, Numbers
from fomo.ingest.formats.lines import first_line as short
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping, Quantity, plain

#: Usual names of columns, as `plain` writes them; first ones preferred.
USUAL: dict[str, tuple[str, ...]] = {
    "cell": ("cell", "cellname", "cellid", "objectname", "eutrancellid", "nrcellid", "eutrancell", "nrcelldu", "ci"),
    "time": ("time", "begin", "resulttime", "timestamp", "datetime", "starttime", "begintime", "periodstarttime"),
    "minutes": ("minutes", "granularityperiod", "granularity", "gp", "interval"),
    "reliability": ("reliability",),
}
_AMOUNTS = polars.col("traffic", "users")
#: What a row must not be.
CHECKS = {
    "no cell's name": polars.col("cell").is_null() | (polars.col("cell") == ""),
    "no time that can be read": polars.col("begin").is_null(),
    "a time before 1990 or after 2099": ~polars.col("begin").is_between(EARLIEST, LATEST, closed="left"),
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
    for number, (line, frame) in enumerate(_frames(path, mapping, ledger)):
        counts = state.counts(frame, line, ledger)
        if not number:
            state.check_step(counts)
        yield counts


def table_counter_names(path: Path) -> list[str]:
    """All columns of the file but those of cell and time: what a mapping is guessed from."""
    names = _parquet_names(path) if _is_parquet(path) else Lines(path).names
    taken = {plain(usual) for usual in (*USUAL["cell"], *USUAL["time"])}
    return [name for name in names if plain(name) not in taken]


#: Rows and distinct times of a file from which its step is told.
FIRST_ROWS, FEW_TIMES = 200_000, 7
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
COMMA_NUMBER = r"^[+-]?(\d+|\d{1,3}(\.\d{3})+)?(,\d*)?([eE][+-]?\d+)?$"
#: Bytes of a CSV that an overview is taken from.
FIRST_LINES = 4 << 20


@dataclass(frozen=True)
class Overview:
    """What a file holds: its first and last period, how long periods are (0: no rows), its cells."""

    times: frozenset[datetime]
    minutes: int
    cells: frozenset[str]
    lacks: dict[str, str] = field(default_factory=dict)  # traffic or users -> what the file has no column of, said


def overview(path: Path, mapping: Mapping, ledger: Ledger) -> Overview:
    """Of a Parquet file, from its columns of times and cells alone; of text, from its first lines.

    Raises `IngestError`.
    """
    given = bool(mapping.time.minutes)
    # Without a length of periods, times are taken as written until it is known.
    bare = mapping.model_copy(update={"time": mapping.time.model_copy(update={"minutes": 1, "marks": "begin"})})
    names = _parquet_names(path) if _is_parquet(path) else Lines(path).names
    columns = _found(path, names, mapping)
    given = given or bool(columns.minutes)
    state = _State(path, mapping if given else bare)
    state.check_counters(names)
    view = _parquet_view(path, state, columns) if _is_parquet(path) else _text_view(path, state, columns, ledger)
    if given or not view.height:
        return replace(overview_of(view), lacks=state.absent)
    minutes = usual_gap(view["begin"])
    if not minutes:
        raise PeriodUnknown(_single_time(path))
    moved = view["begin"] - timedelta(minutes=minutes if mapping.time.marks == "end" else 0)
    known = overview_of(view.with_columns(moved, minutes=polars.lit(minutes, polars.Int32)))
    return replace(known, lacks=state.absent)


def _single_time(path: Path) -> str:
    return f"{path} has a single time, so its granularity period is not known: write it into the mapping, " + (
        "[time] minutes = 15"
    )


def _parquet_view(path: Path, state: _State, columns: _Columns) -> polars.DataFrame:
    """Each time, and each cell, of a Parquet file; null in a row where there is no more of the other."""
    names = [columns.time, *([columns.minutes] if columns.minutes else [])]
    try:
        times = polars.scan_parquet(path).select(names).unique().collect(engine="streaming").sort(columns.time)
        cells = polars.scan_parquet(path).select(polars.col(columns.cell).unique()).collect(engine="streaming")
    except (polars.exceptions.PolarsError, OSError) as error:
        raise IngestError(f"{path} is damaged ({short(error)}): fetch it again") from None
    named = state.plain(cells).select(state.cell(columns).alias("cell")).unique()
    return polars.concat([state.times(times, columns), named], how="diagonal")


def _text_view(path: Path, state: _State, columns: _Columns, ledger: Ledger) -> polars.DataFrame:
    """Each cell and time of a text's first lines where they go by time, of all its lines where they do not.

    A table in the order of its cells has few of them in its first lines; one whose last day comes first begins with it.
    """
    parts, frames = list[polars.DataFrame](), Lines(path).frames(ledger, size=FIRST_LINES)
    try:
        for line, frame in frames:
            if parts:
                parts.append(state.places(frame, columns).unique())
                if not len(parts) % 16:
                    parts = [polars.concat(parts).unique()]
                continue
            counts = state.counts(frame, line, ledger)
            if not counts.height:
                continue
            if counts["begin"].is_sorted() and min(counts[name].n_unique() for name in ("begin", "cell")) > 1:
                return counts
            parts.append(counts.select("cell", "begin", "minutes").unique())
    except IngestError:
        if not parts:  # else it is named when the file is read
            raise
    return polars.concat(parts) if parts else polars.DataFrame(schema=COUNTS)


def overview_of(counts: polars.DataFrame) -> Overview:
    """Of a table that has some of the columns of `COUNTS`."""
    sound = counts["begin"].filter(counts["begin"].is_between(EARLIEST, LATEST, closed="left"))
    times = (sound.min(), sound.max())
    usual = counts["minutes"].drop_nulls().mode().sort()
    minutes = int(usual[0]) if len(usual) else 0
    cells = counts["cell"].drop_nulls().unique().to_list() if "cell" in counts.columns else []
    return Overview(frozenset(time for time in times if isinstance(time, datetime)), minutes, frozenset(cells))


class _State:
    """What is found once a file: columns, how times are written, the granularity period."""

    def __init__(self, path: Path, mapping: Mapping) -> None:
        self.path, self.mapping = path, mapping
        self.columns: _Columns | None = None
        self.format = mapping.time.format
        self.minutes = mapping.time.minutes
        self.absent: dict[str, str] = {}  # quantities whose counters the file has none of, and what to say of it
        self.codes = [float(text) for text in mapping.numbers.missing if NUMBER.fullmatch(text)]  # -1 and the like

    def counts(self, frame: polars.DataFrame, line: Numbers, ledger: Ledger) -> polars.DataFrame:
        """A batch of rows as `COUNTS`; what cannot be one goes to the ledger."""
        if self.columns is None:
            self.columns = _found(self.path, frame.columns, self.mapping)
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
        for name in self.absent:
            ledger.note(f"rows of files without the counters of the {name}", made.height, str(self.path))
        return self._checked(self._from_begin(made), frame, line, ledger)

    def _made(self, frame: polars.DataFrame, found: _Columns, ends_of_days: bool = False) -> polars.DataFrame:
        begin = self._begin(frame, found.time, ends_of_days)
        columns = [
            self.cell(found).alias("cell"),
            begin.alias("begin"),
            self._minutes(frame, found, begin).alias("minutes"),
            *(self._quantity(frame, name, part) for name, part in self._quantities()),
            self._suspect(found).alias("suspect"),
        ]
        try:
            return frame.select(columns).select(polars.col(name).cast(kind) for name, kind in COUNTS.items())
        except polars.exceptions.PolarsError as error:
            raise IngestError(
                f"{self.path} cannot be read as the mapping has it ({short(error)}): correct its columns and counters"
            ) from None

    def _from_begin(self, made: polars.DataFrame) -> polars.DataFrame:
        if self.mapping.time.marks == "end":
            return made.with_columns(polars.col("begin") - polars.duration(minutes="minutes"))
        return made

    def plain(self, frame: polars.DataFrame) -> polars.DataFrame:
        """Text as such, whatever kind of text a Parquet file has; names that are whole numbers as they are written."""
        texts = {
            name: polars.String for name, kind in frame.schema.items()
            if isinstance(kind, (polars.Categorical, polars.Enum, polars.Binary))
        }  # fmt: skip
        name = (self.columns or _found(self.path, frame.columns, self.mapping, partly=True)).cell
        if frame.schema.get(name, polars.String).is_float():  # 123.0 of a column that had gaps once
            frame = frame.with_columns(polars.col(name).cast(polars.Int64, strict=False))
        try:
            return frame.cast(texts) if texts else frame  # type: ignore[arg-type]
        except polars.exceptions.PolarsError as error:
            raise IngestError(f"{self.path} has text that is no UTF-8 ({short(error)}): write it anew") from None

    def cell(self, found: _Columns) -> polars.Expr:
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

    def places(self, frame: polars.DataFrame, found: _Columns) -> polars.DataFrame:
        """Cell, begin and minutes alone."""
        frame = self.plain(frame)
        begin = self._begin(frame, found.time, ends_of_days=True)
        minutes = self._minutes(frame, found, begin)
        made = frame.select(
            self.cell(found).alias("cell"), begin.cast(COUNTS["begin"]).alias("begin"), minutes.alias("minutes")
        )
        return self._from_begin(made)

    def times(self, frame: polars.DataFrame, found: _Columns) -> polars.DataFrame:
        """Begin and minutes alone."""
        frame = self.plain(frame)
        begin = self._begin(frame, found.time, ends_of_days=True)
        minutes = self._minutes(frame, found, begin)
        made = frame.select(begin.cast(COUNTS["begin"]).alias("begin"), minutes.alias("minutes")).drop_nulls()
        return self._from_begin(made)

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
                    f"[{name}], or leave the file out"
                )
                if len(lost) < len(wanted):
                    raise IngestError(text)
                self.absent[name] = text
        if len(self.absent) == len(asked) and self.absent:
            raise IngestError(next(iter(self.absent.values())))

    def check_step(self, counts: polars.DataFrame) -> None:
        """Times that are further apart, or nearer, than the periods of the city. Raises `IngestError`.

        Only where no column says how long a period is: values of an hour must not count as those of a quarter.
        """
        if self.columns is None or self.columns.minutes or not self.mapping.time.minutes:
            return
        times = counts["begin"].head(FIRST_ROWS).unique().sort()
        gaps = times.diff().drop_nulls().dt.total_minutes()
        if len(gaps) < FEW_TIMES:
            return
        step = gcd(*(int(gap) for gap in gaps.unique()))
        usual = usual_gap(times)
        if step % self.minutes == 0 and step > self.minutes:
            found = step
        elif usual < self.minutes and (gaps < self.minutes).mean() > 0.5:  # type: ignore[operator]
            found = usual
        else:
            return
        raise IngestError(
            f"{self.path} has times {found} minutes apart, periods are of {self.minutes}: mixed granularity; build "
            "files of each granularity apart, or correct [time] minutes in the mapping"
        )

    def _quantities(self) -> tuple[tuple[str, Quantity], ...]:
        return (("traffic", self.mapping.traffic), ("users", self.mapping.users))

    def _begin(self, frame: polars.DataFrame, name: str, ends_of_days: bool = False) -> polars.Expr:
        column, kind = polars.col(name), frame.schema[name]
        if isinstance(kind, polars.Datetime):
            column = column.cast(polars.Datetime("us", kind.time_zone))
            return self._wall(column) if kind.time_zone else column
        if kind == polars.Date:
            return column.cast(polars.Datetime("us"))
        if kind.is_float():  # whole numbers of a column that had gaps once
            return self._begin(frame.select(polars.col(name).cast(polars.Int64, strict=False)), name)
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
        return self._wall(found) if is_instant(self.format) else found

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
            times = frame.select(begin.alias("t"))["t"].drop_nulls().unique()
            self.minutes = usual_gap(times)
            if not self.minutes and len(times):
                raise PeriodUnknown(_single_time(self.path))
        return polars.lit(self.minutes or None, polars.Int32)

    def _quantity(self, frame: polars.DataFrame, name: str, part: Quantity) -> polars.Expr:
        """Counters times their factors, over others; null where any of them is."""
        if not part.counters or name in self.absent:
            return polars.lit(None, polars.Float64).alias(name)
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
        column, numbers = polars.col(name), self.mapping.numbers
        if frame.schema[name] != polars.String:
            number = column.cast(polars.Float64).fill_nan(None)
            if not self.codes:
                return number
            return polars.when(number.is_in(self.codes)).then(None).otherwise(number)
        text = column.str.strip_chars()
        # In any case, and a number that stands for nothing however it is written: as where the column is of numbers.
        missing = text.is_null() | text.str.to_lowercase().is_in([each.lower() for each in numbers.missing])
        if numbers.decimal == ",":
            plain_text = text.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
            # A point is taken out of 1.234,5 but 1.5 must not become 15.
            plain_text = polars.when(text.str.contains(COMMA_NUMBER)).then(plain_text)
        else:
            plain_text = text
        number = plain_text.cast(polars.Float64, strict=False)
        if self.codes:
            missing = missing | number.is_in(self.codes).fill_null(False)
        return polars.when(missing).then(None).otherwise(number.fill_null(float("nan")))

    @staticmethod
    def _suspect(found: _Columns) -> polars.Expr:
        if not found.reliability:
            return polars.lit(False)
        text = polars.col(found.reliability).cast(polars.String).str.strip_chars().str.to_lowercase()
        return ~text.is_in(["reliable", "true", "1", "ok", ""]).fill_null(True)

    def _checked(
        self, made: polars.DataFrame, frame: polars.DataFrame, line: Numbers, ledger: Ledger
    ) -> polars.DataFrame:
        """Rows that are counts; the others are written down with their reason, the first that holds."""
        if any(made.select(check.any().alias(reason) for reason, check in CHECKS.items()).row(0)):
            masks = made.select(check.alias(reason) for reason, check in CHECKS.items())
            wrong = polars.Series(np.zeros(made.height, bool))
            for reason in CHECKS:
                fresh = masks[reason] & ~wrong
                if fresh.any():
                    self._write_down(reason, frame, fresh, line, ledger)
                    wrong = wrong | fresh
            made = made.filter(~wrong)
        ledger.taken += made.height
        ledger.note("suspect rows", int(made["suspect"].sum()), str(self.path))
        return made

    def _write_down(
        self, reason: str, frame: polars.DataFrame, mask: polars.Series, line: Numbers, ledger: Ledger
    ) -> None:
        if reason == "not a number" and self.mapping.numbers.decimal == ".":
            texts = [name for name in self.mapping.counters if frame.schema.get(name) == polars.String]
            commas = any(frame.filter(mask)[name].str.contains(r"^\s*-?\d+,\d+\s*$").any() for name in texts)
            if commas and mask.mean() > 0.5:  # type: ignore[operator]
                raise IngestError(
                    f'numbers of {self.path} have a decimal comma: write it into the mapping, [numbers] decimal = ","'
                )
        rows = mask.arg_true()
        lines = (rows + line if isinstance(line, int) else line.gather(rows)).to_list()
        where = f"{self.path.name}, line {lines[0]}" + (f" to {lines[-1]}" if len(lines) > 1 else "")
        ledger.reject_frame(reason, where, frame.filter(mask))


def _finder(pattern: str) -> Callable[[polars.Series], polars.Series]:
    """The same as polars' `extract` with Python's regular expressions, each name once."""
    regex = re.compile(pattern)

    def find(names: polars.Series) -> polars.Series:
        each = names.drop_nulls().unique()
        found = [match[1] if (match := regex.search(name)) else None for name in each]
        return names.replace_strict(each, polars.Series(found, dtype=polars.String), return_dtype=polars.String)

    return find


def _found(path: Path, names: Sequence[str], mapping: Mapping, partly: bool = False) -> _Columns:
    """The columns by the mapping, else by usual names. Raises `IngestError` without a cell or a time.

    `partly`: what there is of them.
    """
    present = {plain(name): name for name in reversed(names)}
    found = {}
    for role, usual in USUAL.items():
        given = str(getattr(mapping.columns, role))
        if given and given not in names and not partly:
            raise IngestError(f"{path} has no column {given!r} ([columns] {role}); it has {list(names)[:30]}")
        found[role] = given or next((present[each] for each in usual if each in present), "")
    for role in ("cell", "time"):
        if not found[role] and not partly:
            raise IngestError(
                f"{path} has no column of the {role} by a usual name; it has {list(names)[:30]}: name it in the "
                f"mapping, [columns] {role}"
            )
    return _Columns(**found)


def _frames(path: Path, mapping: Mapping, ledger: Ledger) -> Iterator[tuple[Numbers, polars.DataFrame]]:
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
        raise IngestError(f"{path} is damaged after row {first - 1} ({short(error)}): fetch it again") from None


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _parquet_names(path: Path) -> list[str]:
    try:
        return polars.scan_parquet(path).collect_schema().names()
    except (polars.exceptions.PolarsError, OSError) as error:
        raise IngestError(f"{path} is damaged or no Parquet file ({short(error)}): fetch it again") from None


__all__ = [
    "Overview",
    "PeriodUnknown",
    "overview",
    "overview_of",
    "read_table_counts",
    "table_counter_names",
]
