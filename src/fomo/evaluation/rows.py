"""From the errors of all windows to a line of a table, and to the difference of two forecasters.

The uncertainty of a score is the bootstrap over regions, or over days where there is one region: windows
overlap and would make it far too small. Two forecasters are compared on the same resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fomo.evaluation.metrics import JSD_BINS, ErrorSums, jensen_shannon
from fomo.evaluation.protocol import EvaluationError, Scores

RESAMPLES = 1000
RESAMPLED = ("rmse", "mae", "crps", "jsd")
COVERAGES = ("coverage50", "coverage90", "closed50", "closed90")
STRUCTURE = ("busy", "spatial", "autocorrelation", "spectrum")
SCORES = (*RESAMPLED, *COVERAGES, "crps_plain", "rmse_physical", "mae_physical", "energy", *STRUCTURE)

#: The ends of the reported interval of a score.
INTERVAL = (0.025, 0.975)


@dataclass(frozen=True)
class Row:
    """One line of a table. None stands for a score that is not defined; `note` says why.

    Errors are scaled to [0, 1] by `scale`, or in `unit` where they are called physical. `*_low` and `*_high`
    are the 95 % bootstrap interval over `units` regions or days, as `resampled` says. `seconds` is the time
    of the forecasts.
    """

    forecaster: str
    city: str
    task: str
    context: str
    rmse: float | None
    mae: float | None
    crps: float | None
    coverage50: float | None
    coverage90: float | None
    seconds: float
    rmse_low: float | None
    rmse_high: float | None
    mae_low: float | None
    mae_high: float | None
    crps_low: float | None
    crps_high: float | None
    jsd_low: float | None
    jsd_high: float | None
    rmse_physical: float | None
    mae_physical: float | None
    unit: str
    crps_plain: float | None
    closed50: float | None
    closed90: float | None
    energy: float | None
    jsd: float | None
    busy: float | None
    spatial: float | None
    autocorrelation: float | None
    spectrum: float | None
    resampled: str
    units: int
    windows: int
    regions: int
    samples: int
    split: str
    past_week: bool
    scale: str
    leakage: bool
    note: str


@dataclass(frozen=True)
class Difference:
    """A score of one forecaster minus that of another on the same windows, with its 95 % bootstrap interval.

    `better` is the share of resamples in which the first has the lower score.
    """

    first: str
    second: str
    score: str
    value: float
    low: float
    high: float
    better: float
    resampled: str
    units: int


@dataclass(frozen=True)
class Units:
    """What is resampled ('regions' or 'days'), by name, and the sums of each: (unit, `ErrorSums.vector`).

    `totals` is None where the forecast is not defined.
    """

    resampled: str
    names: tuple[str, ...]
    totals: np.ndarray | None


def row(scores: Scores, *, resamples: int = RESAMPLES, seed: int = 0) -> Row:
    """The line of a table, with bootstrap intervals where there are two or more units to resample."""
    found = units_of(scores)
    resampled, units, totals = found.resampled, len(found.names), found.totals
    values: dict[str, float | None] = dict.fromkeys(SCORES)
    ends: dict[str, float | None] = {f"{name}_{end}": None for name in RESAMPLED for end in ("low", "high")}
    if totals is not None:
        summed = ErrorSums.from_vector(totals.sum(0)).scores()
        values = {name: summed[name] if np.isfinite(summed[name]) else None for name in SCORES}
        if units > 1:
            draws = _resampled(totals, resamples, seed)
            for name in RESAMPLED:
                ends[f"{name}_low"], ends[f"{name}_high"] = map(float, np.quantile(draws[name], INTERVAL))
    return Row(
        forecaster=scores.forecaster,
        city=scores.city,
        task=scores.task,
        context=scores.context,
        seconds=scores.seconds,
        unit=scores.unit,
        resampled=resampled,
        units=units,
        windows=len(scores.windows),
        regions=len({window.region for window in scores.windows}),
        samples=scores.samples,
        split=scores.split,
        past_week=scores.past_week,
        scale=scores.scale,
        leakage=scores.leakage,
        note=scores.note,
        **values,
        **ends,
    )


def difference(
    first: Scores, second: Scores, score: str = "rmse", *, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """`first` minus `second` in 'rmse', 'mae', 'crps' or 'jsd', both resampled alike. Negative: the first is better.

    Raises `EvaluationError` where they did not answer the same windows or one of them is not defined.
    """
    keys = [[(window.region, window.first_step) for window in scores.windows] for scores in (first, second)]
    if keys[0] != keys[1]:
        raise EvaluationError(f"{first.forecaster} and {second.forecaster} did not answer the same windows")
    own, other = units_of(first), units_of(second)
    ours, theirs = own.totals, other.totals
    if ours is None or theirs is None:
        raise EvaluationError(f"{first.forecaster} or {second.forecaster} is not defined on these windows")
    resampled, units = own.resampled, len(own.names)
    value = score_of(ours, score) - score_of(theirs, score)
    low = high = better = float("nan")
    if units > 1:
        first_draws, second_draws = (_resampled(each, resamples, seed, (score,))[score] for each in (ours, theirs))
        draws = first_draws - second_draws
        low, high = map(float, np.quantile(draws, INTERVAL))
        better = float((draws < 0).mean())
    return Difference(first.forecaster, second.forecaster, score, value, low, high, better, resampled, units)


def score_of(totals: np.ndarray, score: str) -> float:
    """'rmse', 'mae', 'crps' or 'jsd' of the sums of all units together; `totals` as in `Units`."""
    return float(_score(np.ones((1, len(totals))), totals, score)[0])


def ratio_interval(
    ours: np.ndarray, theirs: np.ndarray, score: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The 95 % bootstrap interval of one's score over another's, both resampled alike: `totals` of the same units."""
    draws = [_resampled(each, resamples, seed, (score,))[score] for each in (ours, theirs)]
    low, high = np.quantile(draws[0] / draws[1], INTERVAL)
    return float(low), float(high)


