"""What a run has added to a city: the difference of its report before and after, and the days that were written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fomo.ingest.cube import REPEATED


@dataclass(frozen=True)
class ThisRun:
    """What one run added to a city that was there before it."""

    files: int  # that were read to their end
    taken: int  # rows
    rejected: dict[str, int]  # reason -> rows
    noted: dict[str, int]  # what is taken and marked -> rows
    added: tuple[np.datetime64, ...]  # days, in their order
    rewritten: tuple[np.datetime64, ...]  # also where rows only repeat what was there

    @property
    def nothing(self) -> bool:
        """Whether the city is as it was: all rows that were taken say what it knew."""
        return not self.added and self.taken <= self.noted.get(REPEATED, 0)


def this_run(
    before: dict[str, Any], after: dict[str, Any], written: Collection[np.datetime64], first_new: np.datetime64
) -> ThisRun | None:
    """What has come between two reports of a city; None where it had read nothing before.

    `written`: days that the run has written; from `first_new` on they were not there before.
    """
    if not (before.get("files") or rows_taken(before)):
        return None
    faulty = after.get("faulty", {})
    # What was counted of a file that could not be read to its end is taken back when it is read again.
    again = [each for file, each in before.get("faulty", {}).items() if faulty.get(file) != each]
    days = sorted(written)
    return ThisRun(
        files=len(after.get("files", {})) - len(before.get("files", {})),
        taken=rows_taken(after) - rows_taken(before) + sum(each["taken"] for each in again),
        rejected=_more("rejected", before, after, again),
        noted=_more("noted", before, after, again),
        added=tuple(day for day in days if day >= first_new),
        rewritten=tuple(day for day in days if day < first_new),
    )


def rows_taken(report: dict[str, Any]) -> int:
    """All rows that a city has taken: those of a file are counted by the report when it ends, and before beside it."""
    return int(report.get("taken", 0)) + sum(part["rows"] for part in report.get("files_in_part", {}).values())


def _more(kind: str, before: dict[str, Any], after: dict[str, Any], again: Sequence[dict[str, Any]]) -> dict[str, int]:
    found = Counter[str](after.get(kind, {}))
    found.subtract(before.get(kind, {}))
    for each in again:
        found.update(each[kind])
    return {what: rows for what, rows in found.items() if rows}


__all__ = ["ThisRun", "rows_taken", "this_run"]
