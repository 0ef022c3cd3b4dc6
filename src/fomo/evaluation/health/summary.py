"""The health of a city's records in numbers: coverage, gaps, the day, the busiest and the strangest cells."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from fomo.city import City
from fomo.evaluation.health.finite import median
from fomo.evaluation.health.records import STATES, Records, in_weekend, records_of
from fomo.evaluation.health.strange import Strange, listed, suspicions
from fomo.evaluation.health.survey import survey_of
from fomo.evaluation.health.thresholds import COMPLETE

#: Kinds of gaps that are listed; all are counted.
MOST_GAPS = 100
#: Cells: a share of the usual number of cells is not taken for less than itself.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Gap:
    """Periods without records, from `begin` on, in `cells` cells at once; `first` is the name of the first of these."""

    begin: np.datetime64
    periods: int
    cells: int
    first: str


@dataclass(frozen=True)
class Busy:
    """A busy cell: `amount` is its median traffic per period in the busy hour, `hour` begins its own busiest hour."""

    cell: int
    name: str
    amount: float
    hour: int


@dataclass(frozen=True)
class Profile:
    """The total of all cells per period, by hour of day: mean and quartiles; NaN where no period is complete."""

    mean: Float[np.ndarray, " hour"]
    quartiles: Float[np.ndarray, "3 hour"]


@dataclass(frozen=True)
class Health:
    """What `health_of` finds. Shares are of the values of the cells that are recorded at least once.

    Where days in service are said, they are of the values in service; NaN where nothing is.
    """

    records: Records
    never: int  # cells that are never recorded
    recorded: float  # share of all values, 0 to 1
    by_period: Float[np.ndarray, " time"]
    by_day: Float[np.ndarray, " day"]
    by_hour: Float[np.ndarray, " hour"]
    by_day_hour: Float[np.ndarray, "day hour"]  # NaN outside the time axis
    by_cell_day: Float[np.ndarray, "cell day"]
    days_complete: int  # whole days with every value recorded that is in service
    total: Float[np.ndarray, " time"]  # sum of what is recorded; NaN where nothing is
    complete: Bool[np.ndarray, " time"]  # `COMPLETE` of what is in service is recorded
    mean: Float[np.ndarray, " cell"]
    gaps: tuple[Gap, ...]  # the `MOST_GAPS` with the most values lost, these first
    gap_kinds: int  # all of them: gaps of one beginning and length are one kind
    longest: Gap | None
    weekdays: Profile
    weekends: Profile
    everyday: Profile  # of both
    busy_hour: int | None  # beginning of the hour of the largest median total
    busiest: tuple[Busy, ...]
    states: dict[str, int]  # values by state; empty where nothing is said
    strangest: tuple[Strange, ...]
    strange: dict[str, int] = field(default_factory=dict)  # kind -> all cells of it


def health_of(city: City, cells: xr.Dataset | None = None, count: int = 10) -> Health:
    """Look at a city, or at the operator's `cells` where given; `count` busiest and strangest cells.

    `cells`: traffic, perhaps users and state (time, cell), and the coordinates cell, lon and lat, all along the cells;
    perhaps first_served and last_served, days in service, NaT = no such end.

    Raises `CityError` for cells that are no such dataset.
    """
    records = records_of(city, cells)
    survey = survey_of(records)
    ever = survey.count > 0
    # Of nothing but cells that are never recorded, 0 % is recorded, not nothing expected.
    expected = survey.expected if ever.any() else _in_service(records)
    by_period = _shares(survey.recorded, expected)
    by_day_hour = [_by_day_hour(counts, records) for counts in (survey.recorded, expected)]
    whole = _by_day_hour(np.ones_like(expected), records).sum((1, 2)) == records.periods_per_day
    some = survey.recorded > 0
    usual = COMPLETE * median(by_period[some])
    complete = (expected == 0) | some & (survey.recorded >= usual * expected - ROUNDING)
    # Totals of a much smaller network say nothing of the one that is usual.
    profiled = complete & some & (expected >= COMPLETE * median(expected[some]) - ROUNDING)
    total = np.where(some, survey.total, np.nan)
    day = records.time.astype("datetime64[D]")
    weekend = in_weekend(day)
    hour = ((records.time - day) / np.timedelta64(1, "h")).astype(int) * len(records.hours) // 24
    weekdays, weekends, everyday = (
        _profile(total, hour, profiled & when, len(records.hours))
        for when in (~weekend, weekend, np.ones_like(weekend))
    )
    usual = everyday.quartiles[1]
    busy = int(np.nanargmax(usual)) if np.isfinite(usual).any() else None
    kinds = suspicions(survey, records)
    gaps, longest = _gaps(survey.gaps, records)
    return Health(
        records=records,
        never=int((~ever).sum()),
        recorded=float(survey.recorded.sum() / max(1, expected.sum())),
        by_period=by_period,
        by_day=_shares(*(counts.sum((1, 2)) for counts in by_day_hour)),
        by_hour=_shares(*(counts.sum((0, 2)) for counts in by_day_hour)),
        by_day_hour=_shares(*(counts.sum(2) for counts in by_day_hour)),
        by_cell_day=_shares(survey.day_count, survey.day_periods),
        days_complete=int((whole & (by_day_hour[0] == by_day_hour[1]).all((1, 2))).sum()),
        total=total,
        complete=complete,
        mean=survey.mean,
        gaps=gaps,
        gap_kinds=len(survey.gaps),
        longest=longest,
        weekdays=weekdays,
        weekends=weekends,
        everyday=everyday,
        busy_hour=None if busy is None else int(records.hours[busy]),
        busiest=() if busy is None else _busiest(survey.median, records, busy, count),
        states={} if records.state is None else dict(zip(STATES, survey.states.tolist(), strict=True)),
        strangest=listed(kinds, records.names, count),
        strange={kind: int(cells) for kind, each in kinds.items() if (cells := (each.doubt > 0).sum())},
    )


def _shares(recorded: Int[np.ndarray, "*axes"], expected: Int[np.ndarray, "*axes"]) -> Float[np.ndarray, "*axes"]:
    """Of what is expected; NaN where nothing is."""
    return np.divide(recorded, expected, out=np.full(recorded.shape, np.nan), where=expected > 0)


def _in_service(records: Records) -> Int[np.ndarray, " time"]:
    """How many cells are in service; one at least where nothing is said of it."""
    return np.maximum(records.served(records.columns).sum(0), records.service is None)


def _by_day_hour(counts: Int[np.ndarray, " time"], records: Records) -> Int[np.ndarray, "day hour period"]:
    """Counts by period as those of whole days; 0 outside the time axis."""
    padded = np.zeros(len(records.days) * records.periods_per_day, int)
    padded[records.offset : records.offset + len(counts)] = counts
    return padded.reshape(len(records.days), len(records.hours), -1)


def _gaps(kinds: Int[np.ndarray, "kind 4"], records: Records) -> tuple[tuple[Gap, ...], Gap | None]:
    """The `MOST_GAPS` gravest gaps, and the longest; the first one and in more cells, among equals."""
    begin, periods, cells, first = kinds.T

    def gap(kind: int) -> Gap:
        return Gap(records.time[begin[kind]], int(periods[kind]), int(cells[kind]), str(records.names[first[kind]]))

    gravest = np.lexsort((begin, -periods * cells))[:MOST_GAPS]
    longest = np.lexsort((begin, -cells, -periods))[:1]
    return tuple(map(gap, gravest.tolist())), gap(int(longest[0])) if len(longest) else None


def _profile(
    total: Float[np.ndarray, " time"], hour: Int[np.ndarray, " time"], taken: Bool[np.ndarray, " time"], hours: int
) -> Profile:
    """Of the periods that are taken; `hour` is the number of each one's hour, one of `hours`."""
    average, quartiles = np.full(hours, np.nan), np.full((3, hours), np.nan)
    for number in np.unique(hour[taken]).tolist():  # at most 24
        values = total[taken & (hour == number)]
        average[number], quartiles[:, number] = values.mean(), np.quantile(values, (0.25, 0.5, 0.75))
    return Profile(average, quartiles)


def _busiest(by_hour: Float[np.ndarray, "cell hour"], records: Records, busy: int, count: int) -> tuple[Busy, ...]:
    """The cells that carry most in the busy hour; those that carry nothing in it are not named."""
    amount = np.nan_to_num(by_hour[:, busy], nan=-1)
    chosen = np.argsort(-amount, kind="stable")[:count]
    return tuple(
        Busy(cell, str(records.names[cell]), float(amount[cell]), int(records.hours[np.nanargmax(by_hour[cell])]))
        for cell in chosen[amount[chosen] > 0].tolist()
    )


__all__ = ["MOST_GAPS", "Busy", "Gap", "Health", "Profile", "health_of"]
