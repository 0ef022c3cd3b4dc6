"""From the days of a site list to what `fomo forecast`, `fill`, `verify` and `city export` leave out."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import polars
import pytest

import fomo
from fomo.city import City, in_service
from fomo.forecast import Forecast
from small import Run

sys.path.append(str(Path(__file__).parents[1] / "ingest"))
from operator_made import traffic_of, write_days, write_sites

DAYS = 5


@pytest.fixture
def built(tmp_path: Path, run: Run) -> Path:
    """A city of which all of site S4 ends after the sixth day, one beyond the record, and S0 after the second."""
    paths, cell = write_days(tmp_path / "counters", traffic_of(DAYS)), polars.col("cell")
    for path in paths[2:]:
        polars.read_csv(path).filter(~cell.str.starts_with("S0")).write_csv(path)
    sites = polars.read_csv(write_sites(tmp_path))
    to = polars.when(cell.str.starts_with("S4")).then(polars.lit("2024-03-06"))
    to = to.when(cell.str.starts_with("S0")).then(polars.lit("2024-03-02"))
    sites.with_columns(to=to).write_csv(tmp_path / "sites.csv")
    out = tmp_path / "city.zarr"
    said = run(
        "city", "build", "--counters", tmp_path / "counters", "--sites", tmp_path / "sites.csv", "--out", out,
        "--cell-km", 0.5, "--time-zone", "Europe/Helsinki",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert "traffic 100.0%, users 100.0% of the values" in said.out
    return out


def of_days(city: City, day: str) -> np.ndarray:
    """Squares whose last day this is."""
    return np.asarray(city["last_served"].values == np.datetime64(day))


def test_a_forecast_of_an_operators_city_ends_with_its_cells(
    built: Path, weights: Path, run: Run, tmp_path: Path
) -> None:
    """Squares all of whose cells had ended were forecast, and what they were to carry was in no cell's row."""
    city, out = fomo.open_city(built), tmp_path / "next.zarr"
    ended, ends = (of_days(city, day) for day in ("2024-03-02", "2024-03-06"))
    assert ended.any() and ends.any()
    table, totals, figure = (tmp_path / name for name in ("f.csv", "t.csv", "f.png"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        said = run(
            "forecast", built, "--weights", weights, "--horizon", 48, "--samples", 4, "--out", out,
            "--csv", table, "--totals", totals, "--figure", figure,
        )  # fmt: skip
    assert said.code == 0, said.err
    assert f"out of service, left out: {ended.sum()} squares at all steps, {ends.sum()} from a day on" in said.out
    asked = Forecast.open(out).asked.values
    assert not asked[:, ended].any() and asked[:24, ends].all() and not asked[24:, ends].any()
    assert asked[:, city["covered"].values & ~ended & ~ends].all()
    frame = polars.read_csv(table)
    assert frame.height == asked.sum() and not frame["mean"].is_null().any()
    steps = polars.read_csv(totals)
    assert steps.height == city["covered"].values.sum() - ended.sum()
    assert set(steps["steps"]) == {24, 48} and not steps["total_mean"].is_null().any()
    exported = run("city", "export", built, "--forecast", out, "--kind", "cells", "--out", tmp_path / "next.csv")
    assert exported.code == 0 and "in no cell's row" not in exported.err
    cells = polars.read_csv(tmp_path / "next.csv").group_by("cell").agg(polars.col("traffic").sum())
    whole = np.nansum(Forecast.open(out).mean.values, dtype=float)
    assert cells["traffic"].sum() == pytest.approx(whole, rel=1e-4)
    assert (cells.filter(polars.col("cell").str.starts_with("S0"))["traffic"] == 0).all()


def test_where_all_have_ended_a_forecast_is_refused_with_the_reason(
    built: Path, weights: Path, run: Run, tmp_path: Path
) -> None:
    city = fomo.open_city(built)
    ended = np.full(city["covered"].shape, city["time"].values[-1].astype("datetime64[D]"), "datetime64[ns]")
    fomo.save_city(city.assign(last_served=(("y", "x"), ended)), tmp_path / "ended.zarr")
    said = run("forecast", tmp_path / "ended.zarr", "--weights", weights, "--out", tmp_path / "next.zarr")
    assert said.code == 2 and not (tmp_path / "next.zarr").exists()
    assert "no square of 'city' is in service from 2024-03-06T00:00 to 2024-03-06T15:00" in said.err
    assert "ended, the last on 2024-03-05" in said.err


def test_fill_says_what_it_leaves_empty(built: Path, weights: Path, run: Run, tmp_path: Path) -> None:
    """Squares were filled after their last day."""
    city = fomo.open_city(built)
    traffic = city["traffic"].values.copy()
    gap = (slice(30, 33), *np.argwhere(city["covered"].values & ~of_days(city, "2024-03-02"))[0])
    traffic[gap] = np.nan
    saved = fomo.save_city(city.assign(traffic=(city["traffic"].dims, traffic)), tmp_path / "gap.zarr")
    said = run("fill", saved, "--weights", weights, "--samples", 2, "--out", tmp_path / "filled.zarr")
    assert said.code == 0, said.err
    ended = of_days(city, "2024-03-02").sum()
    assert f"out of service, left out: {3 * 24 * ended:,} values of {ended} squares\n" in said.out
    found = Forecast.open(tmp_path / "filled.zarr")
    assert found.asked.values.sum() == 3
    known = np.isfinite(found.samples.values).all(0)
    np.testing.assert_array_equal(known, in_service(city) & city["covered"].values)
