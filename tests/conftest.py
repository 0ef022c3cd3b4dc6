"""What every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import settings

from checked import check_calls

if TYPE_CHECKING:
    from fomo.model.transformer import MaskedDiffusionTransformer
    from fomo.windows.batch import Batch

check_calls("fomo")  # before it is imported
torch.set_num_threads(1)

# The same examples on every machine, however slow it is.
settings.register_profile("fomo", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("fomo")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data: FOMO_DATA, else `../shared/data` beside the repository, else a skip."""
    named = os.environ.get("FOMO_DATA")
    if named:
        folder = Path(named)
        if not folder.is_dir():
            pytest.fail(f"FOMO_DATA names {folder}, which is no folder")
        return folder
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real data: set FOMO_DATA")
    return folder


@pytest.fixture
def random_batch() -> Callable[..., Batch]:
    """Makes batches with cells of all four states; their last quarter of time is asked."""
    from fomo.windows.batch import Batch, CellState

    def make(
        seed: int = 0, batch: int = 2, time: int = 12, y: int = 4, x: int = 4, missing: float = 0.1, padding: int = 1
    ) -> Batch:
        random = np.random.default_rng(seed)
        shape = (batch, time, y, x)
        state = np.full(shape, int(CellState.OBSERVED), np.int8)
        state[:, time - max(1, time // 4) :] = CellState.HIDDEN
        state[random.random(shape) < missing] = CellState.MISSING
        if padding:
            state[0, :, :, x - padding :] = CellState.PADDING
        known = random.random(shape) < 0.5
        share = random.lognormal(-1.5, 0.5, shape) * np.isin(state, (CellState.OBSERVED, CellState.HIDDEN))
        return Batch(
            share=torch.tensor(share, dtype=torch.float32),
            state=torch.from_numpy(state),
            week=torch.tensor(random.lognormal(-1.5, 0.5, shape) * known, dtype=torch.float32),
            week_known=torch.from_numpy(known),
            start_hour=torch.tensor(random.uniform(0, 168, batch), dtype=torch.float32),
            step_hours=torch.tensor(random.choice([1.0, 2.0, 4.0], batch), dtype=torch.float32),
            cell_km=torch.tensor(random.choice([0.0, 0.25, 1.0], batch), dtype=torch.float32),
            rhythm=torch.tensor(random.lognormal(0.0, 0.5, shape), dtype=torch.float32),
            shapes=torch.tensor(random.normal(0.0, 0.3, (batch, 3, time)), dtype=torch.float32),
            noise=torch.tensor(random.uniform(0.05, 0.2, (batch, time)), dtype=torch.float32),
        )

    return make


@pytest.fixture
def with_context() -> Callable[..., Batch]:
    """Gives a batch users, POI and residents: `users`, `static`: shares of values and cells that are known."""
    from fomo.windows.context import STATIC_LAYERS, Context

    def make(batch: Batch, seed: int = 0, users: float = 0.8, static: float = 0.7) -> Batch:
        random = np.random.default_rng(seed)
        size = tuple(batch.share.shape)
        rows, steps, *cells = size
        users_known = random.random(size) < users
        static_known = random.random((rows, len(STATIC_LAYERS), *cells)) < static
        made = {
            "users": random.lognormal(-1.5, 0.5, size) * users_known,
            "users_rhythm": random.lognormal(0.0, 0.3, size),
            "users_shapes": random.normal(0.0, 0.2, (rows, 3, steps)),
            "users_noise": random.uniform(0.05, 0.2, (rows, steps)),
            "rate": random.uniform(0.5, 2.0, rows),
            "users_family": random.lognormal(0.0, 0.2, (rows, 4, steps)) - np.array([0.0, 1.0, 1.0, 1.0])[:, None],
            "rate_within": random.uniform(0.04, 0.6, rows),
            "rate_between": random.uniform(0.04, 0.6, rows),
            "answer": np.concatenate(
                [random.normal(0.0, 0.1, (rows, 4, 3)), random.uniform(0.5, 1.0, (rows, 4, 1))], 2
            ),
            "rate_rhythm": random.lognormal(0.0, 0.2, size),
            "rate_shapes": random.normal(0.0, 0.2, (rows, 3, steps)),
            "rate_noise": random.uniform(0.05, 0.2, (rows, steps)),
            "static": random.poisson(3.0, static_known.shape) * static_known,
        }
        context = Context(
            users_known=torch.from_numpy(users_known),
            static_known=torch.from_numpy(static_known),
            **{name: torch.tensor(value, dtype=torch.float32) for name, value in made.items()},
        )
        return replace(batch, context=context)

    return make


@pytest.fixture
def small_network() -> Callable[..., MaskedDiffusionTransformer]:
    """Makes small networks that say something: all weights moved away from their initial zeros and ones."""
    from fomo.model.transformer import MaskedDiffusionTransformer, ModelConfig

    def make(seed: int = 0, **config: Any) -> MaskedDiffusionTransformer:
        torch.manual_seed(seed)
        sizes = {"width": 32, "encoder_layers": 1, "denoiser_layers": 1, "heads": 2, "dropout": 0.0}
        network = MaskedDiffusionTransformer(ModelConfig(**(sizes | config)))
        with torch.no_grad():
            for weight in network.parameters():
                weight += 0.1 * torch.randn_like(weight)
        return network.eval()

    return make
