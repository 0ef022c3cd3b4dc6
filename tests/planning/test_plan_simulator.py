from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fomo.planning import dynamics
from fomo.planning.load import Load, PlanError, load_of_city
from fomo.planning.people import People, people_of_city, whole_people
from fomo.planning.simulator import NEAREST_KM, network_of_load
from fomo.planning.simulator_play import simulate
from fomo.planning.simulator_summary import coverage_by_hour, summary, summary_units
from fomo.sources import read_family

IDLE, FULL, ASLEEP = 0.4, 0.6, 0.1


def linear_energy(active, share, sleeping):
    return IDLE * active + FULL * share * active + ASLEEP * sleeping


def truth_of(members, position_km=None, unit="Mbit", step_minutes=60):
    members = np.asarray(members, np.float64)
    members = members[None] if members.ndim == 2 else members
    _, steps, cells = members.shape
    line = np.stack([np.arange(cells), np.zeros(cells)], -1).astype(np.float64)
    return Load(
        members=members,
        time=np.datetime64("2024-01-01T00:00") + np.arange(steps) * np.timedelta64(step_minutes, "m"),
        places=np.stack([np.zeros(cells, np.int64), np.arange(cells)], -1),
        position_km=line if position_km is None else position_km,
        step_minutes=step_minutes,
        unit=unit,
    )


def people_on(truth, count):
    return People(np.asarray(count, np.int64), truth.time, truth.places, truth.position_km)


def make_case(seed, *, queue, blocks=True, most_cells=7):
    """A small random network with all that it can have, and everything that `simulate` is given."""
    random = np.random.default_rng(seed)
    steps, cells = int(random.integers(1, 9)), int(random.integers(1, most_cells))
    load = random.lognormal(2, 1, (steps, cells)) * (random.random((steps, cells)) < 0.8)
    truth = truth_of(load, random.uniform(0, 3, (cells, 2)))
    network = network_of_load(
        truth,
        radio_units=random.integers(0, 5, cells),
        capacity=random.uniform(1, 6, cells),
        bits_per_prb=random.uniform(0, 4e6, (steps, cells)),
        bits_per_unit=1e6,
        server=random.integers(0, 2, cells),
        server_prbs=10 * cells,
        reach_km=1.0,
        energy=linear_energy,
        energy_unit="kWh",
    )
    options = {
        "plan": random.integers(0, network.radio_units + 1, (steps, cells)),
        "prbs": random.integers(0, 11, (steps, cells)) if blocks else None,
        "people": people_on(truth, whole_people(random.lognormal(0, 1, (steps, cells)), 1000, truth.time)),
        "failed": random.random(cells) < 0.3,
        "queue": queue,
        "active_before": random.integers(0, network.radio_units + 1),
        "waiting_before": random.uniform(0, 5, cells) if queue else None,
    }
    return network, truth, options


