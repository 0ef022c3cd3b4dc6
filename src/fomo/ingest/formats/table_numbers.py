"""How numbers are written in tables: with a point or a comma, and what stands for nothing."""

from __future__ import annotations

from math import isfinite

import polars

from fomo.ingest.mapping import Mapping, NumberConfig

COMMA_NUMBER = r"^[+-]?(\d+|\d{1,3}(\.\d{3})+)?(,\d*)?([eE][+-]?\d+)?$"


def numbers_of(mapping: Mapping) -> frozenset[str]:
    """Columns of a text that may be parsed as numbers at once."""
    return mapping.counters if mapping.numbers.decimal == "." else frozenset()


def number(frame: polars.DataFrame, name: str, numbers: NumberConfig) -> polars.Expr:
    """A column as numbers; NaN where the text is none, null where it stands for nothing."""
    column, codes = polars.col(name), _codes(numbers)
    if frame.schema[name] != polars.String:
        plain = column.cast(polars.Float64).fill_nan(None)
        return plain if not codes else polars.when(plain.is_in(codes)).then(None).otherwise(plain)
    text = column.str.strip_chars()
    # In any case, and a number that stands for nothing however it is written: as where the column is of numbers.
    missing = text.is_null() | text.str.to_lowercase().is_in([each.lower() for each in numbers.missing])
    if numbers.decimal == ",":
        plain_text = text.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
        # A point is taken out of 1.234,5 but 1.5 must not become 15.
        plain_text = polars.when(text.str.contains(COMMA_NUMBER)).then(plain_text)
    else:
        plain_text = text
    found = plain_text.cast(polars.Float64, strict=False)
    missing = missing | found.is_nan().fill_null(False)
    if codes:
        missing = missing | found.is_in(codes).fill_null(False)
    return polars.when(missing).then(None).otherwise(found.fill_null(float("nan")))


def _codes(numbers: NumberConfig) -> list[float]:
    """Numbers that stand for nothing: -1 and the like."""
    found = list[float]()
    for text in numbers.missing:
        try:
            code = float(text)
        except ValueError:
            continue
        found += [code] if isfinite(code) else []
    return found


__all__ = ["number", "numbers_of"]
