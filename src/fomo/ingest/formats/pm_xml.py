"""Measurement files of 3GPP: TS 32.435 (`measCollecFile`), TS 28.532 (`measDataFile`), TS 32.401 (`mdc`).

The three say the same in other words; names are compared without namespaces:

    TS 32.435, 28.532                           TS 32.401
    measData                                    md              of one managed element
      managedElement, measEntity                  neid          localDn or userLabel; nedn or neun
      measInfo                                    mi            a group of counters of one period
        granPeriod duration endTime                 gp, mts     seconds; the END of the period
        measType p=, or measTypes 'a b'             mt          counters
        measValue measObjLdn                        mv          an object: moid
          r p=, or measResults '1 2'                  r         values
          suspect                                     sf

A cell is named by its managed element and object (`long.object_name`), from which `[cell] pattern` takes its part. A
file that breaks off gives all objects that were complete, then the error.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars

from fomo.ingest.formats.long import LongRows, is_true, object_name
from fomo.ingest.formats.periods import NO_LENGTH, NO_TIME, Clock, NoPeriod, Period, duration, moment
from fomo.ingest.formats.xml_stream import finished, local, root_of, text_of
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping

ROOTS = ("measCollecFile", "measDataFile", "mdc")

_ELEMENT = ("managedElement", "measEntity", "nedn", "neun")
_PERIOD = ("granPeriod", "gp", "mts")
_TYPES = ("measType", "measTypes", "mt")
_OBJECT = ("measValue", "mv")
_GROUP = ("measInfo", "mi")
_DATA = ("measData", "md")
_MOID = "*[local-name() = 'moid']"

#: Reasons for which objects are rejected.
UNEQUAL = "values and counters differ in number"
AMBIGUOUS = "two counters have one position"


@dataclass
class _Group:
    """A `measInfo` so far."""

    end: str = ""
    length: str = ""
    types: dict[str, str] = field(default_factory=dict)  # position -> counter
    listed: list[str] = field(default_factory=list)  # counters in their order
    ambiguous: bool = False
    period: Period | None = None
    fault: str = ""  # why there is no period
    objects: set[str] = field(default_factory=set)  # their names, where only these are looked for
    wanted: bool | None = None  # whether the mapping has a use for one of the counters; None = to be found
    positions: list[str] = field(default_factory=list)  # `p` of the last object's `r`, and what follows from them:
    places: list[tuple[int, str]] = field(default_factory=list)  # which ones are wanted, from 1, and their counters
    unequal: bool = False  # whether one has no counter

    def is_wanted(self, rows: LongRows) -> bool:
        """Whether the mapping has a use for any of the counters."""
        if self.wanted is None:
            self.wanted = any(rows.wants(name) for name in self.listed)
        return self.wanted

    def add_types(self, element: Any) -> None:
        """A `measType`, `measTypes` or `mt`."""
        text = text_of(element)
        names = text.split() if local(element) == "measTypes" else [text.strip()]
        for name in names:
            self.listed.append(name)
            position = (element.get("p") or str(len(self.listed))).strip()
            self.ambiguous |= position in self.types
            self.types[position] = name
        self.wanted, self.positions, self.places, self.unequal = None, [], [], False

    def add_period(self, element: Any) -> None:
        """A `granPeriod`, `gp` or `mts`."""
        match local(element):
            case "granPeriod":
                self.end, self.length = element.get("endTime") or "", element.get("duration") or ""
            case "gp":
                self.length = text_of(element)
            case "mts":
                self.end = text_of(element)
        self.period, self.fault = None, ""

    def find_period(self, clock: Clock, mapping: Mapping) -> None:
        """Once a group: its period, or why it has none."""
        if self.period is not None or self.fault:
            return
        try:
            if not self.end.strip():
                raise NoPeriod(NO_TIME)
            if not self.length.strip() and not mapping.time.minutes:
                raise NoPeriod(NO_LENGTH)
            length = duration(self.length if self.length.strip() else f"PT{mapping.time.minutes}M")
            self.period = clock.period(moment(self.end), length, "end")
        except NoPeriod as fault:
            self.fault = str(fault.args[0])


def read_pm_xml(path: Path, mapping: Mapping, ledger: Ledger) -> Iterator[polars.DataFrame]:
    """Batches of `COUNTS`. Raises `IngestError`: another root, damage, declared entities, clocks in mixed zones."""
    _check_root(path)
    rows, clock = LongRows(path, mapping, ledger), Clock(path, mapping.time.zone, ledger)
    element, group = "", _Group()
    try:
        for item in finished(path, (*_ELEMENT, *_PERIOD, *_TYPES, *_OBJECT, *_GROUP, *_DATA)):
            kind = local(item)
            unit = 0
            if kind in _OBJECT:
                _add_object(rows, group, clock, element, item)
                unit = 3
            elif kind in _TYPES:
                group.add_types(item)
            elif kind in _PERIOD:
                group.add_period(item)
            elif kind in _GROUP:
                group, unit = _Group(), 2
            elif kind in _DATA:
                element, unit = "", 1
            else:
                element = _element_name(item, element)
            if unit and rows.full(unit):
                yield rows.empty()
    except IngestError:
        # What was complete before the break is good, and is handed over before the break is told.
        yield rows.empty()
        raise
    yield rows.empty()


def pm_xml_counter_names(path: Path) -> list[str]:
    """Names of all counters, in the order of the file. Raises `IngestError`."""
    _check_root(path)
    names: dict[str, None] = {}
    for item in finished(path, (*_TYPES, *_OBJECT)):
        if local(item) not in _OBJECT:
            group = _Group()
            group.add_types(item)
            names.update(dict.fromkeys(group.listed))
    return [name for name in names if name]


def pm_xml_cells(path: Path, mapping: Mapping) -> Iterator[set[str]]:
    """Cells of the objects that have counters of the mapping, by groups of counters. Raises `IngestError`."""
    _check_root(path)
    rows = LongRows(path, mapping, Ledger())
    pattern = re.compile(mapping.cell.pattern or "(.*)")
    element, group = "", _Group()
    for item in finished(path, (*_ELEMENT, *_TYPES, *_OBJECT, *_GROUP, *_DATA)):
        kind = local(item)
        if kind in _OBJECT:
            if group.is_wanted(rows):
                group.objects.add(item.get("measObjLdn") or "".join(map(text_of, _path(_MOID)(item))))
        elif kind in _TYPES:
            group.add_types(item)
        elif kind in _GROUP:
            names = {object_name(element, name) for name in group.objects}
            yield {found[1] for name in names if (found := pattern.search(name))}
            group = _Group()
        elif kind in _DATA:
            element = ""
        else:
            element = _element_name(item, element)


def _check_root(path: Path) -> None:
    root = root_of(path)
    if root not in ROOTS:
        raise IngestError(f"{path} is no measurement file: its root is {root!r}, not one of {', '.join(ROOTS)}")


def _element_name(item: Any, known: str) -> str:
    """Of a managed element: its distinguished name, else its label."""
    match local(item):
        case "nedn":
            return text_of(item).strip() or known
        case "neun":
            return known or text_of(item).strip()
    return (item.get("localDn") or item.get("userLabel") or "").strip()


def _add_object(rows: LongRows, group: _Group, clock: Clock, element: str, item: Any) -> None:
    if not group.is_wanted(rows):
        rows.pass_over(1)
        return
    name, suspect = item.get("measObjLdn") or "", False
    values, unequal = _indexed_values(rows, group, item)
    for child in _path("*[local-name() != 'r']")(item):
        match local(child):
            case "measResults":
                texts = text_of(child).split()
                unequal |= len(texts) != len(group.listed)
                values += zip(group.listed, texts, strict=False)
            case "suspect" | "sf":
                suspect = is_true(text_of(child))
            case "moid":
                name = text_of(child)
    name = object_name(element, name)
    group.find_period(clock, rows.mapping)
    fault = UNEQUAL if unequal else AMBIGUOUS if group.ambiguous else group.fault
    if fault or group.period is None:
        rows.reject(fault, item.sourceline, name, values)
    else:
        rows.add(name, group.period, suspect, values)


def _indexed_values(rows: LongRows, group: _Group, item: Any) -> tuple[list[tuple[str, str]], bool]:
    """Wanted counters and texts of the `r` of an object, and whether one of these has no counter.

    An object has hundreds of `r`, of which a mapping wants some: only those become Python objects.
    """
    positions: list[str] = _path("*[local-name() = 'r']/@p")(item)
    if len(positions) < _path("count(*[local-name() = 'r'])")(item):
        every = _path("*[local-name() = 'r']")(item)
        positions = [each.get("p") or str(place) for place, each in enumerate(every, 1)]
    if positions != group.positions:
        counters = [group.types.get(position.strip()) for position in positions]
        group.positions, group.unequal = positions, None in counters
        group.places = [(place, name) for place, name in enumerate(counters, 1) if name and rows.wants(name)]
    nth = _path("*[local-name() = 'r'][$place]")
    return [(name, text_of(nth(item, place=place)[0])) for place, name in group.places], group.unequal


@functools.cache
def _path(expression: str) -> Any:
    """A compiled XPath."""
    from lxml import etree

    return etree.XPath(expression, smart_strings=False)


__all__ = ["AMBIGUOUS", "ROOTS", "UNEQUAL", "pm_xml_cells", "pm_xml_counter_names", "read_pm_xml"]
