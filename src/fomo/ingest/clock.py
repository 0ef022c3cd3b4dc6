"""Clocks: how times are written in tables, and days on which clocks change, with hours shown twice or never."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal, cast
from zoneinfo import ZoneInfo

import numpy as np
import polars
from jaxtyping import Bool

from fomo.city import EARLIEST, LATEST, MINUTES_PER_DAY

_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y")
_HOURS = (" %H:%M:%S", "T%H:%M:%S", " %H:%M", "T%H:%M", " %H:%M:%S%.f", "T%H:%M:%S%.f")
#: Times as they are written; the first values of a column choose. `%#z` stands for an offset or Z.
TIME_FORMATS = (
    *(date + hour for date in _DATES for hour in _HOURS),
    *("%Y-%m-%d" + hour + "%#z" for hour in _HOURS),
    *("%Y%m%d%H%M", "%Y%m%d%H%M%S", "%Y%m%d", *_DATES),
)
#: Whole numbers by their count of digits: this century's, so that 202403010015 is no count of milliseconds.
NUMBER_FORMATS = {
    8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S", 10: "epoch s", 13: "epoch ms", 16: "epoch us", 19: "epoch ns",
}  # fmt: skip
#: ISO 8601's end of a day.
_END_OF_DAY = r"^(.*\d[ T])24:00"
_SAMPLE = 1000
#: A clock that changes does not change back within so many days.
_CHANGES_APART = 20


class UnknownTimes(ValueError):
    """Times that are not told apart; the message says what to do."""


def format_of(column: polars.Series) -> str:
    """How most times of a column of text or whole numbers are written, '' where it holds none.

    One of `TIME_FORMATS`, or 'epoch ' and a unit. Raises `UnknownTimes`: none fits, or day and month may be swapped.
    """
    some = column.drop_nulls().cast(polars.String).str.strip_chars()
    some = some.filter(some != "")
    some = some.gather_every(max(1, len(some) // _SAMPLE))
    if not len(some):
        return ""
    digits = some.filter(some.str.contains(r"^\d+$"))
    if 2 * len(digits) > len(some):
        length = int(digits.str.len_chars().mode().sort()[0])
        if length not in NUMBER_FORMATS:
            raise UnknownTimes(f"begins with {some[0]!r}, no time that is known")
        return NUMBER_FORMATS[length]
    some = some.str.replace(_END_OF_DAY, "${1}00:00")
    counts = dict[str, int]()
    for form in TIME_FORMATS:
        counts[form] = _read(some, form)
        if counts[form] == len(some):  # none can read more, and the first of equals counts
            break
    best = max(counts, key=lambda form: counts[form])
    if not counts[best]:
        raise UnknownTimes(f"begins with {some[0]!r}, no time that is known")
    swapped = best.replace("%m/%d", "%d/%m")
    if swapped != best and _read(some, swapped) == counts[best]:
        raise UnknownTimes(f"begins with {some[0]!r}, of which nobody knows whether the day or the month comes first")
    return best


def _read(some: polars.Series, form: str) -> int:
    parsed = polars.select(_parsed(polars.lit(some), form)).to_series().dt.replace_time_zone(None)
    return int(parsed.is_between(EARLIEST, LATEST, closed="left").sum())


def is_instant(form: str) -> bool:
    """Whether times of a format are of one instant everywhere: with an offset, or since 1970."""
    return form.startswith("epoch") or "%z" in form or "%#z" in form or "%:z" in form


def time_of(column: polars.Expr, form: str) -> polars.Expr:
    """Text, or whole numbers, as times in microseconds, in UTC where they are instants; null where it is none."""
    if not form:
        return polars.lit(None, polars.Datetime("us"))
    if form.startswith("epoch"):
        unit = cast(Literal["s", "ms", "us", "ns"], form.removeprefix("epoch "))
        whole = column.cast(polars.Int64, strict=False)
        return polars.from_epoch(whole, unit).cast(polars.Datetime("us")).dt.replace_time_zone("UTC")
    return _parsed(column.cast(polars.String), form)


def time_of_any(column: polars.Expr, form: str) -> polars.Expr:
    """The same, slower, where 24:00 ends a day."""
    if not form or form.startswith("epoch"):
        return time_of(column, form)
    text = column.cast(polars.String).str.strip_chars()
    ends = text.str.contains(_END_OF_DAY).fill_null(False)
    days = polars.when(ends).then(polars.duration(days=1)).otherwise(polars.duration(days=0))
    return _parsed(text.str.replace(_END_OF_DAY, "${1}00:00"), form) + days


def _parsed(text: polars.Expr, form: str) -> polars.Expr:
    zone = "UTC" if is_instant(form) else None
    return text.str.to_datetime(form, strict=False, time_unit="us", time_zone=zone)


def usual_gap(times: polars.Series) -> int:
    """Minutes between neighbouring times, most often (the least of several); 0 where there are not two."""
    gaps = times.drop_nulls().unique().sort().diff().drop_nulls().dt.total_minutes()
    gaps = gaps.filter(gaps > 0)
    return int(gaps.mode().sort()[0]) if len(gaps) else 0


def on_the_wall(instants: polars.Series, zone: str) -> tuple[polars.Series, polars.Series]:
    """Instants in UTC on the wall clock of a zone, and whether it shows them for the second time."""
    wall = instants.dt.convert_time_zone(zone).dt.replace_time_zone(None)
    if is_steady(wall, zone):
        return wall, polars.repeat(False, len(wall), dtype=polars.Boolean, eager=True)
    return wall, instants_of(wall, zone) != instants


def instants_of(wall: polars.Series, zone: str, later: bool = False) -> polars.Series:
    """Times of a zone's wall clock in UTC, the earlier or the later of two; null for one that it never shows."""
    exact = wall.dt.replace_time_zone(zone, ambiguous="latest" if later else "earliest", non_existent="null")
    return exact.dt.convert_time_zone("UTC")


def is_steady(wall: polars.Series, zone: str) -> bool:
    """Whether a zone's clock surely does not change around any of these times; those before 1990 do not count."""
    sound = wall.filter(wall.is_between(EARLIEST, LATEST, closed="left"))
    first, last = sound.min(), sound.max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        return True
    around = timedelta(days=2)  # a period, and what clocks are away from UTC
    if last - first > timedelta(days=_CHANGES_APART) - 2 * around:
        return False
    before, after = (
        moment.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).utcoffset() for moment in (first - around, last + around)
    )
    return before == after


@lru_cache(maxsize=4096)
def clock_changes(
    day: np.datetime64, zone: str, minutes: int
) -> tuple[Bool[np.ndarray, " period"], Bool[np.ndarray, " period"]]:
    """Periods of a local day that come twice, and periods that do not come at all; none of either without a zone.

    A period counts by its beginning. PEP 495: of a repeated time the two folds differ in their offset, and of a skipped
    one, too, the other way round.
    """
    periods = MINUTES_PER_DAY // minutes
    twice, never = np.zeros(periods, bool), np.zeros(periods, bool)
    if not zone:
        return twice, never
    info = ZoneInfo(zone)
    first: datetime = day.astype("datetime64[us]").astype(datetime)
    for period in range(periods):
        begin = first + timedelta(minutes=period * minutes)
        early, late = (begin.replace(tzinfo=info, fold=fold).utcoffset() for fold in (0, 1))
        assert early is not None and late is not None
        twice[period], never[period] = early > late, early < late
    return twice, never


__all__ = [
    "UnknownTimes", "clock_changes", "format_of", "instants_of", "is_instant", "is_steady", "on_the_wall", "time_of",
    "time_of_any", "usual_gap",
]  # fmt: skip
