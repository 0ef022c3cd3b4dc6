"""Which columns of a table say what: named in the mapping, or found by usual names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars

from fomo.ingest.formats.text_blocks import first_line as short
from fomo.ingest.ledger import IngestError
from fomo.ingest.mapping import Mapping, plain

#: Usual names of columns, as `plain` writes them; first ones preferred.
USUAL: dict[str, tuple[str, ...]] = {
    "cell": ("cell", "cellname", "cellid", "objectname", "eutrancellid", "nrcellid", "eutrancell", "nrcelldu", "ci"),
    "time": ("time", "begin", "resulttime", "timestamp", "datetime", "starttime", "begintime", "periodstarttime"),
    "minutes": ("minutes", "granularityperiod", "granularity", "gp", "interval"),
    "reliability": ("reliability",),
}


@dataclass(frozen=True)
class Columns:
    """What the columns of a file are called; '' where there is none."""

    cell: str
    time: str
    minutes: str
    reliability: str


def find_columns(path: Path, names: Sequence[str], mapping: Mapping, partly: bool = False) -> Columns:
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
    return Columns(**found)


def is_parquet(path: Path) -> bool:
    """Whether the file is Parquet, by its first bytes."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def parquet_names(path: Path) -> list[str]:
    """Columns of a Parquet file. Raises `IngestError` for a damaged one."""
    try:
        return polars.scan_parquet(path).collect_schema().names()
    except (polars.exceptions.PolarsError, OSError) as error:
        raise IngestError(f"{path} is damaged or no Parquet file ({short(error)}): fetch it again") from None


__all__ = ["USUAL", "Columns", "find_columns", "is_parquet", "parquet_names"]
