"""Nokia's OMeS files (NetAct's and the base stations' own): counters are elements, named by themselves.

    OMeS
      PMSetup interval="60" startTime="..."       minutes; the BEGINNING of the period
        PMMOResult
          MO      DN, or baseId and localMoid     the object; several are dimensions of one
          any     measurementType=                counters: <M8012C20>1234</M8012C20>

An object's name is its DN, or baseId/localMoid without "DN:".
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars

from fomo.ingest.formats.long import LongRows, is_true
from fomo.ingest.formats.periods import NO_LENGTH, NO_TIME, Clock, NoPeriod, Period, duration, moment
from fomo.ingest.formats.xml_stream import finished, local, root_of, text_of
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping

ROOTS = ("OMeS",)


def read_omes(path: Path, mapping: Mapping, ledger: Ledger) -> Iterator[polars.DataFrame]:
    """Batches of `COUNTS`, one object for each `PMMOResult`. Raises `IngestError`: another root, damage, mixed zones.

    A file that breaks off gives all results that were complete, then the error.
    """
    _check_root(path)
    rows, clock = LongRows(path, mapping, ledger), Clock(path, mapping.time.zone, ledger)
    try:
        for item in finished(path, ("PMMOResult", "PMSetup")):
            if local(item) == "PMMOResult":
                _add_object(rows, clock, item)
            if rows.full(1 if local(item) == "PMSetup" else 3):
                yield rows.empty()
    except IngestError:
        # What was complete before the break is good, and is handed over before the break is told.
        yield rows.empty()
        raise
    yield rows.empty()


def omes_counter_names(path: Path) -> list[str]:
    """Names of all counters, in the order of the file. Raises `IngestError`."""
    _check_root(path)
    names: dict[str, None] = {}
    for item in finished(path, ("PMMOResult",)):
        names.update((local(counter), None) for target in _targets(item) for counter in target)
    return [name for name in names if name]


def _check_root(path: Path) -> None:
    root = root_of(path)
    if root not in ROOTS:
        raise IngestError(f"{path} is no OMeS file: its root is {root!r}")


def _targets(item: Any) -> list[Any]:
    """Groups of counters."""
    return [child for child in item if local(child) not in ("MO", "")]


def _add_object(rows: LongRows, clock: Clock, item: Any) -> None:
    counters = [(local(counter), counter) for target in _targets(item) for counter in target]
    values = [(name, text_of(counter)) for name, counter in counters if rows.wants(name)]
    if not values:
        rows.pass_over(1)
        return
    name = _object_name(item)
    suspect = any(is_true(target.get("suspect")) for target in _targets(item))
    try:
        period = _period(clock, item.getparent(), rows.mapping.time.minutes)
    except NoPeriod as fault:
        rows.reject(str(fault.args[0]), item.sourceline, name, values)
    else:
        rows.add(name, period, suspect, values)


def _period(clock: Clock, setup: Any, minutes: int) -> Period:
    """Of the `PMSetup` around. Raises `NoPeriod`."""
    if setup is None or not (setup.get("startTime") or "").strip():
        raise NoPeriod(NO_TIME)
    interval = (setup.get("interval") or "").strip() or str(minutes or "")
    if not (interval.isascii() and interval.isdigit() and len(interval) < 6):
        # Some write it as a duration.
        if not interval.startswith("P"):
            raise NoPeriod(NO_LENGTH)
        length = duration(interval)
    else:
        length = timedelta(minutes=int(interval))
    return clock.period(moment(setup.get("startTime")), length, "begin")


def _object_name(item: Any) -> str:
    names = []
    for child in item:
        if local(child) == "MO":
            parts = {local(part): text_of(part).strip().removeprefix("DN:") for part in child}
            base, moid = parts.get("baseId", ""), parts.get("localMoid", "")
            within = moid if not base or moid.startswith(base) else "/".join(filter(None, (base, moid)))
            names.append(parts.get("DN") or within)
    return ",".join(filter(None, names))


__all__ = ["ROOTS", "omes_counter_names", "read_omes"]
