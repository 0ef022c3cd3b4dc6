"""Random windows of many cities for training, with augmentation. Numbers in, `Batch` out; masks are drawn elsewhere.

Every batch has one window shape (time, y, x) and mixes cities, granularity periods and units. All randomness comes
from the generator that is passed in, so a training step can be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import Field

from fomo.city import MINUTES_PER_DAY, City, CityError, make_city
from fomo.config import Config
from fomo.windows.batch import Batch, CellState, collate, hours_since_monday
from fomo.windows.context import UsersPattern, context_arrays, static_layers, users_share
from fomo.windows.patterns import View, family_patterns, family_users, views_of
from fomo.windows.rhythm import LOOK_BACK_DAYS
from fomo.windows.scale import reference_of
from fomo.windows.shapes import Pattern, pattern_of, usual_in_window


class AugmentConfig(Config):
    """How windows are varied so that few regions teach much. Each is a probability or a spread; 0 switches it off."""

    flip: bool = True  # the eight symmetries of the grid
    mix: float = Field(0.3, ge=0, le=1)  # blend with another region of the family at the same hours: traffic adds up
    shuffle: float = Field(0.0, ge=0, le=1)  # cells drawn from all regions of the family at the same hours
    level: float = Field(0.3, ge=0)  # log-normal spread of the whole window's level
    cell_level: float = Field(0.0, ge=0)  # log-normal spread of each cell's level
    missing: float = Field(0.1, ge=0, le=1)  # probability that a window loses some values
    forget_week: float = Field(0.7, ge=0, le=1)  # probability that nothing before the window is known
    forget_rhythm: float = Field(0.2, ge=0, le=1)  # probability that only the rhythm of other families is known


@dataclass(frozen=True)
class Series:
    """A city's training part as plain arrays."""

    name: str
    family: str
    traffic: np.ndarray  # (time, y, x), NaN = not recorded
    covered: np.ndarray  # (y, x)
    reference: float
    start_hour: float
    step_hours: float
    cell_km: float
    scattered: bool  # layout 'list': cells are drawn at random, they have no neighbours
    views: tuple[View, ...]  # for each partition of the family
    general: Pattern  # of other families
    users: np.ndarray | None = None  # (time, y, x), share of the users' reference
    static: np.ndarray | None = None  # (layer, y, x)
    general_users: UsersPattern | None = None


def coarser(city: City, factor: int) -> City:
    """The same city at `factor` times the granularity period: traffic summed, users averaged, NaN where any part is.

    Whole periods from the first step that starts one. Raises `CityError` where the step would not divide a day.
    """
    step = int(city.attrs["step_minutes"]) * factor
    if MINUTES_PER_DAY % step:
        raise CityError(f"{city.attrs['name']!r}: {step} minutes do not divide a day")
    minutes = hours_since_monday(city["time"].values) * 60
    first = int(np.argmax(np.isclose(minutes % step, 0)))
    periods = (city.sizes["time"] - first) // factor

    def parts(variable: str) -> np.ndarray:
        """(period, factor, y, x)."""
        values = city[variable].values[first : first + periods * factor]
        return np.asarray(values.reshape(periods, factor, *values.shape[1:]))

    keep = {k: v for k, v in city.attrs.items() if k not in ("schema_version", "step_minutes", "name", "family")}
    return make_city(
        parts("traffic").sum(1),
        users=parts("users").mean(1) if "users" in city else None,
        poi=city["poi"].values if "poi" in city else None,
        poi_names=city["category"].values.tolist() if "poi" in city else None,
        residents=city["residents"].values if "residents" in city else None,
        start=city["time"].values[first],
        step_minutes=step,
        name=f"{city.attrs['name']}@{step}min",
        family=f"{city.attrs['family']}@{step}min",
        covered=city["covered"].values,
        **{**keep, "synthetic": bool(keep["synthetic"])},
    )


