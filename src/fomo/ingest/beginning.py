"""What a city of files begins with, before they are read: their counters, first day, granularity period and cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from fomo.ingest.counts import empty_counts
from fomo.ingest.formats.forms import counter_names, form_of, read_counts
from fomo.ingest.formats.overview import Overview, overview, overview_of
from fomo.ingest.formats.table_rows import PeriodUnknown
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping
from fomo.ingest.reporting import first_of_sources, time_in_name

#: Files with the earliest times in their names, and network elements whose first file is looked at.
EARLIEST, SOURCES = 20, 50


def _some(files: Sequence[Path]) -> list[Path]:
    """The first files, each so manieth of the others, those of the earliest times in their names, and of some elements.

    Names that begin with the element's do not go with time.
    """
    earliest = sorted(files, key=time_in_name)[:EARLIEST]
    return list(dict.fromkeys([*files[:20], *files[20::200], *earliest, *first_of_sources(files)[:SOURCES]]))


def names_of_counters(files: Sequence[Path]) -> list[str]:
    """Counters of a few of the files, for they may be spread over kinds. Raises `IngestError` where none is read."""
    names: set[str] = set()
    faults: list[Exception] = []
    some = _some(files)
    for file in some:
        try:
            names |= set(counter_names(file))
        except (IngestError, OSError) as error:  # it is named when it comes to be read
            faults.append(error)
    if len(faults) == len(some):
        raise faults[0]
    return sorted(names)


def beginning(files: Sequence[Path], mapping: Mapping, new: bool = True) -> tuple[np.datetime64, int, set[str]]:
    """The first day of all files, the granularity period of the counters, and the cells that there are.

    Of every table the first rows are read, of other forms some files whole: times within a file grow, or all lie within
    a few days; a file's name tells its time, or names go with time; and a cell that does not report then does not
    belong to the network yet. What turns out to lie before the first day is counted, and said, when it is read. Where
    files of one period each do not say how long it is, it is the least distance of two of them. Raises `IngestError`;
    for a `new` city, whose clock is still to be chosen, also where times have an offset and no zone is named: hours of
    UTC are not those of its people.
    """
    ledger, times, cells = Ledger(), set[datetime](), set[str]()
    steps = Counter[int]()  # granularity period -> files
    anything = mapping.model_copy(update={"time": mapping.time.model_copy(update={"minutes": 1, "marks": "begin"})})
    single = set[datetime]()  # of files that do not say how long a period is: as written, begin or end
    faults: list[Exception] = []
    lacks: list[dict[str, str]] = []
    few = set(_some(files))
    for file in files:
        try:
            if file not in few and form_of(file) != "table":
                continue
            try:
                first = _first_rows(file, mapping, ledger)
                times |= first.times
                steps[first.minutes] += bool(first.minutes)
            except PeriodUnknown:
                first = _first_rows(file, anything, ledger)
                single |= first.times
            lacks.append(first.lacks)
        except (IngestError, OSError) as error:  # it is named when it comes to be read
            faults.append(error)
            continue
        cells |= mapping.cell.called(first.cells)
    if new and ledger.offset_in:
        raise IngestError(
            f"times of {ledger.offset_in} have an offset: say whose wall clock the city has, --time-zone Europe/Rome "
            'or [time] zone = "Europe/Rome" in the mapping (Etc/UTC for that of UTC)'
        )
    # Some files may have one quantity alone, but one that none has is a mistake.
    if lacks and (nowhere := set.intersection(*(set(each) for each in lacks))):
        raise IngestError(lacks[0][min(nowhere)])
    if not times | single and faults:
        raise faults[0]
    if not times | single:
        reasons = "; ".join(f"{reason}: {ledger.first[reason]}" for reason in ledger.rejected) or "they hold no rows"
        raise IngestError(f"no row of {files[0]} and {len(files) - 1} more files can be read: {reasons}")
    # That of most files, the shorter of two: one odd file among them is named when it is read.
    minutes = min(steps, key=lambda step: (-steps[step], step), default=0)
    if not minutes:
        gaps = [round((late - early).total_seconds() / 60) for early, late in pairwise(sorted(single))]
        if not gaps:
            raise IngestError(
                f"{files[0]} has a single time, so its granularity period is not known: write it into the mapping, "
                "[time] minutes = 15"
            )
        minutes = min(gaps)
    ends = timedelta(minutes=minutes if mapping.time.marks == "end" else 0)
    begins = times | {time - ends for time in single}
    earliest = min(begins)
    if minutes > 0 and all(_past(time, minutes) for time in begins):
        raise IngestError(_beside_the_clock(files[0], earliest, minutes, mapping.time.zone))
    return np.datetime64(earliest.date(), "D"), minutes, cells


def _past(time: datetime, minutes: int) -> timedelta:
    """How long after the last multiple of a period since midnight."""
    return (time - datetime(time.year, time.month, time.day)) % timedelta(minutes=minutes)


def _beside_the_clock(file: Path, time: datetime, minutes: int, zone: str) -> str:
    """What is wrong, and what to do, where no period begins at a multiple of its length since midnight."""
    text = f"no period of {file} begins at a multiple of {minutes} minutes since midnight, but at {time:%H:%M:%S}"
    away = time.replace(tzinfo=ZoneInfo(zone)).utcoffset() if zone else None
    if away is None or not away % timedelta(hours=1):
        return f"{text}: correct the times, or [time] minutes in the mapping"
    hours = away // timedelta(hours=1)
    name = f"Etc/GMT{-hours:+d}" if hours else "Etc/UTC"
    return (
        f"{text}, as the clock of {zone} is no whole number of hours from UTC: take one that is, --time-zone {name}, "
        f"{(away % timedelta(hours=1)).seconds // 60} minutes behind it, or counters of shorter periods"
    )


def _first_rows(file: Path, mapping: Mapping, ledger: Ledger) -> Overview:
    """What the first rows of a file say, or all of a Parquet file."""
    if form_of(file) == "table":
        return overview(file, mapping, ledger)
    batches = read_counts(file, mapping, ledger)
    return overview_of(next((counts for counts in batches if counts.height), empty_counts()))


__all__ = ["beginning", "names_of_counters"]
