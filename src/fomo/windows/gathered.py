"""Chosen windows as a batch: everything that chance has decided is read and computed for all of them at once.

Only the rhythm of cells whose past is known is found window by window: pasts differ in length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fomo.windows.batch import Batch, states
from fomo.windows.choices import Choice
from fomo.windows.clock import Clock
from fomo.windows.context import Context, blank
from fomo.windows.laid import Cells, Cut, Laid
from fomo.windows.rhythm import LOOK_BACK_DAYS, left_open, own_rhythm
from fomo.windows.shapes import OF_PER_USER
from fomo.windows.usual import UsualWeeks

#: Which axis of a past lies closest in memory differs between kinds of windows, and with it the order of a sum and its
#: last bit: runs of a seed stay what they were. Axes from the slowest to the fastest.
BLOCK, TURNED, PICKED = (0, 1, 2), (0, 2, 1), (1, 2, 0)


@dataclass(frozen=True)
class Gathered:
    """The windows of a batch, and where their cells lie."""

    laid: Laid
    weeks: UsualWeeks
    choices: Sequence[Choice]
    shape: tuple[int, int, int]
    cells: Cells
    mixed: np.ndarray  # windows that are blended
    others: Cells  # with these

    @classmethod
    def find(cls, laid: Laid, weeks: UsualWeeks, choices: Sequence[Choice], shape: tuple[int, int, int]) -> Gathered:
        """Their cells in the cities."""
        mixed = [index for index, choice in enumerate(choices) if choice.other is not None]
        others = [choice.other for choice in choices if choice.other is not None]
        size = shape[1:]
        cells = laid.find([choice.cut for choice in choices], *size)
        return cls(laid, weeks, choices, shape, cells, np.array(mixed, np.int64), laid.find(others, *size))

    def batch(self) -> Batch:
        """All of it as tensors."""
        steps = self.shape[0]
        choices = self.choices
        start = np.array([choice.start for choice in choices])
        share = self._shares(start, steps)
        for row, choice in zip(share, choices, strict=True):
            if choice.lost is not None:
                row[choice.lost] = np.nan
        share = (share * self._factor).astype(np.float32)
        week_steps = np.array([choice.series.week_steps for choice in choices])
        remembers = np.array([choice.remembers for choice in choices])
        week = self._shares(np.where(remembers, start - week_steps, -1), steps)
        week[np.arange(steps) >= week_steps[:, None]] = np.nan  # the window itself is not before it
        week = (week * self._factor).astype(np.float32)
        covered = self.laid.covers(self.cells)
        covered[self.mixed] &= self.laid.covers(self.others)
        state = states(share, np.zeros(share.shape, bool), covered[:, None])

        curve, shapes, noise = self.weeks.usual([c.pattern for c in choices], *self._clock, steps)
        rhythm = self._everywhere(curve)
        for index, choice in enumerate(choices):
            past = self._past(index, users=False)
            if past is not None:
                self._answer(past, choice, choice.pattern.curve, rhythm[index], shapes[index])
        known, known_week = np.isfinite(share), np.isfinite(week)
        return Batch(
            share=torch.from_numpy(np.where(known, share, np.float32(0))),  # the state says that it is not there
            state=torch.from_numpy(state),
            week=torch.from_numpy(np.where(known_week, week, np.float32(0))),
            week_known=torch.from_numpy(known_week),
            start_hour=torch.tensor(self._clock[0]),
            step_hours=torch.tensor([float(hours) for hours in self._clock[1]]),
            cell_km=torch.tensor([float(choice.series.cell_km) for choice in choices]),
            rhythm=_floats(rhythm),
            shapes=_floats(shapes),
            noise=_floats(noise),
            context=self._context(start) if self.laid.has_context else None,
        )

    @property
    def _clock(self) -> tuple[list[float], list[float]]:
        """First hour, and length of a step, of every window."""
        return [choice.start_hour for choice in self.choices], [choice.series.step_hours for choice in self.choices]

    @property
    def _factor(self) -> Float[np.ndarray, "window 1 y x"]:
        """What every cell is multiplied by."""
        size = self.shape[1:]
        return np.stack([np.broadcast_to(np.asarray(choice.factor, np.float64), size) for choice in self.choices])[
            :, None
        ]

    def _blended(self, own: np.ndarray, other: np.ndarray, some: np.ndarray) -> None:
        """Blend the windows `some`, given by their place among the mixed ones, in place."""
        rows = self.mixed[some]
        part = np.array([self.choices[row].part for row in rows]).reshape(-1, *(1,) * (own.ndim - 1))
        own[rows] = (1 - part).astype(np.float32) * own[rows] + part.astype(np.float32) * other

    def _shares(self, first: np.ndarray, steps: int) -> Float[np.ndarray, "window time y x"]:
        """Traffic from the steps `first`, blended; NaN where they lie before the city."""
        found = self.laid.shares(self.cells, first, steps)
        for index, choice in enumerate(self.choices):
            if choice.cut.sources is not None:
                found[index] = _through(found[index], choice)
        if self.mixed.size:
            self._blended(found, self.laid.shares(self.others, first[self.mixed], steps), np.arange(len(self.mixed)))
        return found

    def _past(self, index: int, users: bool) -> Float[np.ndarray, "before y x"] | None:
        """Traffic, or users, of up to LOOK_BACK_DAYS before a window; None where less than a day of it is known."""
        choice = self.choices[index]
        day = choice.series.week_steps // 7
        if not choice.remembers or choice.start < day or (users and not choice.users):
            return None
        first = max(0, choice.start - LOOK_BACK_DAYS * day)
        taken = (np.array([first]), choice.start - first)
        take = self.laid.users_of if users else self.laid.shares
        past = take(self.cells.rows(np.array([index])), *taken)[0]
        if choice.cut.sources is not None and not users:
            past = _through(past, choice)
        order = _order(choice.cut)
        if choice.other is not None and not (users and not self.laid.has_users(choice.other.city)):
            other = take(self.others.rows(np.flatnonzero(self.mixed == index)), *taken)[0]
            past = (1 - choice.part) * past + choice.part * other
            order = order if order == _order(choice.other) else BLOCK
        if users:
            past = past * choice.factor
            if np.ndim(choice.factor) and order == TURNED:
                order = BLOCK
        return np.ascontiguousarray(past.transpose(order)).transpose(np.argsort(order))

    def _answer(
        self, past: np.ndarray, choice: Choice, curve: np.ndarray, rhythm: np.ndarray, shapes: np.ndarray
    ) -> None:
        """Put what the past of a window says in place of what is usual elsewhere (`shapes.usual_in_window`)."""
        clock = Clock(choice.start_hour, choice.series.step_hours)
        rhythm[:] = own_rhythm(past, curve, clock, self.shape[0])
        shapes *= np.sqrt(left_open(past, clock, self.shape[0]))

    def _everywhere(self, curve: Float[np.ndarray, "window time"]) -> Float[np.ndarray, "window time y x"]:
        """A curve in every cell."""
        return np.broadcast_to(curve[..., None, None], (len(curve), *self.shape)).copy()

    def _context(self, start: np.ndarray) -> Context | None:
        """What is known around the windows; None where that is nothing."""
        choices, steps, laid = self.choices, self.shape[0], self.laid
        windows = len(choices)
        users = laid.users_of(self.cells, np.where([choice.users for choice in choices], start, -1), steps)
        static = laid.statics(self.cells)
        static[[not choice.static for choice in choices]] = np.nan
        other_cities = [choice.other.city for choice in choices if choice.other is not None]
        with_users = np.flatnonzero([laid.has_users(city) for city in other_cities])
        with_static = np.flatnonzero([laid.has_static(city) for city in other_cities])
        with_users, with_static = (
            some[[getattr(choices[row], name) for row in self.mixed[some]]] if some.size else some
            for some, name in ((with_users, "users"), (with_static, "static"))
        )
        if with_users.size:
            first = start[self.mixed[with_users]]
            self._blended(users, laid.users_of(self.others.rows(with_users), first, steps), with_users)
        if with_static.size:
            self._blended(static, laid.statics(self.others.rows(with_static)), with_static)
        read = np.array([choice.users_pattern is not None for choice in choices])
        users = users * self._factor
        users[~read] = np.nan
        anything = np.isfinite(users).any((1, 2, 3)) | np.isfinite(static).any((1, 2, 3))
        if not anything.any():
            return None
        told = np.flatnonzero(anything & read)
        found: dict[str, Any] = {
            key: np.broadcast_to(np.asarray(value, np.float64), (windows, *np.shape(value))).copy()
            for key, value in blank(self.shape).items() if key not in ("users", "static")
        }  # fmt: skip
        if told.size:
            self._tell(found, told)
        users_known, static_known = np.isfinite(users), np.isfinite(static)
        return Context(
            users=_floats(np.where(users_known, users, 0.0)),
            users_known=torch.from_numpy(users_known),
            static=_floats(np.where(static_known, static, 0.0)),
            static_known=torch.from_numpy(static_known),
            **{key: _floats(value) for key, value in found.items()},
        )

    def _tell(self, found: dict[str, np.ndarray], told: np.ndarray) -> None:
        """What is usual of users, and of the traffic per user, in the windows `told`."""
        choices = [self.choices[index] for index in told]
        patterns = [choice.users_pattern for choice in choices]
        for key, name in (("rate", "rate"), ("rate_within", "within"), ("rate_between", "between")):
            found[key][told] = [getattr(pattern, name) for pattern in patterns]
        found["answer"][told] = np.stack([pattern.answer.stored for pattern in patterns if pattern is not None])
        start_hour, step_hours = ([each[index] for index in told] for each in self._clock)
        for part, name, steady in (("users", "users", None), ("rate", "per_user", OF_PER_USER)):
            own = [getattr(pattern, name) for pattern in patterns]
            curve, shapes, noise = self.weeks.usual(own, start_hour, step_hours, self.shape[0], steady)
            rhythm = self._everywhere(curve)
            if part == "users":
                found["users_family"][told] = np.concatenate([curve[:, None], shapes], 1)
                for place, index in enumerate(told):
                    past = self._past(int(index), users=True)
                    if past is not None:
                        self._answer(past, choices[place], own[place].curve, rhythm[place], shapes[place])
            for key, value in (("rhythm", rhythm), ("shapes", shapes), ("noise", noise)):
                found[f"{part}_{key}"][told] = value


def _through(share: np.ndarray, choice: Choice) -> np.ndarray:
    """Shares of a made region, by way of the traffic that they are of: the rounding is part of a seed's numbers."""
    return np.asarray(share * choice.series.reference / choice.series.reference)


def _order(cut: Cut) -> tuple[int, int, int]:
    """The order of axes in memory of what a cut takes from a city."""
    return PICKED if cut.pick is not None else TURNED if cut.turns % 2 else BLOCK


def _floats(values: np.ndarray) -> Tensor:
    """A tensor of single precision."""
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


__all__ = ["Gathered"]
