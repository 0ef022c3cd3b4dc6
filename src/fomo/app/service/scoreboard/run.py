"""The whole scoreboard: jobs over processes, results from the disk, tables and figures."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import suppress
from multiprocessing import connection, get_context, parent_process

from fomo.app.service.scoreboard.fits import made_by, network_of
from fomo.app.service.scoreboard.plan import Cell, Job, ScoreboardRecipe, cells, jobs
from fomo.app.service.scoreboard.work import Place, asked_of, work
from fomo.evaluation.scoreboard import NOT_YET, Result, fewer_windows
from fomo.evaluation.stored import joined, load_scores
from fomo.forecasters.registry import find_entries

#: Hears of the work: jobs done, jobs in all, and a line for each that runs.
Progress = Callable[[int, int, Sequence[str]], None]


def run(
    recipe: ScoreboardRecipe,
    place: Place,
    *,
    names: tuple[str, ...] = (),
    processes: int = 2,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Do what is not done yet; returns job -> error of those that failed. Resumes where it was killed.

    Raises `ConfigError` for a network that cannot be.
    """
    waiting = jobs(cells(recipe, names))
    check_networks(recipe, [job.entry.name for job in waiting])
    total, failed = len(waiting), {}
    # A process each, with one thread: rivals get the computing time of one core.
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    before = {name: os.environ.get(name) for name in threads}
    os.environ.update(threads)
    try:
        with ProcessPoolExecutor(
            processes, mp_context=get_context("spawn"), initializer=_end_with_parent, max_tasks_per_child=1
        ) as pool:
            running = {pool.submit(work, job, recipe, place): job for job in waiting}
            while running:
                ended, _ = wait(running, timeout=2.0, return_when=FIRST_COMPLETED)
                for future in ended:
                    job = running.pop(future)
                    error = future.result() if future.exception() is None else f"died: {future.exception()}"
                    if error:
                        failed[job.name] = error
                if progress is not None:
                    progress(total - len(running), total, _status(running.values(), place))
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    return failed


def check_networks(recipe: ScoreboardRecipe, names: Iterable[str]) -> None:
    """Whether networks of other sizes than usual can be made, before hours of work. Raises `ConfigError`."""
    for name in sorted(set(names) & set(recipe.networks)):
        network_of(find_entries((name,))[0], recipe)


def _end_with_parent() -> None:
    """Without this, the jobs of a killed run go on for minutes, beside those of the run that resumes it."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _status(running: Iterable[Job], place: Place) -> list[str]:
    found = []
    for job in running:
        with suppress(FileNotFoundError):  # it is there while the job runs
            found.append(f"{job.name}: {place.status(job).read_text(encoding='utf-8')}")
    return found


def results(recipe: ScoreboardRecipe, place: Place, failed: dict[str, str] | None = None) -> list[Result]:
    """Everything that was scored, folds of a column joined; what cannot be or failed is there with its reason."""
    failed = failed or {}
    groups: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells(recipe):
        groups.setdefault((cell.column.protocol, cell.city, cell.task, cell.context, cell.entry.name), []).append(cell)
    made: dict[tuple[str, str], str] = {}

    def makers(cell: Cell) -> str:
        key = (cell.entry.name, cell.set)
        if key not in made:
            made[key] = made_by(cell.entry, cell.set, recipe, place.data)
        return made[key]

    found = []
    for group in groups.values():
        found += _results(group, recipe, place, failed, makers)
    return found


def _results(
    group: list[Cell],
    recipe: ScoreboardRecipe,
    place: Place,
    failed: dict[str, str],
    makers: Callable[[Cell], str],
) -> list[Result]:
    """The first fold of a column alone, and all of them together where they are all there."""
    first = group[0]
    made = []
    several = len(first.column.folds) > 1
    for part, protocol in (
        (group[:1], protocol_of_one(first)),
        (group if several else [], f"{first.column.protocol}, {len(first.column.folds)} folds"),
    ):
        if not part or (several and part is group and len(group) < len(first.column.folds)):
            continue
        paths = [place.scores(cell) for cell in part]
        these = [Job(cell.entry, cell.set, ()) for cell in part]
        reason = first.cannot() or next((error for job in these if (error := failed.get(job.name))), "")
        scores, seconds, remark = None, None, ""
        loaded = [load_scores(path) for path in paths] if all(path.exists() for path in paths) else []
        if not (loaded or reason):
            reason = next((error for job in these if (error := failed_before(job, place))), "")
        old = any(
            (about.get("asked"), about.get("made_by")) != (asked_of(cell, recipe, place), makers(cell))
            for cell, (_, about) in zip(part, loaded, strict=False)
        )
        if loaded and not reason and not old:
            scores = joined([each for each, _ in loaded])
            known = [about["train_seconds"] for _, about in loaded if about["train_seconds"] is not None]
            seconds = sum(known) / len(known) if known else None
            remark = str(loaded[0][1].get("remark", ""))
        elif not reason:
            reason = "scored by another recipe or code: run it again" if old else NOT_YET
        every = "" if first.every == first.column.every else fewer_windows(first.every)
        note = reason or ", ".join(filter(None, (every, remark)))
        made.append(
            Result(
                first.city, protocol, first.task, first.context, first.entry.name, first.entry.kind, scores, seconds,
                note,
            )
        )  # fmt: skip
    return made


def failed_before(job: Job, place: Place) -> str:
    """In a line, what went wrong when a job failed in an earlier run; empty where it did not."""
    try:
        said = place.error(job).read_text(encoding="utf-8").strip().splitlines()
    except FileNotFoundError:
        return ""
    kind, colon, text = (said or [""])[-1].partition(": ")
    return kind.rpartition(".")[2] + colon + text  # as `work` returns it: without the module of the error


def protocol_of_one(cell: Cell) -> str:
    """The protocol's name for the first fold of a column alone."""
    return cell.column.protocol + (f", fold {cell.fold}" if len(cell.column.folds) > 1 else "")


__all__ = ["Progress", "check_networks", "protocol_of_one", "results", "run"]
