"""Tokenization, equation (4): S in R^(T x H x V) -> X in R^((T' H' V') x (t0 h0 v0)), and exactly back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Int64, Shaped
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class TokenShape:
    """Edges of a token in cells: t0 steps x h0 rows x v0 columns."""

    time: int = 4
    y: int = 2
    x: int = 2

    @property
    def cells(self) -> int:
        """Values in a token."""
        return self.time * self.y * self.x

    def grid(self, time: int, y: int, x: int) -> tuple[int, int, int]:
        """Tokens along each axis (T', H', V') of a window, padding included."""
        return -(-time // self.time), -(-y // self.y), -(-x // self.x)


def pad_to_tokens(
    window: Shaped[Tensor, "batch time y x"], shape: TokenShape, fill: float
) -> Shaped[Tensor, "batch padded_time padded_y padded_x"]:
    """The window padded at the far ends with `fill` to whole tokens."""
    _, time, y, x = window.shape
    return pad(window, (0, -x % shape.x, 0, -y % shape.y, 0, -time % shape.time), value=fill)


def to_tokens(window: Shaped[Tensor, "batch time y x"], shape: TokenShape) -> Shaped[Tensor, "batch token cell"]:
    """Equation (4). Every axis must be divisible by the token: pad first."""
    return rearrange(window, "b (t t0) (h h0) (v v0) -> b (t h v) (t0 h0 v0)", t0=shape.time, h0=shape.y, v0=shape.x)


def layers_to_tokens(
    layers: Shaped[Tensor, "batch layer time y x"], shape: TokenShape, fill: float = 0.0
) -> Shaped[Tensor, "batch token _"]:
    """Several layers of a window as one row a token, all cells of a layer together; padded with `fill`."""
    flat = pad_to_tokens(rearrange(layers, "b c t y x -> (b c) t y x"), shape, fill)
    return rearrange(
        flat,
        "(b c) (t t0) (h h0) (v v0) -> b (t h v) (c t0 h0 v0)",
        c=layers.shape[1], t0=shape.time, h0=shape.y, v0=shape.x,
    )  # fmt: skip


def from_tokens(
    tokens: Shaped[Tensor, "batch token cell"], shape: TokenShape, time: int, y: int, x: int
) -> Shaped[Tensor, "batch time y x"]:
    """The inverse of `to_tokens` for a window of `time` x `y` x `x` cells; padding is cut off."""
    t, h, v = shape.grid(time, y, x)
    window = rearrange(
        tokens,
        "b (t h v) (t0 h0 v0) -> b (t t0) (h h0) (v v0)",
        t=t, h=h, v=v, t0=shape.time, h0=shape.y, v0=shape.x,
    )  # fmt: skip
    return window[:, :time, :y, :x]


def token_places(
    shape: TokenShape, size: tuple[int, int, int], device: torch.device | None = None
) -> Int64[Tensor, "token cell"]:
    """Where the values of every token lie in a flat window of `size` (time, y, x); at its end: in the padding.

    Taking few tokens by their places is faster than cutting a whole window.
    """
    places = torch.from_numpy(_places(shape, size))
    if device is None or device.type != "cuda":
        return places.to(device)
    return places.pin_memory().to(device, non_blocking=True)  # else the host waits for all that the device is at


@lru_cache(maxsize=64)
def _places(shape: TokenShape, size: tuple[int, int, int]) -> NDArray[np.int64]:
    """The same, kept: not as a tensor, which would remember whether gradients were wanted or a graph was traced."""
    window = np.arange(math.prod(size)).reshape(size)
    more = [(0, -axis % edge) for axis, edge in zip(size, (shape.time, shape.y, shape.x), strict=True)]
    padded = np.pad(window, more, constant_values=window.size)
    tokens = rearrange(padded, "(t t0) (h h0) (v v0) -> (t h v) (t0 h0 v0)", t0=shape.time, h0=shape.y, v0=shape.x)
    return np.ascontiguousarray(tokens)
