"""Where a job of a loan reads and writes, and how it gets the device for itself."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

#: Set in jobs that run beside others.
BESIDE = "FOMO_LOAN"


@dataclass(frozen=True)
class Place:
    """Where a job reads and writes, and what it runs on."""

    data: Path
    out: Path
    device: str
    name: str

    @property
    def folder(self) -> Path:
        """Of what this job writes beside its record."""
        return self.out / self.name

    def note(self, what: str, text: str) -> None:
        """Write some text beside the record."""
        (self.out / f"{self.name}-{what}.txt").write_text(text, encoding="utf-8")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While this lasts, no other job of the loan computes."""
        wish, granted = self.out / f"{self.name}.alone", self.out / f"{self.name}.granted"
        if os.environ.get(BESIDE) == "1":
            wish.touch()
            while not granted.exists():
                time.sleep(0.02)
        try:
            yield
        finally:
            wish.unlink(missing_ok=True)
