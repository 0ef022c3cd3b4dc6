"""FoMo: cities in, forecasts out.

    model = fomo.load("fomo-tiny")
    forecast = model.forecast(city, horizon=16, samples=20)

Questions about a city become tasks, which `task_forecaster.py` answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fomo.city import City, CityError, validate
from fomo.forecast import Forecast
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
from fomo.forecasters.drawing import SamplingConfig
from fomo.forecasters.gap_hindcasts import judged_in_gaps, said_around
from fomo.forecasters.served import only_in_service, told_unfilled
from fomo.forecasters.task_forecaster import TaskForecaster
from fomo.given import numbers_of, whole_number
from fomo.model.checkpoint import CheckpointError, load_checkpoint, recover, weights_hash
from fomo.seeds import derived_seed
from fomo.units import SHARES
from fomo.windows.batch import collate
from fomo.windows.context import full_users
from fomo.windows.scale import reference_of
from fomo.windows.task import CONTEXT_LAYERS, ContextMode, Task, make_task


class FoMo(TaskForecaster):
    """A trained network with its scale: forecasts, gaps and cells without history of whole cities."""

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


def device_of(device: str) -> str:
    """A device that is there; `auto`: a GPU where there is one. Raises `CheckpointError`."""
    gpu = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if gpu else "cpu"
    if device.startswith("cuda") and not gpu:
        raise CheckpointError(f"device {device!r}: this PyTorch sees no CUDA GPU; use 'cpu' or 'auto'")
    return device


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
