"""One forecast by several processes: each draws some members into a part beside `--out`, the first one joins them.

A part is named by all that it depends on, and renamed into place once it is whole: what is there is good, and the same
command draws only what is missing. Processes need a folder that all of them see, and nothing else of each other.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from fomo.city import City
from fomo.files import whole_file
from fomo.forecast import Forecast
from fomo.forecasters.drawing import shared_members
from fomo.processes import Place, ProcessError

#: Seconds that the first process waits for the others after its own part, or as long as that took if it took longer.
PATIENCE = 600.0
LOOK_EVERY = 0.1


@dataclass(frozen=True)
class Parts:
    """The parts of the forecast `out`; `facts` is all that it depends on, the number of processes included."""

    out: Path
    place: Place
    members: Sequence[range]
    facts: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """Where parts lie until they are joined."""
        return self.out.absolute().with_name(f".{self.out.name}.parts")

    @property
    def key(self) -> str:
        """The name of everything that the parts depend on."""
        return hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()[:16]

    def path(self, rank: int) -> Path:
        """The part of a process."""
        return self.folder / f"{rank}-of-{self.place.size}-{self.key}.zarr"

    def draw(self, ask: Callable[[range], Forecast]) -> Forecast:
        """The own part, drawn and left for the first process unless it is there already."""
        mine = self.path(self.place.rank)
        if mine.exists():
            return Forecast.open(mine)
        with whole_file(mine.with_suffix(".json")) as fresh:
            fresh.write_text(json.dumps(self.facts, indent=1) + "\n", encoding="utf-8")
        part = ask(self.members[self.place.rank])
        part.save(mine)
        return part

    def wait(self, patience: float) -> None:
        """Until all parts are there. Raises `ProcessError` after `patience` seconds, or where one is of another ask."""
        began, before = time.monotonic(), set(self.others())
        while missing := [rank for rank in range(self.place.size) if not self.path(rank).exists()]:
            other = [path for path in self.others() if path not in before]
            if other:
                raise ProcessError(self._differs(other[0]))
            if time.monotonic() - began > patience:
                names = ", ".join(map(str, missing))
                raise ProcessError(
                    f"the part of process {names} did not come into {self.folder} within {patience:.0f} s: every "
                    "process must see this folder. Parts that are there are kept: run the same command again"
                    + (f"; {self._differs(sorted(before)[0])}" if before else "")
                )
            time.sleep(LOOK_EVERY)

    def others(self) -> list[Path]:
        """Parts that answer another question than this one."""
        return [path for path in self.folder.glob("*-of-*-*.zarr") if not path.stem.endswith(self.key)]

    def join(self) -> Forecast:
        """The whole forecast."""
        parts = [Forecast.open(self.path(rank)).dataset for rank in range(self.place.size)]
        traffic = xr.concat([part["traffic"] for part in parts], "sample").drop_encoding()  # chunks of a part
        first = parts[0].drop_vars("traffic")
        return Forecast(xr.Dataset({"traffic": traffic, **first.data_vars}, first.coords, first.attrs))

    def remove(self) -> None:
        """The parts, once what they were joined to is written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _differs(self, path: Path) -> str:
        rank, facts = path.name.split("-")[0], path.with_suffix(".json")
        theirs = json.loads(facts.read_text(encoding="utf-8")) if facts.exists() else {}
        names = [name for name in dict.fromkeys([*self.facts, *theirs]) if self.facts.get(name) != theirs.get(name)]
        return (
            f"process {rank} drew members of something else, which differs in {', '.join(names) or 'what is asked'}: "
            f"give all processes the same command, city, weights and versions, and remove {self.folder} if it is old"
        )


def parts_of(out: Path, place: Place, samples: int, unit: int, facts: Mapping[str, Any]) -> Parts:
    """The parts of a forecast of `samples` members. Raises `ProcessError` where there are more processes than parts."""
    members = shared_members(samples, place.size, unit)
    if len(members) < place.size:
        raise ProcessError(
            f"{samples} members are drawn {unit} at least in each process, so by {len(members)} at most, not by "
            f"{place.size}: start fewer processes, or ask for more --samples"
        )
    return Parts(out, place, members, {**facts, "processes": place.size})


def city_hash(city: City) -> str:
    """SHA-256 of all values, axes and attributes of a city."""
    found = hashlib.sha256(repr(sorted((str(key), str(value)) for key, value in city.attrs.items())).encode())
    for name in sorted(map(str, city.variables)):
        values = np.ascontiguousarray(city[name].values)
        found.update(f"{name} {values.dtype} {values.shape}".encode())
        found.update(repr(values.tolist()).encode() if values.dtype.hasobject else values.tobytes())
    return found.hexdigest()


__all__ = ["PATIENCE", "Parts", "city_hash", "parts_of"]