def plain_loop(network, truth, plan, prbs, people, failed, queue, active_before, waiting_before):
    """The same simulator, cell by cell and period by period, without arrays."""
    load = truth.members[0].tolist()
    cells = range(len(load[0]))
    helpers = {}
    for f in cells:
        near = {}
        for k in cells:
            km = float(np.linalg.norm(truth.position_km[f] - truth.position_km[k]))
            if not failed[k] and km <= network.reach_km:
                near[k] = 1 / max(km, NEAREST_KM)
        helpers[f] = ({k: w / sum(near.values()) for k, w in near.items()} or {f: 1.0}) if failed[f] else {f: 1.0}

    def hand_over(amounts):
        there = [0.0 for _ in cells]
        for f in cells:
            for k, share in helpers[f].items():
                there[k] += share * amounts[f]
        return there

    names = (
        "arriving",
        "carried",
        "lost",
        "waiting",
        "delay",
        "lost_share",
        "served_share",
        "switched",
        "energy",
        "covered",
    )
    out = {name: [] for name in names}
    waiting = hand_over([0.0 for _ in cells] if waiting_before is None else list(waiting_before))
    before = [0 if failed[k] else int(active_before[k]) for k in cells]
    for t in range(len(load)):
        row = {name: [None for _ in cells] for name in names}
        row["arriving"] = hand_over(load[t])
        not_carried, served = {}, {}
        for k in cells:
            units = 0 if failed[k] else int(plan[t, k])
            rate = units * network.capacity[k]
            if prbs is not None:
                rate = min(rate, prbs[t, k] * network.bits_per_prb[t, k] / network.bits_per_unit)
            at_hand = waiting[k] + row["arriving"][k]
            carried = min(at_hand, rate)
            left = at_hand - carried
            row["carried"][k] = carried
            row["delay"][k] = 0.0 if waiting[k] == 0 else waiting[k] / rate if rate else np.inf
            row["lost"][k] = left if failed[k] or not queue else 0.0
            not_carried[k] = row["lost"][k] / at_hand if at_hand else 0.0
            served[k] = carried / at_hand if at_hand else float(rate > 0)
            waiting[k] = left - row["lost"][k]
            row["waiting"][k] = waiting[k]
            row["switched"][k] = abs(units - before[k])
            before[k] = units
            share = carried / (units * network.capacity[k]) if units else 0.0
            sleeping = 0 if failed[k] else network.radio_units[k] - units
            row["energy"][k] = linear_energy(units, share, sleeping)
        for f in cells:
            row["lost_share"][f] = sum(s * not_carried[k] for k, s in helpers[f].items()) if load[t][f] else 0.0
            row["served_share"][f] = sum(s * served[k] for k, s in helpers[f].items())
            row["covered"][f] = people.count[t, f] * row["served_share"][f]
        for name in names:
            out[name].append(row[name])
    return out


@pytest.mark.parametrize("blocks", [True, False])
@pytest.mark.parametrize("queue", [True, False])
@pytest.mark.parametrize("seed", range(12))
def test_a_plain_loop_over_cells_and_periods_finds_the_same(seed, queue, blocks):
    network, truth, options = make_case(seed, queue=queue, blocks=blocks)
    played = simulate(network, truth, **options)
    for name, expected in plain_loop(network, truth, **options).items():
        np.testing.assert_allclose(
            getattr(played, name), np.array(expected, float), rtol=1e-9, atol=1e-12, err_msg=name
        )


@given(st.integers(0, 10**6), st.booleans(), st.booleans())
def test_bits_are_conserved_in_every_cell_and_period(seed, queue, blocks):
    network, truth, options = make_case(seed, queue=queue, blocks=blocks)
    played = simulate(network, truth, **options)
    at_start = np.concatenate([played.waiting_before[None], played.waiting[:-1]])
    np.testing.assert_allclose(
        played.arriving, played.carried + played.lost + played.waiting - at_start, rtol=1e-12, atol=1e-9
    )
    np.testing.assert_allclose(played.arriving.sum(1), played.load.sum(1), rtol=1e-12)
    np.testing.assert_array_equal(played.load, truth.members[0])
    if queue:
        assert played.waiting_before.sum() == pytest.approx(options["waiting_before"].sum())
    for amount in (played.carried, played.lost, played.waiting, played.rate - played.carried):
        assert (amount >= 0).all()


@given(st.integers(0, 10**6), st.booleans(), st.booleans())
def test_people_are_conserved_and_never_covered_more_than_once(seed, queue, blocks):
    network, truth, options = make_case(seed, queue=queue, blocks=blocks)
    played = simulate(network, truth, **options)
    assert (played.people.sum(1) == 1000).all()
    assert (played.covered >= 0).all()
    assert (played.covered <= played.people * (1 + 1e-12)).all()
    assert (played.coverage <= 1 + 1e-12).all()


@given(st.integers(0, 10**6))
def test_shares_lost_where_load_arises_add_up_to_the_load_lost_where_it_was_to_be_carried(seed):
    network, truth, options = make_case(seed, queue=False)
    played = simulate(network, truth, **options)
    np.testing.assert_allclose((played.load * played.lost_share).sum(1), played.lost.sum(1), rtol=1e-9, atol=1e-9)


