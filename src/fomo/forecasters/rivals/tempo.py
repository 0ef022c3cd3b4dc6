"""TEMPO: Cao et al., "TEMPO: Prompt-based generative pre-trained transformer for time series forecasting", ICLR 2024.

A series is decomposed into trend, season and residual. The patches of each part, after a soft prompt of its own, are
read one after the other by a language model that is frozen but for its normalisations and a low-rank change of its
linear layers; three heads predict the parts, and the forecast is their sum. Here the parts are kernel means over
observed values, in time for the trend and in time of day for the season, in place of a loess of whole series; both go
on where nothing is observed, and a patch also carries what is known in advance and which of its values are observed.
Soft prompts begin as random words, not as a sentence, and there is no pool of prompts. Trend and season are predicted
as numbers and the residual as quantiles, so the spread is that of the residual. A training step takes some cells of the
batch. Cells know nothing of each other, so there is no generation without history.
"""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from fomo.forecasters.rivals.inputs import CHANNELS, Inputs, cells
from fomo.forecasters.rivals.language_model import Backbone, default_folder, load_backbone, some_cells
from fomo.forecasters.rivals.network import Player, RivalNetwork
from fomo.forecasters.rivals.quantiles import QuantileHead, members, pinball

PARTS = 3  # trend, season, residual
#: Widths of the kernels in hours: of the trend, over which a day is evened out, and of the season within the day.
TREND, SEASON = 12.0, 0.75
#: The season of a time of day that was not observed is 0: a prior worth this many observed values.
PRIOR = 0.5
#: Weight, as a logarithm, of what is not observed.
NEVER = -1e9


class Tempo(RivalNetwork):
    """Trend, season and residual of one cell's window, each with its prompt, to quantiles of its values."""

    gives_quantiles = True

    def __init__(
        self,
        backbone: Backbone | None = None,
        layers: int = 4,
        rank: int = 8,
        prompt: int = 2,
        patch: int = 8,
        series: int = 64,
    ) -> None:
        """`layers`: of the language model that is loaded where no `backbone` is given; `series`: of a training step."""
        super().__init__()
        self.backbone = load_backbone(default_folder(), layers) if backbone is None else backbone
        self.backbone.adapt(rank)
        self.patch, self.series = patch, series
        words, width = self.backbone.words.shape
        some = torch.randperm(words)[: PARTS * prompt]
        self.prompts = nn.Parameter(rearrange(self.backbone.words[some].clone(), "(k t) d -> k t d", k=PARTS))
        self.embed = nn.ModuleList(nn.Linear(CHANNELS * patch, width) for _ in range(PARTS))
        self.norm = nn.LayerNorm(width)
        self.trend, self.season = nn.Linear(2 * width, patch), nn.Linear(2 * width, patch)
        self.residual = QuantileHead(2 * width, patch)

    def read(self, inputs: Inputs) -> list[Float[Tensor, "series patch feature"]]:
        """What the language model makes of each part: of every patch, beside the last token, which has read all."""
        known = cells(inputs.channels)
        hours = repeat(inputs.step_hours, "b -> (b y x)", y=inputs.level.shape[1], x=inputs.level.shape[2])
        parts = decompose(known[:, 0], known[:, 1] > 0, hours)
        text = []
        for part, embed, prompt in zip(parts, self.embed, self.prompts, strict=True):
            patches = rearrange(torch.cat([part[:, None], known[:, 1:]], 1), "n c (p s) -> n p (c s)", s=self.patch)
            text += [repeat(prompt, "t d -> n t d", n=len(known)), embed(patches)]
        out = self.norm(self.backbone(torch.cat(text, 1)))
        last = out[:, -1:].expand(-1, patches.shape[1], -1)
        return [torch.cat([part, last], -1) for part in out.split([piece.shape[1] for piece in text], 1)[1::2]]

    def quantiles(self, inputs: Inputs) -> Float[Tensor, "batch time y x quantile"]:
        """Quantiles of every value of the windows: those of the residual, about trend and season."""
        b, _, y, x = inputs.value.shape
        trend, season, residual = self.read(inputs)
        found = (self.trend(trend) + self.season(season))[..., None] + self.residual(residual)
        return rearrange(found, "(b y x) p s q -> b (p s) y x q", b=b, y=y, x=x)

    def players(self) -> list[Player]:
        """All but the frozen part of the language model, the pinball loss on some cells."""

        def loss(inputs: Inputs, target: Tensor, random: torch.Generator) -> Tensor:
            few, truth = some_cells(inputs, target, self.series, random)
            return pinball(self.quantiles(few), truth, few)

        return [Player([parameter for parameter in self.parameters() if parameter.requires_grad], loss)]

    def sample(self, inputs: Inputs, samples: int, random: torch.Generator) -> Float[Tensor, "batch sample time y x"]:
        """The predicted quantiles."""
        return members(self.quantiles(inputs), samples)


def decompose(
    value: Float[Tensor, "series time"], observed: Bool[Tensor, "series time"], step_hours: Float[Tensor, " series"]
) -> tuple[Float[Tensor, "series time"], Float[Tensor, "series time"], Float[Tensor, "series time"]]:
    """Trend, season and residual, which add up to the value where it is observed.

    Trend and season are given at every step, 0 where nothing of the series is observed; the residual is 0 elsewhere.
    """
    step = torch.arange(value.shape[1])
    apart = (step[:, None] - step).abs() * step_hours[:, None, None]  # series time time
    seen = observed[:, None, :]
    nearness = (-0.5 * (apart / TREND).square()).masked_fill(~seen, NEVER)
    trend = torch.einsum("nts,ns->nt", nearness.softmax(-1), value)
    within_day = (apart + 12.0) % 24.0 - 12.0  # hours between the times of day
    weight = torch.exp(-0.5 * (within_day / SEASON).square()) * seen
    season = torch.einsum("nts,ns->nt", weight, value - trend) / (weight.sum(-1) + PRIOR)
    return trend, season, (value - trend - season) * observed


__all__ = ["Tempo", "decompose"]
