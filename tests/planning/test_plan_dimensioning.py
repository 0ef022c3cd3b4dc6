"""How large radio units are: all of them carry the busy hour, with something to spare."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fomo.planning.dimensioning import dimension, dimension_recorded
from fomo.planning.energy import EnergyModel
from fomo.planning.load import Load, PlanError
from fomo.planning.sleep import SleepParameters, always_on, play_sleep


def make_load(members: np.ndarray, step_minutes: int = 60) -> Load:
    """A load of cells in a row."""
    _, steps, cells = members.shape
    places = np.stack([np.zeros(cells, int), np.arange(cells)], -1)
    time = np.datetime64("2024-01-01T00:00", "ns") + np.arange(steps) * np.timedelta64(step_minutes, "m")
    return Load(members.astype(np.float64), time, places, places.astype(np.float64), step_minutes, "GB")


def measured(seed: int = 0, steps: int = 168, cells: int = 5) -> Load:
    """One member of random traffic."""
    return make_load(np.random.default_rng(seed).lognormal(0, 1, (1, steps, cells)))


def test_all_units_carry_the_busy_hour_and_the_headroom():
    history = measured()
    ordered = np.sort(history.members[0], axis=0)
    place = 0.999 * 167  # between the two highest of 168 hours
    busy = ordered[166] + (place - 166) * (ordered[167] - ordered[166])
    assert dimension(history, rrus=6, headroom=0.25) * 6 == pytest.approx(1.25 * busy)


def test_the_share_of_hours_above_the_busy_hour_is_the_one_asked():
    history = measured(1, steps=1001)
    held = dimension(history, rrus=8, busy=0.95, headroom=0.0) * 8
    assert (history.members[0] > held * (1 + 1e-12)).sum(0).tolist() == [50] * 5


@given(st.integers(1, 12), st.integers(0, 5))
def test_always_on_loses_nothing_of_the_history_it_was_made_for(rrus, seed):
    history = measured(seed, steps=30)
    capacity = dimension(history, rrus=rrus, busy=1.0, headroom=0.0)
    parameters = SleepParameters(rrus=rrus)
    outcome = play_sleep(always_on(history, parameters), history, capacity, parameters, EnergyModel())
    assert outcome.overloaded_share == 0
    assert outcome.lost.sum() == pytest.approx(0, abs=1e-9)


def test_a_cell_without_load_gets_the_smallest_capacity_of_the_others():
    history = measured(2)
    history.members[:, :, 3] = 0
    history.members[:, 7, 4] = 50.0
    capacity = dimension(history)
    assert capacity[3] == np.delete(capacity, 3).min() > 0


def test_a_record_with_gaps_is_dimensioned_by_what_each_cell_recorded():
    history = measured(3)
    record = history.members[0].copy()
    record[::3, 1] = np.nan
    record[5:100, 4] = np.nan
    capacity = dimension_recorded(record)
    for cell in range(5):
        seen = record[np.isfinite(record[:, cell]), cell]
        assert capacity[cell] == dimension(make_load(seen[None, :, None]))[0]
    np.testing.assert_array_equal(capacity[[0, 2, 3]], dimension(history)[[0, 2, 3]])  # to the digit
    record[:, 2] = np.nan
    with pytest.raises(PlanError, match="1 of 5 cells were never recorded, the first is cell 2"):
        dimension_recorded(record)


def test_a_city_without_load_is_refused():
    with pytest.raises(PlanError, match="none of the 2 cells has a busy hour with load in 24 periods"):
        dimension(make_load(np.zeros((1, 24, 2))))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"rrus": 0}, "0 radio units"),
        ({"busy": 0.0}, "busy is 0"),
        ({"busy": 1.5}, "busy is 1.5"),
        ({"headroom": -0.1}, "headroom is -0.1"),
    ],
)
def test_parameters_out_of_range_are_refused(options, told):
    with pytest.raises(PlanError, match=told):
        dimension(measured(), **options)