def family_references(cities: Sequence[City], variable: str = "traffic") -> dict[str, float]:
    """Per family, the 99.99th percentile of all its training values: what is stored with the weights.

    Of `users`, for the families that have them.
    """
    families: dict[str, list[np.ndarray]] = {}
    for city in cities:
        if variable in city:
            families.setdefault(city.attrs["family"], []).append(city[variable].values.ravel())
    return {family: reference_of(np.concatenate(parts)) for family, parts in families.items()}


class TrainingSet:
    """Cities to draw windows from."""

    def __init__(
        self,
        cities: Sequence[City],
        references: Mapping[str, float],
        augment: AugmentConfig,
        family_weights: Mapping[str, float] | None = None,
        users_references: Mapping[str, float] | None = None,
    ) -> None:
        """`family_weights`: how often each family is drawn, relative; default: the root of its recorded values.

        `users_references`: what counts as full users, by family; without it windows have no context at all.
        """
        if not cities:
            raise CityError("there is no city to train on")
        self.augment = augment
        self.families: dict[str, list[int]] = {}
        for index, city in enumerate(cities):
            self.families.setdefault(str(city.attrs["family"]), []).append(index)
        patterns = family_patterns(cities, references)
        users = None if users_references is None else family_users(cities, references, users_references)
        series: dict[int, Series] = {}
        random = np.random.default_rng(0)
        for family, members in self.families.items():
            views = views_of({index: cities[index] for index in members}, references, patterns, users, random)
            elsewhere = pattern_of(*patterns.general(family))
            for index in members:
                one = _series(cities[index], references[family], views[index], elsewhere)
                if users_references is not None:
                    one = _with_context(one, cities[index], users_references.get(family))
                    one = replace(one, general_users=None if users is None else users.general(family))
                series[index] = one
        self.series = [series[index] for index in range(len(cities))]
        self.users = {} if users is None else {name: users.pattern(name) for name in users.families}
        self.rhythms = {name: tuple(np.round(pattern.curve, 4).tolist()) for name, pattern in patterns.patterns.items()}
        self.shapes = {name: pattern.stored for name, pattern in patterns.patterns.items()}
        self.frequency = self._frequency(dict(family_weights or {}))

    def seen_as(self, pattern: Pattern, users: UsersPattern | None) -> None:
        """Give all windows one pattern: that of other cities, where a city is too small to be parted into groups."""
        self.series = [
            replace(
                one,
                views=tuple(View(view.group, pattern, users) for view in one.views),
                general=pattern,
                general_users=users,
            )
            for one in self.series
        ]

    def _frequency(self, family_weights: Mapping[str, float]) -> np.ndarray:
        unknown = set(family_weights) - set(self.families)
        if unknown:
            raise CityError(
                f"weights for families that are not trained on: {sorted(unknown)}; there are {sorted(self.families)}"
            )
        frequency = np.zeros(len(self.series))
        for family, members in self.families.items():
            recorded = np.array([np.isfinite(self.series[i].traffic).sum() for i in members], float)
            weight = family_weights.get(family, float(np.sqrt(recorded.sum()) / 1000))
            frequency[members] = weight * recorded / recorded.sum()
        return frequency / frequency.sum()

    def draw(self, shape: tuple[int, int, int], batch: int, random: np.random.Generator) -> Batch:
        """`batch` windows of `shape` (time, y, x), all recorded values OBSERVED."""
        long_enough = np.array([series.traffic.shape[0] >= shape[0] for series in self.series])
        frequency = self.frequency * long_enough
        if frequency.sum() == 0:
            raise CityError(f"no city of the training set has {shape[0]} steps: shorten the window")
        chosen = random.choice(len(self.series), size=batch, p=frequency / frequency.sum())
        return collate([self._window(self.series[i], shape, random) for i in chosen])

    def _window(self, series: Series, shape: tuple[int, int, int], random: np.random.Generator) -> dict[str, Any]:
        steps, height, width = shape
        start = self._start(series, steps, random)
        view = series.views[random.integers(len(series.views))]
        if random.random() < self.augment.shuffle and not series.scattered:
            series = self._shuffled(series, view.group, start, steps, height * width, random)
        cells = self._cells(series, height, width, random)
        week_steps = round(7 * 24 / series.step_hours)
        traffic = cells(series.traffic[start : start + steps] / series.reference)
        covered = cells(series.covered[None])[0] == 1
        week = np.full_like(traffic, np.nan)
        remembers = random.random() >= self.augment.forget_week
        day = week_steps // 7
        past = slice(max(0, start - LOOK_BACK_DAYS * day), start)
        knows_before = remembers and start >= day
        earlier = cells(series.traffic[past] / series.reference) if knows_before else None
        users = None if series.users is None else cells(series.users[start : start + steps])
        users_earlier = cells(series.users[past]) if series.users is not None and knows_before else None
        static = None if series.static is None else cells(series.static)
        if remembers and start >= week_steps:
            week = cells(series.traffic[start - week_steps : start - week_steps + steps] / series.reference)

        if random.random() < self.augment.mix and not series.scattered:
            other = self.series[random.choice(view.group)]
            if other.traffic.shape[0] >= start + steps and _same_hours(other, series):
                part, turn = random.uniform(0.0, 0.6), self._cells(other, height, width, random)
                added = turn(other.traffic[start : start + steps] / other.reference)
                traffic = (1 - part) * traffic + part * added  # NaN in either is NaN in the blend
                covered = covered & (turn(other.covered[None])[0] == 1)
                if earlier is not None:
                    earlier = (1 - part) * earlier + part * turn(other.traffic[past] / other.reference)
                if users is not None and other.users is not None:
                    users = (1 - part) * users + part * turn(other.users[start : start + steps])
                    if users_earlier is not None:
                        users_earlier = (1 - part) * users_earlier + part * turn(other.users[past])
                if static is not None and other.static is not None:
                    static = (1 - part) * static + part * turn(other.static)
                if start >= week_steps:
                    before = slice(start - week_steps, start - week_steps + steps)
                    week = (1 - part) * week + part * turn(other.traffic[before] / other.reference)
        week = np.concatenate([week[:week_steps], np.full_like(week[week_steps:], np.nan)])
        factor = np.exp(self.augment.level * random.standard_normal())
        if self.augment.cell_level:
            factor = factor * np.exp(self.augment.cell_level * random.standard_normal((height, width)))
        if random.random() < self.augment.missing:
            traffic = _lose_some(traffic, random)

        share = np.asarray(traffic * factor, np.float32)
        start_hour = (series.start_hour + start * series.step_hours) % 168
        pattern, users_pattern = view.pattern, view.users
        if random.random() < self.augment.forget_rhythm:
            pattern, users_pattern = series.general, series.general_users
        context = context_arrays(
            None if users is None else users * factor,
            static,
            users_pattern,
            None if users_earlier is None else users_earlier * factor,
            start_hour,
            series.step_hours,
            shape,
        )
        state = np.full(shape, int(CellState.MISSING), np.int8)
        state[np.isfinite(share)] = CellState.OBSERVED
        state[np.broadcast_to(~covered, shape)] = CellState.PADDING
        return {
            "share": share,
            "state": state,
            "week": np.asarray(week * factor, np.float32),
            "start_hour": start_hour,
            "step_hours": series.step_hours,
            "cell_km": series.cell_km,
            "context": context,
            **usual_in_window(pattern, earlier, start_hour, series.step_hours, shape),
        }

    def _shuffled(
        self, series: Series, group: Sequence[int], start: int, steps: int, cells: int, random: np.random.Generator
    ) -> Series:
        """A made region: cells from anywhere in the group, over the same hours (and all that came before)."""
        pool = [
            other
            for other in (self.series[i] for i in group)
            if other.traffic.shape[0] >= start + steps and _same_hours(other, series)
        ]
        end = start + steps
        columns, users, static = [], [], []
        for _ in range(cells):
            other = pool[random.integers(len(pool))]
            cell = random.choice(np.flatnonzero(other.covered))
            columns.append(other.traffic[:end].reshape(end, -1)[:, cell] / other.reference * series.reference)
            if series.users is not None and other.users is not None:
                users.append(other.users[:end].reshape(end, -1)[:, cell])
            if series.static is not None and other.static is not None:
                static.append(other.static.reshape(len(other.static), -1)[:, cell])
        return replace(
            series,
            traffic=np.stack(columns, 1)[:, None],
            users=np.stack(users, 1)[:, None] if len(users) == cells else None,
            static=np.stack(static, 1)[:, None] if len(static) == cells else None,
            covered=np.ones((1, cells), bool),
            scattered=True,
        )

    @staticmethod
    def _start(series: Series, steps: int, random: np.random.Generator) -> int:
        """A first step whose window holds at least one value in two; the best of a few where gaps are wide."""
        best, best_share = 0, -1.0
        for _ in range(8):
            start = int(random.integers(0, series.traffic.shape[0] - steps + 1))
            share = float(np.isfinite(series.traffic[start : start + steps][:, series.covered]).mean())
            if share >= 0.5:
                return start
            if share > best_share:
                best, best_share = start, share
        return best

    def _cells(self, series: Series, height: int, width: int, random: np.random.Generator) -> "Crop":
        _, rows, columns = series.traffic.shape
        turns, mirror = (int(random.integers(4)), bool(random.integers(2))) if self.augment.flip else (0, False)
        if series.scattered:
            flat = np.flatnonzero(series.covered)
            pick = random.choice(flat, size=height * width, replace=flat.size < height * width)
            return Crop(None, pick, (height, width), turns, mirror)
        if turns % 2:
            height, width = width, height
        y = int(random.integers(0, max(rows - height, 0) + 1))
        x = int(random.integers(0, max(columns - width, 0) + 1))
        return Crop((slice(y, y + height), slice(x, x + width)), None, (height, width), turns, mirror)


