from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars
import pytest
from counts_made import counts
from hypothesis import given, settings
from hypothesis import strategies as st

from fomo.ingest.counts import COUNTS
from fomo.ingest.cube import Cube, Day, State
from fomo.ingest.ledger import IngestError, Ledger

DAY = np.datetime64("2024-03-01", "D")


def filled(rows, minutes=15, zone="", cells=("a", "b"), batches=1):
    cube = Cube(cells, minutes, zone, Ledger())
    table = counts(rows, minutes)
    for part in range(batches):
        some = table[part::batches]
        cube.ledger.taken += some.height
        cube.add(some, "file.csv")
    return cube


def test_rows_land_in_their_place_and_nothing_else_is_filled():
    cube = filled([("b", "2024-03-01T00:15", 2.0, 5.0), ("a", "2024-03-01T23:45", 3.0), ("a", "2024-03-02T00:00", 0.0)])
    day, after = cube.days[DAY], cube.days[DAY + 1]
    assert day.traffic[1, 1] == 2 and day.users[1, 1] == 5 and day.traffic[95, 0] == 3 and np.isnan(day.users[95, 0])
    assert after.traffic[0, 0] == 0  # measured zero
    assert np.isfinite(day.traffic).sum() == 2 and (day.state == State.RECORDED).sum() == 2
    assert (day.state[np.isnan(day.traffic)] == State.MISSING).all()


def test_a_suspect_value_is_kept_and_marked():
    cube = filled([("a", "2024-03-01T00:00", 2.0, 1.0, True)])
    assert cube.days[DAY].traffic[0, 0] == 2 and cube.days[DAY].state[0, 0] == State.SUSPECT


@pytest.mark.parametrize("batches", [1, 3])
def test_repeated_and_corrected_rows_are_counted_and_the_later_holds(batches):
    cube = Cube(("a", "b"), 15, "", Ledger())
    rows = [("a", "2024-03-01T00:00", 1.0), ("a", "2024-03-01T00:00", 1.0), ("a", "2024-03-01T00:00", 7.0)]
    table = counts([*rows, ("b", "2024-03-01T00:00", 4.0)])
    for part in np.array_split(np.arange(4), batches):
        cube.add(table[part.tolist()], "file.csv")
    assert cube.days[DAY].traffic[0, 0] == 7 and cube.days[DAY].traffic[0, 1] == 4
    noted = cube.ledger.noted
    assert noted["repeated rows"] + noted["corrected rows (the later counts)"] == 2


def test_a_row_without_a_value_takes_nothing_away():
    cube = filled([("a", "2024-03-01T00:00", 1.0), ("a", "2024-03-01T00:00", None)])
    assert cube.days[DAY].traffic[0, 0] == 1 and cube.ledger.noted["rows without a value"] == 1


@pytest.mark.parametrize("batches", [1, 2])
def test_counters_of_one_period_may_come_in_two_files(batches):
    cube = filled([("a", "2024-03-01T00:00", 1.0, None), ("a", "2024-03-01T00:00", None, 8.0)], batches=batches)
    day = cube.days[DAY]
    assert day.traffic[0, 0] == 1 and day.users[0, 0] == 8 and day.state[0, 0] == State.RECORDED
    assert not cube.ledger.noted


def test_cells_without_a_position_are_counted_by_name():
    cube = filled([("a", "2024-03-01T00:00", 1.0), ("x", "2024-03-01T00:00", 9.0), ("x", "2024-03-01T00:15", 9.0)])
    assert cube.unknown == {"x": 2} and cube.ledger.rejected == {"a cell that has no place in the city": 2}
    assert cube.ledger.taken == 1 and np.nansum(cube.days[DAY].traffic) == 1


def test_mixed_granularity_is_refused_or_counted():
    with pytest.raises(IngestError, match=r"hourly.csv has periods of 60 minutes, the city of 15: mixed granularity"):
        Cube(("a",), 15, "", Ledger()).add(counts([("a", "2024-03-01T00:00", 1.0)], 60), "hourly.csv")
    cube = Cube(("a",), 15, "", Ledger(taken=2))
    both = [counts([("a", "2024-03-01T00:00", 1.0)], minutes) for minutes in (15, 60)]
    cube.add(polars.concat(both), "both.csv")
    assert cube.ledger.rejected == {"granularity other than 15 min": 1} and cube.ledger.taken == 1


def test_a_period_at_an_odd_minute_is_no_period():
    cube = filled([("a", "2024-03-01T00:07", 1.0), ("a", "2024-03-01T00:15", 1.0)])
    assert cube.ledger.rejected == {"a period that does not begin at a multiple of 15 min": 1}
    assert np.nansum(cube.days[DAY].traffic) == 1


