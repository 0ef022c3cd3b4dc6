"""Members are not negative and keep the mean: against quadrature and a known table, one by one."""

from __future__ import annotations

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from fomo.diffusion.members import LARGEST_SPREAD, censored_location, members_of, mirrored_pairs


@pytest.mark.parametrize("mean", [1 / LARGEST_SPREAD, 0.2, 0.3989, 1.0, 2.5, 8.0, 400.0])
def test_the_mean_after_the_cut_is_the_one_asked_for_by_quadrature(mean):
    location = float(censored_location(torch.tensor([mean], dtype=torch.float64)))
    above, _ = quad(lambda z: (location + z) * norm.pdf(z), max(-location, -12), 12, epsabs=1e-12)
    assert above == pytest.approx(mean, rel=1e-6)


def test_half_of_the_members_are_zero_where_the_mean_is_that_of_half_a_normal():
    assert float(censored_location(torch.tensor([norm.pdf(0)]))) == pytest.approx(0.0, abs=1e-6)


def test_members_keep_mean_and_spread_and_are_never_negative():
    residual = torch.randn(1, 200_000, 1, 1, 3, generator=torch.Generator().manual_seed(0))
    mean, scale = torch.tensor([0.02, 0.3, 0.3]).reshape(1, 1, 1, 3), torch.tensor([0.1, 0.3, 0.02]).reshape(1, 1, 1, 3)
    members = members_of(residual, mean, scale)
    assert (members >= 0).all()
    torch.testing.assert_close(members.mean(1), mean, rtol=0.02, atol=0)
    assert float(members[..., 2].std()) == pytest.approx(0.02, rel=0.01)
    plain = (mean[:, None] + scale[:, None] * residual).clamp(min=0).mean(1)
    assert float(plain[..., 0]) > 2 * 0.02  # what cutting alone would do


def test_nothing_is_nothing_and_little_is_little():
    residual = torch.randn(1, 50, 2, 1, 1)
    assert (members_of(residual, torch.zeros(1, 2, 1, 1), torch.ones(1, 2, 1, 1)) == 0).all()
    assert (members_of(residual, torch.ones(1, 2, 1, 1), torch.zeros(1, 2, 1, 1)) == 1).all()
    faint = members_of(residual, torch.full((1, 2, 1, 1), 1e-3), torch.full((1, 2, 1, 1), 5.0))
    assert float(faint.max()) < 1e-3 * LARGEST_SPREAD * 5
    assert torch.isfinite(faint).all()


def test_a_member_does_not_depend_on_those_beside_it():
    residual = torch.randn(2, 6, 4, 2, 2)
    mean, scale = torch.rand(2, 4, 2, 2), torch.rand(2, 4, 2, 2)
    together = members_of(residual, mean, scale)
    torch.testing.assert_close(members_of(residual[:, 2:3], mean, scale), together[:, 2:3])


@pytest.mark.parametrize("members", [1, 2, 5])
def test_pairs_are_mirrored_and_what_both_have_is_gone(members):
    odd = torch.randn(2, 3, 4, 2, 2)
    noise = torch.stack([odd, -odd], 2).flatten(1, 2)[:, :members]
    residual = noise + 0.3  # a map of noise to residuals with an even part
    found = mirrored_pairs(residual)
    paired = members // 2 * 2
    torch.testing.assert_close(found[:, :paired], noise[:, :paired])
    assert torch.equal(found[:, paired:], residual[:, paired:])
