"""A city on disk that grows by days: the grid that forecasts read, and beside it the operator's own cells.

    NAME.zarr/              a city as `fomo.open_city` reads it: traffic, users (time, y, x), covered, poi, residents,
                            and where the site list says any days in service, those of squares
    NAME.zarr/cells/        traffic, users, state (time, cell) at the counters' own period, names, lon, lat
    NAME.zarr/allocation/   the sparse matrix from cells to the grid, its parts off the grid, days in service
    NAME.zarr/.twice/       of days on which clocks are set back both hours of the cells, for later runs (`shown_twice`)

Each day is one chunk of every array, written whole before anything says that it is there. What is there is said by the
consolidated metadata in the root's `zarr.json` alone, which one rename replaces: a reader, and a run that goes on after
a kill, see all days of a commit or none of them.
"""

from __future__ import annotations

import datetime
import json
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from fomo.city import MINUTES_PER_DAY, SCHEMA_VERSION, SERVICE
from fomo.days_off import DaysOffSource
from fomo.files import whole_file
from fomo.ingest.allocation import Allocation, dated_service
from fomo.ingest.cube import Day, Kind, State
from fomo.ingest.files import named_shortly
from fomo.ingest.ground import Ground
from fomo.ingest.ledger import IngestError
from fomo.ingest.shown_twice import read_twice, write_twice
from fomo.ingest.undo import forget, keep

if TYPE_CHECKING:
    import xarray as xr

#: Times of one chunk: few files, and an appended day writes little again.
TIMES = 1 << 14
ROOT = "zarr.json"
#: Days that room is made for at a time, as metadata take as long as data; a commit takes back what is left.
ROOM_AHEAD = 32
#: How chunks of days are compressed, as `_series` tells zarr: fast, and float32 shuffled by bytes is small enough.
LZ4 = {"cname": "lz4", "clevel": 3, "shuffle": 1}
#: Axes and units of days in service of the cells.
SERVICE_AXES = ("cell", "end"), "days since 1970-01-01"
#: What NaT is as a whole number.
NO_DAY = int(np.datetime64("NaT", "D").astype(np.int64))


@dataclass(frozen=True)
class Layout:
    """What does not change while a city grows."""

    ground: Ground
    cells: tuple[str, ...]
    cell_lon: Float[np.ndarray, " cell"]
    cell_lat: Float[np.ndarray, " cell"]
    cell_minutes: int  # of the counters
    step_minutes: int  # of the city
    first_day: np.datetime64
    users: bool
    cumulative: bool  # the counters only grow: their own values are kept beside the traffic
    attributes: dict[str, Any]  # of the city's schema
    allocation: Allocation


def is_of_operator(path: Path) -> bool:
    """Whether a city on disk has an operator's own cells beside it, as `fomo city build` makes it."""
    if not all((path / group / ROOT).exists() for group in ("", "cells", "allocation")):
        return False
    return "ingest" in json.loads((path / ROOT).read_text(encoding="utf-8"))["attributes"]


