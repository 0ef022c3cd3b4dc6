"""From residuals back to traffic: members that are never negative and whose mean is still the encoder's.

Cutting negative traffic off at zero lifts the mean of what is left, most where traffic is small beside its uncertainty:
at night, in quiet cells, in cells without history. So the members of a value are those of a normal variable cut at
zero (Tobin, 1958) whose location is chosen such that the mean after the cut is the one that was asked for.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

#: A scale of more than so many means is taken as so many: else hardly any member would carry traffic.
LARGEST_SPREAD = 10.0
#: So many scales above zero a cut moves nothing.
FAR_FROM_ZERO = 8.0
#: Newton steps from above; the function is convex, and six are exact to float32 on the whole range.
NEWTON_STEPS = 6


def censored_location(mean: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """The m for which E[max(m + Z, 0)] = m Phi(m) + phi(m) = `mean`, Z standard normal; `mean` at least 1 / 10."""
    location = mean
    for _ in range(NEWTON_STEPS):
        below = 0.5 * (1 + torch.erf(location / math.sqrt(2)))  # Phi
        density = torch.exp(-location.square() / 2) / math.sqrt(2 * math.pi)
        location = location - (location * below + density - mean) / below
    return location


def members_of(
    residual: Float[Tensor, "batch member time y x"],
    mean: Float[Tensor, "batch time y x"],
    scale: Float[Tensor, "batch time y x"],
) -> Float[Tensor, "batch member time y x"]:
    """Shares from residuals of mean 0 and variance 1; `mean` and `scale` are shares, the mean not negative.

    A member depends on its own residual alone, so it is the same whoever is drawn beside it.
    """
    scale = torch.minimum(scale, LARGEST_SPREAD * mean)
    means = mean / scale.clamp(min=1e-12)
    location = scale * censored_location(means.clamp(1 / LARGEST_SPREAD, FAR_FROM_ZERO))
    location = torch.where(means < FAR_FROM_ZERO, location, mean)
    return (location[:, None] + scale[:, None] * residual).clamp(min=0)


def mirrored_pairs(residual: Float[Tensor, "batch member time y x"]) -> Float[Tensor, "batch member time y x"]:
    """Members 2i and 2i + 1, drawn from opposite noise, made opposite: each half the difference of the two.

    What a denoiser adds to both is a mean, which is the encoder's matter. A last member without its pair stays.
    """
    paired = residual.shape[1] // 2 * 2
    half = (residual[:, 0:paired:2] - residual[:, 1:paired:2]) / 2
    return torch.cat([torch.stack([half, -half], 2).flatten(1, 2), residual[:, paired:]], 1)
