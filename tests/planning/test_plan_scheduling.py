"""One slot of PRB allocation: marginal analysis against brute force, a solver and closed forms."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from fomo.planning.dynamics import delay, next_backlog
from fomo.planning.load import Load, PlanError
from fomo.planning.scheduling import (
    PrbParameters,
    allocate_slot,
    bits_per_unit_of,
    dimension_prbs,
    equal_share,
    parameters_of_history,
    prbs_needed,
)
from fomo.planning.scheduling_marginal import evenly, in_proportion, marginal_allocation

UNIT = PrbParameters(backlog_unit_bits=1.0, bits_per_unit=1.0)


def load(members: np.ndarray) -> Load:
    _, steps, cells = members.shape
    return Load(
        members=members,
        time=np.datetime64("2024-01-01T00:00", "ns") + np.arange(steps) * np.timedelta64(15, "m"),
        places=np.stack([np.zeros(cells, np.int64), np.arange(cells)], 1),
        position_km=np.zeros((cells, 2)),
        step_minutes=15,
        unit="bytes",
    )


def compositions(blocks: int, cells: int) -> Iterator[tuple[int, ...]]:
    """Every way to give out all blocks."""
    if cells == 1:
        yield (blocks,)
        return
    for first in range(blocks + 1):
        for rest in compositions(blocks - first, cells - 1):
            yield (first, *rest)


def slot_cost(given, backlog, arriving, bits, parameters) -> np.ndarray:
    """The expected cost of a slot by the formulas of §5.2, for allocations (..., cell)."""
    rate = given * bits
    after = np.mean([next_backlog(backlog, member, rate) for member in arriving], 0)
    return (after / parameters.backlog_unit_bits + parameters.delay_weight * delay(backlog, rate)).sum(-1)


def problem(seed: int, cells: int, samples: int, prbs: int):
    random = np.random.default_rng(seed)
    bits = random.lognormal(0, 0.5, cells)
    backlog = random.exponential(prbs / cells / 2, cells) * (random.random(cells) < 0.7)
    arriving = random.exponential(prbs / cells, (samples, cells)) * (random.random(cells) < 0.8)
    return backlog, arriving, bits, PrbParameters(float(random.lognormal()), 1.0, float(random.choice([0.05, 1, 20])))


@pytest.mark.parametrize("seed", range(60))
def test_no_composition_is_better(seed):
    cells = 1 + seed % 4
    prbs = cells + seed % 7
    backlog, arriving, bits, parameters = problem(seed, cells, 1 + seed % 5, prbs)
    given = allocate_slot(backlog, arriving, bits, prbs, parameters)
    best = slot_cost(np.array(list(compositions(prbs, cells))), backlog, arriving, bits, parameters).min()
    assert given.sum() == prbs
    assert slot_cost(given, backlog, arriving, bits, parameters) == pytest.approx(best, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_an_integer_programme_finds_nothing_better(seed):
    cells, prbs = 5, 30
    backlog, arriving, bits, parameters = problem(seed, cells, 6, prbs)
    table = np.stack(
        [slot_cost(np.full((cells, 1), x), *(part[:, None] for part in (backlog,)), arriving[..., None], bits[:, None],
                   parameters) for x in range(prbs + 1)], 1,
    )  # fmt: skip
    table = np.where(np.isinf(table), 1e9, table)
    choose = np.kron(np.eye(cells), np.ones(prbs + 1))  # one number of blocks for each cell
    budget = np.tile(np.arange(prbs + 1.0), cells)[None]
    solved = milp(
        table.ravel(),
        constraints=[LinearConstraint(choose, 1, 1), LinearConstraint(budget, 0, prbs)],
        bounds=Bounds(0, 1),
        integrality=np.ones(table.size),
        options={"mip_rel_gap": 0},
    )
    given = allocate_slot(backlog, arriving, bits, prbs, parameters)
    assert slot_cost(given, backlog, arriving, bits, parameters) == pytest.approx(solved.fun, rel=1e-7)


@pytest.mark.parametrize("prbs", [4, 7, 50, 1003])
def test_cells_alike_share_equally(prbs):
    for backlog, arriving in ((1.0, 0.5), (0.0, 0.5), (3.0, 0.0), (0.0, 0.0), (0.0, 1e6)):
        given = allocate_slot(np.full(4, backlog), np.full((3, 4), arriving), np.full(4, 0.01), prbs, UNIT)
        assert given.sum() == prbs
        assert np.ptp(given) <= 1


def test_delay_alone_shares_as_the_square_root_of_backlog_over_bits():
    """min of sum U/(b x), sum x = K, has x ~ sqrt(U/b) (Lagrange); the integers lie within one block of it."""
    backlog, bits = np.array([1.0, 4.0, 9.0, 4.0]), np.array([1.0, 1.0, 1.0, 0.25])
    parameters = PrbParameters(1e12, 1.0, 1.0)
    given = allocate_slot(backlog, np.zeros((1, 4)), bits, 1000, parameters)
    root = np.sqrt(backlog / bits)
    assert np.abs(given - 1000 * root / root.sum()).max() <= 1


def test_one_cell_gets_all():
    assert allocate_slot(np.array([5.0]), np.ones((2, 1)), np.array([1.0]), 17, UNIT).tolist() == [17]


def test_blocks_that_nobody_gains_from_go_where_traffic_is_expected():
    given = allocate_slot(np.zeros(3), np.array([[1.0, 3.0, 0.0]]), np.ones(3), 40, UNIT)
    assert given.tolist() == [10, 30, 0]


def test_a_cell_with_a_trace_of_backlog_gets_a_block_though_others_gain_more():
    given = allocate_slot(np.array([1e-9, 1e6, 1e6]), np.zeros((1, 3)), np.ones(3), 5, UNIT)
    assert given[0] == 1


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(0, 200))
def test_more_blocks_never_cost_more_and_each_cell_keeps_what_it_had(seed, cells, extra):
    prbs = cells + extra
    backlog, arriving, bits, parameters = problem(seed, cells, 4, prbs)
    fewer, more = (allocate_slot(backlog, arriving, bits, k, parameters) for k in (prbs, prbs + 1))
    costs = [slot_cost(x, backlog, arriving, bits, parameters) for x in (fewer, more)]
    assert costs[1] <= costs[0] * (1 + 1e-12)
    assert (fewer.sum(), more.sum()) == (prbs, prbs + 1)


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(0, 60))
def test_bisection_ends_where_block_after_block_does(seed, cells, prbs):
    """Fox's own procedure, with gains on a coarse lattice so that many tie."""
    random = np.random.default_rng(seed)
    gains = -np.sort(-random.integers(0, 5, (cells, prbs + 2)) / 4.0, axis=1)
    places = np.arange(cells)
    found = marginal_allocation(lambda x: gains[places, np.minimum(x, prbs + 1)], np.zeros(cells, np.int64), prbs)
    slow = np.zeros(cells, np.int64)
    for _ in range(prbs):
        gain = gains[places, slow]
        if gain.max() > 0:
            slow[gain.argmax()] += 1
    totals = [sum(gains[n, : x[n]].sum() for n in places) for x in (found, slow)]
    assert totals[0] == totals[1]
    assert found.sum() == slow.sum() <= prbs


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(0, 80))
def test_even_spreading_keeps_room_and_differs_by_one_at_most(room, blocks):
    given_out = evenly(np.array(room), blocks)
    assert given_out.sum() == min(blocks, sum(room))
    assert (given_out <= room).all()
    open_cells = given_out < room
    assert given_out.max() - given_out[open_cells].min(initial=given_out.max()) <= 1


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=9), st.integers(0, 10_000))
def test_proportional_spreading_gives_out_all_within_one_of_the_quota(weights, blocks):
    weights = np.array(weights)
    given_out = in_proportion(weights, blocks)
    share = weights / weights.sum() if weights.sum() > 0 else np.full(len(weights), 1 / len(weights))
    assert given_out.sum() == blocks
    assert np.abs(given_out - share * blocks).max() < 1 + 1e-6


