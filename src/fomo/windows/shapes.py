"""How the weeks of cells differ from the rhythm: a few shapes, and what is left over.

A cell's week is its level times (the rhythm + a sum of shapes, each with its own weight + noise). Homes, offices and
stations have other weights; what a few hours show of them says how the rest of the day and the weekend will be. The
shapes are the principal axes of the covariance between the slots of the week over the cells of a family (functional
principal components: Ramsay & Silverman, Functional Data Analysis, chapter 8), scaled so that the weights are standard
normal. The best estimate of the weights from what is observed is in `observation.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from fomo.windows.clock import HOURS_PER_DAY, HOURS_PER_WEEK, Clock
from fomo.windows.rhythm import (
    GENERAL_WORTH,
    LOOK_BACK_DAYS,
    SMALLEST_RHYTHM,
    RhythmSums,
    left_open,
    mean_over_steps,
    other_families,
    own_rhythm,
    rhythm_at,
    weekly_rhythm,
)

#: Shapes that are kept: more do not help (journal, 2026-11-24).
SHAPES = 12
#: Noise of a single value beside the shapes: a share of the variance between cells, and of the rhythm's square.
NOISE_OF_VARIANCE, NOISE_OF_RHYTHM = 0.3, 0.02
#: The noise of neighbouring steps is not independent, so each counts for less the shorter the steps: the variance is
#: that at one hour times the step in hours to this power.
NOISE_POWER = -0.5
#: A covariance is smoothed over so many hours; one of hourly slots or longer ones stays as it is.
SMOOTH_HOURS = 1.0


@dataclass(frozen=True)
class Steadiness:
    """How much a family's own weeks are believed."""

    of_rhythm: float  # noise of a single value, a share of the rhythm's square
    power: float  # of the step in hours, in that noise
    worth: float  # cells that the pattern over all families is worth beside a family's own


def of_traffic() -> Steadiness:
    """That of traffic and of users."""
    return Steadiness(NOISE_OF_RHYTHM, NOISE_POWER, GENERAL_WORTH)


#: Traffic per user has steadier hours, and differs more between families: chosen on folds 1-4 (journal, 2026-11-24).
OF_PER_USER = Steadiness(of_rhythm=0.005, power=-1.25, worth=5.0)


@dataclass(frozen=True)
class Pattern:
    """What is usual in a week: the rhythm, and how cells differ from it."""

    curve: Float[np.ndarray, " slot"]  # mean 1
    shapes: Float[np.ndarray, "shape slot"]  # a cell has them times standard normal weights
    noise: Float[np.ndarray, " slot"]  # variance of a value of one hour beside them

    @property
    def stored(self) -> Float[np.ndarray, "row slot"]:
        """Noise and shapes as one array, the noise first: what lies beside the weights."""
        return np.concatenate([self.noise[None], self.shapes]).astype(np.float32)


def pattern_of(
    curve: Float[np.ndarray, " slot"], covariance: Float[np.ndarray, "slot slot"], steady: Steadiness | None = None
) -> Pattern:
    """The principal shapes of a covariance; what they leave of its diagonal is noise."""
    steady = steady or of_traffic()
    size, axes = np.linalg.eigh(covariance)
    order = np.argsort(size)[::-1][:SHAPES]
    shapes = np.zeros((SHAPES, len(curve)))
    shapes[: len(order)] = (axes[:, order] * np.sqrt(np.maximum(size[order], 0.0))).T
    variance = np.diag(covariance)
    left = np.maximum(variance - (shapes**2).sum(0), 0.0)
    noise = left + NOISE_OF_VARIANCE * np.maximum(variance, 0) + steady.of_rhythm * curve**2
    return Pattern(curve, shapes, noise)


def flat_pattern(curve: Float[np.ndarray, " slot"]) -> Pattern:
    """Cells that do not differ from a curve."""
    return pattern_of(curve, np.zeros((len(curve), len(curve))))


def week_covariance(sums: RhythmSums) -> Float[np.ndarray, "slot slot"]:
    """Covariance of the cells' weeks between the slots, busy cells counting more; zero where there are none.

    Smoothed, with weights that fall to zero SMOOTH_HOURS away: what cells share does not change within minutes, and a
    few dozen cells do not tell.
    """
    if sums.weight <= 1e-9:
        return np.zeros_like(sums.second)
    mean = sums.first / sums.weight
    covariance = sums.second / sums.weight - np.outer(mean, mean)
    reach = max(1, round(SMOOTH_HOURS * sums.slots / HOURS_PER_WEEK))
    fall = {lag: (1 - abs(lag) / reach) / reach for lag in range(1 - reach, reach)}
    for axis in (0, 1):
        covariance = np.sum([weight * np.roll(covariance, lag, axis) for lag, weight in fall.items()], 0)
    return np.asarray(covariance)


