"""Beginnings of periods on days on which clocks change, told by either end, in UTC and on the wall."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars
import pytest

from fomo.ingest.clock import on_the_wall
from fomo.ingest.formats import lines
from fomo.ingest.formats.pm_xml import read_pm_xml
from fomo.ingest.formats.table import read_table_counts
from fomo.ingest.ledger import Ledger
from fomo.ingest.mapping import Mapping

ROME = ZoneInfo("Europe/Rome")
AUTUMN, SPRING = datetime(2024, 10, 26, 12), datetime(2024, 3, 30, 12)  # UTC, half a day before the change


def true_rows(start, minutes, zone=ROME, hours=36):
    """Cell, beginning on the wall, whether the clock shows it again, and what was carried: periods since `start`."""
    found = []
    for number in range(hours * 60 // minutes):
        begin = (start + timedelta(minutes=minutes * number)).replace(tzinfo=UTC).astimezone(zone)
        found += [(cell, begin.replace(tzinfo=None, fold=0), bool(begin.fold), number + 1.0) for cell in "ab"]
    return found


def table_of(start, minutes, marks, instants, hours=36, zone=ROME):
    """The same as a table, with times as UTC or as the wall shows them."""
    text = ["cell,time,bytes"]
    for number in range(hours * 60 // minutes):
        moment = start + timedelta(minutes=minutes * (number + (marks == "end")))
        wall = moment.replace(tzinfo=UTC).astimezone(zone)
        written = f"{moment:%Y-%m-%dT%H:%M:%S}Z" if instants else f"{wall:%Y-%m-%dT%H:%M:%S}"
        text += [f"{cell},{written},{number + 1}" for cell in "ab"]
    return "\n".join(text) + "\n"


def read(path, marks, zone="Europe/Rome", minutes=0):
    given = {"traffic": {"counters": {"bytes": 1.0}}, "time": {"zone": zone, "marks": marks, "minutes": minutes}}
    return polars.concat(read_table_counts(path, Mapping.model_validate(given), Ledger()))


@pytest.mark.parametrize("minutes", [60, 15])
@pytest.mark.parametrize("instants", [True, False])
@pytest.mark.parametrize("start", [AUTUMN, SPRING])
def test_ends_of_periods_begin_where_they_do_in_real_time(written, start, instants, minutes):
    """The period was taken off on the wall: in autumn an hour was overwritten, in spring one moved to one never was."""
    path = written(table_of(start, minutes, "end", instants), "end.csv")
    found = read(path, "end", minutes=minutes)
    assert found.select("cell", "begin", "second", "traffic").rows() == true_rows(start, minutes)


def test_which_of_two_hours_an_instant_is_of_is_known_and_of_a_wall_clock_it_is_not(written):
    at = read(written(table_of(AUTUMN, 60, "begin", True), "utc.csv"), "begin")
    assert at.select("cell", "begin", "second", "traffic").rows() == true_rows(AUTUMN, 60)
    wall = read(written(table_of(AUTUMN, 60, "begin", False), "wall.csv"), "begin")
    assert wall["begin"].equals(at["begin"]) and wall["second"].null_count() == wall.height


def test_the_order_of_ends_counts_across_the_blocks_of_a_text(written, monkeypatch):
    path = written(table_of(AUTUMN, 15, "end", False), "end.csv")
    monkeypatch.setattr(lines, "BLOCK", 64)
    monkeypatch.setattr("fomo.ingest.formats.table.SEVERAL", 1)
    found = read(path, "end", minutes=15)
    assert found.select("cell", "begin", "second", "traffic").rows() == true_rows(AUTUMN, 15)


def test_a_change_by_half_an_hour_and_one_at_midnight_are_no_other(written):
    for name, start in (("Australia/Lord_Howe", datetime(2024, 4, 6, 3)), ("Africa/Cairo", datetime(2024, 10, 31, 9))):
        zone = ZoneInfo(name)
        for instants in (True, False):
            found = read(written(table_of(start, 30, "end", instants, zone=zone), "end.csv"), "end", name, 30)
            assert found.select("cell", "begin", "second", "traffic").rows() == true_rows(start, 30, zone)


def test_times_that_are_no_times_of_counters_do_not_matter(written):
    rows = table_of(AUTUMN, 60, "end", True).replace("2024-10-26T14:00:00Z,2\nb", "1001-01-01T00:00:00Z,2\nb")
    found = read(written(rows, "odd.csv"), "end")
    true = true_rows(AUTUMN, 60)
    assert found.select("cell", "begin", "second", "traffic").rows() == [*true[:2], *true[3:]]


def test_instants_are_on_the_wall_as_zoneinfo_has_it():
    moments = [
        datetime(2024, month, 1) + timedelta(minutes=17 * step) for month in range(1, 13) for step in range(2500)
    ]
    instants = polars.Series(moments, dtype=polars.Datetime("us")).dt.replace_time_zone("UTC")
    for zone in ("Europe/Rome", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"):
        wall, second = on_the_wall(instants, zone)
        shown = [moment.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)) for moment in moments]
        assert wall.to_list() == [moment.replace(tzinfo=None, fold=0) for moment in shown]
        assert second.to_list() == [bool(moment.fold) for moment in shown]


def test_measurement_files_tell_the_second_of_two_hours(written):
    text = (
        '<measCollecFile><measData><measInfo><granPeriod duration="PT3600S" endTime="2024-10-27T0{}:00:00Z"/>'
        '<measType p="1">bytes</measType><measValue measObjLdn="a"><r p="1">5</r></measValue></measInfo></measData>'
        "</measCollecFile>"
    )
    mapping = Mapping.model_validate({"traffic": {"counters": {"bytes": 1.0}}, "time": {"zone": "Europe/Rome"}})
    for hour, second in ((1, False), (2, True)):
        (found,) = read_pm_xml(written(text.format(hour)), mapping, Ledger())
        assert found.select("begin", "second").rows() == [(datetime(2024, 10, 27, 2), second)]
