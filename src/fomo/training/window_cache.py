"""Cities' arrays in files that all processes of a machine map into memory, so that one copy serves them all.

A file is named by the SHA-256 of what it holds, so it is never out of date and the folder can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from fomo.files import whole_file
from fomo.processes import ProcessError
from fomo.windows.laid import Keep


def cache_folder() -> Path:
    """`windows` below FOMO_CACHE, else below the user's cache folder (XDG_CACHE_HOME)."""
    named = os.environ.get("FOMO_CACHE")
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fomo"
    return (Path(named) if named else user) / "windows"


def kept_in(folder: Path) -> Keep:
    """A way to keep arrays: the same numbers, mapped read only from a file of `folder`.

    It raises `ProcessError` where the folder cannot be written.
    """

    def keep(array: np.ndarray) -> np.ndarray:
        array = np.ascontiguousarray(array)
        kind = f"{array.dtype.str} {array.shape} ".encode()
        path = folder / f"{hashlib.sha256(kind + array.tobytes()).hexdigest()[:32]}.npy"
        found = _mapped(path, array)
        if found is not None:
            return found
        try:
            with whole_file(path) as fresh:
                np.save(fresh, array)
        except OSError as error:
            raise ProcessError(
                f"the cache of windows {folder} cannot be written ({error}): free {array.nbytes / 1e6:.0f} MB there, "
                "or name another folder with FOMO_CACHE"
            ) from None
        found = _mapped(path, array)
        if found is None:
            raise ProcessError(f"{path} does not hold what was written: name another folder with FOMO_CACHE")
        return found

    return keep


def _mapped(path: Path, array: np.ndarray) -> np.ndarray | None:
    """The file as an array; None where it is not there, or does not hold these numbers."""
    try:
        found = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError):
        return None
    same = found.dtype == array.dtype and found.shape == array.shape
    return found if same and np.array_equal(found.view(np.uint8), array.view(np.uint8)) else None


__all__ = ["cache_folder", "kept_in"]
