"""Seeds from seeds."""

from __future__ import annotations

from fomo.seeds import derived_seed


def test_every_place_of_every_seed_has_its_own_number_that_generators_take():
    seeds = {derived_seed(seed, place) for seed in range(-5, 25) for place in range(300)}
    assert len(seeds) == 30 * 300
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derived_seed(3, 1) == derived_seed(3, 1)


def test_places_within_places_differ_too():
    found = {derived_seed(derived_seed(0, block), member) for block in range(1, 40) for member in range(40)}
    assert len(found) == 39 * 40
    assert not found & {derived_seed(0, block) for block in range(40)}
