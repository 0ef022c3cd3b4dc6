"""Time-LLM: Jin et al., "Time-LLM: Time series forecasting by reprogramming large language models", ICLR 2024.

The patches of a series look at text prototypes, learned mixtures of the language model's words, and what they find goes
through the frozen language model after a prompt that tells of the series; an output projection makes numbers of it.
Here a patch also carries what is known in advance and which of its values are observed. The prompt is no text of a
hundred words, which would cost ten times the patches: two learned tokens stand for the description of data and task,
and two hold the numbers of the paper's text, least, greatest, median, trend and the five lags of greatest
autocorrelation. The projection gives each patch its values from the patch's own output and from the last one, which has
read all, in place of one flat head for one horizon. A training step takes some cells of the batch. Cells know nothing
of each other, so there is no generation without history.
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

#: Lags that the prompt names.
NAMED = 5
#: An autocorrelation of fewer pairs of observed values says nothing.
PAIRS = 4
#: Numbers that the prompt holds: those of `statistics`, level, own level, hours of a step.
NUMBERS = 8
#: Channels that hold the level and whether it is the cell's own.
LEVELS = slice(3, 5)


class Reprogramming(nn.Module):
    """Cross-attention of patches onto text prototypes: a series in the words of a language."""

    def __init__(self, width: int, heads: int, words: int, language: int, prototypes: int) -> None:
        """`width`: of patches; `words` x `language`: the size of the table of words."""
        super().__init__()
        self.heads = heads
        self.mixture = nn.Linear(words, prototypes, bias=False)
        self.query = nn.Linear(width, width)
        self.key, self.value = nn.Linear(language, width), nn.Linear(language, width)
        self.outer = nn.Linear(width, language)

    def forward(
        self, patches: Float[Tensor, "series patch width"], words: Float[Tensor, "word language"]
    ) -> Float[Tensor, "series patch language"]:
        """Every patch a mean of the prototypes, weighted by how they fit."""
        prototypes = self.mixture(words.T).T  # prototype language
        query = rearrange(self.query(patches), "n p (h d) -> 1 h (n p) d", h=self.heads)
        key, value = (
            rearrange(layer(prototypes), "v (h d) -> 1 h v d", h=self.heads) for layer in (self.key, self.value)
        )
        found = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.outer(rearrange(found, "1 h (n p) d -> n p (h d)", p=patches.shape[1]))


class TimeLLM(RivalNetwork):
    """A prompt and the patches of one cell's window through a frozen language model, to quantiles of its values."""

    gives_quantiles = True

    def __init__(
        self,
        backbone: Backbone | None = None,
        layers: int = 4,
        width: int = 128,
        heads: int = 8,
        prototypes: int = 128,
        patch: int = 8,
        series: int = 128,
        longest: int = 64,
    ) -> None:
        """`layers`: of the language model that is loaded where no `backbone` is given; `series`: of a training step."""
        super().__init__()
        self.backbone = load_backbone(default_folder(), layers) if backbone is None else backbone
        self.patch, self.series, self.lags = patch, series, longest // 2
        words, language = self.backbone.words.shape
        self.embed = nn.Sequential(nn.Linear(CHANNELS * patch, width), nn.GELU(), nn.Linear(width, width))
        self.reprogram = Reprogramming(width, heads, words, language, prototypes)
        # Learned tokens begin as words, at the scale that the language model knows.
        self.task = nn.Parameter(self.backbone.words[torch.randperm(words)[:2]].clone())
        self.numbers = nn.Sequential(nn.Linear(NUMBERS, width), nn.GELU(), nn.Linear(width, language))
        self.rhythm = nn.Linear(self.lags, language)
        self.norm = nn.LayerNorm(language)
        self.head = QuantileHead(2 * language, patch)

    def prompt(
        self, known: Float[Tensor, "series channel time"], step_hours: Float[Tensor, " series"]
    ) -> Float[Tensor, "series token language"]:
        """What is said before the patches: the task, the numbers of the series, its lags."""
        value, observed = known[:, 0], known[:, 1] > 0
        said = torch.cat([statistics(value, observed), known[:, LEVELS, 0], step_hours[:, None].log()], 1)
        lags = top_lags(value, observed, self.lags).to(value.dtype)
        task = repeat(self.task, "k d -> n k d", n=len(value))
        return torch.cat([task, self.numbers(said)[:, None], self.rhythm(lags)[:, None]], 1)

    def quantiles(self, inputs: Inputs) -> Float[Tensor, "batch time y x quantile"]:
        """Quantiles of every value of the windows."""
        b, _, y, x = inputs.value.shape
        known = cells(inputs.channels)
        patches = self.embed(rearrange(known, "n c (p s) -> n p (c s)", s=self.patch))
        prompt = self.prompt(known, repeat(inputs.step_hours, "b -> (b y x)", y=y, x=x))
        text = torch.cat([prompt, self.reprogram(patches, self.backbone.words)], 1)
        read = self.norm(self.backbone(text)[:, prompt.shape[1] :])
        both = torch.cat([read, read[:, -1:].expand_as(read)], -1)
        return rearrange(self.head(both), "(b y x) p s q -> b (p s) y x q", b=b, y=y, x=x)

    def players(self) -> list[Player]:
        """All but the language model, the pinball loss on some cells."""

        def loss(inputs: Inputs, target: Tensor, random: torch.Generator) -> Tensor:
            few, truth = some_cells(inputs, target, self.series, random)
            return pinball(self.quantiles(few), truth, few)

        return [Player([parameter for parameter in self.parameters() if parameter.requires_grad], loss)]

    def sample(self, inputs: Inputs, samples: int, random: torch.Generator) -> Float[Tensor, "batch sample time y x"]:
        """The predicted quantiles."""
        return members(self.quantiles(inputs), samples)


