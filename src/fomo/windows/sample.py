"""Random windows of many cities for training, with augmentation. Numbers in, `Batch` out; masks are drawn elsewhere.

Every batch has one window shape (time, y, x) and mixes cities, granularity periods and units. All randomness comes
from the generator that is passed in, so a training step can be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from pydantic import Field

from fomo.city import MINUTES_PER_DAY, City, CityError, make_city
from fomo.config import Config
from fomo.windows.batch import Batch, CellState, collate, hours_since_monday
from fomo.windows.rhythm import GENERAL, LOOK_BACK_DAYS, RhythmSums, general_rhythm, rhythm_sums, weekly_rhythm
from fomo.windows.scale import reference_of
from fomo.windows.shapes import (
    Pattern,
    general_covariance,
    pattern_of,
    steadied_pattern,
    usual_in_window,
    week_covariance,
)

#: A family is parted into so many groups of cities, in so many ways. What is usual for a window comes from the other
#: groups, and cities and cells are mixed within a group only: a window must not find its own cells in what is usual.
GROUPS, PARTITIONS = 5, 3


Key = TypeVar("Key")


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
    views: "tuple[View, ...]"  # for each partition of the family
    general: Pattern  # of other families


@dataclass(frozen=True)
class View:
    """A city's group in one partition of its family, and what is usual in the other groups."""

    group: tuple[int, ...]  # indices into the training set
    pattern: Pattern  # of all families but this where there is no other group


def coarser(city: City, factor: int) -> City:
    """The same city at `factor` times the granularity period: traffic summed, NaN where any part is; no users.

    Whole periods from the first step that starts one. Raises `CityError` where the step would not divide a day.
    """
    step = int(city.attrs["step_minutes"]) * factor
    if MINUTES_PER_DAY % step:
        raise CityError(f"{city.attrs['name']!r}: {step} minutes do not divide a day")
    minutes = hours_since_monday(city["time"].values) * 60
    first = int(np.argmax(np.isclose(minutes % step, 0)))
    periods = (city.sizes["time"] - first) // factor
    traffic = city["traffic"].values[first : first + periods * factor]
    summed = traffic.reshape(periods, factor, *traffic.shape[1:]).sum(1)
    keep = {k: v for k, v in city.attrs.items() if k not in ("schema_version", "step_minutes", "name", "family")}
    return make_city(
        summed,
        start=city["time"].values[first],
        step_minutes=step,
        name=f"{city.attrs['name']}@{step}min",
        family=f"{city.attrs['family']}@{step}min",
        covered=city["covered"].values,
        **{**keep, "synthetic": bool(keep["synthetic"])},
    )


def family_references(cities: Sequence[City]) -> dict[str, float]:
    """Per family, the 99.99th percentile of all its training values: what is stored with the weights."""
    families: dict[str, list[np.ndarray]] = {}
    for city in cities:
        families.setdefault(city.attrs["family"], []).append(city["traffic"].values.ravel())
    return {family: reference_of(np.concatenate(parts)) for family, parts in families.items()}


class TrainingSet:
    """Cities to draw windows from."""

    def __init__(
        self,
        cities: Sequence[City],
        references: Mapping[str, float],
        augment: AugmentConfig,
        family_weights: Mapping[str, float] | None = None,
    ) -> None:
        """`family_weights`: how often each family is drawn, relative; default: the root of its recorded values."""
        if not cities:
            raise CityError("there is no city to train on")
        self.augment = augment
        self.families: dict[str, list[int]] = {}
        for index, city in enumerate(cities):
            self.families.setdefault(str(city.attrs["family"]), []).append(index)
        patterns = family_patterns(cities, references)
        series: dict[int, Series] = {}
        random = np.random.default_rng(0)
        for family, members in self.families.items():
            reference, general = references[family], patterns.general(family)
            views = _views({index: cities[index] for index in members}, reference, patterns, general, random)
            elsewhere = pattern_of(*general)
            series |= {index: _series(cities[index], reference, views[index], elsewhere) for index in members}
        self.series = [series[index] for index in range(len(cities))]
        self.rhythms = {name: tuple(np.round(pattern.curve, 4).tolist()) for name, pattern in patterns.patterns.items()}
        self.shapes = {name: pattern.stored for name, pattern in patterns.patterns.items()}
        self.frequency = self._frequency(dict(family_weights or {}))

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

    def _window(
        self, series: Series, shape: tuple[int, int, int], random: np.random.Generator
    ) -> dict[str, np.ndarray | float]:
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
        earlier = cells(series.traffic[past] / series.reference) if remembers and start >= day else None
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
        pattern = series.general if random.random() < self.augment.forget_rhythm else view.pattern
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
        columns = []
        for _ in range(cells):
            other = pool[random.integers(len(pool))]
            cell = random.choice(np.flatnonzero(other.covered))
            columns.append(other.traffic[:end].reshape(end, -1)[:, cell] / other.reference * series.reference)
        traffic = np.stack(columns, 1)[:, None]
        return replace(series, traffic=traffic, covered=np.ones((1, cells), bool), scattered=True)

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


