"""What chance decides of every training window, before anything is read for it: where, when, and how it is varied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64
from pydantic import Field

from fomo.config import Config
from fomo.windows.context import UsersPattern
from fomo.windows.laid import Cut
from fomo.windows.patterns import View
from fomo.windows.shapes import Pattern


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
    """A city's training part, but for its arrays: those are laid out with the others' (`laid.py`)."""

    name: str
    family: str
    place: int  # in the set
    steps: int
    grid: tuple[int, int]  # rows and columns
    covered: Int64[np.ndarray, " cell"]  # flat places of the cells that the data cover
    recorded: Int64[np.ndarray, " edge"]  # values of these cells before each step, counted
    values: int  # recorded ones, of all cells
    reference: float
    start_hour: float
    step_hours: float
    cell_km: float
    scattered: bool  # layout 'list': cells are drawn at random, they have no neighbours
    users: bool  # whether it has any
    static: bool  # whether it has POI or residents
    views: tuple[View, ...]  # for each partition of the family
    general: Pattern  # of other families
    general_users: UsersPattern | None = None

    @property
    def week_steps(self) -> int:
        """Steps in a week."""
        return round(7 * 24 / self.step_hours)

    def same_hours(self, other: Series) -> bool:
        """Whether step k of both is the same hour of the week."""
        return self.start_hour == other.start_hour and self.step_hours == other.step_hours


@dataclass(frozen=True)
class Choice:
    """One window."""

    series: Series
    start: int
    cut: Cut
    users: bool  # whether it has users, and layers that do not change
    static: bool
    remembers: bool  # whether anything before it is known
    other: Cut | None  # what it is blended with
    part: float  # of the blend that is the other
    factor: np.float64 | Float[np.ndarray, "y x"]
    lost: slice | Bool[np.ndarray, "time y x"] | None  # values that are taken away
    pattern: Pattern
    users_pattern: UsersPattern | None

    @property
    def start_hour(self) -> float:
        """Hours since Monday 00:00 of the first step."""
        return (self.series.start_hour + self.start * self.series.step_hours) % 168


def choose(
    series: Sequence[Series],
    one: Series,
    shape: tuple[int, int, int],
    augment: AugmentConfig,
    random: np.random.Generator,
) -> Choice:
    """A window of `one`, which may take cells of the others of its family.

    The order of the draws is what a seed means: a change of it changes every run.
    """
    steps, height, width = shape
    start = _start(one, steps, random)
    view = one.views[random.integers(len(one.views))]
    users, static, scattered = one.users, one.static, one.scattered
    if random.random() < augment.shuffle and not scattered:
        pool = [series[i] for i in view.group if series[i].steps >= start + steps and series[i].same_hours(one)]
        sources, cells = np.empty(height * width, np.int64), np.empty(height * width, np.int64)
        for index in range(height * width):
            other = pool[random.integers(len(pool))]
            sources[index], cells[index] = other.place, other.covered[random.integers(len(other.covered))]
            users, static = users and other.users, static and other.static
        _turn(augment, random)
        pick = random.choice(height * width, size=height * width, replace=False)
        cut, scattered = Cut(one.place, pick=cells[pick], sources=sources[pick]), True
    else:
        cut = _cut(one, height, width, augment, random)
    remembers = bool(random.random() >= augment.forget_week)
    blend, part = None, 0.0
    if random.random() < augment.mix and not scattered:
        other = series[view.group[random.integers(len(view.group))]]
        if other.steps >= start + steps and other.same_hours(one):
            part, blend = random.uniform(0.0, 0.6), _cut(other, height, width, augment, random)
    factor = np.exp(augment.level * random.standard_normal())
    if augment.cell_level:
        factor = factor * np.exp(augment.cell_level * random.standard_normal((height, width)))
    lost = _lost(shape, random) if random.random() < augment.missing else None
    pattern, users_pattern = view.pattern, view.users
    if random.random() < augment.forget_rhythm:
        pattern, users_pattern = one.general, one.general_users
    return Choice(
        one, start, cut, users, static, remembers, blend, part, factor, lost, pattern, users_pattern
    )  # fmt: skip


def _start(one: Series, steps: int, random: np.random.Generator) -> int:
    """A first step whose window holds at least one value in two; the best of a few where gaps are wide."""
    best, best_share = 0, -1.0
    for _ in range(8):
        start = int(random.integers(0, one.steps - steps + 1))
        if one.covered.size == 0:
            continue
        share = int(one.recorded[start + steps] - one.recorded[start]) / (steps * one.covered.size)
        if share >= 0.5:
            return start
        if share > best_share:
            best, best_share = start, share
    return best


def _turn(augment: AugmentConfig, random: np.random.Generator) -> tuple[int, bool]:
    """Quarter turns, and whether the window is mirrored."""
    return (int(random.integers(4)), bool(random.integers(2))) if augment.flip else (0, False)


def _cut(one: Series, height: int, width: int, augment: AugmentConfig, random: np.random.Generator) -> Cut:
    """Cells of a city: a block anywhere, or any of its covered cells where they have no neighbours."""
    turns, mirror = _turn(augment, random)
    if one.scattered:
        size = height * width
        return Cut(one.place, pick=random.choice(one.covered, size=size, replace=one.covered.size < size))
    if turns % 2:
        height, width = width, height
    y = int(random.integers(0, max(one.grid[0] - height, 0) + 1))
    x = int(random.integers(0, max(one.grid[1] - width, 0) + 1))
    return Cut(one.place, y, x, turns, mirror)


def _lost(shape: tuple[int, int, int], random: np.random.Generator) -> slice | np.ndarray:
    """Single values or a stretch of time that are not recorded."""
    if random.random() < 0.5:
        return np.asarray(random.random(shape) < random.uniform(0.02, 0.3))
    length = int(random.integers(1, max(2, shape[0] // 4)))
    first = int(random.integers(0, shape[0] - length + 1))
    return slice(first, first + length)


__all__ = ["AugmentConfig", "Choice", "Series", "choose"]
