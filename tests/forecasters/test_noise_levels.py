"""Numbers that are spread evenly over members: strata, prefixes, signs, and cells that know nothing of each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from fomo.forecasters.noise import evenly_spread

SEEDS = torch.randn(2, 12, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("members", [2, 8, 32, 128])
def test_of_two_to_the_n_members_one_lies_in_each_equal_part(members):
    level = torch.special.ndtr(evenly_spread(SEEDS, range(members), antithetic=False).double())
    strata = (level * members).long().sort(1).values
    assert torch.equal(strata, torch.arange(members)[None, :, None, None].expand_as(strata))


def test_parts_of_an_ensemble_are_as_they_are_among_all_and_more_members_begin_with_the_same():
    for antithetic in (False, True):
        whole = evenly_spread(SEEDS, range(40), antithetic)
        torch.testing.assert_close(evenly_spread(SEEDS, range(10, 24), antithetic), whole[:, 10:24], rtol=0, atol=0)
        torch.testing.assert_close(evenly_spread(SEEDS, range(6), antithetic), whole[:, :6], rtol=0, atol=0)


def test_antithetic_members_come_in_opposite_pairs_and_half_of_them_are_spread_evenly():
    found = evenly_spread(SEEDS, range(16), antithetic=True)
    torch.testing.assert_close(found[:, 1::2], -found[:, ::2], rtol=0, atol=0)
    torch.testing.assert_close(found[:, ::2], evenly_spread(SEEDS, range(8), antithetic=False), rtol=0, atol=0)


def test_a_cell_depends_on_its_own_seed_alone():
    other = SEEDS.clone()
    other[:, 3, 4] += 0.5
    a, b = evenly_spread(SEEDS, range(9), False), evenly_spread(other, range(9), False)
    changed = (a != b).any(1)
    assert changed[:, 3, 4].all()
    assert int(changed.sum()) == 2


def test_cells_are_as_little_alike_as_independent_ones_and_each_member_is_normal():
    members = 64
    found = evenly_spread(SEEDS, range(members), antithetic=False)
    between = np.corrcoef(found[0].flatten(1).T.numpy())
    apart = between[~np.eye(len(between), dtype=bool)]
    assert abs(apart.mean()) < 0.01
    assert apart.std() < 1.3 / np.sqrt(members - 1)
    one = torch.cat([evenly_spread(torch.randn(8, 30, 30), range(5, 6), False)[:, 0] for _ in range(4)]).flatten()
    assert abs(float(one.mean())) < 0.03
    assert float(one.std()) == pytest.approx(1, abs=0.03)


def test_the_mean_over_few_members_is_near_its_own():
    def mean_of_what_is_left_of_a_cut(levels: torch.Tensor) -> torch.Tensor:
        return (levels + 0.5).clamp(min=0).mean(1) - 0.5 * norm.cdf(0.5) - norm.pdf(0.5)

    spread = mean_of_what_is_left_of_a_cut(evenly_spread(SEEDS, range(16), antithetic=True))
    drawn = torch.randn(2, 8, 12, 12, generator=torch.Generator().manual_seed(1))
    plain = mean_of_what_is_left_of_a_cut(torch.cat([drawn, -drawn], 1))
    assert float(spread.square().mean()) < 0.4 * float(plain.square().mean())
