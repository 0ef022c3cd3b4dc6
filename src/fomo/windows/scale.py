"""The scale between a city's unit and the numbers inside: shares of a reference.

share = traffic / reference, an exact inverse. A reference is the traffic that counts as full in a city: the 99.99th
percentile of its training part (paper, section 4.1; NOTES.md). References of the families seen in training are stored
with the weights. A city never seen brings its own: the 99.99th percentile of its observed history.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fomo.city import CityError

PERCENTILE = 99.99

#: Where the logarithm of `compress` bends: shares well below 1 / GAIN are seen linearly, above it by ratio.
GAIN = 50.0


def to_share(traffic: Float[np.ndarray, "*axes"], reference: float) -> Float[np.ndarray, "*axes"]:
    """Traffic in the city's unit to shares of the reference; NaN stays NaN."""
    return np.asarray(traffic / reference, np.float32)


def from_share(share: Float[np.ndarray, "*axes"], reference: float) -> Float[np.ndarray, "*axes"]:
    """Shares of the reference to traffic in the city's unit."""
    return np.asarray(share * reference, np.float32)


def compress(share: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """log(1 + GAIN share): busy and quiet cells in one range, for what the network reads."""
    return torch.log1p(GAIN * share)


def reference_of(traffic: np.ndarray) -> float:
    """The 99.99th percentile of the recorded values. Raises `CityError` where there is none above zero."""
    recorded = traffic[np.isfinite(traffic)]
    if recorded.size == 0:
        raise CityError("no traffic is recorded, so its scale cannot be found: give a longer history")
    reference = float(np.percentile(recorded, PERCENTILE))
    if reference <= 0:
        reference = float(recorded.max())
    if reference <= 0:
        raise CityError("all recorded traffic is zero, so its scale cannot be found: give a longer history")
    return reference
