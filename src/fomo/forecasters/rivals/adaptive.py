"""ADAPTIVE: Zhang et al., "Deep transfer learning for city-scale cellular traffic generation through urban knowledge
graph", KDD 2023.

The urban knowledge graph represents every cell; representations are aligned across cities by the traffic patterns that
they lead to, and a GAN makes traffic of the aligned ones. The paper aligns one new city to the clusters of one source
city after its training. Here all training cities share a memory of prototype cells, each with its usual traffic, and a
cell of any city is a mixture of those that it attends to: this is learned together with the rest, from the traffic of
the mixture, and from the POI that the paper's second loss asks for. The paper only generates weeks of a city without
history; here the generator also reads what is known of the window, the traffic of the cell and of related cells among
it, with recurrent networks. The discriminator has spectral normalisation in place of a gradient penalty. A loss is
added that the paper lacks: the L1 distance of several draws to the truth less half the distance between the draws (the
energy form of the CRPS, Gneiting and Raftery, 2007).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from einops import einsum, rearrange, reduce, repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from fomo.forecasters.rivals.adversarial import NOISE, Noise, energy
from fomo.forecasters.rivals.inputs import CALENDAR, CHANNELS, Inputs
from fomo.forecasters.rivals.knowledge_graph import (
    CATEGORY_COUNT,
    RELATED,
    GraphEmbedding,
    knowledge_graph,
    related_traffic,
)
from fomo.forecasters.rivals.network import Player, RivalNetwork, asked_mean

#: Harmonics of the day and of the week in the usual traffic of a prototype.
HARMONICS = (6, 2)
#: Weights of the losses of the alignment: usual traffic, POI.
USUAL, SURROUNDINGS = 0.2, 0.02


@dataclass(frozen=True)
class Aligned:
    """What the cells of a window are, seen by the prototypes."""

    tokens: Float[Tensor, "batch patch y x width"]  # what is known of the window
    cells: Float[Tensor, "batch y x width"]
    usual: Float[Tensor, "batch time y x"]  # traffic of the mixture of prototypes


class Adaptive(RivalNetwork):
    """Traffic of cells that are mixtures of prototypes of all cities."""

    antithetic = True

    def __init__(
        self,
        width: int = 96,
        layers: int = 2,
        patch: int = 4,
        steps: int = 64,
        prototypes: int = 32,
        draws: int = 3,
        adversarial: float = 0.01,
    ) -> None:
        """`steps`: of a window; `draws`: members per window in training; `adversarial`: weight of that loss."""
        super().__init__()
        self.patch, self.patches, self.draws, self.adversarial = patch, steps // patch, draws, adversarial
        self.graph = GraphEmbedding(width)
        self.history = History(width, layers, patch)
        self.summary = nn.Linear(self.patches * width, width)
        self.prototypes = Prototypes(width, prototypes)
        self.surroundings = nn.Linear(width, CATEGORY_COUNT)
        self.generator = Generator(width, patch)
        self.discriminators = nn.ModuleList(Discriminator(width, pooled) for pooled in (1, 4))

    def align(self, inputs: Inputs) -> Aligned:
        """Every cell by its place in the graph and what is known of its traffic, as a mixture of prototypes."""
        embedding = rearrange(self.graph(inputs), "b w y x -> b y x w")
        tokens = self.history(inputs, embedding)
        cells = embedding + self.summary(rearrange(tokens, "b p y x w -> b y x (p w)"))
        return Aligned(tokens, *self.prototypes(cells, inputs))

    def players(self) -> list[Player]:
        """The discriminators, then all the rest."""
        judges = list(self.discriminators.parameters())
        rest = [weight for name, weight in self.named_parameters() if not name.startswith("discriminators.")]
        return [Player(judges, self.discriminate), Player(rest, self.deceive)]

    def discriminate(self, inputs: Inputs, target: Tensor, random: torch.Generator) -> Tensor:
        """The hinge loss: opinions of real windows are to be above 1, of made ones below -1."""
        # Every second window will do, and saves half of a forward pass of the generator.
        inputs, target = inputs.rows(slice(0, None, 2)), target[::2]
        b, _, y, x = target.shape
        with torch.no_grad():
            made = self.generator(self.align(inputs), Noise.draw(b, 1, self.patches, y, x, random))[:, 0]
        wrong = torch.zeros_like(target)
        for discriminator in self.discriminators:
            wrong = wrong + nn.functional.relu(1 - discriminator(target, inputs))
            wrong = wrong + nn.functional.relu(1 + discriminator(made, inputs))
        return asked_mean(wrong, inputs)

    def deceive(self, inputs: Inputs, target: Tensor, random: torch.Generator) -> Tensor:
        """Members near the truth and as far apart as they miss it, good opinions, and prototypes that fit the cells."""
        b, _, y, x = target.shape
        aligned = self.align(inputs)
        drawn = self.generator(aligned, Noise.draw(b, self.draws, self.patches, y, x, random))
        loss = energy(drawn, target)
        for discriminator in self.discriminators:
            loss = loss - self.adversarial * discriminator(drawn[:, 0], inputs)
        # The usual traffic is to be that of all steps, observed and asked ones.
        all_known = replace(inputs, asked=inputs.asked | inputs.observed)
        unusual = (aligned.usual - torch.where(inputs.asked, target, inputs.value)).abs()
        known = inputs.static_known[:, :CATEGORY_COUNT].movedim(1, -1)
        poi = inputs.static[:, :CATEGORY_COUNT].movedim(1, -1)
        strange = ((self.surroundings(aligned.cells) - poi).square() * known).sum() / known.sum().clamp(min=1)
        return asked_mean(loss, inputs) + USUAL * asked_mean(unusual, all_known) + SURROUNDINGS * strange

    def sample(self, inputs: Inputs, samples: int, random: torch.Generator) -> Float[Tensor, "batch sample time y x"]:
        """One draw of noise per member, members 2i and 2i + 1 of opposite noise."""
        b, y, x = inputs.level.shape
        noise = Noise.draw(b, samples, self.patches, y, x, random, antithetic=True)
        return self.generator(self.align(inputs), noise)


class History(nn.Module):
    """Recurrent networks over the patches of a cell, forwards and backwards."""

    def __init__(self, width: int, layers: int, patch: int) -> None:
        """`patch`: steps that are read at once."""
        super().__init__()
        self.patch = patch
        self.embed = nn.Linear((CHANNELS + RELATED) * patch, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers + 1))
        self.layers = nn.ModuleList(
            nn.GRU(width, width // 2, batch_first=True, bidirectional=True) for _ in range(layers)
        )

    def forward(
        self, inputs: Inputs, embedding: Float[Tensor, "batch y x width"]
    ) -> Float[Tensor, "batch patch y x width"]:
        """What is known of every patch, of the patches around it, and of the cell."""
        _, _, y, x = inputs.value.shape
        known = torch.cat([inputs.channels, related_traffic(inputs, knowledge_graph(inputs))], 1)
        tokens = self.embed(rearrange(known, "b c (p s) y x -> (b y x) p (c s)", s=self.patch))
        tokens = tokens + rearrange(embedding, "b y x w -> (b y x) 1 w")
        for norm, layer in zip(self.norms, self.layers, strict=False):
            tokens = tokens + layer(norm(tokens))[0]
        return rearrange(self.norms[-1](tokens), "(b y x) p w -> b p y x w", y=y, x=x)


class Prototypes(nn.Module):
    """A memory of what cells there are in all cities, and of their usual traffic."""

    def __init__(self, width: int, count: int) -> None:
        """`count`: of prototypes."""
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Parameter(torch.randn(count, width))
        self.value = nn.Parameter(0.1 * torch.randn(count, width))
        self.traffic = nn.Parameter(0.1 * torch.randn(count, 1 + 2 * sum(HARMONICS)))

    def forward(
        self, cells: Float[Tensor, "batch y x width"], inputs: Inputs
    ) -> tuple[Float[Tensor, "batch y x width"], Float[Tensor, "batch time y x"]]:
        """The cells with what their prototypes stand for, and the usual traffic of their prototypes."""
        weights = self.weights(cells)
        usual = einsum(weights @ self.traffic, harmonics(inputs), "b y x h, b t h -> b t y x")
        return cells + weights @ self.value, usual

    def weights(self, cells: Float[Tensor, "batch y x width"]) -> Float[Tensor, "batch y x prototype"]:
        """How much of each prototype is in a cell; they add up to 1."""
        likeness = self.query(self.norm(cells)) @ self.key.T
        return (likeness / cells.shape[-1] ** 0.5).softmax(-1)


def harmonics(inputs: Inputs) -> Float[Tensor, "batch time harmonic"]:
    """1, then cosines and sines of the day and of the week and of their multiples."""
    waves = inputs.covariates[:, :CALENDAR, :, 0, 0]
    found = [torch.ones_like(waves[:, 0])]
    for period, count in enumerate(HARMONICS):
        angle = torch.atan2(waves[:, 2 * period], waves[:, 2 * period + 1])
        found += [wave(multiple * angle) for multiple in range(1, count + 1) for wave in (torch.cos, torch.sin)]
    return torch.stack(found, -1)


class Generator(nn.Module):
    """The aligned cell, what is known of a patch, its usual traffic and noise to the traffic of the patch."""

    def __init__(self, width: int, patch: int) -> None:
        """`patch`: steps that are made at once."""
        super().__init__()
        self.patch = patch
        self.cell, self.chance = nn.Linear(width, 2 * width), nn.Linear(2 * NOISE, 2 * width)
        self.inner, self.decided = nn.Linear(2 * width, 2 * width), nn.Linear(2 * width, width)
        self.known, self.usual = nn.Linear(width, width), nn.Linear(patch, width)
        self.chance_of_patch = nn.Linear(NOISE, width)
        self.outer = nn.Sequential(nn.Linear(width, width // 2), nn.GELU(), nn.Linear(width // 2, patch))

    def forward(self, aligned: Aligned, noise: Noise) -> Float[Tensor, "batch sample time y x"]:
        """Values of every step: the usual ones and what the generator adds."""
        cells = nn.functional.gelu(self.cell(aligned.cells)[:, None] + self.chance(noise.both))
        cells = self.decided(nn.functional.gelu(self.inner(cells)))
        usual = rearrange(aligned.usual, "b (p step) y x -> b p y x step", step=self.patch)
        known = self.known(aligned.tokens) + self.usual(usual)
        hidden = known[:, None] + cells[:, :, None] + self.chance_of_patch(noise.patch)
        added = rearrange(self.outer(nn.functional.gelu(hidden)), "b s p y x step -> b s (p step) y x")
        return aligned.usual[:, None] + added


class Discriminator(nn.Module):
    """Is this the traffic of a real cell, at one resolution and given what else is known?"""

    def __init__(self, width: int, pooled: int, patch: int = 4) -> None:
        """`pooled`: steps that are averaged; `patch`: of these are judged at once."""
        super().__init__()
        self.pooled, self.patch = pooled, patch
        self.layers = nn.Sequential(
            spectral_norm(nn.Conv1d(1 + CHANNELS, width, patch, stride=patch)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv1d(width, width // 2, 3, padding=1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv1d(width // 2, 1, 1)),
        )

    def forward(self, series: Float[Tensor, "batch time y x"], inputs: Inputs) -> Float[Tensor, "batch time y x"]:
        """High: the asked values look real among the observed ones."""
        b, _, y, x = series.shape
        whole = torch.where(inputs.asked, series, inputs.value)
        read = torch.cat([whole[:, None], inputs.channels], 1)
        read = reduce(read, "b c (t pooled) y x -> (b y x) c t", "mean", pooled=self.pooled)
        span = self.pooled * self.patch
        return repeat(self.layers(read), "(b y x) 1 p -> b (p span) y x", b=b, y=y, x=x, span=span)


__all__ = ["Adaptive"]
