"""One forecast by several processes: each draws some pieces of it beside `--out`, the first one of them joins them.

A piece is named by all that it depends on, and vouched for once it is whole (`pieces`): the same command draws only
what is missing. Processes need a folder that all of them see, and nothing else of each other.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from fomo.app.service.pieces import Watch, facts_of, is_whole, record_of, vouch
from fomo.app.service.sharing import Piece
from fomo.city import City
from fomo.files import remove_folder, remove_left_overs
from fomo.forecast import Forecast, Region
from fomo.processes import Place, ProcessError

#: Seconds that the first process waits for the others after its own part, or as long as that took if it took longer.
PATIENCE = 600.0
LOOK_EVERY = 0.1


@dataclass(frozen=True)
class Parts:
    """The pieces of the forecast `out`; `facts` is all that it depends on, the number of processes included."""

    out: Path
    place: Place
    pieces: Mapping[int, Sequence[Piece]]  # process -> what it draws
    facts: Mapping[str, Any]

    @property
    def mine(self) -> Sequence[Piece]:
        """What this process draws."""
        return self.pieces.get(self.place.rank, ())

    @property
    def joins(self) -> bool:
        """Whether this process joins the pieces: the first of those that draw some."""
        return self.place.rank == min(self.pieces)

    @property
    def folder(self) -> Path:
        """Where pieces lie until they are joined."""
        return folder_of(self.out)

    @property
    def key(self) -> str:
        """The name of everything that the pieces depend on."""
        return key_of(self.facts)

    def path(self, rank: int, piece: Piece) -> Path:
        """A piece of a process."""
        return self.folder / f"{rank}-of-{self.place.size}-{piece}-{self.key}.zarr"

    def draw(self, save: Callable[[Piece, Path], object]) -> None:
        """The own pieces, each left by `save` where the first process finds it, unless it is there, and whole."""
        remove_left_overs(self.folder)
        for piece in self.mine:
            path = self.path(self.place.rank, piece)
            if is_whole(path):
                continue
            remove_folder(path)
            save(piece, path)
            vouch(path, self.facts)

    def wait(self, patience: float) -> None:
        """Until all pieces are there. Raises `ProcessError` after `patience` seconds, or where one is of another."""
        began, before, watch = time.monotonic(), set(self.others()), Watch()
        while missing := [rank for rank in sorted(self.pieces) if not all(map(watch.is_whole, self._of(rank)))]:
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
        """Pieces that answer another question than this one."""
        found = (path for path in self.folder.glob("*-of-*-*.zarr") if not path.stem.endswith(self.key))
        return [path for path in found if record_of(path).exists()]

    def join(self) -> Forecast:
        """The whole forecast of pieces that are forecasts of some members."""
        parts = [Forecast.open(path).dataset for rank in sorted(self.pieces) for path in self._of(rank)]
        traffic = xr.concat([part["traffic"] for part in parts], "sample").drop_encoding()  # chunks of a part
        first = parts[0].drop_vars("traffic")
        return Forecast(xr.Dataset({"traffic": traffic, **first.data_vars}, first.coords, first.attrs))

    def reader(self) -> Callable[[int, Region], Float[np.ndarray, "sample time y x"]]:
        """What reads some values of a district, for `Apart.put_together`, of pieces that `save_array` has left."""
        import zarr

        districts: dict[int, list[tuple[range, zarr.Array[Any]]]] = {}
        for rank, pieces in self.pieces.items():
            for piece in pieces:
                array = zarr.open_array(str(self.path(rank, piece)), mode="r")
                districts.setdefault(piece.district, []).append((piece.members, array))

        def read(district: int, region: Region) -> Float[np.ndarray, "sample time y x"]:
            members, *cells = region
            found = np.empty([each.stop - each.start for each in region], np.float32)
            for drawn, array in districts[district]:
                low, high = max(members.start, drawn.start), min(members.stop, drawn.stop)
                if low < high:
                    there = slice(low - drawn.start, high - drawn.start)
                    found[low - members.start : high - members.start] = array[(there, *cells)]
            return found

        return read

    def checked(self, members: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """Members (sample, time, y, x) of which every asked value is a number. Raises `ProcessError`."""
        without = int(np.isnan(members[:, asked]).sum())
        if without:
            raise ProcessError(
                f"the pieces in {self.folder} give no number for {without:,} asked values: remove that folder and run "
                "the same command again"
            )
        return members

    def remove(self) -> None:
        """The pieces, once what they were joined to is written."""
        remove_folder(self.folder)

    def _of(self, rank: int) -> Iterator[Path]:
        return (self.path(rank, piece) for piece in self.pieces[rank])

    def _differs(self, path: Path) -> str:
        rank, theirs = path.name.split("-")[0], facts_of(path)
        names = [name for name in dict.fromkeys([*self.facts, *theirs]) if self.facts.get(name) != theirs.get(name)]
        return (
            f"process {rank} drew members of something else, which differs in {', '.join(names) or 'what is asked'}: "
            f"give all processes the same command, city, weights and versions, and remove {self.folder} if it is old"
        )


def folder_of(out: Path) -> Path:
    """Where pieces of the forecast `out` lie."""
    return out.absolute().with_name(f".{out.name}.parts")


def key_of(facts: Mapping[str, Any]) -> str:
    """A short name of facts: other facts have another."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def city_hash(city: City) -> str:
    """SHA-256 of all values, axes and attributes of a city."""
    found = hashlib.sha256(repr(sorted((str(key), str(value)) for key, value in city.attrs.items())).encode())
    for name in sorted(map(str, city.variables)):
        values = np.ascontiguousarray(city[name].values)
        found.update(f"{name} {values.dtype} {values.shape}".encode())
        found.update(repr(values.tolist()).encode() if values.dtype.hasobject else values.tobytes())
    return found.hexdigest()


__all__ = ["PATIENCE", "Parts", "city_hash", "folder_of", "key_of"]
