"""When the steps of a window are, in hours of the week, and which of its days are told as another weekday.

A public holiday is told as a Sunday: what is usual at its hours, of this city and of others, is what is usual on
Sundays. So days off need no training, and the weeks of other cities are not mixed with them.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from fomo.city import City
from fomo.days_off import DaysOff

HOURS_PER_DAY, HOURS_PER_WEEK = 24, 7 * 24
#: Weekdays from this one on, counted from Monday as 0, are the weekend.
WEEKEND = 5
#: Days off are looked at this many days before and after a window.
FARTHEST_DAYS = 450
#: Midnight, counted in steps of ten minutes, may come out less than so many days before it.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Clock:
    """The steps of a window, counted from 0; steps before it have numbers below 0.

    `start_hour`: hours since a Monday 00:00, local time, of step 0. `told`: days, counted from that Monday, with the
    weekday that each is told as; all others are what they are.
    """

    start_hour: float
    step_hours: float
    told: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, window: City) -> Clock:
        """That of a window, with the days off that its city knows."""
        first = window["time"].values[0]
        start = float(hours_since_monday(first[None])[0])
        monday = first.astype("datetime64[D]").item() - datetime.timedelta(days=int(start // HOURS_PER_DAY))
        far = datetime.timedelta(days=FARTHEST_DAYS)
        days = DaysOff.of(window.attrs).between(monday - far, monday + far).told()
        told = tuple(sorted(((day - monday).days, weekday) for day, weekday in days.items()))
        return cls(start, window.attrs["step_minutes"] / 60, told)

    def steps(self, hours: float) -> int:
        """Steps in so many hours, at least one."""
        return max(1, round(hours / self.step_hours))

    def before(self, steps: int) -> Clock:
        """The clock whose step 0 is so many steps earlier."""
        return replace(self, start_hour=self.start_hour - steps * self.step_hours)

    def hours(self, steps: int) -> Float[np.ndarray, " step"]:
        """Hours since a Monday 00:00 of the first `steps` steps: of the same Monday, but for days told otherwise."""
        hours, day = self._as_they_are(steps)
        return np.asarray(hours + HOURS_PER_DAY * (self._weekdays(day) - day % 7))

    def weekdays(self, steps: int) -> Int[np.ndarray, " step"]:
        """The weekday as which each of the first `steps` steps is told, Monday 0."""
        return self._weekdays(self._as_they_are(steps)[1])

    def weekend(self, steps: int) -> Bool[np.ndarray, " step"]:
        """Which of the first `steps` steps lie on a day off."""
        return np.asarray(self.weekdays(steps) >= WEEKEND)

    def _as_they_are(self, steps: int) -> tuple[Float[np.ndarray, " step"], Int[np.ndarray, " step"]]:
        """Hours and days since that Monday, whatever they are told as."""
        hours = self.start_hour + self.step_hours * np.arange(steps)
        return hours, np.floor(hours / HOURS_PER_DAY + ROUNDING).astype(int)

    def _weekdays(self, day: Int[np.ndarray, " step"]) -> Int[np.ndarray, " step"]:
        weekday = day % 7
        if self.told:
            days, weekdays = self._told
            at = np.searchsorted(days, day).clip(0, len(days) - 1)
            weekday = np.where(days[at] == day, weekdays[at], weekday)
        return np.asarray(weekday)

    @cached_property
    def _told(self) -> tuple[np.ndarray, np.ndarray]:
        days, weekdays = np.array(self.told, int).T
        return days, weekdays


def hours_since_monday(time: np.ndarray) -> np.ndarray:
    """Local wall-clock hours since Monday 00:00, in [0, 168), of datetime64 values."""
    hours = time.astype("datetime64[m]").astype(np.int64) / 60.0
    return np.asarray((hours + 3 * HOURS_PER_DAY) % HOURS_PER_WEEK)  # 1970-01-01 was a Thursday


__all__ = ["HOURS_PER_DAY", "HOURS_PER_WEEK", "WEEKEND", "Clock", "hours_since_monday"]
