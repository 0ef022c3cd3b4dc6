"""What the adversarial rivals share: noise that makes members differ, and a loss that keeps it alive."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from fomo.forecasters.rivals.inputs import Inputs
from fomo.forecasters.rivals.network import normal
from fomo.forecasters.rivals.opposite import opposite_pairs

#: Numbers of noise of each kind.
NOISE = 16


@dataclass(frozen=True)
class Noise:
    """What makes one member different from another."""

    window: Float[Tensor, "batch sample number"]
    cell: Float[Tensor, "batch sample y x number"]
    patch: Float[Tensor, "batch sample patch y x number"]

    @staticmethod
    def draw(
        windows: int,
        samples: int,
        patches: int,
        height: int,
        width: int,
        random: torch.Generator,
        antithetic: bool = False,
    ) -> Noise:
        """Standard normal numbers; with `antithetic`, members 2i and 2i + 1 have opposite ones.

        In training members are independent: the loss takes their distance for that of two draws.
        """
        shapes, drawn = ((), (height, width), (patches, height, width)), opposite_pairs if antithetic else normal
        return Noise(*(drawn(random, windows, samples, *shape, NOISE) for shape in shapes))

    @property
    def both(self) -> Float[Tensor, "batch sample y x two_numbers"]:
        """Of the window, the same in all its cells, and of the cell."""
        return torch.cat([self.window[:, :, None, None].expand_as(self.cell), self.cell], -1)


def completed(series: Float[Tensor, "batch time y x"], inputs: Inputs) -> Float[Tensor, "batch time y x"]:
    """The asked values of a series among the observed ones."""
    return torch.where(inputs.asked, series, inputs.value)


def energy(
    drawn: Float[Tensor, "batch sample time y x"], target: Float[Tensor, "batch time y x"]
) -> Float[Tensor, "batch time y x"]:
    """The CRPS without bias for the number of members: distance to the truth less half that between two of them."""
    samples = drawn.shape[1]
    between = (drawn[:, :, None] - drawn[:, None]).abs().sum((1, 2)) / (samples * (samples - 1))
    return (drawn - target[:, None]).abs().mean(1) - between / 2


__all__ = ["NOISE", "Noise", "completed", "energy"]
