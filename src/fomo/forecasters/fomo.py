"""FoMo as a forecaster: tasks in, forecasts out.

    model = fomo.load("fomo-tiny")
    forecast = model.forecast(city, horizon=16, samples=20)

The numbers do not depend on which other tasks are asked at the same time; how members are drawn is in `drawing.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from fomo.city import City, CityError, validate
from fomo.diffusion.process import PROCESSES, PaperProcess
from fomo.forecast import Forecast, make_forecast
from fomo.forecasters.drawing import Drawing, SamplingConfig
from fomo.forecasters.tiles import count_tiles
from fomo.model.checkpoint import Checkpoint, CheckpointError, load_checkpoint, recover, weights_hash
from fomo.model.transformer import MaskedDiffusionTransformer
from fomo.seeds import derived_seed, seed_of
from fomo.windows.batch import collate
from fomo.windows.context import full_users
from fomo.windows.scale import reference_of
from fomo.windows.task import CONTEXT_LAYERS, ContextMode, Task, fill_task, forecast_task, generate_task
from fomo.windows.task_arrays import task_arrays

#: Steps in a window, the length that the network is trained on (paper, §4.2).
WINDOW = 64
#: More asked steps than this are produced in several blocks, each continuing its own member.
LONGEST_BLOCK = 48
#: Members that are continued at a time. How many pass the network at once changes the last digit of what is seen of
#: them, so that number is the same whoever draws the others.
CONTINUED = 4


class FoMo:
    """A trained network with its scale: a `Forecaster`."""

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

    def forecast(
        self,
        city: City,
        horizon: int = 16,
        history: int | None = None,
        samples: int = 20,
        seed: int = 0,
        past_week: bool = True,
        context: ContextMode = "past",
        users_ahead: np.ndarray | None = None,
        only: range | None = None,
    ) -> Forecast:
        """The `horizon` steps after the end of the city, in its unit: (sample, time, y, x).

        `context` says what is used of the city's surroundings: nothing, POI and residents and its users up to now, or
        with `full` also `users_ahead` (horizon, y, x), the users that you assume. Where the city or the weights lack
        what it takes, less is used: `forecast.attrs["context"]` and `["context_layers"]` say what was.

        `history`: observed steps to look back on, default what a window of 64 leaves, at least 16. With `past_week`
        the network is also told the same hours one week before, where the city has them. Horizons above 48 steps are
        produced in blocks, each member continuing itself. `only`: these of the `samples` members, as they are among
        all of them (`drawing.shared_members` with `members_unit`), where others are drawn elsewhere. Raises
        `CityError`: not a city, no history, horizon < 1.
        """
        validate(city)
        if horizon < 1:
            raise CityError(f"the horizon is {horizon} steps; it must be at least 1")
        if only is not None and only.start % members_unit(horizon):
            raise ValueError(f"parts of an ensemble begin at multiples of {members_unit(horizon)}, not at {only.start}")
        block = min(horizon, LONGEST_BLOCK)
        if history is not None and history < 1:
            raise CityError(f"the history is {history} steps; it must be at least 1")
        history = max(WINDOW - block, 16) if history is None else history
        reference = self.reference(city)
        ask = _Ahead(horizon, context, users_ahead, self.users_reference(city))
        task = forecast_task(city, block, history, reference=reference, past_week=past_week, **ask.known(0, block))
        first = self._answer_all([task], samples, [seed], only)[0]
        offset = 0 if only is None else only.start
        pieces = [first.dataset.isel(time=slice(min(history, city.sizes["time"]), None))]
        while sum(piece.sizes["time"] for piece in pieces) < horizon:
            pieces.append(
                self._continue(
                    city, pieces, ask, history, reference, derived_seed(seed, len(pieces)), past_week, offset
                )
            )
        if len(pieces) == 1:
            return Forecast(pieces[0])
        members = np.concatenate([piece["traffic"].values for piece in pieces], 1)
        asked = np.concatenate([piece["asked"].values for piece in pieces], 0)
        step = np.timedelta64(int(city.attrs["step_minutes"]), "m")
        times = city["time"].values[-1] + step * np.arange(1, len(asked) + 1)
        window = city.isel(time=slice(-1, None)).reindex(time=times)
        return make_forecast(
            members, asked, window, forecaster=self.name, context=first.attrs["context"], seed=seed,
            provenance=self._provenance(reference, first.attrs["context_layers"]),
        )  # fmt: skip

    def generate(
        self,
        city: City,
        area: np.ndarray,
        samples: int = 20,
        seed: int = 0,
        context: ContextMode = "full",
        layers: Sequence[str] = CONTEXT_LAYERS,
        only: range | None = None,
    ) -> Forecast:
        """Traffic of the cells of `area` (bool (y, x)) at all times of the city, as if they had no history.

        `layers`: which of the city's users, POI and residents are used; `context` `past` leaves the users out, as
        nothing lies before what is asked. The area may be the whole city where there is context to go by.
        """
        return self._windowed(validate(city), _generation(area), samples, seed, context, layers, only)

    def fill(
        self,
        city: City,
        samples: int = 20,
        seed: int = 0,
        context: ContextMode = "full",
        layers: Sequence[str] = CONTEXT_LAYERS,
        only: range | None = None,
    ) -> Forecast:
        """Values for what was not recorded in covered cells; recorded values come back untouched."""
        return self._windowed(validate(city), fill_task, samples, seed, context, layers, only)

    def reference(self, city: City) -> float:
        """What counts as full traffic: stored with the weights for a known family, else from the city's history."""
        stored = self.checkpoint.references.get(city.attrs["family"])
        return stored if stored is not None else reference_of(city["traffic"].values)

    def users_reference(self, city: City) -> float | None:
        """What counts as full users: stored for a known family, else from the city; None where it has none."""
        stored = self.checkpoint.users_references.get(city.attrs["family"])
        if stored is not None or "users" not in city:
            return stored
        return full_users(city["users"].values)

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
        self, tasks: Sequence[Task], samples: int, seeds: Sequence[int], only: range | None = None
    ) -> list[Forecast]:
        """One forecast per task and its seed, in batches of tasks of one shape."""
        if samples < 1:
            raise CityError(f"{samples} samples are asked for; at least 1 is needed")
        answers: list[Forecast | None] = [None] * len(tasks)
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, task in enumerate(tasks):
            groups.setdefault(task.asked.shape, []).append(index)
        for shape, members in groups.items():
            tiles = count_tiles((shape[1], shape[2]), self.sampling.tile, self.sampling.overlap)
            at_once = max(1, self.sampling.rows // (samples * tiles))
            for first in range(0, len(members), at_once):
                some = members[first : first + at_once]
                found = self._answer([tasks[i] for i in some], samples, [seeds[i] for i in some], only)
                for index, answer in zip(some, found, strict=True):
                    answers[index] = answer
        return [answer for answer in answers if answer is not None]

    @torch.inference_mode()
    def _answer(self, tasks: Sequence[Task], samples: int, seeds: Sequence[int], only: range | None) -> list[Forecast]:
        references = [
            reference_of(task.window["traffic"].values) if task.reference is None else task.reference for task in tasks
        ]
        batch = collate([self.window(task, reference) for task, reference in zip(tasks, references, strict=True)])
        shares = self.drawing.members(batch.to(self.device), samples, seeds, only).cpu().numpy()
        answers = []
        for task, reference, members, seed in zip(tasks, references, shares, seeds, strict=True):
            # In place: the members of a large city are the largest of all arrays.
            np.multiply(members, reference, out=members)
            np.copyto(members, task.window["traffic"].values, where=~task.asked)
            answers.append(
                make_forecast(
                    members,
                    task.asked,
                    task.window,
                    forecaster=self.name,
                    context=task.context if self.reads_context else "none",
                    seed=seed,
                    provenance=self._provenance(reference, ", ".join(task.layers) if self.reads_context else ""),
                )
            )
        return answers

    def window(self, task: Task, reference: float) -> dict[str, Any]:
        """A task as arrays, with what is usual in its family."""
        family = str(task.window.attrs["family"])
        return task_arrays(
            task,
            reference,
            self.checkpoint.pattern(family),
            self.checkpoint.users_references.get(family, task.users_reference),
            self.checkpoint.users_pattern(family),
            reads_context=self.reads_context,
        )

    def _continue(
        self,
        city: City,
        pieces: list[xr.Dataset],
        ask: _Ahead,
        history: int,
        reference: float,
        seed: int,
        past_week: bool,
        offset: int,
    ) -> xr.Dataset:
        """The next block, every member from its own past; the first one is member `offset` of the ensemble."""
        done = sum(piece.sizes["time"] for piece in pieces)
        block = min(ask.horizon - done, LONGEST_BLOCK)
        paths = np.concatenate([piece["traffic"].values for piece in pieces], 1)
        step = np.timedelta64(int(city.attrs["step_minutes"]), "m")
        end = city["time"].values[-1]
        times = np.concatenate([city["time"].values, end + step * np.arange(1, done + 1)])
        longer = ask.fill_in(city.reindex(time=times), done)
        history = min(history, longer.sizes["time"])
        tasks = []
        for path in paths:
            member = longer.copy()
            member["traffic"] = longer["traffic"].copy(data=np.concatenate([city["traffic"].values, path]))
            tasks.append(
                forecast_task(
                    member, block, history, reference=reference, past_week=past_week, **ask.known(done, block)
                )
            )
        seeds = [derived_seed(seed, offset + index) for index in range(len(tasks))]
        found: list[Forecast] = []
        for some in (slice(at, at + CONTINUED) for at in range(0, len(tasks), CONTINUED)):
            found += self._answer_all(tasks[some], 1, seeds[some])
        answers = [forecast.dataset.isel(time=slice(history, None)) for forecast in found]
        joined = answers[0].copy()
        members = np.concatenate([answer["traffic"].values for answer in answers])
        return joined.drop_vars("traffic").assign(traffic=(("sample", "time", "y", "x"), members))

    def _windowed(
        self,
        city: City,
        ask: Callable[..., Task],
        samples: int,
        seed: int,
        context: ContextMode,
        layers: Sequence[str],
        only: range | None,
    ) -> Forecast:
        """Ask about a whole city in consecutive windows; the last one overlaps its neighbour."""
        whole = ask(city, context=context, layers=layers)  # what is asked, where it is recorded, sets no scale
        known = np.isfinite(whole.window["traffic"].values)
        reference = self.reference(whole.window) if known.any() else self._made_up_reference(city, whole)
        users_reference = self.users_reference(city) if "users" in whole.layers else None
        steps = city.sizes["time"]
        windows = math.ceil(steps / WINDOW)
        starts = [min(i * WINDOW, max(steps - WINDOW, 0)) for i in range(windows)]
        tasks = [
            ask(
                city.isel(time=slice(start, start + WINDOW)),
                context=context, layers=layers, reference=reference, users_reference=users_reference,
            )
            for start in starts
        ]  # fmt: skip
        if not any(task.asked.any() for task in tasks):
            raise CityError(f"{city.attrs['name']!r} has no value to produce: nothing is missing in its covered cells")
        wanted = {start: task for start, task in zip(starts, tasks, strict=True) if task.asked.any()}
        for task in wanted.values():
            alone = not (task.layers and self.reads_context)
            if alone and not np.isfinite(task.window["traffic"].values).any():
                first, last = (np.datetime_as_string(task.window["time"].values[at], unit="m") for at in (0, -1))
                raise CityError(
                    f"nothing is recorded in {city.attrs['name']!r} from {first} to {last}, "
                    "so there is nothing to go by: cut the city there, or give users, POI or residents"
                )
        members = np.repeat(city["traffic"].values[None], samples if only is None else len(only), 0)
        asked = np.zeros(city["traffic"].shape, bool)
        seeds = [derived_seed(seed, start) for start in wanted]
        answers = self._answer_all(list(wanted.values()), samples, seeds, only)
        for (start, task), answer in zip(wanted.items(), answers, strict=True):
            members[:, start : start + WINDOW] = answer.samples.values
            asked[start : start + WINDOW] = task.asked
        return make_forecast(
            members, asked, city, forecaster=self.name, context=answers[0].attrs["context"], seed=seed,
            provenance=self._provenance(reference, answers[0].attrs["context_layers"]),
        )  # fmt: skip

    def _made_up_reference(self, city: City, task: Task) -> float:
        """The scale of a city without any traffic: that of its family, or 1, so that values are shares of full."""
        if not (task.layers and self.reads_context):
            raise CityError(
                f"no traffic is recorded in {city.attrs['name']!r} and no context is known, so there is nothing "
                "to go by: give some cells with traffic, or users, POI or residents"
            )
        return self.checkpoint.references.get(str(city.attrs["family"]), 1.0)

    def _provenance(self, reference: float, layers: str) -> dict[str, str | float | int]:
        return {
            "context_layers": layers,
            "weights": self.checkpoint.name,
            "weights_sha256": self.weights,
            "reference": reference,
            "sampler": self.sampling.sampler,
            "sampling_steps": self.sampling.steps,
            "antithetic": int(self.sampling.antithetic),
        }


@dataclass(frozen=True)
class _Ahead:
    """What is known of the context of a whole horizon, to be cut into blocks."""

    horizon: int
    context: ContextMode
    users_ahead: np.ndarray | None
    users_reference: float | None

    def known(self, done: int, block: int) -> dict[str, Any]:
        """What `forecast_task` takes for the steps `done` to `done + block` after the end of the city."""
        ahead = None if self.users_ahead is None else self.users_ahead[done : done + block]
        return {"context": self.context, "users_ahead": ahead, "users_reference": self.users_reference}

    def fill_in(self, longer: City, done: int) -> City:
        """The city with `done` steps more, and their assumed users where there are any."""
        if self.users_ahead is None or self.context != "full" or "users" not in longer:
            return longer
        users = longer["users"].values.copy()
        users[len(users) - done :] = self.users_ahead[:done]
        return longer.assign(users=longer["users"].copy(data=users))


def members_unit(horizon: int) -> int:
    """Members that must be drawn in one part, for `shared_members`: what is continued is continued together."""
    return 2 if horizon <= LONGEST_BLOCK else CONTINUED


def _generation(area: np.ndarray) -> Callable[..., Task]:
    """`generate_task` of one area."""
    return lambda city, **known: generate_task(city, area, **known)


def default_sampling(checkpoint: Checkpoint) -> SamplingConfig:
    """Three steps of `angle`; for the `paper` process ancestral sampling on 25 of its K steps, to bound the cost."""
    return SamplingConfig(sampler="ddpm") if checkpoint.process == "paper" else SamplingConfig()


def load(
    name_or_folder: str | Path = "fomo-tiny", *, sampling: SamplingConfig | None = None, device: str = "cpu"
) -> FoMo:
    """A FoMo with shipped weights (by name) or with those of a folder. Raises `CheckpointError`."""
    folder = Path(name_or_folder)
    recover(folder)
    if not folder.exists():
        shipped = Path(__file__).parent.parent / "weights"
        folder = shipped / str(name_or_folder)
        if not folder.exists():
            names = sorted(path.name for path in shipped.iterdir() if path.is_dir()) if shipped.exists() else []
            raise CheckpointError(
                f"{name_or_folder} is neither a folder nor shipped weights; shipped are: {', '.join(names) or 'none'}"
            )
    network, checkpoint = load_checkpoint(folder)
    return FoMo(network, checkpoint, sampling=sampling, weights=weights_hash(folder), device=device)
