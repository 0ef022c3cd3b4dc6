"""Which cells of a site list report: those that a first look at the files has not met are looked for in all of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path

from fomo.ingest.files import size_of
from fomo.ingest.formats.forms import cells_in
from fomo.ingest.ledger import IngestError
from fomo.ingest.mapping import Mapping

#: A time in a file's name, as of TS 32.432: A20240506.0000+0200-0015+0200_NODE.xml.
_DATE, _HOUR = r"(19|20)\d\d-?\d\d-?\d\d", r"\d{4}(\d\d)?([+-]\d{4}|Z)?"
_TIME = re.compile(f"{_DATE}([T._-]?{_HOUR})?(-({_DATE}[T._-]?)?{_HOUR})?")


def cells_that_report(
    listed: Collection[str],
    seen: Collection[str],
    files: Sequence[Path],
    mapping: Mapping,
    progress: Callable[[int, int, str], None] | None = None,
) -> set[str]:
    """The cells of the list that are in any of the files; `seen`: cells of which that is known.

    Files are looked at until all cells are met, so the whole of them only where one is in none. What cannot be read of
    a file is said when it is read. `progress` hears how many bytes of how many were looked at, and of which file.
    """
    sought = set(listed).difference(seen)
    done, whole = 0, sum(map(size_of, files)) if sought else 0
    for file in each_source_first(files) if sought else ():
        if progress is not None:
            progress(done, whole, f"cells of {file.name}")
        with suppress(IngestError, OSError):
            for cells in cells_in(file, mapping):
                sought -= cells
                if not sought:
                    return set(listed)
        done += size_of(file)
    return set(listed) - sought


def each_source_first(files: Sequence[Path]) -> list[Path]:
    """A file of each network element first, by names without their times: most cells are met in these."""
    first = first_of_sources(files)
    chosen = set(first)
    return [*first, *(file for file in files if file not in chosen)]


def first_of_sources(files: Sequence[Path]) -> list[Path]:
    """The first file of each network element, by names without their times."""
    first = dict[str, Path]()
    for file in files:
        first.setdefault(_TIME.sub("", str(file)), file)
    return list(first.values())


def time_in_name(file: Path) -> str:
    """The digits of the first time in a file's name, to sort by; those without come last."""
    found = _TIME.search(file.name)
    return re.sub(r"\D", "", found[0]) if found else "~"


__all__ = ["cells_that_report", "each_source_first", "first_of_sources", "time_in_name"]
