"""Parts that several rivals are built of."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head self-attention over the second to last axis; where `key` is False nobody looks."""

    def __init__(self, width: int, heads: int, causal: bool = False) -> None:
        """`causal`: a token sees itself and those before it."""
        super().__init__()
        self.heads, self.causal = heads, causal
        self.inner = nn.Linear(width, 3 * width, bias=False)
        self.outer = nn.Linear(width, width)

    def forward(
        self, x: Float[Tensor, "batch token width"], key: Bool[Tensor, "batch token"] | None = None
    ) -> Float[Tensor, "batch token width"]:
        """Every token a mean of all tokens that it may see, weighted by how they fit."""
        q, k, v = rearrange(self.inner(x), "b n (three h d) -> three b h n d", three=3, h=self.heads)
        mask = None if key is None else key[:, None, None, :]
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal)
        return self.outer(rearrange(mixed, "b h n d -> b n (h d)"))


class TransformerBlock(nn.Module):
    """Attention and a feed-forward layer, normalised before each (pre-norm)."""

    def __init__(self, width: int, heads: int, dropout: float = 0.1, causal: bool = False) -> None:
        """`causal`: a token sees itself and those before it."""
        super().__init__()
        self.attention = Attention(width, heads, causal)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "batch token width"], key: Bool[Tensor, "batch token"] | None = None
    ) -> Float[Tensor, "batch token width"]:
        """One round of looking and thinking."""
        x = x + self.dropout(self.attention(self.first(x), key))
        return x + self.dropout(self.feed_forward(self.second(x)))


def sinusoids(place: Float[Tensor, "*axes"], width: int, longest: float = 10_000.0) -> Float[Tensor, "*axes width"]:
    """Sines and cosines of a number at geometric frequencies (Vaswani et al., 2017)."""
    frequency = torch.exp(torch.arange(width // 2, device=place.device) * (-math.log(longest) / (width // 2)))
    angle = place[..., None] * frequency
    return torch.cat([angle.sin(), angle.cos()], -1)


__all__ = ["Attention", "TransformerBlock", "sinusoids"]
