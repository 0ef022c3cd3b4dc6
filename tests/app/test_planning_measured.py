"""Blocks of sites whose channel was measured: what was not recorded is the mean, and the asked slots never enter it."""

import numpy as np

from fomo.app.service.planning.allocating import PrbSetting, measured_at, played_at
from fomo.app.service.planning.origins import find_origins
from fomo.app.service.planning.strategies import HISTORY, ORACLE, Expected, same_hour
from fomo.city import make_city
from fomo.planning.channel import ChannelParameters
from fomo.sources.barcelona_radio import JoinedSites


def joined() -> JoinedSites:
    random = np.random.default_rng(0)
    slots = 8 * 96
    day = 1 + 0.8 * np.sin(2 * np.pi * np.arange(slots) / 96)[:, None]
    traffic = 1e9 * day * random.lognormal(0, 0.2, (slots, 3))
    city = make_city(
        traffic[:, None], name="sites", start="2024-01-01", step_minutes=15, layout="list", unit="bytes per period"
    )
    bits = random.uniform(3e8, 5e8, (slots, 3))
    bits[-3, 1] = np.nan
    return JoinedSites(city, bits, ("a", "b", "c"), (np.datetime64("2024-01-01"),) * 3)


def test_a_slot_without_a_channel_has_the_mean_of_the_other_slots() -> None:
    sites = joined()
    origin = find_origins([sites.city], "short", "none")[-1]
    at = measured_at(sites, origin, PrbSetting(ChannelParameters()))
    asked = np.isin(sites.city["time"].values, at.truth.time)
    assert asked.sum() == 16
    mean = np.nanmean(sites.bits_per_prb[~asked], 0)
    np.testing.assert_allclose(at.channel.mean_bits_per_prb, mean)
    measured = sites.bits_per_prb[asked]
    expected = np.where(np.isfinite(measured), measured, mean)
    np.testing.assert_array_equal(at.channel.bits_per_prb, expected)


def test_all_strategies_share_the_same_blocks_and_channel() -> None:
    sites = joined()
    origin = find_origins([sites.city], "short", "none")[0]
    setting = PrbSetting(ChannelParameters())
    at = measured_at(sites, origin, setting)
    everyone = [
        Expected("history", HISTORY, {(origin.name, 0): same_hour(origin)[None]}),
        Expected("real", ORACLE, {(origin.name, 0): origin.truth[None]}),
    ]
    played = played_at(at, origin, everyone, setting, 0)
    assert [each.strategy for each in played] == ["always_on", "history", "real"]
    assert all(0 < each.metrics["carried"] <= 1 for each in played)
    assert played[2].metrics["objective"] <= played[0].metrics["objective"]
