"""Which radio units sleep: every strategy's plan at every origin, played against what came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from fomo.app.service.planning.origins import Origin, cell_periods, load_at, with_failed_site, without_asked
from fomo.app.service.planning.record import record_of
from fomo.app.service.planning.servers import Server, with_traffic
from fomo.app.service.planning.strategies import NOBODY, Expected
from fomo.city import City
from fomo.planning.comparison import REGRET, Played
from fomo.planning.dimensioning import dimension_recorded
from fomo.planning.energy import EnergyModel
from fomo.planning.load import Load, PlanError
from fomo.planning.rows import AS_FORECAST, Strategy
from fomo.planning.sleep import SleepOutcome, SleepParameters, SleepPlan, always_on, plan_sleep, play_sleep
from fomo.planning.sleep_terms import members_for_one_above

#: Metric -> unit. An RRU-hour is what a fully loaded radio unit consumes in an hour, a lost hour all traffic of a cell.
UNITS = {
    "objective": "RRU-hours per cell, day",
    REGRET: "RRU-hours per cell, day",
    "QoS loss": "lost hours per cell, day",
    "switching": "RRUs per cell, day",
    "energy": "RRU-hours per cell, day",
    "overload": "share of cell-periods",
}


@dataclass(frozen=True)
class SleepSetting:
    """What is the same for all strategies: the network's hardware and the prices."""

    parameters: SleepParameters
    energy: EnergyModel
    headroom: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what would fail after the forecasts are made. Raises `PlanError`."""
        if not 0 <= self.headroom < np.inf:
            raise PlanError(f"headroom is {self.headroom:g}: it is a share of the busy hour, 0 or more")

    @property
    def free(self) -> SleepParameters:
        """The parameters without a limit on risk: the oracle's, who knows what comes, and is the bound."""
        return replace(self.parameters, risk=None)


@dataclass(frozen=True)
class SleepRun:
    """FoMo's plan at one origin, for pictures and tables."""

    load: Load
    truth: Load
    capacity: np.ndarray
    plan: SleepPlan
    oracle: SleepPlan


def play_sleeping(
    city: City,
    origin: Origin,
    everyone: Sequence[Expected],
    setting: SleepSetting,
    seeds: Sequence[int],
    bias: float = 1.0,
    scenario: str = AS_FORECAST,
    fails: bool = False,
) -> list[Played]:
    """All strategies at one origin, the region's cells together: (17) is separable, so they need no server.

    `bias` multiplies what is expected (never what came), for what a wrong forecast does. `fails`: the busiest site
    fails, and what came there goes to its neighbours, which only the oracle expects.
    """
    server = whole(city)
    truth = load_at(origin, origin.truth[None], server.places)
    if fails:
        truth = with_failed_site(truth)
    capacity = capacity_of(city, origin, server, setting)
    found = []
    for each in everyone:
        if each.strategy == "real" and bias != 1.0:
            continue
        drawn = seeds if (origin.name, seeds[-1]) in each.members else seeds[:1]
        for seed in drawn:
            load = load_at(origin, each.at(origin, seed), server.places).scaled(bias)
            load = truth if each.strategy == "real" else load
            parameters = setting.free if each.strategy == "real" else setting.parameters
            plan = plan_sleep(load, capacity, parameters, setting.energy)
            outcome = play_sleep(plan.active, truth, capacity, setting.parameters, setting.energy)
            found.append(_played(each.strategy, each.forecaster, origin, seed, outcome, truth, scenario))
    if bias == 1.0:
        active = always_on(truth, setting.parameters)
        outcome = play_sleep(active, truth, capacity, setting.parameters, setting.energy)
        found.append(_played("always_on", NOBODY, origin, seeds[0], outcome, truth, scenario))
    return found


