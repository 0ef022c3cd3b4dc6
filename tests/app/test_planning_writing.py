"""What a plan says of itself: whose it is, when, and what a forecast has to gain."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import fomo
from fomo.app.service.planning.moments import moment
from fomo.app.service.planning.run import Compared
from fomo.app.service.planning.sleeping import SleepRun, plan_table
from fomo.app.service.planning.writing import summary
from fomo.planning.dimensioning import dimension
from fomo.planning.energy import EnergyModel
from fomo.planning.load import load_of_city
from fomo.planning.rows import AS_FORECAST, STRATEGIES, PlanRow
from fomo.planning.sleep import SleepParameters, plan_sleep


def compared(values: tuple[float, ...], closed: float, **named: Any) -> Compared:
    """A sleep plan of two days with the objectives of the five strategies."""
    load = load_of_city(fomo.synthetic_city(days=2))
    capacity = dimension(load)
    plan = plan_sleep(load, capacity, SleepParameters(), EnergyModel())
    rows = [
        PlanRow("sleep", "towns", name, f"by {name}", AS_FORECAST, "objective", "x", value, value, value, 3, 1)
        for name, value in zip(STRATEGIES, values, strict=True)
    ]
    run = SleepRun(load, load, capacity, plan, plan)
    return Compared(
        "sleep",
        "towns",
        rows,
        (closed,) * 3,
        plan_table(load, plan, capacity),
        [],
        3,
        region="towns/7",
        sleep=run,
        **named,
    )


def test_where_the_best_other_equals_the_oracle_it_is_not_said_that_none_is_worse() -> None:
    """'No other strategy is worse than the oracle' stood there although four of five were."""
    said = summary(compared((9.0, 5.0, 2.0, 3.0, 2.0), math.nan))[-1]
    assert said.startswith("The best other strategy (by rival) is no worse than knowing the future here")
    said = summary(compared((9.0, 5.0, 4.0, 3.0, 2.0), 0.5))[-1]
    assert "between the best other strategy (by rival) and knowing the future" in said


@pytest.mark.parametrize(("dated", "first"), [(True, "From 2024-01-01 00:00,"), (False, "From Monday 00:00,")])
def test_the_plan_of_a_family_says_its_region_and_no_date_that_is_made_up(dated: bool, first: str) -> None:
    said = summary(compared((9.0, 5.0, 4.0, 3.0, 2.0), 0.5, dated=dated))[0]
    assert said.startswith(first) and "cells of towns/7" in said
    assert ("2024" in said) == dated


def test_weekdays_are_those_of_the_calendar() -> None:
    assert moment(np.datetime64("2024-03-04T14:30"), False) == "Monday 14:30"
    assert moment(np.datetime64("1969-12-28T00:00"), False) == "Sunday 00:00"
    assert moment(np.datetime64("2024-03-04T14:30"), True) == "2024-03-04 14:30"
