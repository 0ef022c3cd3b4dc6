"""Seeds from seeds."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from fomo.city import CityError
from fomo.seeds import derived_seed, plain_seed, seed_of


def test_every_place_of_every_seed_has_its_own_number_that_generators_take():
    seeds = {derived_seed(seed, place) for seed in range(-5, 25) for place in range(300)}
    assert len(seeds) == 30 * 300
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derived_seed(3, 1) == derived_seed(3, 1)


def test_places_within_places_differ_too():
    found = {derived_seed(derived_seed(0, block), member) for block in range(1, 40) for member in range(40)}
    assert len(found) == 39 * 40
    assert not found & {derived_seed(0, block) for block in range(40)}


@pytest.mark.parametrize("kind", [np.int64, np.int16, np.uint64])
def test_a_whole_number_of_numpy_is_the_same_seed(kind):
    """`np.int64(3) % 2**64` is an OverflowError, and no generator of PyTorch takes it."""
    assert derived_seed(kind(3), 1) == derived_seed(3, 1) and seed_of(kind(3), "there") == seed_of(3, "there")
    assert type(plain_seed(kind(3))) is int


@pytest.mark.parametrize("seed", [3.0, np.float64(3), "3", None, 2**64, -(2**63) - 1])
def test_what_no_generator_takes_is_no_seed(seed):
    with pytest.raises(CityError, match=r"^the seed is .*: give a .*number, like 0 or 7$"):
        plain_seed(seed)


def test_a_forecast_takes_a_seed_of_numpy_and_keeps_a_plain_one(tmp_path):
    """In a process of its own: here types are checked as they are written, which nobody does elsewhere."""
    asked = """
import numpy as np, fomo
from fomo.city import mock_city
model, city, area = fomo.load(), mock_city(steps=70, height=2, width=2), np.eye(2, dtype=bool)
for seed in (3, -3):
    for ask in (lambda seed: model.forecast(city, 50, samples=2, seed=seed),
                lambda seed: model.generate(city, area, samples=2, seed=seed)):
        plain, found = ask(seed), ask(np.int64(seed))
        assert type(found.attrs["seed"]) is int and found.dataset.identical(plain.dataset)
"""
    subprocess.run([sys.executable, "-c", asked], check=True, cwd=tmp_path)
