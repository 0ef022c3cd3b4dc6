from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fomo.diffusion.process import PROCESSES, PaperProcess, Process, ResidualProcess

PAPER, RESIDUAL = PaperProcess(), ResidualProcess()
BOTH = pytest.mark.parametrize("process", [PAPER, RESIDUAL])


def test_equation_9_is_what_the_chain_of_single_steps_arrives_at():
    """x_k = sqrt(1 - beta_k) x_{k-1} + sqrt(beta_k) eps, iterated, against the closed form with NOTES.md's root."""
    mean, variance = 1.0, 0.0  # of x_k given x_0 = 1
    for k, beta in enumerate(PAPER.beta.tolist()):
        mean, variance = (1 - beta) ** 0.5 * mean, (1 - beta) * variance + beta
        alpha_bar = float(PAPER.alpha_bar[k])
        assert mean == pytest.approx(alpha_bar**0.5, rel=1e-9)
        assert variance == pytest.approx(1 - alpha_bar, rel=1e-9)  # so noise is multiplied by sqrt(1 - alpha_bar)
        assert float(PAPER.sigma_of[k]) == pytest.approx(variance**0.5 / mean, rel=1e-9)
    assert mean < 0.01  # nothing is left of the data at k = K


def test_the_chain_by_simulation_has_the_mean_and_variance_of_equation_9():
    process = PaperProcess(steps=50, beta_first=1e-3, beta_last=0.2)
    random = torch.Generator().manual_seed(0)
    x = torch.full((40_000,), 0.7, dtype=torch.float64)
    for beta in process.beta.tolist():
        x = (1 - beta) ** 0.5 * x + beta**0.5 * torch.randn(x.shape, generator=random, dtype=x.dtype)
    alpha_bar = float(process.alpha_bar[-1])
    assert float(x.mean()) == pytest.approx(0.7 * alpha_bar**0.5, abs=4 / 40_000**0.5)
    assert float(x.var()) == pytest.approx(1 - alpha_bar, rel=4 * (2 / 40_000) ** 0.5)


def test_the_papers_betas_are_linear():
    gaps = PAPER.beta.diff()
    torch.testing.assert_close(gaps, gaps[:1].expand(len(gaps)))
    assert float(PAPER.beta[0]) == pytest.approx(1e-4)
    assert float(PAPER.beta[-1]) == pytest.approx(0.02)
    assert len(PAPER.beta) == 1000


def test_the_papers_coefficients_are_those_of_epsilon_prediction():
    """With F = eps, D gives the data back; what F reads is x_k of equation (9); what it is told is k."""
    k = torch.tensor([0, 10, 499, 999])
    sigma, alpha_bar = PAPER.sigma_of[k], PAPER.alpha_bar[k]
    c_skip, c_out, c_in, c_noise = PAPER.coefficients(sigma)
    data, eps = torch.randn(4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    noised = data + sigma * eps
    torch.testing.assert_close(c_in * noised, alpha_bar.sqrt() * data + (1 - alpha_bar).sqrt() * eps)
    torch.testing.assert_close(c_skip * noised + c_out * eps, data)
    torch.testing.assert_close(c_noise, k.double() / 1000 * 4 - 2)


@given(st.floats(1e-4, 1e3))
def test_the_index_of_a_noise_level_is_the_nearest_in_ratio(sigma):
    index = int(PAPER.index(torch.tensor([sigma], dtype=torch.float64)))
    distance = (PAPER.sigma_of.log() - np.log(sigma)).abs()
    assert distance[index] == pytest.approx(float(distance.min()), abs=1e-12)


def test_every_step_of_the_paper_is_its_own_index_even_in_single_precision():
    assert torch.equal(PAPER.index(PAPER.sigma_of), torch.arange(1000))
    assert torch.equal(PAPER.index(PAPER.sigma_of.float()), torch.arange(1000))


def test_training_draws_every_step_of_the_paper_evenly():
    sigma = PAPER.draw_sigma((torch.arange(5000) + 0.5) / 5000)
    assert torch.equal(PAPER.index(sigma).bincount(minlength=1000), torch.full((1000,), 5))
    assert torch.isfinite(PAPER.draw_sigma(torch.tensor([0.0, 1.0]))).all()


def test_training_draws_log_normal_noise_for_residuals():
    logs = RESIDUAL.draw_sigma((torch.arange(10_000) + 0.5) / 10_000).log()
    assert float(logs.mean()) == pytest.approx(RESIDUAL.log_sigma_mean, abs=1e-3)
    assert float(logs.std()) == pytest.approx(RESIDUAL.log_sigma_std, rel=5e-3)
    assert torch.isfinite(RESIDUAL.draw_sigma(torch.tensor([0.0, 1.0])).log()).all()


def test_the_target_of_the_residual_process_has_unit_variance_at_every_noise():
    """Karras' requirement, from which c_in, c_skip and c_out follow; here for data of variance 1."""
    random = torch.Generator().manual_seed(0)
    data, eps = (torch.randn(200_000, generator=random, dtype=torch.float64) for _ in range(2))
    for sigma in torch.tensor([0.02, 0.1, 0.5, 1.0, 3.0, 20.0], dtype=torch.float64):
        c_skip, c_out, c_in, _ = RESIDUAL.coefficients(sigma)
        noised = data + sigma * eps
        assert float((c_in * noised).var()) == pytest.approx(1, rel=0.02)
        target = (data - c_skip * noised) / c_out
        assert float(target.var()) == pytest.approx(1, rel=0.02)
        # c_skip minimises the target's share of D: the best linear guess of the data
        assert float(c_skip) == pytest.approx(float((data * noised).mean() / noised.square().mean()), abs=0.01)


@BOTH
def test_the_loss_weight_makes_the_error_of_the_network_count_evenly(process):
    sigma = torch.tensor([0.05, 0.7, 9.0])
    c_skip, c_out, _, _ = process.coefficients(sigma)
    noised, clean, output = torch.randn(3), torch.randn(3), torch.randn(3)
    denoised = c_skip * noised + c_out * output
    target = (clean - c_skip * noised) / c_out
    torch.testing.assert_close(process.loss_weight(sigma) * (denoised - clean) ** 2, (output - target) ** 2)


@BOTH
@given(steps=st.integers(1, 200))
def test_the_levels_of_a_sampler_fall_from_the_largest_noise_to_zero(process, steps):
    sigmas = process.sigmas(steps)
    assert len(sigmas) == steps + 1
    assert (sigmas.diff() < 0).all()
    assert float(sigmas[-1]) == 0
    largest = RESIDUAL.sigma_max if process is RESIDUAL else float(PAPER.sigma_of[-1])
    assert float(sigmas[0]) == pytest.approx(largest, rel=1e-5)
    if steps > 1:
        smallest = RESIDUAL.sigma_min if process is RESIDUAL else float(PAPER.sigma_of[0])
        assert float(sigmas[-2]) == pytest.approx(smallest, rel=1e-4)


def test_a_sampler_of_all_steps_visits_every_step_of_the_paper():
    torch.testing.assert_close(PAPER.sigmas(1000)[:-1].double(), PAPER.sigma_of.flip(0), rtol=1e-6, atol=0)


def test_processes_are_found_by_the_name_in_the_recipe():
    assert isinstance(PROCESSES["paper"](), PaperProcess)
    assert isinstance(PROCESSES["residual"](), ResidualProcess)
    assert all(isinstance(made(), Process) for made in PROCESSES.values())
