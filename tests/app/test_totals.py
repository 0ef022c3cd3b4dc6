"""Sums and peaks of a forecast, against sums over the whole array of members."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fomo.app.service.outputs import forecast_frame, write_table
from fomo.app.service.totals import Totals, all_together, totals_frame, write_totals
from fomo.city import mock_city
from fomo.forecast import Forecast, make_forecast, quantiles_of
from fomo.units import total_unit
from small import Run


@pytest.fixture
def forecast() -> Forecast:
    """20 members of 6 steps of 2 x 3 cells; one cell is asked for at one step only, one not at all and not known."""
    city = mock_city(6, 2, 3)
    random = np.random.default_rng(0)
    members = random.gamma(2.0, 1.0, (20, 6, 2, 3)).astype(np.float32)
    asked = np.ones((6, 2, 3), bool)
    asked[1:, 0, 0] = False
    asked[:, 1, 2] = False
    members[:, 1:, 0, 0] = 100.0  # observed
    members[:, :, 1, 2] = np.nan
    return make_forecast(members, asked, city, forecaster="itself")


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_tables_of_text_keep_the_digits_of_small_and_large_amounts(forecast, unit, tmp_path):
    scaled = Forecast(forecast.dataset.assign(samples=forecast.samples * np.float32(unit)))
    found = pl.read_csv(write_table(scaled, tmp_path / "next.csv"), infer_schema_length=None)
    expected = forecast_frame(scaled)
    for name in ("mean", "q05", "q95"):
        np.testing.assert_allclose(found[name].to_numpy(), expected[name].to_numpy(), rtol=1e-6)


def test_totals_and_peaks_are_those_of_the_whole_array(forecast):
    totals = Totals.of(forecast)
    members = np.where(forecast.asked.values, forecast.samples.values, np.nan).astype(np.float64)
    known = totals.steps > 0
    np.testing.assert_array_equal(totals.steps, [[1, 6, 6], [6, 6, 0]])
    np.testing.assert_allclose(totals.total, np.nansum(members, 1), rtol=1e-6)
    np.testing.assert_allclose(totals.peak[:, known], np.nanmax(members[:, :, known], 1), rtol=1e-6)
    np.testing.assert_array_equal(totals.busiest[known], np.nanargmax(members.mean(0)[:, known], 0))
    np.testing.assert_allclose(totals.together, np.nansum(members, (2, 3)), rtol=1e-6)


def test_quantiles_of_a_sum_are_those_of_the_members_sums_not_sums_of_quantiles(forecast):
    frame = totals_frame(forecast, Totals.of(forecast))
    assert frame.height == 5
    line = frame.filter((pl.col("row") == 1) & (pl.col("col") == 0)).row(0, named=True)
    sums = forecast.samples.values[:, :, 1, 0].sum(1)
    assert line["total_q95"] == pytest.approx(quantiles_of(sums, 0.95), rel=1e-5)
    assert line["total_mean"] == pytest.approx(sums.mean(), rel=1e-5)
    assert line["total_q95"] < float(quantiles_of(forecast.samples.values[:, :, 1, 0], 0.95).sum())
    assert line["peak_q50"] == pytest.approx(np.quantile(forecast.samples.values[:, :, 1, 0].max(1), 0.5), rel=1e-5)
    assert line["steps"] == 6
    assert np.datetime64(line["busiest"]) in forecast.dataset["time"].values


def test_the_line_says_the_sum_of_all_and_the_busiest_step(forecast):
    said = all_together(forecast, Totals.of(forecast))
    members = np.where(forecast.asked.values, forecast.samples.values, 0.0)
    assert f"all together {members.sum((1, 2, 3)).mean():.4g} (" in said
    step = members.sum((2, 3)).mean(0).argmax()
    assert np.datetime_as_string(forecast.dataset["time"].values[step], unit="m") in said


def test_a_sum_over_hours_is_no_rate_and_a_peak_is_one(forecast):
    """A total of 3,653 GB stood in the column of 'GB per 15 min', beside a peak of 83 that is."""
    attrs = forecast.dataset.attrs | {"unit": "GB per 60 min", "step_minutes": 60}
    named = Forecast(forecast.dataset.assign_attrs(attrs))
    said = all_together(named, Totals.of(named))
    assert ") GB, most at " in said and said.endswith(") GB per 60 min")
    frame = totals_frame(named, Totals.of(named))
    assert frame["total_unit"].unique().to_list() == ["GB"] and frame["unit"].unique().to_list() == ["GB per 60 min"]
    nameless = Forecast(forecast.dataset.assign_attrs(attrs | {"unit": ""}))
    assert all_together(nameless, Totals.of(nameless)).count("(unit not stated)") == 2


@pytest.mark.parametrize(
    ("unit", "minutes", "total"),
    [
        ("GB per 15 min", 15, "GB"),
        ("GB per hour", 60, "GB"),
        ("GB per 1 h", 60, "GB"),
        ("bytes per period", 5, "bytes"),
        ("internet activity per period (proportional to volume)", 10, "internet activity (proportional to volume)"),
        ("GB per hour", 15, "GB per hour x 15 min"),
        ("Mbit/s", 15, "Mbit/s x 15 min"),
        ("GB/h", 60, "GB"),
        ("GB / h", 15, "GB / h x 15 min"),
        ("GB Per Hour", 60, "GB"),
        ("GB per quarter hour", 15, "GB"),
        ("GB per 900 s", 15, "GB"),
        ("Mbit/s x 15 min per 60 min", 60, "Mbit/s x 15 min"),
        ("GB per shift, summed over 60 min", 60, "GB per shift, summed"),
        ("MB", 15, "MB"),
        ("", 15, ""),
    ],
)
def test_the_period_goes_out_of_the_unit_of_a_total_and_other_rates_stay(unit, minutes, total):
    assert total_unit(unit, minutes) == total


def test_large_numbers_are_written_out(forecast):
    large = Forecast(forecast.dataset.assign(traffic=forecast.samples * 54_321))
    said = all_together(large, Totals.of(large))
    mean = float(np.where(large.asked.values, large.samples.values, 0.0).astype(np.float64).sum((1, 2, 3)).mean())
    assert f"{round(mean, -3):,.0f} (" in said
    assert "e+" not in said


def test_a_table_of_totals_is_written_beside_a_forecast(
    run: Run, city_folder: Path, weights: Path, tmp_path: Path
) -> None:
    out, table = tmp_path / "f.zarr", tmp_path / "totals.csv"
    asked = ("forecast", city_folder, "--weights", weights, "--horizon", 12, "--samples", 6, "--out", out)
    said = run(*asked, "--totals", table)
    assert said.code == 0, said.err
    assert "all together" in said.out
    frame, members = pl.read_csv(table, try_parse_dates=True), Forecast.open(out).samples.values
    assert frame.height == 4 * 5
    np.testing.assert_allclose(frame["total_mean"].to_numpy(), members.sum(1).mean(0).ravel(), rtol=1e-4)
    assert run(*asked, "--totals", tmp_path / "totals.txt").code == 2


def test_parquet_holds_the_same_as_csv(forecast, tmp_path):
    names = [write_totals(forecast, tmp_path / f"t{suffix}") for suffix in (".csv", ".parquet")]
    csv, parquet = pl.read_csv(names[0], try_parse_dates=True), pl.read_parquet(names[1])
    assert csv.columns == parquet.columns
    np.testing.assert_allclose(csv["peak_q95"].to_numpy(), parquet["peak_q95"].to_numpy(), rtol=1e-5)
