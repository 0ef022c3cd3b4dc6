"""The noise process of the diffusion rivals, against closed forms, and how their networks are asked."""

from __future__ import annotations

import math

import pytest
import torch
from made_networks import answers, grown

from fomo.forecasters.rivals.inputs import Inputs
from fomo.forecasters.rivals.network import WindowNoise
from fomo.forecasters.rivals.noising import Noising, quadratic_betas


def test_the_roots_of_the_variances_rise_linearly() -> None:
    roots = quadratic_betas(5, 1e-4, 0.5).sqrt()
    assert roots[0].item() == pytest.approx(0.01)
    assert roots[-1].item() == pytest.approx(math.sqrt(0.5))
    assert torch.allclose(roots.diff(), roots.diff()[0])


def test_noise_of_a_level_is_that_of_all_levels_up_to_it_one_after_the_other() -> None:
    noising = Noising(levels=7)
    mean, variance = 1.0, 0.0
    for level, beta in enumerate(quadratic_betas(7, 1e-4, 0.5).tolist(), start=1):
        mean, variance = math.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
        data, noise = noising.weights(torch.tensor([level]))
        assert data.item() == pytest.approx(mean)
        assert noise.item() ** 2 == pytest.approx(variance, rel=1e-5)
        ones = torch.ones(1, 2, 1, 1)
        at = torch.tensor([level])
        assert noising.noised(ones, 3 * ones, at) == pytest.approx(mean + 3 * math.sqrt(variance) * ones.numpy())


