"""Files that appear whole or not at all, and never silently in the place of something else.

All files of an export are written in a hidden folder beside their places and renamed from there. An older export of
the same kind is replaced, known by its mark; any other file only with `overwrite=True`. CSV and Parquet bear no mark
and may be an operator's counters, so they always need it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from fomo.ingest.ledger import IngestError

#: kind -> suffixes that its files may have.
SUFFIXES = {
    "geotiff": (".tif", ".tiff"),
    "bil": (".bil",),
    "asc": (".asc",),
    "geojson": (".geojson", ".json"),
    "gpkg": (".gpkg",),
    "csv": (".csv",),
    "parquet": (".parquet",),
}
#: What GDAL keeps beside a raster about it: of an older raster it would be wrong.
STALE = {"geotiff": (".aux.xml", ".ovr"), "bil": (".aux.xml", ".ovr"), "asc": (".aux.xml", ".ovr")}
LAYER = "traffic"  # of GeoPackages
MARK = {"SOFTWARE": "FoMo"}  # among what an exported file says of itself
HEAD = 4096  # bytes of a GeoJSON file that hold it


@contextmanager
def fresh_files(paths: Sequence[Path], kind: str, overwrite: bool) -> Iterator[list[Path]]:
    """Paths to write to, one for each of `paths` (all in one folder), which they replace if the block succeeds.

    What the block writes beside them comes along. Raises `IngestError` where a place is taken by anything but an older
    export of this kind and `overwrite` is False; nothing is changed then.
    """
    if not paths:
        raise IngestError("there is nothing to write: choose at least one period")
    for path in paths:
        _check_place(path, kind, overwrite)
    folder = paths[0].parent
    replaced = {path.stem for path in paths if path.exists()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        hidden = TemporaryDirectory(dir=folder, prefix=f".{paths[0].name}.", suffix=".part")
    except OSError as error:
        raise IngestError(f"{folder} cannot be written to ({error}): name another path") from None
    with hidden as fresh:
        yield [Path(fresh) / path.name for path in paths]
        _publish(Path(fresh), paths, kind, replaced, overwrite)


def kind_of_suffix(path: Path, kinds: Sequence[str]) -> str:
    """The one of `kinds` that has the suffix of `path`. Raises `IngestError`."""
    for kind in kinds:
        if path.suffix.lower() in SUFFIXES[kind]:
            return kind
    known = ", ".join(suffix for kind in kinds for suffix in SUFFIXES[kind])
    raise IngestError(f"{path} has the suffix {path.suffix!r}; it needs one of {known}: rename it")


def check_kind(path: Path, kind: str, kinds: Sequence[str]) -> None:
    """Raises `IngestError` where `kind` is none of `kinds`, or the suffix of `path` is another kind's."""
    if kind not in kinds:
        raise IngestError(f"kind {kind!r} is unknown: it is one of {', '.join(kinds)}")
    kind_of_suffix(path, (kind,))


def _check_place(path: Path, kind: str, overwrite: bool) -> None:
    if path.is_dir():
        raise IngestError(f"{path} is a folder: name a file")
    if kind == "gpkg" and path.with_name(path.name + "-wal").exists():
        raise IngestError(f"{path} is open in another program (there is a {path.name}-wal): close it there first")
    if not overwrite and path.exists() and path.stat().st_size and not _is_export(path, kind):
        raise IngestError(
            f"{path} exists and is not known as an older {kind} export: name another path, or pass overwrite=True "
            "(--overwrite) to replace it"
        )


def _publish(fresh: Path, paths: Sequence[Path], kind: str, replaced: set[str], overwrite: bool) -> None:
    """Rename what was written to its place, main files last; what is stale beside them goes."""
    folder = paths[0].parent
    mains = {path.name for path in paths}
    beside = sorted(file for file in fresh.iterdir() if file.name not in mains)
    for file in beside:
        there = folder / file.name
        # traffic.prj may be of traffic.shp; that of traffic.asc, which is the same, does no harm
        foreign = there.exists() and not any(file.name.startswith(f"{stem}.") for stem in replaced)
        if foreign and not overwrite and file.read_bytes().strip() != there.read_bytes().strip():
            raise IngestError(
                f"{there} exists and belongs to another file: name another path, or pass overwrite=True "
                "(--overwrite) to replace it"
            )
    for path in paths:
        for suffix in STALE.get(kind, ()):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    for file in beside:
        file.replace(folder / file.name)
    for path in paths:
        (fresh / path.name).replace(path)


def _is_export(path: Path, kind: str) -> bool:
    """Whether the file bears the mark of an export of this kind."""
    if kind == "geotiff":
        import rasterio
        import rasterio.errors

        try:
            with rasterio.open(path, driver="GTiff") as raster:
                return MARK.items() <= raster.tags().items()
        except rasterio.errors.RasterioError:
            return False
    if kind in ("bil", "asc"):
        beside = path.with_name(path.name + ".aux.xml")
        return beside.exists() and b'key="SOFTWARE">FoMo<' in beside.read_bytes()
    if kind == "geojson":
        with path.open("rb") as file:
            return b'"SOFTWARE": "FoMo"' in file.read(HEAD)
    return kind == "gpkg" and _is_gpkg(path)


def _is_gpkg(path: Path) -> bool:
    """A GeoPackage that bears the mark and holds nothing but the layer of an export."""
    with path.open("rb") as file:
        if not file.read(16).startswith(b"SQLite format 3\0"):
            return False
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as tables:
            layers = [name for (name,) in tables.execute("SELECT table_name FROM gpkg_contents")]
            told = " ".join(text for (text,) in tables.execute("SELECT metadata FROM gpkg_metadata"))
    except sqlite3.DatabaseError:
        return False  # no GeoPackage, or a damaged one: refused like any other file
    return layers == [LAYER] and 'key="SOFTWARE">FoMo<' in told


__all__ = ["LAYER", "MARK", "SUFFIXES", "check_kind", "fresh_files", "kind_of_suffix"]
