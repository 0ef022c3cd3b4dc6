"""What every source says of itself: which form of file it reads, which families are in it, how to read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fomo.city import City


@dataclass(frozen=True)
class Source:
    """One form of file. Forms are told apart by what a file holds, never by its name or its sizes.

    `form` tells a person which arrays make the form; `recognises` decides from the names of arrays or
    columns. `layers` names the families in a file: '' is the main one, 'up' becomes 'stem_up'. `read(path,
    layer)` reads the cities of one layer.
    """

    name: str
    form: str
    recognises: Callable[[frozenset[str]], bool]
    read: Callable[[Path, str], list[City]]
    layers: Callable[[frozenset[str]], list[str]] = lambda names: [""]


def family_name(path: Path, layer: str) -> str:
    """'stem' for the main layer of a file, 'stem_layer' for another."""
    return f"{path.stem}_{layer}" if layer else path.stem
