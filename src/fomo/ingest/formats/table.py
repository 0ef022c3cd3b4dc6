"""Tables of counters: CSV, TSV and Parquet with a row per cell and period, Huawei's exports among them.

Columns are found by usual names or named in the mapping; each counter is a column. CSV is read in blocks of lines, so
neither a file nor what it is compressed from has to fit in memory. Huawei's second line of units is skipped, its
'Unreliable' rows are suspect.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import polars

from fomo.ingest.clock import UnknownTimes, format_of
from fomo.ingest.counts import BATCH
from fomo.ingest.formats import lines as module
from fomo.ingest.formats.lines import Lines, Origin
from fomo.ingest.formats.table_columns import USUAL, find_columns, is_parquet, parquet_names
from fomo.ingest.formats.table_numbers import numbers_of
from fomo.ingest.formats.table_rows import Rows
from fomo.ingest.formats.text_blocks import first_line as short
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping, plain

#: Bytes from which it is told how times are written, and blocks of the text at once where they do not tell it.
FIRST, SEVERAL = 64 << 10, 8


def read_table_counts(path: Path, mapping: Mapping, ledger: Ledger) -> Iterator[polars.DataFrame]:
    """Batches of `COUNTS`. Raises `IngestError`: columns that are not there, times that cannot be read, damage."""
    state = Rows(path, mapping)
    batches = _batches(state.counts(frame, origin, ledger) for origin, frame in _frames(path, mapping, ledger))
    for counts in batches:
        state.check_step(counts, ledger)
        yield counts


def _batches(parts: Iterator[polars.DataFrame]) -> Iterator[polars.DataFrame]:
    """Parts of a file put together to about `BATCH` rows; what came before an error comes before it."""
    waiting, rows = list[polars.DataFrame](), 0
    try:
        for part in parts:
            waiting, rows = [*waiting, part], rows + part.height
            if rows >= BATCH:
                yield polars.concat(waiting)
                waiting, rows = [], 0
    except IngestError:
        if rows:
            yield polars.concat(waiting)
        raise
    if waiting:
        yield polars.concat(waiting)


def table_counter_names(path: Path) -> list[str]:
    """All columns of the file but those of cell and time: what a mapping is guessed from."""
    names = parquet_names(path) if is_parquet(path) else Lines(path).names
    taken = {plain(usual) for usual in (*USUAL["cell"], *USUAL["time"])}
    return [name for name in names if plain(name) not in taken]


def table_cells(path: Path, mapping: Mapping) -> Iterator[set[str]]:
    """Cells of the file, from the column of their names alone. Raises `IngestError`."""
    lines = None if is_parquet(path) else Lines(path)
    names = parquet_names(path) if lines is None else lines.names
    columns, state = find_columns(path, names, mapping), Rows(path, mapping)
    state.check_counters(names)
    if lines is None:
        scan = polars.scan_parquet(path).select(columns.cell).unique()
        parts: Iterator[polars.DataFrame] = iter([scan.collect(engine="streaming")])
    else:
        parts = (column.to_frame() for column in lines.column(columns.cell))
    for part in parts:
        yield set(state.plain(part.unique()).select(state.cell(columns)).to_series().drop_nulls())


def _frames(path: Path, mapping: Mapping, ledger: Ledger) -> Iterator[tuple[Origin, polars.DataFrame]]:
    """Batches of raw rows, and where they are from (of a Parquet file: the number of the first row)."""
    if not is_parquet(path):
        lines = Lines(path)
        size = module.BLOCK if _tells_times(lines, mapping) else SEVERAL * module.BLOCK
        yield from lines.frames(ledger, numbers_of(mapping), size)
        return
    names = parquet_names(path)
    columns = find_columns(path, names, mapping)
    roles = (columns.cell, columns.time, columns.minutes, columns.reliability)
    wanted = [name for name in dict.fromkeys([*roles, *sorted(mapping.counters)]) if name in names]
    first = 1
    try:
        for frame in polars.scan_parquet(path).select(wanted).collect_batches(chunk_size=BATCH):
            yield Origin(first), frame
            first += frame.height
    except (polars.exceptions.PolarsError, OSError) as error:
        raise IngestError(f"{path} is damaged after row {first - 1} ({short(error)}): fetch it again") from None


def _tells_times(lines: Lines, mapping: Mapping) -> bool:
    """Whether the first of a text's lines tell how its times are written; how far they are apart must be known."""
    columns = find_columns(lines.path, lines.names, mapping, partly=True)
    if not columns.time or not (mapping.time.minutes or columns.minutes):
        return False
    with suppress(IngestError, UnknownTimes):
        for _, frame in lines.frames(Ledger(), size=FIRST):
            return bool(mapping.time.format or format_of(frame[columns.time]))
    return False


__all__ = ["read_table_counts", "table_cells", "table_counter_names"]
