"""Batches are gathered for all windows at once; the numbers are those of windows drawn one by one."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from plain_windows import PlainSet

from fomo.city import make_city
from fomo.sources.synthetic import synthetic_city
from fomo.training.data import training_cities
from fomo.training.recipe import load_recipe
from fomo.windows.batch import Batch
from fomo.windows.context import Context
from fomo.windows.sample import AugmentConfig, TrainingSet, family_references


def tensors(record: Batch | Context, prefix: str = "") -> dict[str, torch.Tensor | None]:
    found: dict[str, torch.Tensor | None] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        found |= tensors(value, f"{field.name}.") if isinstance(value, Context) else {prefix + field.name: value}
    return found


def assert_same_bits(one: Batch, other: Batch) -> None:
    gathered, plain = tensors(one), tensors(other)
    assert gathered.keys() == plain.keys()
    for name, value in plain.items():
        mine = gathered[name]
        if value is None or mine is None:
            assert mine is value, name
            continue
        assert mine.dtype == value.dtype and mine.shape == value.shape, name
        assert mine.contiguous().numpy().tobytes() == value.contiguous().numpy().tobytes(), name


def odd_cities() -> list[xr.Dataset]:
    """Families with and without users, POI and residents, gaps, cells not covered, a list of cells, two steps."""
    random = np.random.default_rng(5)
    made = [
        synthetic_city(name=f"made/{seed}", days=20, height=5, width=6, missing=0.05, seed=seed).assign_attrs(
            family="made"
        )
        for seed in range(7)
    ]
    made[3] = made[3].drop_vars("users")
    made[5] = made[5].drop_vars([name for name in ("poi", "residents") if name in made[5]])
    half = synthetic_city(name="half", days=9, height=3, width=3, step_minutes=30, seed=9, missing=0.02)
    holes = np.ones((3, 7), bool)
    holes[1, 2:5] = False
    bare = make_city(
        np.where(holes, random.lognormal(0, 1, (400, 3, 7)), np.nan), name="bare", start="2024-01-03T05:00",
        step_minutes=60, covered=holes,
    )  # fmt: skip
    alone = [
        make_city(random.lognormal(0, 1, (300, 1, 11)), name=f"alone/{k}", start="2024-01-01", step_minutes=60,
                  family="alone", layout="list")
        for k in range(6)
    ]  # fmt: skip
    return [*made, half, bare, *alone]


AUGMENTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "remembered": {"forget_week": 0.0, "shuffle": 0.3, "mix": 0.5, "forget_rhythm": 0.5},
    "mixed": {"forget_week": 0.2, "mix": 1.0, "cell_level": 0.3, "missing": 1.0},
    "shuffled": {"forget_week": 0.2, "shuffle": 1.0, "cell_level": 0.3, "missing": 0.5},
    "still": {"flip": False, "forget_week": 0.0, "mix": 0.5, "level": 0.0, "missing": 0.0},
}


@pytest.fixture(scope="module", params=[True, False], ids=["context", "traffic"])
def odd_sets(request: pytest.FixtureRequest) -> tuple[TrainingSet, PlainSet]:
    """One set, drawn from in both ways."""
    cities = odd_cities()
    users = family_references(cities, "users") if request.param else None
    data = TrainingSet(cities, family_references(cities), AugmentConfig(), users_references=users)
    return data, PlainSet(cities, data, users)


@pytest.mark.parametrize("augment", AUGMENTS)
def test_gathered_windows_are_those_drawn_one_by_one(augment: str, odd_sets: tuple[TrainingSet, PlainSet]) -> None:
    data, plain = odd_sets
    data.augment = plain.augment = AugmentConfig(**AUGMENTS[augment])
    for seed, shape in enumerate([(64, 4, 4), (24, 3, 5), (200, 2, 8), (16, 1, 3), (9, 1, 1), (48, 4, 4)]):
        ours, theirs = np.random.default_rng(seed), np.random.default_rng(seed)
        assert_same_bits(data.draw(shape, 24, ours), plain.draw(shape, 24, theirs))
        assert ours.bit_generator.state == theirs.bit_generator.state  # what is drawn next is the same, too


@pytest.mark.parametrize("recipe", ["traffic", "fomo-tiny"])
def test_so_they_are_with_the_recipes_of_the_shipped_weights(recipe: str, real_data: Path) -> None:
    found = load_recipe(Path(__file__).parents[2] / f"recipes/{recipe}.toml")
    small = {name: found.data.families[name] for name in ("uomo_nanjing", "uomo_nanjing@30min", "jinan")}
    config = found.data.model_copy(update={"families": small, "coarser": {"uomo_nanjing": (2,)}})
    cities = training_cities(config, real_data)
    users = None if found.context is None else family_references(cities, "users")
    data = TrainingSet(cities, family_references(cities), found.augment, small, users)
    plain = PlainSet(cities, data, users)
    for step in range(4):
        batches = [each.draw((64, 4, 4), 32, np.random.default_rng([1, step])) for each in (data, plain)]
        assert_same_bits(*batches)
