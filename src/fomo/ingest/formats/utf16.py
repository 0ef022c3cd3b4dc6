"""Text in UTF-16, as Windows and some element managers write it, turned into UTF-8 while it is read.

Only a byte order mark says so: without one, bytes are bytes.
"""

from __future__ import annotations

import codecs
import io
from pathlib import Path
from typing import BinaryIO, cast

from fomo.ingest.formats.stepwise import Stepwise
from fomo.ingest.ledger import IngestError

#: Byte order mark -> encoding.
MARKS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
#: Bytes that are decoded at once.
CHUNK = 256 << 10


def utf16_of(head: bytes) -> str:
    """The encoding that a byte order mark at the beginning tells, '' where it is no UTF-16."""
    if head.startswith(codecs.BOM_UTF32_LE):  # begins as that of UTF-16 does
        return ""
    return next((encoding for mark, encoding in MARKS.items() if head.startswith(mark)), "")


def as_utf8(file: BinaryIO, encoding: str, path: Path) -> BinaryIO:
    """The text of a stream of UTF-16 as one of UTF-8, without the mark.

    Reading raises `IngestError` where it is none, after all that was before.
    """
    return cast(BinaryIO, io.BufferedReader(_Decoded(file, encoding, path), CHUNK))


class _Decoded(Stepwise):
    """UTF-8 of a stream of UTF-16."""

    def __init__(self, file: BinaryIO, encoding: str, path: Path) -> None:
        super().__init__(file, path)
        self.encoding, self.decoder = encoding, codecs.getincrementaldecoder(encoding)()
        self.fault = ""
        self.marked = True  # the mark is still to come

    def more(self) -> bool:
        """Decode a little more; False at the end of the file."""
        if self.fault:
            raise IngestError(self.fault)
        piece = cast(io.BufferedReader, self.file).read1(CHUNK)  # `read` loses what it has before damage
        self.bytes_in += len(piece)
        try:
            text = self.decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            # Two names must not become one, as they would with a sign in place of what cannot be read.
            text = error.object[: error.start].decode(self.encoding)
            self.fault = (
                f"{self.path} is no UTF-8, and no UTF-16 before byte {self.bytes_in} ({error.reason}): fetch it again"
            )
        if self.marked and text:
            text, self.marked = text[1:], False
        self.ready = memoryview(text.encode("utf-8"))
        return bool(piece or self.fault)


__all__ = ["as_utf8", "utf16_of"]
