"""Days are written past zarr: what lies there is what zarr would have written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from fomo.ingest.store import CityStore, _series

DAY = 24


@pytest.fixture
def store(tmp_path: Path) -> CityStore:
    """As much of a store as writes chunks: two arrays that have room for three days."""
    group = zarr.open_group(str(tmp_path / "own.zarr"), mode="w", zarr_format=3)
    cells = group.create_group("cells")
    _series(cells, "traffic", (7,), DAY, ("time", "cell"), "float32", np.nan)
    _series(cells, "state", (7,), DAY, ("time", "cell"), "uint8", 3)
    found = CityStore.__new__(CityStore)
    found.path, found._arrays, found._room, found.cell_minutes = tmp_path / "own.zarr", {}, 3, 60
    return found


@pytest.mark.parametrize("kind", ["numbers", "some missing", "all missing", "one row missing"])
def test_a_chunk_is_the_same_bytes_as_zarrs(store: CityStore, tmp_path: Path, kind: str) -> None:
    traffic = np.random.default_rng(0).lognormal(0, 1, (DAY, 7)).astype(np.float32)
    traffic[{"numbers": [], "some missing": [0, 5], "all missing": slice(None), "one row missing": [0]}[kind]] = np.nan
    state = np.where(np.isfinite(traffic), np.uint8(0), np.uint8(3))
    other = zarr.open_group(str(tmp_path / "zarrs.zarr"), mode="w", zarr_format=3)
    for name, values, fill in (("traffic", traffic, np.nan), ("state", state, 3)):
        store._put(f"cells/{name}", 1, traffic[::-1] if name == "traffic" else state)  # something else before
        store._put(f"cells/{name}", 1, values)
        _series(other, name, (7,), DAY, ("time", "cell"), str(values.dtype), fill)
        array = other[name]
        array.resize((3 * DAY, 7))
        array[DAY : 2 * DAY] = values
        own, zarrs = store.path / f"cells/{name}/c/1/0", tmp_path / f"zarrs.zarr/{name}/c/1/0"
        assert own.exists() == zarrs.exists() == (kind != "all missing")
        assert not own.exists() or own.read_bytes() == zarrs.read_bytes()
        read = zarr.open_array(str(store.path / "cells" / name), mode="r")[DAY : 2 * DAY]
        np.testing.assert_array_equal(read, values)


def test_what_is_no_chunk_of_the_array_is_refused(store: CityStore) -> None:
    with pytest.raises(AssertionError, match="is no chunk"):
        store._put("cells/traffic", 0, np.zeros((DAY, 8), np.float32))
    with pytest.raises(AssertionError, match="is no chunk"):
        store._put("cells/traffic", 3, np.zeros((DAY, 7), np.float32))