@dataclass(frozen=True)
class FamilyPatterns:
    """Patterns to be stored with the weights, and what they are made of."""

    patterns: dict[str, Pattern]  # family -> pattern, and GENERAL
    raw: dict[str, np.ndarray]  # family -> curve of its cities alone
    spread: dict[str, np.ndarray]  # family -> covariance of its cities alone
    sums: dict[tuple[str, int], RhythmSums]  # family, slots of the week -> sums over its cities of that step

    def general(self, without: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Curve and covariance over all families but one, by hour."""
        curve = general_rhythm(self.raw, without)
        return curve, general_covariance(self.raw, self.spread, curve, without)

    def without(self, family: str, some: RhythmSums, general: tuple[np.ndarray, np.ndarray]) -> Pattern:
        """The pattern of a family without some of its cities; the general one where nothing is left."""
        others = self.sums[family, some.slots] - some
        curve = weekly_rhythm(others) if others.cells else None
        if curve is None:
            return pattern_of(*general)
        return steadied_pattern(curve, week_covariance(others), others.cells, *general)


def family_patterns(cities: Sequence[City], references: Mapping[str, float]) -> FamilyPatterns:
    """The pattern of every family from its training parts, and the one over all families."""
    sums: dict[tuple[str, int], RhythmSums] = {}
    for city in cities:
        own = _city_sums(city, references[city.attrs["family"]])
        _add(sums, (str(city.attrs["family"]), own.slots), own)
    raw, spread, cells = {}, {}, {}
    for family, slots in sorted(sums):  # where a family has several steps, the finest is kept
        curve = weekly_rhythm(sums[family, slots])
        if curve is not None:
            raw[family], cells[family] = curve, sums[family, slots].cells
            spread[family] = week_covariance(sums[family, slots])
    found = FamilyPatterns({}, raw, spread, sums)
    for family, curve in raw.items():
        found.patterns[family] = steadied_pattern(curve, spread[family], cells[family], *found.general(family))
    found.patterns[GENERAL] = pattern_of(*found.general())
    return found


def _city_sums(city: City, reference: float) -> RhythmSums:
    start = float(hours_since_monday(city["time"].values[:1])[0])
    return rhythm_sums(city["traffic"].values / reference, start, city.attrs["step_minutes"] / 60)


def _add(sums: dict[Key, RhythmSums], key: Key, own: RhythmSums) -> None:
    """Add to what is there under a key."""
    sums[key] = sums[key] + own if key in sums else own


def _views(
    cities: Mapping[int, City],
    reference: float,
    patterns: FamilyPatterns,
    general: tuple[np.ndarray, np.ndarray],
    random: np.random.Generator,
) -> dict[int, tuple[View, ...]]:
    """Group and pattern of every city of a family in each of its partitions; few cities are groups of one, once."""
    own = {index: _city_sums(city, reference) for index, city in cities.items()}
    family = next(iter(cities.values())).attrs["family"]
    views: dict[int, tuple[View, ...]] = {index: () for index in cities}
    for _ in range(PARTITIONS if len(cities) > GROUPS else 1):
        for part in np.array_split(random.permutation(list(cities)), min(GROUPS, len(cities))):
            group = tuple(int(index) for index in part)
            by_slots: dict[int, RhythmSums] = {}
            for index in group:
                _add(by_slots, own[index].slots, own[index])
            found = {slots: patterns.without(family, some, general) for slots, some in by_slots.items()}
            for index in group:
                views[index] += (View(group, found[own[index].slots]),)
    return views


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
