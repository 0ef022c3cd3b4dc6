from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from fomo.windows.batch import Batch, CellState
from fomo.windows.context_observation import NOMINAL_LEVEL
from fomo.windows.observation import GUESSES, RECENT_HOURS, TREND_HOURS, Observation, observe
from fomo.windows.regression import (
    CARRIED_HOURS,
    CARRIED_NOISE,
    LARGEST_MOVE,
    LARGEST_RELATIVE,
    LEVEL_VARIANCE,
    SMALLEST_UNIT,
)


@pytest.fixture
def batch(random_batch) -> Batch:
    steps = {"step_hours": torch.tensor([1.0, 4.0, 2.0])}
    return replace(random_batch(seed=4, batch=3, time=30, y=3, x=3, missing=0.25), **steps)


def cells(batch: Batch) -> Iterator[tuple[int, int, int]]:
    rows, _, height, width = batch.share.shape
    yield from np.ndindex(rows, height, width)


def seen_steps(batch: Batch, row: int, y: int, x: int) -> dict[int, float]:
    state, share = batch.state[row, :, y, x].tolist(), batch.share[row, :, y, x].tolist()
    return {t: share[t] for t in range(len(state)) if state[t] == CellState.OBSERVED}


def guess(seen: Observation, name: str, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """A guess as a share of the reference, and where it is known."""
    at = GUESSES.index(name)
    return (seen.known[:, at] + 1) * seen.unit[:, None], seen.is_known[:, at]


def layers(seen: Observation) -> dict[str, torch.Tensor]:
    """All that is known of traffic."""
    return {name: value for name, value in vars(seen).items() if name != "context"}


def equal(one: Observation, other: Observation) -> bool:
    assert one.context is None and other.context is None
    return all(torch.equal(value, layers(other)[name]) for name, value in layers(one).items())


@pytest.mark.parametrize("state", [CellState.HIDDEN, CellState.MISSING, CellState.PADDING])
def test_values_that_are_not_observed_never_enter(batch, state):
    changed = torch.where(batch.state == state, 1e3 * torch.rand_like(batch.share), batch.share)
    assert not torch.equal(changed, batch.share)
    assert equal(observe(replace(batch, share=changed)), observe(batch))


def test_last_week_never_enters_where_it_is_not_known(batch):
    changed = torch.where(batch.week_known, batch.week, 5.0)
    assert equal(observe(replace(batch, week=changed)), observe(batch))


def test_observed_values_do_enter(batch):
    changed = torch.where(batch.observed, batch.share + 1, batch.share)
    assert not equal(observe(replace(batch, share=changed)), observe(batch))


def level_of(batch: Batch, row: int, places: list[tuple[int, int]]) -> float:
    """What cells carried over what the rhythm says of the observed hours."""
    steps = {(t, y, x): v for y, x in places for t, v in seen_steps(batch, row, y, x).items()}
    return sum(steps.values()) / sum(float(batch.rhythm[row, t, y, x]) for t, y, x in steps)


@pytest.fixture
def plain(batch) -> Batch:
    """Cells that are known not to differ from the rhythm but by their level."""
    return replace(batch, shapes=torch.zeros_like(batch.shapes), noise=torch.full_like(batch.noise, 1e9))


def test_the_unit_is_what_was_observed_over_the_rhythm_of_its_hours_by_a_loop(plain):
    batch, seen = plain, observe(plain)
    for row, y, x in cells(batch):
        there = bool(seen_steps(batch, row, y, x))
        assert bool(seen.unit_known[row, y, x]) == there
        if there:
            expected = level_of(batch, row, [(y, x)]) + SMALLEST_UNIT
            assert float(seen.unit[row, y, x]) == pytest.approx(expected, rel=1e-5)


def test_some_hours_of_night_give_the_unit_of_the_whole_day(random_batch):
    batch = random_batch(batch=1, time=24, y=1, x=1, missing=0, padding=0)
    rhythm = torch.linspace(0.1, 1.9, 24).reshape(1, 24, 1, 1)
    state = torch.full_like(batch.state, CellState.HIDDEN)
    state[:, :6] = CellState.OBSERVED
    seen = observe(replace(batch, share=0.3 * rhythm, rhythm=rhythm, state=state))
    torch.testing.assert_close(seen.unit, torch.full((1, 1, 1), 0.3 + SMALLEST_UNIT))


def test_a_cell_without_a_value_has_the_unit_of_its_window(plain):
    batch, seen = plain, observe(plain)
    assert not seen.unit_known[0, :, -1].any()  # padding
    expected = level_of(batch, 0, list(np.ndindex(3, 3))) + SMALLEST_UNIT
    for y in range(3):
        assert float(seen.unit[0, y, -1]) == pytest.approx(expected, rel=1e-5)
        assert float(seen.spread[0, y, -1]) == 0


def test_observed_values_are_told_relative_to_the_unit_and_cut_where_they_spike(batch):
    spiky = batch.share.clone()
    spiky[1, 0, 0, 0] = 1e4
    state = batch.state.clone()
    state[1, 0, 0, 0] = CellState.OBSERVED
    batch = replace(batch, share=spiky, state=state)
    seen = observe(batch)
    expected = torch.where(batch.observed, (batch.share / seen.unit[:, None]).clamp(max=LARGEST_RELATIVE) - 1, 0.0)
    torch.testing.assert_close(seen.relative, expected)
    assert float(seen.relative[1, 0, 0, 0]) == LARGEST_RELATIVE - 1


def test_the_spread_is_that_of_the_logarithms_by_a_loop(batch):
    seen = observe(batch)
    for row, y, x in cells(batch):
        steps = seen_steps(batch, row, y, x)
        logs = {t: np.log1p(50 * value) for t, value in steps.items()}
        if not logs:
            continue
        assert float(seen.spread[row, y, x]) == pytest.approx(np.std(list(logs.values())), abs=1e-5)
        middle = np.mean(list(logs.values()))
        for t in range(30):
            expected = logs[t] - middle if t in logs else 0.0
            assert float(seen.compressed[row, t, y, x]) == pytest.approx(expected, abs=1e-5)


def test_the_daily_guess_is_the_mean_over_the_other_days_by_a_loop(batch):
    daily, known = guess(observe(batch), "daily", batch)
    assert {bool(k) for k in known.flatten()} == {True, False}
    for row, y, x in cells(batch):
        day = round(24 / float(batch.step_hours[row]))
        steps = seen_steps(batch, row, y, x)
        for t in range(30):
            others = [value for other, value in steps.items() if other != t and (other - t) % day == 0]
            assert bool(known[row, t, y, x]) == bool(others)
            if others:
                assert float(daily[row, t, y, x]) == pytest.approx(np.mean(others), rel=1e-4)


@pytest.mark.parametrize(("name", "days"), [("yesterday", 1), ("day_before", 2)])
def test_yesterday_and_the_day_before_are_the_values_then_by_a_loop(batch, name, days):
    before, known = guess(observe(batch), name, batch)
    assert known.any()
    for row, y, x in cells(batch):
        lag = days * round(24 / float(batch.step_hours[row]))
        steps = seen_steps(batch, row, y, x)
        for t in range(30):
            assert bool(known[row, t, y, x]) == (t - lag in steps)
            if t - lag in steps:
                assert float(before[row, t, y, x]) == pytest.approx(steps[t - lag], rel=1e-4)


def test_the_recent_guess_is_the_mean_of_the_last_hours_by_a_loop(batch):
    recent, known = guess(observe(batch), "recent", batch)
    for row, y, x in cells(batch):
        steps = seen_steps(batch, row, y, x)
        assert bool(known[row, :, y, x].all()) == bool(known[row, :, y, x].any()) == bool(steps)
        if steps:
            age = (max(steps) - np.array(list(steps))) * float(batch.step_hours[row])
            expected = np.average(list(steps.values()), weights=np.exp(-age / RECENT_HOURS))
            assert recent[row, :, y, x].tolist() == pytest.approx([expected] * 30, rel=1e-4)


def test_the_trend_is_the_daily_guess_times_how_much_the_last_hours_lay_above_it_by_a_loop(batch):
    seen = observe(batch)
    (trend, known), (daily, daily_known) = (guess(seen, name, batch) for name in ("trend", "daily"))
    compared = 0
    for row, y, x in cells(batch):
        steps = seen_steps(batch, row, y, x)
        both = {t: value for t, value in steps.items() if daily_known[row, t, y, x]}
        assert torch.equal(known[row, :, y, x], daily_known[row, :, y, x] & bool(both))
        if not both:
            continue
        age = (max(steps) - np.array(list(both))) * float(batch.step_hours[row])
        weight = np.exp(-age / TREND_HOURS)
        lay = np.array(list(both.values())) + SMALLEST_UNIT
        should = daily[row, list(both), y, x].double().numpy() + SMALLEST_UNIT
        ratio = np.clip((weight @ lay) / (weight @ should), 0.25, 4.0)
        expected = daily[row, :, y, x] * ratio
        at = known[row, :, y, x]
        torch.testing.assert_close(trend[row, :, y, x][at], expected[at].float(), rtol=1e-3, atol=1e-5)
        compared += int(at.sum())
    assert compared > 100


def test_the_trend_around_is_that_of_all_cells_together(batch):
    seen = observe(batch)
    (around, known), (daily, daily_known) = (guess(seen, name, batch) for name in ("trend_around", "daily"))
    for row in range(len(batch.share)):
        lay = should = 0.0
        for _, y, x in filter(lambda place: place[0] == row, cells(batch)):
            steps = seen_steps(batch, row, y, x)
            for t, value in steps.items():
                if daily_known[row, t, y, x]:
                    weight = np.exp((t - max(steps)) * float(batch.step_hours[row]) / TREND_HOURS)
                    lay += weight * (value + SMALLEST_UNIT)
                    should += weight * (float(daily[row, t, y, x]) + SMALLEST_UNIT)
        at = known[row]
        assert torch.equal(at, daily_known[row] if should > 0 else torch.zeros_like(at))
        if not at.any():
            continue
        expected = daily[row][at] * np.clip(lay / should, 0.25, 4.0)
        torch.testing.assert_close(around[row][at], expected.float(), rtol=1e-3, atol=1e-5)


def test_the_rhythm_guesses_are_levels_times_the_rhythm_by_a_loop(batch):
    seen = observe(batch)
    (rhythm, known), (recent, recent_known) = (guess(seen, name, batch) for name in ("rhythm", "rhythm_recent"))
    assert known.all()
    for row, y, x in cells(batch):
        steps = seen_steps(batch, row, y, x)
        assert bool(recent_known[row, :, y, x].all()) == bool(steps)
        if not steps:
            continue
        curve = batch.rhythm[row, :, y, x].double()
        usual = curve[list(steps)].numpy()
        weight = np.exp((np.array(list(steps)) - max(steps)) * float(batch.step_hours[row]) / TREND_HOURS)
        values = np.array(list(steps.values()))
        for guessed, level in (
            (rhythm, values.sum() / usual.sum()),
            (recent, (weight @ values) / (weight @ usual)),
        ):
            expected = (level * curve).clamp(max=LARGEST_RELATIVE * float(seen.unit[row, y, x]))
            torch.testing.assert_close(guessed[row, :, y, x], expected.float(), rtol=1e-3, atol=1e-5)


def test_the_daily_guess_is_moved_by_how_the_rhythm_differs_from_the_other_days(plain):
    batch, seen = plain, observe(plain)
    (moved, known), (daily, daily_known) = (guess(seen, name, batch) for name in ("daily_rhythm", "daily"))
    assert torch.equal(known, daily_known)
    for row, y, x in cells(batch):
        day = round(24 / float(batch.step_hours[row]))
        steps = seen_steps(batch, row, y, x)
        for t in range(30):
            others = [other for other in steps if other != t and (other - t) % day == 0]
            if others:
                there = np.mean([float(batch.rhythm[row, other, y, x]) for other in others])
                ratio = np.clip(float(batch.rhythm[row, t, y, x]) / there, 0.25, 4.0)
                assert float(moved[row, t, y, x]) == pytest.approx(float(daily[row, t, y, x]) * ratio, rel=1e-3)


def test_last_week_is_the_guess_that_it_is(plain):
    batch = plain
    week, known = guess(observe(batch), "week", batch)
    assert torch.equal(known, batch.week_known)
    torch.testing.assert_close(week[known], batch.week[known], rtol=1e-4, atol=1e-6)


def test_guesses_are_zero_where_they_have_nothing_to_go_by(batch):
    seen = observe(batch)
    assert not seen.is_known.all()
    assert (seen.known[~seen.is_known] == 0).all()


@pytest.mark.parametrize("minutes", [5, 10, 15, 20, 30, 60, 90, 120, 1440])
def test_a_daily_rhythm_is_recognised_at_every_granularity(minutes, random_batch):
    day = 24 * 60 // minutes
    steps = 2 * day + 1
    batch = random_batch(batch=1, time=steps, y=1, x=1, missing=0, padding=0)
    rhythm = (torch.rand(day) + 0.5).repeat(3)[:steps].reshape(1, steps, 1, 1)
    state = torch.zeros_like(batch.state)
    state[:, -1] = CellState.HIDDEN
    batch = replace(batch, share=rhythm, state=state, step_hours=torch.tensor([minutes / 60]))
    for name in ("daily", "trend"):
        rhythm_guessed, known = guess(observe(batch), name, batch)
        assert known.all()
        torch.testing.assert_close(rhythm_guessed, rhythm, atol=1e-4, rtol=1e-4)


def test_a_window_with_nothing_observed_knows_nothing_but_last_week(batch):
    nothing = replace(batch, state=torch.full_like(batch.state, CellState.HIDDEN))
    seen = observe(nothing)
    assert not seen.unit_known.any()
    assert not torch.equal(nothing.share, torch.zeros_like(nothing.share))  # what is hidden sets no level
    level, changed = (observe(replace(nothing, share=share)).unit for share in (nothing.share, 3 * nothing.share))
    assert torch.equal(level, changed) and (level > SMALLEST_UNIT).all()
    assert (level <= LARGEST_MOVE * NOMINAL_LEVEL + SMALLEST_UNIT).all()
    assert (seen.relative == 0).all()
    assert (seen.compressed == 0).all()
    known = {name for at, name in enumerate(GUESSES) if seen.is_known[:, at].any()}
    assert known == {"rhythm", "week", "shaped", "carried"}  # at the nominal level
    assert torch.isfinite(seen.known).all()


def test_a_silent_city_is_finite(batch):
    seen = observe(replace(batch, share=torch.zeros_like(batch.share)))
    assert all(torch.isfinite(value).all() for value in layers(seen).values())


def test_a_window_is_observed_the_same_alone_and_among_others(batch):
    together, alone = observe(batch), observe(batch.rows(slice(1, 2)))
    for name, value in layers(alone).items():
        torch.testing.assert_close(getattr(together, name)[1:2], value)


# ---------------------------------------------------------------- level and shapes


def test_level_and_shapes_are_the_conditional_mean_of_a_gaussian_process(batch):
    """By the covariance of all values of a cell, in double precision: no weights, no normal equations."""
    seen = observe(batch)
    found, known = guess(seen, "shaped", batch)
    assert known.all()
    for row, y, x in cells(batch):
        values = seen_steps(batch, row, y, x)
        if not values:
            continue
        at = sorted(values)
        rhythm = batch.rhythm[row, :, y, x].double().numpy()
        shapes, noise = batch.shapes[row].double().numpy(), batch.noise[row].double().numpy()
        level = sum(values.values()) / rhythm[at].sum()
        scale = level + SMALLEST_UNIT
        left = np.array(
            [np.clip((values[t] - level * rhythm[t]) / scale, -LARGEST_RELATIVE, LARGEST_RELATIVE) for t in at]
        )
        covariance = shapes.T @ shapes + LEVEL_VARIANCE * np.outer(rhythm, rhythm)
        gain = np.linalg.solve(covariance[np.ix_(at, at)] + np.diag(noise[at]), left)
        moved = covariance[:, at] @ gain
        expected = np.clip(level * rhythm + scale * moved, 0, LARGEST_RELATIVE * float(seen.unit[row, y, x]))
        np.testing.assert_allclose(found[row, :, y, x].numpy(), expected, rtol=2e-3, atol=2e-4)
        higher = level + scale * LEVEL_VARIANCE * rhythm[at] @ gain
        unit = np.clip(higher, level / LARGEST_MOVE, level * LARGEST_MOVE) + SMALLEST_UNIT
        assert float(seen.unit[row, y, x]) == pytest.approx(unit, rel=2e-3)


def test_a_cell_that_is_made_of_the_shapes_is_continued_from_a_few_hours(random_batch):
    batch = random_batch(batch=1, time=48, y=1, x=2, missing=0, padding=0)
    hours = torch.arange(48) * (2 * torch.pi / 24)
    rhythm = (1 + 0.5 * torch.sin(hours)).reshape(1, 48, 1, 1).expand(1, 48, 1, 2)
    shapes = torch.stack([0.4 * torch.cos(hours), 0.3 * torch.sin(2 * hours)])[None]
    weights = torch.tensor([[0.8, -0.5], [-1.2, 0.9]])  # of the two cells
    share = 0.2 * (rhythm + torch.einsum("bkt,ck->btc", shapes, weights)[:, :, None])
    state = torch.full_like(batch.state, CellState.HIDDEN)
    state[:, :14] = CellState.OBSERVED
    noise = torch.full((1, 48), 1e-5)
    known = replace(batch, share=share, rhythm=rhythm, shapes=shapes, noise=noise, state=state)
    found, _ = guess(observe(known), "shaped", known)
    torch.testing.assert_close(found, share, rtol=0.02, atol=0.003)
    plain, _ = guess(observe(known), "rhythm", known)
    assert (plain - share).abs().mean() > 10 * (found - share).abs().mean()


def test_around_is_the_mean_of_the_other_cells_at_the_same_time_by_a_loop(batch):
    seen = observe(batch)
    found, known = guess(seen, "around", batch)
    for row, y, x in cells(batch):
        for t in range(batch.share.shape[1]):
            others = [
                float(batch.share[row, t, j, i])
                for j, i in np.ndindex(3, 3)
                if (j, i) != (y, x) and batch.observed[row, t, j, i]
            ]
            assert bool(known[row, t, y, x]) == bool(others)
            if others:
                expected = min(np.mean(others), LARGEST_RELATIVE * float(seen.unit[row, y, x]))
                assert float(found[row, t, y, x]) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_the_recent_past_lifts_the_fitted_week_by_a_loop(batch):
    seen = observe(batch)
    fitted, recent = (guess(seen, name, batch)[0].double() for name in ("shaped", "shaped_recent"))
    for row, y, x in cells(batch):
        values = seen_steps(batch, row, y, x)
        if not values or float(fitted[row, :, y, x].max()) > 7.9 * float(seen.unit[row, y, x]):
            continue  # what was cut is not what was fitted
        last = max(values)
        weight = {t: np.exp(-(last - t) * float(batch.step_hours[row]) / TREND_HOURS) for t in values}
        above = sum(weight[t] * (values[t] + SMALLEST_UNIT) for t in values)
        below = sum(weight[t] * (float(fitted[row, t, y, x]) + SMALLEST_UNIT) for t in values)
        expected = (fitted[row, :, y, x] * np.clip(above / below, 0.25, 4)).clamp(
            max=LARGEST_RELATIVE * float(seen.unit[row, y, x])
        )
        torch.testing.assert_close(recent[row, :, y, x], expected, rtol=1e-3, atol=1e-5)


def test_what_lasts_of_the_residuals_is_the_conditional_mean_of_an_ornstein_uhlenbeck_process(batch):
    """By the dense covariance, in double precision; the code eliminates along three diagonals."""
    seen = observe(batch)
    fitted, carried = (guess(seen, name, batch)[0].double().numpy() for name in ("shaped", "carried"))
    compared = 0
    for row, y, x in cells(batch):
        values, unit = seen_steps(batch, row, y, x), float(seen.unit[row, y, x])
        here = fitted[row, :, y, x]
        if here.min() <= 0 or here.max() > 7.9 * unit:
            continue  # what was cut is not what was fitted
        at, hours = sorted(values), float(batch.step_hours[row])
        gap = abs(np.subtract.outer(np.arange(30), np.arange(30))) * hours
        covariance = np.exp(-gap / CARRIED_HOURS)
        noisy = covariance[np.ix_(at, at)] + np.eye(len(at)) * CARRIED_NOISE / hours
        lasting = covariance[:, at] @ np.linalg.solve(noisy, np.array([values[t] - here[t] for t in at]))
        expected = np.clip(here + lasting, 0, LARGEST_RELATIVE * unit)
        np.testing.assert_allclose(carried[row, :, y, x], expected, rtol=1e-3, atol=1e-5)
        compared += abs(carried[row, :, y, x] - here).max() > 1e-3
    assert compared > 3


def test_the_misfit_is_what_the_fitted_week_leaves_in_units_of_the_cell_by_a_loop(batch):
    seen = observe(batch)
    fitted, _ = guess(seen, "shaped", batch)
    for row, y, x in cells(batch):
        values, unit = seen_steps(batch, row, y, x), float(seen.unit[row, y, x])
        if float(fitted[row, :, y, x].max()) > 7.9 * unit:
            continue
        left = [values[t] - float(fitted[row, t, y, x]) for t in values]
        expected = np.sqrt(np.mean(np.square(left))) / unit if values else 0.0
        assert float(seen.misfit[row, y, x]) == pytest.approx(min(expected, LARGEST_RELATIVE), rel=1e-3, abs=1e-5)
