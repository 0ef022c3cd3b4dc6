"""The simulator plays what the planners judge themselves by: one arithmetic, two roads."""

import numpy as np
import pytest

from fomo.planning.channel import ChannelParameters, draw_channel
from fomo.planning.dimensioning import dimension
from fomo.planning.energy import EnergyModel
from fomo.planning.load import Load
from fomo.planning.scheduling import parameters_of_history
from fomo.planning.scheduling_play import play_prb
from fomo.planning.simulator import network_of_load
from fomo.planning.simulator_play import simulate
from fomo.planning.simulator_summary import summary
from fomo.planning.sleep import SleepParameters, plan_sleep, play_sleep


def load(seed: int, samples: int = 1, minutes: int = 30) -> Load:
    random = np.random.default_rng(seed)
    places = np.argwhere(np.ones((2, 3), bool))
    time = np.datetime64("2024-03-04T00:00", "ns") + np.arange(24) * np.timedelta64(minutes, "m")
    day = 2 + np.sin(np.arange(24) / 4)[:, None]
    members = day * random.lognormal(0, 0.3, (samples, 24, 6))
    return Load(members, time, places, places[:, ::-1] + 0.5, minutes, "GB per period")


def test_a_sleep_plan_costs_in_the_simulator_what_it_costs_by_its_own_judge() -> None:
    truth, energy, parameters = load(0), EnergyModel(), SleepParameters(rrus=5)
    capacity = dimension(truth, 5) * 0.8  # too small, so that something is lost
    plan = plan_sleep(load(1, samples=8), capacity, parameters, energy)
    judged = play_sleep(plan.active, truth, capacity, parameters, energy)
    network = network_of_load(
        truth, radio_units=5, capacity=capacity, energy=energy.of_cells(0.5), energy_unit=energy.unit
    )
    played = summary(simulate(network, truth, plan.active))
    assert judged.costs.totals["QoS loss"] > 0
    for name in ("QoS loss", "switching", "energy"):
        assert played[name] == pytest.approx(judged.costs.totals[name], rel=1e-9), name


def test_an_allocation_queues_in_the_simulator_as_it_does_by_its_own_judge() -> None:
    truth = load(2)
    channel = draw_channel(ChannelParameters(), 24, 6, 30, seed=3)
    scale = 20 * float(channel.mean_bits_per_prb.mean()) / float(truth.members.mean())
    parameters = parameters_of_history(truth, bits_per_unit=scale)
    judged = play_prb(load(4, samples=5), truth, channel, 110, parameters)
    network = network_of_load(truth, bits_per_prb=channel.bits_per_prb, bits_per_unit=scale, server_prbs=110)
    played = simulate(network, truth, prbs=judged.prbs)
    assert judged.backlog_bits.sum() > 0
    np.testing.assert_allclose(played.waiting * scale, judged.backlog_bits, rtol=1e-9, atol=1e-3)
    np.testing.assert_allclose(played.carried * scale, judged.carried_bits, rtol=1e-9)
    np.testing.assert_allclose(played.delay, judged.delay_slots, rtol=1e-9)
