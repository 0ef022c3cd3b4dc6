"""Forecast many cities, by one process or by several that share them: whole cities where they can, districts else.

Every city that is done is remembered beside its forecast, so the same command goes on where an earlier one ended.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from fomo.app.errors import UsageError, one_line
from fomo.app.service import parts as waiting
from fomo.app.service.answering import Answer, answer_together, draw, in_words, join, model_of
from fomo.app.service.city_place import CityPlace, Facts
from fomo.app.service.forecasting import ForecastOptions
from fomo.app.service.outputs import Outputs, check_results
from fomo.app.service.parts import Parts
from fomo.app.service.sharing import shared_work
from fomo.city import City, CityError
from fomo.forecasters.fomo import FoMo
from fomo.processes import Place, ProcessError
from fomo.sources import read_cities

#: Seconds in which others say what they wrote, before a process with faults ends, and the launcher ends them.
LAST_WORDS = 1.0


def forecast_cities(
    files: Sequence[Path],
    name: str | None,
    folder: Path,
    *,
    options: ForecastOptions,
    weights: str,
    device: str,
    place: Place,
    hear: Callable[[str], None] | None = None,
) -> Iterator[tuple[str, Answer | None]]:
    """The steps after the end of all cities of the files (or of those called `name`), into `folder`/NAME.zarr each.

    Gives the name and the answer of every city that this process has to do with; no answer where it lay there
    already. A file that cannot be read and a city that cannot be forecast do not stop the others, in no process:
    `torchrun` ends all of them once one has failed, so that one waits for the others' forecasts before it fails.
    `hear`: what is begun; else it is said on stderr. Raises `CityError` for faults at the end, `UsageError`,
    `ProcessError`.
    """
    hear = hear or _say
    reader = _Reader()
    cities, unread = list_cities(reader, files, name, folder)
    model = model_of(weights, device, place)
    shares = shared_work([options.work(model, city.grid) for city in cities], place.size)
    busy = len({rank for ranks in shares for rank in ranks})
    if busy < place.size:
        raise ProcessError(
            f"the work on {len(cities)} cities is for {busy} processes, not for {place.size}: start fewer, or ask for "
            "more --samples"
        )
    mine = [(city, ranks) for city, ranks in zip(cities, shares, strict=True) if place.rank in ranks]
    begun, count = ("city", f"{len(mine)}") if place.alone else (f"{place}: city", f"its {len(mine)}")
    faults: dict[str, str] = {}
    settled: set[Path] = set()
    to_join: list[tuple[CityPlace, Facts, Parts, float]] = []
    for number, (city, ranks) in enumerate(mine, 1):
        facts: Facts | None = None
        try:
            question = options.question(reader.read(city))
            facts = question.facts_of(model)
            if city.is_there(facts):
                settled.add(city.out)
                yield city.name, None
                continue
            hear(f"{begun} {number} of {count}: {city.name}")
            if len(ranks) == 1:
                found = answer_together(model, question, Outputs(city.out), place, ranks)
                city.remember(facts)
                settled.add(city.out)
                yield city.name, found
                continue
            parts, seconds = draw(model, question, Outputs(city.out), place, ranks)
            if parts.joins:
                to_join.append((city, facts, parts, seconds))
            else:
                yield city.name, Answer(None, [], seconds, place, in_words(parts.mine), min(ranks))
        except (CityError, UsageError) as error:
            faults[city.name] = f"{city.name}: {error}"
            settled.add(city.out)
            if facts is not None:
                city.remember_fault(facts, faults[city.name])
    # Joined last, so that no process waits while there is something to draw.
    for city, facts, parts, seconds in to_join:
        found = join(model, options.question(reader.read(city)), Outputs(city.out), parts, seconds)
        city.remember(facts)
        settled.add(city.out)
        yield city.name, found
    if faults or (unread and place.first):
        faults = unread | faults
        others = [city for city in cities if city.out not in settled]
        missing = _wait_for(others, faults, reader, options, model) if others else []
        raise CityError(_told(faults, missing, len(cities) + len(unread)))


def _wait_for(
    cities: Sequence[CityPlace], faults: dict[str, str], reader: _Reader, options: ForecastOptions, model: FoMo
) -> list[str]:
    """Until other processes have forecast these cities, or added to `faults` why they cannot.

    Returns the names of those that did not come while nothing was seen of them for so long as processes are waited for.
    """
    left: dict[CityPlace, Facts] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the process that forecasts a city warns of it
        for city in cities:
            try:
                left[city] = options.question(reader.read(city)).facts_of(model)
            except (CityError, UsageError) as error:
                faults[city.name] = f"{city.name}: {error}"
    seen, since = (-1, -1), time.monotonic()
    while True:
        for city, facts in list(left.items()):
            fault = city.fault(facts)
            if fault is not None:
                faults[city.name] = fault
            if fault is not None or city.is_there(facts):
                del left[city]
        signs = len(left), sum(city.signs() for city in left)
        if signs != seen:
            seen, since = signs, time.monotonic()
        if not left or time.monotonic() - since > waiting.PATIENCE:
            time.sleep(LAST_WORDS)
            return [city.name for city in left]
        time.sleep(waiting.LOOK_EVERY)


def _told(faults: Mapping[str, str], missing: Sequence[str], asked: int) -> str:
    """What could not be forecast, and of the others what is known."""
    told = [f"{len(faults)} of {asked} cities could not be forecast: {'; '.join(faults.values())}"]
    if missing:
        told.append(
            f"of {', '.join(missing)} nothing came from the other processes for {waiting.PATIENCE:.0f} s: run the "
            "same command again"
        )
    if asked > len(faults) + len(missing):
        told.append("the others are written")
    return "; ".join(told)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")  # in one piece: several processes write there
    sys.stderr.flush()


class _Reader:
    """Reads files, and keeps the last one in memory, as its cities follow each other."""

    def __init__(self) -> None:
        self._last: tuple[Path, list[City]] | None = None

    def cities(self, file: Path) -> list[City]:
        """All cities of a file. Raises `CityError`."""
        if self._last is None or self._last[0] != file:
            self._last = None  # let go before the next is read
            self._last = file, read_cities(file)
        return self._last[1]

    def read(self, city: CityPlace) -> City:
        """One city."""
        return self.cities(city.file)[city.index]


def list_cities(
    reader: _Reader, files: Sequence[Path], name: str | None, folder: Path
) -> tuple[list[CityPlace], dict[str, str]]:
    """The cities of files, and where their forecasts go; and files that cannot be read, with the reason.

    Raises `CityError` where there is no other file, `UsageError` where two cities go to one place.
    """
    check_results(folder, "--out-folder")
    found: dict[Path, CityPlace] = {}
    unread: dict[str, str] = {}
    for file in files:
        try:
            cities = reader.cities(file)
        except (CityError, OSError) as error:
            fault = one_line(error)
            unread[str(file)] = fault if str(file) in fault else f"{file}: {fault}"
            continue
        for index, city in enumerate(cities):
            called = str(city.attrs["name"])
            if name is not None and name not in (called, called.split("/")[-1]):
                continue
            out = folder / f"{called.replace('/', '-')}.zarr"
            if out in found:
                raise UsageError(f"{found[out].file} and {file} both hold a city {called!r}: forecast them apart")
            Outputs(out).check()
            found[out] = CityPlace(file, index, called, (city.sizes["y"], city.sizes["x"]), out)
    if unread and not found:
        raise CityError("; ".join(unread.values()))
    if not found:
        raise UsageError(f"no city called {name!r} in {', '.join(map(str, files))}")
    return list(found.values()), unread


__all__ = ["forecast_cities", "list_cities"]
