"""`fomo scoreboard`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from fomo.app.commands.console import working, wrote
from fomo.app.commands.options import DataFolder


@dataclass(frozen=True)
class Scoreboard:
    """Train and score every forecaster of a recipe under one protocol: one tidy table.

    What is done stays done: a killed run goes on where it was, and only what depends on a change is made again.
    """

    recipe: Annotated[Path, Positional, arg(metavar="RECIPE", help="Columns, sets, budgets (.toml).")]
    data: DataFolder = None
    out: Annotated[Path, arg(metavar="DIR", help="Trained rivals and scores.")] = Path("runs/scoreboard")
    results: Annotated[Path, arg(metavar="DIR", help="Tables and figures.")] = Path("results")
    only: Annotated[tuple[str, ...], arg(metavar="NAME", help="Work on these forecasters; tables hold all.")] = ()
    jobs: Annotated[int, arg(metavar="N", help="Processes, one thread each.")] = 2
    tables: bool = False
    """Write the tables of what is scored already, and do no work."""
    keep: bool = False
    """Where nothing is scored in --out, keep the rows that the table in --results has."""
    search: Literal["rates", "networks"] | None = None
    """Try the learning rates or the networks of [search] with every rival; the best are for the recipe."""
    check: bool = False
    """Score one row in fifty again and fail where it lies outside the row's interval."""

    def run(self) -> int:
        """Work, then write tables; says what failed."""
        from fomo.app.errors import UsageError

        if self.jobs < 1:
            raise UsageError(f"--jobs {self.jobs}: one process at least")
        if self.tables + self.check + (self.search is not None) > 1:
            raise UsageError("--tables, --search and --check contradict each other")
        with working("reading"):
            from fomo.app.service.scoreboard.check import check
            from fomo.app.service.scoreboard.plan import load_scoreboard
            from fomo.app.service.scoreboard.report import read_tables, write_logs, write_own_logs, write_tables
            from fomo.app.service.scoreboard.run import results, run
            from fomo.app.service.scoreboard.search import search, trials, write_trials
            from fomo.app.service.scoreboard.work import Place
            from fomo.evaluation.beside import unit_sums, with_kept_units
            from fomo.evaluation.scoreboard import lines, with_kept
            from fomo.forecasters.registry import find_entries
            from fomo.sources import data_folder

            recipe = load_scoreboard(self.recipe)
            place = Place(data_folder(self.data), self.out)
            find_entries(self.only)
            before, units = read_tables(self.results) if self.keep else ([], [])
        if self.check:
            wrong = check(recipe, place, self.results / "scoreboard.csv", print)
            for line in wrong:
                print(f"fomo: {line}", file=sys.stderr)
            return 1 if wrong else 0
        failed: dict[str, str] = {}
        if not self.tables:
            with _Progress() as hear:
                options: dict[str, Any] = {"names": self.only, "processes": self.jobs, "progress": hear}
                if self.search is None:
                    failed = run(recipe, place, **options)
                else:
                    failed = search(recipe, place, self.search, **options)
        if self.search is not None:
            wrote(write_trials(trials(recipe, place, self.search), self.results, self.search))
        else:
            found = results(recipe, place, failed)
            board, sums = with_kept(lines(found), before), with_kept_units(unit_sums(found), units)
            wrote(write_tables(board, sums, self.results))
            write_logs(place.out / "fits", self.results / "training/rivals")
            write_own_logs(place.out / "fomo", self.results / "training/scoreboard")
        for job, error in failed.items():
            print(f"fomo: {job}: {error}", file=sys.stderr)
        return 1 if failed else 0


class _Progress:
    """A bar of jobs and a line for each that runs; lines now and then where stderr is no terminal."""

    def __enter__(self) -> _Progress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self.last = -1
        self.bar = None
        if sys.stderr.isatty():
            columns = (
                TextColumn("scoreboard"), MofNCompleteColumn(), BarColumn(), TimeElapsedColumn(),
                TextColumn("{task.description}"),
            )  # fmt: skip
            self.bar = Progress(*columns, console=Console(stderr=True)).__enter__()
            self.job = self.bar.add_task("", total=None)
        return self

    def __call__(self, done: int, total: int, running: Sequence[str]) -> None:
        if self.bar is not None:
            self.bar.update(self.job, completed=done, total=total, description="; ".join(running))
        elif done != self.last:
            self.last = done
            print(f"{done} of {total} done; {'; '.join(running)}", file=sys.stderr, flush=True)

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.__exit__(None, None, None)


__all__ = ["Scoreboard"]
