"""Chunks of a city that are kept before they are written, and put back."""

from pathlib import Path

from fomo.ingest.undo import UNDO, forget, keep, put_back


def chunk(city: Path, name: str, text: str) -> Path:
    path = city / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_what_a_commit_had_is_put_back_and_what_it_did_not_have_goes(tmp_path):
    there, new = chunk(tmp_path, "traffic/c/0/0/0", "old"), tmp_path / "state/c/0/0"
    names = ["traffic/c/0/0/0", "state/c/0/0"]
    keep(tmp_path, 3, names)
    chunk(tmp_path, names[0], "new")
    chunk(tmp_path, names[1], "new")
    keep(tmp_path, 3, names)  # the first counts
    put_back(tmp_path, 3)
    assert there.read_text(encoding="utf-8") == "old" and not new.exists() and not (tmp_path / UNDO).exists()


def test_what_is_of_a_commit_before_the_last_stays_as_it_was_written(tmp_path):
    path = chunk(tmp_path, "traffic/c/0/0/0", "old")
    keep(tmp_path, 3, ["traffic/c/0/0/0"])
    path.write_text("new", encoding="utf-8")
    put_back(tmp_path, 4)  # killed after commit 4, before the copies were taken away
    assert path.read_text(encoding="utf-8") == "new" and not (tmp_path / UNDO).exists()


def test_a_copy_that_was_cut_off_is_none(tmp_path):
    path = chunk(tmp_path, "traffic/c/0/0/0", "whole")
    chunk(tmp_path, f"{UNDO}/1/traffic/c/0/0/.0.abcdef12.part", "who")
    put_back(tmp_path, 1)
    assert path.read_text(encoding="utf-8") == "whole"
    keep(tmp_path, 1, [])
    forget(tmp_path)
    assert not (tmp_path / UNDO).exists()
