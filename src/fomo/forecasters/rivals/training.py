"""One training for every rival, for a given computing time, on windows of the data that FoMo's are drawn from.

Masks and context modes are of the same kinds as in FoMo's fine-tuning. How often each is drawn is not the same:
docs/scoreboard.md says what differs.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from pydantic import Field
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fomo.config import Config
from fomo.forecasters.rivals.inputs import make_inputs, targets
from fomo.forecasters.rivals.network import RivalNetwork
from fomo.seeds import derived_seed
from fomo.tokens.masks import MaskConfig, draw_masks
from fomo.tokens.patch import TokenShape
from fomo.windows.batch import Batch
from fomo.windows.context import ContextDraw, draw_context
from fomo.windows.sample import TrainingSet


class FitConfig(Config):
    """How a rival is trained. It ends after `minutes` of computing time, or after `steps` where they are given."""

    minutes: float = Field(12.0, gt=0)  # of the process, one thread: other work on the machine takes nothing away
    steps: int | None = Field(None, ge=1)  # the same numbers on every machine; `Fitted.steps` says what minutes gave
    batch: int = Field(32, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    warm_up: float = Field(0.03, ge=0, lt=1)  # share of the training
    average: float = Field(0.995, ge=0, lt=1)  # of weights over steps
    clip: float = Field(1.0, gt=0)
    seed: int = 1
    window: tuple[int, int, int] = (64, 4, 4)
    masks: MaskConfig = MaskConfig(short=0.35, long=0.35, generation=0.22, random=0.08, whole=0.15)
    context: ContextDraw = ContextDraw(none=1.0, past=0.5, full=1.5)


@dataclass(frozen=True)
class Fitted:
    """A trained network, its steps and computing time, and the loss of each player over the training."""

    network: RivalNetwork
    steps: int
    seconds: float
    losses: tuple[tuple[float, ...], ...]  # (step, player)


class TrainingFailed(RuntimeError):
    """A network whose loss is no number any more; the message says when."""


def fit(
    network: RivalNetwork, data: TrainingSet, config: FitConfig, told: Callable[[float, str], None] | None = None
) -> Fitted:
    """Train the network and return the average of its weights; `told(done, text)` hears of the progress.

    Raises `TrainingFailed` where a loss is not finite.
    """
    players = network.players()
    optimisers = [
        torch.optim.AdamW(player.parameters, lr=config.learning_rate * player.rate, weight_decay=config.weight_decay)
        for player in players
    ]
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.average))
    history: list[tuple[float, ...]] = []
    began, step, done = time.process_time(), 0, 0.0
    network.train()
    while done < 1:
        batch = draw_batch(data, config, step)
        inputs = make_inputs(batch)
        target = targets(batch, inputs)
        factor = rate_at(done, config.warm_up)
        found = []
        for player, optimiser in zip(players, optimisers, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * player.rate * factor
            random = torch.Generator().manual_seed(derived_seed(config.seed, 2 * step + 1))
            loss = player.loss(inputs, target, random)
            if not torch.isfinite(loss):
                raise TrainingFailed(
                    f"the loss is {float(loss.detach())} after {step} steps at rate {config.learning_rate:g}"
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(player.parameters, config.clip)
            optimiser.step()
            found.append(float(loss.detach()))
        average.update_parameters(network)
        history.append(tuple(found))
        step += 1
        spent = (time.process_time() - began) / (60 * config.minutes)
        done = spent if config.steps is None else step / config.steps
        if told is not None and step % 20 == 0:
            told(min(done, 1.0), f"step {step}, loss " + ", ".join(f"{value:.4f}" for value in found))
    seconds = time.process_time() - began
    trained = copy.deepcopy(average.module)
    assert isinstance(trained, RivalNetwork)
    return Fitted(trained.eval(), step, seconds, tuple(history))


def draw_batch(data: TrainingSet, config: FitConfig, step: int) -> Batch:
    """Windows with a part hidden and some of the context known, from a generator of this step."""
    random = np.random.default_rng([config.seed, step])
    # Dropout and the like draw from torch's own generator.
    torch.manual_seed(derived_seed(config.seed, 2 * step))
    batch = data.draw(config.window, config.batch, random)
    masks = draw_masks(config.masks, config.batch, *config.window, TokenShape(4, 2, 2), random)
    batch = batch.hide(masks)
    if batch.context is not None:
        seen = draw_context(batch.context, batch.hidden, config.context, random)
        batch = replace(batch, context=seen)
    return batch


def rate_at(done: float, warm_up: float) -> float:
    """The learning rate relative to its peak: up over the warm-up, then a cosine to a hundredth."""
    if done < warm_up:
        return 0.05 + 0.95 * done / warm_up
    along = min((done - warm_up) / (1 - warm_up), 1.0)
    return 0.01 + 0.99 * (1 + math.cos(math.pi * along)) / 2


__all__ = ["FitConfig", "Fitted", "TrainingFailed", "draw_batch", "fit", "rate_at"]
