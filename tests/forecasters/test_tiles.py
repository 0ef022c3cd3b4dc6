from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fomo.forecasters.tiles import make_tiling

EDGES = st.tuples(st.integers(1, 25), st.integers(1, 25))
TILES = st.tuples(st.integers(1, 9), st.integers(1, 9))
OVERLAPS = st.integers(0, 10)


@given(EDGES, TILES, OVERLAPS)
def test_the_blending_weights_sum_to_one_in_every_cell(grid, tile, overlap):
    tiling = make_tiling(grid, tile, overlap)
    total = np.zeros(grid)
    for weight, (y, x) in zip(tiling.weights.numpy(), tiling.corners, strict=True):
        assert (weight > 0).all()
        total[y : y + tiling.tile[0], x : x + tiling.tile[1]] += weight
    np.testing.assert_allclose(total, 1, rtol=1e-5)


@given(EDGES, TILES, OVERLAPS)
def test_tiles_that_agree_give_back_what_they_agree_on(grid, tile, overlap):
    tiling = make_tiling(grid, tile, overlap)
    field = torch.randn(2, 3, *grid, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(tiling.blend(tiling.cut(field)), field, rtol=1e-5, atol=1e-6)


@given(EDGES, TILES, OVERLAPS)
def test_tiles_have_one_size_lie_on_the_grid_and_share_the_overlap(grid, tile, overlap):
    tiling = make_tiling(grid, tile, overlap)
    assert tiling.tile == tuple(min(edge, largest) for edge, largest in zip(grid, tile, strict=True))
    for axis in (0, 1):
        starts = sorted({corner[axis] for corner in tiling.corners})
        size = tiling.tile[axis]
        assert starts[0] == 0
        assert starts[-1] + size == grid[axis]
        shared = [one + size - other for one, other in itertools.pairwise(starts)]
        assert all(cells >= min(overlap, size - 1) for cells in shared)
    assert len(set(tiling.corners)) == len(tiling.corners)


@given(EDGES, OVERLAPS)
def test_a_grid_that_fits_in_a_tile_is_one_tile_and_comes_back_untouched(grid, overlap):
    tiling = make_tiling(grid, (25, 25), overlap)
    assert tiling.corners == ((0, 0),)
    field = torch.randn(4, *grid)
    assert torch.equal(tiling.blend(tiling.cut(field)), field)


def test_a_blend_is_the_weighted_mean_by_a_loop():
    tiling = make_tiling((7, 5), (4, 3), 2)
    tiles = torch.randn(len(tiling.corners), 2, 4, 3)
    blended = tiling.blend(tiles)
    for row, y, x in np.ndindex(2, 7, 5):
        expected = 0.0
        for at, (top, left) in enumerate(tiling.corners):
            if top <= y < top + 4 and left <= x < left + 3:
                expected += float(tiles[at, row, y - top, x - left] * tiling.weights[at, y - top, x - left])
        assert float(blended[row, y, x]) == pytest.approx(expected, abs=1e-5)


def test_a_tiles_say_fades_towards_its_inner_edges_and_not_towards_the_city_limits():
    tiling = make_tiling((1, 12), (1, 8), 4)
    first, second = tiling.weights[:, 0]
    assert tiling.corners == ((0, 0), (0, 4))
    torch.testing.assert_close(first, torch.tensor([1.0, 1, 1, 1, 0.8, 0.6, 0.4, 0.2]))
    torch.testing.assert_close(second, first.flip(0))
