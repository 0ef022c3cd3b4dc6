"""The table that every counter file becomes: one row per cell and granularity period.

    cell     String        the operator's own name
    begin    Datetime[us]  beginning of the period, wall clock of the operator's zone
    minutes  Int32         granularity period
    traffic  Float64       in the mapping's unit; null = not reported
    users    Float64       mean users in the period; null = not reported
    suspect  Boolean       the file itself says that the values may be wrong
    second   Boolean       of an hour that the clock shows twice the second; null = the file does not say which one

Files are read in batches of such tables, so that none has to fit in memory. A row that cannot be one goes to the
`Ledger`, never away.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import polars

if TYPE_CHECKING:
    from fomo.ingest.ledger import Ledger
    from fomo.ingest.mapping import Mapping

#: Columns of the table, in this order.
COUNTS: dict[str, polars.DataType] = {
    "cell": polars.String(),
    "begin": polars.Datetime("us"),
    "minutes": polars.Int32(),
    "traffic": polars.Float64(),
    "users": polars.Float64(),
    "suspect": polars.Boolean(),
    "second": polars.Boolean(),
}
#: Rows of a batch, about.
BATCH = 1_000_000


class Reader(Protocol):
    """One form of counter files."""

    def __call__(self, path: Path, mapping: Mapping, ledger: Ledger) -> Iterator[polars.DataFrame]:
        """Batches of `COUNTS`. Raises `IngestError` where the file is none of this form or cannot be read further."""
        ...


def empty_counts() -> polars.DataFrame:
    """No rows."""
    return polars.DataFrame(schema=COUNTS)


__all__ = ["BATCH", "COUNTS", "Reader", "empty_counts"]
