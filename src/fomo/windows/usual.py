"""What is usual at the hours of many windows at once: the patterns of a set, integrated once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float

from fomo.windows.clock import HOURS_PER_WEEK
from fomo.windows.rhythm import SMALLEST_RHYTHM
from fomo.windows.shapes import SHAPES, Pattern, Steadiness, of_traffic

#: Rows of a pattern: its curve, its shapes, its noise.
ROWS = 2 + SHAPES


class UsualWeeks:
    """Patterns of a set. Numbers are those of `shapes.usual_in_window`, to the last bit."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        """Patterns that are the same object are laid out once."""
        self.patterns = list({id(pattern): pattern for pattern in patterns}.values())
        self._place = {id(pattern): place for place, pattern in enumerate(self.patterns)}
        weeks = [np.concatenate([p.curve[None], p.shapes, p.noise[None]]).astype(np.float64) for p in self.patterns]
        self.slots = np.array([week.shape[1] for week in weeks], np.int64)
        sizes = ROWS * (self.slots + 1)  # a column of zeros beside the weeks keeps both arrays alike
        self._at = np.cumsum(sizes) - sizes
        self._weekly, self._integral = np.zeros(int(sizes.sum())), np.zeros(int(sizes.sum()))
        for week, at, slots in zip(weeks, self._at, self.slots.tolist(), strict=True):
            place = slice(at, at + ROWS * (slots + 1))
            self._weekly[place].reshape(ROWS, -1)[:, :-1] = week
            integral = self._integral[place].reshape(ROWS, -1)
            np.cumsum(week * (HOURS_PER_WEEK / slots), -1, out=integral[:, 1:])

    def means(
        self, patterns: Sequence[Pattern], start_hour: Sequence[float], step_hours: Sequence[float], steps: int
    ) -> Float[np.ndarray, "window row step"]:
        """Means of every row of a window's pattern over each of its steps (`rhythm.mean_over_steps`)."""
        which = np.array([self._place[id(pattern)] for pattern in patterns], np.int64)
        start, length = (np.asarray(each, np.float64)[:, None] for each in (start_hour, step_hours))
        slots = self.slots[which][:, None]
        slot_hours = HOURS_PER_WEEK / slots
        edges = start + length * np.arange(steps + 1)
        weeks, within = np.divmod(edges, HOURS_PER_WEEK)
        slot = np.minimum((within / slot_hours).astype(int), slots - 1)
        row = (self._at[which][:, None] + np.arange(ROWS) * (slots + 1))[..., None]  # (window, row, 1)
        at, whole = row + slot[:, None], self._integral[row + slots[..., None]]
        into = (within - slot * slot_hours)[:, None]
        at_edges = weeks[:, None] * whole + self._integral[at] + into * self._weekly[at]
        return np.asarray(np.diff(at_edges) / length[..., None])

    def usual(
        self,
        patterns: Sequence[Pattern],
        start_hour: Sequence[float],
        step_hours: Sequence[float],
        steps: int,
        steady: Steadiness | None = None,
    ) -> tuple[
        Float[np.ndarray, "window step"], Float[np.ndarray, "window shape step"], Float[np.ndarray, "window step"]
    ]:
        """Curve, shapes and noise of every window, as nothing is known before it."""
        steady = steady or of_traffic()
        means = self.means(patterns, start_hour, step_hours, steps)
        worth = np.array([hours**steady.power for hours in step_hours])[:, None]
        noise = np.maximum(means[:, -1] * worth, SMALLEST_RHYTHM**2 / 10)
        return np.maximum(means[:, 0], SMALLEST_RHYTHM), means[:, 1:-1], noise


__all__ = ["UsualWeeks"]
