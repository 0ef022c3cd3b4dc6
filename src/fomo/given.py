"""What people give for a city, numbers, arrays and times of any kind, as what a city holds; or why that cannot be."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from numbers import Real
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import DTypeLike

#: Whole years that nanoseconds since 1970 hold; a time beyond comes round to another, of another weekday and minute.
_FIRST_YEAR, _LAST_YEAR = np.datetime64("1678"), np.datetime64("2261")
#: What a time ends with that is not wall clock: Z, +02, +0200 or +02:00.
_OFFSET = re.compile(r"[T ]\d.*([Zz]|[+-]\d\d(:?\d\d)?)$")


class CityError(ValueError):
    """A dataset is not a city. The message names the variable, the place and the remedy."""


def whole_number(value: object, name: str) -> int:
    """A number without a fraction, such as 24, 24.0 or one of numpy, as an int.

    Raises `CityError` for all else, as for 24.5, text, True and None; `name` is what the message calls it.
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return int(value)
    raise CityError(f"{name} is {value!r}: write a whole number, like 24")


def numbers_of(given: Any, axes: tuple[str, ...], told: str, kind: DTypeLike = np.float32) -> np.ndarray:
    """An array in the order of `axes`, float32 or `kind`; NaN, or False, where it is masked. Raises `CityError`."""
    dims = tuple(str(dim) for dim in getattr(given, "dims", ()))
    if not all(re.fullmatch(r"dim_\d+", dim) for dim in dims):
        if sorted(dims) != sorted(axes):
            raise CityError(
                f"{told} has the axes ({', '.join(dims)}); it needs ({', '.join(axes)}): rename them, "
                "or pass .values in that order"
            )
        given = given.transpose(*axes)
    try:
        given = _stacked(given)
        plain = np.asarray(given)
    except (TypeError, ValueError) as error:
        raise CityError(
            f"{told} is no array ({error}): give all its rows one length, with NaN where nothing was recorded"
        ) from None
    text = plain.dtype.kind == "O" and any(isinstance(value, str | bytes) for value in plain.flat)
    try:
        if text or plain.dtype.kind not in "biufO":
            raise TypeError("text" if text or plain.dtype.kind in "SU" else str(plain.dtype))
        numbers = _as_bool(plain) if np.dtype(kind) == bool else np.asarray(plain, dtype=kind)
    except (TypeError, ValueError) as error:
        raise CityError(f"{told} does not hold numbers ({error}): parse it to float32 first") from None
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        numbers = np.where(np.ma.getmaskarray(given), False if numbers.dtype == bool else np.nan, numbers).astype(kind)
    return numbers


def _stacked(given: Any) -> Any:
    """Lists in which there are masked arrays, however deep, as one: numpy forgets masks in lists."""
    if not isinstance(given, list | tuple):
        return given
    parts = [_stacked(part) for part in given]
    return np.ma.stack(parts) if any(isinstance(part, np.ma.MaskedArray) for part in parts) else given


def _as_bool(plain: np.ndarray) -> np.ndarray:
    """Whether numbers are other than 0; NaN, which is not known, is False, though it is True to Python."""
    if plain.dtype.kind in "biu":
        return plain.astype(bool)
    numbers = np.asarray(plain, np.float64)
    return np.asarray(~np.isnan(numbers) & (numbers != 0))


def moments_of(time: Any, name: str, time_zone: str = "") -> np.ndarray:
    """Times that nanoseconds hold, as datetime64 where they are text or Python's; those of a zone in that of the city.

    Raises `CityError`.
    """
    moments = np.asarray(time)
    zoned = any(getattr(getattr(time, "dtype", None), zone, None) is not None for zone in ("tz", "time_zone"))
    if zoned or moments.dtype.kind in "UO":
        try:
            if zoned:
                moments = _with_zone(moments)
            moments = _wall_clock(moments, name, time_zone).astype("datetime64")
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            if isinstance(error, CityError):
                raise
            raise CityError(f"a time of {name!r} cannot be read ({error}): write it like 2024-01-31T23:45") from None
    if moments.dtype.kind != "M":
        raise CityError(f"time of {name!r} holds {moments.dtype}, no dates: parse it to datetime64")
    years = moments.astype("datetime64[Y]")
    lost = (years < _FIRST_YEAR) | (years > _LAST_YEAR)
    if lost.any():
        moment = np.datetime_as_string(moments.reshape(-1)[int(np.argmax(lost))])
        raise CityError(
            f"time of {name!r} reaches {moment}, which no clock of a network shows: write years with four digits, "
            "like 2024-01-31T23:45"
        )
    return moments


def _with_zone(moments: np.ndarray) -> np.ndarray:
    """Times of a series that has a zone, as Python's with a zone: numpy gives them in UTC and without one."""
    some = moments.tolist() if moments.dtype.kind == "O" else moments.astype("datetime64[us]").tolist()
    return np.array([moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC) for moment in some], object)


def _wall_clock(moments: np.ndarray, name: str, time_zone: str) -> np.ndarray:
    """Text and Python's times without zone and offset, brought to the clock of the city where they have one."""

    def told(moment: Any) -> bool:
        found = _OFFSET.search(moment) if isinstance(moment, str) else getattr(moment, "tzinfo", None)
        return found is not None

    aware = [told(moment) for moment in moments.flat]
    if not any(aware):
        return moments
    first = moments.flat[aware.index(True)]
    if not all(aware):
        raise CityError(
            f"time of {name!r} has a zone or an offset in {first}, and none in {moments.flat[aware.index(False)]}: "
            "write all of them on one wall clock"
        )
    if not time_zone:
        raise CityError(
            f"time of {name!r} has a zone or an offset, as in {first}, but a city's time is wall clock: "
            "give time_zone=, like Europe/Rome, to which it is brought, or drop the zone"
        )
    zone = zone_of(time_zone, name)
    exact = (datetime.fromisoformat(moment) if isinstance(moment, str) else moment for moment in moments.flat)
    return np.array([moment.astimezone(zone).replace(tzinfo=None) for moment in exact], object).reshape(moments.shape)


def zone_of(time_zone: object, name: str) -> ZoneInfo:
    """A zone by its IANA name. Raises `CityError`."""
    try:
        return ZoneInfo(time_zone)  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError, OSError):
        raise CityError(f"time_zone {time_zone!r} of {name!r} is unknown: write one like Europe/Rome") from None


def iso_dates(texts: object, where: str) -> tuple[date, ...]:
    """Dates of texts like 2026-12-25, each once and in their order. Raises `CityError`; `where` is who holds them."""
    found = set()
    for text in [texts] if isinstance(texts, str) or not isinstance(texts, Iterable) else texts:
        try:
            found.add(date.fromisoformat(str(text)))
        except ValueError:
            raise CityError(f"{where} holds {str(text)!r}: write dates like 2026-12-25") from None
    return tuple(sorted(found))


def edge_km(edge: object, name: str) -> float:
    """The edge of a cell in kilometres, 0 if unknown. Raises `CityError`."""
    if isinstance(edge, bool) or not (isinstance(edge, Real) and 0 <= float(edge) < np.inf):
        raise CityError(f"city {name!r} has cell_km {edge!r}: it is the edge of a cell in kilometres, 0 if unknown")
    return float(edge)


__all__ = ["CityError", "edge_km", "iso_dates", "moments_of", "numbers_of", "whole_number", "zone_of"]
