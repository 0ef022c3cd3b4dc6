"""The tidy row of every comparison of plans: one number of one strategy, with where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Application = Literal["sleep", "prb", "deploy"]
Strategy = Literal["always_on", "history", "rival", "fomo", "real"]

#: In the order of tables and figures. `real` plans on what really happened: nobody can do better than that.
STRATEGIES: tuple[Strategy, ...] = ("always_on", "history", "rival", "fomo", "real")
#: The scenario that nothing was done to.
AS_FORECAST = "as forecast"
#: What is done to the forecast, or to the network, to see what plans are worth then.
MORE, LESS, SITE_FAILS = "forecast +20 %", "forecast -20 %", "a site fails"


@dataclass(frozen=True)
class PlanRow:
    """A number of a strategy; `low` and `high`: its 95 % interval over origins and seeds, equal where there is none."""

    application: Application
    city: str
    strategy: Strategy
    forecaster: str  # who made the forecast: "FoMo", "Lag-Llama", "same hour last week", "what happened", "nobody"
    scenario: str  # AS_FORECAST, MORE, LESS, SITE_FAILS
    metric: str  # "objective" and its parts, as the paper names them: "QoS loss", "switching", "energy", ...
    unit: str
    value: float
    low: float
    high: float
    origins: int  # forecasts (start times, regions) that the number is over
    seeds: int


def closed(rows: list[PlanRow], strategy: Strategy = "fomo", metric: str = "objective") -> float:
    """The share of the distance between the best other strategy and the oracle that a strategy closes.

    1: as good as knowing the future; 0: no better than the best other; below 0: worse. NaN where the best other is no
    worse than the oracle. Rows are of one application, city and scenario; a lower metric is better.
    """
    values = {row.strategy: row.value for row in rows if row.metric == metric}
    others = [value for name, value in values.items() if name not in (strategy, "real")]
    best, oracle = min(others), values["real"]
    return (best - values[strategy]) / (best - oracle) if best > oracle else float("nan")
