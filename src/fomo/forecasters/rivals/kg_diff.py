"""KG-Diff: Chai, Li, Jiang, Zhang and Li, "Knowledge guided conditional diffusion model for controllable mobile traffic
generation", WWW 2024 Companion.

A diffusion model whose denoising network reads the seasonal part of the traffic and an urban knowledge graph. No code
is public; this is written from the abstract and FoMo's description, not from the full text. Kept: both parts as the
condition, and attention over frequencies, in which the graph says which rhythms of a cell's traffic count. How that is
done in detail is ours. The noise process and the gated residual layers are those of CSDI (Tashiro et al., 2021).

Simplified or changed: the embedding of the graph is computed from what is known of the cells and learns together with
the rest (`knowledge_graph`), so that new cities have one; the seasonal part is what the observed steps and last week
say of it, if anything; attention along time and across cells stands beside that over frequencies; tokens are patches of
four steps; the noise is told as a velocity (`noising`); samples take a second-order solver with few steps. It does
every task.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from einops import einsum, rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from fomo.forecasters.rivals.blocks import Attention, sinusoids
from fomo.forecasters.rivals.inputs import CALENDAR, CHANNELS, COVARIATES, Inputs
from fomo.forecasters.rivals.knowledge_graph import GraphEmbedding
from fomo.forecasters.rivals.noising import DiffusionRival

#: Harmonics of the day and of the week.
DAILY, WEEKLY = 4, 1
#: Observations that a harmonic of order 1 and a constant are held to 0 with; order n with n squared as many. A week is
#: longer than a window, so its harmonic is nearly a slope, and a slope says little of the future.
STIFFNESS, STIFFNESS_OF_WEEK = 1.0, 30.0
#: Observations that a value of last week counts for.
LAST_WEEK = 0.5


@dataclass(frozen=True)
class Decomposition:
    """Traffic in two parts. Where it is observed, they add up to it."""

    season: Float[Tensor, "batch time y x"]  # at all steps
    doubt: Float[Tensor, "batch time y x"]  # variance of the season, relative to that before anything is observed
    rest: Float[Tensor, "batch time y x"]  # 0 where not observed


def decompose(inputs: Inputs) -> Decomposition:
    """The seasonal part: harmonics of the day and the week by ridge regression, first for all cells of the window, then
    for each cell, held to that of all. A cell of which nothing is observed has the season of the others."""
    week = inputs.covariates[:, COVARIATES.index("last week")]
    week_weight = LAST_WEEK * inputs.covariates[:, COVARIATES.index("last week known")]
    seen = inputs.observed.to(inputs.value.dtype)
    basis, penalty = harmonics(inputs)
    moved = basis.flatten(2, 3)  # batch time cell harmonic
    weight, sums = ((part.flatten(2)) for part in (seen + week_weight, inputs.value * seen + week * week_weight))
    matrix = einsum(moved, weight, moved, "b t c h, b t c, b t c k -> b c h k")
    vector = einsum(moved, sums, "b t c h, b t c -> b c h")
    common = torch.linalg.solve(matrix.sum(1) + penalty.diag(), vector.sum(1))[:, None]
    spread = torch.linalg.inv(matrix + penalty.diag())
    own = common + einsum(spread, vector - einsum(matrix, common, "b c h k, b n k -> b c h"), "b c h k, b c k -> b c h")
    season = einsum(moved, own, "b t c h, b c h -> b t c")
    after = einsum(moved, spread, moved, "b t c h, b c h k, b t c k -> b t c")
    before = einsum(moved, 1 / penalty, moved, "b t c h, h, b t c h -> b t c")
    season, doubt = (rearrange(part, "b t (y x) -> b t y x", y=basis.shape[2]) for part in (season, after / before))
    return Decomposition(season, doubt, (inputs.value - season) * seen)


def harmonics(inputs: Inputs) -> tuple[Float[Tensor, "batch time y x harmonic"], Float[Tensor, " harmonic"]]:
    """A constant, cosines and sines at every step, and how strongly each is held to 0."""
    calendar = inputs.covariates[:, :CALENDAR]
    day, week = torch.atan2(calendar[:, 0], calendar[:, 1]), torch.atan2(calendar[:, 2], calendar[:, 3])
    angles = [order * day for order in range(1, DAILY + 1)] + [order * week for order in range(1, WEEKLY + 1)]
    waves = [wave(angle) for angle in angles for wave in (torch.cos, torch.sin)]
    daily = [STIFFNESS * order**2 for order in range(1, DAILY + 1)]
    weekly = [STIFFNESS_OF_WEEK * order**2 for order in range(1, WEEKLY + 1)]
    penalty = torch.tensor([STIFFNESS, *(held for held in daily + weekly for _ in range(2))])
    return torch.stack([torch.ones_like(day), *waves], -1), penalty.to(day)


@dataclass(frozen=True)
class Condition:
    """What the layers read of the windows, the same at every level of noise: computed once for all steps."""

    embedded: Float[Tensor, "batch cell patch width"]
    gates: list[Float[Tensor, "batch cell patch two_width"]]  # of each layer
    queries: list[Float[Tensor, "batch cell width"]]  # of each layer: what the graph asks of the frequencies
    real: Bool[Tensor, "batch cell"]  # cells that are looked at


class KGDiff(DiffusionRival[Condition]):
    """The velocity of asked values, given the seasonal part of the traffic and the knowledge graph."""

    def __init__(
        self, width: int = 64, layers: int = 4, heads: int = 4, patch: int = 4, steps: int = 12, chunk: int = 64
    ) -> None:
        """`steps`: of the sampler; `chunk`: members in the network at once."""
        super().__init__(steps, chunk)
        self.width, self.patch = width, patch
        self.graph = GraphEmbedding(width)
        self.known = nn.Linear((CHANNELS + 3) * patch, width)
        self.noisy = nn.Linear(patch, width)
        self.level = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.side = nn.Sequential(
            nn.Linear(3 * width, 2 * width), nn.GELU(), nn.Linear(2 * width, 2 * width), nn.GELU()
        )
        self.layers = nn.ModuleList(KnowledgeLayer(width, heads) for _ in range(layers))
        self.gates = nn.ModuleList(nn.Linear(2 * width, 2 * width) for _ in range(layers))
        self.queries = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        last = nn.Linear(width, patch)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), last)
        for part in last.parameters():
            nn.init.zeros_(part)

    def condition(self, inputs: Inputs) -> Condition:
        """Everything that does not change with the noise."""
        parts = decompose(inputs)
        channels = torch.cat([inputs.channels, torch.stack([parts.season, parts.doubt, parts.rest], 1)], 1)
        patches = rearrange(channels, "b c (p s) y x -> b (y x) p (c s)", s=self.patch)
        known = self.known(patches)  # b cell patch width
        graph = rearrange(self.graph(inputs), "b w y x -> b (y x) w")
        place = sinusoids(torch.arange(patches.shape[2]).to(known), self.width)
        side = self.side(torch.cat([known, graph[:, :, None].expand_as(known), place.expand_as(known)], -1))
        covered = rearrange(inputs.covered, "b y x -> b (y x)")
        return Condition(
            embedded=known + graph[:, :, None],
            gates=[gate(side) for gate in self.gates],
            queries=[query(graph) for query in self.queries],
            # Where nothing is covered nothing is read, but attention needs something to look at.
            real=covered | ~covered.any(1, keepdim=True),
        )

    def velocity(
        self,
        noisy: Float[Tensor, "row time y x"],
        level: Int[Tensor, " row"],
        condition: Condition,
        asked: Bool[Tensor, "batch time y x"],
    ) -> Float[Tensor, "row time y x"]:
        """That of asked values. Rows are windows, or members of all windows one after the other."""
        times = noisy.shape[0] // asked.shape[0]
        wanted = noisy * repeat(asked, "b t y x -> (m b) t y x", m=times)
        tokens = self.noisy(rearrange(wanted, "r (p s) y x -> r (y x) p s", s=self.patch))
        tokens = tokens + repeat(condition.embedded, "b c p w -> (m b) c p w", m=times)
        at = self.level(sinusoids(level.to(tokens.dtype), self.width))
        real = repeat(condition.real, "b c -> (m b) c", m=times)
        total = torch.zeros_like(tokens)
        for layer, gate, query in zip(self.layers, condition.gates, condition.queries, strict=True):
            tokens, skipped = layer(tokens, at, gate, query, real)
            total = total + skipped
        return rearrange(self.head(total), "r (y x) p s -> r (p s) y x", y=noisy.shape[2])


class KnowledgeLayer(nn.Module):
    """Along time, over frequencies as the graph asks, across cells; then a gated unit that reads the condition."""

    def __init__(self, width: int, heads: int) -> None:
        """Everything is `width` wide, the gate's condition twice that."""
        super().__init__()
        self.at = nn.Linear(width, width)
        self.time, self.cells = Attention(width, heads), Attention(width, heads)
        self.frequencies = FrequencyAttention(width, heads)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.middle = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, 2 * width)

    def forward(
        self,
        tokens: Float[Tensor, "row cell patch width"],
        at: Float[Tensor, "row width"],
        gate: Float[Tensor, "batch cell patch two_width"],
        query: Float[Tensor, "batch cell width"],
        real: Bool[Tensor, "row cell"],
    ) -> tuple[Float[Tensor, "row cell patch width"], Float[Tensor, "row cell patch width"]]:
        """The tokens after this layer, and what it adds to the answer."""
        rows, cells, patches, _ = tokens.shape
        times = rows // gate.shape[0]
        y = tokens + self.at(at)[:, None, None]
        seen = self.time(rearrange(self.norms[0](y), "r c p w -> (r c) p w"))
        y = y + rearrange(seen, "(r c) p w -> r c p w", c=cells)
        y = y + self.frequencies(self.norms[1](y), repeat(query, "b c w -> (m b) c w", m=times))
        key = None if real.all() else repeat(real, "r c -> (r p) c", p=patches)
        heard = self.cells(rearrange(self.norms[2](y), "r c p w -> (r p) c w"), key)
        y = y + rearrange(heard, "(r p) c w -> r c p w", p=patches)
        raw = self.middle(self.norms[3](y)) + repeat(gate, "b c p w -> (m b) c p w", m=times)
        opened, content = raw.chunk(2, -1)
        residual, skipped = self.out(opened.sigmoid() * content.tanh()).chunk(2, -1)
        return y + residual, skipped


