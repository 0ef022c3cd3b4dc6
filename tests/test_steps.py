"""Steps of cells: told where they are regular, and no more where rows are left out."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars
import pytest

from fomo.steps import agreed_step, coarse_cells

START = datetime(2024, 3, 1)


def rows(**cells) -> polars.DataFrame:
    """Times of cells in minutes, in their order."""
    pairs = sorted((minute, cell) for cell, minutes in cells.items() for minute in minutes)
    begins = [START + timedelta(minutes=int(minute)) for minute, _ in pairs]
    return polars.DataFrame({"cell": [cell for _, cell in pairs], "begin": begins})


QUARTERS, HOURS = range(0, 1440, 15), range(0, 1440, 60)


@pytest.mark.parametrize("first", [0, 15, 30])
@pytest.mark.parametrize("step", [30, 45, 60])
def test_a_regular_cell_of_a_longer_step_is_found_at_any_minute(first, step):
    found = coarse_cells(rows(a=QUARTERS, b=QUARTERS, c=range(first, 1440, step)), 15)
    assert found == {"c": step}


def test_hours_that_are_missing_do_not_hide_a_step():
    assert coarse_cells(rows(a=QUARTERS, c=[minute for minute in HOURS if minute != 600]), 15) == {"c": 60}


@pytest.mark.parametrize("part", [0.05, 0.2, 0.5, 0.9])
def test_cells_that_leave_out_rows_are_not_taken_for_hourly_ones(part):
    random = np.random.default_rng(0)
    cells = {f"c{number}": [minute for minute in QUARTERS if random.random() < part] for number in range(2000)}
    assert coarse_cells(rows(**cells), 15) == {} and agreed_step(rows(**cells)) == 0


def test_a_cell_that_came_at_two_hours_alone_says_nothing():
    assert coarse_cells(rows(a=QUARTERS, b=[0, 60], c=[0, 60, 120]), 15) == {}
    assert coarse_cells(rows().cast({"begin": polars.Datetime("us"), "cell": polars.String}), 15) == {}


def test_times_at_which_all_cells_are_there_need_no_closer_look(monkeypatch):
    monkeypatch.setattr("fomo.steps._gaps", None)
    assert coarse_cells(rows(a=QUARTERS, b=QUARTERS), 15) == {}


@pytest.mark.parametrize("minutes", [15, 30])
def test_cells_that_are_all_of_a_longer_step_are_found(minutes):
    """Each time had as many cells, which was taken to say that all of them have the step asked for."""
    assert coarse_cells(rows(a=HOURS, b=HOURS), minutes) == {"a": 60, "b": 60}
    assert coarse_cells(rows(a=HOURS, b=HOURS), 60) == {}


def test_all_cells_agree_on_a_step_or_there_is_none():
    assert agreed_step(rows(a=[0, 60, 120], b=[0, 60, 120])) == 60
    assert agreed_step(rows(a=[0, 60, 120], b=[0, 60, 180])) == 0
    assert agreed_step(rows(a=[0, 60, 120])) == 0 and agreed_step(rows(a=[0, 60, 120, 180])) == 60
    assert agreed_step(rows(a=[0], b=[60], c=[120], d=[180])) == 0  # late rows of several cells
    assert agreed_step(rows(a=[0, 60], b=[0, 60], c=[0, 60])) == 0
