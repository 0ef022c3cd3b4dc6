"""keGAN: Hui et al., "Large-scale urban cellular traffic generation via knowledge-enhanced GANs with multi-periodic
patterns", KDD 2023.

Traffic is made step by step: a daily pattern, what the day of the week adds to it, and the residual in time; patterns
are mixed from a dictionary. Every step has a critic (Wasserstein, with gradient penalty), those of the patterns see a
series through a dictionary, too. The urban knowledge graph says what a cell is. The paper only generates whole weeks
from the graph's embedding and noise; here the generators also read what is known of the window, the cell's traffic and
that of related cells among it, so that the network forecasts. The steps are trained together, not one after the other,
weekdays and weekends have no dictionaries of their own, and the residual is made by a small transformer. A loss is
added that the paper lacks: the L1 distance of several draws to the truth less half the distance between the draws (the
energy form of the CRPS, Gneiting and Raftery, 2007).
"""

from __future__ import annotations

import math

import torch
from einops import einsum, rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from fomo.forecasters.rivals.adversarial import NOISE, Noise, completed, energy
from fomo.forecasters.rivals.blocks import TransformerBlock
from fomo.forecasters.rivals.inputs import CALENDAR, CHANNELS, Inputs
from fomo.forecasters.rivals.knowledge_graph import (
    FEATURES,
    RELATED,
    GraphEmbedding,
    cell_features,
    knowledge_graph,
    related_traffic,
)
from fomo.forecasters.rivals.network import Player, RivalNetwork, asked_mean

#: Entries of a daily and of a weekly pattern: hours.
DAY, WEEK = 24, 168
#: Weights of the gradient penalty, as in the paper, and of the patterns' distance to the truth.
PENALTY, COARSE = 10.0, 0.1


