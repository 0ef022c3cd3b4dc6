"""The strangest cells and why they are; `thresholds.py` says what is strange."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from jaxtyping import Float, Num, Shaped

from fomo.city import CityError
from fomo.evaluation.health.dead import dead_cells
from fomo.evaluation.health.finite import median
from fomo.evaluation.health.levels import level_changes
from fomo.evaluation.health.records import Records, in_weekend
from fomo.evaluation.health.survey import Survey, survey_of
from fomo.evaluation.health.thresholds import MISMATCH, MISSING, OUTAGE, RESETS, SUSPECT
from fomo.evaluation.health.upside_down import upside_down

#: Often the effect of another fault: told after the others.
EFFECTS = ("no users", "no traffic")


@dataclass(frozen=True)
class Reason:
    """Why a cell is strange: its kind (`thresholds.py`), the doubt (0 to 1) and words for people."""

    kind: str
    doubt: float
    words: str


@dataclass(frozen=True)
class Strange:
    """A strange cell, by its place among the cells looked at.

    The gravest reason comes first; 'no users' and 'no traffic' after the others, for they are often their effect.
    """

    cell: int
    name: str
    reasons: tuple[Reason, ...]

    @property
    def score(self) -> float:
        """The largest doubt."""
        return max(reason.doubt for reason in self.reasons)


@dataclass(frozen=True)
class Suspicion:
    """One kind of strangeness: the doubt of every cell (0: none), and how to say it of one with a doubt."""

    doubt: Float[np.ndarray, " cell"]
    words: Callable[[int], str]


def strangest(
    values: Float[np.ndarray, "time cell"],
    names: Sequence[str],
    count: int = 10,
    *,
    time: Shaped[np.ndarray, " time"],
    step_minutes: int,
    users: Num[np.ndarray, "time cell"] | None = None,
    state: Num[np.ndarray, "time cell"] | None = None,
    positions: Float[np.ndarray, "cell 2"] | None = None,
) -> tuple[Strange, ...]:
    """The strangest cells, those with the largest doubt first; `thresholds.py` says what is strange.

    `values` are traffic per period, NaN = not recorded; `time` is evenly spaced by `step_minutes`; `state` as in
    `STATES`; `positions` in kilometres (east, north) say who neighbours are: without, all others are.
    Raises `CityError`.
    """
    if values.shape != (len(time), len(names)):
        raise CityError(f"values of {values.shape} are no {len(time)} periods of {len(names)} named cells")
    columns = np.arange(values.shape[1])
    records = Records(values, columns, names, time, step_minutes, "", True, users, state, positions)
    return listed(suspicions(survey_of(records), records), names, count)


def suspicions(survey: Survey, records: Records) -> dict[str, Suspicion]:
    """All kinds by name, in the order of `thresholds.py`."""
    steps = len(records.time)
    enough = survey.count >= records.periods_per_day
    recorded = survey.count / np.maximum(survey.periods, 1)
    recorded /= np.fmax(median(recorded[survey.count > 0]), 1 / steps)
    suspect, resets = (count / np.maximum(survey.periods, 1) for count in (survey.suspect, survey.resets))
    change, change_day, ratio = level_changes(survey.day_mean, in_weekend(records.days))
    against, against_words = upside_down(survey.median)
    outage = (survey.stuck["value"] == 0) & (survey.stuck["periods"] >= OUTAGE * survey.count)
    # A cell that has died is zero for long: that is said once.
    varies = enough & (survey.mean > 0) & ~((change > 0) & (survey.stuck["value"] == 0))

    def level_words(cell: int) -> str:
        day = records.days[change_day[cell]]
        if ratio[cell] < 1:
            return f"falls to {ratio[cell]:.1%} of its level on {day}"
        return f"rises from {1 / ratio[cell]:.1%} of its level on {day}"

    return {
        "dead": Suspicion(
            dead_cells(survey, records, enough), lambda cell: "zero all along, while others carry traffic"
        ),
        "died": Suspicion(np.where(ratio < 1, change, 0), level_words),
        "born": Suspicion(np.where(ratio > 1, change, 0), level_words),
        "stuck": Suspicion(
            np.where(varies, survey.stuck["periods"] / np.maximum(survey.count, 1), 0),
            lambda cell: _stuck_words(survey.stuck[cell], records),
        ),
        "spikes": Suspicion(
            np.where(enough, survey.spikes["share"], 0), lambda cell: _spike_words(survey.spikes[cell], records)
        ),
        "upside down": Suspicion(
            np.where(enough & (change == 0) & ~outage, against, 0), lambda cell: against_words[cell]
        ),
        "missing": Suspicion(
            np.where((recorded < MISSING) & (survey.periods > 0), 1 - recorded, 0),
            lambda cell: (
                f"recorded in {survey.count[cell]} of {survey.periods[cell]} periods, "
                f"{survey.count[cell] / survey.periods[cell]:.1%}"
            ),
        ),
        "resets": Suspicion(
            np.where(survey.resets >= RESETS, resets, 0), lambda cell: f"{survey.resets[cell]} counter resets"
        ),
        "suspect": Suspicion(
            np.where(suspect >= SUSPECT, suspect, 0),
            lambda cell: f"{suspect[cell]:.0%} of its periods are called suspect by the files",
        ),
        "no users": Suspicion(
            _mismatch(survey.without_users),
            lambda cell: f"{survey.without_users[cell]:.0%} of its traffic comes without users",
        ),
        "no traffic": Suspicion(
            _mismatch(survey.without_traffic),
            lambda cell: f"{survey.without_traffic[cell]:.0%} of its users are there without traffic",
        ),
    }


def listed(kinds: dict[str, Suspicion], names: Sequence[str], count: int) -> tuple[Strange, ...]:
    """The `count` cells with the largest doubt; among equals those with more reasons, then the first ones."""
    doubts = np.stack([suspicion.doubt for suspicion in kinds.values()])
    score = doubts.max(0)
    chosen = np.lexsort((-(doubts > 0).sum(0), -score))[:count]
    found = []
    for cell in chosen[score[chosen] > 0].tolist():
        reasons = [
            Reason(kind, float(suspicion.doubt[cell]), suspicion.words(cell))
            for kind, suspicion in kinds.items()
            if suspicion.doubt[cell]
        ]
        reasons.sort(key=lambda reason: (reason.kind in EFFECTS, -reason.doubt))
        found.append(Strange(cell, str(names[cell]), tuple(reasons)))
    return tuple(found)


def _mismatch(share: Float[np.ndarray, " cell"]) -> Float[np.ndarray, " cell"]:
    """What is over the median cell's share; 0 where it is little or unknown."""
    excess = share - median(share)
    return np.where(excess >= MISMATCH, excess, 0)


def _stuck_words(stuck: np.void, records: Records) -> str:
    periods, longest, begin, value = stuck.item()  # as in `STUCK`
    until = " until the end" if begin + longest == len(records.time) else ""
    more = "" if periods == longest else f"; {_hours(records, periods)} in all"
    return f"{value:.4g} for {_hours(records, longest)} from {_moment(records, begin)}{until}{more}"


def _spike_words(spike: np.void, records: Records) -> str:
    _, number, factor, period, value = spike.item()  # as in `SPIKES`
    usual = f"{factor:,.0f} times its usual of that hour" if isfinite(factor) else "usually 0"
    more = f"; {number} such periods" if number > 1 else ""
    return f"{value:.4g} at {_moment(records, period)}, {usual}{more}"


def _hours(records: Records, periods: int) -> str:
    return f"{periods * records.step_minutes / 60:.3g} h"


def _moment(records: Records, period: int) -> str:
    return np.datetime_as_string(records.time[period], unit="m").replace("T", " ")


__all__ = ["Reason", "Strange", "Suspicion", "listed", "strangest", "suspicions"]
