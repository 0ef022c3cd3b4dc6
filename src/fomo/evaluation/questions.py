"""The questions of a table: which windows of which cities, what is hidden, and where errors count.

Windows are 64 steps at stride 4 (8 where the step is 15 minutes or less), as in NOTES.md, and lie inside
recorded time. Errors count on hidden, recorded, covered values only. Splits are those of `windows.split`:

- `fold`: every window of the regions of one fold;
- `last_fifth`: windows whose first hidden step is in the last fifth of the time. Where that part is shorter
  than what is asked, the one window that ends with the city, and errors count inside the last fifth only.
  `generate` hides from the window's first step on, so its windows lie in the last fifth, or end with the
  city;
- `area`: every window of a city, of which a district of it is generated;
- `next_week`: windows whose hidden part lies in the second week of a region.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from fomo.city import City, CityError, steps_per_day
from fomo.windows.split import (
    Area,
    Split,
    area_name,
    cells_of,
    city_reference,
    family_reference,
    first_week,
    fold_split,
    last_fifth,
    training_parts,
    without_area,
)
from fomo.windows.task import CONTEXT_LAYERS, HISTORY_AND_HORIZON, ContextMode, Task, context_left, last_week, make_task

TaskName = Literal["short", "long", "generate"]
WINDOW = 64

#: A large grid is generated in the middle 2 x 2 cells of each of its tiles of this edge.
TILE = 4


@dataclass(frozen=True)
class Question:
    """A task with its answer.

    `truth`: float32 (time, y, x), the city's unit, NaN where never recorded. `scored`: bool (time, y, x).
    `region` is the city's name; `day` the date of the first scored step and `first_step` its index in the
    city. `reference` scales the errors: that much traffic is 1; `scale` says where it comes from.
    """

    task: Task
    truth: np.ndarray
    scored: np.ndarray
    name: TaskName
    split: Split
    family: str
    region: str
    day: str
    first_step: int
    reference: float
    scale: str
    past_week: bool
    area: str = ""  # the district that is generated, with the split `area`


def family_questions(
    cities: Sequence[City],
    name: TaskName,
    *,
    context: ContextMode = "none",
    split: Split | None = None,
    fold: int = 0,
    past_week: bool | None = None,
    reference: float | None = None,
    layers: Sequence[str] = CONTEXT_LAYERS,
    area: Area | None = None,
) -> list[Question]:
    """All questions of one task to the cities of one family.

    `split` is `fold` where all cities have a fold, `last_fifth` elsewhere. `past_week` gives what was recorded before
    the window, and the same hours one week earlier; by default not with `fold` (NOTES.md's table has none) and never
    for cells to generate.
    `reference` is the scale that a model's weights store for this family, used where the test fold has no
    other fold beside it. With `last_fifth` each city has its own scale; one whose past carried nothing has none: it is
    left out with a warning. Of the context, `layers` are known as far as the mode says; a mode that a city cannot give
    falls back (`windows.task.make_task`). Known users are clipped at their own 99.99th percentile of the training part,
    as traffic is. With an `area`, that district is generated, and the split is `area`. Raises `CityError` where nothing
    can be asked, or for a task or split that there is not.
    """
    for what, said, there in (("task", name, get_args(TaskName)), ("split", split, (None, *get_args(Split)))):
        if said not in there:
            raise CityError(f"there is no {what} {said!r}: there are {', '.join(map(str, filter(None, there)))}")
    if not cities:
        raise CityError("there is no city to ask about")
    if area is not None:
        split = "area"
        if name != "generate":
            raise CityError(f"a district is generated, not asked for {name!r}: leave the area out, or ask to generate")
    if split is None:
        split = "fold" if all("fold" in city.attrs for city in cities) else "last_fifth"
    if past_week is None:
        past_week = split != "fold"
    past_week = past_week and name != "generate"
    tested = fold_split(cities, fold)[1] if split == "fold" else list(cities)
    if not tested:
        raise CityError(f"family {cities[0].attrs['family']!r} has no region of fold {fold}")
    questions = []
    without_scale: list[str] = []
    for city in tested:
        try:
            scale = _scale(cities, tested, city, split, fold, reference, area)
        except CityError as error:
            if split != "last_fifth":
                raise  # one scale for all
            without_scale.append(f"{city.attrs['name']!r} is left out: {error}")
            continue
        users_scale = None
        if context != "none" and "users" in city and "users" in layers:
            users_scale = family_reference(scale.users_of, "users")
            if scale.known:  # else it is of the tested time, too, which users before that do not know
                city = city.assign(users=city["users"].clip(max=users_scale, keep_attrs=True))
        known = _Known(context, tuple(layers), past_week, users_scale)
        first = {"fold": 0, "last_fifth": last_fifth(city), "next_week": first_week(city), "area": 0}[split]
        for start in window_starts(city, name, split):
            question = _question(city, name, split, start, first, known, scale, area)
            if question is not None:
                questions.append(question)
    if without_scale and not questions:
        raise CityError("; ".join(without_scale))
    for message in without_scale:
        warnings.warn(message, stacklevel=2)
    if not questions:
        raise CityError(
            f"no window of {WINDOW} recorded steps of {cities[0].attrs['family']!r} has anything to ask for "
            f"{name!r} with the split {split!r}: the cities are too short or too small"
        )
    return questions


def window_starts(city: City, name: TaskName, split: Split) -> list[int]:
    """First steps of the windows of a city; empty where it is shorter than a window or has no second week."""
    recorded = np.flatnonzero(np.isfinite(city["traffic"].values).any(axis=(1, 2)))
    if recorded.size == 0:
        return []
    begin, end = int(recorded[0]), int(recorded[-1]) + 1
    last = end - WINDOW
    if last < begin:
        return []
    stride = 8 if int(city.attrs["step_minutes"]) <= 15 else 4
    if split in ("fold", "area"):
        return list(range(begin, last + 1, stride))
    history = 0 if name == "generate" else HISTORY_AND_HORIZON[name][0]
    if split == "last_fifth":
        return list(range(max(begin, last_fifth(city) - history), last + 1, stride)) or [last]
    week = 7 * steps_per_day(city)
    return list(range(max(begin, week - history), 2 * week - WINDOW + 1, stride)) if end >= 2 * week else []


def generated_area(city: City) -> np.ndarray:
    """The cells to generate, bool (y, x): of every whole tile of 4 x 4 cells the middle 2 x 2.

    The tiles lie centred on the grid. In a list of cells, where neighbours in the array are none on the
    ground, every fourth cell. Never a cell that is not covered. Raises `CityError` for a grid below 4 x 4.
    """
    height, width = city.sizes["y"], city.sizes["x"]
    if city.attrs["layout"] == "list":
        area = np.arange(height * width).reshape(height, width) % TILE == 1
    else:
        if min(height, width) < TILE:
            raise CityError(f"the grid of {city.attrs['name']!r} is {height} x {width}: generating needs 4 x 4 cells")
        area = _middle(height)[:, None] & _middle(width)[None, :]
    return np.asarray(area & city["covered"].values)


def _middle(cells: int) -> np.ndarray:
    tiles = cells // TILE
    place = np.arange(cells) - (cells - tiles * TILE) // 2
    return (place >= 0) & (place < tiles * TILE) & np.isin(place % TILE, (1, 2))


@dataclass(frozen=True)
class _Scale:
    """A reference, its origin, whether a forecaster may know it, and the cities whose users it comes with."""

    reference: float
    origin: str
    known: bool
    users_of: Sequence[City]


def _scale(
    cities: Sequence[City],
    tested: Sequence[City],
    city: City,
    split: Split,
    fold: int,
    stored: float | None,
    area: Area | None,
) -> _Scale:
    if area is not None:
        rest = [without_area(city, area)]
        return _Scale(city_reference(rest[0]["traffic"].values), "the city without the district", True, rest)
    if split == "last_fifth":
        history = training_parts([city], split)
        return _Scale(city_reference(history[0]["traffic"].values), "own history", True, history)
    train = training_parts(cities, split, fold)
    if train:
        origin = "training folds" if split == "fold" else "first week of all regions"
        return _Scale(family_reference(train), origin, True, train)
    if stored is not None:
        return _Scale(stored, "stored with weights", True, tested)
    return _Scale(family_reference(tested), "test regions' own data", False, tested)


@dataclass(frozen=True)
class _Known:
    """What the tasks of a city may show beside the window's traffic."""

    context: ContextMode
    layers: tuple[str, ...]
    past_week: bool
    users_reference: float | None


def _question(
    city: City,
    name: TaskName,
    split: Split,
    start: int,
    first: int,
    known: _Known,
    scale: _Scale,
    area: Area | None,
) -> Question | None:
    """The question of one window, or None where it holds nothing to score or nothing to see."""
    window = city.isel(time=slice(start, start + WINDOW))
    truth = window["traffic"].values
    asked = np.zeros(truth.shape, bool)
    history = 0 if name == "generate" else HISTORY_AND_HORIZON[name][0]
    asked[history:] = city["covered"].values
    if name == "generate":
        asked[history:] = generated_area(city) if area is None else cells_of(area, city) & city["covered"].values
    scored = asked & np.isfinite(truth) & (np.arange(start, start + WINDOW) >= first)[:, None, None]
    shown = window.drop_vars([name for name in CONTEXT_LAYERS if name in window and name not in known.layers])
    if not scored.any() or (context_left(shown, known.context) == "none" and not np.isfinite(truth[~asked]).any()):
        return None
    week = last_week(city, start, WINDOW) if known.past_week else None
    if week is not None:
        lag = 7 * steps_per_day(city)
        week[history + lag :] = np.nan  # a week before these steps is itself asked
    before = {variable: city[variable].values[:start] for variable in ("traffic", "users") if variable in city}
    reference = scale.reference if scale.known else None
    step = int(np.argmax(scored.any(axis=(1, 2))))
    return Question(
        make_task(
            window,
            asked,
            last_week=week,
            earlier=before["traffic"] if known.past_week else None,
            users_earlier=before.get("users") if known.past_week else None,
            reference=reference,
            users_reference=known.users_reference if scale.known else None,
            context=known.context,
            layers=known.layers,
        ),
        truth,
        scored,
        name,
        split,
        str(city.attrs["family"]),
        str(city.attrs["name"]),
        str(np.datetime_as_string(window["time"].values[step], unit="D")),
        start + step,
        scale.reference,
        scale.origin,
        known.past_week,
        "" if area is None else area_name(area),
    )


__all__ = ["TILE", "WINDOW", "Question", "TaskName", "family_questions", "generated_area", "window_starts"]
