"""Rows of a table that are no counts: each is written down with its reason, its line and its text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars

from fomo.city import EARLIEST, LATEST
from fomo.ingest.formats.lines import Origin
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping

_AMOUNTS = polars.col("traffic", "users")
#: A number with commas between its thousands.
THOUSANDS = r"^-?[1-9]\d{0,2}(,\d{3})+(\.\d+)?$"
#: What a row must not be.
CHECKS = {
    "no cell's name": polars.col("cell").is_null() | (polars.col("cell") == ""),
    "no time that can be read": polars.col("begin").is_null(),
    "a time before 1990 or after 2099": ~polars.col("begin").is_between(EARLIEST, LATEST, closed="left"),
    "no granularity period": ~(polars.col("minutes") > 0).fill_null(False),
    "not a number": polars.any_horizontal(_AMOUNTS.is_nan().fill_null(False)),
    "negative or infinite": polars.any_horizontal(((_AMOUNTS < 0) | _AMOUNTS.is_infinite()).fill_null(False)),
}


def checked(
    made: polars.DataFrame, frame: polars.DataFrame, origin: Origin, path: Path, mapping: Mapping, ledger: Ledger
) -> polars.DataFrame:
    """Rows that are counts; the others are written down with their reason, the first that holds.

    `made`: rows of `COUNTS`; `frame`: what they are made of. Raises `IngestError` where the mapping must be wrong.
    """
    if any(made.select(check.any().alias(reason) for reason, check in CHECKS.items()).row(0)):
        masks = made.select(check.alias(reason) for reason, check in CHECKS.items())
        wrong = polars.Series(np.zeros(made.height, bool))
        text = frame if origin.written is None else origin.written()
        for reason in CHECKS:
            fresh = masks[reason] & ~wrong
            if fresh.any():
                if reason == "not a number" and mapping.numbers.decimal == ".":
                    _check_commas(frame, fresh, path, mapping)
                lines = origin.of(fresh)
                where = f"{path.name}, line {lines[0]}" + (f" to {lines[-1]}" if len(lines) > 1 else "")
                ledger.reject_frame(reason, where, text.filter(fresh))
                wrong = wrong | fresh
        made = made.filter(~wrong)
    ledger.taken += made.height
    ledger.note("suspect rows", int(made["suspect"].sum()), str(path))
    return made


def _check_commas(frame: polars.DataFrame, mask: polars.Series, path: Path, mapping: Mapping) -> None:
    """Raises `IngestError` where most numbers are written with a comma, or all large ones with commas at thousands.

    `mask`: rows with a text that is no number.
    """
    for name in mapping.counters:
        if frame.schema.get(name) != polars.String:
            continue
        texts = frame[name].str.strip_chars()
        commas = texts.filter(mask & texts.str.contains(r"^-?\d[\d,]*,\d+(\.\d+)?$").fill_null(False))
        if not len(commas):
            continue
        # A decimal comma has a zero before it, or other than three digits after it, or large numbers have none.
        if commas.str.contains(THOUSANDS).all() and not texts.str.contains(r"^-?\d{4,}(\.\d+)?$").any():
            raise IngestError(
                f"numbers of {path} seem to have commas between thousands ({name} is {commas[0]!r}): write the file "
                'without them; if they are decimal commas, say so in the mapping, [numbers] decimal = ","'
            )
        if mask.mean() > 0.5 and commas.str.contains(r"^-?\d+,\d+$").any():  # type: ignore[operator]
            raise IngestError(
                f'numbers of {path} have a decimal comma: write it into the mapping, [numbers] decimal = ","'
            )


__all__ = ["CHECKS", "checked"]
