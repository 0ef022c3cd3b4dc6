"""Files that could not be read to their end: their rows count once, however often they are tried, and once repaired."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from fomo.ingest.ledger import Ledger

#: Of a file: its hash (key), how many rows of it are in the city, and what was counted of it (taken, rejected, noted).
Counted = dict[str, Any]


class Faulty:
    """What the ledger holds of each file with a fault. Between `begin` and `end` it counts one file's rows."""

    def __init__(self, ledger: Ledger, unknown: dict[str, int], counted: dict[str, Counted]) -> None:
        """`unknown`: rows of cells without a place, by their names; `counted`: by the files' paths."""
        self.ledger, self.unknown, self.counted = ledger, unknown, dict(counted)
        self._file: Path | None = None
        self._before: Counted | None = None  # of the file in hand: what it had added when it was tried before

    def begin(self, file: Path) -> None:
        """A file is read from now on, unless it is the one in hand: what it has added before is taken back."""
        if file == self._file:
            return
        self._file = file
        self._before = self.counted.pop(str(file.resolve()), None)
        if self._before is not None:
            self._mark, self._unknown = _counts(self.ledger), dict(self.unknown)
            _restore(self.ledger, _less(self._mark, self._before))
        self._since = _counts(self.ledger)

    def end(self, key: str, fault: str, rows: int = 0) -> None:
        """It is read, or has a fault; one that had it before, with the same content (`key`), has added nothing now.

        `rows`: so many of its first are in the city.
        """
        assert self._file is not None
        path, self._file = str(self._file.resolve()), None
        if not fault:
            return
        if self._before is not None and self._before["key"] == key:
            _restore(self.ledger, self._mark)
            self.unknown.clear()
            self.unknown.update(self._unknown)
            self.counted[path] = {**self._before, "rows": max(rows, self._before.get("rows", 0))}
        else:
            self.counted[path] = {"key": key, "rows": rows, **_less(_counts(self.ledger), self._since)}

    def has(self, file: Path, key: str) -> bool:
        """Whether a file of this content has had a fault, and what could be read of it is in the city."""
        return self._of(file, key) is not None

    def rows_of(self, file: Path, key: str) -> int:
        """How many of the first rows of a file of this content are in the city."""
        return int((self._of(file, key) or {}).get("rows", 0))

    def _of(self, file: Path, key: str) -> Counted | None:
        counted = self._before if file == self._file else self.counted.get(str(file.resolve()))
        return counted if counted is not None and counted["key"] == key else None


def _counts(ledger: Ledger) -> Counted:
    return {"taken": ledger.taken, "rejected": dict(ledger.rejected), "noted": dict(ledger.noted)}


def _less(counts: Counted, others: Counted) -> Counted:
    kinds: dict[str, Counter[str]] = {kind: Counter(counts[kind]) for kind in ("rejected", "noted")}
    for kind, some in kinds.items():
        some.subtract(others[kind])
    rest = {kind: {what: rows for what, rows in some.items() if rows} for kind, some in kinds.items()}
    return {"taken": counts["taken"] - others["taken"], **rest}


def _restore(ledger: Ledger, counts: Counted) -> None:
    ledger.taken, ledger.rejected, ledger.noted = counts["taken"], Counter(counts["rejected"]), Counter(counts["noted"])


__all__ = ["Faulty"]
