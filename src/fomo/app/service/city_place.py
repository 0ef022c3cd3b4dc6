"""Where the forecast of one city of many goes, and what is remembered beside it: what it answers, or why there is none.

Processes that share cities see by this what has become of those of the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fomo.app.service.parts import folder_of, key_of
from fomo.files import whole_file

#: All that a forecast depends on.
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class CityPlace:
    """A city of a file, by its number there, and where its forecast goes."""

    file: Path
    index: int
    name: str
    grid: tuple[int, int]
    out: Path

    @property
    def record(self) -> Path:
        """What the forecast that lies there was asked, and when it was written."""
        return self.out.with_name(f".{self.out.name}.asked.json")

    @property
    def fault_record(self) -> Path:
        """What was asked that could not be forecast, and why."""
        return self.out.with_name(f".{self.out.name}.fault.json")

    def remember(self, facts: Facts) -> None:
        """That the forecast is there."""
        with whole_file(self.record) as fresh:
            fresh.write_text(json.dumps(self._said(facts)) + "\n", encoding="utf-8")
        self.fault_record.unlink(missing_ok=True)

    def is_there(self, facts: Facts) -> bool:
        """Whether the forecast that lies there answers this question, and nobody has written another one since."""
        return (self.out / "zarr.json").exists() and _read(self.record) == self._said(facts)

    def remember_fault(self, facts: Facts, fault: str) -> None:
        """That there is no forecast."""
        with whole_file(self.fault_record) as fresh:
            fresh.write_text(json.dumps({"key": key_of(facts), "fault": fault}) + "\n", encoding="utf-8")

    def fault(self, facts: Facts) -> str | None:
        """Why there is no answer to this question; None where that is not known."""
        found = _read(self.fault_record)
        return str(found["fault"]) if found.get("key") == key_of(facts) and "fault" in found else None

    def signs(self) -> int:
        """Of work on the forecast: its pieces that are there."""
        return sum(1 for _ in folder_of(self.out).glob("*"))

    def _said(self, facts: Facts) -> dict[str, Any]:
        return {"key": key_of(facts), "written_ns": (self.out / "zarr.json").stat().st_mtime_ns}


def _read(path: Path) -> dict[str, Any]:
    """What is remembered; nothing where there is no file, or an empty or a damaged one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


__all__ = ["CityPlace", "Facts"]
