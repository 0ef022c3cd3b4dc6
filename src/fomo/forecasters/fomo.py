"""FoMo as a forecaster: tasks in, forecasts out.

    model = fomo.load("fomo-tiny")
    forecast = model.forecast(city, horizon=16, samples=20)

The numbers do not depend, but for their last digits, on which other tasks are asked at the same time; how members are
drawn is in `drawing.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fomo.city import City, CityError, validate
from fomo.days_off import DAYS_OFF, DaysOff
from fomo.diffusion.process import PROCESSES, PaperProcess
from fomo.forecast import Forecast, make_forecast
from fomo.forecasters.ahead import (
    CONTINUED,
    LONGEST_BLOCK,
    WINDOW,
    Ahead,
    history_of,
    members_asked,
    members_unit,
)
from fomo.forecasters.apart import Apart
from fomo.forecasters.believed import believed, stored_references
from fomo.forecasters.blend import Blend
from fomo.forecasters.consecutive import Ask, consecutive, context_of, gaps_of, generation_of, told_of_users
from fomo.forecasters.drawing import Drawing, SamplingConfig
from fomo.forecasters.gap_hindcasts import judged_in_gaps, said_around
from fomo.forecasters.judged import judged
from fomo.forecasters.own_past import OwnPast
from fomo.forecasters.served import only_in_service, told_unfilled
from fomo.forecasters.tiles import count_tiles
from fomo.given import numbers_of, whole_number
from fomo.model.checkpoint import Checkpoint, CheckpointError, load_checkpoint, recover, weights_hash
from fomo.model.transformer import MaskedDiffusionTransformer
from fomo.seeds import derived_seed, seed_of
from fomo.units import SHARES
from fomo.windows.batch import collate
from fomo.windows.context import full_users
from fomo.windows.scale import reference_of, to_share
from fomo.windows.task import CONTEXT_LAYERS, ContextMode, Task, make_task
from fomo.windows.task_arrays import task_arrays


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

        `history`: observed steps to look back on, at most and by default what a window of 64 leaves, at least 16: what
        was before them is heard as the city's past (`past_week`), so a long one is used whole. With `past_week`
        the network is also told the same hours one week before, where the city has them, and what it says is weighed
        against hindcasts of that past (`blend`; `forecast.attrs["hindcasts"]`, `["blend"]`, `["width"]` say how).
        Horizons above 48 steps are produced in blocks, each member continuing itself. `only`: these of the `samples`
        members, as they are among all of them, where others are drawn elsewhere; begun at a multiple of
        `members_unit`. Squares that are out of service (`city.in_service`) are not asked for then, and NaN. Raises
        `CityError`: not a city, no history, horizon < 1, nothing in service.
        """
        horizon, samples = whole_number(horizon, "the horizon"), members_asked(samples)
        if only is not None and only.start % members_unit(horizon):
            raise ValueError(f"parts of an ensemble begin at multiples of {members_unit(horizon)}, not at {only.start}")
        ahead = self._ahead(city, horizon, history, past_week, context, users_ahead)
        block, kept = ahead.block(), slice(ahead.seen, None)
        task = ahead.first()
        blend = self._blend(task, ahead.reference)
        first = self._answer_all([task], samples, [seed], only, kept, blend)[0]
        if block == horizon:
            return only_in_service(first, city)
        whole = range(samples) if only is None else only
        members = np.empty((len(whole), horizon, city.sizes["y"], city.sizes["x"]), np.float32)
        asked = np.empty(members.shape[1:], bool)
        members[:, :block], asked[:block] = first.samples.values, first.asked.values
        done, blocks = block, 1
        while done < horizon:
            upto = done + ahead.block(done)
            seeds = [derived_seed(derived_seed(seed, blocks), member) for member in whole]
            self._continue(ahead, members[:, :upto], asked[:upto], done, seeds, blend)
            done, blocks = upto, blocks + 1
        window = city.isel(time=slice(-1, None)).reindex(time=ahead.times(horizon))
        context, layers = first.attrs["context"], first.attrs["context_layers"]
        made = self._forecast(members, asked, window, context, layers, seed, ahead.reference, blend)
        return only_in_service(made, city)

    def districts(self, grid: tuple[int, int], horizon: int) -> int:
        """In how many parts a forecast of so many cells (y, x) can be drawn apart.

        One where a block continues members, which are needed whole for that.
        """
        return len(self.drawing.districts(grid).corners) if horizon <= LONGEST_BLOCK else 1

    def apart(
        self,
        city: City,
        horizon: int = 16,
        history: int | None = None,
        samples: int = 20,
        seed: int = 0,
        past_week: bool = True,
        context: ContextMode = "past",
        users_ahead: np.ndarray | None = None,
    ) -> Apart:
        """What `forecast` gives, to be drawn district by district and put together."""
        horizon, samples = whole_number(horizon, "the horizon"), members_asked(samples)
        ahead = self._ahead(city, horizon, history, past_week, context, users_ahead)
        task = ahead.first()
        kept = slice(ahead.seen, None)
        asked, window = task.asked[kept], task.window.isel(time=kept)
        nobody = np.empty((0, *asked.shape), np.float32)
        blend = self._blend(task, ahead.reference)
        shell = only_in_service(self._answered(task, nobody, asked, window, seed, ahead.reference, blend), city)
        districts = self.drawing.districts((city.sizes["y"], city.sizes["x"]))
        batch = cache(lambda: collate([self.window(task, ahead.reference, blend)]).to(self.device))

        def draw(district: int, only: range) -> np.ndarray:
            with torch.inference_mode():
                drawn = self.drawing.weighted(batch(), samples, [seed], only, kept, district, [blend])
            return np.asarray(drawn[0].cpu().numpy())

        return Apart(shell, samples, districts, ahead.reference, window["traffic"].values, draw)

    def _ahead(
        self,
        city: City,
        horizon: int,
        history: int | None,
        past_week: bool,
        context: ContextMode,
        users_ahead: np.ndarray | None,
    ) -> Ahead:
        """A question that can be asked. Raises `CityError`."""
        city = believed(validate(city))
        if horizon < 1:
            raise CityError(f"the horizon is {horizon} steps; it must be at least 1")
        looked = history_of(horizon, None if history is None else whole_number(history, "the history"))
        if users_ahead is not None:
            users_ahead = numbers_of(users_ahead, ("time", "y", "x"), "the assumed users")
        return Ahead(
            city, horizon, looked, self.reference(city), past_week, context, users_ahead, self.users_reference(city)
        )

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
        nothing lies before what is asked. The area may be the whole city where there is context to go by: in a family
        that the weights do not know nothing then gives a scale, and the unit is `share of full traffic`.
        """
        return self._windowed(validate(city), generation_of(area), samples, seed, context, layers, only)

    def fill(
        self,
        city: City,
        samples: int = 20,
        seed: int = 0,
        context: ContextMode = "full",
        layers: Sequence[str] = CONTEXT_LAYERS,
        only: range | None = None,
    ) -> Forecast:
        """Values for what was not recorded in covered cells in service; recorded values come back untouched.

        The network says what fits into a window of 64 steps, the record what is usual there (`around_gaps`); gaps like
        these, made again on other days, say how far each is believed and how wide members are.
        """
        found = self._windowed(validate(city), gaps_of(city), samples, seed, context, layers, only, gaps=True)
        return told_unfilled(found, city)

    def reference(self, city: City) -> float:
        """What counts as full traffic: stored with the weights for a known family, else from the city's history."""
        stored = stored_references(city, self.checkpoint)[0]
        return stored if stored is not None else reference_of(city["traffic"].values)

    def users_reference(self, city: City) -> float | None:
        """What counts as full users: stored for a known family, else from the city; None where it has none."""
        stored = stored_references(city, self.checkpoint)[1]
        if stored is not None or "users" not in city:
            return stored
        return full_users(city["users"].values)

    def without_hindcasts(self) -> FoMo:
        """The network alone, not weighed against hindcasts."""
        return self._sampling(hindcasts=0)

    def with_tails(self) -> FoMo:
        """Members whose errors have the tails that errors have, for plans: what is rare there costs most."""
        return self._sampling(tails=True)

    def _sampling(self, **changes: bool | int) -> FoMo:
        sampling = self.sampling.model_copy(update=changes)
        return FoMo(self.network, self.checkpoint, sampling=sampling, weights=self.weights, device=self.device)

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

    def _continue(
        self,
        ahead: Ahead,
        members: np.ndarray,
        asked: np.ndarray,
        done: int,
        seeds: Sequence[int],
        blend: Blend,
    ) -> None:
        """The next block into `members` (sample, time, y, x) and `asked`, every member from its own past; in place."""
        longer = ahead.longer(done)
        kept = slice(min(ahead.history, longer.sizes["time"]), None)
        for first in range(0, len(members), CONTINUED):
            some = slice(first, first + CONTINUED)
            tasks = [ahead.following(longer, path[:done]) for path in members[some]]
            answers = self._answer_all(tasks, 1, seeds[some], None, kept, blend)
            for path, answer in zip(members[some], answers, strict=True):
                path[done:], asked[done:] = answer.samples.values[0], answer.asked.values

    def _windowed(
        self,
        city: City,
        ask: Ask,
        samples: int,
        seed: int,
        context: ContextMode,
        layers: Sequence[str],
        only: range | None,
        gaps: bool = False,
    ) -> Forecast:
        """Ask about a whole city in consecutive windows; the last one overlaps its neighbour. `gaps`: of its record."""
        samples = members_asked(samples)
        recorded, city = city["traffic"].values, believed(city)
        whole = ask(city, context=context, layers=layers)  # what is asked, where it is recorded, sets no scale
        known = np.isfinite(whole.window["traffic"].values)
        reference, unit = (
            (self.reference(whole.window), str(city.attrs["unit"])) if known.any() else self._made_up_scale(city, whole)
        )
        users_reference = self.users_reference(city) if "users" in whole.layers else None
        gaps = gaps and known.any() and self.drawing.process.standardise and self.sampling.hindcasts > 0
        around = said_around(city["traffic"].values, city) if gaps else None
        wanted = consecutive(city, ask, context, layers, reference, users_reference, self.reads_context, around)
        told = {start: task for start, task in wanted.items() if task.around is not None}
        blend = None
        if told:

            def again(window: City, hidden: np.ndarray) -> Task:
                return make_task(
                    window, hidden, reference=reference, users_reference=users_reference, context=context, layers=layers
                )

            def read(task: Task) -> dict[str, Any]:
                return self.window(task, reference)

            blend = judged_in_gaps(city, told, self.drawing, again, read, self.device)
        members = np.repeat(recorded[None], samples if only is None else len(only), 0)
        asked = np.zeros(city["traffic"].shape, bool)
        others = [start for start in wanted if start not in told]
        kinds = [(list(told), blend), (others, None)]
        kinds.sort(key=lambda kind: max(kind[0], default=-1))  # the last window goes over the one before it
        lasting = derived_seed(seed, city.sizes["time"])  # a cell whose level is not known has one level in all windows
        at_once = self._tasks_at_once((city.sizes["y"], city.sizes["x"]), samples)
        for kind, its in kinds:
            for some in (kind[first : first + at_once] for first in range(0, len(kind), at_once)):
                seeds = [derived_seed(seed, start) for start in some]
                tasks = [wanted[start] for start in some]
                answers = self._answer_all(tasks, samples, seeds, only, blend=its, lasting=lasting)
                for start, answer in zip(some, answers, strict=True):
                    members[:, start : start + WINDOW] = answer.samples.values
                    asked[start : start + WINDOW] = wanted[start].asked
        np.copyto(members, recorded, where=~asked)  # slips, too
        said = context_of(wanted.values()) if self.reads_context else ("none", "")
        named = city.assign_attrs(unit=unit)
        return told_of_users(self._forecast(members, asked, named, *said, seed, reference, blend), city)

    def _made_up_scale(self, city: City, task: Task) -> tuple[float, str]:
        """Scale and unit of a city without any traffic: those of its family, or 1, so that values are shares of full.

        The city may have a record that is asked for: it is as if it were not there, so it gives no scale.
        """
        if not (task.layers and self.reads_context):
            raise CityError(
                f"no traffic is recorded in {city.attrs['name']!r} and no context is known, so there is nothing "
                "to go by: give some cells with traffic, or users, POI or residents"
            )
        stored = self.checkpoint.references.get(str(city.attrs["family"]))
        return (1.0, SHARES) if stored is None else (stored, str(city.attrs["unit"]))

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


def device_of(device: str) -> str:
    """A device that is there; `auto`: a GPU where there is one. Raises `CheckpointError`."""
    gpu = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if gpu else "cpu"
    if device.startswith("cuda") and not gpu:
        raise CheckpointError(f"device {device!r}: this PyTorch sees no CUDA GPU; use 'cpu' or 'auto'")
    return device


def default_sampling(checkpoint: Checkpoint) -> SamplingConfig:
    """Three steps of `angle`; for the `paper` process ancestral sampling on 25 of its K steps, to bound the cost."""
    return SamplingConfig(sampler="ddpm") if checkpoint.process == "paper" else SamplingConfig()


def load(
    name_or_folder: str | Path = "fomo-tiny", *, sampling: SamplingConfig | None = None, device: str = "cpu"
) -> FoMo:
    """A FoMo with shipped weights (by name) or with those of a folder; `device` as PyTorch names it, or `auto`.

    Raises `CheckpointError`, also where there is no such device.
    """
    device = device_of(device)
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
