"""Strategies side by side: what each plan came to at every origin, to means with intervals.

Origins (a region and a start) are what is independent, so intervals resample origins, and with them all strategies and
seeds: differences between strategies at one origin stay paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from fomo.planning.load import PlanError
from fomo.planning.rows import AS_FORECAST, STRATEGIES, Application, PlanRow, Strategy

RESAMPLES = 2000
#: What a plan costs above the one that knows what happens.
REGRET = "above the oracle"


@dataclass(frozen=True)
class Played:
    """What the plan of one strategy came to, at one origin with one seed, against what really happened."""

    strategy: Strategy
    forecaster: str
    origin: str  # region and start
    seed: int
    metrics: dict[str, float]  # the same names for all strategies; a mean over `weight` things
    weight: float = 1.0  # cell-periods, or whatever the metrics are means over
    scenario: str = AS_FORECAST


def rows_of(
    played: Sequence[Played], application: Application, city: str, units: dict[str, str], *, seed: int = 0
) -> list[PlanRow]:
    """One row per scenario, strategy and metric: the weighted mean over origins and seeds, its 95 % interval.

    `units`: metric -> unit, in the order of the table. The interval is the point itself where there is one origin.
    Raises `PlanError` where a strategy was not played at every origin: its mean would be over other days.
    """
    rows = []
    for scenario in dict.fromkeys(each.scenario for each in played):
        for strategy in STRATEGIES:
            mine = [each for each in played if (each.scenario, each.strategy) == (scenario, strategy)]
            if not mine:
                continue
            _same_origins(mine, [each for each in played if each.scenario == scenario])
            for metric, unit in units.items():
                value, low, high = _interval(mine, metric, seed)
                rows.append(
                    PlanRow(
                        application, city, strategy, mine[0].forecaster, scenario, metric, unit, value, low, high,
                        len({each.origin for each in mine}), len({each.seed for each in mine}),
                    )
                )  # fmt: skip
    return rows


def with_regret(played: Sequence[Played]) -> list[Played]:
    """The same with the metric `REGRET`: the objective minus that of the oracle at the same origin, seed and scenario.

    Where the oracle has nothing that is drawn, its one seed serves all. A scenario without an oracle is held against
    that of the plain one: what came is the same.
    """
    oracle = {
        (each.scenario, each.origin, each.seed): each.metrics["objective"] for each in played if each.strategy == "real"
    }
    any_seed = {(scenario, origin): value for (scenario, origin, _), value in oracle.items()}

    def best(each: Played) -> float:
        for scenario in (each.scenario, AS_FORECAST):
            key = (scenario, each.origin, each.seed)
            if key in oracle:
                return oracle[key]
            if key[:2] in any_seed:
                return any_seed[key[:2]]
        raise PlanError(f"no oracle was played at {each.origin}: there is nothing to hold plans against")

    return [replace(each, metrics={**each.metrics, REGRET: each.metrics["objective"] - best(each)}) for each in played]


def closed_interval(
    played: Sequence[Played], metric: str = "objective", scenario: str = AS_FORECAST, *, seed: int = 0
) -> tuple[float, float, float]:
    """How much of the way from the best other strategy to the oracle FoMo goes, and its 95 % interval over origins.

    The best other is the one that is best over all origins, the same in every resample. NaN where it is no worse than
    the oracle.
    """
    some = [each for each in played if each.scenario == scenario]
    names = sorted({each.origin for each in some})
    means = {
        strategy: _by_origin([each for each in some if each.strategy == strategy], metric, names)
        for strategy in STRATEGIES
        if any(each.strategy == strategy for each in some)
    }
    whole = np.arange(len(names))[None]
    others = {name: float(_mean(*pair, whole)[0]) for name, pair in means.items() if name not in ("fomo", "real")}
    best = min(others, key=lambda name: others[name])
    picks = np.concatenate([whole, np.random.default_rng(seed).integers(len(names), size=(RESAMPLES, len(names)))])
    worst, mine, oracle = (_mean(*means[name], picks) for name in (best, "fomo", "real"))
    shares = np.full(len(picks), np.nan)
    np.divide(worst - mine, worst - oracle, out=shares, where=worst > oracle)
    if not np.isfinite(shares[0]):
        return float("nan"), float("nan"), float("nan")
    low, high = np.nanquantile(shares[1:], [0.025, 0.975])
    return float(shares[0]), float(low), float(high)


def _same_origins(mine: Sequence[Played], everyone: Sequence[Played]) -> None:
    """A strategy that misses an origin is not compared. Raises `PlanError`."""
    missing = {each.origin for each in everyone} - {each.origin for each in mine}
    if missing:
        raise PlanError(f"{mine[0].strategy} was not played at {sorted(missing)[0]}: strategies share all origins")


def _interval(mine: Sequence[Played], metric: str, seed: int) -> tuple[float, float, float]:
    names = sorted({each.origin for each in mine})
    total, weight = _by_origin(mine, metric, names)
    value = float(_mean(total, weight, np.arange(len(names))[None])[0])
    if len(names) == 1:
        return value, value, value
    picks = np.random.default_rng(seed).integers(len(names), size=(RESAMPLES, len(names)))
    low, high = np.quantile(_mean(total, weight, picks), [0.025, 0.975])
    return value, float(low), float(high)


def _by_origin(
    mine: Sequence[Played], metric: str, names: list[str]
) -> tuple[Float[np.ndarray, " origin"], Float[np.ndarray, " origin"]]:
    """Weighted sums of a metric, and the weights, per origin over its seeds."""
    place = {name: index for index, name in enumerate(names)}
    total, weight = np.zeros(len(names)), np.zeros(len(names))
    for each in mine:
        total[place[each.origin]] += each.metrics[metric] * each.weight
        weight[place[each.origin]] += each.weight
    return total, weight


def _mean(
    total: Float[np.ndarray, " origin"], weight: Float[np.ndarray, " origin"], picks: np.ndarray
) -> Float[np.ndarray, " resample"]:
    return total[picks].sum(1) / weight[picks].sum(1)


__all__ = ["REGRET", "Played", "closed_interval", "rows_of", "with_regret"]