def one_run(city: City, origin: Origin, everyone: Sequence[Expected], setting: SleepSetting, seed: int) -> SleepRun:
    """FoMo's plan at an origin, with the oracle's beside it."""
    server = whole(city)
    truth = load_at(origin, origin.truth[None], server.places)
    capacity = capacity_of(city, origin, server, setting)
    mine = next(each for each in everyone if each.strategy == "fomo")
    load = load_at(origin, mine.at(origin, seed), server.places)
    plan = plan_sleep(load, capacity, setting.parameters, setting.energy)
    return SleepRun(load, truth, capacity, plan, plan_sleep(truth, capacity, setting.free, setting.energy))


def whole(city: City) -> Server:
    """All cells that ever carried traffic, as one."""
    return Server(str(city.attrs["name"]), with_traffic(city))


def capacity_of(city: City, origin: Origin, server: Server, setting: SleepSetting) -> np.ndarray:
    """The load that one radio unit of each cell serves: by the busy hour of everything recorded but the asked periods.

    The hardware was there before the plan. Where a short record leaves no other busy hour, later periods count too; the
    asked ones never do.
    """
    record = record_of(without_asked(city, origin), server.places)
    return dimension_recorded(record, setting.parameters.rrus, headroom=setting.headroom)


def risk_said(plan: SleepPlan) -> str:
    """What a plan expects of overload, in a sentence."""
    said = f"The forecast puts the probability that a cell is overloaded in a period at {plan.planned_risk:.1%}"
    risk, at_most = plan.expected.parameters.risk, plan.overload_at_most
    if risk is None or at_most is None:
        return f"{said}."
    return (
        f"{said} in the mean. So many members vouch for {at_most.mean():.1%} at most (overload_at_most in plan.csv), "
        f"which is held to {risk:.1%} in each cell and period where all units can."
    )


def few_members_said(risk: float | None, members: int) -> list[str]:
    """What a reader must know where so few members let none of them be above what is awake; else nothing."""
    enough = members_for_one_above(risk, members)
    if enough is None:
        return []
    return [
        f"{members} members keep to {1 / (members + 1):.1%} at best, and to the asked {risk:.1%} only where none of "
        f"them is above what is awake: each cell is awake for its largest member. With --samples {enough} or more, one "
        "may be above."
    ]


def plan_table(load: Load, plan: SleepPlan, capacity: np.ndarray, dated: bool = True) -> pl.DataFrame:
    """The plan: one row per cell and period. `dated`: False where dates are made up.

    `overload_probability` is the share of the members that are above what is awake, k / n; with a limit on risk
    `overload_at_most` is what was held to it, (k + 1) / (n + 1).
    """
    low, high = (load.quantile(share) for share in (0.05, 0.95))
    at_most = {} if plan.overload_at_most is None else {"overload_at_most": plan.overload_at_most.ravel()}
    return pl.DataFrame(
        {
            **cell_periods(load.time, load.places, dated),
            "active_rrus": plan.active.ravel(),
            "sleeping_rrus": plan.expected.parameters.rrus - plan.active.ravel(),
            "overload_probability": plan.overload_probability.ravel(),
            **at_most,
            "expected_load": load.mean.ravel(),
            "load_q05": low.ravel(),
            "load_q95": high.ravel(),
            "rru_capacity": np.tile(capacity, len(load.time)),
            "unit": load.unit,
        }
    )


def _played(
    strategy: Strategy, forecaster: str, origin: Origin, seed: int, outcome: SleepOutcome, truth: Load, scenario: str
) -> Played:
    _, steps, cells = truth.members.shape
    days = steps * truth.step_minutes / 1440
    metrics = {name: total / (cells * days) for name, total in outcome.costs.totals.items()}
    metrics["overload"] = outcome.overloaded_share
    return Played(strategy, forecaster, origin.name, seed, metrics, cells * days, scenario)


__all__ = [
    "UNITS",
    "SleepRun",
    "SleepSetting",
    "capacity_of",
    "few_members_said",
    "one_run",
    "plan_table",
    "play_sleeping",
    "risk_said",
    "whole",
]
