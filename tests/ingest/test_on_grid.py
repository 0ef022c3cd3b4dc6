"""What is recorded and not on the grid is counted: a square is missing where one of its cells is."""

from __future__ import annotations

import numpy as np
import polars
import pytest
from operator_made import traffic_of, write_days, write_sites

import fomo
from fomo.app.service.city_building import report_lines
from fomo.ingest.build import BuildConfig, append_city, build_city
from fomo.ingest.on_grid import on_grid
from fomo.ingest.store import CityStore

DAYS = 10


@pytest.fixture
def asked(tmp_path):
    traffic = traffic_of(DAYS)
    paths = write_days(tmp_path / "counters", traffic)
    config = BuildConfig(
        counters=tuple(paths), sites=write_sites(tmp_path), out=tmp_path / "city.zarr", cell_m=500.0
    )  # fmt: skip
    return config, traffic, paths


def without(path, lost, column=None):
    """A file without rows, or with an empty column there."""
    frame = polars.read_csv(path)
    if column is None:
        frame.filter(~lost).write_csv(path)
    else:
        frame.with_columns(polars.when(~lost).then(column).alias(column)).write_csv(path)


def test_where_all_cells_report_all_is_on_the_grid(asked):
    config, traffic, _ = asked
    report = build_city(config)
    found = report["on_grid"]
    assert found.recorded == pytest.approx(traffic.sum() / 1e9, rel=1e-6) and found.unit == "GB"
    assert found.lost == 0 and (found.never, found.without_users, found.silent) == (0, 0, {})
    assert found.traffic == found.users == 1 and found.cells == 15
    lines = dict(report_lines(report))
    assert lines["not on the grid"].startswith("0.00% of what cells recorded (0 of ")
    covered = int(fomo.open_city(config.out)["covered"].values.sum())
    assert lines["known on the grid"] == f"traffic 100.0%, users 100.0% of the values of {covered} squares"
    assert on_grid(CityStore(config.out)) == found


def test_traffic_that_another_cell_keeps_off_the_grid_is_said_with_the_cells_that_are_silent(asked):
    """A fifth of the recorded traffic was lost without a word, where a cell had ended or had another name."""
    config, traffic, paths = asked
    for path in paths[1:]:
        without(path, polars.col("cell") == "S1-1")
    report = build_city(config)
    found, city = report["on_grid"], fomo.open_city(config.out)
    kept = np.ones(traffic.shape, bool)
    kept[24:, 3] = False
    assert found.recorded == pytest.approx(traffic[kept].sum() / 1e9, rel=1e-6)
    assert found.recorded - found.lost == pytest.approx(np.nansum(city["traffic"].values, dtype=float), rel=1e-6)
    assert 0.01 < found.lost / found.recorded < 0.9
    known = np.isfinite(city["traffic"].values[:, city["covered"].values])
    assert found.traffic == pytest.approx(known.mean()) and found.never == 0
    assert found.silent == {"S1-1": "2024-03-01"}
    lines = dict(report_lines(report))
    assert f"({found.lost:.3g} of" in lines["not on the grid"] and "S1-1 (last 2024-03-01)" in lines["silent cells"]


def test_squares_that_never_have_a_value_are_counted(asked):
    config, _, paths = asked
    for path in paths[1:]:
        without(path, polars.col("cell") == "S1-1")
    without(paths[0], polars.col("cell") == "S1-2")
    found = build_city(config)["on_grid"]
    city = fomo.open_city(config.out)
    never = city["covered"].values & np.isnan(city["traffic"].values).all(0)
    assert found.never == never.sum() > 0


def test_cells_without_users_are_counted_and_what_they_cost_on_the_grid(asked):
    """A seventh of the cells had no users and half of the users of the grid were not known: nobody said so."""
    config, _, paths = asked
    for path in paths:
        without(path, polars.col("cell").is_in(["S0-1", "S3-2"]), "users")
    report = build_city(config)
    found, city = report["on_grid"], fomo.open_city(config.out)
    assert found.without_users == 2 and found.traffic == 1
    assert found.users == pytest.approx(np.isfinite(city["users"].values[:, city["covered"].values]).mean())
    assert found.users < 1
    assert dict(report_lines(report))["cells without users"].startswith("2 of 15: ")


def test_an_append_says_it_of_the_whole_city(asked):
    config, traffic, paths = asked
    build_city(BuildConfig(**{**config.__dict__, "counters": tuple(paths[:2])}))
    found = append_city(config.out, paths[2:])["on_grid"]
    assert found.recorded == pytest.approx(traffic.sum() / 1e9, rel=1e-6)


def test_of_a_long_record_the_last_days_are_looked_at_and_said(asked):
    config, traffic, paths = asked
    for path in paths[1:]:
        without(path, polars.col("cell") == "S1-1")
    report = build_city(config)
    found = on_grid(CityStore(config.out), 1)
    kept = np.delete(traffic, 3, 1)[-24:]
    assert found.recorded == pytest.approx(kept.sum() / 1e9, rel=1e-6)
    assert (found.days, found.of_days) == (1, len(traffic) // 24)
    lines = dict(report_lines({**report, "on_grid": found}))
    assert f", the last 1 of {len(traffic) // 24} days" in lines["not on the grid"]


def test_what_is_not_trusted_is_not_counted_as_recorded(asked):
    config, traffic, paths = asked
    for path in paths:
        frame = polars.read_csv(path)
        frame.with_columns(reliability=polars.when(polars.col("cell") == "S2-1").then(polars.lit("suspect"))
                           .otherwise(polars.lit("Reliable"))).write_csv(path)  # fmt: skip
    found = build_city(config)["on_grid"]
    assert found.recorded == pytest.approx(np.delete(traffic, 6, 1).sum() / 1e9, rel=1e-6) and "S2-1" in found.silent
