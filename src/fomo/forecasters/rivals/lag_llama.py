"""Lag-Llama: Rasul et al., "Lag-Llama: towards foundation models for probabilistic time series forecasting", 2023.

A decoder-only transformer in the manner of LLaMA (RMSNorm, rotary positions, SwiGLU) on tokens of lagged values and of
what is known of the step to come, with a Student-t distribution of the next value as its head. It is trained by the
likelihood of the asked values with the true past before them, and draws paths step by step with a cache of keys and
values. One cell at a time, as in the paper.

Here the lags lie within the window of 64 steps, the value a day before among them where the window reaches that far;
last week's value comes with the covariates. The scale is the level of the cell, as for every rival, in place of the
paper's median and interquartile range. A step of training takes a random part of the cells, which is what one thread
can do. Members come in pairs of opposite noise, so that their mean has little sampling error. The paper augments its
series in frequency and has lags of up to a quarter: neither is done here. Values observed after an asked one are not
seen by it, since the decoder looks back only; without history a cell is drawn from its covariates alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from fomo.forecasters.rivals.inputs import COVARIATES, LARGEST, Inputs
from fomo.forecasters.rivals.network import Player, RivalNetwork, asked_mean, uniform
from fomo.windows.records import some_rows

#: Steps back that every token reads; a day before is one more.
LAGS = (1, 2, 3, 4, 5, 6, 7, 8, 12, 24)
#: Beside lagged values and covariates: asked, level, own level, length of a step.
FURTHER = 4
HOURS_PER_DAY = 24.0
#: Paths that are drawn at once, for memory.
PATHS = 3072


@dataclass(frozen=True)
class Series:
    """Cells as series: what is known of each step, and values where known."""

    value: Float[Tensor, "series time"]
    known: Bool[Tensor, "series time"]
    covariates: Float[Tensor, "series time channel"]
    lags: Int[Tensor, "series lag"]

    def lagged(self, steps: slice) -> Float[Tensor, "series step lags"]:
        """Values at the lags before each step, and whether they are known; 0 where not."""
        size = self.value.shape[1]
        index = torch.arange(size)[steps][:, None] - self.lags[:, None, :]  # (series, step, lag)
        inside, flat = index >= 0, index.clamp(min=0).flatten(1)
        known = self.known.gather(1, flat).view_as(index) & inside
        value = self.value.gather(1, flat).view_as(index) * known
        return torch.cat([value, known.to(value.dtype)], -1)


@dataclass(frozen=True)
class StudentT:
    """Student's t: degrees of freedom, place and scale."""

    freedom: Float[Tensor, "*axes"]
    place: Float[Tensor, "*axes"]
    scale: Float[Tensor, "*axes"]

    def log_density(self, value: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """The logarithm of the density."""
        half = (self.freedom + 1) / 2
        whole = torch.lgamma(half) - torch.lgamma(self.freedom / 2) - 0.5 * torch.log(torch.pi * self.freedom)
        return whole - self.scale.log() - half * torch.log1p(((value - self.place) / self.scale) ** 2 / self.freedom)

    def draw(
        self, radius: Float[Tensor, "*axes"], angle: Float[Tensor, "*axes"], sign: Float[Tensor, "*axes"] | float = 1.0
    ) -> Float[Tensor, "*axes"]:
        """Values from two numbers uniform over (0, 1]: Bailey (1994), Box and Muller's way for Student's t, exact.

        So the same noise serves every window, whatever its degrees of freedom; `sign` -1 gives the opposite value.
        """
        distance = (self.freedom * torch.expm1(-2 / self.freedom * radius.log())).sqrt()
        return self.place + sign * self.scale * distance * torch.cos(2 * torch.pi * angle)


class Past:
    """Keys and values of the steps so far, of one block."""

    def __init__(self, keys: Float[Tensor, "series head time width"], values: Tensor, steps: int = 0) -> None:
        """`steps`: how many are filled."""
        self.keys, self.values, self.steps = keys, values, steps

    def add(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values, with these as the newest."""
        first, self.steps = self.steps, self.steps + keys.shape[2]
        self.keys[:, :, first : self.steps], self.values[:, :, first : self.steps] = keys, values
        return self.keys[:, :, : self.steps], self.values[:, :, : self.steps]

    def repeated(self, members: int) -> Past:
        """The same past for every member of a series."""
        return Past(self.keys.repeat_interleave(members, 0), self.values.repeat_interleave(members, 0), self.steps)


class Block(nn.Module):
    """A block of LLaMA: attention to the past and a gated feed-forward layer, each on RMS-normalised features."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        """The gated layer is 8/3 as wide, so that it has as many weights as an ordinary one."""
        super().__init__()
        self.heads, inner = heads, 8 * width // 3
        self.before_attention, self.before_gate = nn.RMSNorm(width), nn.RMSNorm(width)
        self.inner = nn.Linear(width, 3 * width, bias=False)
        self.outer = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "series step width"], turn: Tensor, past: Past | None
    ) -> Float[Tensor, "series step width"]:
        """Each step looks at itself and those before it: of x, or of the past where x is one step that follows it."""
        q, k, v = rearrange(
            self.inner(self.before_attention(x)), "n t (three h d) -> three n h t d", three=3, h=self.heads
        )
        q, k = rotated(q, turn), rotated(k, turn)
        if past is not None:
            k, v = past.add(k, v)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=x.shape[1] > 1)
        x = x + self.dropout(self.outer(rearrange(mixed, "n h t d -> n t (h d)")))
        open_, content = self.gate(self.before_gate(x)).chunk(2, -1)
        return x + self.dropout(self.down(nn.functional.silu(open_) * content))


def turns(steps: Tensor, width: int) -> Float[Tensor, "step half 2"]:
    """Cosine and sine of the rotary position embedding (Su et al., 2021)."""
    frequency = 10_000.0 ** (-torch.arange(0, width, 2) / width)
    angle = steps[:, None] * frequency
    return torch.stack([angle.cos(), angle.sin()], -1)


def rotated(
    x: Float[Tensor, "series head step width"], turn: Float[Tensor, "step half 2"]
) -> Float[Tensor, "series head step width"]:
    """Pairs of features turned by an angle that grows with the step: products depend on distances alone."""
    (a, b), (cosine, sine) = x.chunk(2, -1), turn.unbind(-1)
    return torch.cat([a * cosine - b * sine, a * sine + b * cosine], -1)


def by_cell(layer: Shaped[Tensor, "batch time y x"]) -> Shaped[Tensor, "series time"]:
    """Every cell a series: series = batch x y x x."""
    return rearrange(layer, "b t y x -> (b y x) t")


class LagLlama(RivalNetwork):
    """Lagged values to a Student-t distribution of the next value, cell by cell."""

    antithetic = True

    def __init__(
        self, width: int = 96, layers: int = 3, heads: int = 4, dropout: float = 0.05, cells: int = 128
    ) -> None:
        """`cells`: how many series a training step takes at most."""
        super().__init__()
        self.cells, self.heads, self.head_width = cells, heads, width // heads
        self.embed = nn.Linear(2 * (len(LAGS) + 1) + len(COVARIATES) + FURTHER, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.RMSNorm(width)
        self.head = nn.Linear(width, 3)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def distribution(self, series: Series, steps: slice, past: list[Past] | None = None) -> StudentT:
        """The next value at each of the steps, given all values before it."""
        tokens = self.embed(torch.cat([series.lagged(steps), series.covariates[:, steps]], -1))
        turn = turns(torch.arange(series.value.shape[1])[steps], self.head_width)
        for index, block in enumerate(self.blocks):
            tokens = block(tokens, turn, None if past is None else past[index])
        freedom, place, scale = self.head(self.norm(tokens)).unbind(-1)
        # More than two degrees of freedom: the variance exists. The least scale keeps cells of constant traffic from
        # ruling the likelihood.
        positive = nn.functional.softplus
        return StudentT(2 + positive(freedom + 2), place, 0.01 + positive(scale - 1))

    def players(self) -> list[Player]:
        """One network, the likelihood of the asked values of some cells."""

        def loss(inputs: Inputs, target: Tensor, random: torch.Generator) -> Tensor:
            series = as_series(inputs, torch.where(inputs.asked, target, inputs.value))
            asked = by_cell(inputs.asked)
            order = torch.randperm(len(asked), generator=random)
            some = order[asked[order].any(1)][: self.cells]
            part = some_rows(series, some)
            error = -self.distribution(part, slice(None)).log_density(part.value)
            b, _, y, x = target.shape
            of_all = torch.zeros_like(series.value).index_copy(0, some, error * asked[some])
            chosen = torch.zeros(len(asked), dtype=torch.bool).index_fill(0, some, True).view(b, 1, y, x)
            return asked_mean(
                rearrange(of_all, "(b y x) t -> b t y x", b=b, y=y), replace(inputs, asked=inputs.asked & chosen)
            )

        return [Player(list(self.parameters()), loss)]

    def sample(self, inputs: Inputs, samples: int, random: torch.Generator) -> Float[Tensor, "batch sample time y x"]:
        """Paths step by step, of cells that are asked for; members 2i and 2i + 1 have opposite noise."""
        b, t, y, x = inputs.value.shape
        noise = 1 - uniform(random, b, 2, -(-samples // 2), t, y, x)  # over (0, 1]
        noise = rearrange(noise, "b two s t y x -> two (b y x) s t")
        series, asked = as_series(inputs, inputs.value), by_cell(inputs.asked)
        level = rearrange(inputs.level, "b y x -> (b y x)")
        drawn = series.value[:, None].expand(-1, samples, -1).clone()
        for some in torch.where(asked.any(1))[0].split(max(1, PATHS // samples)):
            part = some_rows(series, some)
            drawn[some] = self.paths(part, asked[some], level[some], noise[:, some], samples)
        half = -(-samples // 2)  # paths have all of one sign first
        order = torch.stack([torch.arange(half), torch.arange(half) + half], 1).flatten()[:samples]
        return rearrange(drawn[:, order], "(b y x) s t -> b s t y x", b=b, y=y)

    def paths(
        self,
        series: Series,
        asked: Bool[Tensor, "series time"],
        level: Float[Tensor, " series"],
        noise: Float[Tensor, "2 series pair time"],
        members: int,
    ) -> Float[Tensor, "series member time"]:
        """Asked values drawn in the order of time, each given the one before."""
        count, size = series.value.shape
        first = int(asked.any(0).nonzero()[0])
        last = int(asked.any(0).nonzero()[-1])
        empty = torch.zeros(len(self.blocks), 2, count, self.heads, size, self.head_width)
        pasts = [Past(*both) for both in empty]
        if first > 0:  # what is observed before anything is asked is the same for all members
            self.distribution(series, slice(0, first), pasts)
        pasts = [past.repeated(members) for past in pasts]
        series = some_rows(series, torch.arange(count).repeat_interleave(members))
        wanted, low = asked.repeat_interleave(members, 0), -level.repeat_interleave(members)
        radius, angle = rearrange(torch.cat([noise, noise], 2)[:, :, :members], "two n m t -> two (n m) t")
        pairs = noise.shape[2]
        sign = torch.where(torch.arange(members) < pairs, 1.0, -1.0).repeat(count)
        for step in range(first, last + 1):
            found = self.distribution(series, slice(step, step + 1), pasts)
            found = StudentT(found.freedom[:, 0], found.place[:, 0], found.scale[:, 0])
            value = found.draw(radius[:, step], angle[:, step], sign)
            # No traffic is below zero, and none that a city has is above the largest.
            value = torch.minimum(torch.maximum(value, low), low + LARGEST)
            series.value[:, step] = torch.where(wanted[:, step], value, series.value[:, step])
        return rearrange(series.value, "(n m) t -> n m t", m=members)


def as_series(inputs: Inputs, value: Float[Tensor, "batch time y x"]) -> Series:
    """Cells as series, with the values that tokens may read of the steps before them."""
    b, steps, y, x = value.shape
    further = [inputs.asked, inputs.level[:, None], inputs.own_level[:, None]]
    layers = [*further, inputs.step_hours.log()[:, None, None, None]]
    channels = torch.stack([layer.to(value.dtype).expand(b, steps, y, x) for layer in layers], 1)
    day = (HOURS_PER_DAY / inputs.step_hours).round().long().repeat_interleave(y * x)
    return Series(
        value=by_cell(value),
        known=by_cell(inputs.observed | inputs.asked),
        covariates=rearrange(torch.cat([inputs.covariates, channels], 1), "b c t y x -> (b y x) t c"),
        lags=torch.cat([torch.tensor(LAGS).expand(len(day), -1), day[:, None]], 1),
    )


__all__ = ["LagLlama", "Series", "StudentT", "as_series"]
