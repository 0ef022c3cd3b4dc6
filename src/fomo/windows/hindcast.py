"""Hindcasts: a forecast's own question, asked where the answer is known already.

A city with weeks of history can be asked what it is asked now at earlier times of that history, each time knowing only
what was known then. What a forecaster gets wrong there says how far it is to be believed in this city.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from fomo.city import City
from fomo.windows.task import Task, week_before

#: Hours between the starts of two hindcasts: two times of the day in turn. They are those of the question where its
#: horizon is a multiple of this. Asking the question's own hours always was 0.6 % worse in two cities, and no better in
#: two-week regions (journal, 2026-11-27).
APART_HOURS = 12
#: So many days before its window a hindcast has at least, for a rhythm of its own.
FEWEST_DAYS = 1


@dataclass(frozen=True)
class Hindcast:
    """A task of the past and what came of it: float32 (time, y, x), the city's unit, NaN where never recorded.

    `ago`: how many steps before those of the task it asks.
    """

    task: Task
    truth: np.ndarray
    ago: int


def hindcasts(task: Task, number: int, most_cells: int) -> list[Hindcast]:
    """Up to `number` hindcasts of a task, the latest first; fewer where the history before it is short.

    Each asks for as many steps as the task does and looks back on as many; the last one ends where the task begins to
    ask. Of a large grid, the block of at most `most_cells` cells that carried most. None for a task that does not ask
    for the steps after its history, or does not know what was before its window.
    """
    history = history_steps(task)
    if history is None or task.earlier is None or number < 1:
        return []
    steps = task.asked.shape[0]
    rows, columns = busiest_block(task, most_cells)
    cells = (slice(None), rows, columns)
    traffic = np.concatenate([task.earlier[cells], task.window["traffic"].values[:history][cells]])
    users = None
    if "users" in task.window and task.users_earlier is not None:
        users = np.concatenate([task.users_earlier[cells], task.window["users"].values[:history][cells]])
    template = task.window.isel(y=rows, x=columns)
    if users is None and "users" in template:
        template = template.drop_vars("users")
    asked = task.asked[cells]
    found: list[Hindcast] = []
    for start in _starts(len(traffic), history, steps, int(task.window.attrs["step_minutes"])):
        if len(found) == number:
            break
        hindcast = _hindcast(task, template, asked, traffic, users, start, history)
        if hindcast is not None:
            found.append(hindcast)
    return found


def of_block(task: Task, rows: slice, columns: slice) -> Task:
    """The same question, asked of some of the cells."""

    def cut(layer: np.ndarray | None) -> np.ndarray | None:
        return None if layer is None else layer[:, rows, columns]

    return replace(
        task,
        window=task.window.isel(y=rows, x=columns),
        asked=task.asked[:, rows, columns],
        last_week=cut(task.last_week),
        earlier=cut(task.earlier),
        users_earlier=cut(task.users_earlier),
        around=cut(task.around),
    )


def history_steps(task: Task) -> int | None:
    """Steps before the first asked one; None where the task is not to continue the window's beginning."""
    steps = np.flatnonzero(task.asked.any(axis=(1, 2)))
    if not steps.size or steps[0] == 0 or steps.size != len(task.asked) - steps[0]:
        return None
    return int(steps[0])


def _starts(known: int, history: int, steps: int, step_minutes: int) -> Iterator[int]:
    """First steps of the windows of the past, in a record of `known` steps, the latest first."""
    apart = max(1, APART_HOURS * 60 // step_minutes)
    yield from range(known - steps, FEWEST_DAYS * 24 * 60 // step_minutes - 1, -apart)


def _hindcast(
    task: Task,
    template: City,
    asked: np.ndarray,
    traffic: np.ndarray,
    users: np.ndarray | None,
    start: int,
    history: int,
) -> Hindcast | None:
    """The hindcast whose window begins at `start`; None where nothing is recorded on one of its sides."""
    steps = len(asked)
    window, first = traffic[start : start + steps], start + history
    seen, truth = np.where(asked, np.nan, window), np.where(asked, window, np.nan)
    if not (np.isfinite(seen).any() and np.isfinite(truth).any()):
        return None
    ago = len(traffic) - first
    minutes = int(template.attrs["step_minutes"])
    then = template.assign_coords(time=template["time"].values - np.timedelta64(ago * minutes, "m"))
    then["traffic"] = then["traffic"].copy(data=seen)
    if users is not None:
        known = users[start : start + steps].copy()
        if task.context == "past":
            known[history:] = np.nan
        then["users"] = then["users"].copy(data=known)
    return Hindcast(
        replace(
            task,
            window=then,
            asked=asked,
            last_week=week_before(traffic[:first], start, steps, minutes),
            earlier=traffic[:start],
            users_earlier=None if users is None else users[:start],
        ),
        truth,
        ago,
    )


def busiest_block(task: Task, most_cells: int) -> tuple[slice, slice]:
    """Rows and columns of the square block that carried most, or all of them where the grid is no larger."""
    carried = np.nansum(task.window["traffic"].values, 0)  # a cell without a record carried nothing that is known
    return block_of_most(carried, most_cells)


def block_of_most(amount: np.ndarray, most_cells: int) -> tuple[slice, slice]:
    """Rows and columns of the square block with most of an amount (y, x), or all of them where there are no more."""
    height, width = amount.shape
    if height * width <= most_cells:
        return slice(0, height), slice(0, width)
    tall = min(height, max(int(np.sqrt(most_cells)), most_cells // width))
    wide = min(width, most_cells // tall)
    sums = np.pad(amount.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    blocks = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    row, column = np.unravel_index(int(blocks.argmax()), blocks.shape)
    return slice(int(row), int(row) + tall), slice(int(column), int(column) + wide)


__all__ = ["Hindcast", "block_of_most", "busiest_block", "hindcasts", "history_steps", "of_block"]
