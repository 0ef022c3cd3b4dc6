"""A city's files read by one process, one after the other, and made visible as they go.

A commit holds the days that were written, what became of the rows, and which files these were: their hashes, and of the
file in hand how many rows of it. A run that goes on reads that file again from its beginning, as text is understood
from its first lines, and passes over so many rows: the reader gives the same rows in the same order, so each counts
once, and what comes of it is what one run makes, bit for bit.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from fomo.ingest.ahead import ahead
from fomo.ingest.faulty import Faulty
from fomo.ingest.files import size_of
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping
from fomo.ingest.pouring import Pouring
from fomo.ingest.reading import Batch, read_files
from fomo.ingest.renamed import of_renamed
from fomo.ingest.store import CityStore

#: What was read is made visible after so many seconds, and at the end.
COMMIT_SECONDS = 10.0
#: Within a file a commit may take this part of the time: where rows go by cells, each has all days to write.
COMMIT_SHARE = 0.1
#: Hears how many bytes of how many are read, and of which file.
Progress = Callable[[int, int, str], None]


def ingest_alone(
    store: CityStore, files: Sequence[Path], rejects: Path | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Read files into the city; returns the report. One that cannot be read is written down, and the others are read.

    `rejects`: a CSV of the rows that are not taken. Raises `IngestError` where no file can be read.
    """
    mapping = Mapping.model_validate(store.report["mapping"])
    known: dict[str, str] = dict(store.report.get("files", {}))  # hash -> name
    in_part: dict[str, dict[str, Any]] = dict(store.report.get("files_in_part", {}))  # hash -> name, rows
    renamed: dict[str, list[str]] = dict(store.report.get("renamed", {}))  # hash -> cells that got another name
    ledger = Ledger(
        rejects, int(store.report.get("taken", 0)), Counter(store.report.get("rejected", {})),
        Counter(store.report.get("noted", {})), dict(store.report.get("first", {})),
    )  # fmt: skip
    pouring = Pouring(store, mapping, ledger)
    pouring.cube.unknown.update(store.report.get("cells_without_place", {}))
    faulty = Faulty(ledger, pouring.cube.unknown, store.report.get("faulty", {}))
    sizes = {file: size_of(file) for file in files}
    done, whole, rows = 0, sum(sizes.values()), 0  # rows: of the file in hand, so far
    faults = dict[str, str]()
    committed, wait = time.monotonic(), COMMIT_SECONDS

    def commit() -> None:
        pouring.flush()
        said = {**_said(ledger, pouring, known), "faults": faults, "faulty": faulty.counted}
        store.commit({**said, "files_in_part": in_part, "renamed": renamed})

    with ledger, closing(pouring):  # whatever ends it: nothing is written after the lock is given back
        for read in ahead(read_files(files, mapping, known, rejects)):
            if progress is not None:
                progress(done, whole, read.file.name)
            faulty.begin(read.file)
            if isinstance(read, Batch):
                # Rows that are there may have been corrected by other files since.
                there = max(int(in_part.get(read.key, {"rows": 0})["rows"]), faulty.rows_of(read.file, read.key))
                before = max(0, there - rows)
                rows += read.counts.height
                if before >= read.counts.height:  # an earlier run has them
                    continue
                counts = of_renamed(read.counts.slice(before), renamed.get(read.key), ledger)
                fault = pouring.try_to_add(counts, read.file.name) if counts.height else ""
                if fault:
                    faults.setdefault(str(read.file), fault)
                in_part[read.key] = {"file": read.file.name, "rows": rows}
                if str(read.file) in faults:  # it is read again as a whole
                    continue
            else:
                ledger.absorb(read.ledger)
                in_part.pop(read.key, None)
                # Of a file that was refused some rows may be there: it is poured again.
                poured, rows = (rows if read.fault and str(read.file) not in faults else 0), 0
                if read.fault:
                    faults.setdefault(str(read.file), read.fault)
                elif str(read.file) not in faults:
                    known.setdefault(read.key, read.file.name)
                    renamed.pop(read.key, None)
                faulty.end(read.key, faults.get(str(read.file), ""), poured)
                done += sizes[read.file]
            began = time.monotonic()
            if began - committed > (wait if isinstance(read, Batch) else COMMIT_SECONDS):
                commit()
                committed = time.monotonic()
                wait = max(COMMIT_SECONDS, (committed - began) / COMMIT_SHARE)
        commit()
    shutil.rmtree(store.path / ".parts", ignore_errors=True)  # of several processes that were killed
    if progress is not None:
        progress(done, whole, "")
    if len(faults) == len(files):
        raise IngestError(f"none of {len(files)} files can be read; the first: {next(iter(faults.values()))}")
    return store.report


def _said(ledger: Ledger, pouring: Pouring, known: dict[str, str]) -> dict[str, Any]:
    worst = sorted(pouring.cube.unknown.items(), key=lambda item: -item[1])
    return {
        "files": known, "taken": ledger.taken, "rejected": dict(ledger.rejected), "noted": dict(ledger.noted),
        "first": ledger.first, "cells_without_place": dict(worst[:100]),
    }  # fmt: skip


__all__ = ["COMMIT_SECONDS", "Progress", "ingest_alone"]
