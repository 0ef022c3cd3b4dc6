"""Which form a file of counters has, told from its content, and the reader of that form.

A new form is one line of `FORMS`: its name, how its files begin, and the two functions of its module.
"""

from __future__ import annotations

import codecs
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars

from fomo.ingest.formats.text_blocks import first_bytes, open_text
from fomo.ingest.formats.xml_stream import root_of
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping


@dataclass(frozen=True)
class Form:
    """`begins`: local names of XML roots, or what `_beginning` calls the first bytes."""

    name: str
    begins: tuple[str, ...]
    module: str
    read: str  # (path, mapping, ledger) -> batches of COUNTS
    names: str  # (path) -> names of counters
    cells: str = ""  # (path, mapping) -> names of cells, part by part; where there is none, the file is read for them

    def function(self, name: str) -> Any:
        """A function of its module, which is imported now."""
        return getattr(importlib.import_module(f"fomo.ingest.formats.{self.module}"), name)


ROOTS = ("measCollecFile", "measDataFile", "mdc")
FORMS = (
    Form("3gpp", ROOTS, "pm_xml", "read_pm_xml", "pm_xml_counter_names", "pm_xml_cells"),
    Form("omes", ("OMeS",), "omes", "read_omes", "omes_counter_names"),
    Form("ves", ("{json}",), "ves", "read_ves", "ves_counter_names"),
    Form("table", ("{parquet}", "{text}"), "table", "read_table_counts", "table_counter_names", "table_cells"),
)


def form_of(path: Path) -> str:
    """'3gpp', 'omes', 'ves' or 'table'. Raises `IngestError` for an empty file and for one of no known form."""
    return _form(path).name


def counter_names(path: Path) -> list[str]:
    """Counters that the file holds, for `guess_mapping`. Raises `IngestError`, for a file that breaks off, too."""
    form = _form(path)
    names: list[str] = form.function(form.names)(path)
    return names


def read_counts(path: Path, mapping: Mapping, ledger: Ledger) -> Iterator[polars.DataFrame]:
    """Batches of `COUNTS` of a file of any form (a `counts.Reader`), cells by the names of the site list.

    Raises `IngestError`.
    """
    form, names = _form(path), mapping.cell.names
    for counts in form.function(form.read)(path, mapping, ledger):
        yield counts.with_columns(polars.col("cell").replace(names)) if names else counts


def cells_in(path: Path, mapping: Mapping) -> Iterator[set[str]]:
    """Cells that have counters of the mapping in a file of any form, part by part, in less time than its rows take.

    By the names of the site list. Raises `IngestError`.
    """
    form = _form(path)
    if form.cells:
        yield from map(mapping.cell.called, form.function(form.cells)(path, mapping))
        return
    for counts in read_counts(path, mapping, Ledger()):
        yield set(counts["cell"])


def _form(path: Path) -> Form:
    begins = _beginning(path)
    for form in FORMS:
        if begins in form.begins:
            return form
    roots = ", ".join(begin for form in FORMS for begin in form.begins if not begin.startswith("{"))
    what = "binary (or UTF-16 without a byte order mark)" if begins == "{binary}" else f"XML with the root {begins!r}"
    raise IngestError(f"{path} is {what}: counters are read from XML ({roots}), VES events in JSON, CSV and Parquet")


def _beginning(path: Path) -> str:
    if path.is_dir():
        raise IngestError(f"{path} is a folder: name its files, e.g. {path}/*.xml")
    with open_text(path) as file:
        head = first_bytes(file, 4096)
    if head.startswith(b"PAR1"):
        return "{parquet}"
    head = head.removeprefix(codecs.BOM_UTF8)
    text = head.replace(b"\0", b"").lstrip()
    if not text:
        raise IngestError(f"{path} is empty: export it again")
    if text.startswith(b"<"):
        return root_of(path)
    if b"\0" in head:
        return "{binary}"
    return "{json}" if text.startswith((b"{", b"[")) else "{text}"


__all__ = ["FORMS", "Form", "cells_in", "counter_names", "form_of", "read_counts"]
