"""Training windows drawn one by one, in plain steps: what every batch must be to the last bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from fomo.windows.batch import Batch, CellState, collate
from fomo.windows.clock import Clock
from fomo.windows.context import UsersPattern, context_arrays, static_layers, users_share
from fomo.windows.patterns import View
from fomo.windows.rhythm import LOOK_BACK_DAYS
from fomo.windows.sample import TrainingSet
from fomo.windows.shapes import Pattern, usual_in_window


@dataclass(frozen=True)
class PlainSeries:
    """A city's training part as plain arrays."""

    traffic: np.ndarray  # (time, y, x), NaN = not recorded
    covered: np.ndarray  # (y, x)
    reference: float
    start_hour: float
    step_hours: float
    cell_km: float
    scattered: bool
    views: tuple[View, ...]
    general: Pattern
    users: np.ndarray | None
    static: np.ndarray | None
    general_users: UsersPattern | None


class PlainSet:
    """The cities of a training set, and its patterns."""

    def __init__(
        self, cities: Sequence[xr.Dataset], data: TrainingSet, users_references: dict[str, float] | None
    ) -> None:
        self.augment, self.frequency = data.augment, data.frequency
        self.series = []
        for city, one in zip(cities, data.series, strict=True):
            full = None if users_references is None else users_references.get(one.family)
            users = users_share(city["users"].values, full) if "users" in city and full is not None else None
            static = None if users_references is None else static_layers(city)
            self.series.append(
                PlainSeries(
                    city["traffic"].values, city["covered"].values, one.reference, one.start_hour, one.step_hours,
                    one.cell_km, one.scattered, one.views, one.general, users, static, one.general_users,
                )
            )  # fmt: skip

    def draw(self, shape: tuple[int, int, int], batch: int, random: np.random.Generator) -> Batch:
        """`batch` windows of `shape` (time, y, x), all recorded values OBSERVED."""
        long_enough = np.array([series.traffic.shape[0] >= shape[0] for series in self.series])
        frequency = self.frequency * long_enough
        chosen = random.choice(len(self.series), size=batch, p=frequency / frequency.sum())
        return collate([self._window(self.series[i], shape, random) for i in chosen])

    def _window(self, series: PlainSeries, shape: tuple[int, int, int], random: np.random.Generator) -> dict[str, Any]:
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
            Clock(start_hour, series.step_hours),
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
            **usual_in_window(pattern, earlier, Clock(start_hour, series.step_hours), shape),
        }

    def _shuffled(
        self, series: PlainSeries, group: Sequence[int], start: int, steps: int, cells: int, random: np.random.Generator
    ) -> PlainSeries:
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
    def _start(series: PlainSeries, steps: int, random: np.random.Generator) -> int:
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

    def _cells(self, series: PlainSeries, height: int, width: int, random: np.random.Generator) -> "Crop":
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


def _same_hours(one: PlainSeries, other: PlainSeries) -> bool:
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