def test_an_equal_share_needs_one_block_a_cell():
    assert equal_share(11, 4).tolist() == [3, 3, 3, 2]
    with pytest.raises(PlanError, match="3 PRBs do not give each of 4 cells one"):
        equal_share(3, 4)


def test_the_budget_is_that_of_the_busiest_slot():
    history = load(np.array([[[100.0, 50.0], [200.0, 300.0], [10.0, 10.0]]]))
    parameters = PrbParameters(1.0, bits_per_unit=8.0)
    mean = np.array([40.0, 10.0])
    assert prbs_needed(history, mean, parameters).tolist() == [60.0, 280.0, 10.0]
    assert dimension_prbs(history, mean, parameters, busy_share=1.0) == 280
    assert dimension_prbs(history, mean, parameters, busy_share=0.5) == 560
    assert dimension_prbs(history, mean, parameters) == math.ceil(280 / 1.05)
    with pytest.raises(PlanError, match=r"needs 0.00028 PRBs, fewer than one for each of 2 cells: set bits_per_unit"):
        dimension_prbs(history, mean * 1e6, parameters)
    with pytest.raises(PlanError, match="busy_share is 0"):
        dimension_prbs(history, mean, parameters, busy_share=0.0)
    with pytest.raises(PlanError, match="3 mean channels for 2 cells"):
        prbs_needed(history, np.ones(3), parameters)


