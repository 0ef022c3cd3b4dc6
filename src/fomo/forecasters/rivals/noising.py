"""The noise process of the diffusion rivals: Ho et al., "Denoising diffusion probabilistic models", NeurIPS 2020, with
the quadratic schedule of CSDI (Tashiro et al., 2021).

x_k = sqrt(a_k) x_0 + sqrt(1 - a_k) eps, where a_k is the product of 1 - beta over the levels up to k. A network says
the velocity v = sqrt(a_k) eps - sqrt(1 - a_k) x_0 (Salimans and Ho, "Progressive distillation for fast sampling of
diffusion models", ICLR 2022). That is the noise in other words, eps = sqrt(1 - a_k) x_k + sqrt(a_k) v, but data come of
it without a division by sqrt(a_k), 0.006 at the last level: there a small error of the noise throws members far out.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from itertools import pairwise
from typing import Generic, TypeVar

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from fomo.forecasters.rivals.inputs import Inputs
from fomo.forecasters.rivals.network import Player, RivalNetwork, asked_mean
from fomo.forecasters.rivals.opposite import opposite_pairs

#: v(x, k), the expected velocity at x and level k.
VelocityPredictor = Callable[[Tensor, int], Tensor]


def quadratic_betas(levels: int, first: float, last: float) -> Float[Tensor, " level"]:
    """Variances of the noise that each level adds: their square roots rise linearly."""
    return torch.linspace(math.sqrt(first), math.sqrt(last), levels, dtype=torch.float64).square()


class Noising(nn.Module):
    """Levels 1 .. `levels` of noise; level 0 is clean data. Nothing in it is trained."""

    kept: Tensor

    def __init__(self, levels: int = 50, first: float = 1e-4, last: float = 0.5) -> None:
        """`first`, `last`: variances of the noise that the first and the last level add, those of CSDI."""
        super().__init__()
        self.levels = levels
        betas = quadratic_betas(levels, first, last)
        kept = torch.cat([torch.ones(1, dtype=torch.float64), (1 - betas).cumprod(0)])
        self.register_buffer("kept", kept, persistent=False)  # a_k, in double: 1 - a_k is 1e-4 at level 1

    def weights(self, level: Int[Tensor, " batch"]) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """sqrt(a_k) and sqrt(1 - a_k): how much of x_k is data, and how much noise."""
        kept = self.kept[level]
        return kept.sqrt().float(), (1 - kept).sqrt().float()

    def noised(
        self,
        clean: Float[Tensor, "batch time y x"],
        noise: Float[Tensor, "batch time y x"],
        level: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch time y x"]:
        """x_k of clean data."""
        data, rest = (weight[:, None, None, None] for weight in self.weights(level))
        return data * clean + rest * noise

    def velocity(
        self,
        clean: Float[Tensor, "batch time y x"],
        noise: Float[Tensor, "batch time y x"],
        level: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch time y x"]:
        """v of x_k: what a network is to say. Its error is that of the noise divided by sqrt(a_k)."""
        data, rest = (weight[:, None, None, None] for weight in self.weights(level))
        return data * noise - rest * clean

    def draw_levels(self, batch: int, random: torch.Generator) -> Int[Tensor, " batch"]:
        """A level for each window, uniform over 1 .. `levels`, spread evenly over the batch: the loss jumps less."""
        spread = (torch.arange(batch) + torch.rand(1, generator=random)) / batch
        order = torch.randperm(batch, generator=random)
        return 1 + (spread * self.levels).long().clamp(max=self.levels - 1)[order]

    def path(self, steps: int) -> list[int]:
        """Levels that a sampler visits, from the last to 1 evenly in lambda, then 0; fewer where two fall together.

        Evenly in the level itself, 12 steps give members a fifth too wide: the first levels take away too much. As it
        is, 12 steps leave Gaussian members 3 % too wide, whatever their spread, and 30 steps 1 %. The last step is not
        what does it, and integrating the line through the last two predictions exactly makes it 8 %.
        """
        ratio = torch.logit(self.kept[1:]) / 2
        wanted = torch.linspace(ratio[-1].item(), ratio[0].item(), steps, dtype=ratio.dtype, device=ratio.device)
        nearest = 1 + (wanted[:, None] - ratio).abs().argmin(1)
        return [*sorted(set(nearest.tolist()), reverse=True), 0]

    def clean(self, predict: VelocityPredictor, start: Tensor, steps: int) -> Tensor:
        """From standard normal numbers to data: DDIM (Song et al., 2021) to second order, without fresh noise.

        DPM-Solver++(2M) (Lu et al., 2022): with lambda = log(sqrt(a) / sqrt(1 - a)) and h = lambda' - lambda
            x' = sqrt((1 - a') / (1 - a)) x + (sqrt(a') - sqrt(a) sqrt((1 - a') / (1 - a))) x_0~.
        DDIM is this with x_0 as predicted; here x_0~ carries the last two predictions on in lambda.
        """
        kept = self.kept.tolist()
        path, x = self.path(steps), start
        before: Tensor | None = None
        stride = math.nan
        for level, following in pairwise(path):
            a, b = kept[level], kept[following]
            data = math.sqrt(a) * x - math.sqrt(1 - a) * predict(x, level)
            if following == 0:
                return data
            step = _log_ratio(b) - _log_ratio(a)
            ahead = data if before is None else data + step / (2 * stride) * (data - before)
            shrink = math.sqrt((1 - b) / (1 - a))
            x = shrink * x + (math.sqrt(b) - math.sqrt(a) * shrink) * ahead
            before, stride = data, step
        return x

    def members(
        self,
        predict: VelocityPredictor,
        windows: tuple[int, ...],
        samples: int,
        steps: int,
        chunk: int,
        random: torch.Generator,
    ) -> Float[Tensor, "batch sample time y x"]:
        """Members of windows of shape (batch, time, y, x); members 2i and 2i + 1 come from opposite noise.

        `predict` gets members of all windows, one member after the other, about `chunk` rows at a time.
        """
        batch, *shape = windows
        noise = rearrange(opposite_pairs(random, batch, samples, *shape), "b m t y x -> m b t y x")
        drawn = []
        for part in noise.split(max(chunk // batch, 1)):
            clean = self.clean(predict, rearrange(part, "m b t y x -> (m b) t y x"), steps)
            drawn.append(rearrange(clean, "(m b) t y x -> b m t y x", b=batch))
        return torch.cat(drawn, 1)


#: Standard deviation of values about their level: the process wants data of about unit variance.
SPREAD = 0.5
#: What a network reads of the windows, the same at every level of noise: computed once for all steps.
Known = TypeVar("Known")


class DiffusionRival(RivalNetwork, Generic[Known]):
    """A network that says the velocity of asked values: how it is trained, and how members are drawn."""

    antithetic = True

    def __init__(self, steps: int, chunk: int) -> None:
        """`steps`: of the sampler; `chunk`: members in the network at once."""
        super().__init__()
        self.noising, self.steps, self.chunk = Noising(), steps, chunk

    @abstractmethod
    def condition(self, inputs: Inputs) -> Known:
        """Everything that does not change with the noise."""

    @abstractmethod
    def velocity(
        self,
        noisy: Float[Tensor, "row time y x"],
        level: Int[Tensor, " row"],
        condition: Known,
        asked: Bool[Tensor, "batch time y x"],
    ) -> Float[Tensor, "row time y x"]:
        """That of asked values. Rows are windows, or members of all windows one after the other."""

    def players(self) -> list[Player]:
        """One network, the squared error of the velocity."""

        def loss(inputs: Inputs, target: Tensor, random: torch.Generator) -> Tensor:
            level = self.noising.draw_levels(target.shape[0], random)
            noise = torch.randn(target.shape, generator=random)
            clean = target / SPREAD
            noisy = self.noising.noised(clean, noise, level)
            found = self.velocity(noisy, level, self.condition(inputs), inputs.asked)
            return asked_mean((found - self.noising.velocity(clean, noise, level)).square(), inputs)

        return [Player(list(self.parameters()), loss)]

    def sample(self, inputs: Inputs, samples: int, random: torch.Generator) -> Float[Tensor, "batch sample time y x"]:
        """Noise to members, some at a time."""
        condition = self.condition(inputs)

        def predict(x: Tensor, level: int) -> Tensor:
            return self.velocity(x, torch.full((x.shape[0],), level), condition, inputs.asked)

        size = tuple(inputs.value.shape)
        return SPREAD * self.noising.members(predict, size, samples, self.steps, self.chunk, random)


def _log_ratio(kept: float) -> float:
    """lambda: the logarithm of data over noise."""
    return 0.5 * math.log(kept / (1 - kept))


__all__ = ["SPREAD", "DiffusionRival", "Noising", "VelocityPredictor", "quadratic_betas"]
