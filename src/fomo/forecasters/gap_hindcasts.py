"""How far the network is believed in the gaps of a city: gaps like these are made where the answer is known.

The mask of each window that is asked for is laid on the same hours of another day; what is recorded there is hidden,
and network and `around_gaps` are held against it, as hindcasts are for a forecast (`blend`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from fomo.city import City, steps_per_day
from fomo.forecasters.around_gaps import DAYS, around_gaps
from fomo.forecasters.blend import Blend, blend_of, unjudged
from fomo.forecasters.drawing import Drawing
from fomo.forecasters.judged import MOST_CELLS
from fomo.windows.batch import collate
from fomo.windows.clock import Clock
from fomo.windows.hindcast import block_of_most, of_block
from fomo.windows.scale import to_share
from fomo.windows.task import Task

#: Of what a mask hides, so much must have been recorded on the other day.
LEAST_RECORDED = 0.5


@dataclass(frozen=True)
class Gap:
    """Values that are hidden from the record again: bool (time, y, x), from a step of it on."""

    start: int
    hidden: Bool[np.ndarray, "time y x"]


def said_around(traffic: Float[np.ndarray, "step y x"], city: City) -> Float[np.ndarray, "step y x"]:
    """What the record says of each of its steps, in the city's unit; see `around_gaps`."""
    largest = float(np.nanmax(traffic, initial=0.0)) or 1.0  # where nothing was carried, any scale will do
    return np.asarray(around_gaps(to_share(traffic, largest), Clock.of(city)) * largest, np.float32)


def gaps_again(
    traffic: Float[np.ndarray, "step y x"], asked: dict[int, Bool[np.ndarray, "time y x"]], day: int, number: int
) -> list[Gap]:
    """At most so many gaps like the asked ones, of windows by their first step, each on the nearest day that has most
    of it recorded; no value is hidden twice."""
    found: list[Gap] = []
    taken = np.zeros(traffic.shape, bool)
    starts = [start for start in asked if asked[start].any()]
    for index in np.unique(np.linspace(0, len(starts) - 1, min(number, len(starts))).round().astype(int)):
        start = starts[index]
        mask = asked[start]
        for apart in (sign * days for days in range(1, DAYS + 1) for sign in (1, -1)):
            there = start + apart * day
            if not 0 <= there <= len(traffic) - len(mask):
                continue
            part = slice(there, there + len(mask))
            hidden = mask & np.isfinite(traffic[part]) & ~taken[part]
            if hidden.sum() >= max(1, LEAST_RECORDED * mask.sum()):
                taken[part] |= hidden
                found.append(Gap(there, hidden))
                break
    return found


@torch.inference_mode()
def judged_in_gaps(
    city: City,
    wanted: dict[int, Task],
    drawing: Drawing,
    ask: Callable[[City, np.ndarray], Task],
    read: Callable[[Task], dict[str, Any]],
    device: str,
) -> Blend:
    """How far network and record are believed in the gaps of `wanted`, tasks by their first step in the city.

    `ask`: a window and what is asked of it, as a task; `read`: a task as the network reads it.
    """
    before = unjudged(None)
    traffic = city["traffic"].values
    gaps = gaps_again(
        traffic, {start: task.asked for start, task in wanted.items()}, steps_per_day(city), drawing.sampling.hindcasts
    )
    if not gaps:
        return before
    known = traffic.copy()
    for gap in gaps:
        known[gap.start : gap.start + len(gap.hidden)][gap.hidden] = np.nan
    said = said_around(known, city)
    place = block_of_most(np.sum([gap.hidden.sum(0) for gap in gaps], axis=0), MOST_CELLS)
    again = [_asked_again(gap, city, known, traffic, said, ask, place) for gap in gaps]
    found = [(task, truth) for task, truth in again if np.isfinite(truth).any()]
    expected = drawing.expected(collate([read(task) for task, _ in found]).to(device))
    reference = found[0][0].reference
    assert reference is not None
    truths = torch.from_numpy(np.stack([to_share(truth, reference) for _, truth in found])).to(device)
    return blend_of(expected, truths, torch.isfinite(truths), before)


def _asked_again(
    gap: Gap,
    city: City,
    known: Float[np.ndarray, "step y x"],
    traffic: Float[np.ndarray, "step y x"],
    said: Float[np.ndarray, "step y x"],
    ask: Callable[[City, np.ndarray], Task],
    place: tuple[slice, slice],
) -> tuple[Task, Float[np.ndarray, "time y x"]]:
    """The question of a gap, in a block of cells, and its answer, NaN where nothing is asked."""
    part = slice(gap.start, gap.start + len(gap.hidden))
    window = city.isel(time=part)
    window = window.assign(traffic=window["traffic"].copy(data=known[part]))
    task = of_block(replace(ask(window, gap.hidden), around=said[part]), *place)
    truth = np.where(gap.hidden, traffic[part], np.nan)[:, place[0], place[1]]
    return task, truth


__all__ = ["Gap", "gaps_again", "judged_in_gaps", "said_around"]
