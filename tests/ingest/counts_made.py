"""Tables of counts for the tests of this room."""

from __future__ import annotations

from datetime import datetime

import polars

from fomo.ingest.counts import COUNTS


def counts(rows, minutes=15):
    """(cell, 'YYYY-MM-DDTHH:MM', traffic[, users[, suspect]]) as a table of `COUNTS`."""
    full = [(*row, *(None, False)[len(row) - 3 :]) for row in rows]
    return polars.DataFrame(
        [(cell, datetime.fromisoformat(begin), minutes, traffic, users, suspect)
         for cell, begin, traffic, users, suspect in full],
        schema=COUNTS, orient="row",
    )  # fmt: skip
