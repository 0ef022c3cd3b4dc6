"""Opposite pairs of noise: the mean over members then has little sampling error, as it has in FoMo."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from fomo.forecasters.rivals.network import normal


def opposite_pairs(
    random: torch.Generator, windows: int, samples: int, *shape: int
) -> Float[Tensor, "window sample *shape"]:
    """Standard normal numbers of every member; member 2i + 1 has the negative of member 2i's, an odd last one is alone.

    For drawing members only: a loss that compares members with each other needs independent ones.
    """
    half = normal(random, windows, -(-samples // 2), *shape)
    return torch.stack([half, -half], 2).flatten(1, 2)[:, :samples]


__all__ = ["opposite_pairs"]
