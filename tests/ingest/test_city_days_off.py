"""A city that grows knows its days off: of a country they are looked up as far as it reaches, of a table kept."""

from __future__ import annotations

import datetime
import json

import pytest
from operator_made import traffic_of, write_days, write_sites

import fomo
from fomo.city import CityError
from fomo.days_off import AHEAD_DAYS, DaysOff, DaysOffSource, public_holidays
from fomo.ingest.build import BuildConfig, append_city, build_city, report_of
from fomo.ingest.ledger import IngestError


@pytest.fixture
def config(tmp_path):
    write_days(tmp_path / "counters", traffic_of(3))
    return BuildConfig(
        counters=(tmp_path / "counters" / "2024-03-01.csv",), sites=write_sites(tmp_path), out=tmp_path / "city.zarr",
        cell_m=500.0,
    )  # fmt: skip


def told(config) -> DaysOff:
    return DaysOff.of(fomo.open_city(config.out).attrs)


def day_of(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text)


def test_each_day_that_comes_moves_the_holidays_that_are_known_ahead(config, tmp_path):
    begin = day_of("2024-03-01")
    build_city(BuildConfig(**{**vars(config), "days_off": "fi"}))
    assert told(config) == public_holidays("FI", begin, begin + datetime.timedelta(days=AHEAD_DAYS))
    report = append_city(config.out, (tmp_path / "counters",))
    assert report["days_off"] == {"where": "FI"}  # said once, kept
    assert told(config) == public_holidays("FI", begin, begin + datetime.timedelta(days=2 + AHEAD_DAYS))
    assert str(told(config).off[0]) == "2024-03-29"


def test_a_table_is_kept_whole_for_the_time_that_the_city_reaches_it(config, tmp_path):
    table = tmp_path / "days.csv"
    table.write_text("date,day\n2024-03-01,\n2024-03-02,worked\n2025-04-06,\n2026-01-01,\n")
    build_city(BuildConfig(**{**vars(config), "days_off": table}))
    assert told(config) == DaysOff((day_of("2024-03-01"),), (day_of("2024-03-02"),))
    table.unlink()
    append_city(config.out, (tmp_path / "counters",))
    assert told(config).off == (day_of("2024-03-01"), day_of("2025-04-06"))  # 401 days after the first
    assert report_of(config.out)["days_off"]["days_off"][-1] == "2026-01-01"


def test_a_city_that_is_there_can_be_told_later_and_otherwise(config, tmp_path):
    build_city(config)
    assert not told(config) and "days_off" not in fomo.open_city(config.out).attrs
    append_city(config.out, config.counters, days_off="IT")  # nothing new to read
    assert "2024-04-25" in map(str, told(config).off)
    build_city(BuildConfig(**{**vars(config), "days_off": "FI"}))  # goes on, and is no other city for it
    assert "2024-04-25" not in map(str, told(config).off) and "2024-12-06" in map(str, told(config).off)
    assert len(fomo.open_city(config.out)["time"]) == 24


@pytest.mark.parametrize(
    ("where", "message"),
    [("XX", "no public holidays are known of 'XX'"), ("none.csv", r"cannot read days off from none\.csv")],
)
def test_days_off_of_nowhere_are_refused_before_anything_is_made(config, where, message):
    with pytest.raises(CityError, match=message):
        build_city(BuildConfig(**{**vars(config), "days_off": where}))
    assert not config.out.exists()
    build_city(config)
    before = (config.out / "zarr.json").read_bytes()
    with pytest.raises(CityError, match=message):
        append_city(config.out, config.counters, days_off=where)
    assert (config.out / "zarr.json").read_bytes() == before


def test_a_source_comes_back_from_json(tmp_path):
    table = tmp_path / "days.csv"
    table.write_text("date,day\n2024-03-02,worked\n")
    for where in ("DE-BY", table):
        source = DaysOffSource.of(where)
        assert DaysOffSource.stored(json.loads(json.dumps(source.as_stored()))) == source


def test_days_off_are_not_kept_of_a_run_that_is_refused_for_its_rejects(config, tmp_path):
    other = tmp_path / "counters.txt"
    other.write_text("somebody's\n")
    with pytest.raises(IngestError, match="holds no rejected rows"):
        build_city(config, rejects=other)
    assert not config.out.exists()
    build_city(config)
    with pytest.raises(IngestError, match="holds no rejected rows"):
        append_city(config.out, config.counters, days_off="FI", rejects=other)
    assert not told(config)
    assert other.read_text() == "somebody's\n"
