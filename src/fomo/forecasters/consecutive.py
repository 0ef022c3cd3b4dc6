"""A whole city asked in consecutive windows: what filling its gaps and generating a district of it take."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from fomo.city import City, CityError
from fomo.forecast import CONTEXT_MODES
from fomo.forecasters.ahead import WINDOW
from fomo.windows.task import CONTEXT_LAYERS, ContextMode, Task

#: (city, context=, layers=, and perhaps reference=, users_reference=) -> what is asked of it.
Ask = Callable[..., Task]


def consecutive(
    city: City,
    ask: Ask,
    context: ContextMode,
    layers: Sequence[str],
    reference: float,
    users_reference: float | None,
    reads_context: bool,
    around: Float[np.ndarray, "step y x"] | None = None,
) -> dict[int, Task]:
    """The windows of which something is asked, by their first step; the last one overlaps the one before.

    `around`: what the record around gaps says of every step, in the city's unit; windows of which it says something are
    told. Raises `CityError` where nothing is asked, or a window has nothing to go by.
    """
    steps = city.sizes["time"]
    starts = [min(i * WINDOW, max(steps - WINDOW, 0)) for i in range(math.ceil(steps / WINDOW))]
    tasks = {
        start: ask(
            city.isel(time=slice(start, start + WINDOW)),
            context=context, layers=layers, reference=reference, users_reference=users_reference,
        )
        for start in starts
    }  # fmt: skip
    wanted = {start: _told(task, start, around) for start, task in tasks.items() if task.asked.any()}
    if not wanted:
        raise CityError(f"{city.attrs['name']!r} has no value to produce: nothing is missing in its covered cells")
    for task in wanted.values():
        alone = not (task.layers and reads_context) and task.around is None
        if alone and not np.isfinite(task.window["traffic"].values).any():
            first, last = (np.datetime_as_string(task.window["time"].values[at], unit="m") for at in (0, -1))
            raise CityError(
                f"nothing is recorded in {city.attrs['name']!r} from {first} to {last}, "
                "so there is nothing to go by: cut the city there, or give users, POI or residents"
            )
    return wanted


def _told(task: Task, start: int, around: Float[np.ndarray, "step y x"] | None) -> Task:
    """The task with what is said of its window, where that says something of what is asked."""
    said = None if around is None else around[start : start + len(task.asked)]
    return task if said is None or not np.isfinite(said[task.asked]).any() else replace(task, around=said)


def context_of(tasks: Collection[Task]) -> tuple[str, str]:
    """Context and layers of a whole of which these are the windows: what any of them is told."""
    there = {layer for task in tasks for layer in task.layers}
    mode = max((task.context for task in tasks), key=CONTEXT_MODES.index) if there else "none"
    return mode, ", ".join(layer for layer in CONTEXT_LAYERS if layer in there)


__all__ = ["Ask", "consecutive", "context_of"]
