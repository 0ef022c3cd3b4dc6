"""When and where plans are made and judged: start times of a city's test part, with what was known and what came.

The asked periods of two origins of a place do not overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int

from fomo.app.service.planning.moments import time_columns
from fomo.city import City, steps_per_day
from fomo.evaluation.questions import TaskName, family_questions
from fomo.planning.load import Load, PlanError, load_of_members
from fomo.planning.simulator import network_of_load
from fomo.windows.task import ContextMode, Task

#: A week whose values differ from those of the week before by less than this share (root mean square) is a copy of it.
#: That of uomo_shandong does by 0.4 to 1.3 %; of the others the closest is jinan's, by 6 %.
COPY = 0.03


@dataclass(frozen=True)
class Origin:
    """A start: what forecasters are asked then, and what every cell of the window carried in the asked periods."""

    task: Task
    truth: np.ndarray  # (asked period, y, x)
    region: str
    start: np.datetime64  # of the first asked period

    @property
    def window(self) -> City:
        """The asked periods."""
        return self.task.window.isel(time=asked_periods(self.task))

    @property
    def name(self) -> str:
        """Region and start, for tables and draws."""
        return f"{self.region} {np.datetime_as_string(self.start, unit='m')}"


def find_origins(cities: Sequence[City], task: TaskName, context: ContextMode, most: int | None = None) -> list[Origin]:
    """The origins of a family's test part, the past known: one fold of regions, or the last fifth of the time.

    At each, a day before the first asked period is known, and all asked periods lie in the test part. Periods that
    repeat the week before are not asked: whoever copies last week would know them. `most`: no more than so many per
    region, spread evenly. Raises `PlanError` where there is none.
    """
    by_name = {str(city.attrs["name"]): city for city in cities}
    origins: list[Origin] = []
    last: dict[str, int] = {}
    end = {name: first_copy(city) for name, city in by_name.items()}
    for question in family_questions(cities, task, context=context, past_week=True):
        asked, first = asked_periods(question.task), question.first_step
        if not np.array_equal(question.scored.any((1, 2)), asked):
            continue
        day, horizon = steps_per_day(by_name[question.region]), int(asked.sum())
        if (
            first < day
            or first + horizon > end[question.region]
            or first < last.get(question.region, -horizon) + horizon
        ):
            continue
        if not np.isfinite(question.truth[question.task.asked]).all():
            continue
        last[question.region] = first
        start = question.task.window["time"].values[asked][0]
        origins.append(Origin(question.task, question.truth[asked], question.region, start))
    if most is not None:
        origins = [each for name in by_name for each in _spread([o for o in origins if o.region == name], most)]
    if not origins:
        raise PlanError(
            f"{cities[0].attrs['family']!r} has no start time in its test part with a day of history before it and "
            "everything recorded after it: plans cannot be judged there"
        )
    return origins


def asked_periods(task: Task) -> Bool[np.ndarray, " time"]:
    """The periods of a window in which anything is asked."""
    return np.asarray(task.asked.any((1, 2)))


def first_copy(city: City) -> int:
    """The step from which a city only repeats its first week; the number of its steps where it does not."""
    values, week = city["traffic"].values.astype(np.float64), 7 * steps_per_day(city)
    now, before = values[week:], values[: max(len(values) - week, 0)]
    both = np.isfinite(now) & np.isfinite(before)
    if not both.any() or not (now[both] > 0).any():
        return len(values)
    different = np.sqrt(np.mean((now - before)[both] ** 2) / np.mean(now[both] ** 2))
    return week if different < COPY else len(values)


def _spread(origins: list[Origin], most: int) -> list[Origin]:
    if len(origins) <= most:
        return origins
    return [origins[i] for i in np.unique(np.linspace(0, len(origins) - 1, most).round().astype(int))]


def load_at(origin: Origin, values: np.ndarray, places: Int[np.ndarray, "cell 2"]) -> Load:
    """Values of the asked periods, (sample, period, y, x), of some cells as a load."""
    return load_of_members(values, origin.window, places)


def without_asked(city: City, origin: Origin) -> City:
    """The city's record without the asked periods: what hardware is dimensioned by, which was there before the plan."""
    return city.isel(time=~np.isin(city["time"].values, origin.window["time"].values))


def cell_periods(time: np.ndarray, places: Int[np.ndarray, "cell 2"], dated: bool = True) -> dict[str, np.ndarray]:
    """The first columns of a plan's table: time, row and column of every cell in every period, by time, then cell.

    dated: False where dates are made up; see `moments.time_columns`.
    """
    step, cell = (each.ravel() for each in np.meshgrid(np.arange(len(time)), np.arange(len(places)), indexing="ij"))
    return {**time_columns(time, step, dated), "row": places[cell, 0], "column": places[cell, 1]}


def with_failed_site(load: Load, reach_km: float = 1.5) -> Load:
    """What neighbours carry when the busiest cell fails: its load goes to cells within reach, by inverse distance.

    Kilometres; cells, where a city says no edge of them. Alone in its reach, the cell keeps its load and fails nobody.
    """
    cells = len(load.places)
    network = network_of_load(load, radio_units=1, capacity=1.0, reach_km=reach_km)
    failed = np.arange(cells) == int(load.mean.sum(0).argmax())
    shares = network.takeover(failed)[0]
    kept = np.where(failed, 0.0, load.members)
    return replace(load, members=kept + load.members[..., failed] * shares)


__all__ = [
    "Origin",
    "asked_periods",
    "cell_periods",
    "find_origins",
    "first_copy",
    "load_at",
    "with_failed_site",
    "without_asked",
]
