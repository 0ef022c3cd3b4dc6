"""A text file's bytes in blocks of whole lines, whatever it is packed or encoded in: no more than a block is held."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from fomo.ingest.formats.compressed import open_binary
from fomo.ingest.formats.utf16 import as_utf8, utf16_of
from fomo.ingest.ledger import IngestError

#: Bytes that are unpacked at once: what a packed file holds before it breaks off is read.
PIECE = 1 << 20
#: A line longer than this is none.
LONGEST_LINE = 1 << 20
#: Lines that a field in quotes may run over.
LINES_OF_A_ROW = 20


def open_text(path: Path) -> BinaryIO:
    """The bytes of a text file, unpacked, and as UTF-8 where a mark says that it is UTF-16. Raises `IngestError`."""
    try:
        with open_binary(path) as file:
            encoding = utf16_of(file.read(4))
    except IngestError:  # it is said when the rest is read, or at once
        encoding = ""
    file = open_binary(path)
    return as_utf8(file, encoding, path) if encoding else file


def first_bytes(file: BinaryIO, most: int) -> bytes:
    """The first bytes; those before the damage where the file breaks off among them."""
    pieces, left = list[bytes](), most
    read1 = cast(io.BufferedReader, file).read1
    try:
        while left > 0 and (piece := read1(left)):
            pieces.append(piece)
            left -= len(piece)
    except IngestError:  # it is said when the lines are read
        if not pieces:
            raise
    return b"".join(pieces)


def blocks(file: BinaryIO, path: Path, size: int) -> Iterator[bytes]:
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


__all__ = ["LINES_OF_A_ROW", "LONGEST_LINE", "blocks", "first_bytes", "first_line", "open_text"]
