"""Forecast many cities, by one process or by several that share them: whole cities where they can, districts else.

Every city that is done is remembered beside its forecast, so the same command goes on where an earlier one ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fomo.app.errors import UsageError
from fomo.app.service.answering import Answer, answer_together, draw, in_words, join, model_of
from fomo.app.service.forecasting import ForecastOptions
from fomo.app.service.outputs import Outputs, check_results
from fomo.app.service.parts import Parts, key_of
from fomo.app.service.sharing import shared_work
from fomo.city import City, CityError
from fomo.files import whole_file
from fomo.processes import Place, ProcessError
from fomo.sources import read_cities


@dataclass(frozen=True)
class CityPlace:
    """A city of a file, by its number there, and where its forecast goes."""

    file: Path
    index: int
    name: str
    grid: tuple[int, int]
    out: Path

    @property
    def record(self) -> Path:
        """What the forecast that lies there was asked, and when it was written."""
        return self.out.with_name(f".{self.out.name}.asked.json")

    def remember(self, facts: dict[str, Any]) -> None:
        """That the forecast is there."""
        with whole_file(self.record) as fresh:
            fresh.write_text(json.dumps(self._said(facts)) + "\n", encoding="utf-8")

    def is_there(self, facts: dict[str, Any]) -> bool:
        """Whether the forecast that lies there answers this question, and nobody has written another one since."""
        if not (self.record.exists() and (self.out / "zarr.json").exists()):
            return False
        return bool(json.loads(self.record.read_text(encoding="utf-8")) == self._said(facts))

    def _said(self, facts: dict[str, Any]) -> dict[str, Any]:
        return {"key": key_of(facts), "written_ns": (self.out / "zarr.json").stat().st_mtime_ns}


def forecast_cities(
    files: Sequence[Path],
    name: str | None,
    folder: Path,
    *,
    options: ForecastOptions,
    weights: str,
    device: str,
    place: Place,
) -> Iterator[tuple[str, Answer | None]]:
    """The steps after the end of all cities of the files (or of those called `name`), into `folder`/NAME.zarr each.

    Gives the name and the answer of every city that this process has to do with; no answer where it lay there
    already. A city that cannot be forecast does not stop the others. Raises `CityError` for those at the end,
    `UsageError`, `ProcessError`.
    """
    reader = _Reader()
    cities = list_cities(reader, files, name, folder)
    model = model_of(weights, device, place)
    shares = shared_work([options.work(model, city.grid) for city in cities], place.size)
    busy = len({rank for ranks in shares for rank in ranks})
    if busy < place.size:
        raise ProcessError(
            f"the work on {len(cities)} cities is for {busy} processes, not for {place.size}: start fewer, or ask for "
            "more --samples"
        )
    faults: list[str] = []
    to_join: list[tuple[CityPlace, Parts, float]] = []
    for city, ranks in zip(cities, shares, strict=True):
        if place.rank not in ranks:
            continue
        try:
            question = options.question(reader.read(city))
            facts = question.facts_of(model)
            if city.is_there(facts):
                yield city.name, None
            elif len(ranks) == 1:
                found = answer_together(model, question, Outputs(city.out), place, ranks)
                city.remember(facts)
                yield city.name, found
            else:
                parts, seconds = draw(model, question, Outputs(city.out), place, ranks)
                if parts.joins:
                    to_join.append((city, parts, seconds))
                else:
                    yield city.name, Answer(None, [], seconds, place, in_words(parts.mine), min(ranks))
        except (CityError, UsageError) as error:
            faults.append(f"{city.name}: {error}")
    # Joined last, so that no process waits while there is something to draw.
    for city, parts, seconds in to_join:
        question = options.question(reader.read(city))
        found = join(model, question, Outputs(city.out), parts, seconds)
        city.remember(question.facts_of(model))
        yield city.name, found
    if faults:
        said = "; ".join(faults)
        raise CityError(f"{len(faults)} of {len(cities)} cities could not be forecast: {said}; the others are written")


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


def list_cities(reader: _Reader, files: Sequence[Path], name: str | None, folder: Path) -> list[CityPlace]:
    """The cities of files, and where their forecasts go. Raises `CityError`, `UsageError` where two go to one place."""
    check_results(folder, "--out-folder")
    found: dict[Path, CityPlace] = {}
    for file in files:
        for index, city in enumerate(reader.cities(file)):
            called = str(city.attrs["name"])
            if name is not None and name not in (called, called.split("/")[-1]):
                continue
            out = folder / f"{called.replace('/', '-')}.zarr"
            if out in found:
                raise UsageError(f"{found[out].file} and {file} both hold a city {called!r}: forecast them apart")
            Outputs(out).check()
            found[out] = CityPlace(file, index, called, (city.sizes["y"], city.sizes["x"]), out)
    if not found:
        raise UsageError(f"no city called {name!r} in {', '.join(map(str, files))}")
    return list(found.values())


__all__ = ["forecast_cities", "list_cities"]
