"""What users say of the traffic per user: variances of its level, and the regression of its week on theirs."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.windows.answers import (
    SILENT_CELLS,
    WEIGHTS,
    Answer,
    CellWeeks,
    answer_of,
    cell_weeks,
    rate_variances,
)
from fomo.windows.shapes import SHAPES, Pattern

SLOTS = 168


def weeks_of(rates: np.ndarray, users: float | np.ndarray = 0.2) -> CellWeeks:
    """Cells of these rates, all with the same users at all hours."""
    crowd = np.broadcast_to(users, (SLOTS, len(rates)))
    return CellWeeks(crowd * rates, np.array(crowd), np.ones((SLOTS, len(rates)), bool))


def test_a_cells_mean_week_is_the_mean_over_its_weeks_of_what_was_recorded():
    random = np.random.default_rng(0)
    share, users = random.uniform(0.1, 0.9, (2, 24 * 7 * 2 + 30, 2, 3))
    share[5, 0, 0] = users[9, 0, 1] = np.nan
    share[:, 1, 2] = 0.0  # a cell without traffic says nothing
    found = cell_weeks(share, users, start_hour=3.0, step_hours=1.0)
    assert found.slots == SLOTS and found.mean.size == 5
    slot = (3 + np.arange(len(share))) % SLOTS
    for cell, (y, x) in enumerate(((0, 0), (0, 1), (0, 2), (1, 0), (1, 1))):
        known = np.isfinite(share[:, y, x]) & np.isfinite(users[:, y, x])
        for at in (3, 8, 12, 40, 167):
            here = known & (slot == at)
            assert found.traffic[at, cell] == pytest.approx(share[here, y, x].mean())
            assert found.users[at, cell] == pytest.approx(users[here, y, x].mean())
    assert found.rate[4] == pytest.approx(np.log(found.traffic[:, 4].sum() / found.users[:, 4].sum()))


def test_a_slot_that_was_never_recorded_is_not_seen():
    share = np.full((60, 1, 1), 0.3)
    found = cell_weeks(share, share, 0.0, 1.0)
    assert found.seen[:, 0].tolist() == [True] * 60 + [False] * (SLOTS - 60)
    assert found.mean.tolist() == pytest.approx([0.3])


def test_variances_within_and_between_regions_are_found_again():
    """Many regions of many equal cells: the estimates are those that the rates were drawn with."""
    random = np.random.default_rng(1)
    regions = [weeks_of(np.exp(random.normal(0.0, 0.3) + random.normal(0.0, 0.1, 12))) for _ in range(400)]
    within, between = rate_variances(regions)
    assert within == pytest.approx(0.01, rel=0.1)
    assert between == pytest.approx(0.09, rel=0.15)


def test_variances_are_unbiased_where_a_few_cells_have_most_of_the_traffic():
    random = np.random.default_rng(2)
    users = np.array([0.5, 0.02, 0.02, 0.01, 0.01, 0.01])
    regions = [weeks_of(np.exp(random.normal(0.0, 0.05, 6)), users) for _ in range(3000)]
    within, between = rate_variances(regions)
    assert within == pytest.approx(0.0025, rel=0.1)
    assert between is not None and between < 3e-4  # nothing lies between them


def test_what_too_few_regions_do_not_show_is_not_known():
    two_cells, one_cell = weeks_of(np.array([1.0, 1.2])), weeks_of(np.array([1.0]))
    assert rate_variances([]) == (None, None)
    assert rate_variances([weeks_of(np.empty(0))]) == (None, None)
    assert rate_variances([one_cell]) == (None, None)
    within, between = rate_variances([two_cells])
    assert within == pytest.approx(np.log(1.2) ** 2 / 2, rel=1e-2) and between is None
    assert rate_variances([two_cells, one_cell])[1] is not None


def night(sign: float = 1.0) -> Pattern:
    """Cells that differ in one shape: the nights against the days."""
    hours = np.arange(SLOTS) % 24
    shapes = np.zeros((SHAPES, SLOTS))
    shapes[0] = sign * np.where(hours < 12, 0.3, -0.3)
    return Pattern(np.ones(SLOTS), shapes, np.full(SLOTS, 0.001))


def town(slope: float, cells: int, seed: int) -> CellWeeks:
    """Cells whose traffic per user is the higher, and the more by day, the more their users come at night."""
    random = np.random.default_rng(seed)
    z = random.normal(0.0, 1.0, cells).clip(-2, 2)
    users = 0.2 * (1 + night().shapes[0][:, None] * z)
    rate = np.exp(slope * z) * (1 + night(-1.0).shapes[0][:, None] * 0.5 * z)
    return CellWeeks(users * rate, users, np.ones((SLOTS, cells), bool))


def test_users_answer_for_level_and_week_of_the_traffic_per_user_where_they_do():
    found = answer_of([town(0.2, 300, 0), town(0.2, 300, 1)], night(), night(-1.0))
    shrunk = 600 / (600 + SILENT_CELLS)
    assert found.expected[0, 0] == pytest.approx(0.2 * shrunk, rel=0.05)
    assert found.expected[1, 0] == pytest.approx(0.5 * shrunk, rel=0.15)  # levels are fitted beside
    assert np.abs(found.expected[2:]).max() < 0.02 and np.abs(found.expected[:, 1:]).max() < 0.02
    assert found.left[:2].tolist() == pytest.approx([0.2, 0.2])  # never less: what is left is never nothing


def test_few_cells_say_little_and_none_say_nothing():
    few = answer_of([town(0.2, 4, 0)], night(), night(-1.0))
    assert 0 < few.expected[0, 0] < 0.1
    for nothing in (answer_of([], night(), night()), answer_of([weeks_of(np.empty(0))], night(), night())):
        np.testing.assert_array_equal(nothing.stored, Answer.none().stored)


def test_what_regions_have_in_common_is_not_for_users_to_say():
    """One region's rates are three times the other's, and its users come at night: that is no regression of cells."""
    hours = night().shapes[0][:, None]
    regions = []
    for z, rate in ((1.0, 3.0), (-1.0, 1.0)):
        users = 0.2 * (1 + hours * z) * np.ones((1, 50))
        regions.append(CellWeeks(users * rate, users, np.ones((SLOTS, 50), bool)))
    assert abs(answer_of(regions, night(), night()).expected[0]).max() < 1e-3


def test_regions_of_another_step_do_not_count():
    half_hours = CellWeeks(*(np.repeat(part, 2, 0) for part in vars(town(0.2, 30, 0)).values()))
    np.testing.assert_array_equal(answer_of([half_hours], night(), night()).stored, Answer.none().stored)


def test_an_answer_comes_back_from_what_is_stored():
    answer = answer_of([town(0.2, 30, 0)], night(), night(-1.0))
    assert answer.stored.shape == (WEIGHTS, SHAPES + 1)
    found = Answer.restored(answer.stored)
    np.testing.assert_allclose(found.expected, answer.expected, rtol=1e-6)
    np.testing.assert_allclose(found.left, answer.left, rtol=1e-6)
