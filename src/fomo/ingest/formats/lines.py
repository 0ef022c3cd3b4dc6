"""A CSV of any separator in blocks of whole lines: no more than a block is held, packed or not.

A block is parsed at once, at the speed of the engine, where it can be proven that this has lost nothing: see `_quick`.
Else it is read line by line (`slow_lines.py`), which is the same to a letter (a test holds it), and only slower.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars

from fomo.ingest.ahead import ahead
from fomo.ingest.formats.slow_lines import fields_of, is_open, records
from fomo.ingest.formats.text_blocks import LINES_OF_A_ROW, LONGEST_LINE, blocks, first_bytes, open_text
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import plain

#: Bytes that are parsed at once: few enough to stay near the processor, where larger ones fetch fresh memory each time.
BLOCK = 8 << 20
#: Bytes of a block in which spaces beside separators are looked for.
HEAD = 64 << 10
#: Bytes that are counted at once.
COUNTED = 1 << 16
#: What a table is told of whose last number may lack digits.
UNENDED = "a last row without a line break after it (is the file cut off?)"
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


@dataclass(frozen=True)
class Origin:
    """Where the rows of a batch stand in their file, and how they are written there.

    `line`: of the first row; `lines`: of all rows, where some lines between them are none; `written`: the rows as text,
    where the batch has numbers in place of it.
    """

    line: int
    lines: polars.Series | None = None
    written: Callable[[], polars.DataFrame] | None = None

    def of(self, mask: polars.Series) -> list[int]:
        """Lines of some of the rows."""
        rows = mask.arg_true()
        return (rows + self.line if self.lines is None else self.lines.gather(rows)).to_list()


class Lines:
    """A CSV in blocks of whole lines."""

    def __init__(self, path: Path) -> None:
        """Reads the names of the columns. Raises `IngestError` for what is no table."""
        self.path = path
        with open_text(path) as file:
            head = first_bytes(file, HEAD)
            if head.lstrip().count(b"\n") <= 2 * LINES_OF_A_ROW:  # long lines, or empty ones before them
                with suppress(IngestError):  # it is said when the lines are read
                    head += first_bytes(file, LONGEST_LINE - len(head))
        if b"\0" in head[:4096]:
            raise IngestError(
                f"{path} is no table: its first bytes are no text; if it is UTF-16 without a byte order mark, save it "
                "as UTF-8"
            )
        if b"\n" not in head and b"\r" in head:
            raise IngestError(f"{path} ends its lines with a carriage return alone: save it with line feeds")
        lines = [line.rstrip("\r") for line in head.decode("utf-8-sig", errors="fomo-western").split("\n")]
        self.skipped = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
        if self.skipped == len(lines):
            raise IngestError(f"{path} is empty: export it again")
        said = re.fullmatch(r'"?sep=(.)"?', lines[self.skipped].strip())  # what Excel is told
        self.skipped += said is not None
        width = next((n for n in range(1, LINES_OF_A_ROW) if not is_open("\n".join(lines[self.skipped :][:n]))), 1)
        header = "\n".join(lines[self.skipped :][:width])
        self.skipped += width
        bare = re.sub(r'"[^"]*"', "", header)
        self.separator = said[1] if said else max(",;\t|", key=bare.count)
        names = [name.strip() for name in fields_of(header, self.separator)]
        # Separators at the end of lines make columns without a name.
        following = lines[self.skipped] if self.skipped < len(lines) else ""
        more = fields_of(following, self.separator)[len(names) :] if not is_open(following) else []
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
        return not re.search(r"\d{2}:\d{2}|\d{8}", line) and not any(map(_is_number, fields_of(line, self.separator)))

    def frames(
        self, ledger: Ledger, numbers: Collection[str] = (), size: int | None = None
    ) -> Iterator[tuple[Origin, polars.DataFrame]]:
        """Blocks, and where they are from; lines of more or fewer fields than names are rejected.

        Columns of `numbers` are numbers in blocks where all their fields are; everything else is text. `size`: bytes of
        a block.
        """
        line, separator = 1 + self.skipped, self.separator.encode()
        spaces = (separator + b" ", b" " + separator, b"\n ", b" \n", b" \r")
        for block in self._blocks(size or BLOCK):
            lines = _count(block, b"\n") + (not block.endswith(b"\n"))
            unended = block[block.rfind(b"\n") + 1 :]  # of the last block alone
            if unended.strip():
                ledger.note(UNENDED, 1, f"{self.path.name}, line {line + lines - 1}")
            if not block.isspace():
                yield self._frame(self._as_utf8(block, line, ledger), line, lines, numbers, spaces, ledger)
            line += lines

    def column(self, name: str) -> Iterator[polars.Series]:
        """A column as text, block by block, in a fraction of the time of all; of lines that are no rows, too."""
        for block in self._blocks(BLOCK):
            whole = self._as_utf8(block, 0, Ledger())
            frame = self._parsed(whole, (), [self.names.index(name)]) if b'"' not in whole else None
            if frame is None:
                frame, _ = self._one_by_one(whole, 0, Ledger())
                frame = frame.select(name)
            yield frame.to_series().str.strip_chars().alias(name)

    def _blocks(self, size: int) -> Iterator[bytes]:
        """What follows the names of the columns."""
        with open_text(self.path) as file:
            for _ in range(self.skipped):
                file.readline(LONGEST_LINE)
            yield from ahead(blocks(file, self.path, size))

    def _frame(
        self, block: bytes, line: int, lines: int, numbers: Collection[str], spaces: Sequence[bytes], ledger: Ledger
    ) -> tuple[Origin, polars.DataFrame]:
        spaced = any(space in block[:HEAD] for space in spaces)

        def named(frame: polars.DataFrame) -> polars.DataFrame:
            frame.columns = list(self.names)
            return frame.with_columns(polars.col(polars.String).str.strip_chars()) if spaced else frame

        frame = self._quick(block, lines, numbers)
        if frame is None:
            frame, places = self._one_by_one(block, line, ledger)
            return Origin(line, places), named(frame)

        def written() -> polars.DataFrame:
            text = self._parsed(block, ())
            assert text is not None  # it has been parsed with more asked of it
            return named(text)

        return Origin(line, written=written), named(frame)

    def _quick(self, block: bytes, lines: int, numbers: Collection[str]) -> polars.DataFrame | None:
        """A block at once; None where it is not proven that each of its lines is a row of as many fields as names.

        The engine refuses a line of more fields, and text in a column of numbers. A line of fewer it fills with nulls:
        there is none where the last column has no null, nor where there are as many separators as the rows need. What
        it does in its own way are quotes, carriage returns within a line and a byte order mark: a block that has any is
        not for it, and so is one that it makes fewer or more rows of than there are lines, of empty lines.
        """
        alone = len(self.names) < 2 or len(self.separator.encode()) > 1
        if alone or b'"' in block or block.startswith(codecs.BOM_UTF8) or _has_lone_return(block):
            return None
        frame = self._parsed(block, numbers)
        if frame is None or frame.width != len(self.names) or frame.height != lines:
            return None
        if not frame.to_series(-1).null_count():
            return frame
        return frame if _count(block, self.separator.encode()) == lines * (len(self.names) - 1) else None

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
        for number, fields in records(block, self.separator, width):
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
        columns = dict(zip(self.names, map(list, zip(*rows, strict=True)), strict=True)) if rows else None
        frame = polars.DataFrame(columns, schema=dict.fromkeys(self.names, polars.String))
        # As the engine has it, whatever the mapping calls missing.
        return frame.select(polars.all().replace("", None)), polars.Series(numbers, dtype=polars.Int64)

    def _parsed(
        self, block: bytes, numbers: Collection[str], columns: list[int] | None = None
    ) -> polars.DataFrame | None:
        """Numbers as such where they all are, else all fields as text; None where a line has too many.

        `columns`: places of those that are wanted.
        """
        kinds = {name: polars.Float64() if name in numbers else polars.String() for name in self.names}
        text = dict.fromkeys(self.names, polars.String())
        # Without its end, the engine does not see an empty field too many in the last line.
        whole = block if block.endswith(b"\n") else block + b"\n"
        for schema in (kinds, text):
            with suppress(polars.exceptions.PolarsError):
                return polars.read_csv(
                    whole, has_header=False, separator=self.separator, schema=schema, columns=columns
                )
        return None


def _count(block: bytes, sign: bytes) -> int:
    """How often one byte comes, several times as fast as `bytes.count` where that is often."""
    every, code = np.frombuffer(block, np.uint8), ord(sign)
    return sum(int(np.count_nonzero(every[at : at + COUNTED] == code)) for at in range(0, len(every), COUNTED))


def _has_lone_return(block: bytes) -> bool:
    """Whether a carriage return is anywhere but before a line feed or at the end."""
    if b"\r" not in block:
        return False
    every = np.frombuffer(block, np.uint8)
    for at in range(0, len(every) - 1, COUNTED):
        part = every[at : at + COUNTED + 1]
        if ((part[:-1] == ord("\r")) & (part[1:] != ord("\n"))).any():
            return True
    return False


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*[+-]?\d+([.,]\d+)?\s*", text) is not None


__all__ = ["BLOCK", "WESTERN", "Lines", "Origin"]
