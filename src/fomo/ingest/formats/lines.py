"""A CSV of any separator in blocks of whole lines, all fields as text: no more than a block is held, packed or not."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

import polars

from fomo.ingest.formats.compressed import open_binary
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import plain

#: Bytes that are parsed at once.
BLOCK = 64 << 20
#: Bytes that are unpacked at once: what a packed file holds before it breaks off is read.
PIECE = 1 << 20
#: A line longer than this is none.
LONGEST_LINE = 1 << 20
#: Bytes of a block in which spaces beside separators are looked for.
HEAD = 64 << 10
#: Lines that a field in quotes may run over.
LINES_OF_A_ROW = 20
#: The number of a block's first line, or those of all its rows where lines were left out or joined.
Numbers = int | polars.Series
WESTERN = "letters that are not UTF-8: read as Western European ones (Windows-1252)"


def _western(error: UnicodeError) -> tuple[str, int]:
    """A codec's error handler: bytes that are not UTF-8 are letters of Windows-1252, or else of Latin-1."""
    assert isinstance(error, UnicodeDecodeError)
    odd = error.object[error.start : error.end]
    try:
        return odd.decode("cp1252"), error.end
    except UnicodeDecodeError:
        return odd.decode("latin-1"), error.end


codecs.register_error("fomo-western", _western)


class Lines:
    """A CSV in blocks of whole lines, all fields as text."""

    def __init__(self, path: Path) -> None:
        """Reads the names of the columns. Raises `IngestError` for what is no table."""
        self.path = path
        with open_binary(path) as file:
            head = _head(file)
        if b"\0" in head[:4096]:
            raise IngestError(f"{path} is no table: its first bytes are no text; if it is UTF-16, save it as UTF-8")
        if b"\n" not in head and b"\r" in head:
            raise IngestError(f"{path} ends its lines with a carriage return alone: save it with line feeds")
        lines = [line.rstrip("\r") for line in head.decode("utf-8-sig", errors="fomo-western").split("\n")]
        self.skipped = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
        if self.skipped == len(lines):
            raise IngestError(f"{path} is empty: export it again")
        said = re.fullmatch(r'"?sep=(.)"?', lines[self.skipped].strip())  # what Excel is told
        self.skipped += said is not None
        width = next((n for n in range(1, LINES_OF_A_ROW) if not _open("\n".join(lines[self.skipped :][:n]))), 1)
        header = "\n".join(lines[self.skipped :][:width])
        self.skipped += width
        bare = re.sub(r'"[^"]*"', "", header)
        self.separator = said[1] if said else max(",;\t|", key=bare.count)
        names = [name.strip() for name in _fields(header, self.separator)]
        # Separators at the end of lines make columns without a name.
        following = lines[self.skipped] if self.skipped < len(lines) else ""
        more = _fields(following, self.separator)[len(names) :] if not _open(following) else []
        names += [""] * (len(more) if not any(more) else 0)
        self.names = tuple(name or f"column {number} without a name" for number, name in enumerate(names, 1))
        self.named = max((number for number, name in enumerate(names, 1) if name), default=0)
        repeated = {name for name in self.names if self.names.count(name) > 1}
        if repeated:
            raise IngestError(f"{path} has two columns {sorted(repeated)[0]!r}: give each a name of its own")
        if self._is_units(following):
            self.skipped += 1

    def _is_units(self, line: str) -> bool:
        """Huawei's second line: units, no numbers and no time."""
        plain_names = {plain(name) for name in self.names}
        if not line.strip() or not {"resulttime", "objectname"} <= plain_names:
            return False
        return not re.search(r"\d{2}:\d{2}|\d{8}", line) and not any(map(_is_number, _fields(line, self.separator)))

    def frames(
        self, ledger: Ledger, numbers: Collection[str] = (), size: int | None = None
    ) -> Iterator[tuple[Numbers, polars.DataFrame]]:
        """Blocks, with the number of their first line; lines of more or fewer fields than names are rejected.

        Columns of `numbers` are numbers in blocks where all their fields are; everything else is text. `size`: bytes of
        a block.
        """
        line, separator = 1 + self.skipped, self.separator.encode()
        spaces = (separator + b" ", b" " + separator, b"\n ", b" \n", b" \r")
        with open_binary(self.path) as file:
            for _ in range(self.skipped):
                file.readline(LONGEST_LINE)
            for block in _blocks(file, self.path, size or BLOCK):
                lines = block.count(b"\n") + (not block.endswith(b"\n"))
                if not block.isspace():
                    yield self._frame(self._as_utf8(block, line, ledger), line, lines, numbers, spaces, ledger)
                line += lines

    def _frame(
        self, block: bytes, line: int, lines: int, numbers: Collection[str], spaces: Sequence[bytes], ledger: Ledger
    ) -> tuple[Numbers, polars.DataFrame]:
        even = block.count(self.separator.encode()) == lines * (len(self.names) - 1)
        plain_lines = even and b'"' not in block and b"\n\n" not in block and b"\r\n\r" not in block
        frame, places = (self._parsed(block, numbers) if plain_lines else None), None
        if frame is None or frame.width != len(self.names) or frame.height != lines:
            frame, places = self._one_by_one(block, line, ledger)
        frame.columns = list(self.names)
        if any(space in block[:HEAD] for space in spaces):
            frame = frame.with_columns(polars.col(polars.String).str.strip_chars())
        return line if places is None else places, frame

    def _as_utf8(self, block: bytes, line: int, ledger: Ledger) -> bytes:
        """What is not UTF-8 is told apart still: two names must not become one."""
        if block.isascii():
            return block
        try:
            block.decode("utf-8")
        except UnicodeDecodeError:
            text = block.decode("utf-8", errors="fomo-western")
            odd = len(block.decode("utf-8", errors="ignore"))
            ledger.note(WESTERN, len(text) - odd, f"{self.path.name}, line {line} or after")
            return text.encode()
        return block

    def _one_by_one(self, block: bytes, line: int, ledger: Ledger) -> tuple[polars.DataFrame, polars.Series]:
        """Slower, for fields in quotes and lines of the wrong length; with the numbers of the rows' lines."""
        rows, numbers, width = [], [], len(self.names)
        for number, fields in _records(block, self.separator, width):
            if len(fields) > width and not any(fields[width:]):
                fields = fields[:width]
            elif self.named <= len(fields) < width:
                fields = fields + [""] * (width - len(fields))
            if len(fields) == width:
                rows.append(fields)
                numbers.append(line + number)
            elif fields:
                where = f"{self.path.name}, line {line + number}"
                ledger.reject(f"not {width} fields", where, [self.separator.join(fields)])
        frame = polars.DataFrame(rows, schema=dict.fromkeys(self.names, polars.String), orient="row")
        return frame, polars.Series(numbers, dtype=polars.Int64)

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


