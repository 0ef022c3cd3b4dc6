"""PRB allocation over several slots against brute force over all of them, and the bound that nobody can beat."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fomo.planning.dynamics import delay, next_backlog
from fomo.planning.load import PlanError
from fomo.planning.scheduling import PrbParameters, allocate_slot
from fomo.planning.scheduling_horizon import Horizon, allocate_horizon, expected_cost, lower_bound, plan_horizon


def compositions(blocks: int, cells: int) -> list[tuple[int, ...]]:
    return [x for x in itertools.product(range(blocks + 1), repeat=cells) if sum(x) == blocks]


def played_cost(plans, backlog, arriving, bits, parameters) -> np.ndarray:
    """(18) with its weights by the formulas of §5.2, for plans (..., slot, cell) and one member (slot, cell)."""
    waiting, cost = backlog, 0.0
    for slot in range(len(bits)):
        rate = plans[..., slot, :] * bits[slot]
        cost = cost + parameters.delay_weight * delay(waiting, rate).sum(-1)
        waiting = next_backlog(waiting, arriving[slot], rate)
        cost = cost + waiting.sum(-1) / parameters.backlog_unit_bits
    return cost


def best_of_all(prbs, backlog, arriving, bits, parameters) -> float:
    """The best of all integer allocations of all slots."""
    slots, cells = bits.shape
    ways = np.array(compositions(prbs, cells))
    index = np.stack(np.meshgrid(*[np.arange(len(ways))] * slots, indexing="ij"), -1).reshape(-1, slots)
    return float(played_cost(ways[index], backlog, arriving, bits, parameters).min())


def small(seed: int):
    """2 cells x 3 slots or 3 cells x 2 slots, up to 7 blocks; or 2 cells x 3 slots with 20."""
    random = np.random.default_rng(seed)
    cells = 2 + seed % 2
    slots = 5 - cells
    prbs = 20 if seed % 4 == 0 else int(random.integers(cells + 1, 8))
    bits = random.lognormal(0, 0.4, (slots, cells)) * cells / prbs
    backlog = random.exponential(0.4, cells) * (random.random(cells) < 0.8)
    arriving = random.lognormal(0, 0.4, (1, slots, cells)) * random.uniform(0.5, 1.5)
    return prbs, backlog, arriving, bits, PrbParameters(1.0, 1.0, float(random.choice([0.2, 1.0, 3.0])))


def slot_by_slot(prbs, backlog, arriving, bits, parameters) -> np.ndarray:
    plan, waiting = np.zeros(bits.shape, np.int64), backlog
    for slot in range(len(bits)):
        plan[slot] = allocate_slot(waiting, arriving[:, slot], bits[slot], prbs, parameters)
        waiting = next_backlog(waiting, arriving[0, slot], plan[slot] * bits[slot])
    return plan


@pytest.fixture(scope="module")
def gaps() -> np.ndarray:
    """Relative distance from the best of all plans: of the horizon's plan, the slot rule's, and of the bound."""
    rows = []
    for seed in range(24):
        prbs, backlog, arriving, bits, parameters = small(seed)
        best = best_of_all(prbs, backlog, arriving[0], bits, parameters)
        found = plan_horizon(backlog, arriving, bits, prbs, parameters)
        assert (found.sum(1) == prbs).all()
        cost = float(played_cost(found, backlog, arriving[0], bits, parameters))
        slot = float(played_cost(slot_by_slot(*small(seed)), backlog, arriving[0], bits, parameters))
        bound = lower_bound(backlog, arriving[0], bits, prbs, parameters, cost)
        quick = plan_horizon(backlog, arriving, bits, prbs, parameters, quick=True)
        rows.append([cost, slot, bound, float(played_cost(quick, backlog, arriving[0], bits, parameters)), best])
    table = np.array(rows)
    return table[:, :4] / table[:, 4:] - 1


def test_the_plan_of_all_slots_is_that_of_brute_force_in_most_cases_and_near_it_in_all(gaps):
    plan = gaps[:, 0]
    assert plan.min() > -1e-9
    assert (plan < 1e-9).mean() >= 0.9
    assert plan.mean() < 0.005
    assert plan.max() < 0.12


def test_looking_ahead_is_better_than_slot_by_slot(gaps):
    plan, slot, _, quick = gaps.T
    assert (plan <= slot + 1e-9).all()
    assert (quick <= slot + 1e-9).all()
    assert plan.mean() < 0.1 * slot.mean()
    assert quick.mean() < 0.5 * slot.mean()


def test_no_plan_at_all_costs_less_than_the_bound(gaps):
    bound = gaps[:, 2]
    assert bound.max() < 1e-6
    assert np.median(bound) > -0.3


def test_the_bound_is_met_where_nothing_has_to_wait():
    backlog, bits = np.array([1.0, 4.0]), np.ones((1, 2))
    parameters = PrbParameters(1.0, 1.0, 1.0)
    found = plan_horizon(backlog, np.zeros((1, 1, 2)), bits, 3000, parameters)
    cost = float(played_cost(found, backlog, np.zeros((1, 2)), bits, parameters))
    assert cost == pytest.approx((1 + 2) ** 2 / 3000, rel=1e-5)  # (sum of sqrt(U/b))^2 / K
    assert 0.98 * cost < lower_bound(backlog, np.zeros((1, 2)), bits, 3000, parameters, cost) <= cost * (1 + 1e-9)


def test_a_bound_without_an_incumbent_holds_too():
    for seed in range(10):
        prbs, backlog, arriving, bits, parameters = small(seed)
        with_one = lower_bound(backlog, arriving[0], bits, prbs, parameters, 1e3)
        without = lower_bound(backlog, arriving[0], bits, prbs, parameters)
        best = best_of_all(prbs, backlog, arriving[0], bits, parameters)
        assert without <= with_one + 1e-7
        assert with_one <= best + 1e-7


def test_the_expected_cost_is_the_mean_over_members_of_what_is_played():
    random = np.random.default_rng(5)
    backlog, arriving, bits = random.exponential(1, 4), random.exponential(1, (6, 3, 4)), random.lognormal(0, 1, (3, 4))
    plan, parameters = random.integers(1, 5, (3, 4)), PrbParameters(2.0, 1.0, 0.7)
    expected = np.mean([played_cost(plan, backlog, member, bits, parameters) for member in arriving])
    assert expected_cost(Horizon(backlog, arriving, bits, 9, parameters), plan).sum() == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(6))
def test_a_horizon_of_one_slot_is_the_exact_slot(seed):
    random = np.random.default_rng(seed)
    backlog, arriving, bits = random.exponential(5, 6), random.exponential(5, (4, 3, 6)), random.lognormal(0, 0.5, 6)
    parameters = PrbParameters(3.0, 1.0, 1.0, horizon_slots=1)
    found = allocate_horizon(backlog, arriving, bits, np.ones(6), 40, parameters)
    assert found.tolist() == allocate_slot(backlog, arriving[:, 0], bits, 40, parameters).tolist()


def test_a_cell_in_a_fade_waits_for_its_better_channel():
    """Slot by slot, who has backlog is served now; who looks ahead serves the cell that is now at its best."""
    arriving, mean = np.zeros((1, 2, 2)), np.ones(2)
    parameters = PrbParameters(1.0, 1.0, 0.01, horizon_slots=2)
    bits, backlog = np.array([0.5, 0.55]), np.array([50.0, 50.0])
    ahead = allocate_horizon(backlog, arriving, bits, np.array([5.0, 0.55]), 100, parameters)
    alike = allocate_horizon(backlog, arriving, bits, mean, 100, parameters)
    assert ahead[1] >= 85
    assert alike[1] == pytest.approx(91, abs=1)  # 50 bits / 0.55: the better channel is emptied first


def test_the_first_slot_is_planned_on_members_and_the_cell_that_may_be_swamped_gets_more():
    calm = np.full((10, 3, 2), 10.0)
    risky = calm.copy()
    risky[:, :, 1] = np.where(np.arange(10) % 2, 0.0, 20.0)[:, None]  # the same mean
    parameters = PrbParameters(1.0, 1.0, 1.0, horizon_slots=3)
    given = [allocate_horizon(np.zeros(2), part, np.ones(2), np.ones(2), 26, parameters) for part in (calm, risky)]
    assert given[1][1] > given[0][1]


def test_no_load_needs_no_solver_and_every_block_is_given_out():
    found = plan_horizon(np.zeros(3), np.zeros((2, 4, 3)), np.ones((4, 3)), 10, PrbParameters(1.0))
    assert found.sum(1).tolist() == [10] * 4
    assert (
        plan_horizon(np.array([3.0]), np.ones((2, 3, 1)), np.ones((3, 1)), 5, PrbParameters(1.0)).tolist() == [[5]] * 3
    )


def test_no_plan_is_made_of_bad_input():
    with pytest.raises(PlanError, match="2 PRBs for 3 cells: a horizon needs one for each"):
        plan_horizon(np.zeros(3), np.ones((1, 2, 3)), np.ones((2, 3)), 2, PrbParameters(1.0))
    with pytest.raises(PlanError, match="what a PRB carries is nan"):
        plan_horizon(np.zeros(2), np.ones((1, 2, 2)), np.array([[1.0, 1.0], [np.nan, 1.0]]), 9, PrbParameters(1.0))


def test_a_missing_solver_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "scipy.optimize", None)
    with pytest.raises(PlanError, match=r"pip install 'fomo\[planning\]'"):
        plan_horizon(np.ones(2), np.ones((1, 2, 2)), np.ones((2, 2)), 3, PrbParameters(1.0))
