"""Days that are not what their weekday is: public holidays, and days of a weekend that are worked.

They are known long before, and traffic of a holiday is not that of its weekday. A city says them in two attributes,
lists of ISO dates; `windows.clock` tells a day off as a Sunday and a worked day of a weekend as the working day beside
it. They come from the public holidays of a country, as the library `holidays` has them, or from a table of one's own.
"""

from __future__ import annotations

import csv
import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fomo.city import CityError, validate
from fomo.given import iso_dates

if TYPE_CHECKING:
    from fomo.city import City

#: Attributes of a city, each a list of ISO dates.
DAYS_OFF, DAYS_WORKED = "days_off", "days_worked"
#: Dates are looked up this far beyond the end of a city.
AHEAD_DAYS = 400
#: Told weekdays: Monday is 0.
MONDAY, FRIDAY, SATURDAY, SUNDAY = 0, 4, 5, 6


@dataclass(frozen=True)
class DaysOff:
    """Dates off beside Saturdays and Sundays, and Saturdays or Sundays that are worked. Raises `CityError`."""

    off: tuple[datetime.date, ...] = ()
    worked: tuple[datetime.date, ...] = ()

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> DaysOff:
        """Those of a city's attributes; none where it says none. Raises `CityError` for what is no date."""
        return cls(*(iso_dates(attributes.get(key, ()), key) for key in (DAYS_OFF, DAYS_WORKED)))

    def __post_init__(self) -> None:
        """Check that no day is both, and that only weekends are worked. Raises `CityError`."""
        both = sorted(set(self.off) & set(self.worked))
        if both:
            raise CityError(f"{both[0]} is a day off and a worked day: it can be one of them")
        wrong = [day for day in self.worked if day.weekday() < SATURDAY]
        if wrong:
            raise CityError(f"{wrong[0]} is no Saturday or Sunday: only those are said to be worked")

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.off or self.worked)

    def told(self) -> dict[datetime.date, int]:
        """The weekday, 0 for Monday, as which each of these dates is told."""
        worked = {day: FRIDAY if day.weekday() == SATURDAY else MONDAY for day in self.worked}
        return dict.fromkeys(self.off, SUNDAY) | worked

    def between(self, first: datetime.date, last: datetime.date) -> DaysOff:
        """Those from `first` to `last`, both included."""
        return DaysOff(*(tuple(day for day in days if first <= day <= last) for days in (self.off, self.worked)))

    def in_words(self, window: City) -> str:
        """Those of a window, `2026-12-25, 2026-12-26, 2026-12-27 worked`; nothing where there are none."""
        some = self.between(*_days_of(window))
        told = {day: "" for day in some.off} | dict.fromkeys(some.worked, " worked")
        return ", ".join(f"{day}{how}" for day, how in sorted(told.items()))

    def counted(self, city: City) -> str:
        """How many of a city it knows while it was recorded, and of the time ahead; and of worked weekends."""
        if not self:
            return "none known"
        first, last = _days_of(city)
        ahead = self.between(last + datetime.timedelta(days=1), datetime.date.max)
        worked = f", {len(self.worked)} days of weekends are worked" if self.worked else ""
        return f"{len(self.between(first, last).off)} recorded, {len(ahead.off)} ahead{worked}"

    def attributes(self) -> dict[str, list[str]]:
        """What a city says of them."""
        both = {DAYS_OFF: self.off, DAYS_WORKED: self.worked}
        return {key: [day.isoformat() for day in days] for key, days in both.items()}

    def on(self, city: City) -> City:
        """A copy of a city that says them."""
        return validate(city.assign_attrs(self.attributes()))


