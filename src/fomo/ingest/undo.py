"""What days that are visible were before a run wrote into them: kept until its commit, and put back after a kill.

A late row changes a day that others may be reading, and that the next commit alone makes count. Without the way back, a
run that goes on would find its own rows there and take them for repeated ones. Copies lie in `.undo/N/` of the city, N
being how many commits it has had: those of another N are of a commit that came through.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from fomo.files import whole_file

UNDO = ".undo"
#: Stands for a chunk that was not there.
ABSENT = ".absent"


def keep(city: Path, commit: int, chunks: Sequence[str]) -> None:
    """Copy chunks (paths within the city) before they are written, those that are not kept since this commit."""
    for chunk in chunks:
        source, kept = city / chunk, city / UNDO / str(commit) / chunk
        absent = kept.with_name(kept.name + ABSENT)
        if kept.exists() or absent.exists():
            continue
        there = source.exists()
        with whole_file(kept if there else absent) as fresh:
            if there:
                shutil.copyfile(source, fresh)
            else:
                fresh.touch()


def put_back(city: Path, commit: int) -> None:
    """Chunks as they were at this commit; may be killed and called again."""
    folder = city / UNDO / str(commit)
    kept = [file for file in folder.rglob("*") if file.is_file() and not file.name.startswith(".")]
    for file in kept:
        chunk = city / file.relative_to(folder)
        if file.name.endswith(ABSENT):
            chunk.with_name(chunk.name.removesuffix(ABSENT)).unlink(missing_ok=True)
            file.unlink()
        else:
            file.replace(chunk)
    forget(city)


def forget(city: Path) -> None:
    """What was written holds: a commit says so."""
    shutil.rmtree(city / UNDO, ignore_errors=True)


__all__ = ["forget", "keep", "put_back"]
