"""UniST: Yuan et al., "UniST: a prompt-empowered universal model for urban spatio-temporal prediction", KDD 2024.

Space-time patches; an encoder reads those of which something is observed, a decoder fills in the others (masked
pre-training). Prompts guided by knowledge tell the decoder which pattern it faces: features of spatial closeness and
hierarchy (convolutions of growing size over the map) and of temporal closeness and period (the steps just before, the
same hour a day and a week before) look into two memories of learned keys and values, and what they find is added to
the tokens.

The four masks of the paper are those that all rivals are trained on. Here prompts are trained together with the
network in place of a second stage, patches also carry what is known in advance, and the head gives quantiles. The
paper's attention over the steps of closeness and period is a small network on the same steps.
"""

from __future__ import annotations

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from fomo.forecasters.rivals.blocks import TransformerBlock
from fomo.forecasters.rivals.inputs import CHANNELS, COVARIATES, STATIC, Inputs
from fomo.forecasters.rivals.network import Player, RivalNetwork
from fomo.forecasters.rivals.quantiles import QuantileHead, members, pinball

#: Steps before a patch that count as close.
CLOSE = 8
HOURS_PER_DAY = 24.0
WEEK, WEEK_KNOWN = COVARIATES.index("last week"), COVARIATES.index("last week known")
USERS_LEVEL = COVARIATES.index("level of users")
#: Channels of `city_map`, `close_steps` and `same_hours`.
MAP_CHANNELS = 6 + 2 * STATIC
CLOSE_CHANNELS = 2 * CLOSE + 2
PERIOD_CHANNELS = 4


class Memory(nn.Module):
    """Learned pairs of key and value; a query gets the values whose keys fit."""

    def __init__(self, slots: int, width: int) -> None:
        """`slots`: how many pairs."""
        super().__init__()
        self.keys = nn.Parameter(torch.randn(slots, width) / width**0.5)
        self.values = nn.Parameter(0.02 * torch.randn(slots, width))

    def forward(self, query: Float[Tensor, "*axes width"]) -> Float[Tensor, "*axes width"]:
        """A mean of the values; its weights are the softmax of query times key."""
        return (query @ self.keys.T).softmax(-1) @ self.values


class SpatialPrompt(nn.Module):
    """What the map around a patch is like, at several scales."""

    def __init__(self, width: int, slots: int, edge: int, kernels: tuple[int, ...] = (1, 3, 5)) -> None:
        """`edge`: cells along a patch; `kernels`: cells along the scales, from closeness to hierarchy."""
        super().__init__()
        self.edge = edge
        self.scales = nn.ModuleList(nn.Conv2d(MAP_CHANNELS, width, size, padding="same") for size in kernels)
        self.memory = Memory(slots, width)

    def forward(self, inputs: Inputs) -> Float[Tensor, "batch 1 y x width"]:
        """One prompt for all times of a place."""
        layers, found = city_map(inputs), []
        for scale in self.scales:
            query = reduce(scale(layers), "b w (y h) (x v) -> b 1 y x w", "mean", h=self.edge, v=self.edge)
            found.append(self.memory(torch.tanh(query)))
        return torch.stack(found).sum(0)


class TemporalPrompt(nn.Module):
    """What was just before a patch, and at its hours on the day and in the week before."""

    def __init__(self, width: int, slots: int, patch: tuple[int, int, int]) -> None:
        """`patch`: time, y and x of a patch."""
        super().__init__()
        self.patch = patch
        steps, area = patch[0], patch[1] * patch[2]
        self.close = _network(CLOSE_CHANNELS * area, width)
        self.period = _network(PERIOD_CHANNELS * steps * area, width)
        self.memory = Memory(slots, width)

    def forward(self, inputs: Inputs) -> Float[Tensor, "batch time y x width"]:
        """One prompt for every patch."""
        s, h, v = self.patch
        close = close_steps(inputs)[:, :, ::s]
        close = rearrange(close, "b c t (y h) (x v) -> b t y x (c h v)", h=h, v=v)
        queries = self.close(close), self.period(patches(same_hours(inputs), self.patch))
        return self.memory(torch.tanh(queries[0])) + self.memory(torch.tanh(queries[1]))


def _network(features: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(features, width), nn.GELU(), nn.Linear(width, width))


def patches(
    channels: Shaped[Tensor, "batch channel time y x"], patch: tuple[int, int, int]
) -> Shaped[Tensor, "batch p q r features"]:
    """Space-time patches, each with all its channels and values."""
    s, h, v = patch
    return rearrange(channels, "b c (t s) (y h) (x v) -> b t y x (c s h v)", s=s, h=h, v=v)


def city_map(inputs: Inputs) -> Float[Tensor, "batch layer y x"]:
    """What does not change with time: levels, the spread and the last of what is observed, POI and residents."""
    seen = inputs.observed.to(inputs.value.dtype)
    spread = ((inputs.value**2).sum(1) / seen.sum(1).clamp(min=1)).sqrt()
    last, _ = carried(inputs)
    users = inputs.covariates[:, USERS_LEVEL].amax(1)  # where known it is the same for all steps
    own = [inputs.level * inputs.covered, inputs.own_level, inputs.covered, spread, last[:, -1], users]
    layers = torch.stack([layer.to(spread.dtype) for layer in own], 1)
    return torch.cat([layers, inputs.static, inputs.static_known.to(spread.dtype)], 1)


