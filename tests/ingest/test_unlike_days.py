"""A day in another unit is named: nothing else in its file tells."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import polars
import pytest
from operator_made import traffic_of, write_days, write_sites

from fomo.app.service.city_building import report_lines
from fomo.ingest.build import BuildConfig, append_city, build_city
from fomo.ingest.unlike_days import unlike_remark

DAYS = 10


@pytest.fixture
def asked(tmp_path):
    paths = write_days(tmp_path / "counters", traffic_of(DAYS))
    return BuildConfig(counters=tuple(paths), sites=write_sites(tmp_path), out=tmp_path / "city.zarr", cell_m=500.0)


def without(config, last):
    return BuildConfig(**{**config.__dict__, "counters": config.counters[:-last]})


def scaled(path, factor):
    polars.read_csv(path).with_columns((polars.col("dl_bytes") * factor).round()).write_csv(path)


@pytest.mark.parametrize("pool", [None, ThreadPoolExecutor])
@pytest.mark.parametrize(("factor", "says"), [(0.001, r"0\.00(1|09\d) of"), (1000, r"(9\d\d|1,0\d\d) times")])
def test_a_day_in_another_unit_is_remarked_at_an_append(asked, factor, says, pool):
    """A day in kB under a header of bytes was a thousandth of the others, and nobody said so."""
    build_city(without(asked, 1))
    scaled(asked.counters[-1], factor)
    if pool is None:
        report = append_city(asked.out, asked.counters[-1:])
    else:
        with pool(1) as threads:
            report = append_city(asked.out, asked.counters[-1:], submit=threads.submit)
    (remark,) = report["remarks"]
    assert re.fullmatch(
        rf"2024-03-10 carries {says} what days before it do: another unit, or files that lack cells\?", remark
    )
    assert ("remark", remark) in report_lines(report)


def test_at_a_build_each_day_after_the_first_week_is_looked_at(asked):
    scaled(asked.counters[2], 0.001)
    scaled(asked.counters[8], 0.001)
    (remark,) = build_city(asked)["remarks"]
    assert remark.startswith("2024-03-09 carries 0.00") and "2024-03-03" not in remark


def test_usual_days_are_not_remarked_nor_is_what_an_append_does_not_touch(asked):
    scaled(asked.counters[8], 0.001)
    assert "remarks" in build_city(without(asked, 1))
    assert "remarks" not in append_city(asked.out, asked.counters[-1:])


def test_part_of_a_day_is_measured_by_the_same_hours(asked):
    """Six hours of a quiet night are no tenth of a day."""
    for path in asked.counters:
        night = polars.col("time").str.slice(11, 2).cast(polars.Int64) < 6
        frame = polars.read_csv(path)
        frame.with_columns(polars.when(night).then(polars.col("dl_bytes") // 20).otherwise("dl_bytes")).write_csv(path)
    build_city(without(asked, 1))
    last = asked.counters[-1]
    polars.read_csv(last).filter(polars.col("time").str.slice(11, 2).cast(polars.Int64) < 6).write_csv(last)
    assert "remarks" not in append_city(asked.out, [last])


def test_next_to_nothing_is_not_compared(asked):
    build_city(without(asked, 1))
    last = asked.counters[-1]
    scaled(last, 0.001)
    polars.read_csv(last).head(20).write_csv(last)
    assert "remarks" not in append_city(asked.out, [last])


def test_of_many_days_the_first_are_named():
    days = {f"2024-03-{day}": 0.001 for day in range(10, 20)}
    assert unlike_remark(days) == (
        "2024-03-10 carries 0.001 of, 2024-03-11 carries 0.001 of, 2024-03-12 carries 0.001 of what days before it do "
        "(and 7 more such days): another unit, or files that lack cells?"
    )
    assert unlike_remark({}) == ""