def statistics(
    value: Float[Tensor, "series time"], observed: Bool[Tensor, "series time"]
) -> Float[Tensor, "series number"]:
    """Least, greatest and median observed value, last minus first, and the observed share; 0 where nothing is."""
    count = observed.sum(1, keepdim=True)
    ascending = value.masked_fill(~observed, torch.inf).sort(1).values
    places = [torch.zeros_like(count), (count - 1).clamp(min=0), (count - 1).clamp(min=0) // 2]
    least, greatest, median = (ascending.gather(1, place) for place in places)
    step = torch.arange(value.shape[1])
    first = torch.where(observed, step, value.shape[1] - 1).amin(1, keepdim=True)
    last = torch.where(observed, step, 0).amax(1, keepdim=True)
    trend = value.gather(1, last) - value.gather(1, first)
    found = torch.cat([least, greatest, median, trend], 1)
    return torch.cat([torch.where(count > 0, found, 0.0), count / value.shape[1]], 1)


def top_lags(
    value: Float[Tensor, "series time"], observed: Bool[Tensor, "series time"], longest: int
) -> Bool[Tensor, "series lag"]:
    """The lags, from 1 step to `longest`, of the greatest mean product of observed values; values are 0 elsewhere."""
    steps = value.shape[1]

    def products(series: Tensor) -> Tensor:  # sums over all pairs of each lag, by way of the spectrum
        spectrum = torch.fft.rfft(series, 2 * steps)
        return torch.fft.irfft(spectrum.abs().square(), 2 * steps)[:, 1 : longest + 1]

    pairs = products(observed.to(value.dtype)).round()
    mean = torch.where(pairs >= PAIRS, products(value) / pairs.clamp(min=1), -torch.inf)
    least = mean.topk(min(NAMED, longest), dim=1).values[:, -1:]
    return (mean >= least) & mean.isfinite()


__all__ = ["TimeLLM", "statistics", "top_lags"]
