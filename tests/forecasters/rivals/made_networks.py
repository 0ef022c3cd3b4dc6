"""A small network of every trained rival, what it answers, and how it learns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from fomo.forecasters.rivals.adaptive import Adaptive
from fomo.forecasters.rivals.csdi import CSDI
from fomo.forecasters.rivals.inputs import Inputs
from fomo.forecasters.rivals.kegan import KeGAN
from fomo.forecasters.rivals.kg_diff import KGDiff
from fomo.forecasters.rivals.lag_llama import LagLlama
from fomo.forecasters.rivals.language_model import random_backbone
from fomo.forecasters.rivals.network import Player, RivalNetwork, WindowNoise
from fomo.forecasters.rivals.patchtst import PatchTST
from fomo.forecasters.rivals.quantiles import LEVELS
from fomo.forecasters.rivals.spectragan import SpectraGAN
from fomo.forecasters.rivals.tempo import Tempo
from fomo.forecasters.rivals.time_gpt import TimeGPT
from fomo.forecasters.rivals.time_llm import TimeLLM
from fomo.forecasters.rivals.unist import UniST

#: The size of a small language model.
LANGUAGE = {"layers": 1, "width": 16, "heads": 2, "words": 40}
#: By their names in the registry.
SMALL: dict[str, Callable[[], RivalNetwork]] = {
    "SpectraGAN": lambda: SpectraGAN(width=16, layers=2, draws=2),
    "keGAN": lambda: KeGAN(width=16, layers=1, heads=2, patterns=4, draws=2),
    "ADAPTIVE": lambda: Adaptive(width=16, layers=1, prototypes=4, draws=2),
    "CSDI": lambda: CSDI(width=16, layers=2, heads=2, steps=4),
    "KG-Diff": lambda: KGDiff(width=16, layers=2, heads=2, steps=4),
    "Time-LLM": lambda: TimeLLM(random_backbone(**LANGUAGE), width=16, heads=2, prototypes=8, series=24),
    "TEMPO": lambda: Tempo(random_backbone(**LANGUAGE), series=24),
    "PatchTST": lambda: PatchTST(width=16, layers=1, heads=2),
    "TimeGPT": lambda: TimeGPT(width=16, encoder=1, decoder=1, heads=2),
    "Lag-Llama": lambda: LagLlama(width=16, layers=2, heads=2, cells=40),
    "UniST": lambda: UniST(width=16, encoder=1, decoder=1, heads=2, slots=8),
}
#: Spread of what training makes of weights that are 0 at birth; 0.1 where it is not said.
SPREAD = {"CSDI": 0.2, "KG-Diff": 0.2, "Lag-Llama": 0.5}


def newborn(name: str) -> Any:
    """A rival's small network before its training."""
    torch.manual_seed(0)
    return SMALL[name]()


def grown(name: str) -> Any:
    """A rival's small network as if trained: no weight is 0, so that everything it reads can reach its answer."""
    network = newborn(name)
    for weight in network.parameters():
        if weight.ndim > 1 and not weight.any():
            torch.nn.init.normal_(weight, std=SPREAD.get(name, 0.1))
    return network.eval()


def answers(network: RivalNetwork, inputs: Inputs, samples: int = 3, first: int = 0) -> torch.Tensor:
    """Members of the windows, each with noise of its own, by its number; all its quantiles of a network of quantiles.

    `first`: the number of the first window.
    """
    count = len(LEVELS) if network.gives_quantiles else samples
    with torch.inference_mode():
        return network.sample(inputs, count, WindowNoise(range(first, first + len(inputs.level))))


def losses(
    player: Player,
    windows: tuple[Inputs, torch.Tensor],
    steps: int,
    rate: float,
    descent: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
    fresh_noise: bool = False,
) -> list[float]:
    """Train a player for some steps on one batch: what it loses at each. The noise is the same, or fresh, each time."""
    inputs, target = windows
    optimiser, found = descent(player.parameters, lr=rate), []
    for step in range(steps):
        loss = player.loss(inputs, target, torch.Generator().manual_seed(step if fresh_noise else 0))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(float(loss.detach()))
    return found
