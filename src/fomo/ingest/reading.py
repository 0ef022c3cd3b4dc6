"""Files read one after the other, a batch ahead of the one that is worked on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import polars

from fomo.ingest.formats.forms import read_counts
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping
from fomo.sources.archive import file_hash

Item = TypeVar("Item")


@dataclass(frozen=True)
class Batch:
    """Rows of a file."""

    file: Path
    counts: polars.DataFrame


@dataclass(frozen=True)
class End:
    """A file is read, or why it is not; `ledger`: what became of its rows; `key`: its hash."""

    file: Path
    key: str
    ledger: Ledger
    fault: str = ""


def read_files(
    files: Sequence[Path], mapping: Mapping, known: Collection[str], rejects: Path | None = None
) -> Iterator[Batch | End]:
    """The batches of every file and its end; of files whose hash is known, and of copies, the end alone.

    Each file has a ledger of its own: it is filled by the thread that reads, and nobody else's until the end.
    """
    seen = set(known)
    for file in files:
        key, fault = "", ""
        ledger = Ledger(rejects)
        try:
            key = hash_of(file)
        except IngestError as error:
            fault = str(error)
        if not fault and key not in seen:
            with ledger:
                try:
                    for counts in read_counts(file, mapping, ledger):
                        yield Batch(file, counts)
                    seen.add(key)
                except IngestError as error:
                    fault = str(error)
                except OSError as error:
                    fault = f"{file} cannot be read ({error.strerror}): check the disk and its rights"
        yield End(file, key, ledger, fault)


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items and errors in the same order, one made in advance by a thread of its own."""
    end = object()
    with ThreadPoolExecutor(1) as behind:
        following = behind.submit(next, items, end)
        while (item := following.result()) is not end:
            following = behind.submit(next, items, end)
            yield item  # type: ignore[misc]


def hash_of(path: Path) -> str:
    """SHA-256 of a file as 64 hexadecimal digits. Raises `IngestError` for one that cannot be read."""
    try:
        return file_hash(path)
    except OSError as error:
        raise IngestError(f"{path} cannot be read ({error.strerror}): check that it is there, and its rights") from None


__all__ = ["Batch", "End", "ahead", "hash_of", "read_files"]
