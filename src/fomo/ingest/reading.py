"""Files read one after the other, a batch ahead of the one that is worked on."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars

from fomo.ingest.ahead import ahead
from fomo.ingest.formats.forms import read_counts
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping


@dataclass(frozen=True)
class Batch:
    """Rows of a file; `key`: its hash."""

    file: Path
    key: str
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
    for file, key, fault in ahead(_hashes(files)):
        ledger = Ledger(rejects)
        if not fault and key not in seen:
            with ledger:
                try:
                    for counts in read_counts(file, mapping, ledger):
                        yield Batch(file, key, counts)
                    seen.add(key)
                except IngestError as error:
                    fault = str(error)
                except OSError as error:
                    fault = f"{file} cannot be read ({error.strerror}): check the disk and its rights"
        yield End(file, key, ledger, fault)


def _hashes(files: Sequence[Path]) -> Iterator[tuple[Path, str, str]]:
    """Each file with its hash, or what keeps it from being read."""
    for file in files:
        try:
            yield file, hash_of(file), ""
        except IngestError as error:
            yield file, "", str(error)


def hash_of(path: Path) -> str:
    """SHA-256 of a file as 64 hexadecimal digits. Raises `IngestError` for one that cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise IngestError(f"{path} cannot be read ({error.strerror}): check that it is there, and its rights") from None


__all__ = ["Batch", "End", "hash_of", "read_files"]
