"""What the figure of a forecast shows, as numbers: sums of cells over time, means of cells, and which cells.

Records have gaps. Truth and forecast are compared over the same recorded values, and measured values are never counted
as forecast ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Lines:
    """The sum of some cells over time; NaN where there is nothing to draw."""

    asked: np.ndarray  # bool (time): something of it is asked
    seen: np.ndarray  # (time), what was recorded and not asked
    truth: np.ndarray  # (time), at asked steps of which something was recorded
    members: np.ndarray  # (sample, time), at asked steps
    rule: np.ndarray | None  # (time), as `members`

    @classmethod
    def of(
        cls, traffic: np.ndarray, asked: np.ndarray, members: np.ndarray, rule: np.ndarray | None, where: np.ndarray
    ) -> Lines:
        """Those of the cells `where` (y, x), from `traffic`, `asked` and `rule` (time, y, x) and all `members`.

        Where the truth of some is known, truth and forecast are sums over the cells recorded at that step.
        """
        traffic, asked, members = traffic[:, where], asked[:, where], members[:, :, where]
        recorded = np.isfinite(traffic)
        came = (recorded & asked).any(1)
        used = recorded | (asked & ~came[:, None])
        steps = (used & asked).any(1)
        return cls(
            steps,
            _sums(traffic, recorded & ~asked),
            np.where(came, _sums(traffic, recorded), np.nan),
            np.where(steps, _sums(members, used), np.nan),
            None if rule is None else np.where(steps, _sums(rule[:, where], used), np.nan),
        )

    def runs(self) -> list[tuple[int, int]]:
        """First and last step of each stretch of asked steps."""
        edges = np.flatnonzero(np.diff(self.asked, prepend=False, append=False))
        return [(int(first), int(end) - 1) for first, end in edges.reshape(-1, 2)]

    def joined(self, values: np.ndarray) -> np.ndarray:
        """Values (..., time) of asked steps that begin and end with the recorded ones beside them."""
        longer = values.copy()
        for first, last in self.runs():
            for beside in (first - 1, last + 1):
                if 0 <= beside < len(self.seen):
                    longer[..., beside] = self.seen[beside]
        return longer


def alone(values: np.ndarray) -> np.ndarray:
    """The points (time) between which and their neighbours a line has nothing to draw."""
    there = np.pad(np.isfinite(values), 1)
    return np.asarray(there[1:-1] & ~there[:-2] & ~there[2:])


def compared(traffic: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The asked values (time, y, x) to take means over: of each cell the recorded ones, or all where none is."""
    recorded = asked & np.isfinite(traffic)
    return np.asarray(np.where(recorded.any(0), recorded, asked))


def means(values: np.ndarray, which: np.ndarray) -> np.ndarray:
    """The mean of each cell of values (..., time, y, x) over the steps `which` (time, y, x); NaN: no step."""
    count = which.sum(0)
    return np.asarray(np.where(count > 0, values.sum(-3, where=which) / np.maximum(count, 1), np.nan))


def total_area(traffic: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, bool]:
    """The cells (y, x) to sum, and whether all of them have a value at all steps that have any.

    Those are taken where they carry half of the traffic at least: a sum of few, or of idle ones, would not show the
    city.
    """
    recorded = np.isfinite(traffic)
    given = recorded if truth_known(traffic, asked) else recorded | asked
    area = asked.any(0) & given.any(0)
    whole = area & given[given[:, area].any(1)].all(0)
    level = np.nan_to_num(means(traffic, recorded))
    throughout = bool(whole.any() and 2 * level[whole].sum() >= level[area].sum())
    return (whole if throughout else area), throughout


def busiest_and_median(traffic: np.ndarray, asked: np.ndarray, forecast: np.ndarray) -> dict[str, tuple[int, int]]:
    """Name -> (y, x) of two of the cells with traffic while something is asked; none where there is no traffic.

    By the truth, or by the forecast (time, y, x) where the truth is not known or has gaps: means over other hours
    would say nothing of who is busier.
    """
    period, area = asked.any((1, 2)), asked.any(0)
    level, by = forecast[period], ""
    if truth_known(traffic, asked):
        area = area & (asked & np.isfinite(traffic)).any(0)
        whole = np.isfinite(traffic[period][:, area]).all()
        level, by = (traffic[period], "") if whole else (level, " by forecast")
    mean = np.where(area, level.mean(0), 0.0)
    order = [int(i) for i in np.argsort(mean, axis=None) if mean.flat[i] > 0]
    if not order:
        return {}
    middle = min(len(order) // 2, max(len(order) - 2, 0))  # of two cells, the other one
    chosen = {f"Busiest cell{by}": order[-1], f"Median cell{by}": order[middle]}
    return {name: divmod(i, mean.shape[1]) for name, i in chosen.items()}


def truth_known(traffic: np.ndarray, asked: np.ndarray) -> bool:
    """Whether anything of what is asked was recorded."""
    return bool(np.isfinite(traffic[asked]).any())


def _sums(values: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Sums of values (..., time, cell) over the cells that are used at each step; NaN: none is."""
    return np.asarray(np.where(used.any(1), values.sum(-1, where=used), np.nan))


__all__ = ["Lines", "alone", "busiest_and_median", "compared", "means", "total_area", "truth_known"]
