"""What a resource block carries: the law it is drawn from, and what is no channel."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import exp1

from fomo.planning.channel import Channel, ChannelParameters, draw_channel, mean_channel
from fomo.planning.load import PlanError

ALIKE = ChannelParameters(signal_to_noise_db=7.4, between_cells_db=0.0, between_slots_db=2.6)
SNR = 10**0.74


def test_without_any_spread_a_block_carries_shannons_bits():
    channel = draw_channel(replace(ALIKE, between_slots_db=0.0), 3, 2, 15, seed=1)
    assert np.allclose(channel.bits_per_prb, 180e3 * 15 * 60 * math.log2(1 + SNR), rtol=1e-12)
    assert np.allclose(channel.mean_bits_per_prb, channel.bits_per_prb[0], rtol=1e-12)


def test_the_default_lies_where_barcelona_was_measured():
    channel = draw_channel(ALIKE, 4001, 1, 15, seed=1)
    assert np.median(channel.bits_per_prb) / (15 * 60) == pytest.approx(4.9e5, rel=0.03)


def test_the_log_normal_mean_is_the_integral_over_the_density_and_the_mean_of_many_draws():
    channel = draw_channel(ALIKE, 20_000, 1, 60, seed=2)

    def integrand(z: float) -> float:
        return math.log2(1 + SNR * 10 ** (0.26 * z)) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    expected = 180e3 * 3600 * quad(integrand, -12, 12)[0]
    assert channel.mean_bits_per_prb[0] == pytest.approx(expected, rel=1e-6)
    assert channel.bits_per_prb.mean() == pytest.approx(expected, rel=0.01)
    decibels = 10 * np.log10(2 ** (channel.bits_per_prb / (180e3 * 3600)) - 1)
    assert (decibels.mean(), decibels.std()) == (pytest.approx(7.4, abs=0.1), pytest.approx(2.6, abs=0.05))


def test_the_exponential_mean_is_its_closed_form():
    """E log2(1 + s X) = exp(1/s) E1(1/s) / ln 2 for X exponential (ergodic capacity of Rayleigh fading)."""
    channel = draw_channel(replace(ALIKE, fading="exponential"), 20_000, 1, 60, seed=3)
    expected = 180e3 * 3600 * math.exp(1 / SNR) * exp1(1 / SNR) / math.log(2)
    assert channel.mean_bits_per_prb[0] == pytest.approx(expected, rel=1e-4)
    assert channel.bits_per_prb.mean() == pytest.approx(expected, rel=0.02)


def test_slots_are_independent_and_a_seed_repeats_them():
    parameters = ChannelParameters()
    long, short = (draw_channel(parameters, slots, 3, 15, seed=4) for slots in (2000, 20))
    assert np.array_equal(long.bits_per_prb[:20], short.bits_per_prb)
    assert np.array_equal(long.mean_bits_per_prb, short.mean_bits_per_prb)
    assert not np.array_equal(draw_channel(parameters, 20, 3, 15, seed=5).bits_per_prb, short.bits_per_prb)
    first = long.bits_per_prb[:, 0]
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.08
    assert abs(np.corrcoef(first, long.bits_per_prb[:, 1])[0, 1]) < 0.08
    assert np.ptp(long.mean_bits_per_prb) > 0.05 * long.mean_bits_per_prb.mean()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bandwidth_hz", 0.0),
        ("signal_to_noise_db", math.nan),
        ("between_cells_db", -1.0),
        ("between_slots_db", math.inf),
    ],
)
def test_a_wrong_parameter_is_named(name, value):
    with pytest.raises(PlanError, match=f"{name} is {value}"):
        replace(ChannelParameters(), **{name: value})


def test_a_block_that_carries_nothing_is_refused_with_its_place():
    bits = np.ones((3, 2))
    bits[2, 1] = np.nan
    with pytest.raises(PlanError, match="nan bits in cell 1, slot 2"):
        Channel(bits, np.ones(2))
    with pytest.raises(PlanError, match=r"0.0 bits in cell 0 in the mean"):
        Channel(np.ones((3, 2)), np.array([0.0, 1.0]))
    with pytest.raises(PlanError, match="2 cells have a channel but 3"):
        Channel(np.ones((3, 2)), np.ones(3))
    with pytest.raises(PlanError, match="0 slots"):
        draw_channel(ChannelParameters(), 0, 1, 15, seed=0)


def test_where_no_cells_channel_is_known_all_have_the_mean_of_the_middle_one():
    channel = mean_channel(replace(ALIKE, between_cells_db=3.0), 4, 3, 60)
    expected = draw_channel(ALIKE, 1, 3, 60, seed=9).mean_bits_per_prb
    assert np.array_equal(channel.mean_bits_per_prb, expected)
    assert np.array_equal(channel.bits_per_prb, np.broadcast_to(expected, (4, 3)))
