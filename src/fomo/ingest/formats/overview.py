"""What a table holds, before it is read: its times, how long its periods are, its cells."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import polars

from fomo.city import EARLIEST, LATEST
from fomo.ingest.clock import usual_gap
from fomo.ingest.counts import COUNTS
from fomo.ingest.formats.lines import Lines
from fomo.ingest.formats.table_columns import Columns, find_columns, is_parquet, parquet_names
from fomo.ingest.formats.table_numbers import numbers_of
from fomo.ingest.formats.table_rows import PeriodUnknown, Rows, single_time
from fomo.ingest.formats.text_blocks import first_line as short
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping

#: Bytes of a CSV that an overview is taken from.
FIRST_LINES = 4 << 20
#: Rows of a Parquet file that tell after how many rows it comes back to its first cell, or its first time.
HEAD = 1 << 18


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
    lines = None if is_parquet(path) else Lines(path)
    names = parquet_names(path) if lines is None else lines.names
    columns = find_columns(path, names, mapping)
    given = given or bool(columns.minutes)
    state = Rows(path, mapping if given else bare)
    state.check_counters(names)
    view = _parquet_view(path, state, columns) if lines is None else _text_view(lines, state, columns, ledger)
    if given or not view.height:
        return replace(overview_of(view), lacks=state.absent)
    minutes = usual_gap(view["begin"])
    if not minutes:
        raise PeriodUnknown(single_time(path))
    moved = view["begin"] - timedelta(minutes=minutes if mapping.time.marks == "end" else 0)
    known = overview_of(view.with_columns(moved, minutes=polars.lit(minutes, polars.Int32)))
    return replace(known, lacks=state.absent)


def _parquet_view(path: Path, state: Rows, columns: Columns) -> polars.DataFrame:
    """Each time, and each cell, of a Parquet file; null in a row where there is no more of the other."""
    names = [columns.time, *([columns.minutes] if columns.minutes else [])]
    scan = polars.scan_parquet(path)
    try:
        head = scan.select(list(dict.fromkeys([*names, columns.cell]))).head(HEAD).collect()
        times = _distinct(scan, names, head).sort(columns.time)
        cells = _distinct(scan, [columns.cell], head)
    except (polars.exceptions.PolarsError, OSError) as error:
        raise IngestError(f"{path} is damaged ({short(error)}): fetch it again") from None
    named = state.plain(cells).select(state.cell(columns).alias("cell")).unique()
    return polars.concat([state.times(times, columns), named], how="diagonal")


def _distinct(scan: polars.LazyFrame, names: list[str], head: polars.DataFrame) -> polars.DataFrame:
    """Rows of some columns, each once, in any order.

    Tables name their cells anew at every time, or their times at every cell. A row that equals the one a fixed distance
    before it has been there, whatever the distance: what is left is few, and only that is looked up among the others.
    """
    first = head.select(names).head(1)
    again = head.select(polars.all_horizontal(polars.col(name) == first[name] for name in names)).to_series().arg_true()
    wanted = polars.col(names)
    if len(again) > 1:
        distance = int(again[1])
        # A null is equal to nothing, and before the first row there is none: both stay.
        other = [(polars.col(name) != polars.col(name).shift(distance)).fill_null(True) for name in names]
        wanted = wanted.filter(polars.any_horizontal(other))
    return scan.select(wanted).unique().collect(engine="streaming")


def _text_view(lines: Lines, state: Rows, columns: Columns, ledger: Ledger) -> polars.DataFrame:
    """Each cell and time of a text's first lines where they go by time, of all its lines where they do not.

    A table in the order of its cells has few of them in its first lines; one whose last day comes first begins with it.
    """
    parts = list[polars.DataFrame]()
    frames = lines.frames(ledger, numbers_of(state.mapping), FIRST_LINES)
    try:
        for origin, frame in frames:
            if parts:
                parts.append(state.places(frame, columns).unique())
                if not len(parts) % 16:
                    parts = [polars.concat(parts).unique()]
                continue
            counts = state.counts(frame, origin, ledger)
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


__all__ = ["Overview", "overview", "overview_of"]