def calibration(scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    """Levels of central intervals, 10 % to 90 % as far as the members hold them, and the observed coverage.

    Raises `EvaluationError` where the forecast is not defined.
    """
    totals = units_of(scores).totals
    if totals is None:
        raise EvaluationError(f"{scores.forecaster} is not defined on these windows")
    sums = ErrorSums.from_vector(totals.sum(0))
    levels = np.arange(1, 10) / 10
    observed = np.array([sums.coverage(float(level)) for level in levels])
    return levels[np.isfinite(observed)], observed[np.isfinite(observed)]


def units_of(scores: Scores) -> Units:
    """The regions of scores, or the days where there is one region, and the sums of each."""
    regions = {window.region for window in scores.windows}
    resampled = "regions" if len(regions) > 1 else "days"
    keys = [window.region if resampled == "regions" else window.day for window in scores.windows]
    names = tuple(sorted(set(keys)))
    sums = [window.sums for window in scores.windows]
    vectors = [one.vector() for one in sums if one is not None]
    if len(vectors) < len(sums):
        return Units(resampled, names, None)
    totals = np.zeros((len(names), vectors[0].size))
    np.add.at(totals, [names.index(key) for key in keys], np.stack(vectors))
    return Units(resampled, names, totals)


def _resampled(
    totals: np.ndarray, resamples: int, seed: int, names: Sequence[str] = RESAMPLED
) -> dict[str, np.ndarray]:
    """Scores of `resamples` draws of units with replacement, each an array (resample)."""
    taken = np.random.default_rng(seed).integers(len(totals), size=(resamples, len(totals)))
    times = np.zeros((resamples, len(totals)))
    np.add.at(times, (np.arange(resamples)[:, None], taken), 1.0)
    return {name: _score(times, totals, name) for name in names}


def _score(times: np.ndarray, totals: np.ndarray, name: str) -> np.ndarray:
    """A score per draw, where a draw takes each unit `times` (draw, unit); `totals` (unit, sum)."""
    if name == "jsd":
        truth, forecast = np.split(times @ totals[:, -2 * JSD_BINS :], 2, axis=1)
        return np.array([jensen_shannon(*pair) for pair in zip(truth, forecast, strict=True)])
    summed = {"rmse": "squared", "mae": "absolute", "crps": "crps"}[name]
    total, count = (times @ totals[:, ErrorSums.column(field)] for field in (summed, "count"))
    return np.asarray(np.sqrt(total / count) if name == "rmse" else total / count)


__all__ = [
    "RESAMPLES",
    "Difference",
    "Row",
    "Units",
    "calibration",
    "difference",
    "ratio_interval",
    "row",
    "score_of",
    "units_of",
]
