"""Forecast, generate and fill a city of a file, and write what comes out."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fomo.app.errors import UsageError
from fomo.app.service.answering import Answer, Question, answer, choose_device
from fomo.app.service.outputs import Outputs
from fomo.app.service.sharing import Work
from fomo.city import City, in_service, steps_per_day, times_after
from fomo.days_off import with_days_off
from fomo.forecasters.ahead import history_of, members_unit
from fomo.forecasters.fomo import FoMo, load
from fomo.processes import Place
from fomo.windows.task import CONTEXT_LAYERS, ContextMode

DEFAULT_WEIGHTS = "fomo-tiny"


def load_weights(weights: str = DEFAULT_WEIGHTS, device: str = "auto") -> FoMo:
    """The network on a device ('auto' takes a GPU if there is one). Raises `CheckpointError`, `UsageError`."""
    return load(weights, device=choose_device(device))


@dataclass(frozen=True)
class ForecastOptions:
    """What is asked of the steps after the end of a city.

    `assume_users`: for context `full`, the users of the same hours of last week times this factor. Without `hindcasts`
    the network alone answers (`forecasters.blend`). `days_off`: a country or a table, see `days_off.with_days_off`, in
    place of those that the city knows.
    """

    horizon: int = 16
    history: int | None = None
    samples: int = 20
    seed: int = 0
    past_week: bool = True
    context: ContextMode = "past"
    assume_users: float | None = None
    hindcasts: bool = True
    days_off: str | None = None
    tails: bool = False

    def question(self, city: City) -> Question:
        """The question of one city. Raises `UsageError`, `CityError`."""
        check_samples(self.samples)
        if self.days_off is not None:
            city = with_days_off(city, self.days_off)
        city = to_last_recorded(city, history_of(self.horizon, None))
        ahead = _assumed(city, self.horizon, self.context, self.assume_users)
        if self.history is not None and self.history < 1:
            raise UsageError(f"--history {self.history}: look back on one step at least")
        facts = {
            "verb": "forecast", "horizon": self.horizon, "history": self.history, "samples": self.samples,
            "seed": self.seed, "past week": self.past_week, "context": self.context,
            "assumed users": self.assume_users, "hindcasts": self.hindcasts,
            "tails": self.tails,
        }  # fmt: skip
        known = (
            *(city, self.horizon, self.history, self.samples, self.seed),
            *(self.past_week, self.context, ahead),
        )

        def asked(model: FoMo) -> FoMo:
            model = model.with_tails() if self.tails else model
            return model if self.hindcasts else model.without_hindcasts()

        return Question(
            city,
            facts,
            self.samples,
            lambda model, only: asked(model).forecast(*known, only),
            members_unit(self.horizon),
            lambda model: self.work(model, (city.sizes["y"], city.sizes["x"])),
            lambda model: asked(model).apart(*known),
        )

    def work(self, model: FoMo, grid: tuple[int, int]) -> Work:
        """What a forecast of so many cells (y, x) consists of."""
        districts = model.districts(grid, self.horizon)
        return Work(districts, self.samples, members_unit(self.horizon), -(-grid[0] * grid[1] // districts))


def to_last_recorded(city: City, looked_back_on: int) -> City:
    """A city without periods of its last day in which nothing is recorded any more; a warning says so.

    A city that grows by days has all periods of its last day, of which the later ones may not have come yet; or nothing
    came of a whole day, which is cut where a forecast looks back on no more steps than that. A longer silence is one,
    and stays.
    """
    some = np.flatnonzero(np.isfinite(city["traffic"].values).any((1, 2)))
    if not some.size:
        return city
    silent, day = city.sizes["time"] - 1 - int(some[-1]), steps_per_day(city)
    if not (0 < silent < day or looked_back_on <= silent < 2 * day):
        return city
    last, end = (np.datetime_as_string(city["time"].values[at], unit="m") for at in (some[-1], -1))
    warnings.warn(
        f"nothing of {city.attrs['name']!r} is recorded after {last}, up to {end}: the forecast begins after {last}",
        stacklevel=2,
    )
    return city.isel(time=slice(0, int(some[-1]) + 1))


def forecast(
    city: City,
    outputs: Outputs,
    *,
    options: ForecastOptions,
    weights: str = DEFAULT_WEIGHTS,
    device: str = "auto",
    place: Place | None = None,
) -> Answer:
    """The steps after the end of a city.

    `place`: which of several processes this one is, that draw some of the districts or members each; the first one
    joins and writes them.
    """
    return answer(options.question(city), outputs, weights, device, place or Place())


def _assumed(city: City, horizon: int, context: ContextMode, factor: float | None) -> np.ndarray | None:
    """Users of the asked steps, NaN where not known, or None where none are assumed. Raises `UsageError`."""
    if factor is None:
        if context == "full" and "users" in city:
            raise UsageError(
                "--context full: nobody knows the users of the hours ahead; say what you assume, for example "
                "--assume-users 1.2 for last week's times 1.2, or take --context past"
            )
        return None
    if context != "full":
        raise UsageError("--assume-users: assumed users are used with --context full only")
    if not 0 < factor < np.inf:
        raise UsageError(f"--assume-users {factor:g}: a factor above 0")
    if "users" not in city or not np.isfinite(city["users"].values).any():
        raise UsageError(f"--assume-users: {city.attrs['name']!r} has no users; import them, or take --context past")
    if city.sizes["time"] < 7 * steps_per_day(city):
        raise UsageError(f"--assume-users: {city.attrs['name']!r} has no full week of users to start from")
    return np.asarray(_users_of_last_week(city, horizon) * factor, np.float32)


def _users_of_last_week(city: City, horizon: int) -> np.ndarray:
    """Users of the same hours of the last week, (horizon, y, x); a warning says what stands for those it lacks.

    That is the same hour of the latest earlier week that has it, else the mean of that time of day on all days that
    have it. A cell that has neither stays NaN, not known.
    """
    day, users = steps_per_day(city), city["users"].values
    week, ahead = 7 * day, np.arange(horizon)
    source = len(users) - week + ahead % week
    found = users[source]
    asked = in_service(city, times_after(city, horizon)) & city["covered"].values
    lacked = np.isnan(found) & asked
    while np.isnan(found).any() and (source := source - week).max() >= 0:
        earlier = np.where((source >= 0)[:, None, None], users[source.clip(0)], np.nan)
        found = np.where(np.isnan(found), earlier, found)
    by_week = np.isfinite(found)
    of_day, asked_of_day = np.arange(len(users)) % day, (len(users) + ahead) % day
    for time in np.unique(asked_of_day):
        seen, at = users[of_day == time], asked_of_day == time
        count = np.isfinite(seen).sum(0)
        usual = np.where(count > 0, np.nansum(seen, 0) / np.maximum(count, 1), np.nan)
        found[at] = np.where(by_week[at], found[at], usual)
    if lacked.any():
        known = np.isfinite(found)
        kinds = (by_week, known & ~by_week, ~known)
        weeks, means, unknown = (f"{int((lacked & kind).sum()):,}" for kind in kinds)
        values = f"{int(lacked.sum()):,} of {int(asked.sum()):,} values of {city.attrs['name']!r}"
        warnings.warn(
            f"the users of last week are missing at {values}: taken are {weeks} of the same hour of an earlier week "
            f"and {means} means of that time of day; {unknown} stay unknown",
            stacklevel=2,
        )
    return np.asarray(found)


def generate(
    city: City,
    area: np.ndarray,
    outputs: Outputs,
    *,
    weights: str = DEFAULT_WEIGHTS,
    samples: int = 20,
    seed: int = 0,
    context: ContextMode = "full",
    layers: Sequence[str] = CONTEXT_LAYERS,
    device: str = "auto",
    place: Place | None = None,
) -> Answer:
    """All times of the cells of `area` (bool (y, x)), as if they had no history."""
    check_samples(samples)
    asked = {
        "verb": "generate", "area": np.packbits(area).tobytes().hex(), "samples": samples, "seed": seed,
        "context": context, "layers": list(layers),
    }  # fmt: skip
    question = Question(
        city, asked, samples, lambda model, only: model.generate(city, area, samples, seed, context, layers, only)
    )
    return answer(question, outputs, weights, device, place or Place())


def fill(
    city: City,
    outputs: Outputs,
    *,
    weights: str = DEFAULT_WEIGHTS,
    samples: int = 20,
    seed: int = 0,
    context: ContextMode = "full",
    device: str = "auto",
    place: Place | None = None,
) -> Answer:
    """The values of covered cells that were not recorded; the others come back untouched."""
    check_samples(samples)
    asked = {"verb": "fill", "samples": samples, "seed": seed, "context": context}
    question = Question(city, asked, samples, lambda model, only: model.fill(city, samples, seed, context, only=only))
    return answer(question, outputs, weights, device, place or Place())


def check_samples(samples: int) -> None:
    """Raises `UsageError` where there would be no member."""
    if samples < 1:
        raise UsageError(f"--samples {samples}: one member at least")


def parse_area(text: str, city: City) -> np.ndarray:
    """'y0:y1,x0:x1' (rows from the south, columns from the west, ends left out) as bool (y, x).

    Raises `UsageError`.
    """
    found = re.fullmatch(r"\s*(\d+):(\d+)\s*,\s*(\d+):(\d+)\s*", text)
    height, width = city.sizes["y"], city.sizes["x"]
    if found is None:
        raise UsageError(f"--area {text!r}: write rows and columns as y0:y1,x0:x1, for example 2:4,0:3")
    y0, y1, x0, x1 = map(int, found.groups())
    if not (y0 < y1 <= height and x0 < x1 <= width):
        raise UsageError(f"--area {text!r} does not lie on the grid of {height} x {width} cells: 0:{height},0:{width}")
    area = np.zeros((height, width), bool)
    area[y0:y1, x0:x1] = True
    if area.all() and not any(name in city for name in CONTEXT_LAYERS):
        raise UsageError(
            f"--area {text!r} is the whole city, which has no users, POI or residents: "
            "leave some cells to generate it from"
        )
    return area


__all__ = [
    "Answer",
    "ForecastOptions",
    "choose_device",
    "fill",
    "forecast",
    "generate",
    "load_weights",
    "parse_area",
]