class KeGAN(RivalNetwork):
    """Daily pattern, weekly pattern and residual of every cell, from its surroundings, its window and noise."""

    antithetic = True

    def __init__(
        self,
        width: int = 96,
        layers: int = 2,
        heads: int = 4,
        patch: int = 4,
        steps: int = 64,
        patterns: int = 32,
        draws: int = 3,
        adversarial: float = 0.01,
    ) -> None:
        """`patterns`: of a dictionary; `draws`: members per window in training; `adversarial`: weight of that loss."""
        super().__init__()
        self.patch, self.patches, self.draws, self.adversarial = patch, steps // patch, draws, adversarial
        self.graph = GraphEmbedding(width)
        self.embed = nn.Linear((CHANNELS + RELATED) * patch, width)
        self.place = nn.Parameter(0.02 * torch.randn(self.patches, width))
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, dropout=0.0) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.whole = nn.Linear((self.patches + 1) * width, 2 * width)
        self.chance = nn.Linear(2 * NOISE, 2 * width)
        self.inner = nn.Linear(2 * width, 2 * width)
        self.daily, self.weekly = Patterns(2 * width, DAY, patterns), Patterns(2 * width, WEEK, patterns)
        self.residual = ResidualGenerator(width, patch)
        self.critics = nn.ModuleList([PatternCritic(width, DAY), PatternCritic(width, WEEK), SeriesCritic(width)])

    def generate(self, inputs: Inputs, noise: Noise) -> list[Float[Tensor, "batch sample time y x"]]:
        """Members after each step: daily patterns, with the weekly ones, with the residual."""
        _, _, y, x = inputs.value.shape
        embedding = rearrange(self.graph(inputs), "b w y x -> (b y x) 1 w")
        known = torch.cat([inputs.channels, related_traffic(inputs, knowledge_graph(inputs))], 1)
        tokens = self.embed(rearrange(known, "b c (p s) y x -> (b y x) p (c s)", s=self.patch)) + self.place
        tokens = tokens + embedding
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        whole = self.whole(torch.cat([tokens, embedding], 1).flatten(1))
        cells = rearrange(whole, "(b y x) h -> b 1 y x h", y=y, x=x) + self.chance(noise.both)
        cells = nn.functional.gelu(self.inner(nn.functional.gelu(cells)))
        daily = self.daily(cells, inputs)
        weekly = daily + self.weekly(cells, inputs)
        tokens = rearrange(tokens, "(b y x) p w -> b p y x w", y=y, x=x)
        return [daily, weekly, weekly + self.residual(tokens, cells, weekly, noise)]

    def players(self) -> list[Player]:
        """The critics, then the generators."""
        critics = list(self.critics.parameters())
        generators = [weight for name, weight in self.named_parameters() if not name.startswith("critics.")]
        return [Player(critics, self.criticise), Player(generators, self.convince)]

    def criticise(self, inputs: Inputs, target: Tensor, random: torch.Generator) -> Tensor:
        """Opinions of made windows less those of real ones, and the penalty on slopes other than 1 between them."""
        # Every second window will do, and saves half of a forward pass of the generators.
        inputs, target = inputs.rows(slice(0, None, 2)), target[::2]
        b, _, y, x = target.shape
        with torch.no_grad():
            made = self.generate(inputs, Noise.draw(b, 1, self.patches, y, x, random))
        real = completed(target, inputs)
        total = torch.zeros(())
        for critic, series in zip(self.critics, made, strict=True):
            fake = completed(series[:, 0], inputs)
            part = torch.rand(b, 1, y, x, generator=random)
            between = (part * real + (1 - part) * fake).requires_grad_()
            steep = slope(critic(between, inputs), between)
            penalty = PENALTY * (steep - 1).square().expand_as(target)
            total = total + asked_mean(critic(fake, inputs) - critic(real, inputs) + penalty, inputs)
        return total

    def convince(self, inputs: Inputs, target: Tensor, random: torch.Generator) -> Tensor:
        """Members near the truth and as far apart as they miss it, patterns near it, and good opinions."""
        b, _, y, x = target.shape
        made = self.generate(inputs, Noise.draw(b, self.draws, self.patches, y, x, random))
        loss = energy(made[-1], target)
        for series in made[:-1]:
            loss = loss + COARSE * (series.mean(1) - target).abs()
        for critic, series in zip(self.critics, made, strict=True):
            loss = loss - self.adversarial * critic(completed(series[:, 0], inputs), inputs)
        return asked_mean(loss, inputs)

    def sample(self, inputs: Inputs, samples: int, random: torch.Generator) -> Float[Tensor, "batch sample time y x"]:
        """One draw of noise per member, members 2i and 2i + 1 of opposite noise."""
        b, y, x = inputs.level.shape
        return self.generate(inputs, Noise.draw(b, samples, self.patches, y, x, random, antithetic=True))[-1]


class Patterns(nn.Module):
    """A dictionary of patterns of a day or a week, and how a cell mixes them."""

    def __init__(self, width: int, slots: int, count: int) -> None:
        """`width`: of what is decided of a cell; `slots`: entries of a pattern."""
        super().__init__()
        self.patterns = nn.Parameter(torch.randn(slots, count) / count**0.5)
        self.mix = nn.Linear(width, count)
        nn.init.normal_(self.mix.weight, std=0.02)

    def forward(
        self, cells: Float[Tensor, "batch sample y x width"], inputs: Inputs
    ) -> Float[Tensor, "batch sample time y x"]:
        """The pattern of every cell at the steps of the window."""
        curves = slots_at(inputs, len(self.patterns)) @ self.patterns
        return einsum(curves, self.mix(cells), "b t pattern, b s y x pattern -> b s t y x")


def slots_at(inputs: Inputs, slots: int) -> Float[Tensor, "batch time slot"]:
    """How much each entry of a daily (24) or weekly (168) pattern counts at each step: linear between the hours."""
    sine, cosine = inputs.covariates[:, :CALENDAR, :, 0, 0].unflatten(1, (2, 2))[:, 0 if slots == DAY else 1].unbind(1)
    place = torch.atan2(sine, cosine) * slots / (2 * math.pi)
    apart = (place[..., None] - torch.arange(slots)).abs() % slots
    return nn.functional.relu(1 - torch.minimum(apart, slots - apart))


