"""PatchTST: Nie et al., "A time series is worth 64 words", ICLR 2023.

Every cell is a series of its own, cut into patches of neighbouring steps that a transformer encodes. Here a patch also
carries what is known in advance and which of its values are observed, and the head gives the values of each asked patch
in place of one flat head for one horizon, so that one network does every task. Cells know nothing of each other, so
there is no generation without history.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from fomo.forecasters.rivals.blocks import TransformerBlock
from fomo.forecasters.rivals.inputs import CHANNELS, Inputs, cells
from fomo.forecasters.rivals.network import Player, RivalNetwork
from fomo.forecasters.rivals.quantiles import QuantileHead, members, pinball


class PatchTST(RivalNetwork):
    """Patches of one cell's window to quantiles of its values."""

    gives_quantiles = True

    def __init__(self, width: int = 128, layers: int = 3, heads: int = 8, patch: int = 4, longest: int = 64) -> None:
        """`longest`: steps of the longest window."""
        super().__init__()
        self.patch = patch
        self.embed = nn.Linear(CHANNELS * patch, width)
        self.place = nn.Parameter(0.02 * torch.randn(longest // patch, width))
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = QuantileHead(width, patch)

    def quantiles(self, inputs: Inputs) -> Float[Tensor, "batch time y x quantile"]:
        """Quantiles of every value of the windows."""
        b, _, y, x = inputs.value.shape
        patches = rearrange(cells(inputs.channels), "n c (p s) -> n p (c s)", s=self.patch)
        tokens = self.embed(patches) + self.place[: patches.shape[1]]
        for block in self.blocks:
            tokens = block(tokens)
        return rearrange(self.head(self.norm(tokens)), "(b y x) p s q -> b (p s) y x q", b=b, y=y, x=x)

    def players(self) -> list[Player]:
        """One network, the pinball loss."""

        def loss(inputs: Inputs, target: Tensor, random: torch.Generator) -> Tensor:
            return pinball(self.quantiles(inputs), target, inputs)

        return [Player(list(self.parameters()), loss)]

    def sample(self, inputs: Inputs, samples: int, random: torch.Generator) -> Float[Tensor, "batch sample time y x"]:
        """The predicted quantiles."""
        return members(self.quantiles(inputs), samples)


__all__ = ["PatchTST"]
