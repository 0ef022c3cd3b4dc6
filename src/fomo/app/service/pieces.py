"""A piece of a forecast on disk; beside it what it answers and the hashes of its files, which tell whether it is whole.

The record is written last. A piece of which a file is gone or changed, as a killed `rm` or a copy that broke off leaves
it, is none: Zarr would read what is missing as a number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from fomo.files import whole_file, whole_folder


def save_array(values: Float[np.ndarray, "sample time y x"], path: Path) -> None:
    """Write an array as Zarr v3, whole or not at all; what is not there reads as NaN."""
    import zarr

    with whole_folder(path) as fresh:
        array = zarr.create_array(str(fresh), shape=values.shape, dtype=values.dtype, fill_value=np.nan)
        array[:] = values


def record_of(path: Path) -> Path:
    """Where it is said what a piece answers, and which files it has."""
    return path.with_suffix(".json")


def vouch(path: Path, facts: Mapping[str, Any]) -> None:
    """That the piece is whole, and answers this."""
    files = {str(file.relative_to(path)): _hash(file) for file in sorted(path.rglob("*")) if file.is_file()}
    with whole_file(record_of(path)) as fresh:
        fresh.write_text(json.dumps({"facts": facts, "files": files}, indent=1) + "\n", encoding="utf-8")


def facts_of(path: Path) -> dict[str, Any]:
    """What a piece answers; nothing where that is not known."""
    return _read(path).get("facts", {})


def is_whole(path: Path) -> bool:
    """Whether all files of a piece are as they were written."""
    files: dict[str, str] = _read(path).get("files", {})
    if not files or not all((path / name).is_file() for name in files):
        return False
    try:
        return all(_hash(path / name) == digest for name, digest in files.items())
    except FileNotFoundError:  # the first process has joined it meanwhile
        return False


class Watch:
    """Which pieces are whole, of pieces that others write: each is read once for every time that it was vouched for."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._known: dict[Path, tuple[int, bool]] = {}

    def is_whole(self, path: Path) -> bool:
        """Whether a piece is there, and whole."""
        try:
            written = record_of(path).stat().st_mtime_ns
        except FileNotFoundError:
            return False
        if self._known.get(path, (0, False))[0] != written:
            self._known[path] = written, is_whole(path)
        return self._known[path][1]


def _read(path: Path) -> dict[str, Any]:
    """The record of a piece; nothing where there is none, or a damaged one."""
    record = record_of(path)
    try:
        found = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


__all__ = ["Watch", "facts_of", "is_whole", "record_of", "save_array", "vouch"]