@given(st.integers(0, 10**6), st.booleans(), st.booleans())
def test_more_radio_units_never_lose_more_nor_let_more_wait_nor_cover_fewer(seed, queue, blocks):
    network, truth, options = make_case(seed, queue=queue, blocks=blocks)
    fewer = simulate(network, truth, **options)
    random = np.random.default_rng(seed)
    more = options["plan"] + random.integers(0, network.radio_units - options["plan"] + 1)
    better = simulate(network, truth, **{**options, "plan": more})
    slack = 1e-9
    assert (better.lost <= fewer.lost + slack).all()
    assert (better.waiting <= fewer.waiting + slack).all()
    assert (better.lost_share <= fewer.lost_share + slack).all()
    assert (better.delay <= fewer.delay * (1 + slack) + slack).all()
    assert (better.carried.cumsum(0) >= fewer.carried.cumsum(0) - slack).all()
    assert (better.covered >= fewer.covered - slack * 1000).all()


def test_radio_units_alone_give_the_terms_of_17():
    random = np.random.default_rng(0)
    load = random.lognormal(1, 1, (48, 20))
    load[random.random(load.shape) < 0.1] = 0
    truth = truth_of(load, step_minutes=15)
    capacity, active, before = random.uniform(0.5, 2, 20), random.integers(0, 5, (48, 20)), random.integers(0, 5, 20)
    network = network_of_load(truth, radio_units=4, capacity=capacity, energy=linear_energy, energy_unit="kWh")
    played = simulate(network, truth, active, active_before=before)
    np.testing.assert_array_equal(played.carried, dynamics.carried_by_radio_units(load, active, capacity))
    np.testing.assert_array_equal(played.lost_share, dynamics.lost_share(load, active, capacity))
    np.testing.assert_array_equal(played.switched, dynamics.switched(active, before))
    q = sum(
        0.25 * max(load[t, m] - active[t, m] * capacity[m], 0) / load[t, m]
        for t in range(48)
        for m in range(20)
        if load[t, m]
    )
    w = np.abs(np.diff(np.vstack([before, active]), axis=0)).sum()
    e = (IDLE * active + FULL * np.minimum(load, active * capacity) / capacity + ASLEEP * (4 - active)).sum()
    assert played.qos_loss == pytest.approx(q)
    assert played.wear == w
    assert played.total_energy == pytest.approx(e)
    assert not played.waiting.any()
    assert played.coverage is None


def test_blocks_alone_give_the_queues_of_5_2():
    random = np.random.default_rng(1)
    arriving = random.lognormal(14, 1, (30, 6))  # bits
    truth = truth_of(arriving, unit="bit", step_minutes=2)
    signal = random.lognormal(1, 1, (30, 6))
    channel = dynamics.shannon_bits(180e3, 120, signal) / 50
    prbs = random.multinomial(50, np.full(6, 1 / 6), 30)
    start = random.lognormal(14, 1, 6)
    network = network_of_load(truth, bits_per_prb=channel, bits_per_unit=1.0, server_prbs=50)
    played = simulate(network, truth, prbs=prbs, waiting_before=start)
    backlog = start
    for slot in range(30):
        rate = prbs[slot] * channel[slot]
        np.testing.assert_allclose(played.delay[slot], dynamics.delay(backlog, rate), rtol=1e-12)
        backlog = dynamics.next_backlog(backlog, arriving[slot], rate)
        np.testing.assert_allclose(played.waiting[slot], backlog, rtol=1e-12)
    assert not played.lost.any()
    assert played.mean_backlog == pytest.approx(played.waiting.mean())
    assert (played.active, played.wear, played.energy, played.total_energy) == (None, None, None, None)


