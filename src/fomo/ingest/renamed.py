"""Files that are read again as another name of a cell was told after them: rows of the other cells are in the city.

They may have been corrected by later files since, so they are not poured once more.
"""

from __future__ import annotations

from collections.abc import Collection

import polars

from fomo.ingest.ledger import Ledger


def of_renamed(counts: polars.DataFrame, cells: Collection[str] | None, ledger: Ledger) -> polars.DataFrame:
    """The rows of these cells, all where None; the others have been counted as taken before, and are so once."""
    if cells is None:
        return counts
    found = counts.filter(polars.col("cell").is_in(list(cells)))
    ledger.taken -= counts.height - found.height
    return found


__all__ = ["of_renamed"]
