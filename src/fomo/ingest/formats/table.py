"""Tables of counters: CSV, TSV and Parquet with a row per cell and period, Huawei's exports among them.

Columns are found by usual names or named in the mapping; each counter is a column. CSV is read in blocks of lines, so
neither a file nor what it is compressed from has to fit in memory. Huawei's second line of units is skipped, its
'Unreliable' rows are suspect.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars

from fomo.ingest.counts import BATCH
from fomo.ingest.formats.lines import Lines, Numbers
from fomo.ingest.formats.lines import first_line as short
from fomo.ingest.formats.table_columns import USUAL, find_columns, is_parquet, parquet_names
from fomo.ingest.formats.table_rows import Rows
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping, plain


def read_table_counts(path: Path, mapping: Mapping, ledger: Ledger) -> Iterator[polars.DataFrame]:
    """Batches of `COUNTS`. Raises `IngestError`: columns that are not there, times that cannot be read, damage."""
    state = Rows(path, mapping)
    for number, (line, frame) in enumerate(_frames(path, mapping, ledger)):
        counts = state.counts(frame, line, ledger)
        if not number:
            state.check_step(counts)
        yield counts


def table_counter_names(path: Path) -> list[str]:
    """All columns of the file but those of cell and time: what a mapping is guessed from."""
    names = parquet_names(path) if is_parquet(path) else Lines(path).names
    taken = {plain(usual) for usual in (*USUAL["cell"], *USUAL["time"])}
    return [name for name in names if plain(name) not in taken]


def _frames(path: Path, mapping: Mapping, ledger: Ledger) -> Iterator[tuple[Numbers, polars.DataFrame]]:
    """Batches of raw rows, and the number of the first one's line (of a Parquet file: row)."""
    if not is_parquet(path):
        yield from Lines(path).frames(ledger, mapping.counters if mapping.numbers.decimal == "." else ())
        return
    names = parquet_names(path)
    columns = find_columns(path, names, mapping)
    roles = (columns.cell, columns.time, columns.minutes, columns.reliability)
    wanted = [name for name in dict.fromkeys([*roles, *sorted(mapping.counters)]) if name in names]
    first = 1
    try:
        for frame in polars.scan_parquet(path).select(wanted).collect_batches(chunk_size=BATCH):
            yield first, frame
            first += frame.height
    except (polars.exceptions.PolarsError, OSError) as error:
        raise IngestError(f"{path} is damaged after row {first - 1} ({short(error)}): fetch it again") from None


__all__ = ["read_table_counts", "table_counter_names"]
