"""Samplers: from noise to data, given a denoiser D(x; sigma). Each reads as its paper's algorithm.

x is in the form x0 + sigma eps. The noise source is injected, so that tests can replace it and members are
reproducible whatever the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from fomo.diffusion.process import PaperProcess

#: Fresh standard normal numbers for one step, of the shape of x.
NoiseSource = Callable[[], Tensor]

SamplerName = Literal["angle", "heun", "multistep", "ddpm"]

#: How the steps of `angle` grow.
ANGLE_POWER = 4 / 3

#: D(x; sigma), the expected clean data given noised data: all that a sampler knows of a network.
Denoiser = Callable[[Tensor, float], Tensor]


def heun(denoise: Denoiser, start: Tensor, sigmas: Float[Tensor, " level"]) -> Tensor:
    """Karras et al. (2022), Algorithm 1 without churn: second order, two evaluations a step (one in the last).

    `start` is standard normal; `sigmas` falls to 0.
    """
    levels = sigmas.tolist()
    x = start * levels[0]
    for sigma, following in pairwise(levels):
        slope = (x - denoise(x, sigma)) / sigma
        euler = x + (following - sigma) * slope
        if following > 0:
            slope_there = (euler - denoise(euler, following)) / following
            x = x + (following - sigma) * (slope + slope_there) / 2
        else:
            x = euler
    return x


def multistep(denoise: Denoiser, start: Tensor, sigmas: Float[Tensor, " level"]) -> Tensor:
    """DPM-Solver++(2M) (Lu et al., 2022, Algorithm 2) with alpha = 1: second order, one evaluation a step.

    With lambda = -log sigma and h = lambda' - lambda:  x' = (sigma'/sigma) x + (1 - sigma'/sigma) D~, where D~
    extrapolates the denoised data linearly in lambda from the last two evaluations: D~ = (1 + 1/2r) D - 1/2r D_prev,
    r = h_prev / h. The last step, to sigma = 0, takes D as it is.
    """
    levels = sigmas.tolist()
    x = start * levels[0]
    before: tuple[Tensor, float] | None = None  # last denoised data and log step
    for sigma, following in pairwise(levels):
        clean = denoise(x, sigma)
        if following == 0:
            return clean
        step = math.log(sigma / following)
        if before is None:
            guess = clean
        else:
            extrapolate = step / (2 * before[1])
            guess = (1 + extrapolate) * clean - extrapolate * before[0]
        ratio = following / sigma
        x = ratio * x + (1 - ratio) * guess
        before = (clean, step)
    return x


def angle(denoise: Denoiser, start: Tensor, sigmas: Float[Tensor, " level"]) -> Tensor:
    """Euler steps in the angle of noise: first order, one evaluation a step (TrigFlow; Lu & Song, 2025, section 3).

    With sigma = tan(a) and y = x cos(a), which has unit variance at every noise where data have,
    dy/da = -F, F = (D - y cos(a)) / sin(a): F is the network of Karras' preconditioning with sigma_data = 1. The best
    F of white unit data is 0, so however few the steps are, they keep the spread of unit residuals; what the network
    adds is how residuals go together. (DDIM, a rotation, loses spread where steps are few.)
    """
    angles = [math.atan(sigma) for sigma in sigmas.tolist()]
    y = start
    for here, there in pairwise(angles):
        clean = denoise(y / math.cos(here), math.tan(here))
        y = y + (here - there) * (clean - y * math.cos(here)) / math.sin(here)
    return y / math.cos(angles[-1])


def angle_levels(first: float, steps: int) -> Float[Tensor, " level"]:
    """Noise levels for `angle`, from `first` down to 0: the angle falls as 1 - (step / steps)^(4/3).

    The first steps are smaller, as much noise decides on what is correlated far. With the shipped weights three steps
    give sums over cells and means over hours the spread of many steps (journal, 2026-11-26).
    """
    ramp = 1 - torch.linspace(0, 1, steps + 1, dtype=torch.float64) ** ANGLE_POWER
    return (math.atan(first) * ramp).tan().to(torch.float32)


def ddpm(denoise: Denoiser, start: Tensor, process: PaperProcess, steps: int, noise: NoiseSource) -> Tensor:
    """Ancestral sampling, §2.1: x_{k-1} ~ N(mu(x_k, x0), (1 - ab') / (1 - ab) beta), on a subset of the K steps.

    With y_k = sqrt(ab_k) x the posterior mean is
    (sqrt(ab') beta / (1 - ab)) x0 + (sqrt(ab / ab') (1 - ab') / (1 - ab)) y_k, beta = 1 - ab / ab'.
    """
    sigmas = process.sigmas(steps)[:-1].double()
    alpha_bars = [*(1 / (1 + sigmas.square())).tolist(), 1.0]
    y = start
    for sigma, here, there in zip(sigmas.tolist(), alpha_bars[:-1], alpha_bars[1:], strict=True):
        clean = denoise(y / here**0.5, sigma)
        beta = 1 - here / there
        mean = (there**0.5 * beta / (1 - here)) * clean + ((here / there) ** 0.5 * (1 - there) / (1 - here)) * y
        variance = (1 - there) / (1 - here) * beta
        y = mean + variance**0.5 * noise() if variance > 0 else mean
    return y
