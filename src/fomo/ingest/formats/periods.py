"""Times and durations as measurement files write them, to a beginning on the operator's wall clock.

ISO 8601 (TS 32.435, TS 28.532: 2022-04-18T19:15:00+00:00, PT900S) and its compact form in TS 32.401
(20060605041000.0+0200). A period is told by one of its ends and its length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from fomo.ingest.ledger import IngestError, Ledger

#: Reasons for which a period is none, as the ledger counts them.
NO_TIME = "no time that can be read"
NO_LENGTH = "no granularity period"
UNEVEN = "granularity period is no whole number of minutes"
LONG = "granularity period is longer than a day"

_MOMENT = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)[T ]?(\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?"
    r"\s*(?:(Z)|([+-])(\d\d):?(\d\d)?(?::?\d\d)?)?",
    re.ASCII,
)
_DURATION = re.compile(r"P(?:(\d{1,4})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,9}(?:\.\d{1,6})?)S)?)?", re.ASCII)


class NoPeriod(ValueError):
    """`args[0]` is the reason, one of this module's."""


@dataclass(frozen=True)
class Period:
    """`begin`: wall clock without a zone. `instant`: tells periods apart that one wall clock shows twice.

    `second`: whether the clock shows it for the second time, None where the file does not say.
    """

    begin: datetime
    minutes: int
    instant: datetime
    second: bool | None = None


@lru_cache(maxsize=4096)
def moment(text: str) -> datetime:
    """A time, with its offset where it has one. Raises `NoPeriod`."""
    found = _MOMENT.fullmatch(text.strip())
    if not found:
        raise NoPeriod(NO_TIME)
    *parts, fraction, utc, sign, hours, minutes = found.groups()
    year, month, day, hour, minute, second = (int(part or 0) for part in parts)
    late = hour == 24 and not minute and not second  # ISO 8601's end of a day
    try:
        zone = None
        if utc:
            zone = UTC
        elif sign:
            offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
            zone = timezone(offset if sign == "+" else -offset)
        micro = int((fraction or "0")[:6].ljust(6, "0"))
        made = datetime(year, month, day, 0 if late else hour, minute, second, micro, zone)
        return made + timedelta(days=late)
    except (ValueError, OverflowError):
        raise NoPeriod(NO_TIME) from None


@lru_cache(maxsize=4096)
def duration(text: str) -> timedelta:
    """An ISO 8601 duration of days, hours, minutes and seconds, or a number of seconds. Raises `NoPeriod`."""
    text = text.strip()
    if re.fullmatch(r"\d{1,9}", text, re.ASCII):
        return timedelta(seconds=int(text))
    found = _DURATION.fullmatch(text)
    if not found or not any(found.groups()):
        raise NoPeriod(NO_LENGTH)
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


class Clock:
    """The wall clock of one file: that of `zone`, or the one that its times are written in."""

    def __init__(self, path: Path, zone: str, ledger: Ledger) -> None:
        """`zone`: IANA name, or '' to keep times as they are written, all of them with one offset or none."""
        self.path, self.ledger = path, ledger
        self.zone = ZoneInfo(zone) if zone else None
        self._offset: str | None = None

    def period(self, time: datetime, length: timedelta, marks: Literal["begin", "end"]) -> Period:
        """The period that begins or ends at `time`, which has an offset or is on the operator's wall clock.

        Raises `NoPeriod`, and `IngestError` where the file mixes offsets and no zone is given.
        """
        if length <= timedelta(0):
            raise NoPeriod(NO_LENGTH)
        if length % timedelta(minutes=1):
            raise NoPeriod(UNEVEN)
        if length > timedelta(days=1):
            raise NoPeriod(LONG)
        self._check_offset(time)
        before = length if marks == "end" else timedelta(0)
        second = None
        try:
            if self.zone is None:
                begin = time.replace(tzinfo=None) - before
                instant = begin
            else:
                # Lengths are those of real time: across a clock change the wall clock would give another beginning.
                aware = time if time.tzinfo else time.replace(tzinfo=self.zone)
                instant = (aware.astimezone(UTC) - before).replace(tzinfo=None)
                shown = instant.replace(tzinfo=UTC).astimezone(self.zone)
                begin = shown.replace(tzinfo=None, fold=0)
                second = bool(shown.fold) if time.tzinfo else None
        except (ValueError, OverflowError):
            raise NoPeriod(NO_TIME) from None
        return Period(begin, int(length / timedelta(minutes=1)), instant, second)

    def _check_offset(self, time: datetime) -> None:
        if self.zone is not None:
            return
        offset = "no offset" if time.tzinfo is None else time.strftime("%z")
        if self._offset is not None and offset != self._offset:
            raise IngestError(
                f"{self.path}: clocks in mixed zones ({self._offset} and {offset}): set [time] zone in the mapping, "
                'e.g. zone = "Europe/Helsinki"'
            )
        if self._offset is None and time.tzinfo is not None:
            self.ledger.offset_in = self.ledger.offset_in or str(self.path)
        self._offset = offset


__all__ = ["LONG", "NO_LENGTH", "NO_TIME", "UNEVEN", "Clock", "NoPeriod", "Period", "duration", "moment"]
