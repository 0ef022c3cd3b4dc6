from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fomo.diffusion.loss import LARGEST_RESIDUAL, denoising_loss, head_losses, masked_mean, standardised
from fomo.diffusion.process import PaperProcess, ResidualProcess

SHAPE = (3, 4, 2, 2)
BOTH = pytest.mark.parametrize("process", [PaperProcess(), ResidualProcess()])


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape or SHAPE, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def weight() -> Tensor:
    """Some cells hidden, more or less important; the others zero."""
    random = torch.Generator().manual_seed(9)
    return torch.rand(SHAPE, generator=random) * (torch.rand(SHAPE, generator=random) < 0.4)


UNIFORM = torch.tensor([0.1, 0.5, 0.9])


def test_the_masked_mean_is_that_of_a_loop_by_hand(weight):
    values = normal(0)
    total = norm = 0.0
    for at in np.ndindex(*SHAPE):
        total += float(values[at]) * float(weight[at])
        norm += float(weight[at])
    assert float(masked_mean(values, weight)) == pytest.approx(total / norm, rel=1e-5)


def test_the_masked_mean_of_nothing_is_zero_and_finite():
    values = normal(0).requires_grad_()
    mean = masked_mean(values, torch.zeros(SHAPE))
    mean.backward()
    assert float(mean.detach()) == 0
    assert (values.grad == 0).all()


def test_equation_11_is_the_error_of_the_predicted_noise_to_the_letter(weight):
    """For the paper's process: |eps - eps_theta(x_k, k)|^2, and the same as |D - x0|^2 weighted by 1 / sigma^2."""
    process, clean, noise, output = PaperProcess(), normal(1), normal(2), normal(3)
    asked: dict[str, Tensor] = {}

    def network(noised: Tensor, label: Tensor) -> Tensor:
        asked["noised"], asked["label"] = noised, label
        return output

    loss = denoising_loss(network, process, clean, weight, noise, UNIFORM)
    assert float(loss) == pytest.approx(float(masked_mean((noise - output) ** 2, weight)), rel=1e-4)

    k = (UNIFORM * 1000).long()
    alpha_bar = process.alpha_bar[k][:, None, None, None]
    expected = alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise  # equation (9)
    torch.testing.assert_close(asked["noised"].double(), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(asked["label"], (k / 1000 * 4 - 2).float())


@BOTH
def test_the_loss_is_the_weighted_error_of_the_denoised_data(process, weight):
    clean, noise, output = normal(1), normal(2), normal(3)
    sigma = process.draw_sigma(UNIFORM)[:, None, None, None]
    c_skip, c_out, _, _ = process.coefficients(sigma)
    noised = clean + sigma * noise
    denoised = c_skip * noised + c_out * output
    expected = masked_mean(process.loss_weight(sigma) * (denoised - clean).square(), weight)
    loss = denoising_loss(lambda _x, _label: output, process, clean, weight, noise, UNIFORM)
    assert float(loss) == pytest.approx(float(expected), rel=1e-3)


@BOTH
def test_a_perfect_network_has_no_loss(process, weight):
    clean, noise = normal(1), normal(2)
    sigma = process.draw_sigma(UNIFORM)[:, None, None, None]
    c_skip, c_out, _, _ = process.coefficients(sigma)
    perfect = (clean - c_skip * (clean + sigma * noise)) / c_out
    assert float(denoising_loss(lambda _x, _label: perfect, process, clean, weight, noise, UNIFORM)) < 1e-6


@BOTH
def test_only_hidden_cells_count_in_the_denoising_loss(process, weight):
    output = normal(3).requires_grad_()

    def network(_noised: Tensor, _label: Tensor) -> Tensor:
        return output

    loss = denoising_loss(network, process, normal(1), weight, normal(2), UNIFORM)
    loss.backward()
    assert (output.grad[weight == 0] == 0).all()
    assert (output.grad[weight > 0] != 0).all()
    elsewhere = torch.where(weight == 0, torch.full(SHAPE, 100.0), normal(1))
    changed = denoising_loss(network, process, elsewhere, weight, normal(2), UNIFORM)
    assert torch.equal(changed, loss)


def test_the_losses_of_the_heads_are_squared_error_and_gaussian_likelihood_by_a_loop(weight):
    truth, mean, log_scale = normal(1), normal(2), 0.3 * normal(3)
    found = head_losses(truth, mean, log_scale, weight)
    hidden = [at for at in np.ndindex(*SHAPE) if weight[at] > 0]
    error = {at: float(truth[at] - mean[at]) for at in hidden}
    squares = sum(float(weight[at]) * error[at] ** 2 for at in hidden) / sum(float(weight[at]) for at in hidden)
    density = torch.distributions.Normal(mean, log_scale.exp()).log_prob(truth)
    likelihood = -sum(float(density[at]) for at in hidden) / len(hidden) - 0.5 * np.log(2 * np.pi)
    assert float(found.mean) == pytest.approx(squares, rel=1e-4)
    assert float(found.scale) == pytest.approx(likelihood, rel=1e-4)


def test_a_wide_scale_cannot_excuse_a_poor_mean(weight):
    mean, log_scale = normal(2).requires_grad_(), (0.3 * normal(3)).requires_grad_()
    found = head_losses(normal(1), mean, log_scale, weight)
    to_mean, to_scale = torch.autograd.grad(found.scale, (mean, log_scale), allow_unused=True, retain_graph=True)
    assert to_mean is None or (to_mean == 0).all()
    assert (to_scale[weight > 0] != 0).all()
    to_mean, to_scale = torch.autograd.grad(found.mean, (mean, log_scale), allow_unused=True)
    assert (to_mean[weight > 0] != 0).all()
    assert to_scale is None


def test_the_best_scale_is_the_size_of_the_error():
    error = torch.full(SHAPE, 0.3)
    log_scale = torch.full(SHAPE, float(np.log(0.3))).requires_grad_()
    found = head_losses(error, torch.zeros(SHAPE), log_scale, torch.ones(SHAPE))
    (gradient,) = torch.autograd.grad(found.scale, log_scale)
    assert gradient.abs().max() < 1e-6


def test_only_hidden_cells_count_in_the_losses_of_the_heads(weight):
    truth, mean, log_scale = normal(1), normal(2), 0.3 * normal(3)
    poisoned = torch.where(weight == 0, torch.full(SHAPE, 1e3), truth)
    one, other = head_losses(truth, mean, log_scale, weight), head_losses(poisoned, mean, log_scale, weight)
    assert float(one.mean) == float(other.mean)
    assert float(one.scale) == float(other.scale)


def test_residuals_are_in_units_of_the_scale_and_one_outlier_is_cut():
    mean, log_scale = normal(2).requires_grad_(), (0.3 * normal(3)).requires_grad_()
    truth = (mean + 1.5 * log_scale.exp()).detach()
    truth[0, 0, 0, 0] += 1e6
    found = standardised(truth, mean, log_scale)
    assert float(found[0, 0, 0, 0]) == LARGEST_RESIDUAL
    torch.testing.assert_close(found.flatten()[1:], torch.full((found.numel() - 1,), 1.5), rtol=1e-4, atol=1e-4)
    assert not found.requires_grad  # the denoiser's data do not train the heads
