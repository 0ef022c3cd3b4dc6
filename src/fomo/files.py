"""Files and folders are written whole or not at all."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A fresh path beside `path` that takes its place if the block succeeds and disappears if it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.part{path.suffix}")
    try:
        yield fresh
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A fresh folder beside `path` that takes its place if the block succeeds and disappears if it fails.

    The exchange with an older one is two renames: killed between them, the old one is left as the hidden folder
    `.NAME.*.old` and the new one as `.NAME.*.part`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = (path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.{ending}") for ending in ("part", "old"))
    try:
        yield fresh
        if path.exists():
            path.rename(old)
            fresh.rename(path)
            shutil.rmtree(old)
        else:
            fresh.rename(path)
    finally:
        if fresh.exists():
            shutil.rmtree(fresh)


def usual_mode(path: Path) -> None:
    """Give a file the mode that files have here: safetensors writes its own for nobody but their owner."""
    probe = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.mode")  # to ask for the umask would change it
    try:
        probe.touch()
        path.chmod(probe.stat().st_mode & 0o777)
    finally:
        probe.unlink(missing_ok=True)


__all__ = ["usual_mode", "whole_file", "whole_folder"]
