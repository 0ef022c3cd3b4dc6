"""Pseudo dates where a release tells weekday and time of day, but no date: weekday 0 is Monday 2024-01-01."""

from __future__ import annotations

import numpy as np

from fomo.city import MINUTES_PER_DAY, CityError

MONDAY = np.datetime64("2024-01-01T00:00", "m")
MINUTES_PER_WEEK = 7 * MINUTES_PER_DAY


def minute_of_week(
    weekday: np.ndarray | np.integer, slot: np.ndarray | np.integer, step_minutes: int, where: str
) -> np.ndarray:
    """Minutes since Monday 00:00 for weekdays 0..6 and slots of the day, any shape. Raises `CityError`."""
    if step_minutes <= 0 or MINUTES_PER_DAY % step_minutes:
        raise CityError(f"step_minutes of {where} is {step_minutes}, which does not divide a day: correct it")
    weekday, slot = np.asarray(weekday, np.int64), np.asarray(slot, np.int64)
    slots = MINUTES_PER_DAY // step_minutes
    wrong = (weekday < 0) | (weekday > 6) | (slot < 0) | (slot >= slots)
    if wrong.any():
        at = int(np.argmax(wrong.reshape(-1)))
        raise CityError(
            f"{where}: weekday {weekday.reshape(-1)[at]}, slot {slot.reshape(-1)[at]} at row {at} "
            f"is no time: weekdays are 0 to 6 and slots 0 to {slots - 1} at {step_minutes} minutes"
        )
    return np.asarray(weekday * MINUTES_PER_DAY + slot * step_minutes)


def pseudo_date(minute: int | np.integer) -> np.datetime64:
    """The pseudo date of a minute of the week."""
    return MONDAY + np.timedelta64(int(minute), "m")


def recorded_steps(traffic: np.ndarray) -> int:
    """How many steps of (time, y, x) remain when the empty end is cut; all where nothing is recorded."""
    recorded = np.flatnonzero(np.isfinite(traffic).reshape(len(traffic), -1).any(1))
    return int(recorded[-1]) + 1 if recorded.size else len(traffic)
