"""Context-aware alignment, §3.4.2: InfoNCE between the traffic and the context of the same block, equation (14)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

#: Cosines are divided by this before the softmax.
TEMPERATURE = 0.2


@dataclass(frozen=True)
class Aligned:
    """InfoNCE of some blocks, and the score: mean cosine of the pairs of one block minus that of two blocks."""

    loss: Float[Tensor, ""]
    score: Float[Tensor, ""]


def alignment_loss(
    traffic: Float[Tensor, "block width"], context: Float[Tensor, "block width"], temperature: float = TEMPERATURE
) -> Aligned:
    """Equation (14): -log I(e, y) / (I(e, y) + sum over e' of I(e', y)), I = exp(cosine / temperature).

    The negatives of a context are the traffic of all other blocks. Without information the loss is the logarithm of
    the number of blocks. Needs two blocks at least.
    """
    cosine = similarity(traffic, context)
    blocks = len(cosine)
    own = torch.arange(blocks, device=cosine.device)
    loss = torch.nn.functional.cross_entropy(cosine.T / temperature, own)
    paired = cosine.diagonal()
    others = (cosine.sum() - paired.sum()) / (blocks * (blocks - 1))
    return Aligned(loss, paired.mean() - others)


def similarity(
    traffic: Float[Tensor, "block width"], context: Float[Tensor, "other width"]
) -> Float[Tensor, "block other"]:
    """Cosines after the mean over the blocks is taken off each side: what all blocks share says nothing."""
    return directions(traffic) @ directions(context).T


def directions(tokens: Float[Tensor, "block width"]) -> Float[Tensor, "block width"]:
    """Tokens without their mean, of length 1: what is compared."""
    return torch.nn.functional.normalize(tokens - tokens.mean(0), dim=-1)


__all__ = ["Aligned", "alignment_loss", "directions", "similarity"]