def test_a_period_of_the_queue_by_hand():
    truth = truth_of([[5.0], [1.0], [0.0]])
    network = network_of_load(truth, bits_per_prb=np.full((3, 1), 1e6), bits_per_unit=1e6, server_prbs=3)
    played = simulate(network, truth, prbs=np.array([[2], [3], [3]]))
    np.testing.assert_array_equal(played.carried[:, 0], [2, 3, 1])
    np.testing.assert_array_equal(played.waiting[:, 0], [3, 1, 0])
    np.testing.assert_array_equal(played.delay[:, 0], [0, 1, 1 / 3])
    np.testing.assert_array_equal(played.served_share[:, 0], [2 / 5, 3 / 4, 1])
    numbers = summary(played)
    assert numbers["waiting time"] == pytest.approx(4 / 6)  # 4 units wait one period, 6 are carried
    assert numbers["backlog"] == pytest.approx(4 / 3)


def test_a_plan_of_a_week_in_two_halves_is_the_plan_of_the_week():
    network, truth, options = make_case(5, queue=True)
    steps = truth.members.shape[1]
    assert steps >= 4
    whole = simulate(network, truth, **{**options, "failed": None})
    first, last = slice(0, 2), slice(2, None)

    def part(some, **start):
        load = replace(truth, members=truth.members[:, some], time=truth.time[some])
        people = people_on(load, options["people"].count[some])
        small = replace(network, bits_per_prb=network.bits_per_prb[some])
        return simulate(small, load, options["plan"][some], options["prbs"][some], people, queue=True, **start)

    one = part(first, active_before=options["active_before"], waiting_before=options["waiting_before"])
    two = part(last, active_before=one.active[-1], waiting_before=one.waiting[-1])
    for name in ("carried", "waiting", "delay", "switched", "energy", "covered"):
        joined = np.concatenate([getattr(one, name), getattr(two, name)])
        np.testing.assert_allclose(joined, getattr(whole, name), rtol=1e-12, err_msg=name)


def test_without_a_plan_all_radio_units_are_on_and_none_switches():
    truth = truth_of([[3.0, 9.0], [1.0, 2.0]])
    network = network_of_load(truth, radio_units=np.array([2, 3]), capacity=2.0)
    played = simulate(network, truth)
    np.testing.assert_array_equal(played.active, [[2, 3], [2, 3]])
    np.testing.assert_array_equal(played.lost, [[0, 3], [0, 0]])
    assert played.wear == 0
    assert played.energy is None


def test_a_failed_site_hands_its_load_to_its_neighbours_by_inverse_distance():
    position = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.5], [9.0, 0.0]])
    truth = truth_of([[6.0, 1.0, 1.0, 1.0]], position)
    network = network_of_load(truth, radio_units=1, capacity=4.0, reach_km=2.0, energy=linear_energy, energy_unit="kWh")
    people = people_on(truth, [[100, 10, 10, 10]])
    played = simulate(network, truth, people=people, failed=np.array([True, False, False, False]))
    np.testing.assert_allclose(played.arriving, [[0, 3, 5, 1]])  # 1 : 2 of 6
    np.testing.assert_allclose(played.lost, [[0, 0, 1, 0]])
    np.testing.assert_allclose(played.lost_share, [[2 / 3 * 1 / 5, 0, 1 / 5, 0]])
    np.testing.assert_allclose(played.covered, [[100 * (1 / 3 + 2 / 3 * 4 / 5), 10, 8, 10]])
    np.testing.assert_array_equal(played.active, [[0, 1, 1, 1]])
    assert played.energy[0, 0] == 0
    assert played.energy[0, 1] == pytest.approx(IDLE + FULL * 3 / 4)


def test_the_blocks_of_a_failed_site_carry_nothing_even_of_its_own_load():
    truth = truth_of([[6.0, 1.0], [1.0, 1.0]])
    network = network_of_load(truth, bits_per_prb=np.ones((2, 2)), bits_per_unit=1.0, server_prbs=8, reach_km=0.5)
    played = simulate(network, truth, prbs=np.full((2, 2), 4), failed=np.array([True, False]))
    np.testing.assert_array_equal(played.rate, [[0, 4], [0, 4]])
    np.testing.assert_array_equal(played.carried, [[0, 1], [0, 1]])
    np.testing.assert_array_equal(played.lost, [[6, 0], [1, 0]])


