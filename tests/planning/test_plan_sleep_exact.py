"""Sleep plans are the cheapest there are: against all paths, against a solver, against any other plan on the truth."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fomo.planning.energy import EnergyModel
from fomo.planning.load import Load, PlanError
from fomo.planning.sleep import SleepParameters, plan_sleep, play_sleep
from fomo.planning.sleep_terms import members_for_one_above

ENERGY = EnergyModel()
CAPACITY = np.array([1.0, 0.6])


def make_load(members: np.ndarray, step_minutes: int = 60) -> Load:
    """A load of cells in a row."""
    _, steps, cells = members.shape
    places = np.stack([np.zeros(cells, int), np.arange(cells)], -1)
    time = np.datetime64("2024-01-01T00:00", "ns") + np.arange(steps) * np.timedelta64(step_minutes, "m")
    return Load(members.astype(np.float64), time, places, places.astype(np.float64), step_minutes, "GB")


def small(seed: int, samples: int = 3, steps: int = 5, cells: int = 2, highest: float = 4.5) -> Load:
    """Loads from none to a little more than four units carry; a tenth of the values is 0."""
    random = np.random.default_rng(seed)
    members = random.uniform(0, highest, (samples, steps, cells))
    return make_load(np.where(random.random(members.shape) < 0.1, 0, members), step_minutes=30)


def path_cost(
    path: tuple[int, ...], members: np.ndarray, capacity: float, parameters: SleepParameters, before: int | None
) -> float:
    """(17) of one cell and path, value by value in plain Python; members (sample, time), periods of half an hour."""
    cost, previous = 0.0, path[0] if before is None else before
    for step, awake in enumerate(path):
        cost += parameters.switching_cost * abs(awake - previous)
        previous = awake
        for load in members[:, step].tolist():
            lost = max(load - awake * capacity, 0.0)
            energy = awake * ENERGY.idle + (parameters.rrus - awake) * ENERGY.asleep
            energy += ENERGY.load * (load - lost) / capacity
            loss = lost / load if load else 0.0
            cost += 0.5 * (parameters.qos_cost * loss + parameters.energy_cost * energy) / len(members)
    return cost


def allowed(path: tuple[int, ...], members: np.ndarray, capacity: float, parameters: SleepParameters) -> bool:
    """Whether a path keeps to the risk wherever all units would; elsewhere all are awake."""
    for step, awake in enumerate(path):
        over = [int((members[:, step] > x * capacity).sum()) for x in (awake, parameters.rrus)]
        limit = (parameters.risk or 0.0) * (len(members) + 1) - 1 + 1e-9
        if over[0] > limit and (over[1] <= limit or awake < parameters.rrus):
            return False
    return True


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("risk", [None, 0.25, 0.6])
@pytest.mark.parametrize(("least", "before"), [(0, None), (1, [4, 0]), (2, [0, 3])])
def test_no_path_is_cheaper(seed, risk, least, before):
    load = small(seed)
    random = np.random.default_rng(seed)
    parameters = SleepParameters(
        rrus=4,
        least=least,
        qos_cost=float(random.uniform(1, 15)),
        switching_cost=float(random.uniform(0, 0.4)),
        energy_cost=float(random.uniform(0.2, 2)),
        risk=risk,
    )
    start = None if before is None else np.array(before)
    plan = plan_sleep(load, CAPACITY, parameters, ENERGY, start)
    costs = plan.expected.by_cell["objective"]
    for cell in range(2):
        members, capacity = load.members[:, :, cell], float(CAPACITY[cell])
        first = None if before is None else before[cell]
        paths = product(range(least, 5), repeat=5)
        kept = (path for path in paths if risk is None or allowed(path, members, capacity, parameters))
        assert costs[cell] == pytest.approx(
            min(path_cost(path, members, capacity, parameters, first) for path in kept), abs=1e-9
        )
        chosen = tuple(plan.active[:, cell].tolist())
        assert path_cost(chosen, members, capacity, parameters, first) == pytest.approx(costs[cell])


@pytest.mark.parametrize("seed", range(4))
def test_a_mixed_integer_solver_finds_nothing_cheaper(seed):
    """The same problem as inequalities: lost shares and switches as variables that are pressed down on their bounds."""
    optimize = pytest.importorskip("scipy.optimize")
    samples, steps, capacity, before = 3, 12, 1.0, 2
    load = small(seed, samples, steps, cells=1, highest=6.5)
    parameters = SleepParameters(rrus=6, least=1, qos_cost=12.0, switching_cost=0.2)
    members = load.members[:, :, 0]
    count = steps + steps + samples * steps  # awake, switched, lost shares
    cost, constant = np.zeros(count), 0.0
    rows, least = [], []
    for step in range(steps):
        cost[step] = 0.5 * (ENERGY.idle - ENERGY.asleep)
        constant += 0.5 * parameters.rrus * ENERGY.asleep
        cost[steps + step] = parameters.switching_cost
        for sign in (1, -1):  # switched >= sign (x_t - x_{t-1})
            row = np.zeros(count)
            row[steps + step], row[step] = 1, -sign
            if step:
                row[step - 1] = sign
            rows.append(row)
            least.append(0 if step else -sign * before)
        for sample in range(samples):
            amount, at = members[sample, step], 2 * steps + sample * steps + step
            if not amount:
                continue
            constant += 0.5 * ENERGY.load * amount / capacity / samples
            cost[at] = 0.5 * (parameters.qos_cost - ENERGY.load * amount / capacity) / samples
            assert cost[at] > 0  # else the bound below would not be reached
            row = np.zeros(count)
            row[at], row[step] = 1, capacity / amount  # share lost >= 1 - x c0 / L
            rows.append(row)
            least.append(1)
    upper = np.r_[np.full(steps, 6.0), np.full(steps, 6.0), np.ones(samples * steps)]
    solved = optimize.milp(
        cost,
        integrality=np.r_[np.ones(steps), np.zeros(count - steps)],
        bounds=optimize.Bounds(np.r_[np.ones(steps), np.zeros(count - steps)], upper),
        constraints=optimize.LinearConstraint(np.array(rows), lb=np.array(least)),
        options={"mip_rel_gap": 0.0},
    )
    plan = plan_sleep(load, np.array([capacity]), parameters, ENERGY, np.array([before]))
    assert solved.success
    assert plan.expected.totals["objective"] == pytest.approx(solved.fun + constant, rel=1e-7)


@given(seed=st.integers(0, 2**32 - 1), switching=st.floats(0, 2), qos=st.floats(0, 30), least=st.integers(0, 4))
def test_no_plan_is_better_on_the_truth_than_the_one_that_knew_it(seed, switching, qos, least):
    truth = small(seed, samples=1, steps=8)
    random = np.random.default_rng(seed)
    before = random.integers(0, 5, 2)
    parameters = SleepParameters(rrus=4, least=least, qos_cost=qos, switching_cost=switching)
    oracle = plan_sleep(truth, CAPACITY, parameters, ENERGY, before)
    best = play_sleep(oracle.active, truth, CAPACITY, parameters, ENERGY, before).costs.by_cell["objective"]
    assert best == pytest.approx(oracle.expected.by_cell["objective"])
    others = [random.integers(least, 5, (8, 2)) for _ in range(5)]
    near = np.clip(oracle.active + random.integers(-1, 2, (8, 2)), least, 4)
    forecast = plan_sleep(small(seed + 1, steps=8), CAPACITY, parameters, ENERGY, before).active
    for other in (*others, near, forecast):
        played = play_sleep(other, truth, CAPACITY, parameters, ENERGY, before).costs.by_cell["objective"]
        assert (best <= played + 1e-9).all()


@given(seed=st.integers(0, 1000), samples=st.integers(1, 25), risk=st.floats(0, 0.99))
def test_with_a_risk_the_units_carry_the_quantile_of_the_members(seed, samples, risk):
    load = small(seed, samples, highest=6.0)
    parameters = SleepParameters(rrus=4, least=0, qos_cost=0.0, switching_cost=0.0, risk=risk)
    above = int(np.floor(risk * (samples + 1) + 1e-9)) - 1 if samples > 1 else 0  # 1e-9: 0.7 x 10 is no whole number
    if above < 0:
        with pytest.raises(PlanError, match="cannot be kept to"):
            plan_sleep(load, CAPACITY, parameters, ENERGY)
        return
    plan = plan_sleep(load, CAPACITY, parameters, ENERGY)
    # With no price of lost traffic nothing but the risk keeps a unit awake.
    needed = np.ceil(np.sort(load.members, 0)[samples - 1 - above] / CAPACITY).astype(int)
    assert (plan.active == np.minimum(needed, 4)).all()
    assert (plan.risk_exceeded == (needed > 4)).all()
    assert plan.overload_at_most is not None and (plan.overload_at_most[~plan.risk_exceeded] <= risk + 1e-9).all()


def test_the_probability_is_a_share_of_members_whether_or_not_there_is_a_limit_on_risk():
    """The same column held k / n without --risk and (k + 1) / (n + 1) with it: a plan never above had 4.8 %."""
    load = small(3, samples=20, steps=24, highest=6.0)
    free, held = (
        plan_sleep(load, CAPACITY, SleepParameters(rrus=4, switching_cost=0.0, risk=risk), ENERGY)
        for risk in (None, 0.2)
    )
    assert free.overload_at_most is None and held.overload_at_most is not None
    for plan in (free, held):
        above = (load.members > plan.active * CAPACITY).sum(0)
        np.testing.assert_allclose(plan.overload_probability, above / 20)
    np.testing.assert_allclose(held.overload_at_most, ((load.members > held.active * CAPACITY).sum(0) + 1) / 21)


@pytest.mark.parametrize(
    ("risk", "members", "enough"), [(0.05, 20, 39), (0.05, 39, None), (0.1, 19, None), (0.1, 18, 19)]
)
def test_so_many_members_let_one_be_above_and_one_fewer_does_not(risk, members, enough):
    assert members_for_one_above(risk, members) == enough
    assert members_for_one_above(None, members) is None and members_for_one_above(risk, 1) is None


def test_a_smaller_risk_never_wakes_fewer_units_and_costs_more():
    load = small(3, samples=20, steps=24)
    plans = [
        plan_sleep(load, CAPACITY, SleepParameters(rrus=4, switching_cost=0.0, risk=risk), ENERGY)
        for risk in (None, 0.5, 0.2, 0.05)
    ]
    for loose, tight in pairwise(plans):
        assert (tight.active >= loose.active).all()
        assert tight.expected.totals["objective"] >= loose.expected.totals["objective"] - 1e-9
    assert plans[-1].planned_risk < plans[1].planned_risk
    assert not plans[0].risk_exceeded.any()


@pytest.mark.parametrize(("members", "risk"), [(20, 0.05), (24, 0.1), (9, 0.3)])
def test_the_risk_that_is_met_is_no_larger_than_the_stated_one(members, risk):
    """Of 24 members at most 2 were let above the capacity for a risk of 10 %: the truth then was above in 12 %."""
    random = np.random.default_rng(0)
    cells = 20_000
    drawn = make_load(random.lognormal(0, 0.3, (members + 1, 1, cells)))
    forecast, truth = (replace(drawn, members=drawn.members[part]) for part in (slice(1, None), slice(1)))
    parameters = SleepParameters(rrus=127, qos_cost=0.0, switching_cost=0.0, risk=risk)  # fine: no room to spare
    capacity = np.full(cells, 8 / 127)
    plan = plan_sleep(forecast, capacity, parameters, ENERGY)
    met = play_sleep(plan.active, truth, capacity, parameters, ENERGY).overloaded_share
    error = 3 * np.sqrt(risk / cells)
    assert plan.overload_at_most is not None
    assert 0.5 * risk < met <= plan.overload_at_most.mean() + error
    assert plan.overload_at_most.max() <= risk + 1e-9
    assert plan.planned_risk < plan.overload_at_most.mean() <= risk


def test_a_risk_that_so_few_members_cannot_keep_to_says_how_many_can():
    load = small(3, samples=20, steps=4)
    with pytest.raises(PlanError, match=r"a risk of 0\.01 cannot be kept to by 20 members.*take 99 members or more"):
        plan_sleep(load, CAPACITY, SleepParameters(rrus=4, risk=0.01), ENERGY)
    for nothing in (0.0, 1e-310):  # of the second no number is the inverse
        with pytest.raises(PlanError, match="give one above 0"):
            plan_sleep(load, CAPACITY, SleepParameters(rrus=4, risk=nothing), ENERGY)
    plan_sleep(small(3, samples=19, steps=4), CAPACITY, SleepParameters(rrus=4, risk=0.05), ENERGY)


def test_a_single_number_is_planned_on_as_certain():
    load = small(3, samples=1, steps=8, highest=3.0)
    plan = plan_sleep(load, CAPACITY, SleepParameters(rrus=4, qos_cost=0.0, risk=0.0), ENERGY)
    assert (plan.active * CAPACITY >= np.minimum(load.members[0], 4 * CAPACITY)).all()
    assert (plan.overload_probability[~plan.risk_exceeded] == 0).all()


def test_cells_do_not_touch_each_other():
    load = small(5, steps=12, cells=7)
    capacity, before = np.linspace(0.5, 1.5, 7), np.arange(7) % 5
    parameters = SleepParameters(rrus=4, risk=0.4)
    together = plan_sleep(load, capacity, parameters, ENERGY, before).active
    for cell in range(7):
        alone = plan_sleep(load.of_cells(np.array([cell])), capacity[[cell]], parameters, ENERGY, before[[cell]])
        assert (alone.active[:, 0] == together[:, cell]).all()
