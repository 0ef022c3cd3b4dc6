"""Rivals that forecast one series at a time: the cells of a task as series, and quantiles as members.

They are made elsewhere, by libraries and weights that the core does not need; `library` and `weights` say what is
missing. They learn nothing from other windows: each series is answered from its own past.
"""

from __future__ import annotations

import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from statistics import NormalDist
from types import ModuleType

import numpy as np
from jaxtyping import Bool, Float, Int

from fomo.city import CityError
from fomo.forecast import Forecast, make_forecast
from fomo.forecasters.rule import observed, users_of
from fomo.windows.task import Task


class RivalUnavailable(RuntimeError):
    """A rival whose library or weights are not here; the message says what to install or where to put what."""


@dataclass(frozen=True)
class Series:
    """The asked cells of a task of which anything was recorded, one series each.

    `cell`: y and x. `past`: traffic before the first asked step, NaN where not recorded. `users`: at the times of the
    past and of what is asked, NaN where not known. `time`: of the same steps.
    """

    cell: Int[np.ndarray, "series 2"]
    past: Float[np.ndarray, "series past"]
    users: Float[np.ndarray, "series step"]
    time: np.ndarray
    step_minutes: int

    @property
    def horizon(self) -> int:
        """How many steps are asked."""
        return self.users.shape[1] - self.past.shape[1]

    @property
    def users_ahead(self) -> Bool[np.ndarray, " series"]:
        """Whether the users of all asked steps and of some step of the recorded past are known."""
        size = self.past.shape[1]
        both = np.isfinite(self.users[:, :size]) & np.isfinite(self.past)
        return np.asarray(np.isfinite(self.users[:, size:]).all(1) & both.any(1))

    def rows(self, chosen: np.ndarray) -> Series:
        """Some of the series."""
        return replace(self, cell=self.cell[chosen], past=self.past[chosen], users=self.users[chosen])


def series_of(task: Task, days: float = 0.0) -> Series:
    """The series of a task, with up to `days` of what was recorded before the window, where the task tells it.

    Raises `CityError` where the task asks anything else than the last steps of cells, all from the same step on.
    """
    cells = np.asarray(task.asked.any(0))
    first = int(np.argmax(task.asked.any((1, 2))))
    after = np.arange(len(task.asked)) >= first
    forecast = cells[None] & after[:, None, None]
    if not cells.any() or first == 0 or not np.array_equal(task.asked, forecast):
        raise CityError("this rival forecasts the last steps of a window and nothing else: ask 'short' or 'long'")
    past, users = observed(task)[:first], users_of(task)
    time = np.asarray(task.window["time"].values)
    minutes = int(task.window.attrs["step_minutes"])
    if task.earlier is not None and (size := min(round(days * 24 * 60 / minutes), len(task.earlier))) > 0:
        past = np.concatenate([task.earlier[-size:], past])
        nothing = np.full((size, *users.shape[1:]), np.nan)
        before = nothing if task.users_earlier is None else task.users_earlier[-size:]
        users = np.concatenate([before, users])
        time = np.concatenate([time[0] - np.timedelta64(minutes, "m") * np.arange(size, 0, -1), time])
    cells &= np.isfinite(past).any(0)
    return Series(np.argwhere(cells), _columns(past, cells), _columns(users, cells), time, minutes)


def _columns(layer: np.ndarray, cells: np.ndarray) -> np.ndarray:
    return np.asarray(layer[:, cells].T, np.float64)


