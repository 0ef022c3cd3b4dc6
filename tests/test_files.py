"""Files and folders are there whole, or as they were."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl
import pytest

from fomo.app.errors import one_line
from fomo.files import remove_folder, remove_left_overs, usual_mode, whole_file, whole_folder


@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_what_fails_leaves_the_older_one_and_nothing_else(tmp_path, whole):
    def fill(fresh, text):
        if whole is whole_folder:
            fresh.mkdir()
        (fresh / "inside" if whole is whole_folder else fresh).write_text(text)

    def text():
        return (path / "inside" if whole is whole_folder else path).read_text()

    path = tmp_path / "below" / "it.zarr"
    with whole(path) as fresh:
        fill(fresh, "first")
        assert not path.exists()
    with pytest.raises(RuntimeError, match="half"), whole(path) as fresh:
        fill(fresh, "half")
        raise RuntimeError("half")
    assert text() == "first" and [each.name for each in path.parent.iterdir()] == ["it.zarr"]
    with whole(path) as fresh:
        fill(fresh, "second")
    assert text() == "second" and [each.name for each in path.parent.iterdir()] == ["it.zarr"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_file_of_a_library_gets_the_mode_that_files_have_here(tmp_path, umask, mode):
    path, before = tmp_path / "weights", os.umask(umask)
    try:
        path.touch(0o600)
        usual_mode(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_threads_still_write_into_is_removed_all_the_same(tmp_path: Path) -> None:
    """Zarr writes chunks side by side: on a full disk one fails, and others came back after all was removed."""
    path = tmp_path / "it.zarr"

    def late(fresh: Path) -> None:
        time.sleep(0.05)
        (fresh / "c").mkdir(parents=True, exist_ok=True)

    with pytest.raises(OSError) as raised, whole_folder(path) as fresh:
        fresh.mkdir()
        writer = threading.Thread(target=late, args=(fresh,))
        writer.start()
        raise OSError(28, "No space left on device")
    writer.join()
    assert one_line(raised.value) == f"No space left on device: {path}; make room and run the same command again"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize(("rows", "columns"), [(100_000, 1), (1, 60)])  # the end of few rows fails in other words
def test_what_polars_says_in_words_of_a_full_disk_is_an_error_of_the_disk_with_the_file(
    tmp_path: Path, suffix: str, rows: int, columns: int
) -> None:
    frame = pl.DataFrame({f"column {number}": range(rows) for number in range(columns)})
    path = tmp_path / f"it{suffix}"
    with pytest.raises(OSError) as raised, whole_file(path) as fresh:
        fresh.symlink_to("/dev/full")
        getattr(frame, "write_parquet" if suffix == ".parquet" else "write_csv")(fresh)
    assert one_line(raised.value) == f"No space left on device: {path}; make room and run the same command again"
    assert list(tmp_path.iterdir()) == []


def test_other_errors_stay_as_they_are(tmp_path: Path) -> None:
    for error in (ValueError("no"), pl.exceptions.ComputeError("no"), FileNotFoundError(2, "no", "other.csv")):
        with pytest.raises(type(error)) as raised, whole_file(tmp_path / "it.csv"):
            raise error
        assert raised.value is error


KILLED = """
import os, signal, sys
from pathlib import Path
from fomo.files import remove_folder
os.unlink = lambda *given, **more: os.kill(os.getpid(), signal.SIGKILL)
remove_folder(Path(sys.argv[1]))
"""


def test_nobody_finds_a_part_of_a_folder_that_is_removed(tmp_path: Path) -> None:
    folder, kept = tmp_path / ".f[1].zarr.parts", tmp_path / ".f1.zarr.parts"
    for path in (folder, kept):
        path.mkdir()
        (path / "inside").touch()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not folder.exists() and len(list(tmp_path.iterdir())) == 2
    remove_left_overs(kept)
    assert len(list(tmp_path.iterdir())) == 2  # those of another name are not its own
    remove_left_overs(folder)
    assert list(tmp_path.iterdir()) == [kept]
    remove_folder(kept)
    remove_folder(kept)  # not there: nothing to do
    assert list(tmp_path.iterdir()) == []
