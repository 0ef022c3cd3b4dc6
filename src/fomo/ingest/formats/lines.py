"""A CSV of any separator in blocks of whole lines, all fields as text: no more than a block is held, packed or not."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import polars

from fomo.ingest.formats.compressed import open_binary
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import plain

#: Bytes that are parsed at once.
BLOCK = 64 << 20
#: A line longer than this is none.
LONGEST_LINE = 1 << 20


class Lines:
    """A CSV in blocks of whole lines, all fields as text."""

    def __init__(self, path: Path) -> None:
        """Reads the names of the columns. Raises `IngestError` for what is no table."""
        self.path = path
        with open_binary(path) as file:
            head = file.read(LONGEST_LINE)
        if b"\0" in head[:4096]:
            raise IngestError(f"{path} is no table: its first bytes are not text")
        lines = head.decode("utf-8-sig", errors="replace").splitlines()
        if not lines:
            raise IngestError(f"{path} is empty: export it again")
        self.separator = max(",;\t|", key=lines[0].count)
        self.names = tuple(name.strip() for name in next(_records(lines[0].encode(), self.separator)))
        repeated = {name for name in self.names if self.names.count(name) > 1}
        if repeated:
            raise IngestError(f"{path} has two columns {sorted(repeated)[0]!r}: give each a name of its own")
        self.skipped = 1
        if len(lines) > 1 and self._is_units(lines[1]):
            self.skipped = 2

    def _is_units(self, line: str) -> bool:
        """Huawei's second line: units, no numbers and no time."""
        plain_names = {plain(name) for name in self.names}
        fields = [field.strip().strip('"') for field in line.split(self.separator)]
        return {"resulttime", "objectname"} <= plain_names and not re.search(r"\d{2}:\d{2}", fields[0])

    def frames(
        self, ledger: Ledger, numbers: Collection[str] = (), size: int | None = None
    ) -> Iterator[tuple[int, polars.DataFrame]]:
        """Blocks, with the number of their first line; lines of more or fewer fields than names are rejected.

        Columns of `numbers` are numbers in blocks where all their fields are; everything else is text. `size`: bytes of
        a block.
        """
        line = 1 + self.skipped
        with open_binary(self.path) as file:
            for _ in range(self.skipped):
                file.readline(LONGEST_LINE)
            for block in _blocks(file, self.path, size or BLOCK):
                lines = block.count(b"\n") + (not block.endswith(b"\n"))
                even = block.count(self.separator.encode()) == lines * (len(self.names) - 1)
                plain_lines = even and b'"' not in block and b"\n\n" not in block and b"\r\n\r" not in block
                frame = self._parsed(block, numbers) if plain_lines else None
                if frame is None or frame.width != len(self.names):
                    frame = self._one_by_one(block, line, ledger)
                frame.columns = list(self.names)
                yield line, frame
                line += lines

    def _one_by_one(self, block: bytes, line: int, ledger: Ledger) -> polars.DataFrame:
        """Slower, for fields in quotes and lines of the wrong length."""
        rows = []
        for number, fields in enumerate(_records(block, self.separator), line):
            if len(fields) == len(self.names):
                rows.append(fields)
            elif fields:
                where = f"{self.path.name}, line {number}"
                ledger.reject(f"not {len(self.names)} fields", where, [self.separator.join(fields)])
        return polars.DataFrame(rows, schema=dict.fromkeys(self.names, polars.String), orient="row")

    def _parsed(self, block: bytes, numbers: Collection[str]) -> polars.DataFrame | None:
        """Numbers as such where they all are, else all fields as text; None where lines differ in length."""
        kinds = {name: polars.Float64() if name in numbers else polars.String() for name in self.names}
        text = dict.fromkeys(self.names, polars.String())
        for schema, encoding in ((kinds, "utf8"), (text, "utf8-lossy")):
            with suppress(polars.exceptions.PolarsError):
                return polars.read_csv(
                    io.BytesIO(block), has_header=False, separator=self.separator, schema=schema, encoding=encoding
                )
        return None


def _records(block: bytes, separator: str) -> Iterator[list[str]]:
    """Fields of each line, quotes taken off. A quote that never closes takes nothing with it beyond its line."""
    for text in block.decode("utf-8", errors="replace").splitlines():
        try:
            yield next(csv.reader([text], delimiter=separator, strict=False), [])
        except csv.Error:
            yield [text, "a field without an end"]


def _blocks(file: BinaryIO, path: Path, size: int) -> Iterator[bytes]:
    """Whole lines, about `size` bytes at once; the last of them may lack its end."""
    while True:
        try:
            block = file.read(size)
            rest = file.readline(LONGEST_LINE) if block and not block.endswith(b"\n") else b""
        except (OSError, EOFError) as error:
            raise IngestError(f"{path} breaks off ({first_line(error)}): fetch it again") from None
        if not block:
            return
        if len(rest) == LONGEST_LINE:
            raise IngestError(f"{path} has a line of more than {LONGEST_LINE} bytes: it is no table")
        if block.strip():
            yield block + rest if rest else block


def first_line(error: Exception) -> str:
    """An error of a library in short."""
    return str(error).strip().split("\n")[0][:200]


__all__ = ["BLOCK", "LONGEST_LINE", "Lines", "first_line"]
