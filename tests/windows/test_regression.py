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
    Prior,
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
def test_with_users_each_cell_is_a_weighted_ridge_regression_on_what_its_users_carry(made, times, power):
    found = fit_week(**made, times=times, noise_power=power)
    for at in np.ndindex(2, 2, 3):
        level, week = ridge(made, times, power, LEVEL_VARIANCE, at)
        assert float(found.level[at]) == pytest.approx(level, rel=1e-3)
        np.testing.assert_allclose(found.share[at[0], :, at[1], at[2]].numpy(), week, rtol=2e-3, atol=2e-4)


@pytest.fixture
def prior() -> Prior:
    random = np.random.default_rng(2)
    parts = {
        "mean": random.normal(0.0, 0.2, (2, 2, 3, 5)),
        "variance": random.uniform(0.1, 1.0, (2, 2, 3, 5)),
        "shared_mean": [0.2, -0.1],
        "shared_variance": [0.3, 0.05],
    }
    return Prior(**{name: torch.tensor(part, dtype=torch.float32) for name, part in parts.items()})


@pytest.mark.parametrize("seen", ["some", "nothing", "of one cell"])
def test_cells_with_a_level_in_common_are_one_gaussian_and_its_conditional_mean_is_found(made, times, prior, seen):
    """All weights of all cells of a window as one normal vector, conditioned on all that is seen: dense algebra."""
    if seen != "some":
        there = torch.zeros(SIZE) if seen == "nothing" else made["seen"] * (torch.arange(3) == 1)
        made = made | {"seen": there}
    found = fit_week(**made, times=times, noise_power=1.5, prior=prior)
    parts = {name: part.double().numpy() for name, part in made.items()}
    users, cells = times.double().numpy(), list(np.ndindex(2, 3))
    for row in range(2):
        before, spread = np.zeros(30), np.zeros((30, 30))
        design, left, noise = np.zeros((6 * 24, 30)), np.zeros(6 * 24), np.zeros(6 * 24)
        for index, (y, x) in enumerate(cells):
            own, steps = slice(5 * index, 5 * index + 5), slice(24 * index, 24 * index + 24)
            before[own] = prior.mean[row, y, x].numpy()
            spread[own, own] = np.diag(prior.variance[row, y, x].numpy())
            carried = parts["rhythm"][row, :, y, x] * users[row, :, y, x]
            level = parts["level"][row, y, x]
            scale = level + SMALLEST_UNIT
            design[steps, own] = np.column_stack(
                [carried * level / scale, (parts["shapes"][row] * users[row, :, y, x]).T]
            )
            left[steps] = np.clip((parts["share"][row, :, y, x] - level * carried) / scale, -8, 8)
            noise[steps] = parts["noise"][row] * np.maximum(users[row, :, y, x], FEWEST_TIMES) ** 1.5
        before[::5] += float(prior.shared_mean[row])
        spread[::5, ::5] += float(prior.shared_variance[row])
        there = np.concatenate([parts["seen"][row, :, y, x] > 0 for y, x in cells])
        rows = design[there]
        gain = spread @ rows.T @ np.linalg.inv(rows @ spread @ rows.T + np.diag(noise[there]))
        expected = before + gain @ (left[there] - rows @ before)
        np.testing.assert_allclose(found.weights[row].numpy().ravel(), expected, rtol=5e-3, atol=5e-4)
        for index, (y, x) in enumerate(cells):
            level = parts["level"][row, y, x]
            moved = (level + SMALLEST_UNIT) * design[24 * index : 24 * index + 24] @ expected
            week = level * parts["rhythm"][row, :, y, x] * users[row, :, y, x] + moved
            np.testing.assert_allclose(found.share[row, :, y, x].numpy(), np.maximum(week, 0.0), rtol=5e-3, atol=5e-4)


def test_a_cell_of_which_nothing_is_seen_has_the_level_of_the_others_as_far_as_levels_are_shared(made, times):
    """Traffic twice what was thought: the unseen cell follows where regions differ, and not where cells do."""
    share = 2 * made["level"][:, None] * made["rhythm"] * times
    seen = torch.ones(SIZE)
    seen[:, :, 0, 0] = 0
    for shared, expected in ((10.0, 2.0), (1e-6, 1.0)):
        prior = Prior(torch.zeros(2, 2, 3, 5), torch.full((2, 2, 3, 5), 1e-3), torch.zeros(2), torch.full((2,), shared))
        found = fit_week(
            **made | {"share": share, "seen": seen, "noise": torch.full((2, 24), 1e-4)}, times=times, prior=prior
        )
        assert (found.level / made["level"])[:, 0, 0].tolist() == pytest.approx([expected] * 2, rel=0.02)


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
