"""What a trained rival is: a network that learns from windows and draws members of what is asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fomo.forecasters.rivals.inputs import Inputs

#: 0 weighs errors of z alike, 1 those of traffic.
LEVEL_POWER = 0.7


@dataclass(frozen=True)
class Player:
    """Parameters that are trained together, and the loss that they lower; a GAN has two, taken in turn."""

    parameters: Sequence[nn.Parameter]
    loss: Callable[[Inputs, Float[Tensor, "batch time y x"], torch.Generator], Tensor]
    rate: float = 1.0  # learning rate relative to that of the fit


class WindowNoise(torch.Generator):
    """Random numbers of the windows of a batch, each from a seed of its own.

    So the answer to a window does not depend on the others of its batch, and no two share their noise. As a plain
    generator it is that of the first window.
    """

    def __new__(cls, seeds: Sequence[int]) -> WindowNoise:
        """A generator on the CPU."""
        return super().__new__(cls)

    def __init__(self, seeds: Sequence[int]) -> None:
        """One seed per window."""
        self.windows = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.manual_seed(seeds[0])


def normal(random: torch.Generator, windows: int, *shape: int) -> Float[Tensor, "window *shape"]:
    """Standard normal numbers for every window of a batch."""
    if isinstance(random, WindowNoise):
        return torch.stack([torch.randn(shape, generator=each) for each in random.windows])
    return torch.randn((windows, *shape), generator=random)


def uniform(random: torch.Generator, windows: int, *shape: int) -> Float[Tensor, "window *shape"]:
    """Numbers uniform over [0, 1) for every window of a batch."""
    if isinstance(random, WindowNoise):
        return torch.stack([torch.rand(shape, generator=each) for each in random.windows])
    return torch.rand((windows, *shape), generator=random)


class RivalNetwork(nn.Module, ABC):
    """A network on `Inputs`. Values are relative to the cell's level: `inputs.targets`, `inputs.to_share`."""

    #: Members are equally spaced quantiles of every value, and no draws.
    gives_quantiles = False
    #: Members 2i and 2i + 1 come from opposite noise.
    antithetic = False

    @abstractmethod
    def players(self) -> list[Player]:
        """What is optimised. Each loss is a mean over asked values, a number."""

    @abstractmethod
    def sample(self, inputs: Inputs, samples: int, random: torch.Generator) -> Float[Tensor, "batch sample time y x"]:
        """Members of the windows; only asked values are read. Called without gradients, in evaluation mode.

        Random numbers come from `normal` and `uniform`, so that the answer to a window does not depend on the others of
        its batch.
        """


def asked_mean(error: Float[Tensor, "batch time y x"], inputs: Inputs) -> Float[Tensor, ""]:
    """The mean of an error over the asked values, busy cells counting more.

    An error of z is one of traffic divided by 1 / 50 + traffic, so without weights a network would learn the cells that
    carry nothing. FoMo's losses are weighted in the same way.
    """
    weight = inputs.asked * torch.exp(LEVEL_POWER * inputs.level)[:, None]
    return (error * weight).sum() / weight.sum().clamp(min=1e-6)


__all__ = ["Player", "RivalNetwork", "WindowNoise", "asked_mean", "normal", "uniform"]
