"""A piece counts while every file of it is as it was written, and no longer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fomo.app.service import pieces
from fomo.app.service.pieces import Watch, facts_of, is_whole, record_of, save_array, vouch

FACTS = {"seed": 3}


@pytest.fixture
def piece(tmp_path: Path) -> Path:
    """A piece of two chunks, vouched for; half of it is zero, which a chunk that is gone must not be taken for."""
    import zarr

    path = tmp_path / "0-of-1-district0-members0to2-key.zarr"
    save_array(np.zeros((2, 3, 4, 5), np.float32), path)
    assert np.isnan(zarr.open_array(str(path)).fill_value)
    vouch(path, FACTS)
    return path


def chunk_of(piece: Path) -> Path:
    return next(path for path in sorted(piece.rglob("*")) if path.is_file() and path.name != "zarr.json")


def test_a_piece_is_whole_once_it_is_vouched_for(piece: Path) -> None:
    assert is_whole(piece) and Watch().is_whole(piece) and facts_of(piece) == FACTS
    record_of(piece).unlink()
    assert not is_whole(piece) and not Watch().is_whole(piece) and facts_of(piece) == {}


@pytest.mark.parametrize(
    "harm",
    [
        lambda piece: shutil.rmtree(piece),
        lambda piece: chunk_of(piece).unlink(),
        lambda piece: (piece / "zarr.json").unlink(),
        lambda piece: (piece / "zarr.json").write_text("{", encoding="utf-8"),
        lambda piece: chunk_of(piece).write_bytes(bytes(chunk_of(piece).stat().st_size)),
        lambda piece: record_of(piece).write_text("", encoding="utf-8"),
        lambda piece: record_of(piece).write_text("[]", encoding="utf-8"),
    ],
)
def test_what_is_gone_cut_or_changed_is_seen(piece: Path, harm: Callable[[Path], object]) -> None:
    harm(piece)
    assert not is_whole(piece) and not Watch().is_whole(piece)


def test_a_piece_that_is_waited_for_is_read_once_until_it_is_vouched_for_again(
    piece: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setattr(pieces, "is_whole", lambda path: read.append(path) or is_whole(path))
    watch, chunk = Watch(), chunk_of(piece)
    before = chunk.read_bytes()
    chunk.unlink()
    assert [watch.is_whole(piece) for _ in range(3)] == [False] * 3 and len(read) == 1
    chunk.write_bytes(before)
    vouch(piece, FACTS)
    os.utime(record_of(piece), ns=(1, 1))  # whatever the clock of the other machine says
    assert watch.is_whole(piece) and watch.is_whole(piece) and len(read) == 2
