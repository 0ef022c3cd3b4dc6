"""The careful way from text to fields: line by line, for fields in quotes and lines that are no rows."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from fomo.ingest.formats.text_blocks import LINES_OF_A_ROW


def records(block: bytes, separator: str, width: int) -> Iterator[tuple[int, list[str]]]:
    """Fields of each row, quotes taken off, and its line from 0; a field in quotes may run over some lines.

    A quote that never closes takes nothing with it beyond its line.
    """
    lines = block.decode("utf-8", errors="replace").removesuffix("\n").split("\n")
    at_once = _at_once(lines, separator)
    if at_once is not None:
        yield from enumerate(at_once)
        return
    at = 0
    while at < len(lines):
        fields, taken = fields_of(lines[at].rstrip("\r"), separator), 1
        if is_open(lines[at]):
            for more in range(2, min(LINES_OF_A_ROW, len(lines) - at) + 1):
                row = "\n".join(lines[at : at + more])
                if not is_open(row):
                    longer = fields_of(row.rstrip("\r"), separator)
                    if len(longer) == width:
                        fields, taken = longer, more
                    break
        yield at, fields
        at += taken


def _at_once(lines: list[str], separator: str) -> list[list[str]] | None:
    """The same where every line is a row of its own, at the speed of C; None where one is not.

    A reader of all lines goes on to the next where a quote is open: as many rows as lines prove that none did.
    """
    if any(map(is_open, lines)):
        return None
    try:
        rows = list(csv.reader((line.rstrip("\r") for line in lines), delimiter=separator, strict=False))
    except csv.Error:
        return None
    return rows if len(rows) == len(lines) else None


def is_open(text: str) -> bool:
    """Whether a quote is not closed."""
    return text.count('"') % 2 == 1


def fields_of(line: str, separator: str) -> list[str]:
    """Fields of one line."""
    try:
        return next(csv.reader([line], delimiter=separator, strict=False), [])
    except csv.Error:
        return [line, "a field without an end"]


__all__ = ["fields_of", "is_open", "records"]