def test_what_no_neighbour_takes_is_lost_even_where_load_may_wait():
    truth = truth_of([[6.0, 1.0], [0.0, 1.0]])
    network = network_of_load(truth, radio_units=1, capacity=4.0, reach_km=0.5)
    people = people_on(truth, [[5, 5], [5, 5]])
    failed = np.array([True, False])
    played = simulate(network, truth, people=people, failed=failed, queue=True, waiting_before=np.array([2.0, 0.0]))
    np.testing.assert_array_equal(played.lost, [[8, 0], [0, 0]])
    np.testing.assert_array_equal(played.lost_share, [[1, 0], [0, 0]])
    np.testing.assert_array_equal(played.covered, [[0, 5], [0, 5]])  # nobody without a cell is covered, idle or not
    assert not played.waiting.any()


def test_failed_neighbours_help_nobody_and_cells_of_one_place_share_alike():
    position = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    network = network_of_load(truth_of(np.ones((1, 4)), position), radio_units=1, capacity=1.0)
    shares = network.takeover(np.array([True, True, False, False]))
    np.testing.assert_allclose(shares, [[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.5]])
    np.testing.assert_array_equal(network.takeover(np.ones(4, bool)), np.eye(4))
    position[3] = [1.0, 0.0]
    network = network_of_load(truth_of(np.ones((1, 4)), position), radio_units=1, capacity=1.0)
    shares = network.takeover(np.array([True, True, False, False]))  # 0 km counts as 50 m: 20 to 1
    np.testing.assert_allclose(shares, [[0, 0, 20 / 21, 1 / 21]] * 2)


def test_where_something_waits_without_a_rate_the_delay_is_infinite_and_counted():
    truth = truth_of([[1.0], [1.0]])
    network = network_of_load(truth, radio_units=1, capacity=1.0)
    played = simulate(network, truth, np.zeros((2, 1), int), queue=True)
    numbers = summary(played)
    assert numbers["delay"] == np.inf
    assert numbers["stalled"] == 1
    assert numbers["waiting time"] == np.inf


def test_a_summary_has_a_unit_for_each_number_and_only_what_was_played():
    network, truth, options = make_case(2, queue=True)
    played = simulate(network, truth, **options)
    numbers, units = summary(played), summary_units(played)
    assert list(numbers) == list(units)
    assert units["lost"] == "Mbit"
    assert units["energy"] == "kWh"
    assert numbers["switching"] == played.switched.sum()
    assert numbers["coverage"] == pytest.approx(played.covered.sum() / played.people.sum())
    assert all(type(value) is float for value in numbers.values())
    bare = simulate(network_of_load(truth, radio_units=1, capacity=1.0), truth)
    assert {"energy", "coverage"}.isdisjoint(summary(bare))
    assert summary(bare)["load"] == pytest.approx(summary(bare)["carried"] + summary(bare)["lost"])


def test_coverage_by_hour_is_the_mean_of_the_periods_of_the_hour():
    truth = truth_of(np.tile([4.0, 8.0], 48)[:, None], step_minutes=30)  # two days
    network = network_of_load(truth, radio_units=1, capacity=4.0)
    played = simulate(network, truth, people=people_on(truth, np.full((96, 1), 7)))
    hours, shares = coverage_by_hour(played)
    np.testing.assert_array_equal(hours, np.arange(24))
    np.testing.assert_allclose(shares, 0.75)
    with pytest.raises(PlanError, match="no people"):
        coverage_by_hour(simulate(network, truth))


