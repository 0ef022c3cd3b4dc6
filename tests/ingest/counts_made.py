"""Tables of counts for the tests of this room."""

from __future__ import annotations

from datetime import datetime

import polars

from fomo.ingest.counts import COUNTS


def counts(rows, minutes=15):
    """(cell, 'YYYY-MM-DDTHH:MM', traffic[, users[, suspect[, second]]]) as a table of `COUNTS`."""
    full = [(*row, *(None, False, None)[len(row) - 3 :]) for row in rows]
    return polars.DataFrame(
        [(cell, datetime.fromisoformat(begin), minutes, *rest) for cell, begin, *rest in full],
        schema=COUNTS, orient="row",
    )  # fmt: skip
