"""The network as a `Forecaster`: tasks in, forecasts out.

The numbers do not depend, but for their last digits, on which other tasks are asked at the same time; how members are
drawn is in `drawing.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fomo.city import City
from fomo.days_off import DAYS_OFF, DaysOff
from fomo.diffusion.process import PROCESSES, PaperProcess
from fomo.forecast import Forecast, make_forecast
from fomo.forecasters.ahead import members_asked
from fomo.forecasters.blend import Blend
from fomo.forecasters.consecutive import context_of
from fomo.forecasters.drawing import Drawing, SamplingConfig
from fomo.forecasters.judged import judged
from fomo.forecasters.own_past import OwnPast
from fomo.forecasters.tiles import count_tiles
from fomo.model.checkpoint import Checkpoint, CheckpointError
from fomo.model.transformer import MaskedDiffusionTransformer
from fomo.seeds import seed_of
from fomo.windows.batch import collate
from fomo.windows.scale import reference_of, to_share
from fomo.windows.task import Task
from fomo.windows.task_arrays import task_arrays


class TaskForecaster:
    """A trained network with its scale, which answers tasks; `FoMo` puts questions about cities to it as tasks."""

    name = "FoMo"

    def __init__(
        self,
        network: MaskedDiffusionTransformer,
        checkpoint: Checkpoint,
        *,
        sampling: SamplingConfig | None = None,
        weights: str = "",
        device: str = "cpu",
    ) -> None:
        """`weights`: hash of the weights, for the forecast's provenance."""
        self.network = network.to(device).eval()
        self.checkpoint, self.weights, self.device = checkpoint, weights, device
        self.sampling = sampling or default_sampling(checkpoint)
        process = PROCESSES[checkpoint.process]()
        if self.sampling.sampler == "ddpm" and not isinstance(process, PaperProcess):
            raise CheckpointError("the ddpm sampler needs weights of the 'paper' process: use angle, heun or multistep")
        self.drawing = Drawing(self.network, process, self.sampling, checkpoint.temperature)
        self.trained_on = checkpoint.trained_on

    @property
    def reads_context(self) -> bool:
        """Whether these weights read users, POI and residents."""
        return self.network.context is not None

    def forecast_tasks(self, tasks: Sequence[Task], samples: int, seed: int) -> list[Forecast]:
        """One forecast per task; tasks of one shape share the network's batches. Raises `CityError`: samples < 1.

        Every window has noise of its own: what members look like is judged over many windows, and a few draws that all
        windows share would rule that.
        """
        return self._answer_all(tasks, samples, [seed_of(seed, task.place) for task in tasks])

    def _answer_all(
        self,
        tasks: Sequence[Task],
        samples: int,
        seeds: Sequence[int],
        only: range | None = None,
        kept: slice = slice(None),
        blend: Blend | None = None,
        lasting: int | None = None,
    ) -> list[Forecast]:
        """One forecast per task and its seed, in batches of tasks of one shape.

        `kept`: these steps of the window. `blend`: of all tasks; None: each has that of its own past. `lasting`: the
        seed of what errors remember, the same for all; None: each its own.
        """
        samples = members_asked(samples)
        answers: list[Forecast | None] = [None] * len(tasks)
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, task in enumerate(tasks):
            groups.setdefault(task.asked.shape, []).append(index)
        for shape, members in groups.items():
            at_once = self._tasks_at_once((shape[1], shape[2]), samples)
            for first in range(0, len(members), at_once):
                some = members[first : first + at_once]
                chosen = [tasks[i] for i in some], samples, [seeds[i] for i in some]
                found = self._answer(*chosen, only, kept, blend, lasting)
                for index, answer in zip(some, found, strict=True):
                    answers[index] = answer
        return [answer for answer in answers if answer is not None]

    def _tasks_at_once(self, grid: tuple[int, int], samples: int) -> int:
        """Tasks of one shape that are answered together."""
        rows = self.sampling.rows_on(torch.device(self.device).type)
        return max(1, rows // (samples * count_tiles(grid, self.sampling.tile, self.sampling.overlap)))

    @torch.inference_mode()
    def _answer(
        self,
        tasks: Sequence[Task],
        samples: int,
        seeds: Sequence[int],
        only: range | None,
        kept: slice,
        blend: Blend | None,
        lasting: int | None,
    ) -> list[Forecast]:
        references = [
            reference_of(task.window["traffic"].values) if task.reference is None else task.reference for task in tasks
        ]
        known = list(zip(tasks, references, strict=True))
        blends = [self._blend(task, reference) if blend is None else blend for task, reference in known]
        batch = collate([self.window(*both, its) for both, its in zip(known, blends, strict=True)])
        lasts = None if lasting is None else [lasting] * len(tasks)
        drawn = self.drawing.members(batch.to(self.device), samples, seeds, only, kept, blends, lasts)
        shares = drawn.cpu().numpy()
        answers = []
        for (task, reference), members, seed, its in zip(known, shares, seeds, blends, strict=True):
            asked, window = task.asked[kept], task.window.isel(time=kept)
            # In place: the members of a large city are the largest of all arrays.
            np.multiply(members, reference, out=members)
            np.copyto(members, window["traffic"].values, where=~asked)
            answers.append(self._answered(task, members, asked, window, seed, reference, its))
        return answers

    def _blend(self, task: Task, reference: float) -> Blend:
        """How far the network is believed in what is asked here."""

        def read(asked: Task) -> dict[str, Any]:
            return self.window(asked, reference)

        return judged(task, reference, self.drawing, read, self.reads_context, self.device)

    def _answered(
        self,
        task: Task,
        members: np.ndarray,
        asked: np.ndarray,
        window: City,
        seed: int,
        reference: float,
        blend: Blend,
    ) -> Forecast:
        """The forecast of a task, on some steps of its window."""
        said = context_of([task]) if self.reads_context else ("none", "")
        return self._forecast(members, asked, window, *said, seed, reference, blend)

    def _forecast(
        self,
        members: np.ndarray,
        asked: np.ndarray,
        window: City,
        context: str,
        layers: str,
        seed: int,
        reference: float,
        blend: Blend | None = None,
    ) -> Forecast:
        """Members with their provenance."""
        told = {"days_off": DaysOff.of(window.attrs).in_words(window)} if DAYS_OFF in window.attrs else {}
        return make_forecast(
            members, asked, window, forecaster=self.name, context=context, seed=seed,
            provenance=self._provenance(reference, layers) | told | ({} if blend is None else blend.provenance()),
        )  # fmt: skip

    def window(self, task: Task, reference: float, blend: Blend | None = None) -> dict[str, Any]:
        """A task as arrays, with what is usual in its family, and what its past alone says under a blend."""
        family = str(task.window.attrs["family"])
        arrays = task_arrays(
            task,
            reference,
            self.checkpoint.pattern(family),
            self.checkpoint.users_references.get(family, task.users_reference),
            self.checkpoint.users_pattern(family),
            reads_context=self.reads_context,
        )
        weights = None if blend is None else blend.own_past
        record = None if weights is None else OwnPast.of(task, reference)
        if record is not None and weights is not None:
            arrays["own_past"] = record.in_window(0, weights, task.asked)
            arrays["more_users"] = record.more_users(0, task.asked)
        if task.around is not None:
            arrays["own_past"] = np.where(task.asked, to_share(task.around, reference), np.float32(np.nan))
        return arrays

    def _provenance(self, reference: float, layers: str) -> dict[str, str | float | int]:
        return {
            "context_layers": layers,
            "weights": self.checkpoint.name,
            "weights_sha256": self.weights,
            "reference": reference,
            "sampler": self.sampling.sampler,
            "sampling_steps": self.sampling.steps,
            "antithetic": int(self.sampling.antithetic),
            **({"tails": "Student's t, 4 degrees of freedom"} if self.sampling.tails else {}),
        }


def default_sampling(checkpoint: Checkpoint) -> SamplingConfig:
    """Three steps of `angle`; for the `paper` process ancestral sampling on 25 of its K steps, to bound the cost."""
    return SamplingConfig(sampler="ddpm") if checkpoint.process == "paper" else SamplingConfig()
