"""Opens files and says plainly what is wrong with them: damaged, an array missing, shapes at odds.

`Archive.take` reads an array whose axes are named in a string, e.g. `take("users", "region time y x")`. An
axis that was seen before must have the same size again: two arrays cannot contradict each other unnoticed.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fomo.city import CityError
from fomo.sources.in_memory import Frame, Table

if TYPE_CHECKING:
    import polars

DAMAGED = (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, KeyError, NotImplementedError)
TABLES = (".csv", ".tsv", ".parquet")
ZARR = "zarr.json"  # the file that makes a folder a saved city


def file_hash(path: Path) -> str:
    """SHA-256 of the file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def names_in(path: Path) -> frozenset[str]:
    """Names of the arrays of an .npz, the columns of a table or the variables of a saved city.

    The kind of file is told from its first bytes, a CSV from its suffix; no data is read. Raises `CityError`.
    """
    if path.is_dir():
        if not (path / ZARR).exists():
            raise CityError(f"{path} is a folder, not a file: use read_family(folder, name) or name one file")
        return frozenset({ZARR, *(part.parent.name for part in path.glob(f"*/{ZARR}"))})
    if not path.is_file():
        raise CityError(f"there is no file {path}: check the path")
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == b"PK\x03\x04":
        return Archive.names_of(path)
    if magic and (magic == b"PAR1" or path.suffix.lower() in TABLES):
        return frozenset(table_columns(path))
    fault = "is empty" if not magic else "is neither .npz, Parquet, CSV nor a saved city"
    raise CityError(f"{path} {fault}: fetch it again or convert it to one of these")


def table_columns(path: Table) -> list[str]:
    """Column names of a Parquet or CSV file or a frame, in their order. Raises `CityError` where it cannot be read."""
    import polars

    try:
        return scan(path).collect_schema().names()
    except (polars.exceptions.PolarsError, OSError) as error:
        raise CityError(f"{path} is damaged or is no table ({first_line(error)}): fetch it again") from None


def scan(path: Table) -> polars.LazyFrame:
    """A Parquet or CSV file, or a frame, as a lazy frame; every column of a CSV is text.

    Raises `CityError` if it is absent.
    """
    import polars

    if isinstance(path, Frame):
        return path.frame.lazy()
    if not path.is_file():
        raise CityError(f"there is no file {path}: check the path")
    with path.open("rb") as file:
        if file.read(4) == b"PAR1":
            return polars.scan_parquet(path)
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    return polars.scan_csv(path, separator=separator, infer_schema=False)


def first_line(error: BaseException) -> str:
    """The first line of an exception's text, or its type where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


class Archive:
    """The arrays of one .npz file, read one by one and never unpickled.

    `path` is the file, `names` what it holds, `sha256` its hash. Raises `CityError` where it is damaged.
    """

    def __init__(self, path: Path) -> None:
        """Look into the file. Raises `CityError`."""
        self.path = path
        self.names = self.names_of(path)
        self.sha256 = file_hash(path)
        self._sizes: dict[str, tuple[int, str]] = {}

    @staticmethod
    def names_of(path: Path) -> frozenset[str]:
        """Names of the arrays in an .npz without reading them. Raises `CityError`."""
        try:
            with zipfile.ZipFile(path) as file:
                return frozenset(name.removesuffix(".npy") for name in file.namelist())
        except DAMAGED as error:
            raise CityError(f"{path} is damaged or cut short ({first_line(error)}): fetch it again") from None

    def take(self, name: str, axes: str, text: bool = False) -> np.ndarray:
        """The array `name`, its axes named in `axes` in order, e.g. "time y x"; numbers unless `text`.

        An axis that is a number must have that size. Raises `CityError` naming file, array and remedy.
        """
        if name not in self.names:
            raise CityError(f"{self.path} lacks the array {name!r} ({axes}); it holds {sorted(self.names)}: add it")
        try:
            with np.load(self.path, allow_pickle=False) as file:
                array: np.ndarray = file[name]
        except DAMAGED as error:
            raise CityError(
                f"array {name!r} of {self.path} cannot be read ({first_line(error)}): "
                "fetch the file again; arrays of objects are refused, write numbers or text"
            ) from None
        kinds, wanted = ("US", "text") if text else ("fiub", "numbers")
        if array.dtype.kind not in kinds:
            raise CityError(f"array {name!r} of {self.path} holds {array.dtype}: write {wanted}")
        names = axes.split()
        if array.ndim != len(names):
            raise CityError(
                f"array {name!r} of {self.path} has shape {array.shape}; it needs the axes "
                f"({', '.join(names)}): reshape or transpose it"
            )
        for axis, size in zip(names, array.shape, strict=True):
            if axis.isdigit():
                if size != int(axis):
                    raise CityError(f"array {name!r} of {self.path} has shape {array.shape}; it needs ({axes})")
                continue
            known, where = self._sizes.setdefault(axis, (size, name))
            if size != known:
                raise CityError(
                    f"array {name!r} of {self.path} has {size} along {axis!r} where {where!r} has {known}: "
                    "one of the two is cut or transposed; fetch the file again"
                )
        return array

    def whole_number(self, name: str) -> int:
        """A single whole number, e.g. `step_minutes`. Raises `CityError`."""
        if name in self.names and self.shape_of(name) == (1,):
            value = self.take(name, "1")[0]
        else:
            value = self.take(name, "")[()]
        if not np.isfinite(value) or value != int(value):
            raise CityError(f"array {name!r} of {self.path} is {value}: it needs one whole number")
        return int(value)

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Shape of an array from its header, without reading its data. Raises `CityError`."""
        try:
            with zipfile.ZipFile(self.path) as file, file.open(f"{name}.npy") as member:
                version = np.lib.format.read_magic(member)
                header = (
                    np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                )
                return header(member)[0]
        except DAMAGED as error:
            raise CityError(
                f"array {name!r} of {self.path} cannot be read ({first_line(error)}): fetch the file again"
            ) from None
