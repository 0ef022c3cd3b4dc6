"""Cover a grid with overlapping tiles and blend what they say, so that no seam shows.

Weights fall linearly towards a tile's inner edges and add up to one in every cell, so tiles that agree give exactly
what one of them gives, and a single tile gives exactly itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor


@dataclass(frozen=True)
class Tiling:
    """Corners (row, column) of tiles of one size over a grid, and the blending weights of each."""

    grid: tuple[int, int]
    tile: tuple[int, int]
    corners: tuple[tuple[int, int], ...]
    weights: Float[Tensor, "tile y x"]

    def cut(self, grid: Shaped[Tensor, "*batch y x"]) -> Shaped[Tensor, "tile *batch tile_y tile_x"]:
        """All tiles of a grid."""
        height, width = self.tile
        return torch.stack([grid[..., y : y + height, x : x + width] for y, x in self.corners])

    def blend(self, tiles: Float[Tensor, "tile *batch tile_y tile_x"]) -> Float[Tensor, "*batch y x"]:
        """The weighted mean of the tiles in every cell."""
        if len(self.corners) == 1:
            return tiles[0]
        height, width = self.tile
        total = tiles.new_zeros(*tiles.shape[1:-2], *self.grid)
        weights = self.weights.to(tiles.device, tiles.dtype)
        for tile, weight, (y, x) in zip(tiles, weights, self.corners, strict=True):
            total[..., y : y + height, x : x + width] += tile * weight
        return total


def make_tiling(grid: tuple[int, int], largest: tuple[int, int], overlap: int) -> Tiling:
    """Tiles no larger than `largest`, neighbours sharing at least `overlap` cells."""
    height, width = (min(size, limit) for size, limit in zip(grid, largest, strict=True))
    rows, columns = _starts(grid[0], height, overlap), _starts(grid[1], width, overlap)
    corners = tuple((y, x) for y in rows for x in columns)
    raw = torch.stack(
        [torch.outer(_ramp(y, height, grid[0], overlap), _ramp(x, width, grid[1], overlap)) for y, x in corners]
    )
    total = torch.zeros(grid)
    for weight, (y, x) in zip(raw, corners, strict=True):
        total[y : y + height, x : x + width] += weight
    weights = torch.stack(
        [weight / total[y : y + height, x : x + width] for weight, (y, x) in zip(raw, corners, strict=True)]
    )
    return Tiling(grid, (height, width), corners, weights)


def count_tiles(grid: tuple[int, int], largest: tuple[int, int], overlap: int) -> int:
    """How many tiles `make_tiling` takes."""
    rows, columns = (len(_starts(size, min(size, limit), overlap)) for size, limit in zip(grid, largest, strict=True))
    return rows * columns


def even_edge(size: int, largest: int, overlap: int) -> int:
    """The least edge with which as many tiles cover `size` as with `largest`: no cell is done twice without need."""
    if size <= largest:
        return size
    overlap = min(overlap, largest - 1)
    count = -(-(size - overlap) // (largest - overlap))
    return -(-(size + (count - 1) * overlap) // count)


def in_common(first: int, count: int, start: int, edge: int) -> tuple[slice, slice]:
    """What `count` cells from `first` on share with `edge` from `start` on, along one axis: counted from either.

    Without anything in common the slices end before they begin.
    """
    low, high = max(first, start), min(first + count, start + edge)
    return slice(low - first, high - first), slice(low - start, high - start)


def _starts(size: int, tile: int, overlap: int) -> list[int]:
    """First cells of evenly spread tiles that cover `size`."""
    if size <= tile:
        return [0]
    overlap = min(overlap, tile - 1)
    count = int(np.ceil((size - overlap) / (tile - overlap)))
    return [int(start) for start in np.linspace(0, size - tile, count).round()]


def _ramp(start: int, tile: int, size: int, overlap: int) -> Float[Tensor, " cell"]:
    """Weight along one axis: 1 inside, falling to the edges that other tiles share."""
    place = torch.arange(tile, dtype=torch.float32)
    from_start = (place + 1) / (overlap + 1) if start > 0 else torch.full((tile,), 1.0)
    from_end = (tile - place) / (overlap + 1) if start + tile < size else torch.full((tile,), 1.0)
    return torch.minimum(from_start, from_end).clamp(max=1.0)
