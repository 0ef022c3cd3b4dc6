"""The scale between a city's unit and the numbers inside: shares of a reference.

share = traffic / reference, an exact inverse. A reference is the traffic that counts as full in a city: the 99.99th
percentile of its training part (paper, section 4.1; NOTES.md). References of the families seen in training are stored
with the weights. A city never seen brings its own: the 99.99th percentile of its observed history, without slips.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from fomo.city import CityError

PERCENTILE = 99.99
#: So many times what any cell often reaches is no traffic. In no city, week or window that is known is any value more
#: than 4.2 times that (`tests/windows/test_scale.py`).
SLIP = 10.0

CORRECT = "correct them, or write NaN where nothing was recorded"

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


def reference_of(*traffic: Float[np.ndarray, "..."]) -> float:
    """The 99.99th percentile of the recorded values, (time, ...); of several cities those of all.

    Of less than 10,000 values that is hardly less than the largest one. So a slip, a value of more than `SLIP` times
    what any cell reaches in a hundredth of its steps, is left out with a warning: else one such value would rule all
    others. Raises `CityError` where there is no value above zero.
    """
    recorded = np.concatenate([part[np.isfinite(part)] for part in traffic])
    if recorded.size == 0:
        raise CityError("no traffic is recorded, so its scale cannot be found: give a longer history")
    largest = float(recorded.max())
    if largest <= 0:
        raise CityError("all recorded traffic is zero, so its scale cannot be found: give a longer history")
    found = _slips(largest, *traffic)
    if found is not None:
        above, sentence = found
        slips = recorded > above
        warnings.warn(f"{sentence}; {int(slips.sum())} such values do not count in the scale: {CORRECT}", stacklevel=2)
        recorded = recorded[~slips]
    reference = float(np.percentile(recorded, PERCENTILE))
    return reference if reference > 0 else float(recorded.max())


def without_slips(traffic: Float[np.ndarray, "time *cells"]) -> Float[np.ndarray, "time *cells"]:
    """The same record, with a warning NaN where a value is a slip, see `reference_of`: it says nothing of any step.

    Else one such value would stand in the past of its cell, and in what the whole city does.
    """
    largest = float(traffic.max(initial=0.0, where=np.isfinite(traffic)))
    found = _slips(largest, traffic) if largest > 0 else None
    if found is None:
        return traffic
    above, sentence = found
    slips = traffic > above
    warnings.warn(
        f"{sentence}; {int(slips.sum())} such values are taken as not recorded: {CORRECT}",
        stacklevel=2,
    )
    return np.asarray(np.where(slips, np.float32(np.nan), traffic))


def _slips(largest: float, *traffic: Float[np.ndarray, "..."]) -> tuple[float, str] | None:
    """Above which value all are slips, and what to say of them; None where there are none. `largest` of all values."""
    if any(_often_reaches(part, largest / SLIP) for part in traffic):
        return None
    often = max(map(_reached_often, traffic))
    if not 0 < SLIP * often < largest:
        return None
    place = next(place for part in traffic if (place := _place_of(part, largest)))
    return SLIP * often, (
        f"a value of {largest:.4g} ({place}) is more than {SLIP:g} times what any cell reaches in a hundredth of its "
        f"steps ({often:.4g})"
    )


def _often(recorded: Int[np.ndarray, " cell"]) -> Int[np.ndarray, " cell"]:
    """How many of a cell's recorded steps are a hundredth of them, and no single one where it has more."""
    rank = np.minimum(np.floor(0.99 * (recorded - 1)).astype(int), np.maximum(recorded - 2, 0))
    return np.asarray(recorded - rank)


def _often_reaches(part: Float[np.ndarray, "time *cells"], value: float) -> bool:
    """Whether a cell reaches this in a hundredth of its recorded steps. Cheap: nothing is sorted."""
    cells = part.reshape(len(part), -1)
    recorded = np.isfinite(cells).sum(0)
    return bool(((recorded > 0) & ((cells >= value).sum(0) >= _often(recorded))).any())


def _reached_often(part: Float[np.ndarray, "time *cells"]) -> float:
    """The most that any cell reaches in a hundredth of its recorded steps."""
    cells = part.reshape(len(part), -1)
    recorded = np.isfinite(cells).sum(0)
    ordered, recorded = np.sort(cells[:, recorded > 0], axis=0), recorded[recorded > 0]  # NaN come last
    reached = np.take_along_axis(ordered, (recorded - _often(recorded))[None], axis=0)
    return float(reached.max(initial=0.0))


def _place_of(part: Float[np.ndarray, "time *cells"], value: float) -> str:
    """Where a value lies, `step 60, y=1, x=2`; nothing where it does not."""
    where = np.argwhere(part == value)
    if not len(where):
        return ""
    step, *cell = (int(index) for index in where[0])
    return ", ".join([f"step {step}", *(f"{axis}={index}" for axis, index in zip("yx", cell, strict=False))])