@dataclass(frozen=True)
class DaysOffSource:
    """Where days off come from: a country, like `IT` or `DE-BY`, or a table, with what was read of it.

    The table is a CSV with a column `date` and perhaps `day`, `off` (also where it is empty) or `worked`.
    """

    where: str
    table: DaysOff | None = None

    @classmethod
    def of(cls, where: str | Path) -> DaysOffSource:
        """A source that can be asked. Raises `CityError`: the country is not known, the table cannot be read."""
        path = Path(where)
        if path.suffix or path.is_file():
            return cls(path.name, read_days_off(path))
        any_day = datetime.date(2024, 1, 1)
        public_holidays(str(where), any_day, any_day)  # raises where the country is not known
        return cls(str(where).strip().upper())

    @classmethod
    def stored(cls, said: Mapping[str, Any]) -> DaysOffSource:
        """That of `as_stored`."""
        return cls(said["where"], DaysOff.of(said) if DAYS_OFF in said else None)

    def as_stored(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {"where": self.where} | ({} if self.table is None else self.table.attributes())

    def for_time(self, first: datetime.date, last: datetime.date) -> DaysOff:
        """What it says of a city recorded from `first` to `last`, and of `AHEAD_DAYS` after that."""
        last += datetime.timedelta(days=AHEAD_DAYS)
        return self.table.between(first, last) if self.table is not None else public_holidays(self.where, first, last)


def with_days_off(city: City, where: Any) -> City:
    """A copy of a city that knows its days off.

    `where`: a country, like `IT` or `DE-BY`, the path of a table (`DaysOffSource`), or dates, as text like 2026-12-25
    or of Python, numpy or pandas. Raises `CityError` for a country that is not known, a table that cannot be read,
    what is no date, and a city whose dates are not real.
    """
    if city.attrs["calendar"] != "date":
        raise CityError(
            f"only weekday and hour of {city.attrs['name']!r} are real, no dates, so its days off cannot be looked up: "
            "give it its dates, city.assign_coords(time=...), and the attribute calendar='date'"
        )
    source = DaysOffSource.of(where) if isinstance(where, str | Path) else DaysOffSource("dates", _days_off(where))
    return source.for_time(*_days_of(city)).on(city)


def _days_off(dates: Any) -> DaysOff:
    """Dates off, one after the other. Raises `CityError`."""
    if not isinstance(dates, Iterable) or isinstance(dates, bytes | Mapping) or getattr(dates, "ndim", 1) != 1:
        raise CityError(
            f"days off cannot be told from {type(dates).__name__}: give a country, such as 'IT' or 'DE-BY', the path "
            "of a CSV with the column date, or a list of dates like 2026-12-25"
        )
    days = (str(day)[:10] if isinstance(day, datetime.date | np.datetime64) else day for day in dates)  # without hours
    return DaysOff(iso_dates(days, "the list of days off"))


def public_holidays(country: str, first: datetime.date, last: datetime.date) -> DaysOff:
    """Days off of a country, two letters (ISO 3166-1), perhaps with a part of it (ISO 3166-2): `IT`, `DE-BY`.

    With the weekends that are worked in return, and where the weekend is not Saturday and Sunday, those days of every
    week. Raises `CityError` where the country is not known.
    """
    import holidays

    name, _, part = country.strip().upper().partition("-")
    try:
        known = holidays.country_holidays(name, subdiv=part or None, years=range(first.year, last.year + 1))
    except (NotImplementedError, TypeError) as error:
        # The library also finds its own constants by name, PUBLIC and BANK, and cannot call them.
        why = f"Country {name} not available" if isinstance(error, TypeError) else str(error).rstrip(".")
        raise CityError(
            f"no public holidays are known of {country!r} ({why}): give two letters of a country, "
            "IT, or with a part of it, DE-BY; or a CSV with the column date and, for weekends that are worked, day"
        ) from None
    days = (first + datetime.timedelta(days=ahead) for ahead in range((last - first).days + 1))
    off, worked = [], []
    for day in days:
        free, weekend = not known.is_working_day(day), day.weekday() >= SATURDAY
        if day in known or (free and not weekend):
            off.append(day)
        elif weekend and not free:
            worked.append(day)
    return DaysOff(tuple(off), tuple(worked))


def read_days_off(table: Path) -> DaysOff:
    """Days off of a CSV with a column `date` and perhaps `day`: `off`, which is also meant by nothing, or `worked`."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [name.strip().lower() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CityError(f"cannot read days off from {table}: {error}") from None
    if "date" not in columns:
        raise CityError(f"{table} has the columns {', '.join(columns) or 'none'}: days off need a column 'date'")
    found: dict[str, list[str]] = {"off": [], "worked": []}
    for line, row in enumerate(rows, 2):
        kind = (row.get("day") or "off").strip().lower()
        if kind not in found:
            raise CityError(f"{table}, line {line}: the day is {kind!r}; it is 'off' or 'worked'")
        found[kind].append((row["date"] or "").strip())
    return DaysOff(*(iso_dates(found[kind], f"{table}, column date") for kind in ("off", "worked")))


def _days_of(city: City) -> tuple[datetime.date, datetime.date]:
    """The first and the last day of a city."""
    first, last = city["time"].values[[0, -1]].astype("datetime64[D]").tolist()
    return first, last


__all__ = ["DAYS_OFF", "DaysOff", "DaysOffSource", "public_holidays", "read_days_off", "with_days_off"]
