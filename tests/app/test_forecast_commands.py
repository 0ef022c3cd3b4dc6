"""`fomo forecast | generate | fill`, and the tables and figures they write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

import fomo
from fomo.app.service.outputs import Outputs, with_history
from fomo.forecast import Forecast, mock_forecast
from small import Run


def test_forecast_writes_members_table_and_figure(run: Run, city_folder: Path, weights: Path, tmp_path: Path) -> None:
    out, table, figure = tmp_path / "f.zarr", tmp_path / "f.csv", tmp_path / "f.png"
    asked = ("forecast", city_folder, "--weights", weights, "--horizon", 12, "--samples", 6)
    said = run(*asked, "--out", out, "--csv", table, "--figure", figure)
    assert said.code == 0, said.err
    forecast = Forecast.open(out)
    assert forecast.samples.shape == (6, 12, 4, 5)
    assert forecast.attrs["weights"] == "random" and forecast.attrs["context"] == "none"
    assert figure.read_bytes()[:4] == b"\x89PNG"

    frame = pl.read_csv(table, try_parse_dates=True)
    assert frame.columns == ["time", "row", "col", "y", "x", "mean", "q05", "q25", "q50", "q75", "q95", "unit"]
    assert frame.height == 12 * 4 * 5
    line = frame.filter((pl.col("row") == 3) & (pl.col("col") == 1)).row(7, named=True)
    members = forecast.samples.values[:, 7, 3, 1]
    np.testing.assert_allclose(line["mean"], members.mean(), rtol=1e-4)
    np.testing.assert_allclose(line["q95"], np.quantile(members, 0.95), rtol=1e-4)
    assert line["unit"] == "GB per period"
    assert np.datetime64(line["time"]) == forecast.dataset["time"].values[7]


def test_the_same_seed_gives_the_same_members(run: Run, city_folder: Path, weights: Path, tmp_path: Path) -> None:
    asked = ("forecast", city_folder, "--weights", weights, "--samples", 4, "--horizon", 5)
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert run(*asked, "--seed", seed, "--out", tmp_path / f"{name}.zarr").code == 0
    a, b, c = (Forecast.open(tmp_path / f"{name}.zarr").samples.values for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_a_forecast_replaces_an_older_one(run: Run, city_folder: Path, weights: Path, tmp_path: Path) -> None:
    asked = ("forecast", city_folder, "--weights", weights, "--samples", 2, "--out", tmp_path / "f.zarr")
    assert run(*asked, "--horizon", 5).code == run(*asked, "--horizon", 7).code == 0
    assert Forecast.open(tmp_path / "f.zarr").samples.sizes["time"] == 7


def test_one_city_of_a_file_with_several(run: Run, data: Path, weights: Path, tmp_path: Path) -> None:
    asked = ("forecast", data / "regions.npz", "--city", "regions/02", "--weights", weights, "--samples", 2)
    assert run(*asked, "--out", tmp_path / "f.zarr", "--history", 24, "--no-past-week").code == 0
    assert Forecast.open(tmp_path / "f.zarr").attrs["city"] == "regions/02"


def test_generate_asks_for_the_area_only(run: Run, city_folder: Path, weights: Path, tmp_path: Path) -> None:
    asked = ("generate", city_folder, "--weights", weights, "--area", "1:3,0:2", "--samples", 2)
    said = run(*asked, "--out", tmp_path / "g.zarr", "--csv", tmp_path / "g.parquet", "--figure", tmp_path / "g.png")
    assert said.code == 0, said.err
    area = np.zeros((4, 5), bool)
    area[1:3, 0:2] = True
    found = Forecast.open(tmp_path / "g.zarr")
    np.testing.assert_array_equal(found.asked.values, np.broadcast_to(area, found.asked.shape))
    frame = pl.read_parquet(tmp_path / "g.parquet")
    assert sorted(set(zip(frame["row"], frame["col"], strict=True))) == [(1, 0), (1, 1), (2, 0), (2, 1)]


def test_fill_leaves_what_was_recorded(run: Run, weights: Path, tmp_path: Path) -> None:
    city = fomo.synthetic_city("gaps", 4, 4, days=4, missing=0.1)
    saved = fomo.save_city(city, tmp_path / "gaps.zarr")
    out = tmp_path / "filled.zarr"
    assert run("fill", saved, "--weights", weights, "--samples", 2, "--out", out, "--csv", tmp_path / "f.csv").code == 0
    found, recorded = Forecast.open(out), np.isfinite(city["traffic"].values)
    for member in found.samples.values:
        np.testing.assert_array_equal(member[recorded], city["traffic"].values[recorded])
        assert np.isfinite(member).all()
    assert pl.read_csv(tmp_path / "f.csv").height == (~recorded).sum()


def test_a_table_has_longitudes_where_the_city_has_them(tmp_path: Path) -> None:
    lon, lat = np.meshgrid([9.0, 9.1], [45.0, 45.1, 45.2])
    traffic = np.ones((30, 3, 2), np.float32)
    city = fomo.make_city(traffic, name="m", start="2024-01-01", step_minutes=60, lon=lon, lat=lat)
    outputs = Outputs(tmp_path / "f.zarr", tmp_path / "f.csv")
    outputs.check().write(mock_forecast(city), city)
    frame = pl.read_csv(tmp_path / "f.csv")
    assert (frame["lon"].max(), frame["lat"].max()) == (9.1, 45.2)


def test_a_figure_shows_the_observed_steps_before_the_forecast() -> None:
    city = fomo.mock_city(100)
    forecast = mock_forecast(city, horizon=8)
    longer = with_history(city.isel(time=slice(0, 92)), forecast, steps=20)
    assert longer.samples.sizes["time"] == 28
    np.testing.assert_array_equal(longer.samples.values[:, 20:], forecast.samples.values)
    np.testing.assert_array_equal(longer.samples.values[3, :20], city["traffic"].values[72:92])
    assert not longer.asked.values[:20].any() and longer.asked.values[20:].all()
    assert longer.attrs == forecast.attrs
