"""What commands share in speaking to a person: results on stdout, everything else on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

#: Columns of a table that goes to a file or a pipe.
PIPE_WIDTH = 160


def show(table: Table) -> None:
    """A table on stdout."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)


def plain_table(headings: Sequence[str], lines: Sequence[Sequence[str]], right: Sequence[str] = ()) -> Table:
    """A table of texts; the columns named in `right` are aligned to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_header=any(headings))
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    for line in lines:
        table.add_row(*map(Text, line))  # as they are: names come from strangers
    return table


@contextmanager
def working(what: str) -> Iterator[None]:
    """A turning wheel on stderr while the block runs; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


def wrote(paths: Sequence[Path]) -> None:
    """Where results lie."""
    for path in paths:
        print(f"wrote {path}")


__all__ = ["PIPE_WIDTH", "plain_table", "show", "working", "wrote"]
