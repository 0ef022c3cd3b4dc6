"""Samplers against closed forms: for simple data the best denoiser and the sampler's answer can be written down."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fomo.diffusion.process import PaperProcess, ResidualProcess
from fomo.diffusion.sampler import Denoiser, angle, angle_levels, ddpm, heun, multistep

MEAN, STD = 0.7, 0.5
Sampler = Callable[[Denoiser, Tensor, Tensor], Tensor]


def gaussian(noised: Tensor, sigma: float) -> Tensor:
    """E[x0 | x] for data N(m, s^2): (s^2 x + sigma^2 m) / (s^2 + sigma^2)."""
    return (STD**2 * noised + sigma**2 * MEAN) / (STD**2 + sigma**2)


def gaussian_answer(start: Tensor, first: float, last: float) -> Tensor:
    """The solution of dx/dsigma = (x - D) / sigma: (x - m) / sqrt(s^2 + sigma^2) stays what it is."""
    return MEAN + (start * first - MEAN) * math.sqrt((STD**2 + last**2) / (STD**2 + first**2))


def normal(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def euler(denoise: Denoiser, start: Tensor, sigmas: Tensor) -> Tensor:
    """First order, for contrast."""
    levels = sigmas.tolist()
    x = start * levels[0]
    for sigma, following in itertools.pairwise(levels):
        x = x + (following - sigma) * (x - denoise(x, sigma)) / sigma
    return x


def karras_levels(steps: int) -> Tensor:
    """Levels that end above zero, so that the order is not spoilt by a last step of fixed size."""
    return ResidualProcess(sigma_min=0.05, sigma_max=20.0).sigmas(steps)[:-1].double()


def order(sampler: Sampler) -> float:
    """Slope of log error over log step."""
    start = normal(50)
    errors = []
    for steps in (65, 129, 257):
        levels = karras_levels(steps)
        exact = gaussian_answer(start, float(levels[0]), float(levels[-1]))
        errors.append(float((sampler(gaussian, start, levels) - exact).abs().max()))
    slopes = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert slopes[0] == pytest.approx(slopes[1], abs=0.15)  # converging, not by chance
    return slopes[-1]


#: For data that are not standardised: from so much noise that their mean does not matter.
WIDE = ResidualProcess(sigma_min=0.02, sigma_max=40.0, rho=7.0)


@pytest.mark.parametrize(("sampler", "expected"), [(heun, 2), (multistep, 2), (euler, 1)])
def test_the_order_of_convergence_is_what_the_sampler_says(sampler, expected):
    assert order(sampler) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(
    ("sampler", "steps", "allowed"), [(heun, 8, 0.05), (multistep, 8, 0.02), (heun, 20, 0.02), (multistep, 20, 0.02)]
)
def test_few_steps_of_the_default_schedule_come_near_the_spread_of_unit_residuals(sampler, steps, allowed):
    sigmas = ResidualProcess().sigmas(steps)
    spread = sampler(lambda x, sigma: x / (1 + sigma**2), torch.ones(1, dtype=torch.float64), sigmas)
    assert float(spread) == pytest.approx(1, abs=allowed)


@pytest.mark.parametrize("sampler", [heun, multistep])
@pytest.mark.parametrize(("process", "steps"), [(WIDE, 40), (PaperProcess(), 200)])
def test_samples_have_the_mean_and_spread_of_the_data(sampler, process, steps):
    samples = sampler(gaussian, normal(20_000), process.sigmas(steps))
    assert float(samples.mean()) == pytest.approx(MEAN, abs=0.03)
    assert float(samples.std()) == pytest.approx(STD, rel=0.03)


@pytest.mark.parametrize("sampler", [heun, multistep])
def test_one_step_gives_the_denoised_noise(sampler):
    start = normal(10)
    sigmas = ResidualProcess().sigmas(1)
    first = float(sigmas[0])
    torch.testing.assert_close(sampler(gaussian, start, sigmas), gaussian(start * first, first), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("sampler", "per_step"), [(heun, 2), (multistep, 1)])
def test_the_network_is_asked_as_often_as_promised(sampler, per_step):
    asked: list[float] = []

    def counting(noised: Tensor, sigma: float) -> Tensor:
        asked.append(sigma)
        return gaussian(noised, sigma)

    sampler(counting, normal(3), ResidualProcess().sigmas(8))
    assert len(asked) == 8 * per_step - (per_step - 1)  # one in the last step
    assert min(asked) > 0  # never at sigma = 0, where the network was not trained


@pytest.mark.parametrize("sampler", [heun, multistep])
def test_a_mixture_of_two_gaussians_is_transported_quantile_by_quantile(sampler):
    """In one dimension the flow is monotone, so x0 = F_0^-1(F_sigma(x)) with the distribution functions F."""
    middles, spread = torch.tensor([-1.0, 1.2], dtype=torch.float64), 0.3

    def distribution(x: Tensor, sigma: float) -> Tensor:
        return torch.special.ndtr((x[:, None] - middles) / math.sqrt(spread**2 + sigma**2)).mean(1)

    def denoise(noised: Tensor, sigma: float) -> Tensor:
        variance = spread**2 + sigma**2
        likely = torch.softmax(-((noised[:, None] - middles) ** 2) / (2 * variance), 1)
        return (likely * (spread**2 * noised[:, None] + sigma**2 * middles) / variance).sum(1)

    sigmas, quantiles = ResidualProcess().sigmas(200), torch.linspace(0.01, 0.99, 99, dtype=torch.float64)

    def inverse(sigma: float) -> Tensor:
        low, high = torch.full_like(quantiles, -100), torch.full_like(quantiles, 100)
        for _ in range(60):
            middle = (low + high) / 2
            below = distribution(middle, sigma) < quantiles
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return low

    first = float(sigmas[0])
    samples = sampler(denoise, inverse(first) / first, sigmas)
    off = (samples - inverse(0.0)).abs()
    assert float(off.median()) < 0.01
    assert float(off.quantile(0.9)) < 0.03
    assert float((distribution(samples, 0.0) - quantiles).abs().max()) < 0.01


@pytest.mark.parametrize("steps", [50, 10])
def test_a_step_of_ddpm_is_bayes_rule(steps):
    """q(x_j | x_k, x0) ~ q(x_k | x_j) q(x_j | x0), whose precision and mean are added up here from both factors."""
    process = PaperProcess(steps=50, beta_first=1e-3, beta_last=0.2)
    visited = [int(process.index(sigma[None])) for sigma in process.sigmas(steps)[:-1]]
    clean, start = 0.4, normal(6)
    noise = iter([normal(6, seed) for seed in range(1, 100)])
    trace: list[Tensor] = []  # y_k = sqrt(alpha_bar_k) x before each step

    def denoise(noised: Tensor, sigma: float) -> Tensor:
        trace.append(noised / math.sqrt(1 + sigma**2))
        return torch.full_like(noised, clean)

    result = ddpm(denoise, start, process, steps, lambda: next(noise))
    torch.testing.assert_close(trace[0], start)
    replay = iter([normal(6, seed) for seed in range(1, 100)])
    for at, (here, there) in enumerate(itertools.pairwise(visited)):
        decay = torch.prod(
            1 - process.beta[there + 1 : here + 1]
        ).item()  # alpha_bar_k / alpha_bar_j, one step at a time
        alpha_bar = torch.prod(1 - process.beta[: there + 1]).item()
        forward_precision = decay / (1 - decay)  # of x_j in N(x_k; sqrt(decay) x_j, 1 - decay)
        prior_precision = 1 / (1 - alpha_bar)  # of x_j in N(sqrt(alpha_bar) x0, 1 - alpha_bar)
        precision = forward_precision + prior_precision
        mean = (forward_precision * trace[at] / decay**0.5 + prior_precision * alpha_bar**0.5 * clean) / precision
        torch.testing.assert_close(trace[at + 1], mean + precision**-0.5 * next(replay), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(result, torch.full_like(result, clean), rtol=1e-5, atol=1e-6)  # alpha_bar_0 = 1


def test_the_posterior_variance_is_the_papers_sigma_k():
    """NOTES.md: sigma_k^2 = (1 - alpha_bar_{k-1}) / (1 - alpha_bar_k) beta_k. Measured by switching noise on."""
    process = PaperProcess(steps=20, beta_first=0.01, beta_last=0.3)
    for at in range(19):  # the at-th draw belongs to k = 20 - at
        draws = iter([torch.full((1,), float(i == at), dtype=torch.float64) for i in range(40)])
        silent = iter([torch.zeros(1, dtype=torch.float64) for _ in range(40)])
        trace: dict[str, list[float]] = {"noisy": [], "silent": []}
        for name, source in (("noisy", draws), ("silent", silent)):

            def denoise(noised: Tensor, sigma: float, into: list[float] = trace[name]) -> Tensor:
                into.append(float(noised / math.sqrt(1 + sigma**2)))
                return torch.zeros_like(noised)

            ddpm(denoise, torch.ones(1, dtype=torch.float64), process, 20, lambda source=source: next(source))
        k = 19 - at
        expected = (1 - process.alpha_bar[k - 1]) / (1 - process.alpha_bar[k]) * process.beta[k]
        measured = (trace["noisy"][at + 1] - trace["silent"][at + 1]) ** 2
        assert measured == pytest.approx(float(expected), rel=1e-4)


def test_ddpm_samples_of_a_gaussian_have_its_mean_and_variance():
    random = torch.Generator().manual_seed(1)

    def noise() -> Tensor:
        return torch.randn(20_000, generator=random, dtype=torch.float64)

    samples = ddpm(gaussian, noise(), PaperProcess(), 1000, noise)
    assert float(samples.mean()) == pytest.approx(MEAN, abs=4 * STD / 20_000**0.5)
    assert float(samples.std()) == pytest.approx(STD, rel=0.025)


def test_ddpm_draws_no_noise_in_its_last_step():
    count = 0

    def noise() -> Tensor:
        nonlocal count
        count += 1
        return normal(5, count)

    ddpm(gaussian, normal(5), PaperProcess(), 7, noise)
    assert count == 6


def spreads(steps: int, variance: Tensor) -> Tensor:
    """Spread of what `angle` makes of normal data of these variances, over what it should be."""
    found = angle(
        lambda x, sigma: x * variance / (variance + sigma**2), torch.ones_like(variance), angle_levels(10, steps)
    )
    return found / variance.sqrt()


def test_even_one_step_of_the_angle_keeps_the_spread_of_unit_residuals():
    for steps in (1, 2, 3, 8):
        found = angle(lambda x, sigma: x / (1 + sigma**2), normal(50), angle_levels(10, steps))
        torch.testing.assert_close(found, normal(50), rtol=1e-6, atol=1e-6)


def test_three_steps_of_the_angle_keep_what_varies_together():
    """Eigenvalues of a covariance: 0.25 for what hardly varies, 9 for a mean of many correlated values."""
    variance = torch.tensor([0.25, 0.5, 1.0, 2.0, 4.0, 9.0], dtype=torch.float64)
    assert float((spreads(3, variance) - 1).abs().max()) < 0.1
    assert float((spreads(1, variance) - 1).abs().max()) > 0.3
    levels = ResidualProcess().sigmas(3)
    second_order = multistep(lambda x, sigma: x * variance / (variance + sigma**2), torch.ones_like(variance), levels)
    assert float((second_order / variance.sqrt() - 1).abs().max()) > 0.2


def test_the_angle_is_of_first_order_and_nears_the_exact_flow():
    start, errors = normal(50), []
    for steps in (64, 128, 256):
        levels = torch.linspace(math.atan(20), math.atan(0.05), steps + 1, dtype=torch.float64).tan()
        first, last = float(levels[0]), float(levels[-1])
        exact = gaussian_answer(start / math.cos(math.atan(first)) / first, first, last)
        errors.append(float((angle(gaussian, start, levels) - exact).abs().max()))
    slopes = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert slopes == pytest.approx([1, 1], abs=0.1)


def test_the_angle_asks_once_a_step_from_the_first_level_on():
    asked: list[float] = []

    def counting(noised: Tensor, sigma: float) -> Tensor:
        asked.append(sigma)
        return gaussian(noised, sigma)

    angle(counting, normal(3), angle_levels(10, 3))
    assert len(asked) == 3
    assert asked[0] == pytest.approx(10, rel=1e-5)
    assert asked == sorted(asked, reverse=True)
    assert asked[-1] > 0
