"""Diffusion processes behind one small protocol: how data are noised, and what the network's output means.

Everything is written in the variance-exploding form x = x0 + sigma eps of Karras et al. (2022, Table 1), in which
both parametrisations are four coefficients:

    D(x; sigma) = c_skip x + c_out F(c_in x; c_noise)

`PaperProcess` is §2.1 and equation (9): DDPM with K steps and epsilon-prediction. With the square root that NOTES.md
restores, x_k = sqrt(ab_k) x0 + sqrt(1 - ab_k) eps = sqrt(ab_k) (x0 + sigma_k eps), sigma_k^2 = (1 - ab_k) / ab_k; so
c_in = sqrt(ab) = 1 / sqrt(1 + sigma^2), c_skip = 1, c_out = -sigma, and |eps - F|^2 = |D - x0|^2 / sigma^2.

`ResidualProcess` is the default: data are the residuals of the encoder's mean in units of its scale, so they have
variance about 1, and Karras' preconditioning with sigma_data = 1 makes F's target have unit variance at every noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Process(Protocol):
    """A diffusion process. All functions are elementwise in sigma."""

    @property
    def standardise(self) -> bool:
        """Are data (scaled - mean) / scale of the encoder, or the scaled values themselves?"""
        ...

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """c_skip, c_out, c_in, c_noise."""
        ...

    def draw_sigma(self, uniform: Tensor) -> Tensor:
        """Noise levels for training from uniform numbers in (0, 1)."""
        ...

    def sigmas(self, steps: int) -> Float[Tensor, " level"]:
        """Falling noise levels of a sampler with this number of steps; the last is 0."""
        ...

    def loss_weight(self, sigma: Tensor) -> Tensor:
        """Weight of |D - x0|^2 that makes it the process's own loss."""
        ...


@dataclass(frozen=True)
class ResidualProcess:
    """Karras preconditioning for unit-variance residuals."""

    standardise: bool = True
    log_sigma_mean: float = -0.4
    log_sigma_std: float = 1.2
    # Few steps must not widen the members: with a perfect denoiser of unit residuals, 8 steps of `multistep` are
    # within 1.4 % of the right spread on this schedule, and 9 % too wide on Karras' (0.02 to 20, rho 7).
    sigma_min: float = 0.1
    sigma_max: float = 10.0
    rho: float = 15.0

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Karras et al., Table 1, last column, sigma_data = 1."""
        root = (1 + sigma.square()).sqrt()
        return 1 / root.square(), sigma / root, 1 / root, sigma.log() / 4

    def draw_sigma(self, uniform: Tensor) -> Tensor:
        """Log-normal."""
        normal = (2.0**0.5) * torch.erfinv((2 * uniform - 1).clamp(-0.9999, 0.9999))
        return (self.log_sigma_mean + self.log_sigma_std * normal).exp()

    def sigmas(self, steps: int) -> Float[Tensor, " level"]:
        """Karras et al., equation (5)."""
        first, last = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        ramp = torch.linspace(0, 1, steps) if steps > 1 else torch.zeros(1)
        return torch.cat([(first + ramp * (last - first)) ** self.rho, torch.zeros(1)])

    def loss_weight(self, sigma: Tensor) -> Tensor:
        """1 / c_out^2."""
        return (1 + sigma.square()) / sigma.square()


@dataclass(frozen=True)
class PaperProcess:
    """DDPM as written in the paper: linear beta, K steps, epsilon-prediction, equation (11)."""

    standardise: bool = False
    steps: int = 1000
    beta_first: float = 1e-4
    beta_last: float = 0.02

    @cached_property
    def beta(self) -> Float[Tensor, " k"]:
        """beta_1 .. beta_K."""
        return torch.linspace(self.beta_first, self.beta_last, self.steps, dtype=torch.float64)

    @cached_property
    def alpha_bar(self) -> Float[Tensor, " k"]:
        """Product of (1 - beta) up to k."""
        return torch.cumprod(1 - self.beta, 0)

    @cached_property
    def sigma_of(self) -> Float[Tensor, " k"]:
        """sigma_1 .. sigma_K, rising."""
        return ((1 - self.alpha_bar) / self.alpha_bar).sqrt()

    def index(self, sigma: Tensor) -> Tensor:
        """The step k - 1 whose sigma_k is nearest in ratio."""
        table = self.sigma_of.log().to(sigma.device)
        at = torch.searchsorted(table, sigma.double().log().contiguous()).clamp(1, self.steps - 1)
        below, above = table[at - 1], table[at]
        return torch.where(sigma.double().log() - below < above - sigma.double().log(), at - 1, at)

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See the module's text."""
        label = self.index(sigma).to(sigma.dtype) / self.steps * 4 - 2
        return torch.ones_like(sigma), -sigma, (1 + sigma.square()).rsqrt(), label

    def draw_sigma(self, uniform: Tensor) -> Tensor:
        """k uniform on 1..K."""
        k = (uniform * self.steps).long().clamp(0, self.steps - 1)
        return self.sigma_of.to(uniform.device)[k].to(uniform.dtype)

    def sigmas(self, steps: int) -> Float[Tensor, " level"]:
        """Evenly spaced k from K down."""
        k = torch.linspace(self.steps - 1, 0, steps).round().long()
        return torch.cat([self.sigma_of[k].float(), torch.zeros(1)])

    def loss_weight(self, sigma: Tensor) -> Tensor:
        """1 / c_out^2."""
        return 1 / sigma.square()


PROCESSES: dict[str, type[ResidualProcess] | type[PaperProcess]] = {
    "residual": ResidualProcess,
    "paper": PaperProcess,
}
