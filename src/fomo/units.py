"""Units that name a time, such as GB per 15 min: of sums over periods, and of other periods."""

from __future__ import annotations

import re

#: ' per 15 min', ' per period' and the like in a unit: how many (one where it does not say) of what.
_PER = re.compile(r" per (?:(\d+) ?)?(period|step|min|minutes?|h|hours?|days?)\b")
_MINUTES = {"m": 1, "h": 60, "d": 24 * 60}


def total_unit(unit: str, step_minutes: int) -> str:
    """The unit of a sum over periods: 'GB' where values are in 'GB per 15 min' and periods have 15 minutes.

    A rate of another time is no amount, and is told as what it is: 'GB per hour x 15 min'.
    """
    found = _PER.search(unit)
    if found is not None and _minutes(found) in (None, step_minutes):
        return unit[: found.start()] + unit[found.end() :]
    return f"{unit} x {step_minutes} min" if " per " in unit or "/" in unit else unit


def unit_per(unit: str, step: int, minutes: int) -> str:
    """The unit of other periods: `GB per 15 min` becomes `GB per 60 min`; one that names no time stays."""
    found = _PER.search(unit)
    if found is None or _minutes(found) != step:
        return unit
    return f"{unit[: found.start()]} per {minutes} min{unit[found.end() :]}"


def _minutes(found: re.Match[str]) -> int | None:
    """How long it is of which a unit is; None: of a period, however long."""
    number, word = found.groups()
    return None if word in ("period", "step") else int(number or 1) * _MINUTES[word[0]]


__all__ = ["total_unit", "unit_per"]
