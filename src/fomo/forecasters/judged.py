"""A city's past asked how far the network is to be believed there: what `blend` weighs is made here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from fomo.forecasters.blend import (
    FEWEST_HINDCASTS,
    Blend,
    Expected,
    as_wide_as_its_past,
    blend_of,
    network_alone,
    unjudged,
    without_history,
)
from fomo.forecasters.drawing import Drawing
from fomo.forecasters.own_past import OwnPast
from fomo.windows.batch import collate
from fomo.windows.hindcast import Hindcast, busiest_block, hindcasts, of_block
from fomo.windows.scale import to_share
from fomo.windows.task import Task

#: Cells of a large city whose past is looked at: the busiest block of 14 x 14, which is four tiles.
MOST_CELLS = 196


@torch.inference_mode()
def judged(
    task: Task,
    reference: float,
    drawing: Drawing,
    read: Callable[[Task], dict[str, Any]],
    reads_context: bool,
    device: str,
) -> Blend:
    """How far the network is believed in what is asked: from the city's own past, where it has one.

    `read`: a task as the network reads it, see `task_arrays`. `reads_context`: whether it reads users and POI.
    """
    number = drawing.sampling.hindcasts
    if not drawing.process.standardise:  # its members are not drawn around a mean
        return network_alone()
    if (task.asked.all(0) == task.asked.any(0)).all():
        anything = bool(np.isfinite(task.window["traffic"].values).any())
        return without_history(task.layers if number and reads_context and anything else ())
    record = OwnPast.of(task, reference) if number else None
    if record is None:
        return network_alone()
    place = busiest_block(task, MOST_CELLS)
    block, past = record.block(*place), hindcasts(task, number, MOST_CELLS)
    past = [one for one in past if len(block.share) - one.ago > block.day]  # simple forecasts need a day before them
    horizon = int(task.asked.any((1, 2)).sum())
    past = [known for one in past if (known := _alike(one, block, horizon)) is not None]
    weights = block.weights([0, *(one.ago for one in past)], horizon)

    def expected(
        asked: Sequence[Task], ago: Sequence[int], weighed: Float[np.ndarray, "question lead own"]
    ) -> Expected:
        """What network and past say of some questions, each so many steps ago."""
        windows = [
            read(one)
            | {"own_past": block.in_window(steps, its, one.asked), "more_users": block.more_users(steps, one.asked)}
            for one, steps, its in zip(asked, ago, weighed, strict=True)
        ]
        return drawing.expected(collate(windows).to(device))

    before = unjudged(weights[0])
    if len(past) < FEWEST_HINDCASTS:
        now = of_block(task, *place)
        asked = torch.from_numpy(now.asked[None]).to(device)
        before = as_wide_as_its_past(before, expected([now], [0], weights[:1]), asked, block.missed(weights[0]))
    if not past:
        return before
    said = expected([one.task for one in past], [one.ago for one in past], weights[1:])
    truth = torch.from_numpy(np.stack([to_share(one.truth, reference) for one in past])).to(device)
    return blend_of(said, truth, torch.isfinite(truth), before)


def _alike(one: Hindcast, record: OwnPast, horizon: int) -> Hindcast | None:
    """A hindcast where as much was known of its kind of day as is known now; None where nothing is left of it."""
    like = np.ones(len(one.truth), bool)
    like[len(like) - horizon :] = record.alike(one.ago, horizon)
    truth = np.where(like[:, None, None], one.truth, np.nan)
    return replace(one, truth=truth) if np.isfinite(truth).any() else None


__all__ = ["judged"]
