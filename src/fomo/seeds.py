"""Seeds from seeds: independent streams of random numbers that can be repeated."""

from __future__ import annotations

import zlib

import numpy as np


def derived_seed(seed: int, place: int) -> int:
    """One 63-bit number from a seed and where in the work it is used; another place gives an unrelated number."""
    root = np.random.SeedSequence([seed % 2**64, place])
    return int(root.generate_state(1, np.uint64)[0] >> 1)


def seed_of(seed: int, place: str) -> int:
    """The same from a place that has a name."""
    return derived_seed(seed, zlib.crc32(place.encode()))