def general_covariance(
    curves: Mapping[str, np.ndarray], covariances: Mapping[str, np.ndarray], general: np.ndarray, without: str | None
) -> Float[np.ndarray, "hour hour"]:
    """Covariance over the cells of all families but one, each family counting the same, by hour.

    That within the families, and that of their curves around the general one.
    """
    total = np.zeros((HOURS_PER_WEEK, HOURS_PER_WEEK))
    families = other_families(curves, without)
    for family in families:
        away = rhythm_at(curves[family], Clock(0.0, 1.0), HOURS_PER_WEEK) - general
        total += resampled(covariances[family], HOURS_PER_WEEK) + np.outer(away, away)
    return total / max(len(families), 1)


def resampled(covariance: Float[np.ndarray, "slot slot"], slots: int) -> Float[np.ndarray, "other other"]:
    """The covariance of the means over other slots of the week."""
    average = mean_over_steps(np.eye(len(covariance)), Clock(0.0, HOURS_PER_WEEK / slots), slots)  # slot other
    return np.asarray(average.T @ covariance @ average)


def steadied_pattern(
    curve: np.ndarray,
    covariance: np.ndarray,
    cells: int,
    general: np.ndarray,
    general_spread: np.ndarray,
    steady: Steadiness | None = None,
) -> Pattern:
    """A family's pattern drawn towards that of all families, the more the fewer cells it comes from.

    The covariance is that of the two together, as if the general one were `worth` cells more.
    """
    steady = steady or of_traffic()
    slots = len(curve)
    usual = rhythm_at(general, Clock(0.0, HOURS_PER_WEEK / slots), slots)
    own = cells / (cells + steady.worth)
    away = curve - usual
    both = own * covariance + (1 - own) * resampled(general_spread, slots) + own * (1 - own) * np.outer(away, away)
    return pattern_of(own * curve + (1 - own) * usual, both, steady)


def shapes_at(pattern: Pattern, clock: Clock, steps: int) -> Float[np.ndarray, "shape step"]:
    """The shapes' means over each of the first `steps` steps of a clock."""
    return mean_over_steps(pattern.shapes, clock, steps)


def usual_in_window(
    pattern: Pattern,
    earlier: Float[np.ndarray, "before y x"] | None,
    clock: Clock,
    size: tuple[int, int, int],
    steady: Steadiness | None = None,
) -> dict[str, np.ndarray]:
    """`rhythm` (time, y, x), `shapes` (shape, time) and `noise` (time,) of a window of `size` (time, y, x).

    Where `earlier`, the traffic just before the window, is known, every cell has its own rhythm, and the shapes are as
    much smaller as its past has answered for.
    """
    steps, steady = size[0], steady or of_traffic()
    shapes = shapes_at(pattern, clock, steps)
    noise = mean_over_steps(pattern.noise, clock, steps) * clock.step_hours**steady.power
    noise = np.maximum(noise, SMALLEST_RHYTHM**2 / 10)
    if earlier is None:
        usual = rhythm_at(pattern.curve, clock, steps)[:, None, None]
        return {"rhythm": np.broadcast_to(usual, size), "shapes": shapes, "noise": noise}
    earlier = earlier[-LOOK_BACK_DAYS * clock.steps(HOURS_PER_DAY) :]
    return {
        "rhythm": own_rhythm(earlier, pattern.curve, clock, steps),
        "shapes": shapes * np.sqrt(left_open(earlier, clock, steps)),
        "noise": noise,
    }


def covariance_of(pattern: Pattern, steady: Steadiness | None = None) -> Float[np.ndarray, "slot slot"]:
    """The covariance that `pattern_of` made a pattern of: its shapes, and the rest of the variance on the diagonal."""
    steady = steady or of_traffic()
    shared = pattern.shapes.T @ pattern.shapes
    whole = (pattern.noise + np.diag(shared) - steady.of_rhythm * pattern.curve**2) / (1 + NOISE_OF_VARIANCE)
    return np.asarray(shared + np.diag(np.maximum(whole - np.diag(shared), 0.0)))


def adapted_pattern(sums: RhythmSums, general: Pattern, steady: Steadiness | None = None) -> Pattern:
    """What is usual in a new city, from the sums over some of its cells and the pattern over all families."""
    curve = weekly_rhythm(sums)
    if curve is None:
        return general
    hourly = rhythm_at(general.curve, Clock(0.0, 1.0), HOURS_PER_WEEK)
    spread = resampled(covariance_of(general, steady), HOURS_PER_WEEK)
    return steadied_pattern(curve, week_covariance(sums), sums.cells, hourly, spread, steady)