class ResidualGenerator(nn.Module):
    """What the patterns lack, patch by patch, with noise of its own."""

    def __init__(self, width: int, patch: int) -> None:
        """`patch`: steps that are made at once."""
        super().__init__()
        self.patch = patch
        self.known, self.cell = nn.Linear(width, width), nn.Linear(2 * width, width)
        self.chance, self.pattern = nn.Linear(NOISE, width), nn.Linear(patch, width)
        self.outer = nn.Sequential(nn.Linear(width, width // 2), nn.GELU(), nn.Linear(width // 2, patch))

    def forward(
        self,
        tokens: Float[Tensor, "batch patch y x width"],
        cells: Float[Tensor, "batch sample y x hidden"],
        pattern: Float[Tensor, "batch sample time y x"],
        noise: Noise,
    ) -> Float[Tensor, "batch sample time y x"]:
        """Values of every step."""
        pattern = rearrange(pattern, "b s (p step) y x -> b s p y x step", step=self.patch)
        hidden = self.known(tokens)[:, None] + self.cell(cells)[:, :, None]
        hidden = hidden + self.pattern(pattern) + self.chance(noise.patch)
        return rearrange(self.outer(nn.functional.gelu(hidden)), "b s p y x step -> b s (p step) y x")


class PatternCritic(nn.Module):
    """Does the cell follow the day or the week as real ones do?"""

    def __init__(self, width: int, slots: int, count: int = 32) -> None:
        """`slots`, `count`: of the patterns through which a series is seen."""
        super().__init__()
        self.patterns = nn.Parameter(torch.randn(slots, count) / slots**0.5)
        self.layers = nn.Sequential(
            nn.Linear(count + FEATURES + 1, width), nn.LayerNorm(width), nn.GELU(), nn.Linear(width, 1)
        )

    def forward(self, whole: Float[Tensor, "batch time y x"], inputs: Inputs) -> Float[Tensor, "batch time y x"]:
        """High: real. One opinion for all steps of a cell."""
        curves = slots_at(inputs, len(self.patterns)) @ self.patterns
        seen = einsum(whole, curves, "b t y x, b t pattern -> b y x pattern") / whole.shape[1] ** 0.5
        known = rearrange(cell_features(inputs), "b (y x) f -> b y x f", y=whole.shape[2])
        asked = inputs.asked.to(whole.dtype).mean(1)[..., None]
        return repeat(self.layers(torch.cat([seen, known, asked], -1)), "b y x 1 -> b t y x", t=whole.shape[1])


class SeriesCritic(nn.Module):
    """Is this the traffic of a real cell? Dilated convolutions over its steps, and what else is known."""

    def __init__(self, width: int, stride: int = 4) -> None:
        """`stride`: steps per opinion."""
        super().__init__()
        self.stride = stride
        self.layers = nn.Sequential(
            nn.Conv1d(1 + CHANNELS, width, stride, stride=stride),
            nn.GELU(),
            nn.Conv1d(width, width // 2, 3, padding=1),
            nn.GELU(),
            nn.Conv1d(width // 2, 1, 3, padding=2, dilation=2),
        )

    def forward(self, whole: Float[Tensor, "batch time y x"], inputs: Inputs) -> Float[Tensor, "batch time y x"]:
        """High: real. The mean over the patches of a cell, that its slope is one of the whole series."""
        b, t, y, x = whole.shape
        series = rearrange(torch.cat([whole[:, None], inputs.channels], 1), "b c t y x -> (b y x) c t")
        return repeat(self.layers(series).mean(2), "(b y x) 1 -> b t y x", b=b, y=y, x=x, t=t)


def slope(
    opinion: Float[Tensor, "batch time y x"], series: Float[Tensor, "batch time y x"]
) -> Float[Tensor, "batch 1 y x"]:
    """Length of the gradient of a cell's opinion with respect to its series."""
    (gradient,) = torch.autograd.grad(opinion[:, 0].sum(), series, create_graph=True)
    return (gradient.square().sum(1, keepdim=True) + 1e-12).sqrt()


__all__ = ["KeGAN"]