def test_noise_and_data_come_of_the_velocity() -> None:
    noising, level = Noising(), torch.tensor([3, 30])
    clean, noise = torch.randn(2, 2, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    noisy, velocity = noising.noised(clean, noise, level), noising.velocity(clean, noise, level)
    data, rest = (weight[:, None, None, None] for weight in noising.weights(level))
    assert torch.allclose(rest * noisy + data * velocity, noise, atol=1e-5)
    assert torch.allclose(data * noisy - rest * velocity, clean, atol=1e-5)


def test_fifty_levels_leave_nothing_of_the_data() -> None:
    data, noise = Noising().weights(torch.tensor([0, 50]))
    assert (data[0], noise[0]) == (1, 0)
    assert data[1] < 0.006 and noise[1] > 0.9999


def test_each_level_is_drawn_as_often() -> None:
    noising = Noising(levels=50)
    random = torch.Generator().manual_seed(0)
    assert sorted(noising.draw_levels(50, random).tolist()) == list(range(1, 51))
    drawn = torch.cat([noising.draw_levels(7, random) for _ in range(3000)])
    counts = torch.bincount(drawn, minlength=51)
    assert counts[0] == 0 and len(counts) == 51
    assert (counts[1:] / counts.sum() * 50 - 1).abs().max() < 0.2
    first = torch.stack([noising.draw_levels(7, random) for _ in range(500)])[:, 0]
    assert first.min() < 8 and first.max() > 43, "a place of the batch has a level of its own"


class Gaussian:
    """Data with a mean and a spread: the noise and the way back to data are known."""

    def __init__(self, noising: Noising, mean: float, spread: float) -> None:
        self.kept, self.mean, self.spread = noising.kept.tolist(), mean, spread
        self.levels: list[int] = []

    def scale(self, level: int) -> float:
        return math.sqrt(self.kept[level] * self.spread**2 + 1 - self.kept[level])

    def noise_in(self, x: torch.Tensor, level: int) -> torch.Tensor:
        """E[eps | x] = sqrt(1 - a) (x - sqrt(a) mean) / (a spread^2 + 1 - a)."""
        a = self.kept[level]
        return math.sqrt(1 - a) * (x - math.sqrt(a) * self.mean) / self.scale(level) ** 2

    def velocity(self, x: torch.Tensor, level: int) -> torch.Tensor:
        """From eps = sqrt(1 - a) x + sqrt(a) v."""
        self.levels.append(level)
        a = self.kept[level]
        return (self.noise_in(x, level) - math.sqrt(1 - a) * x) / math.sqrt(a)

    def flow(self, x: torch.Tensor) -> torch.Tensor:
        """The way without fresh noise keeps the place within the distribution."""
        last = len(self.kept) - 1
        return self.mean + self.spread * (x - math.sqrt(self.kept[last]) * self.mean) / self.scale(last)


def start() -> torch.Tensor:
    return torch.randn(2000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("mean", "spread"), [(0.5, 0.3), (0.7, 0.6), (-1.0, 1.0)])
def test_a_dozen_steps_give_the_mean_and_the_spread_of_gaussian_data(mean: float, spread: float) -> None:
    noising = Noising()
    drawn = noising.clean(Gaussian(noising, mean, spread).velocity, start(), 12)
    assert drawn.mean().item() == pytest.approx(mean, abs=0.05)
    assert drawn.std().item() == pytest.approx(spread, rel=0.04)


@pytest.mark.parametrize("spread", [0.25, 0.5, 1.0, 1.8])
@pytest.mark.parametrize(("steps", "wider"), [(12, 1.032), (30, 1.010)])
def test_members_of_few_steps_are_as_much_too_wide_as_is_said(spread: float, steps: int, wider: float) -> None:
    noising = Noising()
    drawn = noising.clean(Gaussian(noising, 0.5, spread).velocity, start(), steps)
    assert drawn.std().item() / start().std().item() == pytest.approx(wider * spread, rel=0.006)


def test_the_sampler_is_of_second_order() -> None:
    noising = Noising(levels=1000, first=1e-7, last=0.03)
    law = Gaussian(noising, 0.7, 0.6)
    few, many = (
        (noising.clean(law.velocity, start(), steps) - law.flow(start())).abs().mean().item() for steps in (20, 40)
    )
    assert 3 < few / many < 6, "twice the steps, about a quarter of the error"


def test_one_step_is_ddim() -> None:
    noising = Noising()
    law = Gaussian(noising, 0.7, 0.6)
    x, a, b = start(), *(noising.kept[level].item() for level in (50, 1))
    data = (x - math.sqrt(1 - a) * law.noise_in(x, 50)) / math.sqrt(a)
    after = math.sqrt(b) * data + math.sqrt(1 - b) * law.noise_in(x, 50)
    clean = (after - math.sqrt(1 - b) * law.noise_in(after, 1)) / math.sqrt(b)
    assert torch.allclose(noising.clean(law.velocity, x, 2), clean)


def test_steps_are_even_in_the_logarithm_of_data_over_noise() -> None:
    noising = Noising()
    path = noising.path(12)
    assert path[0] == 50 and path[-2:] == [1, 0] and len(path) == 13
    ratio = torch.logit(noising.kept[torch.tensor(path[:-1])])
    assert ratio.diff().std() / ratio.diff().mean() < 0.2
    law = Gaussian(noising, 0.0, 1.0)
    noising.clean(law.velocity, start(), 12)
    assert law.levels == path[:-1], "one evaluation a step"


def test_more_steps_than_levels_visit_every_level_at_most_once() -> None:
    path = Noising(levels=5).path(40)
    assert path == [5, 4, 3, 2, 1, 0]


def test_members_have_noise_of_their_own_whatever_the_batch_and_how_many_are_drawn_at_once() -> None:
    noising = Noising()
    law = Gaussian(noising, 0.0, 0.5)
    drawn = noising.members(law.velocity, (3, 4, 2, 2), 5, 6, 4, WindowNoise([1, 2, 1]))
    assert drawn.shape == (3, 5, 4, 2, 2)
    assert torch.equal(drawn[0], drawn[2]) and not torch.allclose(drawn[0], drawn[1])
    assert (drawn[0, 0] - drawn[0, 1]).abs().max() > 0.1
    alone = noising.members(law.velocity, (1, 4, 2, 2), 5, 6, 100, WindowNoise([2]))
    assert torch.allclose(alone[0], drawn[1])


#: Rivals of this kind, small ones.
DIFFUSION = pytest.mark.parametrize("name", ["CSDI", "KG-Diff"])


@DIFFUSION
def test_noised_values_are_read_where_asked_and_nowhere_else(name: str, windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, target = windows
    network = grown(name)
    level, condition = torch.full((6,), 20), network.condition(inputs)
    before, elsewhere, there = (
        network.velocity(target + 1.0 * more, level, condition, inputs.asked)
        for more in (torch.zeros_like(inputs.asked), ~inputs.asked, inputs.asked)
    )
    assert torch.equal(before, elsewhere)
    assert not torch.allclose(before[inputs.asked], there[inputs.asked])


@DIFFUSION
def test_members_do_not_depend_on_how_many_the_network_draws_at_once(
    name: str, windows: tuple[Inputs, torch.Tensor]
) -> None:
    inputs, _ = windows
    network = grown(name)
    together = answers(network, inputs)
    network.chunk = 1
    torch.testing.assert_close(answers(network, inputs), together, atol=1e-5, rtol=1e-5)


def test_members_come_one_after_the_other_with_all_their_windows() -> None:
    """A network repeats its condition in this order."""
    noising = Noising(levels=2)
    wanted = torch.arange(3.0)[:, None, None, None]

    def predict(x: torch.Tensor, level: int) -> torch.Tensor:
        data, noise = noising.weights(torch.tensor([level]))
        return (data * x - wanted.repeat(len(x) // 3, 1, 1, 1)) / noise

    drawn = noising.members(predict, (3, 4, 2, 2), 5, 2, 6, torch.Generator().manual_seed(1))
    assert torch.allclose(drawn, wanted[:, None].expand_as(drawn), atol=1e-4)
