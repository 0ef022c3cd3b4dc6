"""What a resource block carries in a slot: measured, or drawn as §5.2 has it.

§5.2: the channel of a cell is constant over a slot and varies independently between slots; every physical resource
block (PRB) of cell n carries B log2(1 + snr_n(t)) bits per second in slot t. A slot is a granularity period of minutes
to an hour, so fast (Rayleigh) fading is averaged out in it; what is left of the average moves with where the users are,
and the sum of many such losses is normal in dB. So the default is log-normal. The exponential law is that of the power
of one Rayleigh path and fits slots of milliseconds; it is here for comparison.

The defaults rest on what three LTE sites in Barcelona carried per PRB (`fomo.sources.barcelona_radio`): a median of
2.7 bit/s/Hz at each, which is an SNR of 7.4 dB in Shannon's formula, and a spread of 2.3 to 2.9 dB between periods of
15 minutes or an hour. The spread between cells is an assumption: three sites do not tell. Neighbouring periods are
correlated there (0.5 to 0.98), which §5.2's independence leaves out: play measured values to have it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from fomo.planning.dynamics import shannon_bits
from fomo.planning.load import PlanError
from fomo.seeds import seed_of

SECONDS_PER_MINUTE = 60.0
#: Points of the quadrature of a mean over the fading; both laws are then right to about 1e-5.
QUADRATURE = 64


@dataclass(frozen=True)
class ChannelParameters:
    """The law that the signal-to-noise ratio of cells is drawn from."""

    #: Bandwidth of a PRB in Hz: 12 subcarriers of 15 kHz (LTE and 5G numerology 0).
    bandwidth_hz: float = 180e3
    #: SNR of the middle cell in dB: the median over slots for "lognormal", the mean for "exponential".
    signal_to_noise_db: float = 7.4
    #: Standard deviation of that between cells, in dB (normal in dB).
    between_cells_db: float = 3.0
    #: Standard deviation between the slots of a cell, in dB; of "lognormal" only.
    between_slots_db: float = 2.6
    fading: Literal["lognormal", "exponential"] = "lognormal"

    def __post_init__(self) -> None:
        """Refuse what is no channel. Raises `PlanError`."""
        if not (math.isfinite(self.bandwidth_hz) and self.bandwidth_hz > 0):
            raise PlanError(f"bandwidth_hz is {self.bandwidth_hz}: a PRB has a positive bandwidth, 180e3 Hz in LTE")
        if not math.isfinite(self.signal_to_noise_db):
            raise PlanError(f"signal_to_noise_db is {self.signal_to_noise_db}: give a number of dB")
        for name in ("between_cells_db", "between_slots_db"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise PlanError(f"{name} is {value}: a standard deviation in dB is 0 or more")
        if self.fading not in ("lognormal", "exponential"):
            raise PlanError(f"fading is {self.fading!r}: it is 'lognormal' or 'exponential'")


@dataclass(frozen=True)
class Channel:
    """What one PRB carries: what came true, slot by slot, and what was known of later slots."""

    #: Bits that one PRB of a cell carries in a slot.
    bits_per_prb: Float[np.ndarray, "time cell"]
    #: Expected bits per PRB and slot of every cell: all that is known of slots to come. ("_": the check tells better.)
    mean_bits_per_prb: Float[np.ndarray, " _"]

    def __post_init__(self) -> None:
        """Refuse a channel that carries nothing. Raises `PlanError`."""
        if self.bits_per_prb.shape[1:] != self.mean_bits_per_prb.shape:
            raise PlanError(
                f"{self.bits_per_prb.shape[1]} cells have a channel but {len(self.mean_bits_per_prb)} have a mean "
                "channel: give both for the same cells"
            )
        for name, values in (("slot", self.bits_per_prb), ("mean", self.mean_bits_per_prb[None])):
            wrong = ~(np.isfinite(values) & (values > 0))
            if wrong.any():
                slot, cell = np.argwhere(wrong)[0]
                raise PlanError(
                    f"a PRB carries {values[slot, cell]} bits in cell {cell}"
                    + (f", slot {slot}" if name == "slot" else " in the mean")
                    + ": it carries a positive number; leave out slots or cells where the channel is not known"
                )


def draw_channel(parameters: ChannelParameters, slots: int, cells: int, step_minutes: int, seed: int) -> Channel:
    """A channel for `slots` slots of `step_minutes` minutes and `cells` cells, in bits per PRB and slot.

    The mean is the expectation over the fading, not that of the draw. The same seed gives the same cells for any number
    of slots, and the same first slots. Raises `PlanError`.
    """
    if min(slots, cells, step_minutes) < 1:
        raise PlanError(f"{slots} slots of {step_minutes} minutes for {cells} cells: each is 1 or more")
    of_cells = np.random.default_rng(seed_of(seed, "channel: cells")).standard_normal(cells)
    middle = 10 ** ((parameters.signal_to_noise_db + parameters.between_cells_db * of_cells) / 10)
    random = np.random.default_rng(seed_of(seed, "channel: slots"))
    if parameters.fading == "lognormal":
        fading = 10 ** (parameters.between_slots_db * random.standard_normal((slots, cells)) / 10)
        nodes, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE)
        levels = 10 ** (parameters.between_slots_db * nodes / 10)
    else:
        fading = random.standard_exponential((slots, cells))
        levels, weights = np.polynomial.laguerre.laggauss(QUADRATURE)
    seconds = step_minutes * SECONDS_PER_MINUTE
    return Channel(
        bits_per_prb=shannon_bits(parameters.bandwidth_hz, seconds, middle * fading),
        mean_bits_per_prb=(weights / weights.sum())
        @ shannon_bits(parameters.bandwidth_hz, seconds, middle * levels[:, None]),
    )


def mean_channel(parameters: ChannelParameters, slots: int, cells: int, step_minutes: int) -> Channel:
    """The middle cell's mean, in every slot of every cell: what is expected where no cell's channel is known.

    Nothing is drawn. Raises `PlanError`.
    """
    middle = draw_channel(replace(parameters, between_cells_db=0.0), 1, cells, step_minutes, seed=0)
    bits = middle.mean_bits_per_prb
    return Channel(np.broadcast_to(bits, (slots, cells)), bits)


__all__ = ["Channel", "ChannelParameters", "draw_channel", "mean_channel"]
