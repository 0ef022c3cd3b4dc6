"""Files and folders are written whole or not at all, and such as are trusted for being there are removed at once."""

from __future__ import annotations

import errno
import glob
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: How libraries written in Rust, such as polars, end what they say of the system's errors.
OS_ERROR = re.compile(r"\(os error (\d+)\)")
#: How polars says that the end of a Parquet file could not be written, without the reason.
NOT_WRITTEN = "Invalid thrift: transport error"
#: What a disk says that takes no more.
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
#: Seconds before what is left of a folder is removed again: threads of Zarr still write where one of them has failed.
AGAIN = (0.0, 0.1, 0.4)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A fresh path beside `path` that takes its place if the block succeeds and disappears if it fails.

    Raises `OSError` with the number and the file where a library says in words of its own what the disk said.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.part{path.suffix}")
    try:
        yield fresh
        fresh.replace(path)
    except Exception as error:
        if NOT_WRITTEN in str(error):
            _write_more(fresh, path)
        _raise_of_the_disk(error, path)
        raise
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A fresh folder beside `path` that takes its place if the block succeeds and disappears if it fails.

    The exchange with an older one is two renames: killed between them, the old one is left as the hidden folder
    `.NAME.*.old` and the new one as `.NAME.*.part`. Raises `OSError` as `whole_file` does.
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
    except BaseException as error:
        if fresh.exists():
            _remove_again(fresh)
        _raise_of_the_disk(error, path)
        raise


def remove_folder(path: Path) -> None:
    """Remove a folder, if it is there, such that nobody finds a part of it: it has another name by then.

    Killed meanwhile, the rest is left as the hidden folder `.NAME.*.gone`, for `remove_left_overs`.
    """
    gone = path.with_name(f".{path.name.lstrip('.')}.{uuid.uuid4().hex[:8]}.gone")
    with suppress(OSError):  # not there, or not to be moved: then it stays whole
        path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def remove_left_overs(path: Path) -> None:
    """What killed processes have left of folders `path` that they removed."""
    for gone in path.parent.glob(f".{glob.escape(path.name.lstrip('.'))}.*.gone"):
        shutil.rmtree(gone, ignore_errors=True)


def _raise_of_the_disk(error: BaseException, path: Path) -> None:
    """Raise what a disk that takes no more has said, with number and file, where the error does not say both."""
    if isinstance(error, OSError) and error.filename:
        return
    said = OS_ERROR.search(str(error))
    number = error.errno if isinstance(error, OSError) and error.errno else int(said[1]) if said else 0
    if number in OF_THE_DISK:
        raise OSError(number, os.strerror(number), str(path)) from error


def _write_more(fresh: Path, path: Path) -> None:
    """Write to a file that is not wanted any more, to hear of the disk itself why that failed. Raises `OSError`."""
    try:
        with fresh.open("ab") as file:
            file.write(bytes(1 << 16))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _remove_again(folder: Path) -> None:
    """Remove a folder that may still be written to for a moment."""
    for seconds in AGAIN:
        time.sleep(seconds)
        shutil.rmtree(folder, ignore_errors=True)


def usual_mode(path: Path) -> None:
    """Give a file the mode that files have here: safetensors writes its own for nobody but their owner."""
    probe = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.mode")  # to ask for the umask would change it
    try:
        probe.touch()
        path.chmod(probe.stat().st_mode & 0o777)
    finally:
        probe.unlink(missing_ok=True)


__all__ = ["remove_folder", "remove_left_overs", "usual_mode", "whole_file", "whole_folder"]
