"""Files as they come, plain, gzip or zstd, as one stream of bytes, guarded against decompression bombs.

The compression is told from the first bytes, not from the name. What comes out is counted: beyond `FREE` bytes it may
be `RATIO` times what went in, so that a small file cannot keep a machine busy for hours. A file that is cut off gives
all that was before the cut, then `IngestError`.
"""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

from fomo.ingest.formats.stepwise import Stepwise
from fomo.ingest.ledger import IngestError

#: Most bytes out for each byte in. Measurement files shrink to a 20th or 50th, endless zeros to a 1000th.
RATIO = 300
#: Bytes that may come out whatever the ratio: what is small harms nobody.
FREE = 64 << 20
#: Bytes that are unpacked at once.
CHUNK = 256 << 10
#: Compressed bytes that are fed to zstd at once: it has no limit on what they become (at most 30,000 times as much).
ZSTD_FEED = 1 << 10

GZIP, ZSTD, ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"


def open_binary(path: Path) -> BinaryIO:
    """The bytes of a plain, .gz or .zst file, unpacked as they are read; several members are read as one.

    Raises `IngestError` here for a file that is not there or is a .zip, and where zstandard is missing; while reading,
    for a damaged file, one that is cut off and one that unpacks to more than `RATIO` times its size.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise IngestError(f"{path} cannot be opened ({error.strerror}): check the path") from None
    if magic.startswith(GZIP):
        return cast(BinaryIO, io.BufferedReader(_Unpacked(path, "gzip"), CHUNK))
    if magic == ZSTD:
        _zstandard()
        return cast(BinaryIO, io.BufferedReader(_Unpacked(path, "zstd"), CHUNK))
    if magic == ZIP:
        raise IngestError(f"{path} is a zip archive: unpack it and name the files in it")
    return path.open("rb")


class _Unpacked(Stepwise):
    """What the members of a compressed file unpack to, one after the other."""

    def __init__(self, path: Path, kind: str) -> None:
        super().__init__(path.open("rb"), path)
        self.kind = kind
        self.member: Any = None  # the decompressor within a member, None between members
        self.packed = b""  # read, not yet unpacked
        self.bytes_out = 0

    def more(self) -> bool:
        """Unpack a little more; False at the end of the file."""
        if not self.packed:
            self.packed = self.file.read(CHUNK if self.kind == "gzip" else ZSTD_FEED)
            self.bytes_in += len(self.packed)
        if self.member is None:
            if self.kind == "gzip":
                self.packed = self.packed.lstrip(b"\0")  # padding of tapes and blocks between members
            if not self.packed:
                return self._more_follows()
            self.member = zlib.decompressobj(wbits=31) if self.kind == "gzip" else _zstandard().decompressobj()
        elif not self.packed:
            raise IngestError(f"{self.path} is cut off after {self.bytes_in} bytes of {self.kind}: fetch it again")
        try:
            made = self.member.decompress(self.packed, *([CHUNK] if self.kind == "gzip" else []))
        except Exception as error:
            if not isinstance(error, zlib.error) and type(error).__name__ != "ZstdError":
                raise
            raise IngestError(
                f"{self.path} is damaged before byte {self.bytes_in} of {self.kind} ({error}): fetch it again"
            ) from None
        if self.member.eof:
            self.packed, self.member = self.member.unused_data, None
        else:
            self.packed = self.member.unconsumed_tail if self.kind == "gzip" else b""
        self._check_size(len(made))
        self.ready = memoryview(made)
        return True

    def _more_follows(self) -> bool:
        """Whether there is anything after padding."""
        self.packed = self.file.read(CHUNK)
        self.bytes_in += len(self.packed)
        return bool(self.packed)

    def _check_size(self, more: int) -> None:
        self.bytes_out += more
        if self.bytes_out > FREE and self.bytes_out > RATIO * self.bytes_in:
            raise IngestError(
                f"{self.path} unpacks to more than {RATIO} times its size ({self.bytes_out} bytes from "
                f"{self.bytes_in}), no measurement file does: if it is one, unpack it yourself"
            )


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError:
        raise IngestError(
            "zstd files need zstandard: pip install 'fomo[operator]' (or pip install zstandard, or unpack the file)"
        ) from None
    return zstandard.ZstdDecompressor()


__all__ = ["FREE", "RATIO", "open_binary"]
