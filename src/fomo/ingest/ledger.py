"""What was not taken, and why: every rejected row is counted, and can be written out."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TextIO

import polars

#: The first line of a file of rejected rows.
HEADER = ("reason", "where", "row")


class IngestError(ValueError):
    """Operator files that cannot become a city. The message names the file, the place and the remedy."""


@dataclass
class Ledger:
    """Counts rows by what became of them. `path`: a CSV that every rejected row is written to, if wanted.

    Nothing is dropped without a line here: `taken` plus all of `rejected` is what was read.
    """

    path: Path | None = None
    taken: int = 0
    rejected: Counter[str] = field(default_factory=Counter)  # reason -> rows
    noted: Counter[str] = field(default_factory=Counter)  # what is taken and marked: duplicates, suspects, resets ...
    first: dict[str, str] = field(default_factory=dict)  # reason -> where it came up first, and the row
    offset_in: str = ""  # the first file whose times have an offset where no zone says whose clock the city has
    _file: TextIO | None = None

    def reject(self, reason: str, where: str, rows: list[str]) -> None:
        """Rows (as text) of `where` (file, or file and line) that are not taken."""
        if not rows:
            return
        self.rejected[reason] += len(rows)
        self.first.setdefault(reason, f"{where}: {rows[0][:200]}")
        if self._file is not None:
            self._write((reason, where, row) for row in rows)

    def reject_frame(self, reason: str, where: str, frame: polars.DataFrame) -> None:
        """The same for rows of a table; only what is written out becomes text."""
        if not frame.height:
            return
        shown = frame if self._file is not None else frame.head(1)
        text = shown.select(polars.concat_str(polars.all().cast(polars.String).fill_null(""), separator=";"))
        rows = text.to_series().to_list()
        self.reject(reason, where, rows)
        self.rejected[reason] += frame.height - len(rows)

    def note(self, what: str, rows: int, where: str = "") -> None:
        """Rows that are taken but marked."""
        if rows:
            self.noted[what] += rows
            self.first.setdefault(what, where)

    def absorb(self, other: Ledger) -> None:
        """Count in what another ledger has counted, of rows that were read beside this one's."""
        self.taken += other.taken
        self.rejected.update(other.rejected)
        self.noted.update(other.noted)
        for what, where in other.first.items():
            self.first.setdefault(what, where)

    def _write(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """At once, in whole lines: ledgers of other threads write to the same file."""
        assert self._file is not None
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        self._file.write(text.getvalue())
        self._file.flush()

    def __enter__(self) -> Ledger:
        """Open the file of rejected rows, if there is to be one; an older one is added to.

        Raises `IngestError` where another file is there, such as the counters themselves.
        """
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh = check_rejects(self.path)
            self._file = self.path.open("a", newline="", encoding="utf-8")
            if fresh:
                self._write([HEADER])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        if self._file is not None:
            self._file.close()
            self._file = None


def check_rejects(path: Path) -> bool:
    """Whether a file of rejected rows begins here, or goes on. Raises `IngestError` where another file is there."""
    fresh = not path.exists() or not path.stat().st_size
    if not fresh and not _holds_rejects(path):
        raise IngestError(f"{path} exists and holds no rejected rows, which would be added to it: name another file")
    return fresh


def _holds_rejects(path: Path) -> bool:
    """Whether a file begins as a ledger does."""
    with path.open("rb") as file:
        return file.readline(100).strip() == ",".join(HEADER).encode()


__all__ = ["IngestError", "Ledger", "check_rejects"]
