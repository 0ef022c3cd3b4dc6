"""A made-up city as training data and windows for the rivals."""

from __future__ import annotations

import warnings

import pytest
import torch

from fomo.city import City
from fomo.forecasters.rivals.inputs import Inputs, make_inputs, targets
from fomo.forecasters.rivals.training import FitConfig, draw_batch
from fomo.sources.synthetic import synthetic_city
from fomo.windows.batch import Batch
from fomo.windows.sample import AugmentConfig, TrainingSet, family_references

pytest.register_assert_rewrite("made_tasks")


@pytest.fixture(scope="session")
def made_city() -> City:
    """Ten days of 4 x 5 cells with users and POI."""
    return synthetic_city(days=10, height=4, width=5, seed=3)


@pytest.fixture(scope="session")
def training_set(made_city: City) -> TrainingSet:
    """The city as training data."""
    references = family_references([made_city])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return TrainingSet([made_city], references, AugmentConfig(), None, family_references([made_city], "users"))


@pytest.fixture(scope="session")
def batch(training_set: TrainingSet) -> Batch:
    """Six windows of 64 x 4 x 4 with all kinds of masks."""
    return draw_batch(training_set, FitConfig(batch=6, seed=5), 0)


@pytest.fixture(scope="session")
def windows(batch: Batch) -> tuple[Inputs, torch.Tensor]:
    """What a rival reads of them, and their targets."""
    inputs = make_inputs(batch)
    return inputs, targets(batch, inputs)
