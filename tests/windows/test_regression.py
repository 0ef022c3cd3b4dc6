"""The fit of a cell's week, with and without the users that its traffic goes with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fomo.windows.regression import (
    FEWEST_TIMES,
    LARGEST_MOVE,
    LARGEST_RELATIVE,
    LEVEL_VARIANCE,
    SMALLEST_UNIT,
    fit_week,
)

SIZE = (2, 24, 2, 3)


@pytest.fixture
def made() -> dict[str, Tensor]:
    """Rhythm, shapes, noise, shares, what is seen of them and levels: random weeks of random cells."""
    random = np.random.default_rng(0)
    parts: dict[str, Any] = {
        "rhythm": random.lognormal(0.0, 0.4, SIZE),
        "shapes": random.normal(0.0, 0.3, (2, 4, 24)),
        "noise": random.uniform(0.05, 0.2, (2, 24)),
        "share": random.lognormal(-1.5, 0.6, SIZE),
        "seen": random.random(SIZE) < 0.6,
        "level": random.uniform(0.1, 0.4, (2, 2, 3)),
    }
    return {name: torch.tensor(part, dtype=torch.float32) for name, part in parts.items()}


@pytest.fixture
def times() -> Tensor:
    """Users relative to their mean, some hours with next to none."""
    random = np.random.default_rng(1)
    return torch.tensor(random.lognormal(0.0, 0.8, SIZE) * (random.random(SIZE) < 0.9), dtype=torch.float32)


def ridge(made: dict[str, Tensor], times: Tensor, power: float, spread: float, at: tuple[int, int, int]):
    """Level and week of one cell by least squares on the rows, and on one row more for every weight's prior."""
    row, y, x = at
    rhythm, share, seen, ratio = (
        part[row, :, y, x].double().numpy() for part in (made["rhythm"], made["share"], made["seen"], times)
    )
    shapes, noise = made["shapes"][row].double().numpy(), made["noise"][row].double().numpy()
    level = float(made["level"][row, y, x])
    scale = level + SMALLEST_UNIT
    design = np.stack([rhythm * ratio, *(shape * ratio for shape in shapes)], 1)
    left = np.clip((share - level * rhythm * ratio) / scale, -LARGEST_RELATIVE, LARGEST_RELATIVE)
    trust = np.sqrt(seen / (noise * np.maximum(ratio, FEWEST_TIMES) ** power))
    prior = np.diag([1 / np.sqrt(spread), *np.ones(len(shapes))])
    rows = np.concatenate([design * trust[:, None], prior])
    weights, *_ = np.linalg.lstsq(rows, np.concatenate([left * trust, np.zeros(len(prior))]), rcond=None)
    moved = np.clip(level + scale * weights[0], level / LARGEST_MOVE, level * LARGEST_MOVE)
    return moved, np.maximum(level * rhythm * ratio + scale * design @ weights, 0.0)


@pytest.mark.parametrize("power", [2.0, 1.5, 0.0])
@pytest.mark.parametrize("spread", [LEVEL_VARIANCE, 0.3])
def test_with_users_each_cell_is_a_weighted_ridge_regression_on_what_its_users_carry(made, times, power, spread):
    found = fit_week(**made, times=times, noise_power=power, level_variance=spread)
    for at in np.ndindex(2, 2, 3):
        level, week = ridge(made, times, power, spread, at)
        assert float(found.level[at]) == pytest.approx(level, rel=1e-3)
        np.testing.assert_allclose(found.share[at[0], :, at[1], at[2]].numpy(), week, rtol=2e-3, atol=2e-4)


def test_the_level_may_vary_otherwise_in_every_window(made, times):
    found = fit_week(**made, times=times, level_variance=torch.tensor([0.01, 5.0]))
    for at in np.ndindex(2, 2, 3):
        level, week = ridge(made, times, 2.0, (0.01, 5.0)[at[0]], at)
        assert float(found.level[at]) == pytest.approx(level, rel=1e-3)
        np.testing.assert_allclose(found.share[at[0], :, at[1], at[2]].numpy(), week, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("power", [2.0, 1.5])
def test_where_the_users_are_always_as_many_the_fit_is_that_without_them(made, power):
    plain, with_users = fit_week(**made), fit_week(**made, times=torch.ones(SIZE), noise_power=power)
    torch.testing.assert_close(with_users.level, plain.level, rtol=1e-5, atol=0)
    torch.testing.assert_close(with_users.share, plain.share, rtol=1e-5, atol=1e-7)


def test_a_cell_of_which_nothing_is_seen_keeps_its_level_and_goes_with_its_users(made, times):
    found = fit_week(**made | {"seen": torch.zeros(SIZE)}, times=times)
    assert torch.equal(found.level, made["level"])
    torch.testing.assert_close(found.share, made["level"][:, None] * made["rhythm"] * times)


def test_what_is_not_seen_never_enters(made, times):
    changed = torch.where(made["seen"] > 0, made["share"], 100.0)
    one, other = fit_week(**made, times=times), fit_week(**made | {"share": changed}, times=times)
    assert torch.equal(one.share, other.share)
    assert torch.equal(one.level, other.level)
