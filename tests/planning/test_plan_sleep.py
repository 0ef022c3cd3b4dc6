"""Sleep plans: what can be said in closed form, what a play conserves, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from fomo.planning.dimensioning import dimension
from fomo.planning.energy import EnergyModel
from fomo.planning.load import Load, PlanError
from fomo.planning.sleep import SleepParameters, always_on, plan_sleep, play_sleep
from fomo.planning.sleep_terms import check_before

ENERGY = EnergyModel()


def make_load(members: np.ndarray, step_minutes: int = 60) -> Load:
    """A load of cells in a row."""
    _, steps, cells = members.shape
    places = np.stack([np.zeros(cells, int), np.arange(cells)], -1)
    time = np.datetime64("2024-01-01T00:00", "ns") + np.arange(steps) * np.timedelta64(step_minutes, "m")
    return Load(members.astype(np.float64), time, places, places.astype(np.float64), step_minutes, "GB")


def days(seed: int = 0, samples: int = 1, steps: int = 48, cells: int = 6, step_minutes: int = 60) -> Load:
    """Traffic with a daily rhythm."""
    random = np.random.default_rng(seed)
    rhythm = 1.2 + np.sin(2 * np.pi * (np.arange(steps) * step_minutes / 60 - 9) / 24)
    level = random.lognormal(1, 0.8, cells)
    noise = random.lognormal(0, 0.25, (samples, steps, cells))
    return make_load(rhythm[:, None] * level * noise, step_minutes)


def test_without_a_price_of_switching_every_period_stands_by_itself():
    load = days(1, samples=3)
    parameters = SleepParameters(rrus=5, switching_cost=0.0)
    capacity = dimension(load, rrus=5)
    plan = plan_sleep(load, capacity, parameters, ENERGY)
    costs = []
    for awake in range(1, 6):
        room = awake * capacity
        lost = np.maximum(load.members - room, 0) / load.members
        carried = np.minimum(load.members, room) / capacity
        energy = awake * ENERGY.idle + (5 - awake) * ENERGY.asleep + ENERGY.load * carried
        costs.append((parameters.qos_cost * lost + energy).mean(0))
    assert (plan.active == 1 + np.argmin(costs, axis=0)).all()
    assert plan.expected.objective == pytest.approx(np.min(costs, axis=0))


def test_a_huge_price_of_switching_keeps_the_best_constant_number():
    load = days(2)
    parameters = SleepParameters(rrus=5, switching_cost=1e6)
    capacity = dimension(load, rrus=5)
    plan = plan_sleep(load, capacity, parameters, ENERGY)
    assert (plan.active == plan.active[0]).all()
    constant = [
        play_sleep(np.full((48, 6), awake), load, capacity, parameters, ENERGY).costs.by_cell["objective"]
        for awake in range(1, 6)
    ]
    assert (plan.active[0] == 1 + np.argmin(constant, axis=0)).all()
    held = plan_sleep(load, capacity, parameters, ENERGY, before=np.array([5, 4, 3, 2, 1, 5]))
    assert (held.active == np.array([5, 4, 3, 2, 1, 5])).all()


def test_sleep_shorter_than_four_hours_does_not_pay_by_the_defaults():
    """A switch costs what two hours of sleep save: off for three hours is left out, for five it is taken."""
    for quiet, expected in ((3, 2), (5, 1)):
        load = np.full((1, 20, 1), 2.0)
        load[0, 8 : 8 + quiet] = 0.5
        plan = plan_sleep(make_load(load), np.array([1.0]), SleepParameters(rrus=2), ENERGY)
        assert (plan.active[8 : 8 + quiet] == expected).all()
        assert (np.delete(plan.active, slice(8, 8 + quiet)) == 2).all()


def test_no_load_needs_no_more_than_the_fewest_units():
    for least in (0, 2):
        plan = plan_sleep(make_load(np.zeros((2, 5, 3))), np.ones(3), SleepParameters(least=least), ENERGY)
        assert (plan.active == least).all()
        assert plan.expected.totals["QoS loss"] == 0


def test_by_the_formula_of_the_paper_sleep_saves_no_energy():
    """The reason for a part of its own: as printed, always on costs no more energy than the plan that just fits."""
    load = days(3)
    capacity = dimension(load, busy=1.0)
    printed = EnergyModel.as_printed(0.0, 1.0, 1.0)
    parameters = SleepParameters()
    fits = np.maximum(1, np.ceil(load.members[0] / capacity - 1e-9)).astype(int)
    energies = [
        play_sleep(active, load, capacity, parameters, model).costs.totals["energy"]
        for model in (printed, ENERGY)
        for active in (fits, always_on(load, parameters))
    ]
    assert energies[0] == pytest.approx(energies[1])
    assert energies[2] < 0.95 * energies[3]


def test_expected_costs_are_the_mean_of_the_plays_against_the_members():
    load = days(4, samples=5)
    parameters = SleepParameters(rrus=6)
    capacity, before = dimension(load, rrus=6, busy=0.8, headroom=0.0), np.full(6, 3)
    plan = plan_sleep(load, capacity, parameters, ENERGY, before)
    plays = [
        play_sleep(plan.active, replace(load, members=load.members[[i]]), capacity, parameters, ENERGY, before)
        for i in range(5)
    ]
    for name, value in plan.expected.totals.items():
        assert value == pytest.approx(np.mean([play.costs.totals[name] for play in plays]))
    assert plan.overload_probability == pytest.approx(np.mean([play.overloaded for play in plays], axis=0))
    assert plan.planned_risk == pytest.approx(np.mean([play.overloaded_share for play in plays])) != 0


def test_what_is_carried_and_what_is_lost_is_the_load():
    truth = days(5)
    capacity = dimension(truth, busy=0.7, headroom=0.0)
    active = np.random.default_rng(0).integers(0, 9, (48, 6))
    outcome = play_sleep(active, truth, capacity, SleepParameters(), ENERGY)
    assert outcome.carried + outcome.lost == pytest.approx(truth.members[0])
    assert (outcome.carried <= active * capacity).all()
    assert ((outcome.lost > 0) == outcome.overloaded).all()
    assert outcome.costs.qos_loss == pytest.approx(outcome.lost / truth.members[0])


def test_a_play_by_hand():
    truth = make_load(np.array([[[4.0], [10.0], [0.0]]]), step_minutes=30)
    parameters = SleepParameters(rrus=4, qos_cost=10.0, switching_cost=0.5, energy_cost=2.0)
    energy = EnergyModel(idle=3.0, load=6.0, asleep=1.0)
    outcome = play_sleep(np.array([[2], [4], [1]]), truth, np.array([2.0]), parameters, energy, before=np.array([4]))
    costs = outcome.costs
    assert costs.qos_loss[:, 0].tolist() == pytest.approx([0, 0.5 * 0.2, 0])
    assert costs.switching[:, 0].tolist() == [2, 2, 3]
    assert costs.energy[:, 0].tolist() == pytest.approx([0.5 * (6 + 2 + 12), 0.5 * (12 + 24), 0.5 * (3 + 3)])
    assert costs.totals["objective"] == pytest.approx(10 * 0.1 + 0.5 * 7 + 2 * (10 + 18 + 3))
    assert outcome.overloaded_share == pytest.approx(1 / 3)
    assert costs.by_period["switching"].tolist() == [2, 2, 3]
    assert costs.by_cell["switching"].tolist() == [7]


def test_more_forecast_wakes_more_units_and_loses_less():
    """With one member and free switches, for every cell and period; a biased forecast is a scaled one."""
    truth = days(6)
    parameters = SleepParameters(switching_cost=0.0)
    capacity = dimension(truth, busy=1.0, headroom=0.25)
    plans = [plan_sleep(truth.scaled(factor), capacity, parameters, ENERGY).active for factor in (0.6, 0.8, 1, 1.2)]
    plays = [play_sleep(active, truth, capacity, parameters, ENERGY).costs.totals for active in plans]
    assert all((more >= less).all() for less, more in pairwise(plans))
    assert all(more["QoS loss"] <= less["QoS loss"] for less, more in pairwise(plays))
    assert plays[0]["QoS loss"] > plays[-1]["QoS loss"]
    assert plays[0]["energy"] < plays[-1]["energy"]
    assert min(play["objective"] for play in plays) == plays[2]["objective"]


@pytest.mark.parametrize("step_minutes", [15, 30])
def test_a_steady_load_costs_the_same_by_the_quarter_of_an_hour(step_minutes):
    """Energy and lost traffic are per time, so a finer step changes neither."""
    parts = 60 // step_minutes
    coarse, fine = make_load(np.full((1, 6, 1), 9.0)), make_load(np.full((1, 6 * parts, 1), 9.0 / parts), step_minutes)
    parameters = SleepParameters(rrus=4)
    plans = [
        plan_sleep(load, np.array([2.0]) * load.step_minutes / 60, parameters, ENERGY).expected.totals
        for load in (coarse, fine)
    ]
    assert plans[0] == pytest.approx(plans[1])
    assert plans[0]["QoS loss"] == pytest.approx(6 / 9)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"rrus": 0}, "0 radio units a cell"),
        ({"least": 9}, "at least 9 of 8"),
        ({"qos_cost": -1.0}, "qos_cost is -1"),
        ({"switching_cost": float("nan")}, "switching_cost is nan"),
        ({"energy_cost": float("inf")}, "energy_cost is inf"),
        ({"risk": 1.0}, "risk is 1"),
        ({"risk": -0.1}, "risk is -0.1"),
    ],
)
def test_parameters_out_of_range_are_refused(values, told):
    with pytest.raises(PlanError, match=told):
        SleepParameters(**values)


def test_a_cell_without_capacity_is_refused_by_its_place():
    load, parameters = days(), SleepParameters()
    for wrong in (0.0, -1.0, np.nan, np.inf):
        capacity = np.ones(6)
        capacity[4] = wrong
        with pytest.raises(PlanError, match=r"1 of 6 cells have no capacity.* row 0, column 4"):
            plan_sleep(load, capacity, parameters, ENERGY)
    with pytest.raises(PlanError, match="5 capacities for 6 cells"):
        plan_sleep(load, np.ones(5), parameters, ENERGY)


def test_a_forecast_with_gaps_or_negative_load_never_becomes_a_plan():
    members = np.ones((2, 3, 2))
    for wrong, told in ((np.nan, "1 of 12 values of the load are missing"), (-2.0, "the load is negative")):
        members[1, 2, 1] = wrong
        with pytest.raises(PlanError, match=told):
            plan_sleep(make_load(members), np.ones(2), SleepParameters(), ENERGY)


def test_plays_that_cannot_be_are_refused():
    load, parameters = days(), SleepParameters()
    awake, capacity = always_on(load, parameters), np.ones(6)
    with pytest.raises(PlanError, match="2 members cannot all be the truth"):
        play_sleep(awake, days(samples=2), capacity, parameters, ENERGY)
    with pytest.raises(PlanError, match=r"\(47, 6\) cannot play against a load of \(48, 6\)"):
        play_sleep(awake[1:], load, capacity, parameters, ENERGY)
    with pytest.raises(PlanError, match="8 to 9 radio units awake"):
        play_sleep(awake + (np.arange(6) == 2), load, capacity, parameters, ENERGY)
    with pytest.raises(PlanError, match="4 states before the plan for 6 cells"):
        check_before(np.full(4, 1), load, parameters.rrus)
    with pytest.raises(PlanError, match="0 to 9 radio units awake before"):
        plan_sleep(load, capacity, parameters, ENERGY, before=np.array([0, 1, 2, 3, 4, 9]))
