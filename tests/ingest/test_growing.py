"""Counters that only grow: small steps of large readings, and days on which clocks change."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars
import pytest
import zarr
from zarr.codecs import BloscCodec

from fomo.ingest.build import BuildConfig, append_city, build_city
from fomo.ingest.cube import Day, State
from fomo.ingest.growing import differences, readings
from fomo.ingest.mapping import Mapping
from fomo.ingest.pouring import COARSE
from fomo.ingest.shown_twice import Twice
from fomo.ingest.store import CityStore

MAPPING = {"traffic": {"counters": {"octets": 1e-9}, "unit": "GB", "cumulative": True}, "time": {"zone": "Europe/Rome"}}


def config(tmp_path: Path, start: datetime, steps: np.ndarray, minutes: int, first: float = 0.0) -> BuildConfig:
    """A file a day of three counters that grow by these steps (octets), at instants since `start` in UTC."""
    sites = tmp_path / "sites.csv"
    sites.write_text("cell,lon,lat\nA,9.0,45.4\nB,9.02,45.4\nC,9.0,45.42\n", encoding="utf-8")
    times = [start + timedelta(minutes=minutes * number) for number in range(len(steps))]
    texts = [f"{time:%Y-%m-%dT%H:%M:%S}Z" for time in times]
    value = (first + np.cumsum(steps)).astype(np.int64)
    frame = polars.concat(polars.DataFrame({"cell": cell, "time": texts, "octets": value}) for cell in "ABC")
    files = []
    for (day,), part in frame.sort("time", "cell").group_by(frame.sort("time", "cell")["time"].str.head(10)):
        files.append(tmp_path / f"{day}.csv")
        part.write_csv(files[-1])
    mapping = Mapping.model_validate({**MAPPING, "time": {"zone": "Europe/Rome", "minutes": minutes}})
    return BuildConfig(counters=tuple(sorted(files)), sites=sites, out=tmp_path / "city.zarr", mapping=mapping)


def test_small_steps_of_a_counter_that_stands_at_forty_terabytes_are_kept(tmp_path):
    """In seven digits they came out as 0.0, 0.0039, 0.0039, 0.0 GB."""
    steps = np.random.default_rng(0).integers(2_000_000, 4_000_000, 192)
    asked = config(tmp_path, datetime(2024, 5, 5, 22), steps, 15, 40e12)
    build_city(replace(asked, counters=asked.counters[:1]))
    append_city(asked.out, asked.counters[1:])
    found = CityStore(asked.out).cells()["traffic"].values
    np.testing.assert_allclose(found[1:], np.repeat(steps[1:, None] * 1e-9, 3, 1), rtol=1e-5)


@pytest.mark.parametrize("minutes", [60, 15])
@pytest.mark.parametrize("start", [datetime(2024, 10, 26), datetime(2024, 3, 30)])
def test_a_steady_counter_is_steady_across_a_change_of_clocks(tmp_path, start, minutes):
    """In autumn 02:00 and 03:00 were 15 for 10, as readings were averaged; in spring 03:00 was missing."""
    asked = config(tmp_path, start, np.full(72 * 60 // minutes, 10_000_000), minutes)
    build_city(asked)
    cells = CityStore(asked.out).cells()
    found, state = cells["traffic"].values, cells["state"].values
    last = int(np.flatnonzero(np.isfinite(found).any(1))[-1])
    first = int(np.flatnonzero(np.isfinite(found).any(1))[0])
    never = (state == State.CLOCK_CHANGE) & np.isnan(found)
    np.testing.assert_allclose(found[first : last + 1][~never[first : last + 1]], 0.01, rtol=1e-5)
    assert never.sum() == (3 * 60 // minutes if start.month == 3 else 0)
    assert (state == State.CLOCK_CHANGE).sum() == 3 * 60 // minutes


def test_differences_follow_real_time_and_both_of_an_hour_count_with_their_mean():
    day = Day.empty(5, 1, np.float64)
    day.traffic[:, 0] = [1, 3, np.nan, 40, 100]
    twice, none = np.array([False, False, True, False, False]), np.zeros(5, bool)
    day.twice = Twice(np.array([[[7.0]], [[19.0]]]), np.full((2, 1, 1), np.nan), np.zeros((2, 1, 1), bool))
    assert readings(day, (twice, none))[0][:, 0].tolist() == [1, 3, 7, 19, 40, 100]
    grown, reset = differences(day, np.zeros(1), (twice, none))
    assert grown[:, 0].tolist() == [1, 2, (4 + 12) / 2, 21, 60] and not reset.any()
    day.twice.traffic[1] = 6  # the counter began anew within the hour
    grown, reset = differences(day, np.zeros(1), (twice, none))
    assert np.isnan(grown[2, 0]) and reset[:, 0].tolist() == [False, False, True, False, False] and grown[3, 0] == 34
    grown, _ = differences(day, np.zeros(1), (none, twice))
    assert np.isnan(grown[2, 0]) and grown[3, 0] == 37


def test_a_city_that_keeps_seven_digits_grows_on_and_says_so(tmp_path):
    """As it was built before: its readings are an array of float32."""
    asked = config(tmp_path, datetime(2024, 5, 5, 22), np.full(192, 3_000_000), 15, 1e9)
    build_city(replace(asked, counters=asked.counters[:1]))
    path = asked.out / "cells/counter"
    values = np.asarray(zarr.open_array(str(path), mode="r")[...])
    array = zarr.create_array(
        str(path), shape=values.shape, chunks=(96, 3), dtype="float32", fill_value=np.nan, overwrite=True,
        dimension_names=("time", "cell"),
        compressors=BloscCodec(cname="lz4", clevel=3, shuffle="shuffle", typesize=4),
    )  # fmt: skip
    array[...] = values
    root = json.loads((asked.out / "zarr.json").read_text(encoding="utf-8"))
    root["consolidated_metadata"]["metadata"]["cells/counter"] = json.loads((path / "zarr.json").read_text())
    (asked.out / "zarr.json").write_text(json.dumps(root), encoding="utf-8")
    report = append_city(asked.out, asked.counters[1:])
    assert report["noted"][COARSE] == report["taken"] - 8 * 3 > 0
    found = CityStore(asked.out).cells()["traffic"].values
    np.testing.assert_allclose(found[1:], 0.003, atol=1e-6)


@pytest.mark.parametrize("trust", [False, True])
def test_a_reading_that_its_file_doubts_spoils_the_periods_before_and_after_it_alone(tmp_path, trust):
    """The period after a doubted 0 had all that the counter had ever counted, as recorded, and the doubt was lost."""
    asked = config(tmp_path, datetime(2024, 5, 4, 22), np.full(48, 100), 60, 1e12)
    frame = polars.read_csv(asked.counters[1])  # from 2 o'clock on in Rome; the second is the last of a day
    bad = (polars.col("cell") == "A") & (polars.int_range(polars.len()) // 3).is_in([10, 21])
    value = polars.when(bad).then(0).otherwise("octets")
    frame.with_columns(value.alias("octets"), reliability=~bad).write_csv(asked.counters[1])
    build_city(replace(asked, trust_suspect=trust))
    cells = CityStore(asked.out).cells()
    found = cells["traffic"].sel(cell="A").values
    doubted = np.flatnonzero(cells["state"].sel(cell="A").values == State.SUSPECT)
    if trust:
        assert np.nanmax(found) > 100
        return
    missing = np.flatnonzero(~np.isfinite(found))
    assert missing.tolist() == sorted({0, *doubted, *(doubted + 1)}) and len(doubted) == 2
    np.testing.assert_allclose(found[np.isfinite(found)], 1e-7, rtol=1e-5)
