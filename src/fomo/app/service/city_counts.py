"""How many rows of an operator's files a city took and did not take, and what of it the last run did."""

from __future__ import annotations

from typing import Any

import numpy as np

from fomo.ingest.this_run import ThisRun, rows_taken


def counted_lines(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Files and rows since the build; where the report has `this_run`, beside them what that run did, and its days."""
    run: ThisRun | None = report.get("this_run")
    in_part = list(report.get("files_in_part", {}).values())
    lines = [("this run", _nothing(run, report))] if run is not None and run.nothing else []
    lines += [
        ("files read", _beside(None if run is None else run.files, f"{len(report.get('files', {}))}")),
        ("rows taken", _beside(None if run is None else run.taken, f"{rows_taken(report):,}")),
    ]
    if run is not None and not run.nothing:
        lines.append(("days", "; ".join(filter(None, (_days("added", run.added), _days("rewritten", run.rewritten))))))
    lines += [("file read in part", f"{part['file']}: {part['rows']:,} rows so far") for part in in_part]
    first = report.get("first", {})
    for kind, title in (("rejected", "rows not taken"), ("noted", "rows taken and marked")):
        of_run: dict[str, int] = {} if run is None else getattr(run, kind)
        for reason, count in sorted(report.get(kind, {}).items(), key=lambda item: (-of_run.get(item[0], 0), -item[1])):
            told = _beside(None if run is None else of_run.get(reason, 0), f"{count:,} x {reason}")
            lines.append((title, told + (f", first: {first[reason]}" if first.get(reason) else "")))
    return lines


def _beside(of_run: int | None, total: str) -> str:
    """A total since the build, with what one run did; alone where that is all of it."""
    if of_run is None:
        return total
    return f"{f'{of_run:,}' if of_run else 'none'} in this run, {total} since the build"


def _days(what: str, days: tuple[np.datetime64, ...]) -> str:
    """How many days, from the first to the last; '' of none."""
    if not days:
        return ""
    return f"{len(days)} {what}, {days[0]}" + (f" to {days[-1]}" if len(days) > 1 else "")


def _nothing(run: ThisRun, report: dict[str, Any]) -> str:
    """That a run added nothing, and why."""
    if report.get("faults"):
        return "added nothing: what can be read of its files is in the city already"
    if not run.files and not run.taken:
        return "added nothing: its files were read already"
    return "added nothing: its rows are in the city already, or were not taken"


__all__ = ["counted_lines"]
