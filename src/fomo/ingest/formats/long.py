"""What measurement files share: values of objects in, `COUNTS` out.

An object (a `measValue`, a managed object) reports some counters of one cell and period. Others of the same cell and
period follow, in another group of counters or under another class of object, so rows are merged by (cell, period) when
the buffer is emptied. That is at the end of the file where it is small, else at the end of a managed element: memory
grows with the largest managed element, not with the file. Only counters of the mapping are kept.

Rules, none of which makes a number out of nothing:
    '', NIL, NULL, NaN and `[numbers] missing` are null, and so is a sum of which one counter is null or not there
    0 / 0 and x / 0 of `over` are null
    a vector '1,2,3' is no number: null and noted, unless the mapping names its elements, NAME[0], NAME[1] ...
    a counter that one file gives twice and differently: the first holds, the row is suspect and noted
    an object with a text that is neither missing nor a number, or a negative or infinite one, is rejected

Of the objects that are read, each is taken, merged into one that is taken or rejected, rejected, or noted as one that
has no counter of the mapping.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Sequence
from pathlib import Path

import polars

from fomo.ingest.counts import BATCH, COUNTS, empty_counts
from fomo.ingest.formats.periods import Period
from fomo.ingest.ledger import Ledger
from fomo.ingest.mapping import Mapping, Quantity

#: Objects in the buffer after which it is emptied at the end of a managed element.
BUFFER = BATCH // 4

#: What the ledger notes.
MERGED = "merged with another object of the same cell and period"
UNUSED = "objects without a counter of the mapping"
VECTOR = "vectors, which are no numbers: name elements of them, NAME[0]"
TWICE = "rows with a counter given twice and differently: the first holds, the row is suspect"
SUSPECT = "suspect rows"

#: Missing in the standards, whatever the mapping says (TS 32.435 5.2: NIL; NULL and NaN of makers).
_MISSING = ("", "nil", "null", "nan")


class LongRows:
    """The buffer of one file's objects."""

    def __init__(self, path: Path, mapping: Mapping, ledger: Ledger) -> None:
        """`ledger` counts what is taken, too."""
        self.path, self.mapping, self.ledger = path, mapping, ledger
        self.names = sorted(mapping.counters)
        self._columns: dict[str, list[tuple[int, int | None]]] = {}  # counter -> columns, each with element or all
        for column, name in enumerate(self.names):
            self._columns.setdefault(name, []).append((column, None))
            element = re.fullmatch(r"(.+)\[(\d{1,6})\]", name)
            if element:
                self._columns.setdefault(element[1], []).append((column, int(element[2])))
        self._missing = sorted({*_MISSING, *(text.strip().casefold() for text in mapping.numbers.missing)})
        self._rows: list[tuple[object, ...]] = []

    def wants(self, counter: str) -> bool:
        """Whether the mapping has a use for it."""
        return counter in self._columns

    def full(self, unit: int) -> bool:
        """Whether to empty the buffer at the end of a managed element (1), a group of counters (2), an object (3)."""
        return len(self._rows) >= BUFFER * unit

    def add(self, name: str, period: Period, suspect: bool, values: Sequence[tuple[str, str]]) -> None:
        """An object's counters and their texts; those that are not wanted are passed over."""
        texts: list[str | None] = [None] * len(self.names)
        twice = False
        for counter, whole in values:
            for column, element in self._columns.get(counter, ()):
                text = (whole if element is None else _element(whole, element)).strip()
                known = texts[column]
                if not known or known.casefold() in self._missing:
                    texts[column] = text
                elif text != known and text.casefold() not in self._missing:
                    twice = True
        self._rows.append((name, period.begin, period.instant, period.minutes, period.second, suspect, twice, *texts))

    def reject(self, reason: str, line: int | None, name: str, values: Sequence[tuple[str, str]]) -> None:
        """An object that has counters of the mapping and cannot be a row."""
        where = f"{self.path}, line {line}" if line else str(self.path)
        shown = " ".join(f"{counter}={text.strip()}" for counter, text in values if self.wants(counter))
        self.ledger.reject(reason, where, [f"{name} {shown}"])

    def pass_over(self, objects: int) -> None:
        """Objects without any counter of the mapping."""
        self.ledger.note(UNUSED, objects, str(self.path))

    def empty(self) -> polars.DataFrame:
        """All rows of the buffer as `COUNTS`, in the order of their first objects; the buffer is empty then."""
        if not self._rows:
            return empty_counts()
        kinds: dict[str, polars.DataType] = {
            **{"cell": polars.String(), "begin": polars.Datetime("us"), "instant": polars.Datetime("us")},
            **{"minutes": polars.Int32(), "second": polars.Boolean()},
            **{"suspect": polars.Boolean(), "twice": polars.Boolean()},
            **{f"c{column}": polars.String() for column in range(len(self.names))},
        }
        frame = self._named(polars.DataFrame(self._rows, kinds, orient="row"))
        self._rows = []
        return self._counts(self._merged(self._numbers(frame)))

    def _named(self, frame: polars.DataFrame) -> polars.DataFrame:
        """Objects' names to cells' names; those that the pattern does not match are rejected."""
        pattern = self.mapping.cell.pattern
        if pattern:
            # Python's `re`, in which the mapping was checked: polars' has no look-around.
            finder = re.compile(pattern)
            objects = frame["cell"].unique()
            found = [finder.search(name) for name in objects]
            names = polars.Series([match[1] if match else None for match in found], dtype=polars.String)
            cell = frame["cell"].replace_strict(objects, names, return_dtype=polars.String)
            lost = frame.filter(cell.is_null()).drop("instant", "second", "suspect", "twice")
            self.ledger.reject_frame("no match of cell.pattern", str(self.path), lost)
            frame = frame.with_columns(cell.alias("cell")).filter(cell.is_not_null())
        nameless = frame["cell"].str.strip_chars() == ""
        lost = frame.filter(nameless).drop("instant", "second", "suspect", "twice")
        self.ledger.reject_frame("no cell's name", str(self.path), lost)
        return frame.filter(~nameless)

    def _numbers(self, frame: polars.DataFrame) -> polars.DataFrame:
        """Texts to numbers or null; objects with a text that is neither are rejected, as are impossible numbers."""
        columns = [f"c{column}" for column in range(len(self.names))]
        text = polars.col(columns).str.strip_chars()
        vector = text.str.contains(",", literal=True)
        self.ledger.note(VECTOR, sum(frame.select(vector.sum()).row(0)), str(self.path))
        none = text.is_null() | text.str.to_lowercase().is_in(self._missing) | vector
        number = frame.select(polars.when(~none).then(text.cast(polars.Float64, strict=False).fill_null(float("nan"))))
        values = polars.all()
        faults = number.select(
            polars.any_horizontal(values.is_nan().fill_null(False)).alias("not a number"),
            polars.any_horizontal(((values < 0) | values.is_infinite()).fill_null(False)).alias("negative or infinite"),
        )
        shown = frame.select("cell", "begin", "minutes", *columns)
        rest = polars.repeat(True, frame.height, eager=True)
        for fault in faults:
            self.ledger.reject_frame(fault.name, str(self.path), shown.filter(rest & fault))
            rest &= ~fault
        return frame.with_columns(number).filter(rest)

    def _merged(self, frame: polars.DataFrame) -> polars.DataFrame:
        """One row for a cell and period, of the objects that have part of it."""
        columns = [f"c{column}" for column in range(len(self.names))]
        values = [polars.col(column).drop_nulls() for column in columns]
        differ = [value.n_unique() > 1 for value in values]
        merged = frame.group_by("cell", "instant", "minutes", maintain_order=True).agg(
            polars.col("begin", "second").first(),
            polars.col("suspect").any(),
            polars.any_horizontal(polars.col("twice").any(), *differ).alias("twice"),
            *(value.first() for value in values),
        )
        self.ledger.note(MERGED, frame.height - merged.height, str(self.path))
        return merged

    def _counts(self, frame: polars.DataFrame) -> polars.DataFrame:
        made = frame.with_columns(
            self._quantity(self.mapping.traffic).alias("traffic"),
            self._quantity(self.mapping.users).alias("users"),
            (polars.col("suspect") | polars.col("twice")).alias("suspect"),
        )
        # Only factors can make these of numbers that are none of it: negative ones, or very large ones.
        amounts = polars.col("traffic", "users")
        wrong = polars.any_horizontal(((amounts < 0) | ~amounts.is_finite()).fill_null(False))
        shown = polars.col("cell", "begin", "minutes", "traffic", "users")
        self.ledger.reject_frame("negative or infinite", str(self.path), made.filter(wrong).select(shown))
        kept = made.filter(~wrong)
        self.ledger.note(TWICE, int(kept["twice"].sum()), str(self.path))
        self.ledger.note(SUSPECT, int(kept["suspect"].sum()), str(self.path))
        self.ledger.taken += kept.height
        return kept.select(polars.col(name).cast(kind) for name, kind in COUNTS.items())

    def _quantity(self, quantity: Quantity) -> polars.Expr:
        """The sum of its counters over that of others; null where a counter is null, or the divisor not positive."""
        if not quantity.counters:
            return polars.lit(None, polars.Float64)
        above = self._sum(quantity.counters)
        if not quantity.over:
            return above
        below = self._sum(quantity.over)
        return polars.when(below > 0).then(above / below)

    def _sum(self, factors: dict[str, float]) -> polars.Expr:
        terms = (polars.col(f"c{self.names.index(name)}") * factor for name, factor in factors.items())
        return functools.reduce(operator.add, terms)


def _element(text: str, number: int) -> str:
    """An element of a vector '1,2,3', counted from 0; '' where it is shorter."""
    elements = text.split(",")
    return elements[number] if number < len(elements) else ""


def object_name(element: str, local: str) -> str:
    """The distinguished name of an object: that of its managed element, a comma, its own within it.

    Parts that both have are not repeated: makers write the managed element, or its last part, into both.
    """
    element, local = element.strip(), local.strip()
    if not element or not local:
        return element or local
    outer, inner = element.split(","), local.split(",")
    values = [part.partition("=")[2] for part in inner]
    spans = range(len(inner) - len(outer) + 1)
    if any(inner[start : start + len(outer)] == outer for start in spans) or element in values:
        return local
    shared = max(size for size in range(min(len(outer), len(inner)) + 1) if not size or outer[-size:] == inner[:size])
    return ",".join([*outer, *inner[shared:]])


def is_true(text: str | None) -> bool:
    """Of a flag like `suspect`: true or 1 (XML Schema's boolean), in any case."""
    return (text or "").strip().casefold() in ("true", "1")


__all__ = ["BUFFER", "MERGED", "SUSPECT", "TWICE", "UNUSED", "VECTOR", "LongRows", "is_true", "object_name"]
