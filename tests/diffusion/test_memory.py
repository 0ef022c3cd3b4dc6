"""What residuals remember: against the covariance that is written down, and what must not change."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fomo.diffusion.memory import (
    FADES_AFTER,
    HOURLY_FADES_AFTER,
    IN_COMMON,
    MEMORIES,
    SHARE_IN_COMMON,
    Memory,
    covariance,
    in_common,
    remembered,
)


def flags(unseen: bool, told: bool) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full((1, 1, 1), unseen), torch.full((1, 1, 1), told)


@pytest.mark.parametrize("unseen", [False, True])
@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("step_hours", [0.25, 1.0])
def test_members_have_the_covariance_that_is_asked_for(unseen, told, step_hours):
    generator = torch.Generator().manual_seed(0)
    residual, noise = torch.randn(2, 1, 100_000, 40, 1, 1, generator=generator)
    found = remembered(residual, noise, torch.tensor([step_hours]), *flags(unseen, told))[0, :, :, 0, 0].double()
    memory = MEMORIES[unseen, told]
    hours = step_hours * np.arange(40)
    by_hand = memory.lasting + memory.daily * np.exp(-hours / FADES_AFTER) * np.exp(
        -2 * np.sin(np.pi * hours / 24) ** 2
    )
    by_hand[0] = 1.0  # with the denoiser's part
    np.testing.assert_allclose((found.T @ found)[0] / len(found), by_hand, atol=0.02)


def test_an_error_comes_back_the_next_day_and_less_at_noon_than_at_midnight():
    cov = covariance(Memory(0.0, 1.0), 49, 1.0)
    assert cov[0, 24] == pytest.approx(np.exp(-24 / FADES_AFTER))
    assert cov[0, 12] == pytest.approx(np.exp(-12 / FADES_AFTER - 2))
    assert (np.linalg.eigvalsh(cov) > -1e-9).all()


def test_what_is_known_of_a_cell_rules_its_memory_and_shares_add_up():
    residual, noise = torch.zeros(1, 4, 6, 1, 4), torch.randn(1, 4, 6, 1, 4)
    unseen, told = torch.tensor([[[False, False, True, True]]]), torch.tensor([[[False, True, False, True]]])
    found = remembered(residual, noise, torch.tensor([1.0]), unseen, told)
    for cell, kind in enumerate(((False, False), (False, True), (True, False), (True, True))):
        some = slice(cell, cell + 1)
        alone = remembered(residual[..., some], noise[..., some], torch.tensor([1.0]), *flags(*kind))
        torch.testing.assert_close(found[..., cell], alone[..., 0])
        assert 0 < MEMORIES[kind].share < 1


def test_opposite_residuals_and_noise_give_opposite_members():
    residual, noise = torch.randn(2, 3, 2, 8, 2, 2)
    unseen = torch.rand(3, 2, 2) > 0.5
    args = (torch.tensor([0.25, 1.0, 0.25]), unseen, ~unseen)
    torch.testing.assert_close(remembered(-residual, -noise, *args), -remembered(residual, noise, *args))


def test_windows_of_several_steps_have_what_each_has_alone():
    residual, noise = torch.randn(2, 3, 2, 8, 2, 2)
    steps = torch.tensor([0.25, 1.0, 0.25])
    unseen, told = torch.rand(2, 3, 2, 2) > 0.5
    together = remembered(residual, noise, steps, unseen, told)
    for row in range(3):
        some = slice(row, row + 1)
        alone = remembered(residual[some], noise[some], steps[some], unseen[some], told[some])
        torch.testing.assert_close(together[some], alone)


def test_steps_that_are_kept_are_those_of_the_whole_window():
    residual, noise = torch.randn(2, 2, 3, 10, 2, 2)
    unseen, told = torch.rand(2, 2, 2, 2) > 0.5
    whole = remembered(residual, noise, torch.tensor([0.5, 1.0]), unseen, told)
    kept = slice(7, None)
    some = remembered(residual[:, :, kept], noise, torch.tensor([0.5, 1.0]), unseen, told, kept)
    torch.testing.assert_close(some, whole[:, :, kept])


# ---------------------------------------------------------------- what cells have in common


@pytest.mark.parametrize("unseen", [False, True])
def test_cells_have_the_share_of_their_variance_in_common_that_is_asked_for(unseen):
    generator = torch.Generator().manual_seed(1)
    residual = torch.randn(1, 100_000, 12, 1, 2, generator=generator)
    noise = torch.randn(1, 100_000, 12, generator=generator)
    cells = torch.full((1, 1, 2), unseen)
    found = in_common(residual, noise, torch.tensor([0.3]), torch.tensor([1.0]), cells)[0, :, :, 0].double()
    share, memory = SHARE_IN_COMMON[True] if unseen else 0.3, IN_COMMON[unseen]
    hours = np.arange(12)
    fading = np.exp(-hours / FADES_AFTER - 2 * np.sin(np.pi * hours / 24) ** 2)
    by_hand = memory.lasting + memory.daily * fading + memory.hourly * np.exp(-hours / HOURLY_FADES_AFTER)
    assert by_hand[0] == pytest.approx(1)
    across = (found[..., 0].T @ found[..., 1])[0] / len(found)
    np.testing.assert_allclose(across, share * by_hand, atol=0.02)
    np.testing.assert_allclose(found.var((0,)), 1, atol=0.02)


def test_cells_that_share_nothing_stay_as_they_were_and_each_window_has_its_own_share():
    residual, noise = torch.randn(3, 2, 8, 2, 2), torch.randn(3, 2, 8)
    steps, unseen = torch.tensor([0.25, 1.0, 0.25]), torch.rand(3, 2, 2) > 0.7
    unseen[0] = False
    share = torch.tensor([0.0, 0.2, 1.0])
    found = in_common(residual, noise, share, steps, unseen)
    torch.testing.assert_close(found[0], residual[0], rtol=0, atol=0)
    for row in range(3):
        some = slice(row, row + 1)
        alone = in_common(residual[some], noise[some], share[some], steps[some], unseen[some])
        torch.testing.assert_close(found[some], alone)
    kept = slice(5, None)
    part = in_common(residual[:, :, kept], noise, share, steps, unseen, kept)
    torch.testing.assert_close(part, found[:, :, kept])
    torch.testing.assert_close(in_common(-residual, -noise, share, steps, unseen), -found)
