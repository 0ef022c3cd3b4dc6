"""Transformer layers: attention with rotary positions, and adaptive layer norm, equation (10)."""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from fomo.model.embeddings import normalise_and_rotate


class Attention(nn.Module):
    """Multi-head self-attention with normalised queries and keys and rotary positions."""

    def __init__(self, width: int, heads: int) -> None:
        """`width` features per token, split over `heads`."""
        super().__init__()
        self.heads = heads
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)
        self.norm_query = nn.RMSNorm(width // heads)
        self.norm_key = nn.RMSNorm(width // heads)

    def forward(
        self,
        tokens: Float[Tensor, "batch member token width"],
        turn: Float[Tensor, "2 batch token half"],
        attend: Bool[Tensor, "batch token"] | None,
    ) -> Float[Tensor, "batch member token width"]:
        """Mix the tokens of each member; keys where `attend` is False are not looked at."""
        members, width = tokens.shape[1], tokens.shape[-1]
        both, value = self.project_in(tokens).split([2 * width, width], -1)
        both = rearrange(both, "b s n (two h c) -> b s n two h c", two=2, h=self.heads)
        both = normalise_and_rotate(both, torch.stack([self.norm_query.weight, self.norm_key.weight]), turn)
        query, key = rearrange(both, "b s n two h c -> two (b s) h n c")
        value = rearrange(value, "b s n (h c) -> (b s) h n c", h=self.heads)
        mask = None if attend is None else repeat(attend, "b n -> (b s) 1 1 n", s=members)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.project_out(rearrange(mixed, "(b s) h n c -> b s n (h c)", s=members))


class MLP(nn.Module):
    """Two linear layers with a GELU between: the exact one, which takes a CPU a third of the time of its tanh form."""

    def __init__(self, width: int, ratio: int = 4) -> None:
        """`ratio`: hidden features per feature."""
        super().__init__()
        self.up = nn.Linear(width, ratio * width)
        self.down = nn.Linear(ratio * width, width)

    def forward(self, tokens: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """Each token by itself."""
        return self.down(torch.nn.functional.gelu(self.up(tokens)))


class CellHead(nn.Module):
    """What the encoder says of every single value: an MLP of its own channels and of a few numbers from its token.

    A token sums up many cells; the weight of yesterday's value in this very cell is better found from the cell itself.
    """

    def __init__(self, width: int, cells: int, channels: int, context: int, hidden: int, outputs: int) -> None:
        """`width` of a token of `cells` values, `context` numbers per value from it; `outputs` start at 0."""
        super().__init__()
        self.context = nn.Linear(width, context * cells)
        self.first, self.second = nn.Linear(channels + context, hidden), nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, channels: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch output"]:
        """Each value by itself."""
        hidden = torch.nn.functional.silu(self.first(channels))
        hidden = hidden + torch.nn.functional.silu(self.second(hidden))
        return self.last(hidden)


class EncoderBlock(nn.Module):
    """Pre-norm transformer block over observed and asked tokens."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        """`dropout` on both residual branches."""
        super().__init__()
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.mlp = Attention(width, heads), MLP(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        tokens: Float[Tensor, "batch member token width"],
        turn: Float[Tensor, "2 batch token half"],
        attend: Bool[Tensor, "batch token"] | None,
    ) -> Float[Tensor, "batch member token width"]:
        """One step of the encoder."""
        tokens = tokens + self.dropout(self.attention(self.norm_attention(tokens), turn, attend))
        return tokens + self.dropout(self.mlp(self.norm_mlp(tokens)))


class AdaptiveBlock(nn.Module):
    """Equation (10): e <- e + alpha A((1 + beta) norm(e) + gamma), with alpha, beta, gamma = F(o, k); then as an MLP.

    F is linear in the observation o of the token and in the embedded noise level k. The two parts are kept apart, so
    that the observation's part is computed once per window and shared by all sampling steps and members.
    """

    def __init__(self, width: int, heads: int, dropout: float, gate: float) -> None:
        """`gate`: where alpha starts; 0 is DiT's identity at birth."""
        super().__init__()
        self.norm_attention = nn.LayerNorm(width, elementwise_affine=False)
        self.norm_mlp = nn.LayerNorm(width, elementwise_affine=False)
        self.attention, self.mlp = Attention(width, heads), MLP(width)
        self.adapt_observation = nn.Linear(width, 6 * width)
        self.adapt_noise = nn.Linear(width, 6 * width, bias=False)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.adapt_observation, self.adapt_noise):
            nn.init.zeros_(layer.weight)
        with torch.no_grad():
            start = torch.tensor([gate, 0.0, 0.0, gate, 0.0, 0.0]).repeat_interleave(width)
            self.adapt_observation.bias.copy_(start)

    def forward(
        self,
        tokens: Float[Tensor, "batch member token width"],
        observation: Float[Tensor, "batch 1 token adapted"],
        noise: Float[Tensor, "level 1 1 width"],
        turn: Float[Tensor, "2 batch token half"],
        attend: Bool[Tensor, "batch token"] | None,
    ) -> Float[Tensor, "batch member token width"]:
        """One step of the denoiser; `observation` is `adapt_observation(o)`, `level` is batch or 1."""
        adapt = observation + self.adapt_noise(noise)  # batch 1 token adapted
        alpha_1, beta_1, gamma_1, alpha_2, beta_2, gamma_2 = adapt.chunk(6, -1)
        inner = torch.addcmul(gamma_1, self.norm_attention(tokens), 1 + beta_1)
        tokens = torch.addcmul(tokens, alpha_1, self.dropout(self.attention(inner, turn, attend)))
        inner = torch.addcmul(gamma_2, self.norm_mlp(tokens), 1 + beta_2)
        return torch.addcmul(tokens, alpha_2, self.dropout(self.mlp(inner)))
