"""Seeds from seeds: independent streams of random numbers that can be repeated."""

from __future__ import annotations

import zlib
from typing import SupportsIndex

import numpy as np

from fomo.city import CityError

#: Generators take 64 bits, with or without a sign.
_LEAST, _BEYOND = -(2**63), 2**64


def plain_seed(seed: object) -> int:
    """A seed as the plain whole number that generators take, also one of NumPy's. Raises `CityError`."""
    if not isinstance(seed, int | np.integer):
        raise CityError(f"the seed is {seed!r}: give a whole number, like 0 or 7")
    if not _LEAST <= seed < _BEYOND:
        raise CityError(f"the seed is {seed!r}, more than 64 bits hold: give a smaller number, like 0 or 7")
    return int(seed)


def derived_seed(seed: SupportsIndex, place: int) -> int:
    """One 63-bit number from a seed and where in the work it is used; another place gives an unrelated number."""
    root = np.random.SeedSequence([plain_seed(seed) % 2**64, place])
    return int(root.generate_state(1, np.uint64)[0] >> 1)


def seed_of(seed: SupportsIndex, place: str) -> int:
    """The same from a place that has a name."""
    return derived_seed(seed, zlib.crc32(place.encode()))
