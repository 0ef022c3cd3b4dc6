from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_training import SMALL, made_training

from fomo.model.transformer import MaskedDiffusionTransformer
from fomo.training.loop import Training
from fomo.training.recipe import Recipe


@pytest.fixture
def tiny_recipe() -> Callable[..., Recipe]:
    """A recipe of a few seconds; keywords change its optimiser, `top` its other parts."""

    def make(top: dict[str, Any] | None = None, **optimiser: Any) -> Recipe:
        pace = {"steps": 12, "batch": 4, "warm_up": 2, "checkpoint_every": 4, "log_every": 1} | optimiser
        parts = {"data": {"families": {"made": 1.0}}, "model": SMALL, "windows": {"24x4x4": 3.0, "16x3x5": 1.0}}
        return Recipe.model_validate({"name": "tiny", "seed": 3, "optimiser": pace} | parts | (top or {}))

    return make


@pytest.fixture
def tiny_training(tiny_recipe) -> Callable[..., Training]:
    """A fresh run of a tiny recipe on made cities."""

    def make(
        recipe: Recipe | None = None, start: MaskedDiffusionTransformer | None = None, **optimiser: Any
    ) -> Training:
        return made_training(recipe or tiny_recipe(**optimiser), start)

    return make


@pytest.fixture
def data_of_folds(tmp_path) -> Path:
    """A folder with one family of five regions in folds 0..4, two weeks long at a step of four hours."""
    random = np.random.default_rng(2)
    np.savez(
        tmp_path / "regions.npz",
        traffic=(1 + np.arange(5))[:, None, None, None] * random.lognormal(1, 0.1, (5, 84, 2, 3)).astype(np.float32),
        users=random.lognormal(1, 0.5, (5, 84, 2, 3)).astype(np.float32),
        poi=random.integers(0, 9, (5, 6, 2, 3)).astype(np.int32),
        fold=np.arange(5).astype(np.int8),
        weeks=np.full(5, 2, np.int8),
        step_minutes=np.int64(240),
        start_weekday_slot=np.array([0, 0], np.int16),
    )
    return tmp_path
