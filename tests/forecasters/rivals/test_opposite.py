"""Members of opposite noise: drawn so when asked, never in training, and said so to whoever scores them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from made_networks import answers, grown
from torch import Tensor

from fomo.forecasters.registry import find_entries
from fomo.forecasters.rivals.adversarial import Noise
from fomo.forecasters.rivals.inputs import Inputs
from fomo.forecasters.rivals.network import WindowNoise
from fomo.forecasters.rivals.noising import Noising
from fomo.forecasters.rivals.opposite import opposite_pairs

#: What the network of each adversarial rival makes of noise.
ADVERSARIAL: dict[str, Callable[..., Tensor]] = {
    "SpectraGAN": lambda network, inputs, noise: network.generate(inputs, noise)[0],
    "keGAN": lambda network, inputs, noise: network.generate(inputs, noise)[-1],
    "ADAPTIVE": lambda network, inputs, noise: network.generator(network.align(inputs), noise),
}


@pytest.mark.parametrize("samples", [1, 2, 5, 24])
def test_every_second_member_has_the_negative_of_the_one_before(samples: int) -> None:
    found = opposite_pairs(WindowNoise([3, 4]), 2, samples, 4, 4)
    assert found.shape == (2, samples, 4, 4)
    pairs = samples // 2
    assert torch.equal(found[:, 1 : 2 * pairs : 2], -found[:, 0 : 2 * pairs : 2])
    halves = found[:, ::2].flatten(1)
    assert len(torch.unique(halves)) == halves.numel(), "pairs, and windows, have noise of their own"


def test_the_first_members_of_more_are_the_same() -> None:
    more = opposite_pairs(WindowNoise([3]), 1, 24, 64, 4, 4)
    for samples in (1, 7, 12):
        assert torch.equal(opposite_pairs(WindowNoise([3]), 1, samples, 64, 4, 4), more[:, :samples])


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial_members_are_made_of_opposite_noise(name: str, windows: tuple[Inputs, Tensor]) -> None:
    inputs, _ = windows
    network = grown(name)
    noise = Noise.draw(6, 3, 16, 4, 4, WindowNoise(range(6)), antithetic=True)
    for part in (noise.window, noise.cell, noise.patch):
        assert torch.equal(part[:, 1], -part[:, 0]) and not torch.equal(part[:, 2], part[:, 0])
    with torch.inference_mode():
        assert torch.equal(answers(network, inputs), ADVERSARIAL[name](network, inputs, noise))


def test_noise_of_a_training_is_independent() -> None:
    """The loss takes the distance of two draws for their spread: of opposite ones it is larger."""
    noise = Noise.draw(2, 4, 16, 4, 4, torch.Generator().manual_seed(1))
    for part in (noise.window, noise.cell, noise.patch):
        assert all((one + other).abs().min() > 0 for one, other in pairwise(part.unbind(1)))


def test_the_mean_of_opposite_members_of_gaussian_data_is_their_mean() -> None:
    """The way from noise to Gaussian data is linear: a pair has no error of the mean but that of the few steps."""
    noising = Noising()
    mean, spread = 0.7, 0.6

    def velocity(x: Tensor, level: int) -> Tensor:
        a = noising.kept[level].item()
        noise = (1 - a) ** 0.5 * (x - a**0.5 * mean) / (a * spread**2 + 1 - a)
        return (noise - (1 - a) ** 0.5 * x) / a**0.5

    drawn = noising.members(velocity, (2, 4, 2, 2), 6, 12, 64, WindowNoise([1, 2]))
    pairs = (drawn[:, ::2] + drawn[:, 1::2]) / 2
    assert drawn.std() > 0.5 * spread
    torch.testing.assert_close(pairs, pairs.mean().expand_as(pairs), atol=1e-4, rtol=0)
    assert pairs.mean().item() == pytest.approx(mean, abs=0.05)


def test_who_draws_opposite_members_says_so() -> None:
    torch.manual_seed(0)
    names = ("Lag-Llama", "SpectraGAN", "keGAN", "ADAPTIVE", "CSDI", "KG-Diff", "PatchTST", "UniST")
    said = {entry.name: entry.load().antithetic for entry in find_entries(names)}
    assert said == {name: name not in ("PatchTST", "UniST") for name in said}