def bad_network(**changes):
    truth = truth_of(np.ones((2, 3)))
    return network_of_load(truth, **{"radio_units": 2, "capacity": 1.0, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"capacity": -1.0}, "carries -1 Mbit a period: a capacity is above 0"),
        ({"capacity": 0.0}, "carries 0 Mbit"),
        ({"capacity": np.array([1.0, np.nan, 1.0])}, "unit of cell 1 carries nan"),
        ({"capacity": np.ones(2)}, r"capacity has the shape \(2,\) for 3 cells"),
        ({"capacity": None}, "give both or neither"),
        ({"radio_units": np.array([1, -2, 1])}, "cell 1 has -2 radio units"),
        ({"radio_units": None, "capacity": None}, "nothing limits"),
        ({"radio_units": None, "capacity": None, "energy": linear_energy, "energy_unit": "J"}, "that of radio units"),
        ({"energy": linear_energy}, "without a unit"),
        ({"reach_km": -1.0}, "reach of -1.0 km"),
        ({"server_prbs": 5}, "carry nothing without bits_per_prb"),
        ({"bits_per_prb": np.ones((2, 4))}, r"shape \(2, 4\)"),
        ({"bits_per_prb": np.ones((2, 3))}, "say how many with bits_per_unit"),
        ({"bits_per_prb": -np.ones((2, 3)), "bits_per_unit": 1.0}, "negative or missing"),
        ({"bits_per_prb": np.ones((2, 3)), "bits_per_unit": 1.0, "server_prbs": 0}, "with 0 blocks"),
        ({"bits_per_prb": np.ones((2, 3)), "bits_per_unit": 1.0, "server": np.zeros(2, int)}, "one number a cell"),
    ],
)
def test_a_network_that_cannot_be_is_refused(changes, message):
    with pytest.raises(PlanError, match=message):
        bad_network(**changes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"plan": np.ones((3, 3), int)}, r"shape \(3, 3\); it needs \(2, 3\)"),
        ({"plan": np.ones((2, 2), int)}, r"shape \(2, 2\)"),
        ({"plan": np.array([[1, 1, 1], [1, 3, 1]])}, "3 active radio units at period 1, cell 1: cell 1 has 2"),
        ({"plan": np.array([[1, 1, 1], [1, 1, -1]])}, "-1 active radio units at period 1, cell 2"),
        ({"plan": np.full((2, 3), 0.5)}, "0.5 active"),
        ({"plan": np.full((2, 3), np.nan)}, "nan active"),
        ({"active_before": np.array([0, 9, 0])}, "9 active radio units at cell 1"),
        ({"prbs": np.ones((3, 3), int)}, "plan of blocks has the shape"),
        ({"prbs": np.array([[1, 2, 1], [1, -1, 1]])}, "-1 blocks at period 1, cell 1"),
        ({"prbs": np.array([[1, 2, 1], [3, 1, 3]])}, "server 7 gives out 6 blocks in period 1 but has 5"),
        ({"failed": np.zeros(2, bool)}, "failed has the shape"),
        ({"waiting_before": np.ones(3)}, "there is no queue"),
        ({"waiting_before": -np.ones(3), "queue": True}, "negative or missing"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(options, message):
    truth = truth_of(np.ones((2, 3)))
    server = np.array([7, 3, 7])
    network = bad_network(bits_per_prb=np.ones((2, 3)), bits_per_unit=1.0, server=server, server_prbs=5)
    with pytest.raises(PlanError, match=message):
        simulate(network, truth, **options)


def test_a_channel_of_other_periods_than_the_truth_is_refused():
    network = bad_network(bits_per_prb=np.ones((5, 3)), bits_per_unit=1.0)
    with pytest.raises(PlanError, match=r"bits_per_prb has the shape \(5, 3\); it needs \(2, 3\)"):
        simulate(network, truth_of(np.ones((2, 3))), prbs=np.ones((2, 3)))


def test_plans_for_what_a_network_lacks_are_refused():
    truth = truth_of(np.ones((2, 3)))
    blocks = bad_network(radio_units=None, capacity=None, bits_per_prb=np.ones((2, 3)), bits_per_unit=1.0)
    with pytest.raises(PlanError, match="no blocks are planned"):
        simulate(blocks, truth)
    with pytest.raises(PlanError, match="a network without"):
        simulate(blocks, truth, np.ones((2, 3), int), np.ones((2, 3)))
    with pytest.raises(PlanError, match="active_before for a network without"):
        simulate(blocks, truth, prbs=np.ones((2, 3)), active_before=np.ones(3, int))
    with pytest.raises(PlanError, match="a plan of blocks for a network without"):
        simulate(bad_network(), truth, prbs=np.ones((2, 3)))


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (truth_of(np.ones((4, 2, 3))), "4 members"),
        (truth_of(np.ones((2, 2))), "of 2 cells, the network of 3"),
        (truth_of(np.ones((2, 3)), np.array([[0.0, 0.0], [2.0, 0.0], [1.0, 0.0]])), "positions differ"),
        (truth_of(np.ones((2, 3)), unit="GB"), "'GB' per 60 minutes, the network in 'Mbit' per 60"),
        (truth_of(np.ones((2, 3)), step_minutes=15), "per 15 minutes"),
    ],
)
def test_a_truth_of_another_network_is_refused(truth, message):
    with pytest.raises(PlanError, match=message):
        simulate(bad_network(), truth)