def carried(inputs: Inputs) -> tuple[Float[Tensor, "batch time y x"], Float[Tensor, "batch time y x"]]:
    """The newest observed value up to each step, and how many windows ago it was: 0 and 1 where there is none."""
    steps = inputs.value.shape[1]
    index = torch.arange(steps).view(1, -1, 1, 1)
    newest = torch.where(inputs.observed, index, -1).cummax(1).values
    value = inputs.value.gather(1, newest.clamp(min=0)) * (newest >= 0)
    return value, torch.where(newest >= 0, (index - newest) / steps, 1.0)


def close_steps(inputs: Inputs) -> Float[Tensor, "batch channel time y x"]:
    """The `CLOSE` values before each step with their flags, and the newest that is known before it."""
    parts = [shifted(part.to(inputs.value.dtype), CLOSE) for part in (inputs.value, inputs.observed)]
    newest = [shifted(part, 1) for part in carried(inputs)]
    return torch.cat([*parts, *newest], 1)


def shifted(layer: Float[Tensor, "batch time y x"], most: int) -> Float[Tensor, "batch back time y x"]:
    """The layer 1 to `most` steps before; 0 before the window."""
    steps = layer.shape[1]
    before = nn.functional.pad(layer, (0, 0, 0, 0, most, 0))
    return torch.stack([before[:, most - back : most - back + steps] for back in range(1, most + 1)], 1)


def same_hours(inputs: Inputs) -> Float[Tensor, "batch channel time y x"]:
    """The value of the same hour a day before, where the window reaches so far, and a week before; with flags."""
    day = (HOURS_PER_DAY / inputs.step_hours).round().long()
    index = torch.arange(inputs.value.shape[1]) - day[:, None]
    place = index.clamp(min=0)[:, :, None, None].expand_as(inputs.value)
    known = inputs.observed.gather(1, place) & (index >= 0)[:, :, None, None]
    value = inputs.value.gather(1, place) * known
    week = inputs.covariates[:, [WEEK, WEEK_KNOWN]]
    return torch.cat([torch.stack([value, known.to(value.dtype)], 1), week], 1)


class UniST(RivalNetwork):
    """Space-time patches to quantiles of their values: encoder, prompts, decoder."""

    gives_quantiles = True

    def __init__(
        self,
        width: int = 128,
        encoder: int = 4,
        decoder: int = 3,
        heads: int = 8,
        slots: int = 128,
        patch: tuple[int, int, int] = (4, 2, 2),
        window: tuple[int, int, int] = (64, 4, 4),
    ) -> None:
        """`encoder`, `decoder`: their layers; `slots`: of each memory; `window`: the largest."""
        super().__init__()
        self.patch = patch
        size = patch[0] * patch[1] * patch[2]
        self.embed = nn.Linear(CHANNELS * size, width)
        self.known = nn.Linear(CHANNELS * size, width)
        times, rows, columns = (whole // part for whole, part in zip(window, patch, strict=True))
        self.when = nn.Parameter(0.02 * torch.randn(times, 1, 1, width))
        self.place = nn.Parameter(0.02 * torch.randn(rows, columns, width))
        self.window = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.hidden = nn.Parameter(0.02 * torch.randn(width))
        self.encoder = nn.ModuleList(TransformerBlock(width, heads) for _ in range(encoder))
        self.decoder = nn.ModuleList(TransformerBlock(width, heads) for _ in range(decoder))
        self.between, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.spatial = SpatialPrompt(width, slots, patch[1])
        self.temporal = TemporalPrompt(width, slots, patch)
        self.head = QuantileHead(width, size)

    def visible(self, inputs: Inputs) -> Bool[Tensor, "batch p q r"]:
        """Patches of which something is observed."""
        return patches(inputs.observed[:, None], self.patch).any(-1)

    def quantiles(self, inputs: Inputs) -> Float[Tensor, "batch time y x quantile"]:
        """Quantiles of every value of the windows."""
        content = patches(inputs.channels, self.patch)
        _, t, y, x, _ = content.shape
        place = self.when[:t] + self.place[:y, :x]
        visible = rearrange(self.visible(inputs), "b t y x -> b (t y x)")

        tokens = rearrange(self.embed(content) + place, "b t y x w -> b (t y x) w")
        # A token of the whole window is always there, so that a window of which nothing is observed can be read too.
        tokens = torch.cat([self.window.expand(len(tokens), -1, -1), tokens], 1)
        key = nn.functional.pad(visible, (1, 0), value=True)
        for block in self.encoder:
            tokens = block(tokens, key)
        tokens = self.between(tokens)

        prompt = self.known(content) + place + self.spatial(inputs) + self.temporal(inputs)
        read = torch.where(visible[:, :, None], tokens[:, 1:], self.hidden)
        tokens = torch.cat([tokens[:, :1], read + rearrange(prompt, "b t y x w -> b (t y x) w")], 1)
        for block in self.decoder:
            tokens = block(tokens)
        quantiles = self.head(self.norm(tokens[:, 1:]))
        s, h, v = self.patch
        return rearrange(
            quantiles, "b (t y x) (s h v) q -> b (t s) (y h) (x v) q", t=t, y=y, x=x, s=s, h=h, v=v
        )  # fmt: skip

    def players(self) -> list[Player]:
        """One network, the pinball loss."""

        def loss(inputs: Inputs, target: Tensor, random: torch.Generator) -> Tensor:
            return pinball(self.quantiles(inputs), target, inputs)

        return [Player(list(self.parameters()), loss)]

    def sample(self, inputs: Inputs, samples: int, random: torch.Generator) -> Float[Tensor, "batch sample time y x"]:
        """The predicted quantiles."""
        return members(self.quantiles(inputs), samples)


__all__ = ["Memory", "UniST", "carried", "close_steps", "same_hours"]
