"""A whole city asked in consecutive windows: what filling its gaps and generating a district of it take."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from fomo.city import SERVICE, City, CityError
from fomo.forecast import CONTEXT_MODES, Forecast
from fomo.forecasters.ahead import WINDOW
from fomo.windows.task import CONTEXT_LAYERS, ContextMode, Task, fill_task, generate_task

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
        raise CityError(
            f"{city.attrs['name']!r} has no value to produce: nothing is missing in its covered cells"
            + (" while they are in service" if SERVICE[0] in city else "")
        )
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


def gaps_of(recorded: City) -> Ask:
    """`fill_task` of windows that may lack more than was not recorded: what was is not asked for."""
    gaps = fill_task(recorded).asked
    times = recorded["time"].values

    def ask(city: City, **known: Any) -> Task:
        first = int(np.searchsorted(times, city["time"].values[0]))
        return fill_task(city, gaps[first : first + city.sizes["time"]], **known)

    return ask


def generation_of(area: np.ndarray) -> Ask:
    """`generate_task` of one area."""
    return lambda city, **known: generate_task(city, area, **known)


def told_of_users(forecast: Forecast, city: City) -> Forecast:
    """With the share of the asked values at which users are known, `users_known`, where that is not all."""
    layers = str(forecast.attrs["context_layers"]).split(", ")
    if forecast.attrs["context"] != "full" or "users" not in layers:
        return forecast
    known = float(np.isfinite(city["users"].values)[forecast.asked.values].mean())
    return forecast if known == 1 else Forecast(forecast.dataset.assign_attrs(users_known=known))


__all__ = ["Ask", "consecutive", "context_of", "gaps_of", "generation_of", "told_of_users"]
