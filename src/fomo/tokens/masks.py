"""The four masks of §3.3.1, equations (5)-(7). Here 1 (True) means hidden: NOTES.md, conventions.

Each gives (batch, time, y, x) booleans; `draw_masks` samples kinds and ratios for training.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool
from pydantic import Field, model_validator
from torch import Tensor

from fomo.config import Config
from fomo.tokens.patch import TokenShape


def forecast_mask(time: int, y: int, x: int, hidden_steps: int) -> Bool[np.ndarray, "time y x"]:
    """Equation (5): the last `hidden_steps` of time, everywhere. Short where they are few, long where many."""
    mask = np.zeros((time, y, x), bool)
    mask[time - hidden_steps :] = True
    return mask


def generation_mask(time: int, y: int, x: int, block: tuple[slice, slice]) -> Bool[np.ndarray, "time y x"]:
    """Equation (6): all times of a block of adjacent cells."""
    mask = np.zeros((time, y, x), bool)
    mask[:, block[0], block[1]] = True
    return mask


def random_mask(
    time: int, y: int, x: int, ratio: float, token: TokenShape, random: np.random.Generator
) -> Bool[np.ndarray, "time y x"]:
    """Equation (7): a random share of the space-time tokens."""
    t, h, v = token.grid(time, y, x)
    tokens = random.random((t, h, v)) < ratio
    cells = tokens.repeat(token.time, 0).repeat(token.y, 1).repeat(token.x, 2)
    return np.asarray(cells[:time, :y, :x])


class MaskConfig(Config):
    """How often each mask is drawn in training, and over which ratios."""

    short: float = Field(0.35, ge=0)  # relative frequencies of the kinds
    long: float = Field(0.35, ge=0)
    generation: float = Field(0.15, ge=0)
    random: float = Field(0.15, ge=0)
    exact: float = Field(0.5, ge=0, le=1)  # share of short and long masks at the paper's 1/4 and 3/4
    whole: float = Field(0.0, ge=0, le=1)  # share of generation masks that hide all cells: only context is left
    random_ratio: tuple[float, float] = (0.15, 0.85)  # least and most hidden by a random mask

    @model_validator(mode="after")
    def _something_can_be_drawn(self) -> MaskConfig:
        if not self.short + self.long + self.generation + self.random > 0:
            raise ValueError("short, long, generation and random are all 0: one of them needs to be above 0")
        low, high = self.random_ratio
        if not 0 <= low <= high <= 1:
            raise ValueError(f"random_ratio is ({low:g}, {high:g}): it rises from at least 0 to at most 1")
        return self


def draw_mask(
    config: MaskConfig, time: int, y: int, x: int, token: TokenShape, random: np.random.Generator
) -> Bool[np.ndarray, "time y x"]:
    """One mask of a random kind and ratio; it always hides at least one cell."""
    frequency = np.array([config.short, config.long, config.generation, config.random])
    kind = random.choice(4, p=frequency / frequency.sum())
    if kind in (0, 1):
        low, exact, high = ((1 / 16, 1 / 4, 1 / 2), (1 / 2, 3 / 4, 15 / 16))[kind]
        ratio = exact if random.random() < config.exact else random.uniform(low, high)
        return forecast_mask(time, y, x, max(1, min(time - 1, round(ratio * time))))
    if kind == 2 and config.whole and random.random() < config.whole:
        return generation_mask(time, y, x, (slice(None), slice(None)))
    if kind == 2:
        edges = []
        for size, unit in ((y, token.y), (x, token.x)):
            largest = max(1, -(-size // unit) - 1) * unit if size > unit else size
            edge = min(size, int(random.integers(1, largest + 1)))
            first = int(random.integers(0, size - edge + 1))
            edges.append(slice(first, first + edge))
        return generation_mask(time, y, x, (edges[0], edges[1]))
    mask = random_mask(time, y, x, random.uniform(*config.random_ratio), token, random)
    if not mask.any():
        mask[-token.time :] = True
    return mask


def draw_masks(
    config: MaskConfig, batch: int, time: int, y: int, x: int, token: TokenShape, random: np.random.Generator
) -> Bool[Tensor, "batch time y x"]:
    """One mask per window."""
    return torch.from_numpy(np.stack([draw_mask(config, time, y, x, token, random) for _ in range(batch)]))