class FrequencyAttention(nn.Module):
    """A filter of every cell's rhythms: how much of each frequency passes is attention of the graph to the spectrum.

    A frequency is looked at by its magnitude, so when within the window a rhythm peaks makes no difference.
    """

    def __init__(self, width: int, heads: int) -> None:
        """Every head has a filter of its own."""
        super().__init__()
        self.heads = heads
        self.key = nn.Linear(width, width, bias=False)
        self.outer = nn.Linear(width, width)

    def forward(
        self, x: Float[Tensor, "row cell patch width"], query: Float[Tensor, "row cell width"]
    ) -> Float[Tensor, "row cell patch width"]:
        """The series with some frequencies louder and others softer."""
        to, back = (matrix.to(x) for matrix in fourier(x.shape[2]))
        spectrum = einsum(to, x, "f p, r c p w -> r c f w")  # cosines, then sines
        key = rearrange(self.key(spectrum), "r c (part f) (h d) -> r c part f h d", part=2, h=self.heads)
        found = einsum(key, rearrange(query, "r c (h d) -> r c h d", h=self.heads), "r c k f h d, r c h d -> r c k f h")
        # The small number keeps the slope of the root finite.
        score = (found.square().sum(2) + 1e-6).sqrt() / math.sqrt(key.shape[-1])
        passed = score.softmax(2) * score.shape[2]  # 1 on average
        parts = rearrange(spectrum, "r c (part f) (h d) -> r c part f h d", part=2, h=self.heads)
        filtered = rearrange(parts * passed[:, :, None, ..., None], "r c part f h d -> r c (part f) (h d)")
        return self.outer(einsum(back, filtered, "p f, r c f w -> r c p w"))


def fourier(length: int) -> tuple[Float[Tensor, "part length"], Float[Tensor, "length part"]]:
    """The matrix to the spectrum of a real series, cosines of all frequencies and then sines, and the one back."""
    frequency = torch.arange(length // 2 + 1)
    angle = 2 * torch.pi * frequency[:, None] * torch.arange(length) / length
    to = torch.cat([angle.cos(), angle.sin()]) / math.sqrt(length)
    # All frequencies but the first and, of an even length, the last stand for themselves and their mirror image.
    single = (frequency == 0) | (2 * frequency == length)
    return to, to.T * torch.where(single, 1.0, 2.0).repeat(2)


__all__ = ["Decomposition", "FrequencyAttention", "KGDiff", "decompose", "fourier", "harmonics"]
