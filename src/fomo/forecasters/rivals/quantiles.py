"""A head of quantiles: how networks that give one number per value are trained to say how sure they are.

Wen et al. (2017), as the multi-quantile loss of today's libraries. Members are the quantile function at equally spaced
places, the same place for all values of a member: every single value is spread as predicted, and the mean over the
members has no sampling error.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from fomo.forecasters.rivals.inputs import Inputs
from fomo.forecasters.rivals.network import asked_mean

#: Probabilities of the quantiles.
LEVELS = torch.linspace(0.025, 0.975, 20)


class QuantileHead(nn.Module):
    """Features to ascending quantiles: the lowest, and positive steps up from it."""

    def __init__(self, width: int, values: int = 1) -> None:
        """`values`: how many neighbouring values, a patch, one feature vector stands for."""
        super().__init__()
        self.values = values
        self.linear = nn.Linear(width, values * len(LEVELS))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Float[Tensor, "*axes width"]) -> Float[Tensor, "*axes value quantile"]:
        """Quantiles of every value, about 0 and 0.4 wide at birth."""
        raw = rearrange(self.linear(features), "... (v q) -> ... v q", v=self.values)
        steps = nn.functional.softplus(raw[..., 1:] - 4.0).cumsum(-1)
        above = torch.cat([torch.zeros_like(raw[..., :1]), steps], -1)
        return raw[..., :1] + above - above[..., above.shape[-1] // 2, None]


def pinball(
    quantiles: Float[Tensor, "batch time y x quantile"], target: Float[Tensor, "batch time y x"], inputs: Inputs
) -> Float[Tensor, ""]:
    """Mean pinball loss over asked values and quantiles; least where each quantile is the true one."""
    error = target[..., None] - quantiles
    levels = LEVELS.to(error)
    return asked_mean(torch.maximum(levels * error, (levels - 1) * error).mean(-1), inputs)


def members(
    quantiles: Float[Tensor, "batch time y x quantile"], samples: int
) -> Float[Tensor, "batch sample time y x"]:
    """Quantiles at (i + 1/2) / samples, linear between the predicted ones, the outermost beyond them."""
    wanted = (torch.arange(samples) + 0.5) / samples
    place = ((wanted - LEVELS[0]) / (LEVELS[1] - LEVELS[0])).clamp(0, len(LEVELS) - 1)
    below = place.floor().long().clamp(max=len(LEVELS) - 2)
    part = (place - below).to(quantiles)
    drawn = quantiles[..., below] * (1 - part) + quantiles[..., below + 1] * part
    return rearrange(drawn, "b t y x s -> b s t y x")


__all__ = ["LEVELS", "QuantileHead", "members", "pinball"]