def test_a_load_without_a_volume_is_scaled_to_a_budget():
    history, mean = load(np.array([[[1.0, 0.5], [2.0, 3.0]]])), np.array([4e9, 1e9])
    scale = bits_per_unit_of(history, mean, 200, busy_share=1.1)
    assert dimension_prbs(history, mean, PrbParameters(1.0, bits_per_unit=scale * (1 - 1e-12)), busy_share=1.1) == 200
    with pytest.raises(PlanError, match="give no scale"):
        bits_per_unit_of(load(np.zeros((1, 2, 2))), mean, 200)


def test_the_unit_of_backlog_is_what_a_cell_gets_in_a_slot():
    history = load(np.array([[[1.0, 3.0], [2.0, 10.0]]]))
    assert parameters_of_history(history, bits_per_unit=8.0).backlog_unit_bits == 32.0
    with pytest.raises(PlanError, match="no traffic"):
        parameters_of_history(load(np.zeros((1, 2, 2))))


def test_no_plan_is_made_of_bad_input():
    ones = np.ones(3)
    for prbs in (2, 0, -1):
        with pytest.raises(PlanError, match=f"{prbs} PRBs for 3 cells with backlog"):
            allocate_slot(ones, np.ones((1, 3)), ones, prbs, UNIT)
    with pytest.raises(PlanError, match="0 PRBs for 0 cells"):
        allocate_slot(np.zeros(3), np.ones((1, 3)), ones, 0, UNIT)
    with pytest.raises(PlanError, match=r"what a PRB carries is 0.0 bits in cell 1"):
        allocate_slot(ones, np.ones((1, 3)), np.array([1.0, 0.0, 1.0]), 9, UNIT)
    with pytest.raises(PlanError, match="the backlog is nan bits in cell 2"):
        allocate_slot(np.array([1.0, 1.0, np.nan]), np.ones((1, 3)), ones, 9, UNIT)
    with pytest.raises(PlanError, match=r"arriving traffic is -1.0 bits in cell 0"):
        allocate_slot(ones, np.array([[1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]]), ones, 9, UNIT)


@pytest.mark.parametrize(
    ("name", "value"),
    [("backlog_unit_bits", 0.0), ("bits_per_unit", -8.0), ("delay_weight", 0.0), ("horizon_slots", 0)],
)
def test_a_wrong_parameter_is_named(name, value):
    with pytest.raises(PlanError, match=f"{name} is {value}"):
        PrbParameters(**{"backlog_unit_bits": 1.0, name: value})