class SeriesForecaster(ABC):
    """A forecaster of one series at a time. A cell that was never recorded is NaN.

    `tasks` it can do; `days` of what was recorded before a window that it reads, where the task tells it.
    """

    name: str
    tasks: tuple[str, ...] = ("short", "long")
    trained_on: tuple[str, ...] = ()
    undefined = "no recorded value of the cell"
    days: float
    #: Members are equally spaced quantiles of every value, and no draws.
    gives_quantiles = False

    @abstractmethod
    def draw(
        self, series: Series, samples: int, random: np.random.Generator
    ) -> Float[np.ndarray, "sample series horizon"]:
        """Members of the asked values in the city's unit, not negative. There is at least one series."""

    def forecast_tasks(self, tasks: Sequence[Task], samples: int, seed: int) -> list[Forecast]:
        """One forecast per task; only what is asked costs time. Raises `CityError`: no forecast, or samples < 1."""
        if samples < 1:
            raise CityError(f"{samples} samples are asked for; at least 1 is needed")
        return [self._forecast(task, samples, seed) for task in tasks]

    def _forecast(self, task: Task, samples: int, seed: int) -> Forecast:
        window, series = task.window, series_of(task, self.days)
        random = np.random.default_rng([seed, zlib.crc32(task.place.encode())])
        members = np.repeat(observed(task)[None], samples, 0)
        if len(series.cell):
            y, x = series.cell.T
            members[:, -series.horizon :, y, x] = np.moveaxis(self.draw(series, samples, random), 1, 2)
        return make_forecast(
            members, task.asked, window, forecaster=self.name, context=task.context, seed=seed,
            provenance={"quantiles": int(self.gives_quantiles)},
        )  # fmt: skip


class QuantileForecaster(SeriesForecaster):
    """A forecaster of quantiles; member i is the quantile function at (i + 1/2) / samples, for all values."""

    levels: tuple[float, ...]
    gives_quantiles = True

    @abstractmethod
    def quantiles(self, series: Series) -> Float[np.ndarray, "series horizon level"]:
        """The quantiles of `levels` of several series of one task, in the city's unit; ascending or nearly so."""

    def draw(
        self, series: Series, samples: int, random: np.random.Generator
    ) -> Float[np.ndarray, "sample series horizon"]:
        """The quantile function at equally spaced places."""
        return members_of(self.quantiles(series), self.levels, samples)


def members_of(
    quantiles: Float[np.ndarray, "series horizon level"], levels: Sequence[float], samples: int
) -> Float[np.ndarray, "sample series horizon"]:
    """Quantiles as members: the quantile function at (i + 1/2) / samples, not negative.

    Between the given levels it is linear in the normal score of the level, and so it goes on beyond the outermost: the
    members of a normal distribution are exact. Libraries give 9 or 21 levels from 0.1 or 0.01 on, and members that
    end there would have no tails. Quantiles that cross are put in order (Chernozhukov et al., 2010).
    """
    place, wanted = (_scores(some) for some in (levels, (np.arange(samples) + 0.5) / samples))
    ordered = np.sort(np.asarray(quantiles, np.float64), axis=-1)
    below = np.clip(np.searchsorted(place, wanted, "right") - 1, 0, len(place) - 2)
    part = (wanted - place[below]) / (place[below + 1] - place[below])
    drawn = ordered[..., below] * (1 - part) + ordered[..., below + 1] * part
    return np.maximum(np.moveaxis(drawn, -1, 0), 0.0)


def _scores(levels: Sequence[float] | np.ndarray) -> np.ndarray:
    return np.array([NormalDist().inv_cdf(float(level)) for level in levels])


def library(module: str, rival: str) -> ModuleType:
    """A module of the extra `rivals`. Raises `RivalUnavailable` where it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise RivalUnavailable(
            f"{rival} needs the library {module.partition('.')[0]}, which is not to be had here ({error}): "
            "pip install 'fomo[rivals]'"
        ) from error


def weights(given: str | Path | None, variable: str, file: str, rival: str, source: str) -> Path:
    """The file of weights: `given`, else what the environment `variable` names; a folder that holds it, or itself.

    `file` is its usual name. Raises `RivalUnavailable`: nothing is ever downloaded.
    """
    told = given or os.environ.get(variable)
    remedy = f"put {file} of {source} into a folder, and name that with weights_at= or {variable}"
    if not told:
        raise RivalUnavailable(f"{rival} has no weights: {remedy}")
    path = Path(told) / file if Path(told).is_dir() else Path(told)
    if not path.is_file():
        raise RivalUnavailable(f"{rival} finds no weights at {path}: {remedy}")
    return path


__all__ = [
    "QuantileForecaster",
    "RivalUnavailable",
    "Series",
    "SeriesForecaster",
    "library",
    "members_of",
    "series_of",
    "weights",
]
