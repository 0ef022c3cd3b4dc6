"""Files and folders are there whole, or as they were."""

from __future__ import annotations

import os

import pytest

from fomo.files import usual_mode, whole_file, whole_folder


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
