"""What a city's own past says of the hours to come, without a network: simple forecasts, weighed by how they did.

A network that never saw a city knows how traffic behaves in others; the weeks of this one say how it behaves here: how
much of yesterday lasts, whether the whole city rises and falls together, whether weeks repeat themselves, and, where
users of the asked steps are known, how far traffic follows them. So a few forecasts that need no training are made at
every third hour of the last two weeks, each time from what was known then, and those weights are taken that would have
been best (`simplex`), apart for near and far lead times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int

from fomo.forecasters.simplex import on_simplex
from fomo.windows.clock import HOURS_PER_DAY, HOURS_PER_WEEK, WEEKEND, Clock
from fomo.windows.hindcast import history_steps
from fomo.windows.regression import SMALLEST_UNIT
from fomo.windows.scale import to_share
from fomo.windows.task import Task

#: What an earlier day is worth to `usual` and how much less each further day of the step's kind counts, working day or
#: not, so that a Monday follows Friday and not the weekend.
SAME_WEEKDAY, SAME_KIND, OTHER_KIND, USUAL_DECAY = 1.0, 0.5, 0.05, 0.8
#: How much less each further day counts to `any_day` and to `latest`, whatever its kind: in some cities weekends differ
#: from working days, in others weeks from each other. A day of another weekday is worth `SAME_KIND` there.
ANY_DAY_DECAY, LATEST_DECAY = 0.7, 0.3
#: Hours over which traffic is held against what was usual: how far it lies above or below today, and of late.
TODAY_HOURS, LATELY_HOURS, LAST_HOURS = 12.0, 3.0, 1.0
#: `usual`: the same hour of earlier days of the same kind. `cell_today`, `cell_lately`: times how far the cell lay
#: above what was usual; `city_today`: times how far all cells together did; `left_over`: plus what the last hour lay
#: above it. `cell_any_day`, `city_any_day`, `latest_city`: times the same from days of any kind, the last one from the
#: latest of them. `week`: a week before, `usual` where that is not known or was a day of another kind.
EXPERTS = (
    *("usual", "cell_today", "cell_lately", "city_today", "left_over"),
    *("cell_any_day", "city_any_day", "latest_city", "week"),
)
#: Beside them where users of the asked steps are known: `usual` times users over what users there usually are at that
#: time; the same times how far the cell lay above it today and of late.
OF_USERS = ("users", "users_today", "users_lately")
#: All of them.
ALL = (*EXPERTS, *OF_USERS)
#: A cell whose working days and days off differ by this factor hears nothing of days of another kind than that of the
#: asked step: an office is not half open on a Monday because it was shut on Sunday. All else is heard a little.
KINDS_APART, LEAST_HEARD = 8.0, 0.01
#: Who hears days of any kind, and who hears what the cell carried today.
OF_ANY_KIND = ("cell_any_day", "city_any_day", "latest_city")
OF_TODAY = ("cell_today", "cell_lately", "users_today", "users_lately")
#: Users count as so many more, in the cell's mean, where they are held against those that are usual.
MORE_USERS = 0.05
#: Times above or below what is usual are at most this factor.
LARGEST_FACTOR = 4.0
#: Days looked at, and the fewest that say anything; hours between origins; hours of lead that have the same weights.
DAYS, FEWEST_DAYS, APART_HOURS, LEAD_HOURS = 14, 2, 3.0, 4.0
#: Hours between the origins at which it is looked at how far it was off.
JUDGED_HOURS = 6.0
#: Pull towards equal weights, in units of the experts' mean squared error.
PULL = 0.01


@dataclass(frozen=True)
class _Worth:
    """What earlier days are worth to steps: `weights` and the steps `source` of the record that they are read at."""

    weights: Float[np.ndarray, "day step 1 1"]
    source: Int[np.ndarray, "day step"]


#: Values, 0 where they are not known, and where they are.
_Values = tuple[Float[np.ndarray, "all y x"], Bool[np.ndarray, "all y x"]]


def in_means(users: Float[np.ndarray, "step y x"], known: int) -> Float[np.ndarray, "step y x"]:
    """Users relative to each cell's mean over the first `known` steps; NaN where that is 0 or not known."""
    mean = _mean_known(users[:known])
    return np.where(mean > 0, users / np.where(mean > 0, mean, 1.0), np.nan).astype(np.float32)


