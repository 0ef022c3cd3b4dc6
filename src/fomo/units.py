"""Units that name a time, such as GB per 15 min: of sums over periods, and of other periods."""

from __future__ import annotations

import re

#: The unit of amounts that have no scale: 1 is what counts as full in their city, whatever that is.
SHARES = "share of full traffic"
#: What one is of which a unit is, in minutes; a period is of any length.
_MINUTES = {
    **dict.fromkeys(("period", "step"), None),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1 / 60),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), 1),
    **dict.fromkeys(("quarter hour", "quarter of an hour"), 15),
    **dict.fromkeys(("half hour", "half an hour"), 30),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 60),
    **dict.fromkeys(("d", "day", "days"), 24 * 60),
}
#: ' per 15 min', '/h', ' Per Period' and the like in a unit: how many (one where it does not say) of what. The 4 of
#: '1/4 h' is none.
_PER = re.compile(
    r"(?:\s+per\s+|(?<![\d\s])\s*/\s*)(?:(\d+(?:\.\d+)?)[\s-]?)?"
    rf"({'|'.join(sorted(_MINUTES, key=len, reverse=True)).replace(' ', '[ -]')})\b(?:[ -](?:period|interval)\b)?",
    re.IGNORECASE,
)
#: What sums of values of a unit are called, of which nobody knows what time they are of.
_SUMMED = ", summed over {} min"


def total_unit(unit: str, step_minutes: int) -> str:
    """The unit of a sum over periods: 'GB' where values are in 'GB per 15 min' and periods have 15 minutes.

    A rate of another time is no amount, and is told as what it is: 'GB per hour x 15 min'.
    """
    summed = _SUMMED.format(step_minutes)
    if unit.endswith(summed):
        return f"{unit.removesuffix(summed)}, summed"
    found = _per(unit)
    if found is not None and _minutes(found) in (None, step_minutes):
        return unit[: found.start()] + unit[found.end() :]
    return f"{unit} x {step_minutes} min" if _is_ratio(unit) else unit


def unit_per(unit: str, step: int, minutes: int) -> str:
    """The unit of other periods: `GB per 15 min` becomes `GB per 60 min`; one that names no time stays."""
    found = _per(unit)
    if found is None or _minutes(found) != step:
        return unit
    return f"{unit[: found.start()]} per {minutes} min{unit[found.end() :]}"


def unit_of_sums(unit: str, step: int, minutes: int) -> str:
    """The unit of values that are summed to longer periods: as `unit_per` has it, and never that of the parts.

    A sum of rates of another time is no such rate: of `Mbit/s` it is `Mbit/s x 15 min per 60 min`. Where the time is
    not understood, as of `GB per shift`, the unit says that values are sums.
    """
    before = _SUMMED.format(step)
    if unit.endswith(before):
        return unit.removesuffix(before) + _SUMMED.format(minutes)
    found = _per(unit)
    if found is None:
        return unit + _SUMMED.format(minutes) if _is_ratio(unit) else unit
    if _minutes(found) in (None, step):
        return unit_per(unit, step, minutes)
    return f"{total_unit(unit, step)} per {minutes} min"


def _per(unit: str) -> re.Match[str] | None:
    """The last time that a unit is divided by: in `Mbit/s x 15 min per 60 min` that is the period's."""
    return max(_PER.finditer(unit), key=lambda found: found.start(), default=None)


def _is_ratio(unit: str) -> bool:
    return "/" in unit or re.search(r"\sper\s", unit, re.IGNORECASE) is not None


def _minutes(found: re.Match[str]) -> float | None:
    """How long it is of which a unit is; None: of a period, however long."""
    number, word = found.groups()
    one = _MINUTES[word.lower().replace("-", " ")]
    return None if one is None else round(float(number or 1) * one, 6)


__all__ = ["SHARES", "total_unit", "unit_of_sums", "unit_per"]
