"""What commands share in speaking to a person: results on stdout, everything else on stderr."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

#: Columns of a table that goes to a file or a pipe.
PIPE_WIDTH = 160
#: Seconds between two lines of progress.
LINE_EVERY = 30.0


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
    """A turning wheel on stderr while the block runs; lines now and then where stderr is no terminal."""
    if not sys.stderr.isatty():
        with alive(what):
            yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


@contextmanager
def alive(what: str) -> Iterator[Callable[[], None]]:
    """Lines on stderr now and then while the block runs, where stderr is no terminal: that it is not stuck.

    Gives what is to be called where something else is said, so that the next line waits.
    """
    if sys.stderr.isatty():
        yield lambda: None
        return
    began, done = time.monotonic(), threading.Event()
    last = [began]

    def say() -> None:
        while not done.wait(max(0.0, last[0] + LINE_EVERY - time.monotonic())):
            if time.monotonic() - last[0] >= LINE_EVERY:
                last[0] = time.monotonic()
                _line(f"{what}: {last[0] - began:.0f} s so far")

    def heard() -> None:
        last[0] = time.monotonic()

    speaker = threading.Thread(target=say, daemon=True)
    speaker.start()
    try:
        yield heard
    finally:
        done.set()
        speaker.join()


class Steps:
    """How far a work of so many steps is, in lines on stderr: of the first step, and then now and then."""

    def __init__(self, steps: int) -> None:
        """Nothing is done yet."""
        self.steps = steps
        self._begun: tuple[float, int] | None = None  # the time and the step of the first line
        self._said = -float("inf")

    def __call__(self, step: int, said: str, always: bool = False) -> bool:
        """A step is done, of which this is to be said; `always`: even where the last line is not long ago.

        Returns whether it was.
        """
        now = time.monotonic()
        self._begun = self._begun or (now, step)
        if not always and now - self._said < LINE_EVERY:
            return False
        self._said = now
        elapsed, done = now - self._begun[0], step - self._begun[1]
        left = f", {elapsed / done * (self.steps - step) / 60:.1f} min left" if done > 0 and step < self.steps else ""
        _line(f"step {step} of {self.steps}: {said}{left}")
        return True


def _line(text: str) -> None:
    """On stderr, in one piece: threads and processes may write there at once."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def wrote(paths: Sequence[Path]) -> None:
    """Where results lie."""
    for path in paths:
        print(f"wrote {path}")


__all__ = ["LINE_EVERY", "PIPE_WIDTH", "Steps", "alive", "plain_table", "show", "working", "wrote"]
