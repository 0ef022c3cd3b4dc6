"""Last week at the level of this one, against loops over single cells; what is not observed never enters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fomo.windows.batch import Batch, CellState
from fomo.windows.last_week import WEEK_HOURS, LastWeek, week_before
from fomo.windows.observation import DOUBTED, GUESSES, observe
from fomo.windows.regression import LARGEST_RELATIVE, SMALLEST_UNIT


@pytest.fixture
def batch(random_batch) -> Batch:
    steps = {"step_hours": torch.tensor([1.0, 4.0, 2.0])}
    return replace(random_batch(seed=6, batch=3, time=30, y=3, x=3, missing=0.25), **steps)


def last_week(batch: Batch) -> LastWeek:
    seen = batch.observed.to(batch.share.dtype)
    return week_before(batch, batch.share * seen, seen)


def both(batch: Batch, row: int, y: int, x: int) -> list[int]:
    """Steps that were observed, and recorded a week before."""
    state, known = batch.state[row, :, y, x], batch.week_known[row, :, y, x]
    return [t for t in range(len(state)) if state[t] == CellState.OBSERVED and known[t]]


def test_the_level_is_that_of_the_steps_seen_in_both_weeks_by_a_loop(batch):
    found, compared = last_week(batch), 0
    for row, y, x in np.ndindex(3, 3, 3):
        steps = both(batch, row, y, x)
        now = sum(float(batch.share[row, t, y, x]) + SMALLEST_UNIT for t in steps)
        then = sum(float(batch.week[row, t, y, x]) + SMALLEST_UNIT for t in steps)
        times = min(max(now / then, 0.25), 4.0) if steps else 1.0
        torch.testing.assert_close(found.level[row, :, y, x], batch.week[row, :, y, x] * times)
        known = batch.week_known[row, :, y, x] & bool(steps)
        assert torch.equal(found.known[row, :, y, x], known)
        compared += bool(steps)
    assert compared > 10


def test_lately_is_remembered_for_half_a_day_by_a_loop(batch):
    found = last_week(batch)
    for row, y, x in np.ndindex(3, 3, 3):
        steps, hours = both(batch, row, y, x), float(batch.step_hours[row])
        if not steps:
            continue
        weight = {t: np.exp(-(steps[-1] - t) * hours / WEEK_HOURS) for t in steps}
        now = sum(weight[t] * (float(batch.share[row, t, y, x]) + SMALLEST_UNIT) for t in steps)
        then = sum(weight[t] * (float(batch.week[row, t, y, x]) + SMALLEST_UNIT) for t in steps)
        expected = batch.week[row, :, y, x] * min(max(now / then, 0.25), 4.0)
        torch.testing.assert_close(found.recent[row, :, y, x], expected, rtol=1e-4, atol=1e-6)


def test_a_week_that_came_again_is_trusted_and_one_that_did_not_is_not(batch):
    again = replace(batch, week=batch.share.clone(), week_known=torch.ones_like(batch.week_known))
    flat = torch.full_like(batch.share, float(batch.share.mean()))
    trust = last_week(again).trust_beside(flat, again.share * again.observed)
    assert (trust > 0.999).all()
    week = last_week(batch)
    assert (week.trust_beside(batch.share, batch.share) < 0.001).all()  # the other guess is the truth


def test_equal_errors_are_trusted_alike(batch):
    week = last_week(batch)
    torch.testing.assert_close(week.trust_beside(week.level, batch.share), torch.full((3, 1, 1, 1), 0.5))


def test_trusted_lies_between_last_week_and_what_the_shapes_say(batch):
    seen = observe(batch)
    level, carried, trusted = (seen.known[:, GUESSES.index(name)] for name in ("week_level", "carried", "trusted"))
    known = seen.is_known[:, GUESSES.index("trusted")]
    assert known.any()
    low, high = torch.minimum(level, carried), torch.maximum(level, carried)
    assert ((trusted >= low - 1e-4) & (trusted <= high + 1e-4))[known].all()


def test_doubt_is_what_the_guesses_leave_of_the_observed_steps_by_a_loop(batch):
    seen = observe(batch)
    for place, name in enumerate(DOUBTED):
        at = GUESSES.index(name)
        for row, y, x in np.ndindex(3, 3, 3):
            unit = float(seen.unit[row, y, x])
            guesses, known = seen.known[row, at, :, y, x], seen.is_known[row, at, :, y, x]
            if float(guesses.max()) > LARGEST_RELATIVE - 1.1:
                continue  # what was cut is not what was compared
            steps = [t for t in range(30) if batch.state[row, t, y, x] == CellState.OBSERVED and known[t]]
            left = [float(batch.share[row, t, y, x]) / unit - 1 - float(guesses[t]) for t in steps]
            expected = min(np.sqrt(np.mean(np.square(left))), LARGEST_RELATIVE) if steps else 0.0
            assert float(seen.doubt[row, place, y, x]) == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_hidden_values_never_enter(batch):
    hidden = batch.state == CellState.HIDDEN
    changed = replace(batch, share=torch.where(hidden, batch.share + 3, batch.share))
    one, other = last_week(batch), last_week(changed)
    assert torch.equal(one.carried, other.carried) and torch.equal(one.level, other.level)
