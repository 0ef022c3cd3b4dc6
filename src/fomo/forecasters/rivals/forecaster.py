"""A trained rival as a forecaster: tasks in, forecasts out, grids of any size in tiles of the training windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from fomo.city import CityError
from fomo.forecast import Forecast, make_forecast
from fomo.forecasters.rivals.inputs import Inputs, crop, make_inputs, pad, to_share
from fomo.forecasters.rivals.last_week import RARE, without_week
from fomo.forecasters.rivals.network import RivalNetwork, WindowNoise
from fomo.seeds import derived_seed, seed_of
from fomo.windows.batch import collate
from fomo.windows.clock import HOURS_PER_WEEK
from fomo.windows.context import UsersPattern
from fomo.windows.scale import from_share, reference_of
from fomo.windows.shapes import flat_pattern
from fomo.windows.task import Task
from fomo.windows.task_arrays import task_arrays

#: Rivals read no rhythm of the week: FoMo's windows carry one, and here it is flat.
FLAT = flat_pattern(np.ones(HOURS_PER_WEEK))
#: Cells along the edge of a training window.
EDGE = 4


class NeuralRival:
    """A `Forecaster` made of a trained network.

    Where its training hardly had windows that knew last week and users together, it is not told last week where it is
    told users: `last_week.py` says why.
    """

    def __init__(
        self,
        name: str,
        network: RivalNetwork,
        trained_on: Sequence[str] = (),
        users_references: Mapping[str, float] | None = None,
        rows: int = 64,
        week_with_users: float = 1.0,
    ) -> None:
        """`users_references`: what counts as full users, by family; `rows`: tiles that are drawn at once.

        `week_with_users`: share of the windows of its training that knew last week and users together.
        """
        self.name, self.network, self.trained_on = name, network.eval(), tuple(trained_on)
        self.users_references, self.rows = dict(users_references or {}), rows
        self.week_with_users = week_with_users

    def forecast_tasks(self, tasks: Sequence[Task], samples: int, seed: int) -> list[Forecast]:
        """One forecast per task; tasks of one shape share the network's batches. Raises `CityError`: samples < 1."""
        if samples < 1:
            raise CityError(f"{samples} samples are asked for; at least 1 is needed")
        answers: dict[int, Forecast] = {}
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, task in enumerate(tasks):
            groups.setdefault(task.asked.shape, []).append(index)
        for indices in groups.values():
            for first in range(0, len(indices), self.rows):
                some = indices[first : first + self.rows]
                found = self._answer([tasks[i] for i in some], samples, seed)
                answers.update(zip(some, found, strict=True))
        return [answers[index] for index in range(len(tasks))]

    @torch.inference_mode()
    def _answer(self, tasks: Sequence[Task], samples: int, seed: int) -> list[Forecast]:
        references = [
            reference_of(task.window["traffic"].values) if task.reference is None else task.reference for task in tasks
        ]
        windows = [self._window(task, reference) for task, reference in zip(tasks, references, strict=True)]
        seeds = [seed_of(seed, task.place) for task in tasks]
        shares = self.members(make_inputs(collate(windows)), samples, seeds).numpy()
        answers = []
        about = {"quantiles": int(self.network.gives_quantiles), "antithetic": int(self.network.antithetic)}
        for task, reference, share in zip(tasks, references, shares, strict=True):
            members = np.where(task.asked, from_share(share, reference), task.window["traffic"].values)
            answers.append(
                make_forecast(
                    members, task.asked, task.window, forecaster=self.name, context=task.context, seed=seed,
                    provenance={"context_layers": ", ".join(task.layers), "reference": reference, **about},
                )
            )  # fmt: skip
        return answers

    def _window(self, task: Task, reference: float) -> dict[str, object]:
        users_reference = self.users_references.get(str(task.window.attrs["family"]), task.users_reference)
        return task_arrays(task, reference, FLAT, users_reference, UsersPattern(FLAT, FLAT, 1.0))

    def members(self, inputs: Inputs, samples: int, seeds: Sequence[int]) -> torch.Tensor:
        """Shares of the members, (window, sample, time, y, x): the grid in squares, each with noise of its own."""
        windows, steps, height, width = inputs.value.shape
        rows, columns = (-(-size // EDGE) * EDGE for size in (height, width))
        inputs = pad(inputs, rows, columns)
        whole = torch.zeros(windows, samples, steps, rows, columns)
        corners = [(y, x) for y in range(0, rows, EDGE) for x in range(0, columns, EDGE)]
        for place, (y, x) in enumerate(corners):
            square = crop(inputs, y, x, EDGE)
            if not square.asked.any():
                continue
            if self.week_with_users < RARE:
                square = without_week(square)
            random = WindowNoise([derived_seed(seed, place) for seed in seeds])
            drawn = to_share(self.network.sample(square, samples, random), square)
            whole[..., y : y + EDGE, x : x + EDGE] = drawn
        return whole[..., :height, :width]


__all__ = ["NeuralRival"]