def _records(block: bytes, separator: str, width: int) -> Iterator[tuple[int, list[str]]]:
    """Fields of each row, quotes taken off, and its line from 0; a field in quotes may run over some lines.

    A quote that never closes takes nothing with it beyond its line.
    """
    lines = block.decode("utf-8", errors="replace").removesuffix("\n").split("\n")
    at = 0
    while at < len(lines):
        fields, taken = _fields(lines[at].rstrip("\r"), separator), 1
        if _open(lines[at]):
            for more in range(2, min(LINES_OF_A_ROW, len(lines) - at) + 1):
                row = "\n".join(lines[at : at + more])
                if not _open(row):
                    longer = _fields(row.rstrip("\r"), separator)
                    if len(longer) == width:
                        fields, taken = longer, more
                    break
        yield at, fields
        at += taken


def _open(text: str) -> bool:
    """Whether a quote is not closed."""
    return text.count('"') % 2 == 1


def _fields(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator, strict=False), [])
    except csv.Error:
        return [line, "a field without an end"]


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*[+-]?\d+([.,]\d+)?\s*", text) is not None


def _head(file: BinaryIO) -> bytes:
    """The first bytes; those before the damage where the file breaks off among them."""
    pieces, left = list[bytes](), LONGEST_LINE
    read1 = cast(io.BufferedReader, file).read1
    try:
        while left > 0 and (piece := read1(left)):
            pieces.append(piece)
            left -= len(piece)
    except IngestError:  # it is said when the lines are read
        if not pieces:
            raise
    return b"".join(pieces)


def _blocks(file: BinaryIO, path: Path, size: int) -> Iterator[bytes]:
    """Whole lines, about `size` bytes at once; the last of them may lack its end.

    Of a file that breaks off all whole lines come before the error.
    """
    size_of_piece = size if isinstance(cast(io.BufferedReader, file).raw, io.FileIO) else PIECE
    read1 = cast(io.BufferedReader, file).read1  # `read` loses what it has where the next piece is damaged
    while True:
        pieces, left, fault = list[bytes](), size, None
        try:
            while left > 0 and (piece := read1(min(left, size_of_piece))):
                pieces.append(piece)
                left -= len(piece)
            # To the end of the line, and of a field in quotes that runs over lines.
            odd = sum(piece.count(b'"') for piece in pieces if b'"' in piece) % 2
            for _ in range(LINES_OF_A_ROW):
                if not pieces or (pieces[-1].endswith(b"\n") and not odd):
                    break
                rest = file.readline(LONGEST_LINE)
                if len(rest) == LONGEST_LINE:
                    raise IngestError(f"{path} has a line of more than {LONGEST_LINE} bytes: it is no table")
                if not rest:
                    break
                pieces.append(rest)
                odd = (odd + rest.count(b'"')) % 2
        except IngestError as error:
            fault = error
        except (OSError, EOFError) as error:
            fault = IngestError(f"{path} breaks off ({first_line(error)}): fetch it again")
        block = b"".join(pieces)
        if fault is not None:
            block = block[: block.rfind(b"\n") + 1]
        if block:
            yield block
        if fault is not None:
            raise fault from None
        if not block:
            return


def first_line(error: Exception) -> str:
    """An error of a library in short."""
    return str(error).strip().split("\n")[0][:200]


__all__ = ["BLOCK", "LONGEST_LINE", "Lines", "Numbers", "first_line"]