class CityStore:
    """Writes days; `commit` makes them visible."""

    def __init__(self, path: Path, days: int | None = None) -> None:
        """An existing store; `days` that have room in it where it is ahead of what is visible.

        Raises `IngestError` where there is none, or it is no city that can grow.
        """
        self.path = path
        if not (path / ROOT).exists():
            raise IngestError(f"{path} is no city: make one with 'fomo city build'")
        root = json.loads((path / ROOT).read_text(encoding="utf-8"))
        self.attributes: dict[str, Any] = root["attributes"]
        if "ingest" not in self.attributes or not (path / "cells" / ROOT).exists():
            raise IngestError(f"{path} was not made by 'fomo city build', so it has no cells of an operator")
        self.report: dict[str, Any] = json.loads(self.attributes["ingest"])
        self.commits = int(self.report.get("commits", 0))
        self.first_day = np.datetime64(self.report["first_day"], "D")
        self.cell_minutes, self.step_minutes = int(self.report["cell_minutes"]), int(self.attributes["step_minutes"])
        metadata = root["consolidated_metadata"]["metadata"]
        self.visible_days = metadata["time"]["shape"][0] * self.step_minutes // MINUTES_PER_DAY
        self.days = self.visible_days if days is None else days
        self._room = self.days  # days that fit into the arrays by their own metadata
        self.has_users, self.cumulative = "users" in metadata, "cells/counter" in metadata
        self.has_service = "allocation/service" in metadata  # days in service that are visible
        exact = self.cumulative and metadata["cells/counter"]["data_type"] == "float64"
        self.kind: Kind = np.float64 if exact else np.float32  # of the counts as they are read
        self._arrays: dict[str, Any] = {}
        self.touched: set[np.datetime64] = set()  # days that were written, or made room for, since it was opened

    @classmethod
    def create(
        cls, path: Path, layout: Layout, layers: dict[str, tuple[tuple[str, ...], np.ndarray]], said: dict[str, Any]
    ) -> CityStore:
        """An empty city; `layers`: more variables of the grid, name -> (axes, values); `said`: to its report.

        Everything is made beside `path` and renamed, so that there is a whole store, with its report, or none. Raises
        `IngestError`.
        """
        import zarr

        if path.exists():
            raise IngestError(f"{path} exists: append to it, remove it or name another")
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
        ground = layout.ground
        periods, steps = MINUTES_PER_DAY // layout.cell_minutes, MINUTES_PER_DAY // layout.step_minutes
        root = zarr.open_group(str(fresh), mode="w", zarr_format=3)
        cells = root.create_group("cells")
        grid, many = (ground.height, ground.width), (len(layout.cells),)
        for name in ("traffic", *(("users",) if layout.users else ())):
            units = layout.attributes["unit"] if name == "traffic" else "users per period"
            _series(root, name, grid, steps, ("time", "y", "x"), "float32", np.nan, coordinates="lon lat", units=units)
            _series(cells, name, many, periods, ("time", "cell"), "float32", np.nan, coordinates="lon lat")
        if layout.cumulative:
            _series(cells, "counter", many, periods, ("time", "cell"), "float64", np.nan, coordinates="lon lat")
        _series(cells, "state", many, periods, ("time", "cell"), "uint8", int(State.MISSING))
        for group, minutes in ((root, layout.step_minutes), (cells, layout.cell_minutes)):
            time = group.create_array("time", shape=(0,), chunks=(TIMES,), dtype="int64", dimension_names=("time",))
            since = f"minutes since {layout.first_day}T00:00:00"
            time.attrs.update({"units": since, "calendar": "proleptic_gregorian", "step_minutes": minutes})
        lon, lat = ground.lonlat()
        edge = ground.cell_m / 1000
        _fixed(root, "y", (np.arange(ground.height) + 0.5) * edge, ("y",), "km")
        _fixed(root, "x", (np.arange(ground.width) + 0.5) * edge, ("x",), "km")
        _fixed(root, "lon", lon, ("y", "x"), "degrees_east")
        _fixed(root, "lat", lat, ("y", "x"), "degrees_north")
        _fixed(root, "covered", layout.allocation.covered, ("y", "x"))
        for name, days in zip(SERVICE, layout.allocation.days_served() or (), strict=False):
            _fixed(root, name, days, ("y", "x"))
        for name, (axes, values) in layers.items():
            _fixed(root, name, values, axes)
        _fixed(cells, "cell", np.array(layout.cells, dtype=object), ("cell",))
        _fixed(cells, "lon", layout.cell_lon, ("cell",), "degrees_east")
        _fixed(cells, "lat", layout.cell_lat, ("cell",), "degrees_north")
        matrix, group = layout.allocation.matrix, root.create_group("allocation")
        parts = {
            "indptr": matrix.indptr,
            "indices": matrix.indices,
            "data": matrix.data,
            "lost": layout.allocation.lost,
        }
        for name, values in parts.items():
            _fixed(group, name, np.asarray(values), (name,))
        if layout.allocation.service is not None:
            _fixed(group, "service", layout.allocation.service, *SERVICE_AXES)
        attributes = {
            **layout.attributes, **ground.attributes(), "schema_version": SCHEMA_VERSION,
            "step_minutes": layout.step_minutes, "cell_km": edge, "layout": "grid", "calendar": "date",
        }  # fmt: skip
        report = {**said, "first_day": str(layout.first_day), "cell_minutes": layout.cell_minutes}
        _write_root(fresh, {**attributes, "ingest": json.dumps(report)})
        try:
            fresh.rename(path)
        except OSError:
            shutil.rmtree(fresh, ignore_errors=True)
            if not path.exists():
                raise
            raise IngestError(f"{path} was made by another process meanwhile: append to it, or name another") from None
        return cls(path)

    def day(self, date: np.datetime64) -> Day | None:
        """A day's counts as they were read (of counters that only grow their own values), or None.

        Raises `IngestError` for a day before the city's first.
        """
        index = self.index_of(date)
        if index >= self.days:
            return None
        periods = MINUTES_PER_DAY // self.cell_minutes
        part = slice(index * periods, (index + 1) * periods)
        traffic = self._array("cells/counter" if self.cumulative else "cells/traffic")[part]
        users = self._array("cells/users")[part] if self.has_users else np.full(traffic.shape, np.nan, np.float32)
        return Day(traffic, users, self._array("cells/state")[part], twice=read_twice(self.path / _twice_of(date)))

    def visible_day(self, date: np.datetime64) -> Day | None:
        """A day of an earlier commit, or None."""
        return self.day(date) if self.index_of(date) < self.visible_days else None

    def visible(self, name: str, index: int) -> np.ndarray:
        """A visible day, counted from the first, of an array that grows, such as 'traffic' or 'cells/state'."""
        steps = MINUTES_PER_DAY // (self.cell_minutes if name.startswith("cells/") else self.step_minutes)
        return np.asarray(self._array(name)[index * steps : (index + 1) * steps])

    def holds(self, name: str, index: int) -> bool:
        """Whether anything is recorded on a day, counted from the first, of an array that grows: else it is no file."""
        return self._chunk(name, index).exists()

    def reserve(self, dates: Sequence[np.datetime64]) -> None:
        """Room for days, so that others can write them."""
        self.touched.update(dates)
        last = max((self.index_of(date) for date in dates), default=-1)
        if last >= self.days:
            self._grow(last + 1)

    def write(
        self,
        date: np.datetime64,
        day: Day,
        traffic: Float[np.ndarray, "step y x"],
        users: Float[np.ndarray, "step y x"] | None,
        counter: Float[np.ndarray, "period cell"] | None = None,
    ) -> None:
        """A day of the cells and of the grid; not visible before `commit`. `counter`: of counters that only grow."""
        index = self.index_of(date)
        if index < self.visible_days:
            names = [*self._names("")[:-1], *(f"cells/{name}" for name in self._names("cells/")[:-1])]
            chunk = {name: f"{index}/0" if name.startswith("cells/") else f"{index}/0/0" for name in names}
            files = [f"{name}/c/{part}" for name, part in chunk.items()]
            keep(self.path, self.commits, files if day.twice is None else [*files, _twice_of(date)])
        if index >= self._room:
            self._grow(index + 1, ROOM_AHEAD)
        self.days = max(self.days, index + 1)
        self.touched.add(date)
        self._put("cells/traffic", index, day.traffic)
        self._put("cells/state", index, day.state)
        self._put("traffic", index, traffic)
        write_twice(self.path / _twice_of(date), day.twice)
        if self.cumulative:
            assert counter is not None
            self._put("cells/counter", index, counter)
        if self.has_users:
            assert users is not None
            self._put("cells/users", index, day.users)
            self._put("users", index, users)

    def write_grid(
        self, date: np.datetime64, traffic: Float[np.ndarray, "step y x"], users: Float[np.ndarray, "step y x"]
    ) -> None:
        """A visible day of the grid alone, whose cells stay as they are; not visible before `commit`."""
        index = self.index_of(date)
        grids = {"traffic": traffic, "users": users} if self.has_users else {"traffic": traffic}
        keep(self.path, self.commits, [str(self._chunk(name, index).relative_to(self.path)) for name in grids])
        for name, values in grids.items():
            self._put(name, index, values)

    def tell_service(self, allocation: Allocation) -> None:
        """Other days in service of the cells, and of the squares; a kill before the next commit undoes it."""
        import zarr

        assert allocation.service is not None
        root: Any = zarr.open_group(str(self.path), mode="r+", use_consolidated=False)
        served = zip(SERVICE, allocation.days_served() or (), strict=True)
        told = [(root["allocation"], "service", allocation.service), *((root, name, days) for name, days in served)]
        for group, name, days in told:
            at = f"{group.path}/{name}".lstrip("/")
            new = () if (self.path / at / ROOT).exists() else (f"{at}/{ROOT}",)  # undone by taking it away
            keep(self.path, self.commits, [f"{at}/c/0/0", *new])
            if name in group:  # in one chunk: a reader sees what was or what is
                group[name][...] = _whole_days(days)
            elif name == "service":
                _fixed(group, name, days, *SERVICE_AXES)
            else:
                _fixed(group, name, days, ("y", "x"))

    def commit(self, report: dict[str, Any]) -> None:
        """Make all that was written visible, with what is to be known of it."""
        self._grow(self.days)  # also what was not written: a run that was killed may have made room
        if self.days > self.visible_days:
            for group, minutes in (("", self.step_minutes), ("cells/", self.cell_minutes)):
                before, steps = (days * MINUTES_PER_DAY // minutes for days in (self.visible_days, self.days))
                self._array(f"{group}time")[before:] = np.arange(before, steps) * minutes
        self.report = {**self.report, **report, "commits": self.commits + 1}
        self.attributes.update({**self._source(), **self._days_off()})
        _write_root(self.path, {**self.attributes, "ingest": json.dumps(self.report)})
        self.commits += 1
        self.has_service = (self.path / "allocation" / "service" / ROOT).exists()
        forget(self.path)
        self.visible_days = self.days

    def tell_days_off(self, source: DaysOffSource) -> None:
        """Where days off come from, from the next commit on: each looks up those of the days that it has."""
        self.report = {**self.report, "days_off": source.as_stored()}

    def _source(self) -> dict[str, str]:
        """Which files were read; nothing before the first of them."""
        in_part = [part["file"] for part in self.report.get("files_in_part", {}).values()]
        names = named_shortly([*self.report.get("files", {}).values(), *in_part])
        return {"source": names} if names else {}

    def _days_off(self) -> dict[str, list[str]]:
        """What the city says of them; nothing where it was not told."""
        said = self.report.get("days_off")
        if said is None or not self.days:
            return {}
        first = datetime.date.fromisoformat(str(self.first_day))
        last = first + datetime.timedelta(days=self.days - 1)
        return DaysOffSource.stored(said).for_time(first, last).attributes()

    def cells(self) -> xr.Dataset:
        """The operator's cells as far as they are visible: traffic, users, state (time, cell).

        Where days in service are said, they are coordinates: `first_served`, `last_served`; NaT = no such end.
        """
        import xarray as xr

        cells, service = xr.open_zarr(self.path, group="cells", consolidated=True), self._service()
        if service is None:
            return cells
        days = (each.astype("datetime64[ns]") for each in dated_service(service))
        return cells.assign_coords({name: ("cell", each) for name, each in zip(SERVICE, days, strict=True)})

    def cell_names(self) -> tuple[str, ...]:
        """The operator's own names, in the order of the arrays."""
        import zarr

        return tuple(np.asarray(zarr.open_array(str(self.path / "cells" / "cell"), mode="r")[...]).tolist())

    def ground(self) -> Ground:
        """Where the grid lies."""
        import zarr

        height, width = zarr.open_array(str(self.path / "covered"), mode="r").shape
        west, south, cell_m = (float(self.attributes[name]) for name in ("west_m", "south_m", "cell_m"))
        return Ground(str(self.attributes["crs"]), west, south, cell_m, height, width)

    def allocation(self) -> Allocation:
        """How the cells are spread over the grid."""
        import zarr
        from scipy.sparse import csr_array

        names = ("data", "indices", "indptr", "lost")
        data, indices, indptr, lost = (
            np.asarray(zarr.open_array(str(self.path / "allocation" / name), mode="r")[...]) for name in names
        )
        ground, cells = self.ground(), self.cell_names()
        shape = (ground.height * ground.width, len(cells))
        matrix = csr_array((data, indices, indptr), shape=shape)
        return Allocation(cells, matrix, lost, ground.height, ground.width, self._service())

    def _service(self) -> Int[np.ndarray, "cell 2"] | None:
        """Days in service of the cells, as in `Allocation.service`."""
        import zarr

        if not self.has_service:
            return None
        return np.asarray(zarr.open_array(str(self.path / "allocation" / "service"), mode="r")[...])

    def index_of(self, date: np.datetime64) -> int:
        """Which day of the city it is, counted from the first. Raises `IngestError` for one before it."""
        index = int((date - self.first_day) / np.timedelta64(1, "D"))
        if index < 0:
            raise IngestError(
                f"{date} lies before the first day of {self.path}, {self.first_day}: a city grows to later days only; "
                "build it again with these files"
            )
        return index

    def _names(self, group: str) -> list[str]:
        """Arrays of the root ('') or of the cells ('cells/') that grow."""
        names = ["traffic", *(["users"] if self.has_users else []), *(["state"] if group else [])]
        names += ["counter"] if group and self.cumulative else []
        return [*names, "time"]

    def _grow(self, days: int, ahead: int = 0) -> None:
        """Room for so many days, and `ahead` more, in the arrays' own metadata; the root's does not say so yet."""
        self.days = max(self.days, days)
        self._room = self.days + ahead
        for group in ("", "cells/"):
            for name in self._names(group):
                self._array(f"{group}{name}")

    def _put(self, name: str, index: int, values: np.ndarray) -> None:
        """A day of an array as its chunk: what zarr would write, in half the time.

        As there, a chunk of nothing but the fill value is no file.
        """
        from numcodecs import Blosc

        array = self._array(name)
        if array.chunks != values.shape or array.shape[0] < (index + 1) * len(values):
            raise AssertionError(f"day {index} of {name}, {values.shape}, is no chunk of {array.chunks}")
        file = self._chunk(name, index)
        values = np.ascontiguousarray(values, array.dtype.newbyteorder("<"))
        if _same(values.reshape(-1)[:1], array.fill_value) and all(_same(row, array.fill_value) for row in values):
            file.unlink(missing_ok=True)
            return
        with whole_file(file) as fresh:
            fresh.write_bytes(Blosc(**LZ4).encode(values))

    def _chunk(self, name: str, index: int) -> Path:
        """The file of a day of an array."""
        array = self._array(name)
        key: str = array.metadata.encode_chunk_key((index, *(0 for _ in array.shape[1:])))
        return self.path / name / key

    def _array(self, name: str) -> Any:
        """An array with room for as many days as there should be: a run may have been killed between the two."""
        if name not in self._arrays:
            import zarr

            self._arrays[name] = zarr.open_array(str(self.path / name), mode="r+")
        array = self._arrays[name]
        steps = self._room * MINUTES_PER_DAY // (self.cell_minutes if name.startswith("cells/") else self.step_minutes)
        if array.shape[0] != steps:
            array.resize((steps, *array.shape[1:]))
        return array


def _series(
    group: Any, name: str, places: tuple[int, ...], steps: int, axes: tuple[str, ...], kind: str, fill: float,
    coordinates: str = "", units: str = "",
) -> None:  # fmt: skip
    """An array that grows along time, a day to a chunk."""
    from zarr.codecs import BloscCodec

    array = group.create_array(
        name, shape=(0, *places), chunks=(steps, *places), dtype=kind, fill_value=fill, dimension_names=axes,
        compressors=BloscCodec(cname="lz4", clevel=3, shuffle="shuffle", typesize=np.dtype(kind).itemsize),
    )  # fmt: skip
    array.attrs.update({key: text for key, text in (("coordinates", coordinates), ("units", units)) if text})


def _twice_of(date: np.datetime64) -> str:
    """Where both of the hours are that a day has twice."""
    return f".twice/{date}.npz"


def _same(values: np.ndarray, fill: Any) -> bool:
    """Whether all of them are the fill value; NaN is NaN."""
    return bool((np.isnan(values) if np.isnan(fill) else values == fill).all())


def _whole_days(values: np.ndarray) -> np.ndarray:
    """Days as numbers since 1970."""
    return values.astype("datetime64[D]").astype(np.int64) if values.dtype.kind == "M" else values


def _fixed(group: Any, name: str, values: np.ndarray, axes: tuple[str, ...], units: str = "") -> None:
    """An array that does not grow; days are counted from 1970 on, as xarray reads them."""
    told: dict[str, Any] = {"units": units} if units else {}
    if values.dtype.kind == "M":
        values = _whole_days(values)
        told = {"units": "days since 1970-01-01", "calendar": "proleptic_gregorian", "_FillValue": NO_DAY}
    kind = str if values.dtype == object or values.dtype.kind == "U" else values.dtype
    shape = values.shape
    array = group.create_array(name, shape=shape, chunks=shape, dtype=kind, dimension_names=axes)
    array[...] = values.astype(object) if kind is str else values
    array.attrs.update(told)


def _write_root(path: Path, attributes: dict[str, Any]) -> None:
    """The root's metadata, with that of everything below it, replaced at once."""
    below = {
        str(file.parent.relative_to(path)): json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(path.rglob(ROOT))
        if file.parent != path
    }
    inline = {"kind": "inline", "must_understand": False, "metadata": below}
    root = {"zarr_format": 3, "node_type": "group", "attributes": attributes, "consolidated_metadata": inline}
    with whole_file(path / ROOT) as fresh:
        fresh.write_text(json.dumps(root), encoding="utf-8")


__all__ = ["ROOT", "CityStore", "Layout", "is_of_operator"]
