"""Equation (14) against numpy, and where it is known what it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fomo.diffusion.contrast import TEMPERATURE, alignment_loss, similarity


def tokens(blocks: int = 7, width: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(blocks, width, generator=random), torch.randn(blocks, width, generator=random) + 3.0


def cosines(traffic: torch.Tensor, context: torch.Tensor) -> np.ndarray:
    """Of every pair of blocks, after the mean is taken off each side, in double precision."""
    e, y = (part.double().numpy() - part.double().numpy().mean(0) for part in (traffic, context))
    return np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in y] for a in e])


@pytest.mark.parametrize("temperature", [TEMPERATURE, 1.0])
def test_the_loss_and_the_score_are_those_of_a_loop_over_pairs(temperature):
    traffic, context = tokens()
    cosine = cosines(traffic, context)
    np.testing.assert_allclose(similarity(traffic, context).numpy(), cosine, atol=1e-6)
    alike = np.exp(cosine / temperature)
    expected = []
    for own in range(7):  # -log I(e, y) / (I(e, y) + sum over e' of I(e', y))
        others = sum(alike[other, own] for other in range(7) if other != own)
        expected.append(-math.log(alike[own, own] / (alike[own, own] + others)))
    found = alignment_loss(traffic, context, temperature)
    assert float(found.loss) == pytest.approx(np.mean(expected), rel=1e-5)
    apart = [cosine[i, j] for i in range(7) for j in range(7) if i != j]
    assert float(found.score) == pytest.approx(np.mean(np.diag(cosine)) - np.mean(apart), abs=1e-6)


def test_the_negatives_of_a_context_are_the_traffic_of_the_other_blocks_and_not_the_other_way_round():
    traffic, context = tokens()
    assert float(alignment_loss(traffic, context).loss) != pytest.approx(float(alignment_loss(context, traffic).loss))


@pytest.mark.parametrize("blocks", [2, 5, 64])
def test_without_information_the_loss_is_the_logarithm_of_the_number_of_blocks(blocks):
    """Context that is the same everywhere has no direction of its own: all cosines are 0."""
    traffic, _ = tokens(blocks)
    found = alignment_loss(traffic, torch.ones(blocks, 5))
    assert float(found.loss) == pytest.approx(math.log(blocks), rel=1e-5)
    assert float(found.score) == pytest.approx(0, abs=1e-6)


def test_aligned_tokens_have_a_lower_loss_and_a_higher_score_and_opposed_ones_the_reverse():
    traffic, context = tokens(64, 16)
    chance, aligned, opposed = (alignment_loss(traffic, other) for other in (context, 2 * traffic + 1, -traffic))
    assert float(aligned.loss) < float(chance.loss) - 1
    assert float(aligned.score) > 0.9 > float(chance.score) > float(opposed.score)
    assert float(opposed.loss) > float(chance.loss)


def test_what_all_blocks_share_and_how_long_tokens_are_says_nothing():
    traffic, context = tokens()
    one, other = alignment_loss(traffic, context), alignment_loss(4 * traffic - 9, 0.5 * context + 2)
    torch.testing.assert_close(one.loss, other.loss, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.score, other.score, rtol=1e-4, atol=1e-5)


def test_following_the_gradient_aligns_the_context():
    traffic, context = tokens(16, 8)
    context.requires_grad_()
    before = alignment_loss(traffic, context)
    for _ in range(50):
        (gradient,) = torch.autograd.grad(alignment_loss(traffic, context).loss, context)
        assert torch.isfinite(gradient).all()
        context = (context - gradient * 5).detach().requires_grad_()
    after = alignment_loss(traffic, context)
    assert float(after.loss) < 0.5 * float(before.loss)
    assert float(after.score) > 0.5 > float(before.score)