@dataclass(frozen=True)
class OwnPast:
    """What was recorded of a grid, as shares, NaN where it was not; and when its steps were.

    `users`: of the record and of steps after it, relative to the cell's mean, NaN where they are not known; None: of no
    later step. `assumed`: those after it are assumed, and all of EXPERTS are times how many more they are than usual.
    """

    share: Float[np.ndarray, "step y x"]
    clock: Clock
    users: Float[np.ndarray, "longer y x"] | None = None
    assumed: bool = False

    @classmethod
    def of(cls, task: Task, reference: float) -> OwnPast | None:
        """What is known before the asked steps of a task; None where that is less than `FEWEST_DAYS`.

        None, too, where the task does not ask for the steps after its history.
        """
        history = history_steps(task)
        if history is None or task.earlier is None:
            return None
        clock = Clock.of(task.window)
        if len(task.earlier) + history < FEWEST_DAYS * HOURS_PER_DAY / clock.step_hours:
            return None
        kept = clock.steps((DAYS + 8) * HOURS_PER_DAY)  # the first origin looks a week back, too
        traffic = np.concatenate([task.earlier[-kept:], task.window["traffic"].values[:history]])[-kept:]
        users = None
        if task.context == "full" and "users" in task.window and task.users_earlier is not None:
            asked = len(task.asked) - history
            users = np.concatenate([task.users_earlier, task.window["users"].values])[-len(traffic) - asked :]
            users = in_means(users, len(traffic))
        assumed = task.assumed and users is not None
        return cls(to_share(traffic, reference), clock.before(len(traffic) - history), users, assumed)

    def block(self, rows: slice, columns: slice) -> OwnPast:
        """The same time of some of the cells."""
        users = None if self.users is None else self.users[:, rows, columns]
        return replace(self, share=self.share[:, rows, columns], users=users)

    @property
    def names(self) -> tuple[str, ...]:
        """Who says something: EXPERTS, and OF_USERS where users of later steps are known."""
        return EXPERTS if self.users is None else ALL

    @property
    def day(self) -> int:
        """Steps in a day."""
        return self.clock.steps(HOURS_PER_DAY)

    def experts(self, origin: int, horizon: int) -> Float[np.ndarray, "expert step y x"]:
        """What `names` say of `horizon` steps from the step `origin` of the record, from what was recorded before it.

        NaN where there is nothing to go by. At least one step more than a day lies before the origin.
        """
        back = min(self.day, origin - self.day)
        (usual, any_day, latest), worth = self._days(origin, back, horizon)
        was = self.share[origin - back : origin]
        ahead = usual[back:]

        def above(days: np.ndarray, hours: float, axes: tuple[int, ...] = (0,)) -> np.ndarray:
            """How far the last hours lay above those of `days`: a factor, of each cell or of all together."""
            steps = min(self.clock.steps(hours), back)
            both = np.isfinite(was[-steps:]) & np.isfinite(days[back - steps : back])
            found, then = (np.where(both, each[-steps:], 0.0).sum(axes, np.float64) for each in (was, days[:back]))
            some = both.sum(axes) * SMALLEST_UNIT
            factor = np.where(some > 0, (found + some) / np.where(some > 0, then + some, 1.0), 1.0)
            return np.asarray(factor.clip(1 / LARGEST_FACTOR, LARGEST_FACTOR), np.float32)

        steps = min(self.clock.steps(LAST_HOURS), back)
        beside = (was - usual[:back])[-steps:]
        known = np.isfinite(beside)
        left = np.where(known, beside, 0.0).sum(0) / known.sum(0, np.float32).clip(1)
        week = ahead.copy()
        before = np.arange(origin, origin + horizon) - self.clock.steps(HOURS_PER_WEEK)
        weekend = self.clock.weekend(origin + horizon)
        there = (before >= 0) & (before < origin) & (weekend[before.clip(0)] == weekend[origin:])
        week[there] = np.where(np.isfinite(self.share[before[there]]), self.share[before[there]], week[there])
        everywhere = (0, 1, 2)
        of_users: list[np.ndarray] = []
        if self.users is not None:
            over_usual = self._users_over_usual(origin, back, horizon, worth)
            told = usual * over_usual
            of_users = [told[back:], *(told[back:] * above(told, hours) for hours in (TODAY_HOURS, LATELY_HOURS))]
        deaf = [
            ahead,
            ahead * above(usual, TODAY_HOURS),
            ahead * above(usual, LATELY_HOURS),
            ahead * above(usual, TODAY_HOURS, everywhere),
            np.maximum(ahead + left, 0.0),
            any_day[back:] * above(any_day, TODAY_HOURS),
            any_day[back:] * above(any_day, TODAY_HOURS, everywhere),
            latest[back:] * above(latest, LATELY_HOURS, everywhere),
            week,
        ]
        if self.assumed and self.users is not None:
            deaf = [each * over_usual[back:] for each in deaf]
        return np.stack([*deaf, *of_users])

    def more_users(self, ago: int, asked: Bool[np.ndarray, "time y x"]) -> Float[np.ndarray, "time y x"] | None:
        """Assumed users over those that are usual, at the last steps of a window that asks for them; 1 before them.

        From `ago` steps before the end of the record. None where users are not assumed.
        """
        if not self.assumed:
            return None
        origin, horizon = len(self.share) - ago, int(asked.any((1, 2)).sum())
        back = min(self.day, origin - self.day)
        over_usual = self._users_over_usual(origin, back, horizon, self._days(origin, back, horizon)[1])
        before = np.ones((len(asked) - horizon, *self.share.shape[1:]), np.float32)
        return np.concatenate([before, over_usual[back:].astype(np.float32)])

    def weights(self, ago: Sequence[int], horizon: int) -> Float[np.ndarray, "question lead expert"]:
        """The weights of `names` at every lead time that were best before a question, for each of several questions.

        `ago`: how many steps before the end of the record each is asked.
        """
        ends = len(self.share) - np.array(ago)
        latest, apart, group = int(ends.max()), self.clock.steps(APART_HOURS), self.clock.steps(LEAD_HOURS)
        first = max(self.day + self.day // 4, latest - DAYS * self.day)
        origins = np.arange(latest - apart, first - 1, -apart)
        groups = -(-horizon // group)
        many = len(self.names)
        squares = np.zeros((len(origins), groups * group, many, many))
        like = self._alike(ends, origins, groups * group)
        for index, origin in enumerate(origins):
            reach = min(horizon, latest - int(origin))
            errors = self.experts(int(origin), reach) - self.share[origin : origin + reach]
            errors = np.where(np.isfinite(errors).all(0), errors, 0.0).astype(np.float64)
            squares[index, :reach] = np.einsum("ityx,jtyx->tij", errors, errors, optimize=True)
        had_come = origins[:, None] + np.arange(groups * group) < ends[:, None, None]  # question origin lead
        known = rearrange(
            1.0 * (had_come & like), "question origin (group step) -> question origin group step", step=group
        )
        by_group = rearrange(squares, "origin (group step) i j -> origin group step i j", step=group)
        squares = np.einsum("qogs,ogsij->qgij", known, by_group, optimize=True)
        size = np.trace(squares, axis1=-2, axis2=-1)[..., None, None] / many
        equal = np.full(many, 1 / many)
        found = on_simplex(squares / np.where(size > 0, size, 1.0), PULL, equal)
        each = repeat(found, "question group expert -> question (group step) expert", step=group)
        return np.asarray(each[:, :horizon])

    def kind_known(self, origin: int, horizon: int) -> Bool[np.ndarray, " step"]:
        """Of which steps from `origin` on a day of their kind, working day or not, was recorded at that time before."""
        step = np.arange(origin, origin + horizon)
        source = step - np.arange(1, DAYS + 1)[:, None] * self.day
        weekend, there = self.clock.weekend(origin + horizon), (source >= 0) & (source < origin)
        alike = there & (weekend[source.clip(0)] == weekend[step])
        return np.asarray((alike & self._any_recorded[source.clip(0, origin - 1)]).any(0))

    def _alike(
        self, ends: Int[np.ndarray, " question"], origins: Int[np.ndarray, " origin"], horizon: int
    ) -> Bool[np.ndarray, "question origin step"]:
        """Whether an origin knew a day of the kind of each step, where the question knows one of all of its steps."""
        asked, then = (
            np.array([self.kind_known(int(at), horizon) for at in some], bool).reshape(-1, horizon)
            for some in (ends, origins)
        )
        every = np.asarray(asked.all(1))
        return np.asarray(then | ~every[:, None, None])

    def alike(self, ago: int, horizon: int) -> Bool[np.ndarray, " step"]:
        """Steps from so many before the end of the record of which as much was known then as is known of those ahead.

        Nobody foresees the first Saturday from working days, and that says nothing of the next one.
        """
        ends, origin = np.array([len(self.share)]), np.array([len(self.share) - ago])
        return self._alike(ends, origin, horizon)[0, 0]

    def ahead(self, ago: int, weights: Float[np.ndarray, "lead expert"]) -> Float[np.ndarray, "lead y x"]:
        """The weighted mean of `names` from `ago` steps before the end of the record; NaN: nothing to go by."""
        origin, horizon = len(self.share) - ago, len(weights)
        said = self.experts(origin, horizon)
        mean = np.einsum("le,elyx->lyx", weights.astype(np.float32), said)
        apart = self._kinds_apart(origin)
        if apart.any():
            mean[:, apart] = np.einsum("le,elc->lc", self._of_kind(origin, weights), said[:, :, apart])
        return mean

    def _kinds_apart(self, origin: int) -> Bool[np.ndarray, "y x"]:
        """Cells whose traffic of working days and of days off, before a step, differs by `KINDS_APART` and more."""
        share, weekend = self.share[:origin][-DAYS * self.day :], self.clock.weekend(origin)[-DAYS * self.day :]
        off, working = (_mean_known(share[kind]) + SMALLEST_UNIT for kind in (weekend, ~weekend))
        return np.asarray((off >= KINDS_APART * working) | (working >= KINDS_APART * off))  # NaN: a kind is not known

    def _of_kind(self, origin: int, weights: Float[np.ndarray, "lead expert"]) -> Float[np.ndarray, "lead expert"]:
        """The weights without those that hear days of another kind than that of the step, made to add up to 1."""
        weekend = self.clock.weekend(origin + len(weights))
        today = weekend[:origin][-self.clock.steps(TODAY_HOURS) :]
        as_today = (today == weekend[origin:, None]).all(1)
        heard = np.array([name not in OF_ANY_KIND for name in self.names])
        of_today = np.array([name in OF_TODAY for name in self.names])
        kept = (weights + LEAST_HEARD) * (heard & (as_today[:, None] | ~of_today))
        return np.asarray(kept / kept.sum(1, keepdims=True), np.float32)

    def missed(self, weights: Float[np.ndarray, "lead expert"]) -> float:
        """How far `ahead` was off at every sixth hour of the last days: mean absolute error over what was said.

        The median over those origins, as one Monday after the only weekend that is known says little of other days. A
        little too small, as the weights were chosen there. NaN where nothing was said, or nothing came.
        """
        found = []
        latest = len(self.share)
        first = max(self.day + self.day // 4, latest - DAYS * self.day)
        for origin in range(latest - self.clock.steps(APART_HOURS), first - 1, -self.clock.steps(JUDGED_HOURS)):
            reach = min(len(weights), latest - origin)
            ahead, came = self.ahead(latest - origin, weights[:reach]), self.share[origin : origin + reach]
            like = self.alike(latest - origin, reach)
            both = np.isfinite(ahead) & np.isfinite(came) & like[:, None, None]
            said = float(ahead[both].sum(dtype=np.float64))
            if said > 0:
                found.append(float(np.abs(ahead[both] - came[both]).sum(dtype=np.float64)) / said)
        return float(np.median(found)) if found else np.nan

    def in_window(
        self, ago: int, weights: Float[np.ndarray, "lead expert"], asked: Bool[np.ndarray, "time y x"]
    ) -> Float[np.ndarray, "time y x"]:
        """`ahead` at the last steps of a window, those that it asks for; NaN before them."""
        steps = int(asked.any((1, 2)).sum())
        before = np.full((len(asked) - steps, *self.share.shape[1:]), np.nan, np.float32)
        return np.concatenate([before, self.ahead(ago, weights[:steps])])

    def _days(self, origin: int, back: int, horizon: int) -> tuple[Float[np.ndarray, "which step y x"], _Worth]:
        """The mean of the same time on earlier days, of the steps from `origin - back` to `origin + horizon`.

        `usual`, `any_day`, `latest`; of each step, days before it and before `origin`; NaN where none was recorded. And
        what each of these days is worth to `usual`.
        """
        step = np.arange(origin - back, origin + horizon)
        days_ago = np.arange(1, min(DAYS, -(-int(step[-1] + 1) // self.day)) + 1)[:, None]
        source = step - days_ago * self.day
        weekdays = self.clock.weekdays(origin + horizon)
        weekday, then = weekdays[step], weekdays[source.clip(0)]
        same, there = (weekday >= WEEKEND) == (then >= WEEKEND), (source >= 0) & (source < origin)
        age = (np.minimum(step, origin) - 1 - source) // self.day
        nearer = np.cumsum(same & there, 0) - (same & there)  # days of its kind between
        worth = np.where(weekday == then, SAME_WEEKDAY, SAME_KIND) * there
        of_its_kind = worth * np.where(same, 1.0, OTHER_KIND / SAME_KIND) * USUAL_DECAY ** np.where(same, nearer, age)
        ways = [of_its_kind, worth * ANY_DAY_DECAY**age, worth * LATEST_DECAY**age]
        weights = rearrange(ways, "way day step -> day way step 1 1")
        source = source.clip(0, origin - 1)
        return _mean_of_days(weights, source, *self._recorded), _Worth(weights[:, 0], source)

    def _users_over_usual(self, origin: int, back: int, horizon: int, worth: _Worth) -> Float[np.ndarray, "step y x"]:
        """Users of the steps from `origin - back` on over what is usual there, by the days of `usual`; 1: not known."""
        assert self.users is not None
        usual = _mean_of_days(worth.weights, worth.source, *self._counted)
        ratio = (self.users[origin - back : origin + horizon] + MORE_USERS) / (usual + MORE_USERS)
        return np.where(np.isfinite(ratio), ratio, np.float32(1)).clip(1 / LARGEST_FACTOR, LARGEST_FACTOR)

    @cached_property
    def _recorded(self) -> _Values:
        return _values(self.share)

    @cached_property
    def _any_recorded(self) -> Bool[np.ndarray, " step"]:
        return np.asarray(self._recorded[1].any((1, 2)))

    @cached_property
    def _counted(self) -> _Values:
        assert self.users is not None
        return _values(self.users)


def _mean_known(of: Float[np.ndarray, "step y x"]) -> Float[np.ndarray, "y x"]:
    """Means over the steps that are known; NaN: none is."""
    filled, known = _values(of)
    count = known.sum(0)
    return np.asarray(np.where(count > 0, filled.sum(0) / np.where(count > 0, count, 1), np.nan))


def _values(of: Float[np.ndarray, "step y x"]) -> _Values:
    known = np.isfinite(of)
    return np.where(known, of, np.float32(0)), known


def _mean_of_days(
    weights: Float[np.ndarray, "day *way step 1 1"],
    source: Int[np.ndarray, "day step"],
    filled: Float[np.ndarray, "all y x"],
    known: Bool[np.ndarray, "all y x"],
) -> Float[np.ndarray, "*way step y x"]:
    """The weighted mean of the values at the steps `source`, as far as they are known; NaN: none is."""
    total = np.zeros((*weights.shape[1:-2], *filled.shape[1:]), np.float32)
    counted = np.zeros_like(total)
    for day, at in zip(weights.astype(np.float32), source, strict=True):  # all at once is large
        total += day * filled[at]
        counted += day * known[at]
    return np.asarray(np.where(counted > 0, total / np.where(counted > 0, counted, 1), np.nan))


__all__ = ["EXPERTS", "OwnPast"]
