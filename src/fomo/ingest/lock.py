"""One writer of a city at a time: a file in its folder says who, and is gone when they are.

    with locked(out) as remarks:
        ...

It is made with O_EXCL, so that of two who come at once one is first. What a killed run on this machine left is told by
its process being gone, and is taken away with a remark; of another machine nobody here can tell, so a person decides.
Readers need no lock: what they see is one file that a rename replaces.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fomo.ingest.ledger import IngestError

LOCK = ".lock"
#: Seconds after which a lock that says nothing is no longer just being written, but was left by a kill.
WRITTEN_BY_THEN = 5.0


@contextmanager
def locked(city: Path) -> Iterator[list[str]]:
    """Hold the city alone for the block; yields remarks on what had to be cleared away.

    Raises `IngestError` where another process writes it, or nothing can be written there.
    """
    path, remarks = city / LOCK, list[str]()
    mine = _me()
    if not _made(path, mine):
        remarks += _cleared(path, city)
        if not _made(path, mine):
            raise _held(path, city, _said(path))
    try:
        yield remarks
    finally:
        if _said(path) == mine:
            path.unlink(missing_ok=True)


def _me() -> dict[str, Any]:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "began": _began(os.getpid()), "since": since}


def _made(path: Path, who: dict[str, Any]) -> bool:
    """Make the file; False where it is there."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    except OSError as error:
        raise IngestError(
            f"{path} cannot be written ({error.strerror}): check the rights of the city's folder"
        ) from None
    try:
        os.write(handle, json.dumps(who).encode())
    finally:
        os.close(handle)
    return True


def _said(path: Path) -> dict[str, Any] | None:
    """Who holds it; None where it is gone, {} where it does not say so."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        return {}
    with suppress(ValueError):
        said = json.loads(text)
        if isinstance(said, dict) and isinstance(said.get("pid"), int):
            return said
    return {}


def _cleared(path: Path, city: Path) -> list[str]:
    """Take away a lock whose process is gone; returns the remark. Raises `IngestError` where it is held.

    A second file keeps two who find the same dead lock from taking away each other's new one.
    """
    guard = path.with_name(f"{LOCK}.clearing")
    with suppress(FileNotFoundError):
        if time.time() - guard.stat().st_mtime > WRITTEN_BY_THEN:  # it is held for a moment only
            guard.unlink()
    if not _made(guard, _me()):
        raise _held(path, city, _said(path))
    try:
        said = _said(path)
        if said is None:
            return []
        if not _is_left(path, said):
            raise _held(path, city, said)
        path.unlink(missing_ok=True)
        who = f"process {said['pid']}" if said else "a process"
        return [
            f"{who}, which is gone, had left {path}: taken away; its days are written again where they are not whole"
        ]
    finally:
        guard.unlink(missing_ok=True)


def _is_left(path: Path, said: dict[str, Any]) -> bool:
    """Whether nobody holds it any more."""
    if not said:  # killed between making and writing it
        with suppress(FileNotFoundError):
            return time.time() - path.stat().st_mtime > WRITTEN_BY_THEN
        return True
    if said.get("host") != socket.gethostname():
        return False
    pid = said["pid"]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # another user's
        pass
    began = _began(pid)
    return bool(began and said.get("began") and began != said["began"])  # its number is another's now


def _began(pid: int) -> str:
    """When a process began, as its system counts; '' where it does not tell."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    return ""


def _held(path: Path, city: Path, said: dict[str, Any] | None) -> IngestError:
    who = f"process {said['pid']} on {said.get('host')} since {said.get('since')}" if said else "another process"
    return IngestError(
        f"{city} is being written by {who}: wait until it is done and run the same command again; if no such process "
        f"runs any more, remove {path}"
    )


__all__ = ["LOCK", "locked"]
