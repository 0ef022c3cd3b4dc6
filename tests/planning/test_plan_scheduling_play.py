"""PRB allocation played against the truth: bits are conserved, and knowing more helps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fomo.planning.channel import Channel, ChannelParameters, draw_channel
from fomo.planning.load import Load, PlanError
from fomo.planning.scheduling import dimension_prbs, parameters_of_history
from fomo.planning.scheduling_horizon import lower_bound
from fomo.planning.scheduling_play import play_prb


def load(members: np.ndarray, unit: str = "bytes") -> Load:
    _, steps, cells = members.shape
    return Load(
        members=members,
        time=np.datetime64("2024-01-01T08:00", "ns") + np.arange(steps) * np.timedelta64(15, "m"),
        places=np.stack([np.zeros(cells, np.int64), np.arange(cells)], 1),
        position_km=np.zeros((cells, 2)),
        step_minutes=15,
        unit=unit,
    )


def scene(seed: int = 0, slots: int = 12, cells: int = 6, samples: int = 8, busy: float = 1.05):
    """Truth, a forecast around it, a channel and a budget that is short in the busiest slot."""
    random = np.random.default_rng(seed)
    middle = random.lognormal(20, 0.6, cells) * (1 + 0.5 * np.sin(np.arange(slots) / 3))[:, None]
    truth = load((middle * random.lognormal(0, 0.3, (slots, cells)))[None])
    forecast = load(truth.members * random.lognormal(0, 0.15, (samples, slots, cells)))
    parameters = parameters_of_history(truth)
    channel = draw_channel(ChannelParameters(), slots, cells, 15, seed)
    return truth, forecast, channel, dimension_prbs(truth, channel.mean_bits_per_prb, parameters, busy), parameters


@settings(max_examples=8)
@given(st.integers(0, 50), st.sampled_from(["slot", "horizon", "equal"]), st.booleans())
def test_what_arrives_is_carried_or_waits(seed, method, started):
    truth, forecast, channel, prbs, parameters = scene(seed, slots=4, cells=4, samples=3)
    start = np.array([0.0, 1e9, 5e9, 2e10]) if started else np.zeros(4)
    how = {"method": "slot"} if method == "equal" else {"method": method}
    out = play_prb(None if method == "equal" else forecast, truth, channel, prbs, parameters, backlog=start, **how)
    assert np.allclose(start + out.arrived_bits.sum(0), out.carried_bits.sum(0) + out.backlog_bits[-1], rtol=1e-12)
    assert np.array_equal(out.arrived_bits, truth.members[0] * 8)
    assert (out.prbs.sum(1) == prbs).all()
    assert (out.carried_bits <= out.prbs * channel.bits_per_prb * (1 + 1e-12)).all()
    assert np.isfinite(out.delay_slots).all()


def test_the_outcome_is_the_recursion_written_as_a_loop():
    truth, forecast, channel, prbs, parameters = scene(3)
    out = play_prb(forecast, truth, channel, prbs, parameters)
    backlog_cost = delay_cost = 0.0
    for cell in range(6):
        waiting = 0.0
        for slot in range(12):
            rate = out.prbs[slot, cell] * channel.bits_per_prb[slot, cell]
            late = waiting / rate if waiting > 0 else 0.0
            waiting = max(waiting + truth.members[0, slot, cell] * 8 - rate, 0.0)
            assert out.delay_slots[slot, cell] == pytest.approx(late)
            assert out.backlog_bits[slot, cell] == pytest.approx(waiting)
            backlog_cost += waiting / parameters.backlog_unit_bits
            delay_cost += late
    assert out.backlog_cost == pytest.approx(backlog_cost)
    assert out.delay_cost == pytest.approx(delay_cost)
    assert out.objective == pytest.approx(backlog_cost + delay_cost)
    assert out.mean_delay_minutes == pytest.approx(delay_cost / 72 * 15)
    assert out.mean_backlog_bits == pytest.approx(backlog_cost / 72 * parameters.backlog_unit_bits)


def test_who_knows_more_waits_less():
    totals = {name: 0.0 for name in ("equal", "noise", "forecast", "oracle", "oracle ahead", "bound")}
    for seed in range(3):
        truth, forecast, channel, prbs, parameters = scene(seed, slots=8)
        noise = replace(truth, members=np.broadcast_to(truth.members.mean(), truth.members.shape).copy())
        play = [truth, channel, prbs, parameters]
        totals["equal"] += play_prb(None, *play).objective
        totals["noise"] += play_prb(noise, *play).objective
        totals["forecast"] += play_prb(forecast, *play).objective
        totals["oracle"] += play_prb(truth, *play).objective
        ahead = play_prb(truth, *play, method="horizon").objective
        totals["oracle ahead"] += ahead
        totals["bound"] += lower_bound(np.zeros(6), truth.members[0] * 8, channel.bits_per_prb, prbs, parameters, ahead)
    order = list(totals.values())
    assert order == sorted(order, reverse=True)
    assert totals["oracle ahead"] < 0.7 * totals["equal"]


def test_plenty_of_blocks_leave_nothing_waiting_and_no_load_costs_nothing():
    truth, forecast, channel, prbs, parameters = scene(1)
    out = play_prb(forecast, truth, channel, 20 * prbs, parameters, method="horizon")
    assert (out.objective, out.carried_share) == (0.0, 1.0)
    nothing = replace(truth, members=np.zeros_like(truth.members))
    out = play_prb(nothing, nothing, channel, prbs, parameters, method="horizon")
    assert (out.objective, out.mean_backlog_bits, out.carried_share) == (0.0, 0.0, 1.0)


def test_one_cell_has_no_choice():
    truth, forecast, channel, prbs, parameters = scene(2, cells=1, busy=1.3)
    outs = [play_prb(None, truth, channel, prbs, parameters)]
    outs += [play_prb(forecast, truth, channel, prbs, parameters, method=method) for method in ("slot", "horizon")]
    assert outs[0].objective == outs[1].objective == outs[2].objective > 0


def test_cells_alike_have_nothing_to_gain_from_a_forecast():
    truth = load(np.full((1, 6, 4), 100.0))
    channel = Channel(np.full((6, 4), 10.0), np.full(4, 10.0))
    parameters = parameters_of_history(truth)
    plans = [play_prb(who, truth, channel, 280, parameters) for who in (None, truth)]
    assert np.array_equal(plans[0].prbs, plans[1].prbs)
    assert plans[0].backlog_bits[:, 0].tolist() == [100.0 * k for k in range(1, 7)]


def test_an_infeasible_budget_is_told_with_its_slot():
    truth, forecast, channel, _, parameters = scene(0)
    with pytest.raises(PlanError, match=r"2024-01-01T08:15: 2 PRBs for \d cells with backlog"):
        play_prb(forecast, truth, channel, 2, parameters)
    with pytest.raises(PlanError, match="2024-01-01T08:00: 5 PRBs do not give each of 6 cells one"):
        play_prb(None, truth, channel, 5, parameters)
    with pytest.raises(PlanError, match="0 PRBs"):
        play_prb(forecast, truth, channel, 0, parameters)


def test_what_does_not_belong_together_is_refused():
    truth, forecast, channel, prbs, parameters = scene(0)
    rest = (channel, prbs, parameters)
    with pytest.raises(PlanError, match="8 members: play against one"):
        play_prb(truth, forecast, *rest)
    with pytest.raises(PlanError, match="'bits' per 15 minutes, the truth in 'bytes'"):
        play_prb(replace(forecast, unit="bits"), truth, *rest)
    with pytest.raises(PlanError, match="cut both to the same periods"):
        play_prb(replace(forecast, time=forecast.time + np.timedelta64(1, "h")), truth, *rest)
    with pytest.raises(PlanError, match="in another order"):
        play_prb(forecast.of_cells(np.arange(6)[::-1]), truth, *rest)
    with pytest.raises(PlanError, match="draw or cut it"):
        play_prb(forecast, truth, Channel(channel.bits_per_prb[1:], channel.mean_bits_per_prb), prbs, parameters)
    with pytest.raises(PlanError, match="backlog at the start"):
        play_prb(forecast, truth, *rest, backlog=np.full(6, -1.0))
