from __future__ import annotations

import pytest

from fomo.ingest.files import input_files
from fomo.ingest.ledger import IngestError


@pytest.fixture
def folder(tmp_path):
    for name in ("b.csv", "a.xml.gz", "sub/c.parquet", "notes.doc", ".hidden/d.csv", "e.csv.zst", "README"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def test_files_folders_and_globs_each_file_once_in_order(folder):
    every = [folder / name for name in ("a.xml.gz", "b.csv", "e.csv.zst", "sub/c.parquet")]
    assert input_files([folder]) == tuple(every)
    assert input_files([folder / "sub", folder / "b.csv", folder]) == (every[3], every[1], every[0], every[2])
    assert input_files([str(folder / "*.csv*")]) == (every[1], every[2])
    assert input_files([str(folder / "**/*.parquet")]) == (every[3],)
    assert input_files([folder / "notes.doc"]) == (folder / "notes.doc",)  # what is named is taken


def test_relative_globs(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert [str(path) for path in input_files(["*.csv"])] == ["b.csv"]


@pytest.mark.parametrize("name", ["nowhere.csv", "*.nothing", "sub/../nowhere"])
def test_what_names_no_file_is_refused(folder, name):
    with pytest.raises(IngestError, match="there is no file"):
        input_files([folder / name])


def test_a_folder_without_counters_is_refused(tmp_path):
    with pytest.raises(IngestError, match=r"holds no file that ends in \.csv"):
        input_files([tmp_path])
