"""Counters that mean something else from some file on, as after an upgrade of the network: a city's mapping follows.

So do names of cells. Files that are given with either are read, also where they were read before.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fomo.config import parse
from fomo.ingest.beginning import beginning
from fomo.ingest.ledger import IngestError
from fomo.ingest.mapping import Mapping, mapping_text
from fomo.ingest.reading import hash_of
from fomo.ingest.store import CityStore

#: Where names of cells are said, for people.
NAMES = "names of cells"


def tell_mapping(store: CityStore, mapping: Mapping, files: Sequence[Path]) -> None:
    """Keep what counters mean from these files on, for all later reads.

    What the mapping does not say stays as the city knows it. Raises `IngestError`, before anything is kept, where none
    of the files has the counters, or where their values could not be put beside those of the city: another unit,
    period, clock or kind of counter.
    """
    check_names(mapping.cell.names, store.cell_names(), str(store.path))
    before = _known(store)
    told = _continued(mapping, before, "the mapping")
    _check(store, told, before)
    minutes = beginning(files, told, new=False)[1]
    if minutes != store.cell_minutes:
        raise IngestError(
            f"the counters of {files[0]} have periods of {minutes} minutes, those of {store.path} "
            f"{store.cell_minutes}: build another city with them"
        )
    store.commit({**_kept(told), **_to_be_read_again(store, files, None)})


def _known(store: CityStore) -> Mapping:
    """What a city knows of its counters until now."""
    return Mapping.model_validate(store.report["mapping"])


def _continued(mapping: Mapping, before: Mapping, where: str) -> Mapping:
    """What a mapping says, and for the rest what a city knew; `where` it is said. Raises `ConfigError`."""
    said = mapping.model_dump(mode="json", exclude_unset=True)
    raw = {section: known | said.get(section, {}) for section, known in before.model_dump(mode="json").items()}
    raw["cell"]["names"] = before.cell.names | mapping.cell.names
    return parse(raw, Mapping, where)


def _check(store: CityStore, told: Mapping, before: Mapping) -> None:
    """Raises `IngestError` where values by one mapping cannot stand beside those by the other."""
    for what, now, then, remedy in (
        ("[time] zone", told.time.zone, before.time.zone, "write that of the city"),
        ("[traffic] unit", told.traffic.unit, before.traffic.unit, "write that, and factors of the counters to it"),
        ("[traffic] cumulative", told.traffic.cumulative, before.traffic.cumulative, "build another city"),
    ):
        if now != then:
            raise IngestError(f"{what} of the mapping is {now!r}, and {store.path} was built with {then!r}: {remedy}")
    if told.users.counters and not store.has_users:
        raise IngestError(
            f"[users] of the mapping names counters, and {store.path} was built without users: leave them out, or "
            "build the city again"
        )


def tell_names(store: CityStore, names: dict[str, str], files: Sequence[Path]) -> list[str]:
    """Keep more names of cells with the mapping of a city, for all who read; a remark on rows that came too early.

    Raises `IngestError`, `ConfigError`.
    """
    cells = store.cell_names()
    check_names(names, cells, str(store.path))
    there = sorted(set(names) & set(cells))
    if there:
        raise IngestError(f"{there[0]!r} is a cell of {store.path} itself: only a name that is none can be another's")
    told = _continued(parse({"cell": {"names": names}}, Mapping, NAMES), _known(store), NAMES)
    without = dict(store.report.get("cells_without_place", {}))
    early = {name: without.pop(name) for name in sorted(names) if name in without}
    again = _to_be_read_again(store, files, sorted(set(names.values())))
    store.commit({**_kept(told), "cells_without_place": without, **again})
    if not early:
        return []
    some = ", ".join(list(early)[:3]) + (", …" if len(early) > 3 else "")
    return [
        f"{sum(early.values()):,} rows under {some} were read before the name was told; the files that are given now "
        "are read again: give those of all these rows with the name"
    ]


def check_names(names: dict[str, str], cells: Collection[str], where: str) -> None:
    """Raises `IngestError` where a cell that has another name is none of those of a city or a site list."""
    known = set(cells)
    unknown = sorted({cell for cell in names.values() if cell not in known})
    if unknown:
        other = next(other for other, cell in names.items() if cell == unknown[0])
        raise IngestError(
            f"[cell] names says that {other!r} is {unknown[0]!r}, one of {len(unknown)} such cells, and {where} has no "
            "cell of that name: write names in the counters = names in the site list"
        )


def _kept(mapping: Mapping) -> dict[str, Any]:
    """A mapping as a city's report holds it."""
    return {"mapping": mapping.model_dump(mode="json"), "mapping_text": mapping_text(mapping)}


def _to_be_read_again(store: CityStore, files: Sequence[Path], renamed: list[str] | None) -> dict[str, Any]:
    """What the report says of files, without these; one that cannot be read is named when it comes to be read.

    `renamed`: of those that were read whole only the rows of these cells are wanted, else all rows.
    """
    known, in_part = dict(store.report.get("files", {})), dict(store.report.get("files_in_part", {}))
    only, faulty = dict(store.report.get("renamed", {})), dict(store.report.get("faulty", {}))
    for file in files:
        with suppress(IngestError):
            key = hash_of(file)
            whole, path = known.pop(key, None) is not None, str(file.resolve())
            in_part.pop(key, None)
            if renamed is not None and (whole or key in only):
                only[key] = sorted({*only.get(key, ()), *renamed})
            else:
                only.pop(key, None)
            if path in faulty:  # what it added is counted once, and it is poured again
                faulty[path] = {**faulty[path], "key": ""}
    shutil.rmtree(store.path / ".parts", ignore_errors=True)  # by the mapping of before
    return {"files": known, "files_in_part": in_part, "renamed": only, "faulty": faulty}


__all__ = ["check_names", "tell_mapping", "tell_names"]
