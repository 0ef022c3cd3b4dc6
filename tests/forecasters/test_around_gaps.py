"""What the record around a gap says: against plain loops, and cities made to have one right answer."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.forecasters import around_gaps as room
from fomo.forecasters.around_gaps import CELL_HOURS, CITY_HOURS, DAYS, USUAL_HOURS, around_gaps
from fomo.forecasters.own_past import OTHER_KIND, SAME_KIND, SAME_WEEKDAY, USUAL_DECAY
from fomo.windows.clock import Clock
from fomo.windows.regression import SMALLEST_UNIT

HOURS = Clock(0.0, 1.0)  # from a Monday on


def record(days: int = 9, cells: int = 4, seed: int = 0) -> np.ndarray:
    """A curve of the day for each cell, with noise: (step, 1, cell)."""
    random = np.random.default_rng(seed)
    curve = np.tile(random.uniform(0.1, 0.6, (24, cells)), (days, 1))
    return (curve * random.lognormal(0, 0.2, curve.shape)).astype(np.float32)[:, None]


def by_loops(share: np.ndarray, step: int, cell: int) -> float:
    """The same by the formulas in the head of the module."""
    values = share[:, 0].astype(np.float64)
    known = np.isfinite(values)

    def usual(at: int, of: int) -> float:
        total = worth = 0.0
        for apart in [day for ago in range(1, DAYS + 1) for day in (-ago, ago)]:
            source = at + 24 * apart
            if not (0 <= source < len(values) and known[source, of]):
                continue
            weekdays = at // 24 % 7, source // 24 % 7
            alike = (weekdays[0] >= 5) == (weekdays[1] >= 5)
            kind = (SAME_WEEKDAY if weekdays[0] == weekdays[1] else SAME_KIND) if alike else OTHER_KIND
            weight = kind * USUAL_DECAY ** (abs(apart) - 1)
            total, worth = total + weight * values[source, of], worth + weight
        return total / worth if worth else np.nan

    def city(at: int) -> float:
        near = [s for s in range(max(0, at - int(CITY_HOURS)), min(len(values), at + int(CITY_HOURS) + 1))]
        both = [(s, c) for s in near for c in range(values.shape[1]) if known[s, c] and np.isfinite(usual(s, c))]
        above, below = (
            sum(each) + SMALLEST_UNIT for each in zip(*((values[s, c], usual(s, c)) for s, c in both), strict=True)
        )
        return float(np.clip(above / below, 0.25, 4))

    said = {s: usual(s, cell) * city(s) for s in range(len(values))}
    both = [s for s in said if known[s, cell] and np.isfinite(said[s])]
    beside = np.mean([said[s] for s in both]) * USUAL_HOURS
    fade = {s: np.exp(-abs(s - step) / CELL_HOURS) for s in both}
    above = sum(fade[s] * values[s, cell] for s in both) + beside + SMALLEST_UNIT
    below = sum(fade[s] * said[s] for s in both) + beside + SMALLEST_UNIT
    return float(said[step] * np.clip(above / below, 0.25, 4))


def test_it_is_what_plain_loops_say():
    share = record(6, 3)
    share[30:50, 0, 1] = np.nan
    share[70, 0, 0] = np.nan
    said = around_gaps(share, HOURS)
    for step, cell in ((35, 1), (49, 1), (70, 0), (10, 2), (100, 2)):
        assert said[step, 0, cell] == pytest.approx(by_loops(share, step, cell), rel=1e-4)


def test_what_is_said_of_a_step_does_not_hear_its_own_value_but_for_level():
    share = record()
    said = around_gaps(share, HOURS)
    share[100, 0, 2] = np.nan
    apart = around_gaps(share, HOURS)
    assert apart[100, 0, 2] == pytest.approx(said[100, 0, 2], rel=0.15)


def test_a_city_that_rose_in_the_gap_and_a_cell_that_did_on_its_sides_are_followed():
    curve = np.tile(np.random.default_rng(0).uniform(0.1, 0.5, (24, 30)), (8, 1)).astype(np.float32)[:, None]
    truth = curve.copy()
    truth[96:120] *= 1.4  # the whole city, one day
    truth[90:110, 0, 0] *= 1.3
    share = truth.copy()
    share[98:102, 0, 0] = np.nan
    said = around_gaps(share, HOURS)
    assert np.abs(said[98:102, 0, 0] / truth[98:102, 0, 0] - 1).max() < 0.15
    assert (curve[98:102, 0, 0] / truth[98:102, 0, 0]).max() < 0.56


def test_what_no_other_day_knows_is_not_said():
    share = record(3)
    share[:, 0, 1] = np.nan
    share[24 + 5 :: 24, 0, 2] = np.nan
    said = around_gaps(share, HOURS)
    assert np.isnan(said[:, 0, 1]).all() and np.isnan(said[5, 0, 2]) and np.isfinite(said[29, 0, 2])
    assert np.isfinite(said[:, 0, [0, 3]]).all()


def test_cells_by_parts_are_the_same(monkeypatch):
    share = record(5, 7)
    whole = around_gaps(share, HOURS)
    monkeypatch.setattr(room, "AT_A_TIME", 2)
    np.testing.assert_allclose(around_gaps(share, HOURS), whole, rtol=1e-6)
