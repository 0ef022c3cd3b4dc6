"""A whole city asked in consecutive windows: what filling its gaps and generating a district of it take."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from fomo.city import City, CityError
from fomo.forecasters.ahead import WINDOW
from fomo.windows.task import ContextMode, Task

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
) -> dict[int, Task]:
    """The windows of which something is asked, by their first step; the last one overlaps the one before.

    Raises `CityError` where nothing is asked, or a window has nothing to go by.
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
    wanted = {start: task for start, task in tasks.items() if task.asked.any()}
    if not wanted:
        raise CityError(f"{city.attrs['name']!r} has no value to produce: nothing is missing in its covered cells")
    for task in wanted.values():
        alone = not (task.layers and reads_context)
        if alone and not np.isfinite(task.window["traffic"].values).any():
            first, last = (np.datetime_as_string(task.window["time"].values[at], unit="m") for at in (0, -1))
            raise CityError(
                f"nothing is recorded in {city.attrs['name']!r} from {first} to {last}, "
                "so there is nothing to go by: cut the city there, or give users, POI or residents"
            )
    return wanted


__all__ = ["Ask", "consecutive"]