def test_an_hour_shown_twice_counts_with_its_mean_and_is_marked():
    rows = [("a", "2024-10-27T03:00", 2.0, 10.0), ("a", "2024-10-27T03:00", 4.0, 20.0), ("a", "2024-10-27T05:00", 9.0)]
    cube = filled(rows, zone="Europe/Helsinki", batches=2)
    day = cube.days[np.datetime64("2024-10-27", "D")]
    assert day.traffic[12, 0] == 3 and day.users[12, 0] == 15 and day.state[12, 0] == State.CLOCK_CHANGE
    assert day.traffic[20, 0] == 9 and day.state[20, 0] == State.RECORDED
    assert cube.ledger.noted["rows of an hour that the clock shows twice (their mean counts)"] == 2
    assert "repeated rows" not in cube.ledger.noted


def test_days_come_from_the_store_before_they_are_changed():
    stored = Day.empty(96, 1)
    stored.traffic[0, 0], stored.state[0, 0] = 5.0, State.RECORDED
    cube = Cube(("a",), 15, "", Ledger(), lambda date: stored if date == DAY else None)
    cube.add(counts([("a", "2024-03-01T00:15", 1.0)]), "late.csv")
    assert cube.days[DAY].traffic[:2, 0].tolist() == [5.0, 1.0] and cube.days[DAY].changed


@pytest.mark.parametrize("minutes", [7, 0, 1441])
def test_a_period_that_does_not_divide_a_day_is_refused(minutes):
    with pytest.raises(IngestError, match="does not divide a day"):
        Cube(("a",), minutes, "", Ledger())


row = st.tuples(
    st.sampled_from(["a", "b", "c", "stranger"]),
    st.integers(0, 3 * 24 - 1),
    st.one_of(st.none(), st.integers(0, 3)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(row, max_size=40), st.integers(1, 5))
def test_as_a_loop_over_rows_would_have_it(rows, batches):
    """The same by a dictionary, row by row, whatever the batches."""
    start = datetime(2024, 3, 1)
    table = polars.DataFrame(
        [(cell, start + timedelta(hours=hour), 60, None if value is None else float(value), None, False, None)
         for cell, hour, value in rows],
        schema=COUNTS, orient="row",
    )  # fmt: skip
    cube = Cube(("a", "b", "c"), 60, "", Ledger(taken=len(rows)))
    for part in np.array_split(np.arange(len(rows)), batches):
        cube.add(table[part.tolist()], "file")
    expected: dict[tuple[str, int], float] = {}
    repeated = corrected = empty = unknown = 0
    for cell, hour, value in rows:
        if cell == "stranger":
            unknown += 1
        elif value is None:
            empty += 1
        else:
            before = expected.get((cell, hour))
            repeated += before == value
            corrected += before is not None and before != value
            expected[cell, hour] = float(value)
    found = {
        (cell, 24 * int((date - DAY) / np.timedelta64(1, "D")) + hour): float(day.traffic[hour, code])
        for date, day in cube.days.items()
        for code, cell in enumerate("abc")
        for hour in range(24)
        if day.state[hour, code] != State.MISSING
    }
    assert found == expected
    noted = cube.ledger.noted
    assert noted["repeated rows"] + noted["corrected rows (the later counts)"] == repeated + corrected
    assert noted["rows without a value"] == empty and sum(cube.unknown.values()) == unknown
    assert cube.ledger.taken == len(rows) - unknown


def test_names_of_a_batch_are_looked_up_unless_they_are_those_of_the_batch_before():
    one, other = ["A", "B", "A", "C"], ["A", "C", "B", "C"]  # as long, with the same ends
    cube = Cube(("A", "B", "C"), 15, "", Ledger())
    for hour, names in enumerate((one, other, one, one)):
        minutes = (0, 0, 15, 15)
        begin = [datetime(2024, 3, 1, hour, minute) for minute in minutes]
        table = {
            "cell": names,
            "begin": begin,
            "minutes": 15,
            "traffic": [1.0, 2.0, 3.0, 4.0],
            "users": 0.0,
            "suspect": False,
            "second": None,
        }
        cube.add(polars.DataFrame(table, schema=COUNTS), "made")
        for name, minute, value in zip(names, minutes, (1.0, 2.0, 3.0, 4.0), strict=True):
            day = cube.day(np.datetime64("2024-03-01"))
            assert day.traffic[4 * hour + minute // 15, "ABC".index(name)] == value
    assert np.isfinite(cube.day(np.datetime64("2024-03-01")).traffic).sum() == 16
