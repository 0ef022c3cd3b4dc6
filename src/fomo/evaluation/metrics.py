"""Scores of ensembles, each as a plain formula, and `ErrorSums` which adds them up window by window.

`members` are (N, n) or (N, ...), `truth` (n) or (...), both finite and in one unit. What the fair scores
estimate is the score of the distribution behind the members, not of this ensemble, so that 8 and 64 members
compare.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from fomo.evaluation.structure import Structure
from fomo.forecast import quantiles_of

#: The divergence of Jensen and Shannon is taken between histograms of this many equal bins on [0, 1], in
#: bits.
JSD_BINS = 100

#: The place of the truth among the members is counted in this many bins: central intervals at steps of 10 %.
PIT_BINS = 20


def crps(members: np.ndarray, truth: np.ndarray, fair: bool = True, antithetic: bool = False) -> np.ndarray:
    """Continuous ranked probability score of every value, shape of `truth`, in its unit; lower is better.

    E|X - y| - E|X - X'| / 2. Fair (Ferro 2014): the second expectation is over pairs of different members.
    Not fair: over all pairs, the CRPS of the ensemble itself (scoringrules' `qd`). One member gives the
    absolute error. Where members 2i and 2i + 1 come from opposite noise (`antithetic`), they lie further apart
    than independent ones, and the fair expectation leaves these pairs out; it needs three members.
    """
    count = len(members)
    error = np.abs(members - truth).mean(0)
    if count == 1:
        return np.asarray(error)
    # sum over pairs i < j of x_(j) - x_(i), from the sorted members: each is larger in i pairs, smaller in N
    # - 1 - i
    weight = 2.0 * np.arange(count) - (count - 1)
    pairs = np.tensordot(weight, np.sort(members, axis=0), axes=1)
    if fair and antithetic and count > 2:
        even = count - count % 2
        opposite = np.abs(members[0:even:2] - members[1:even:2]).sum(0)
        return np.asarray(error - (pairs - opposite) / (count * (count - 1) - even))
    return np.asarray(error - pairs / (count * (count - 1) if fair else count * count))


def energy_score(members: np.ndarray, truth: np.ndarray, fair: bool = True, antithetic: bool = False) -> float:
    """Energy score of one vector: `members` (N, n), `truth` (n). The CRPS with Euclidean distances; see `crps`."""
    count = len(members)
    error = float(np.linalg.norm(members - truth, axis=1).mean())
    if count == 1:
        return error
    squares = (members**2).sum(1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * members @ members.T, 0.0))
    np.fill_diagonal(distances, 0.0)
    if not fair:
        return error - float(distances.sum()) / (2 * count * count)
    even = count - count % 2 if antithetic and count > 2 else 0
    opposite = float(np.linalg.norm(members[0:even:2] - members[1:even:2], axis=1).sum())
    return error - (float(distances.sum()) - 2 * opposite) / (2 * (count * (count - 1) - even))


def enough_members(level: float, count: int) -> bool:
    """Whether N members hold a central interval of this level, N + 1 >= 2 / (1 - level): 19 for 90 %."""
    return count + 1 >= 2 / (1 - level) - 1e-9


def coverage(
    members: np.ndarray, truth: np.ndarray, level: float, fair: bool = True, antithetic: bool = False
) -> np.ndarray:
    """How far each truth lies in the ensemble's central interval, 0 to 1, shape of `truth`; NaN if too few.

    The mean over values estimates the coverage without bias for any number of independent members and with ties (dead
    cells: members and truth all zero), where counting hits of a closed interval between sample quantiles does
    not. If the truth were one more draw, its rank among the N members would be uniform on N + 1 places, so a
    truth of rank r fills [r, r + 1] / (N + 1) of probability, and one that ties with E members the E + 1
    places that it may have (the probability integral transform of Czado, Gneiting & Held 2009). Returned is
    the share of that stretch inside [(1 - level) / 2, (1 + level) / 2]. See `enough_members` for what is too
    few.

    Members 2i and 2i + 1 of opposite noise (`antithetic`) leave the middle ranks to the truth more often than
    independent ones, and read as those a well calibrated 50 % is 52 %; see `_of_pairs`. Not `fair`: members are the
    quantiles of (i + 1/2) / N, of which 90 % would read 94 %; see `_of_quantiles`.
    """
    if not enough_members(level, len(members)):
        return np.full(truth.shape, np.nan)
    places = np.array([(1 - level) / 2, (1 + level) / 2])
    below, above = _transform(members, truth, places, fair, antithetic)
    return np.asarray(above - below)


def pit_histogram(members: np.ndarray, truth: np.ndarray, fair: bool = True, antithetic: bool = False) -> np.ndarray:
    """The probability integral transform of all values, counted in `PIT_BINS` bins; even where calibrated.

    The sum of the middle bins is the sum of `coverage` of their level.
    """
    places = _transform(members, truth, np.linspace(0, 1, PIT_BINS + 1), fair, antithetic)
    return np.asarray(np.diff(places.reshape(PIT_BINS + 1, -1).sum(1)))


def _transform(members: np.ndarray, truth: np.ndarray, places: np.ndarray, fair: bool, antithetic: bool) -> np.ndarray:
    """The share of each truth's stretch of probability below `places`, (places, ...): see `coverage`."""
    if not fair:
        return _of_quantiles(members, truth, places)
    return _of_pairs(members, truth, places) if antithetic and len(members) > 1 else _of_draws(members, truth, places)


def _of_draws(members: np.ndarray, truth: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Members are independent draws."""
    count = len(members)
    low = (members < truth).sum(0) / (count + 1)
    high = ((members <= truth).sum(0) + 1) / (count + 1)
    return _share_below(places, low, high)


def _of_quantiles(members: np.ndarray, truth: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Member i is the quantile of (i + 1/2) / N: a truth of rank r fills [r - 1/2, r + 1/2] / N, cut at 0 and 1.

    Where it ties with E members, the value itself has probability: about E / N, from r / N on.
    """
    rank, ties = (members < truth).sum(0), (members == truth).sum(0)
    half = np.where(ties > 0, 0.0, 0.5)
    low, high = (np.clip(place / len(members), 0.0, 1.0) for place in (rank - half, rank + ties + half))
    return _share_below(places, low, high)


def _of_pairs(members: np.ndarray, truth: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Members 2i and 2i + 1 are of opposite noise, of N / 2 pairs that are independent; an odd last one is left out.

    The even members are independent draws, and so are the odd ones: the mean of their transforms has no bias, whatever
    the pairs have in common. They do not resolve what lies beyond 2 / (N + 2). There all N do: were the pairs opposite
    quantiles, the truth would lie below all of them with the probability 1 / (N + 2), and below either the even or the
    odd ones alone with the rest. Then this is exact; of independent pairs 90 % reads 89.6 % with 20 members and 89.8 %
    with 24.
    """
    members = members[: len(members) // 2 * 2]
    first, second = members[::2], members[1::2]
    found = (_of_draws(first, truth, places) + _of_draws(second, truth, places)) / 2
    end = 1 / (len(first) + 1)
    low, high = places < end, places > 1 - end
    found[low] = _below_most(members, truth, places[low])
    found[high] = 1 - _below_most(-members, -truth, 1 - places[high])
    return np.asarray(found)


def _below_most(members: np.ndarray, truth: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The transform of opposite pairs below 2 / (N + 2), where the truth lies below all even or all odd members."""
    least = 1 / (len(members) + 2)
    whole = _below_all(members, truth)
    one = (_below_all(members[::2], truth) + _below_all(members[1::2], truth)) / 2 - whole
    place = places.reshape(-1, *[1] * truth.ndim)
    return np.asarray(whole * np.clip(place / least, 0.0, 1.0) + one * np.clip(place / least - 1, 0.0, 1.0))


def _below_all(members: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """How likely the truth lies below all members if ties are broken at random."""
    return np.where((members < truth).any(0), 0.0, 1 / ((members == truth).sum(0) + 1))


def _share_below(places: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The share of the stretches from `low` to `high` that lies below each place, (places, ...)."""
    below = (places.reshape(-1, *[1] * low.ndim) - low) / (high - low)
    return np.asarray(np.clip(below, 0.0, 1.0))


def closed_coverage(members: np.ndarray, truth: np.ndarray, level: float) -> np.ndarray:
    """1 where the truth lies in the closed interval of two ensemble quantiles, else 0; NaN if too few.

    The quantile of p is at place p (N + 1) among the sorted members (Weibull), between neighbours linearly. A
    cell without traffic that is forecast without traffic always counts as covered, whatever the level: see
    `coverage`.
    """
    if not enough_members(level, len(members)):
        return np.full(truth.shape, np.nan)
    low, high = quantiles_of(members, [(1 - level) / 2, (1 + level) / 2])
    return np.asarray((low <= truth) & (truth <= high), np.float64)


def histogram(values: np.ndarray) -> np.ndarray:
    """Counts of values in `JSD_BINS` equal bins on [0, 1]; values outside are counted in the end bins."""
    place = np.clip((np.ravel(values) * JSD_BINS).astype(np.int64), 0, JSD_BINS - 1)
    return np.bincount(place, minlength=JSD_BINS).astype(np.float64)


def jensen_shannon(first: np.ndarray, second: np.ndarray) -> float:
    """Divergence (not its root) of two histograms, base 2: 0 for equal ones, 1 for disjoint ones.

    JSD(P, Q) = KL(P | M) / 2 + KL(Q | M) / 2 with M = (P + Q) / 2.
    """
    p, q = first / first.sum(), second / second.sum()
    middle = (p + q) / 2

    def relative_entropy(of: np.ndarray) -> float:
        held = of > 0
        return float((of[held] * np.log2(of[held] / middle[held])).sum())

    return (relative_entropy(p) + relative_entropy(q)) / 2


#: Fields of `ErrorSums` that are whole numbers.
COUNTS = ("windows", "count", "members", "busy_cells", "pairs", "whole_cells")


@dataclass(frozen=True)
class ErrorSums:
    """Sums over the scored values of one or more windows; `a + b` is the sums over both.

    Scaled: truth and members divided by the reference and clipped to [0, 1] (NOTES.md); the point forecast is
    the mean of the unclipped members, then clipped. Physical: the city's unit, nothing clipped. `truth` and
    `forecast` are histograms of scaled values, all members counted. `busy` to `whole_cells` are those of
    `structure.Structure`.
    """

    windows: int
    count: int
    squared: float
    absolute: float
    squared_physical: float
    absolute_physical: float
    crps: float
    crps_plain: float
    closed50: float
    closed90: float
    energy: float
    members: int
    busy: float
    busy_cells: int
    spatial: float
    pairs: int
    autocorrelation: float
    spectrum: float
    whole_cells: int
    pit: np.ndarray
    truth: np.ndarray
    forecast: np.ndarray

    def __add__(self, other: ErrorSums) -> ErrorSums:
        """Both together."""
        return type(self)(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def vector(self) -> np.ndarray:
        """All sums in one float64 vector, so that many can be resampled at once; see `from_vector`."""
        parts = [np.atleast_1d(getattr(self, field.name)) for field in fields(self)]
        return np.concatenate(parts).astype(np.float64)

    @classmethod
    def column(cls, name: str) -> int:
        """Where a number stands in `vector`."""
        return [field.name for field in fields(cls)].index(name)

    @classmethod
    def from_vector(cls, vector: np.ndarray) -> ErrorSums:
        """The sums of such a vector."""
        names = [field.name for field in fields(cls)][:-3]
        ends = np.cumsum([len(names), PIT_BINS, JSD_BINS])
        scalars, pit, truth, forecast = np.split(vector, ends)
        values: dict[str, Any] = dict(zip(names, map(float, scalars), strict=True))
        values |= {name: round(values[name]) for name in COUNTS}
        return cls(**values, pit=pit, truth=truth, forecast=forecast)

    def coverage(self, level: float) -> float:
        """Mean `coverage` of a level that is a multiple of 10 %; NaN where the ensembles are too small."""
        if not enough_members(level, round(self.members / self.windows)):
            return float("nan")
        outside = round(PIT_BINS * (1 - level) / 2)
        return float(self.pit[outside : PIT_BINS - outside].sum()) / self.count

    def scores(self) -> dict[str, float]:
        """The scores by name; NaN for a coverage that the ensemble is too small for, and for no structure at all."""
        n = self.count
        return {
            "rmse": float(np.sqrt(self.squared / n)),
            "mae": self.absolute / n,
            "crps": self.crps / n,
            "crps_plain": self.crps_plain / n,
            "coverage50": self.coverage(0.5),
            "coverage90": self.coverage(0.9),
            "closed50": self.closed50 / n,
            "closed90": self.closed90 / n,
            "rmse_physical": float(np.sqrt(self.squared_physical / n)),
            "mae_physical": self.absolute_physical / n,
            "energy": self.energy / self.windows,
            "jsd": jensen_shannon(self.truth, self.forecast),
            "busy": _per(self.busy, self.busy_cells),
            "spatial": _per(self.spatial, self.pairs),
            "autocorrelation": _per(self.autocorrelation, self.whole_cells),
            "spectrum": _per(self.spectrum, self.whole_cells),
        }


def _per(total: float, count: int) -> float:
    """A mean, NaN of nothing."""
    return total / count if count else float("nan")


def error_sums(
    members: np.ndarray,
    truth: np.ndarray,
    reference: float,
    antithetic: bool = False,
    structure: Structure | None = None,
    fair: bool = True,
) -> ErrorSums:
    """The sums of one window: finite `members` (N, n), `truth` (n) in the city's unit; `reference` is 1.

    Flat values have no structure; `structure` brings that of the window they were taken from. Members that are
    quantiles and no draws are not to be scored as draws: `fair` False takes CRPS and energy score of the ensemble, and
    looks for the truth between quantiles. The closed intervals are those of sample quantiles, whatever members are.
    """
    members, truth = members.astype(np.float64), truth.astype(np.float64)
    point = members.mean(0)
    physical = point - truth
    ensemble, target = np.clip(members / reference, 0.0, 1.0), np.clip(truth / reference, 0.0, 1.0)
    scaled = np.clip(point / reference, 0.0, 1.0) - target
    return ErrorSums(
        windows=1,
        count=truth.size,
        squared=float((scaled**2).sum()),
        absolute=float(np.abs(scaled).sum()),
        squared_physical=float((physical**2).sum()),
        absolute_physical=float(np.abs(physical).sum()),
        crps=float(crps(ensemble, target, fair, antithetic).sum()),
        crps_plain=float(crps(ensemble, target, fair=False).sum()),
        closed50=float(closed_coverage(ensemble, target, 0.5).sum()),
        closed90=float(closed_coverage(ensemble, target, 0.9).sum()),
        energy=energy_score(ensemble, target, fair, antithetic),
        members=len(members),
        **vars(structure or Structure()),
        pit=pit_histogram(ensemble, target, fair, antithetic),
        truth=histogram(target),
        forecast=histogram(ensemble),
    )


__all__ = [
    "JSD_BINS",
    "ErrorSums",
    "closed_coverage",
    "coverage",
    "crps",
    "energy_score",
    "enough_members",
    "error_sums",
    "histogram",
    "jensen_shannon",
    "pit_histogram",
]
