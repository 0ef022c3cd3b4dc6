"""Members are not negative and keep the mean: against quadrature and a known table, one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm, t

from fomo.diffusion.members import (
    LARGEST_SPREAD,
    WORTH_CELLS,
    OtherCells,
    censored_location,
    censored_location_of_tails,
    members_of,
    mirrored_pairs,
    with_tails,
)


@pytest.mark.parametrize("mean", [1 / LARGEST_SPREAD, 0.2, 0.3989, 1.0, 2.5, 8.0, 400.0])
def test_the_mean_after_the_cut_is_the_one_asked_for_by_quadrature(mean):
    location = float(censored_location(torch.tensor([mean], dtype=torch.float64)))
    above, _ = quad(lambda z: (location + z) * norm.pdf(z), max(-location, -12), 12, epsabs=1e-12)
    assert above == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize("mean", [1 / LARGEST_SPREAD, 0.2, 0.5, 1.0, 2.5, 8.0])
def test_the_mean_after_the_cut_is_the_one_asked_for_with_tails_too(mean):
    location = float(censored_location_of_tails(torch.tensor([mean], dtype=torch.float64)))
    scaled = t(4, scale=1 / np.sqrt(2))
    above, _ = quad(lambda s: (location + s) * scaled.pdf(s), -location, np.inf, epsabs=1e-12)
    assert above == pytest.approx(mean, rel=1e-6)


def test_with_tails_a_number_has_the_quantile_of_students_t_at_its_level():
    normal = torch.tensor([-5.0, -3.1, -1.0, -1e-3, 0.0, 0.02, 0.7, 2.0, 4.4, 6.0])
    expected = t.isf(norm.sf(normal.numpy().astype(float)), 4) / np.sqrt(2)
    np.testing.assert_allclose(with_tails(normal).numpy(), expected, rtol=1e-3, atol=2e-4)
    np.testing.assert_allclose(with_tails(normal.double()).numpy(), expected, rtol=1e-7, atol=1e-7)
    assert torch.isfinite(with_tails(torch.tensor([-40.0, 40.0]))).all()
    drawn = with_tails(torch.randn(400_000, generator=torch.Generator().manual_seed(0)).double())
    assert float(drawn.var()) == pytest.approx(1.0, abs=0.02) and float(drawn.abs().mean()) == pytest.approx(
        0.7071, abs=0.01
    )


def test_members_with_tails_keep_the_mean_and_go_further_where_it_is_rare():
    residual = torch.randn(1, 400_000, 1, 1, 3, generator=torch.Generator().manual_seed(1))
    mean, scale = torch.tensor([0.02, 0.3, 0.3]).reshape(1, 1, 1, 3), torch.tensor([0.1, 0.3, 0.02]).reshape(1, 1, 1, 3)
    plain, tails = (members_of(residual, mean, scale, tails=way) for way in (False, True))
    assert (tails >= 0).all()
    torch.testing.assert_close(tails.mean(1), mean, rtol=0.02, atol=0)
    assert float(tails[..., 2].std()) == pytest.approx(0.02, rel=0.03)
    beyond = [
        float((members[..., 2] > 0.3 + 0.02 * far).float().mean()) for members in (plain, tails) for far in (1, 3)
    ]
    assert beyond[2] < 0.8 * beyond[0] and beyond[3] > 4 * beyond[1]
    opposite = members_of(torch.cat([residual, -residual], 1)[..., 2:], mean[..., 2:], scale[..., 2:], tails=True)
    assert float(opposite.mean()) == pytest.approx(0.3, rel=1e-5)  # of pairs the mean is exact


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
    others = OtherCells.of(torch.rand(2, 4, 3, 3), torch.ones(2, 4, 3, 3, dtype=torch.bool))
    unknown = torch.tensor([[True, False], [False, True]]).expand(2, 2, 2)
    together = members_of(residual, mean, scale, unknown, others)
    torch.testing.assert_close(members_of(residual[:, 2:3], mean, scale, unknown, others), together[:, 2:3])


# ---------------------------------------------------------------- cells of which nothing is known


def other_cells(values: list[list[float]]) -> OtherCells:
    """Those of one window of one row of cells, NaN = not observed."""
    share = torch.tensor(values)[None, :, None]
    return OtherCells.of(share.nan_to_num(), torch.isfinite(share))


def test_quantiles_of_the_other_cells_are_those_of_numpy():
    random = np.random.default_rng(0)
    values = random.lognormal(0, 1, (3, 9)).astype(np.float32)
    values[1, 2] = np.nan
    levels = np.linspace(0.01, 0.99, 25)
    found = other_cells(values.tolist()).quantiles(
        torch.zeros(1, dtype=torch.long), torch.tensor(levels).float()[None, :, None].expand(1, -1, 3)
    )
    for time, row in enumerate(values):
        seen = row[np.isfinite(row)]
        expected = np.quantile(seen / seen.mean(), levels, method="hazen")
        np.testing.assert_allclose(found[0, :, time], expected, rtol=2e-4, atol=1e-5)


def test_the_mean_over_all_levels_is_one():
    levels = ((torch.arange(100_000) + 0.5) / 100_000)[None, :, None]
    found = other_cells([[0.0, 0.0, 0.1, 2.0, 7.0]]).quantiles(torch.zeros(1, dtype=torch.long), levels)
    assert float(found.double().mean()) == pytest.approx(1, rel=1e-5)


def test_members_of_a_cell_of_which_nothing_is_known_lie_as_the_other_cells_do_and_keep_the_mean():
    residual = torch.randn(1, 200_000, 1, 1, 2, generator=torch.Generator().manual_seed(0))
    mean, scale = torch.full((1, 1, 1, 2), 0.2), torch.full((1, 1, 1, 2), 0.02)
    others = other_cells([[0.0, 0.1, 0.1, 0.1, 0.7]])
    members = members_of(residual, mean, scale, torch.tensor([[[True, False]]]), others)
    plain = members_of(residual, mean, scale)
    torch.testing.assert_close(members[..., 1], plain[..., 1], rtol=0, atol=0)
    torch.testing.assert_close(members.mean(1), mean, rtol=0.01, atol=0)
    assert (members >= 0).all()
    busiest = 0.2 * 0.7 / 0.2  # flat above the level 0.9
    above = members[0, residual[0, :, 0, 0, 0] > norm.ppf(0.9), 0, 0, 0]
    weight = 5 / (5 + WORTH_CELLS)
    expected = weight * busiest + (1 - weight) * plain[0, residual[0, :, 0, 0, 0] > norm.ppf(0.9), 0, 0, 0]
    torch.testing.assert_close(above, expected)


def test_other_cells_lie_around_what_is_expected_of_them():
    share, seen = torch.tensor([[[[4.0, 2.0, 1.0, 9.0]]]]), torch.tensor([[[[True, True, True, False]]]])
    as_expected = OtherCells.of(share, seen, torch.tensor([[[4.0, 2.0, 1.0, 5.0]]]))
    torch.testing.assert_close(as_expected.ratios[0, 0, :3], torch.ones(3))
    alike = OtherCells.of(share, seen)
    torch.testing.assert_close(alike.ratios[0, 0, :3], torch.tensor([3 / 7, 6 / 7, 12 / 7]))
    assert float(alike.count) == float(as_expected.count) == 3


@pytest.mark.parametrize("values", [[0.0, 0.0, 0.0, 0.0], [np.nan] * 4])
def test_other_cells_without_traffic_say_nothing(values):
    residual = torch.randn(1, 6, 1, 1, 1)
    mean, scale = torch.full((1, 1, 1, 1), 0.2), torch.full((1, 1, 1, 1), 0.1)
    found = members_of(residual, mean, scale, torch.ones(1, 1, 1, dtype=torch.bool), other_cells([values]))
    torch.testing.assert_close(found, members_of(residual, mean, scale), rtol=0, atol=0)


@pytest.mark.parametrize("members", [1, 2, 5])
def test_pairs_are_mirrored_and_what_both_have_is_gone(members):
    odd = torch.randn(2, 3, 4, 2, 2)
    noise = torch.stack([odd, -odd], 2).flatten(1, 2)[:, :members]
    residual = noise + 0.3  # a map of noise to residuals with an even part
    found = mirrored_pairs(residual)
    paired = members // 2 * 2
    torch.testing.assert_close(found[:, :paired], noise[:, :paired])
    assert torch.equal(found[:, paired:], residual[:, paired:])
