"""Where cities come from: one small file per source, told apart by what a file holds and never by its name.

    cities = read_cities("uomo_shandong.npz")       # any file of a known form
    families = list_families(data_folder())         # family name -> file, without reading data
    cities = read_family(data_folder(), "jinan_4g_up")

A *family* is a set of cities with one unit and scale, called by the stem of its file, or `stem_layer` where a
file has more of them.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from fomo.city import City, CityError
from fomo.sources import barcelona, c2tm, german, itu, jinan, milan, nanchang, npdiff, saved, table, uomo
from fomo.sources.archive import TABLES, names_in
from fomo.sources.source import Source, family_name
from fomo.sources.table import read_table

__all__ = ["SOURCES", "data_folder", "list_families", "read_cities", "read_family", "read_table"]

#: The forms that can be read. A file belongs to the first that recognises it.
SOURCES: tuple[Source, ...] = (
    saved.SOURCE,
    uomo.SOURCE,
    npdiff.SOURCE,
    jinan.SOURCE,
    nanchang.SOURCE,
    milan.ACTIVITY,
    milan.INTERNET,
    c2tm.SOURCE,
    german.SOURCE,
    barcelona.SOURCE,
    itu.SOURCE,
    table.SOURCE,
)

READABLE = (".npz", ".zarr", *TABLES)


class UnknownForm(CityError):
    """A sound file whose arrays make none of the known forms."""


def data_folder(explicit: str | Path | None = None) -> Path:
    """The folder with the data: the option if given, else the environment variable FOMO_DATA.

    Raises `CityError` where neither names a folder.
    """
    named = explicit if explicit is not None else os.environ.get("FOMO_DATA")
    if not named:
        raise CityError("no data folder: pass --data DIR or set the environment variable FOMO_DATA")
    folder = Path(named)
    if not folder.is_dir():
        raise CityError(f"there is no folder {folder}: pass --data DIR or set the environment variable FOMO_DATA")
    return folder


def read_cities(path: str | Path) -> list[City]:
    """All cities of one file, every layer of it, or the one of a folder `*.zarr`; their names are unique.

    Raises `CityError`; for a sound file of unknown form it lists what the file holds and which forms are
    known.
    """
    path = Path(path)
    names = names_in(path)
    source = _source_of(path, names)
    return [city for layer in source.layers(names) for city in source.read(path, layer)]


def list_families(folder: str | Path) -> dict[str, Path]:
    """Family name -> file for every readable file in `folder`, sorted by name; no data is read.

    Files of no known form are passed over; damaged ones too, with a warning. Raises `CityError` where there
    is no such folder or two files would be the same family.
    """
    families, left_out = _survey(data_folder(folder))
    for path, error in left_out.items():
        if not isinstance(error, UnknownForm):
            warnings.warn(f"{path.name} is left out: {error}", stacklevel=2)
    return {family: path for family, (path, _, _) in families.items()}


def read_family(folder: str | Path, name: str) -> list[City]:
    """All cities of one family of `folder`. Raises `CityError`;

    for an unknown name it lists those there are.
    """
    folder = data_folder(folder)
    families, left_out = _survey(folder)
    if name not in families:
        unread = "".join(
            f"; {path.name} was left out: {'it is of no known form' if isinstance(error, UnknownForm) else error}"
            for path, error in left_out.items()
        )
        there = ", ".join(families) or "none"
        raise CityError(f"there is no family {name!r} in {folder}; there are: {there}{unread}")
    path, source, layer = families[name]
    return source.read(path, layer)


def _source_of(path: Path, names: frozenset[str]) -> Source:
    for source in SOURCES:
        if source.recognises(names):
            return source
    forms = "".join(f"\n  {source.name}: {source.form}" for source in SOURCES)
    raise UnknownForm(f"{path} holds {sorted(names)}, which is no form known here. Known forms:{forms}")


def _survey(folder: Path) -> tuple[dict[str, tuple[Path, Source, str]], dict[Path, CityError]]:
    """family -> (file, source, layer) and file -> why it was left out."""
    families: dict[str, tuple[Path, Source, str]] = {}
    left_out: dict[Path, CityError] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in READABLE or path.name.startswith("."):
            continue
        try:
            names = names_in(path)
            source = _source_of(path, names)
        except CityError as error:
            left_out[path] = error
            continue
        for layer in source.layers(names):
            family = family_name(path, layer)
            if family in families:
                raise CityError(f"{families[family][0]} and {path} both are family {family!r}: rename one")
            families[family] = (path, source, layer)
    return dict(sorted(families.items())), left_out
