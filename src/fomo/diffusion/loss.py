"""The masked loss, equation (11), and the likelihood of the encoder's mean and scale. Only HIDDEN cells count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from fomo.diffusion.process import Process

#: (noised, noise label) -> network output F
Network = Callable[[Tensor, Tensor], Tensor]

#: A sum over the windows at hand -> that over all windows of the batch.
Total = Callable[[Tensor], Tensor]

LARGEST_RESIDUAL = 6.0


def all_there_is(part: Tensor) -> Tensor:
    """The total where the windows at hand are the whole batch."""
    return part


def masked_mean(
    values: Float[Tensor, "batch time y x"], weight: Float[Tensor, "batch time y x"], total: Total = all_there_is
) -> Float[Tensor, ""]:
    """Weighted mean; `weight` is 0 wherever nothing may be learned.

    Where other processes have other windows of the batch, `total` adds their weights, and this is a part of the mean:
    the parts add up to it.
    """
    return (values * weight).sum() / total(weight.sum()).clamp(min=1e-12)


def denoising_loss(
    network: Network,
    process: Process,
    clean: Float[Tensor, "batch time y x"],
    weight: Float[Tensor, "batch time y x"],
    noise: Float[Tensor, "batch time y x"],
    uniform: Float[Tensor, " batch"],
    total: Total = all_there_is,
) -> Float[Tensor, ""]:
    """Equation (11): |D(x0 + sigma eps) - x0|^2 on hidden cells, weighted so that F's own error counts evenly.

    For `PaperProcess` this is |eps - eps_theta|^2 to the letter. `noise` and `uniform` are injected.
    """
    sigma = process.draw_sigma(uniform)
    c_skip, c_out, c_in, c_noise = (c[:, None, None, None] for c in process.coefficients(sigma))
    noised = clean + sigma[:, None, None, None] * noise
    output = network(c_in * noised, c_noise.flatten())
    target = (clean - c_skip * noised) / c_out
    return masked_mean((output - target).square(), weight, total)


@dataclass(frozen=True)
class HeadLosses:
    """Losses of the encoder's mean and scale."""

    mean: Float[Tensor, ""]
    scale: Float[Tensor, ""]


def head_losses(
    truth: Float[Tensor, "batch time y x"],
    mean: Float[Tensor, "batch time y x"],
    log_scale: Float[Tensor, "batch time y x"],
    weight: Float[Tensor, "batch time y x"],
    total: Total = all_there_is,
) -> HeadLosses:
    """Squared error of the mean, and the Gaussian likelihood of the scale around the mean held fixed.

    Kept apart so that a wide scale cannot excuse a poor mean (Seitzer et al., 2022).
    """
    error = truth - mean
    likelihood = log_scale + 0.5 * error.detach().square() * torch.exp(-2 * log_scale)
    return HeadLosses(
        mean=masked_mean(error.square(), weight, total),
        scale=masked_mean(likelihood, (weight > 0).to(weight.dtype), total),
    )


def standardised(
    truth: Float[Tensor, "batch time y x"],
    mean: Float[Tensor, "batch time y x"],
    log_scale: Float[Tensor, "batch time y x"],
) -> Float[Tensor, "batch time y x"]:
    """Residuals of the mean in units of the scale, clamped so that one outlier cannot rule a batch."""
    residual = (truth - mean.detach()) * torch.exp(-log_scale.detach())
    return residual.clamp(-LARGEST_RESIDUAL, LARGEST_RESIDUAL)
