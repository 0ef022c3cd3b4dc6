"""`fomo train`."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from fomo.app.commands.console import working
from fomo.app.commands.options import DataFolder, Device

if TYPE_CHECKING:
    from rich.progress import Progress

#: Seconds between two lines of progress where stderr is no terminal.
LINE_EVERY = 30.0
INTERRUPTED = 130


@dataclass(frozen=True)
class Train:
    """Train weights from a recipe, or continue a run.

    A run folder with a snapshot is continued. Ctrl-C finishes the step and saves it; after kill -9 the run continues
    from its last snapshot, to the same weights. Started by torchrun, several processes share every batch.
    """

    recipe: Annotated[Path, Positional, arg(metavar="RECIPE", help="What to train, on what, how long (.toml).")]
    out: Annotated[Path, arg(metavar="DIR", help="Run folder: log, snapshot, and in the end 'weights'.")]
    data: DataFolder = None
    device: Device = "auto"
    threads: Annotated[int | None, arg(metavar="N", help="CPU threads.", help_behavior_hint="(default: PyTorch's)")] = (
        None
    )
    minutes: Annotated[
        float | None,
        arg(
            metavar="M",
            help="Stop after so many minutes, with a snapshot and the weights reached so far.",
            help_behavior_hint="(default: the recipe's end)",
        ),
    ] = None
    compile: bool = False
    """Compile the network: slow to start, then faster."""
    tensorboard: bool = False
    """Write TensorBoard's events beside metrics.jsonl."""
    export_half: bool = False
    """Write the weights as float16: half the size."""
    shard: bool = False
    """Under torchrun: divide weights and moments among the processes (FSDP2), for networks too large for one GPU."""
    patience: Annotated[
        float, arg(metavar="SECONDS", help="Under torchrun: how long a process waits for the others before it ends.")
    ] = 600.0

    def run(self) -> int:
        """Train with a progress bar; say what was reached and how to go on."""
        with working("reading recipe and data"):
            from fomo.app.service.training import tensorboard_report, train
            from fomo.processes import Place
            from fomo.training.recipe import ConfigError, load_recipe

            place = Place.of_environment()
            first = place.first  # the one that speaks
            try:
                steps = load_recipe(self.recipe).optimiser.steps
            except (ConfigError, OSError):
                if place.alone:
                    raise
                steps = 0  # 'train' says it again, once all processes have met
        reports = [tensorboard_report(self.out / "tensorboard")] if self.tensorboard and first else []
        with _progress(steps) as shown, _stop_on_interrupt() as stopped:

            def report(step: int, numbers: dict[str, float]) -> None:
                for hear in (shown, *reports):
                    hear(step, numbers)

            result = train(
                self.recipe,
                self.out,
                self.data,
                device=self.device,
                threads=self.threads,
                minutes=self.minutes,
                compile_network=self.compile,
                half=self.export_half,
                shard=self.shard,
                patience=self.patience,
                report=report,
                stop=stopped,
            )
        if not first:
            return INTERRUPTED if result.stopped else 0
        done = f"step {result.step} of {result.steps}, {result.seconds:.0f} s, {result.parameters:,} parameters"
        if result.trained < result.parameters:
            done += f", {result.trained:,} of them trained ({result.trained / result.parameters:.0%})"
        if result.weights is not None:
            print(f"{done}\nwrote {result.weights}")
        if result.stopped:
            print(
                f"stopped at {done}; saved in {result.folder}: the same command continues there",
                file=sys.stderr,
            )
            return INTERRUPTED
        if not result.finished:
            print(f"the time is over before the recipe's end: the same command continues in {result.folder}")
        return 0


@contextmanager
def _stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C asks to stop after the step; a second one interrupts at once."""
    asked: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = signal.signal(signal.SIGINT, hear)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(steps: int) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """A bar with loss, rate and time left; lines now and then where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield _Lines(steps)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        MofNCompleteColumn(),
        BarColumn(bar_width=None),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TextColumn("{task.fields[speed]:.2f} steps/s"),
        TextColumn("rate {task.fields[rate]:.1e}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield _Bar(bar, steps)


class _Pace:
    """Smoothed loss and steps per second of this sitting."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.loss = self.speed = float("nan")
        self.begun: tuple[float, int] | None = None

    def hear(self, step: int, numbers: dict[str, float]) -> None:
        if self.begun is None:
            self.begun, self.loss = (time.monotonic(), step), numbers["loss"]
        self.loss += 0.05 * (numbers["loss"] - self.loss)
        elapsed = time.monotonic() - self.begun[0]
        if elapsed > 0:
            self.speed = (step - self.begun[1]) / elapsed


class _Bar(_Pace):
    def __init__(self, bar: Progress, steps: int) -> None:
        super().__init__(steps)
        self.bar = bar

    def __call__(self, step: int, numbers: dict[str, float]) -> None:
        if self.begun is None:  # a resumed run begins where it was, not at 0
            self.job = self.bar.add_task("", total=self.steps, completed=step, loss=0.0, speed=0.0, rate=0.0)
        self.hear(step, numbers)
        self.bar.update(self.job, completed=step, loss=self.loss, speed=self.speed, rate=numbers["rate"])


class _Lines(_Pace):
    def __init__(self, steps: int) -> None:
        super().__init__(steps)
        self.said = time.monotonic()

    def __call__(self, step: int, numbers: dict[str, float]) -> None:
        self.hear(step, numbers)
        if time.monotonic() - self.said >= LINE_EVERY or step == self.steps:
            self.said = time.monotonic()
            left = (self.steps - step) / self.speed / 60 if self.speed > 0 else float("nan")
            print(
                f"step {step} of {self.steps}, loss {self.loss:.4f}, rate {numbers['rate']:.1e}, "
                f"{self.speed:.2f} steps/s, {left:.1f} min left",
                file=sys.stderr,
            )