def test_a_truth_with_gaps_is_refused_before_it_is_a_load():
    values = np.ones((2, 3))
    values[1, 2] = np.nan
    with pytest.raises(PlanError, match="1 of 6 values of the load are missing, the first at 2024-01-01T01:00"):
        truth_of(values)


def test_people_of_other_cells_or_hours_are_refused():
    truth = truth_of(np.ones((2, 3)))
    with pytest.raises(PlanError, match=r"people have the shape \(2, 2\)"):
        simulate(bad_network(), truth, people=people_on(truth_of(np.ones((2, 2))), np.ones((2, 2))))
    later = replace(truth, time=truth.time + np.timedelta64(1, "h"))
    with pytest.raises(PlanError, match="other periods or cells"):
        simulate(bad_network(), truth, people=people_on(later, np.ones((2, 3))))


def test_an_energy_model_without_an_answer_is_refused():
    network = bad_network(energy=lambda active, share, sleeping: np.full(active.shape, np.nan), energy_unit="J")
    with pytest.raises(PlanError, match="energy model gives no number"):
        simulate(network, truth_of(np.ones((2, 3))))


def test_a_week_of_a_thousand_cells_takes_no_time():
    random = np.random.default_rng(0)
    truth = truth_of(random.lognormal(1, 1, (168, 1000)), random.uniform(0, 30, (1000, 2)))
    network = network_of_load(
        truth, radio_units=8, capacity=1.0, bits_per_prb=random.uniform(0, 1, (168, 1000)), bits_per_unit=1.0,
        energy=linear_energy, energy_unit="kWh",
    )  # fmt: skip
    count = whole_people(random.lognormal(1, 1, (168, 1000)), 1_000_000, truth.time)
    begun = time.process_time()
    played = simulate(
        network, truth, random.integers(0, 9, (168, 1000)), random.integers(0, 9, (168, 1000)),
        people_on(truth, count), random.random(1000) < 0.05,
    )  # fmt: skip
    seconds = time.process_time() - begun
    assert played.arriving.sum() == pytest.approx(played.carried.sum() + played.lost.sum() + played.waiting[-1].sum())
    assert seconds < 2


@pytest.mark.real_data
def test_a_failed_site_of_nanchang_costs_coverage_and_loses_no_bit_unseen(real_data):
    (city,) = read_family(real_data, "nanchang_grid")
    truth = load_of_city(city)
    peak = truth.members[0].max(0)
    capacity = np.where(peak > 0, peak, peak[peak > 0].min()) * 1.1 / 8
    people = people_of_city(city, 1_000_000, truth.places)
    network = network_of_load(truth, radio_units=8, capacity=capacity)
    whole = simulate(network, truth, people=people)
    np.testing.assert_array_equal(whole.carried, truth.members[0])
    assert whole.coverage.min() == 1
    failed = np.arange(len(peak)) == int(peak.argmax())
    hurt = simulate(network, truth, people=people, failed=failed)
    assert hurt.load.sum() == pytest.approx(hurt.carried.sum() + hurt.lost.sum())
    assert hurt.lost.sum() > 0
    assert hurt.coverage.mean() < 1
