"""TimeGPT: Garza & Mergenthaler-Canseco, "TimeGPT-1", 2023, a closed model, written from what is published of it.

An encoder-decoder transformer with residual connections and layer normalisation, whose feed-forward layers are
convolutions over time (as the FoMo paper describes it), trained on series of many cities; a linear layer maps the
decoder's output to the values of the horizon. Every cell is a series of its own. The encoder reads the history, the
decoder the steps that are asked for with what is known of them in advance.

Tokens are patches of four steps, which is what one thread can do, and of every mask: patches of which something is
observed are the history. The published intervals come from conformal prediction on recent errors of the same series,
which windows of 64 steps have no room for; here the head gives quantiles. Cells know nothing of each other, so a cell
without history is drawn from its covariates alone.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from fomo.forecasters.rivals.blocks import Attention, sinusoids
from fomo.forecasters.rivals.inputs import CHANNELS, Inputs, cells
from fomo.forecasters.rivals.network import Player, RivalNetwork
from fomo.forecasters.rivals.quantiles import QuantileHead, members, pinball


class Convolution(nn.Module):
    """In the place of a feed-forward layer: a patch and its neighbours in time, through a wider layer."""

    def __init__(self, width: int, kernel: int = 3) -> None:
        """`kernel`: patches that the convolution spans."""
        super().__init__()
        self.kernel = kernel
        self.inner, self.outer = nn.Linear(kernel * width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Float[Tensor, "series token width"]) -> Float[Tensor, "series token width"]:
        """The convolution as one matrix product on neighbours side by side: far faster on a CPU than `Conv1d`."""
        half, steps = self.kernel // 2, x.shape[1]
        wide = nn.functional.pad(x, (0, 0, half, half))
        beside = torch.cat([wide[:, start : start + steps] for start in range(self.kernel)], -1)
        return self.outer(nn.functional.gelu(self.inner(beside)))


class CrossAttention(nn.Module):
    """Tokens of the decoder look at those of the encoder, where `key` is True."""

    def __init__(self, width: int, heads: int) -> None:
        """Multi-head, as `Attention`."""
        super().__init__()
        self.heads = heads
        self.query, self.pair = nn.Linear(width, width, bias=False), nn.Linear(width, 2 * width, bias=False)
        self.outer = nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "series token width"],
        history: Float[Tensor, "series other width"],
        key: Bool[Tensor, "series other"],
    ) -> Float[Tensor, "series token width"]:
        """Every token a mean of the history, weighted by how it fits."""
        q = rearrange(self.query(x), "b n (h d) -> b h n d", h=self.heads)
        k, v = rearrange(self.pair(history), "b n (two h d) -> two b h n d", two=2, h=self.heads)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=key[:, None, None, :])
        return self.outer(rearrange(mixed, "b h n d -> b n (h d)"))


class Layer(nn.Module):
    """Attention, in the decoder attention to the history too, and a convolution; normalised before each."""

    def __init__(self, width: int, heads: int, dropout: float, cross: bool) -> None:
        """`cross`: a layer of the decoder."""
        super().__init__()
        self.attention, self.convolution = Attention(width, heads), Convolution(width)
        self.cross = CrossAttention(width, heads) if cross else None
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3 if cross else 2))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "series token width"],
        key: Bool[Tensor, "series other"],
        history: Float[Tensor, "series other width"] | None = None,
    ) -> Float[Tensor, "series token width"]:
        """One round; `key` says which tokens of the history are there, in the encoder of x itself."""
        x = x + self.dropout(self.attention(self.norms[0](x), key if self.cross is None else None))
        if self.cross is not None and history is not None:
            x = x + self.dropout(self.cross(self.norms[2](x), history, key))
        return x + self.dropout(self.convolution(self.norms[1](x)))


class TimeGPT(RivalNetwork):
    """The history of a cell and what is known of the steps asked for, to quantiles of its values."""

    gives_quantiles = True

    def __init__(
        self, width: int = 96, encoder: int = 2, decoder: int = 2, heads: int = 6, dropout: float = 0.1, patch: int = 4
    ) -> None:
        """`encoder`, `decoder`: their layers; `patch`: steps of a token."""
        super().__init__()
        self.width, self.patch = width, patch
        self.history, self.ahead = nn.Linear(CHANNELS * patch, width), nn.Linear(CHANNELS * patch, width)
        self.encoder = nn.ModuleList(Layer(width, heads, dropout, cross=False) for _ in range(encoder))
        self.decoder = nn.ModuleList(Layer(width, heads, dropout, cross=True) for _ in range(decoder))
        self.between, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.head = QuantileHead(width, patch)

    def quantiles(self, inputs: Inputs) -> Float[Tensor, "batch time y x quantile"]:
        """Quantiles of every value of the windows."""
        b, _, y, x = inputs.value.shape
        content = rearrange(cells(inputs.channels), "n c (p s) -> n p (c s)", s=self.patch)
        seen = rearrange(inputs.observed, "b (p s) y x -> (b y x) p s", s=self.patch).any(-1)
        # Without any history the encoder reads what is known in advance of all steps: attention needs something.
        key = seen | ~seen.any(1, keepdim=True)
        place = sinusoids(torch.arange(float(content.shape[1])), self.width, longest=100.0)
        history = (self.history(content) + place) * key[:, :, None]
        for layer in self.encoder:
            history = layer(history, key)
        history, tokens = self.between(history), self.ahead(content) + place
        for layer in self.decoder:
            tokens = layer(tokens, key, history)
        return rearrange(self.head(self.norm(tokens)), "(b y x) p s q -> b (p s) y x q", b=b, y=y, x=x)

    def players(self) -> list[Player]:
        """One network, the pinball loss."""

        def loss(inputs: Inputs, target: Tensor, random: torch.Generator) -> Tensor:
            return pinball(self.quantiles(inputs), target, inputs)

        return [Player(list(self.parameters()), loss)]

    def sample(self, inputs: Inputs, samples: int, random: torch.Generator) -> Float[Tensor, "batch sample time y x"]:
        """The predicted quantiles."""
        return members(self.quantiles(inputs), samples)


__all__ = ["Convolution", "TimeGPT"]
