"""Small data, small random weights and a small recipe: the whole command line in seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import fomo
from fomo.model.checkpoint import FORMAT_VERSION, Checkpoint, save_checkpoint
from fomo.model.transformer import MaskedDiffusionTransformer, ModelConfig
from fomo.windows.answers import Answer
from fomo.windows.context import USERS_ROWS, UsersPattern
from fomo.windows.rhythm import GENERAL

REFERENCE = 123.0  # stored with the weights for the family `regions`


@dataclass(frozen=True)
class Ran:
    """What a command said."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


def usual_users() -> dict[str, Any]:
    """What a checkpoint stores of users, the same everywhere."""
    usual = np.random.default_rng(0).uniform(0.5, 1.5, (USERS_ROWS, 168))
    pattern = UsersPattern.restored(usual, 1.0, 0.25, 0.1, Answer.none())
    return {
        "users": {GENERAL: pattern.stored},
        "users_rates": {GENERAL: 1.0},
        "users_variances": {GENERAL: (pattern.within, pattern.between)},
        "answers": {GENERAL: pattern.answer.stored},
    }


def save_random_weights(folder: Path, context: bool = False) -> Path:
    """`context`: such that read users, POI and residents, and know what is usual of users everywhere."""
    torch.manual_seed(0)
    config = ModelConfig(width=32, encoder_layers=1, denoiser_layers=1, heads=2, context=context)
    network = MaskedDiffusionTransformer(config)
    known: dict[str, Any] = {}
    if network.context is not None:
        with torch.no_grad():  # a fresh module says nothing of users of the past, of POI and of residents
            for weight in network.context.parameters():
                weight += 0.1 * torch.randn_like(weight)
        known = usual_users()
    checkpoint = Checkpoint(
        format_version=FORMAT_VERSION, name="random", model=config, references={"regions": REFERENCE}, **known
    )
    return save_checkpoint(folder, network, checkpoint)


def write_regions(path: Path, folds: list[int]) -> Path:
    """Regions of 4 x 4 cells in the form of the UoMo release; the odd ones have two weeks."""
    cities = [fomo.synthetic_city("one", 4, 4, days=16, seed=seed) for seed in range(len(folds))]
    traffic = np.stack([city["traffic"].values for city in cities])
    users = np.stack([city["users"].values for city in cities])
    traffic[::2, 8 * 24 :] = users[::2, 8 * 24 :] = np.nan
    np.savez(
        path,
        traffic=traffic,
        users=users,
        poi=np.stack([city["poi"].values for city in cities]),
        fold=np.array(folds, np.int8),
        weeks=np.array([1, 2] * len(folds), np.int8)[: len(folds)],
        step_minutes=np.int64(60),
        start_weekday_slot=np.array([0, 0], np.int16),
    )
    return path


RECIPE = """
name = "small"
model = {width = 32, encoder_layers = 1, denoiser_layers = 1, heads = 2}
[data]
families = {regions = 1.0, town = 1.0}
[optimiser]
steps = STEPS
batch = 2
warm_up = 2
checkpoint_every = 4
log_every = 2
"""
