"""VES events of the domain perf3gpp (TS 28.550, TS 28.532 annex; ONAP's VES 7): measurements as JSON.

A file holds one event, a list of them (`eventList`, or a JSON array), or one on each line. The period ends at
`lastEpochMicrosec` and lasts `granularityPeriod` seconds, as in the files that such events are made from; the wall
clock is that of `[time] zone`, else of the event's `timeZoneOffset`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars

from fomo.ingest.formats.long import LongRows, is_true, object_name
from fomo.ingest.formats.periods import NO_LENGTH, NO_TIME, Clock, NoPeriod, Period, duration, moment
from fomo.ingest.formats.pm_xml import AMBIGUOUS, UNEQUAL
from fomo.ingest.formats.text_blocks import open_text
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping

#: Bytes of a document; an event is some kB. JSON is read whole.
LARGEST = 256 << 20

#: An event that is another's business.
OTHER = "events of other domains than perf3gpp"
#: Names of a value, in VES and in drafts of it.
_VALUES = ("sValue", "iValue", "rValue", "sVal", "iVal", "rVal")


def read_ves(path: Path, mapping: Mapping, ledger: Ledger) -> Iterator[polars.DataFrame]:
    """Batches of `COUNTS`. Raises `IngestError`: no JSON, no perf3gpp event at all, clocks in mixed zones.

    In a file with an event on each line, the events before one that breaks off are handed over before the error.
    """
    rows, clock = LongRows(path, mapping, ledger), Clock(path, mapping.time.zone, ledger)
    found = False
    try:
        for event in _events(path):
            collection = _collection(event)
            if collection is None:
                ledger.note(OTHER, 1, str(path))
                continue
            found = True
            _add_event(rows, clock, _part(event, "commonEventHeader"), collection)
            if rows.full(1):
                yield rows.empty()
    except IngestError:
        # What was complete before the break is good, and is handed over before the break is told.
        yield rows.empty()
        raise
    yield rows.empty()
    if not found:
        raise IngestError(f"{path} has no VES event of the domain perf3gpp (event.perf3gppFields.measDataCollection)")


def ves_counter_names(path: Path) -> list[str]:
    """Names of all counters, in the order of the file. Raises `IngestError`."""
    names: dict[str, None] = {}
    found = False
    for event in _events(path):
        collection = _collection(event)
        found |= collection is not None
        for group in _items(collection or {}, "measInfoList"):
            names.update(dict.fromkeys(_types(group)))
    if not found:
        raise IngestError(f"{path} has no VES event of the domain perf3gpp (event.perf3gppFields.measDataCollection)")
    return [name for name in names if name]


def _events(path: Path) -> Iterator[dict[str, Any]]:
    with open_text(path) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise IngestError(f"{path} is JSON of more than {LARGEST >> 20} MiB: write one event on each line, or split it")
    if not content.strip():
        raise IngestError(f"{path} is empty: export it again")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise IngestError(f"{path} is no UTF-8 text at byte {error.start}: fetch it again") from None
    position, end = 0, len(text)
    decoder = json.JSONDecoder()
    while position < end:
        if text[position].isspace():
            position += 1
            continue
        try:
            document, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            line = text.count("\n", 0, getattr(error, "pos", position)) + 1
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deep, or a number too long"
            raise IngestError(f"{path} breaks off or is no JSON at line {line} ({reason}): fetch it again") from None
        listed = document.get("eventList", [document]) if isinstance(document, dict) else document
        for event in listed if isinstance(listed, list) else [listed]:
            inner = event.get("event", event) if isinstance(event, dict) else None
            yield inner if isinstance(inner, dict) else {}


def _part(holder: dict[str, Any], name: str) -> dict[str, Any]:
    """An object within an object, empty where there is none."""
    part = holder.get(name)
    return part if isinstance(part, dict) else {}


def _items(holder: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Objects of a list within an object; what is no object counts as an empty one."""
    items = holder.get(name)
    return [item if isinstance(item, dict) else {} for item in items] if isinstance(items, list) else []


def _collection(event: dict[str, Any]) -> dict[str, Any] | None:
    return _part(_part(event, "perf3gppFields"), "measDataCollection") or None


def _types(group: dict[str, Any]) -> list[str]:
    types = _part(group, "measTypes")
    for name in ("sMeasTypesList", "iMeasTypesList"):
        if isinstance(types.get(name), list):
            return [str(each).strip() for each in types[name]]
    return []


def _period(clock: Clock, header: dict[str, Any], collection: dict[str, Any], minutes: int) -> Period:
    """Of an event. Raises `NoPeriod`."""
    try:
        epoch = int(header["lastEpochMicrosec"])
        end = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=epoch)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise NoPeriod(NO_TIME) from None
    offset = str(header.get("timeZoneOffset") or "+00:00").strip().removeprefix("UTC")
    zone = moment(f"2000-01-01T00:00:00{offset}").tzinfo or timezone.utc  # noqa: UP017 # the class, for its type
    length = collection.get("granularityPeriod") or (f"PT{minutes}M" if minutes else "")
    if isinstance(length, float):
        length = int(length) if length.is_integer() else ""
    if not str(length).strip():
        raise NoPeriod(NO_LENGTH)
    try:
        return clock.period(end.astimezone(zone), duration(str(length)), "end")
    except OverflowError:
        raise NoPeriod(NO_TIME) from None


def _add_event(rows: LongRows, clock: Clock, header: dict[str, Any], collection: dict[str, Any]) -> None:
    element = str(collection.get("measuredEntityDn") or collection.get("measuredEntityUserName") or "")
    period, fault = None, ""
    try:
        period = _period(clock, header, collection, rows.mapping.time.minutes)
    except NoPeriod as reason:
        fault = str(reason.args[0])
    for group in _items(collection, "measInfoList"):
        types = _types(group)
        wanted = any(rows.wants(name) for name in types)
        for item in _items(group, "measValuesList"):
            if not wanted:
                rows.pass_over(1)
                continue
            values, odd = _values(item, types)
            name = object_name(element, str(item.get("measObjInstId") or ""))
            if odd or fault or period is None:
                rows.reject(odd or fault, None, name, values)
            else:
                rows.add(name, period, is_true(str(item.get("suspectFlag"))), values)


def _values(item: dict[str, Any], types: list[str]) -> tuple[list[tuple[str, str]], str]:
    """Counters and texts of an object, and what is wrong with them or ''."""
    values: list[tuple[str, str]] = []
    seen: set[int] = set()
    for result in _items(item, "measResults"):
        try:
            place = int(result["p"])
        except (KeyError, TypeError, ValueError, OverflowError):
            return values, UNEQUAL
        if not 1 <= place <= len(types):
            return values, UNEQUAL
        if place in seen:
            return values, AMBIGUOUS
        seen.add(place)
        given = next((result[name] for name in _VALUES if result.get(name) is not None), None)
        absent = given is None or is_true(str(result.get("isNull")))
        values.append((types[place - 1], "" if absent else str(given)))
    return values, ""


__all__ = ["OTHER", "read_ves", "ves_counter_names"]
