"""The report of a build as lines: every entry with the path to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import xarray as xr

from fomo.city import CityError

#: What the build counted, or its JSON.
Report = Mapping[str, Any] | str


def report_entries(report: Report | None, cells: xr.Dataset | None) -> list[tuple[str, str]]:
    """Every entry of a report, else of the one that the cells bring: 'key › key' and its text.

    Raises `CityError` for a text that is no JSON.
    """
    if report is None and cells is not None:
        report = cells.attrs.get("report")
    if report is None:
        return []
    if isinstance(report, str):
        try:
            report = json.loads(report)
        except json.JSONDecodeError as error:
            raise CityError(f"the report is no JSON ({error}): pass what the build wrote") from None
    found: list[tuple[str, str]] = []
    waiting: list[tuple[str, Any]] = [("", report)]
    while waiting:  # not recursive: a report may be nested as deep as it likes
        key, value = waiting.pop()
        parts = _parts(value)
        if parts:
            waiting += [(f"{key} › {name}" if key else name, part) for name, part in reversed(parts)]
        else:
            found.append((key or "report", _text(value)))
    return found


def _parts(value: object) -> list[tuple[str, Any]]:
    """What becomes entries of its own: of a mapping, and of a list that holds others."""
    if isinstance(value, Mapping):
        return [(str(name), part) for name, part in value.items()]
    if _is_list(value) and any(isinstance(part, Mapping) or _is_list(part) for part in value):
        return [(str(number), part) for number, part in enumerate(value, 1)]
    return []


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _text(value: object) -> str:
    """Of an entry; an empty text is said."""
    if _is_list(value) and value:
        return ", ".join(map(_text, value))
    return "none" if value is None else str(value) or "(empty)"


__all__ = ["Report", "report_entries"]