@dataclass(frozen=True)
class Crop:
    """Cuts the same cells, turned and mirrored the same way, out of any (time, y, x) array of one city."""

    block: tuple[slice, slice] | None
    pick: np.ndarray | None
    size: tuple[int, int]
    turns: int
    mirror: bool

    def __call__(self, layer: np.ndarray) -> np.ndarray:
        """(time, y, x) of the whole city to (time, height, width); cells outside the city are NaN."""
        height, width = self.size
        if self.pick is not None:
            return layer.reshape(len(layer), -1)[:, self.pick].reshape(len(layer), height, width)
        assert self.block is not None
        cut = layer[:, self.block[0], self.block[1]].astype(np.float32)
        short = (height - cut.shape[1], width - cut.shape[2])
        if any(short):
            cut = np.pad(cut, ((0, 0), (0, short[0]), (0, short[1])), constant_values=np.nan)
        cut = np.rot90(cut, self.turns, (1, 2))
        return cut[:, :, ::-1] if self.mirror else cut


def _series(city: City, reference: float, views: tuple[View, ...], general: Pattern) -> Series:
    return Series(
        name=city.attrs["name"],
        family=city.attrs["family"],
        traffic=city["traffic"].values,
        covered=city["covered"].values,
        reference=reference,
        start_hour=float(hours_since_monday(city["time"].values[:1])[0]),
        step_hours=city.attrs["step_minutes"] / 60,
        cell_km=city.attrs["cell_km"],
        scattered=city.attrs["layout"] == "list",
        views=views,
        general=general,
    )


def _same_hours(one: Series, other: Series) -> bool:
    """Whether step k of both is the same hour of the week."""
    return one.start_hour == other.start_hour and one.step_hours == other.step_hours


def _with_context(series: Series, city: City, users_reference: float | None) -> Series:
    """With the city's users as shares of their reference, cut there as scores cut them, and its static layers."""
    users = None
    if "users" in city and users_reference is not None:
        users = users_share(city["users"].values, users_reference)
    return replace(series, users=users, static=static_layers(city))


def _lose_some(traffic: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The window with single values or a stretch of time not recorded."""
    lost = traffic.copy()
    if random.random() < 0.5:
        lost[random.random(traffic.shape) < random.uniform(0.02, 0.3)] = np.nan
    else:
        steps = len(traffic)
        length = int(random.integers(1, max(2, steps // 4)))
        first = int(random.integers(0, steps - length + 1))
        lost[first : first + length] = np.nan
    return lost
