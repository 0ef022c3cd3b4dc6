"""A stream of bytes that is made piece by piece from a file: unpacked, or decoded."""

from __future__ import annotations

import io
from abc import abstractmethod
from pathlib import Path
from typing import Any, BinaryIO


class Stepwise(io.RawIOBase):
    """Bytes of a file after something was done to them; what is done, `more` does."""

    mode = "rb"  # `BinaryIO` has one

    def __init__(self, file: BinaryIO, path: Path) -> None:
        """`path` is for messages."""
        self.file, self.path, self.name = file, path, str(path)
        self.ready = memoryview(b"")  # made, not yet asked for
        self.bytes_in = 0

    @abstractmethod
    def more(self) -> bool:
        """Put a little more into `ready`, perhaps nothing yet; False at the end. Raises `IngestError`."""

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill part of the buffer; 0 at the end. Raises `IngestError`."""
        while not self.ready:
            if not self.more():
                return 0
        count = min(len(buffer), len(self.ready))
        buffer[:count] = self.ready[:count]
        self.ready = self.ready[count:]
        return count

    def close(self) -> None:
        """Close the file, too."""
        self.file.close()
        super().close()


__all__ = ["Stepwise"]
