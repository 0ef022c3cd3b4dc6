"""`fomo data list | inspect | import`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fomo
from fomo.app.service.cities import list_data
from fomo.app.service.outputs import forecast_frame
from small import Run


def test_list_says_what_each_family_holds(run: Run, data: Path) -> None:
    said = run("data", "list", "--data", data)
    assert said.code == 0
    regions, town = (next(line for line in said.out.splitlines() if name in line) for name in ("regions", "town"))
    assert all(text in regions for text in ("4 x 4", "60 min", "8–16", "users, poi", "0–2", "MIT"))
    assert all(text in town for text in ("1", "12", "GB per period", "Apache-2.0"))


def test_the_folder_may_come_from_the_environment(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOMO_DATA", str(data))
    assert run("data", "list").out == run("data", "list", "--data", data).out


def test_a_file_that_cannot_be_read_does_not_hide_the_others(run: Run, data: Path, tmp_path: Path) -> None:
    good = (data / "regions.npz").read_bytes()
    (tmp_path / "good.npz").write_bytes(good)
    with np.load(data / "regions.npz") as arrays:
        np.savez(tmp_path / "bad.npz", **{**arrays, "traffic": -arrays["traffic"]})
    (tmp_path / "cut.npz").write_bytes(good[:5000])
    said = run("data", "list", "--data", tmp_path)
    assert said.code == 0
    assert "cannot be read" in next(line for line in said.out.splitlines() if "bad" in line)
    assert "cut.npz is left out" in said.err
    assert [family.fault == "" for family in list_data(data)] == [True, True]


def test_inspect_a_file_a_family_and_a_region(run: Run, data: Path, city_folder: Path, tmp_path: Path) -> None:
    figure = tmp_path / "city.png"
    said = run("data", "inspect", city_folder, "--figure", figure)
    assert "4 x 5 cells, 1 km, 20 covered" in said.out and "synthetic" in said.out
    assert figure.read_bytes()[:4] == b"\x89PNG"
    assert "regions/02" in run("data", "inspect", "regions/02", "--data", data).out
    assert "regions/02" in run("data", "inspect", data / "regions.npz", "--city", "02").out


def test_inspect_draws_a_list_of_cells_and_a_city_with_gaps(run: Run, tmp_path: Path) -> None:
    traffic = np.random.default_rng(0).lognormal(size=(100, 1, 12)).astype(np.float32)
    traffic[20:40] = np.nan
    city = fomo.make_city(traffic, name="list", start="2024-01-01", step_minutes=60, layout="list")
    saved = fomo.save_city(city, tmp_path / "list.zarr")
    said = run("data", "inspect", saved, "--figure", tmp_path / "list.png")
    assert "80.0% of the covered values" in said.out and "list: neighbours" in said.out
    assert (tmp_path / "list.png").stat().st_size > 10_000


def test_what_is_not_in_service_is_not_missing(run: Run, tmp_path: Path) -> None:
    city = fomo.mock_city(steps=48)
    city["traffic"][24:, 0, 0] = float("nan")
    never = np.full((4, 4), np.datetime64("NaT", "ns"))
    last = never.copy()
    last[0, 0] = np.datetime64("2024-01-01")
    fomo.save_city(city, tmp_path / "a.zarr")
    told = city.assign(first_served=(("y", "x"), never), last_served=(("y", "x"), last))
    fomo.save_city(told, tmp_path / "b.zarr")
    assert "96.9% of the covered values" in run("data", "inspect", tmp_path / "a.zarr").out
    assert "100.0% of the covered values, while in service" in run("data", "inspect", tmp_path / "b.zarr").out


def test_a_table_becomes_a_city_with_its_units(run: Run, city_folder: Path, tmp_path: Path) -> None:
    city = fomo.open_city(city_folder)
    everything = forecast_frame(_as_forecast(city))
    counters = everything.select(cell=everything["row"] * 5 + everything["col"], begin="time", bytes="mean")
    counters.write_csv(tmp_path / "counters.csv", datetime_format="%Y-%m-%dT%H:%M")
    sites = everything.select(cell=everything["row"] * 5 + everything["col"], row="row", col="col").unique()
    sites.write_csv(tmp_path / "sites.csv")
    said = run(
        *("data", "import", tmp_path / "counters.csv", "--positions", tmp_path / "sites.csv"),
        *("--columns", "time=begin", "traffic=bytes", "--unit", "GB per hour", "--time-zone", "Europe/Rome"),
        *("--out", tmp_path / "mine.zarr"),
    )
    assert said.code == 0, said.err
    mine = fomo.open_city(tmp_path / "mine.zarr")
    np.testing.assert_allclose(mine["traffic"].values, city["traffic"].values, rtol=1e-6)
    assert (mine.attrs["unit"], mine.attrs["time_zone"], mine.attrs["name"]) == ("GB per hour", "Europe/Rome", "mine")
    assert len(mine.attrs["sha256"]) == 64


def _as_forecast(city: fomo.City) -> fomo.Forecast:
    from fomo.forecast import make_forecast

    traffic = city["traffic"].values
    return make_forecast(traffic[None], np.ones(traffic.shape, bool), city, forecaster="itself")


def test_an_imported_city_knows_its_days_off(run: Run, tmp_path: Path) -> None:
    lines = ["cell,row,col,time,traffic"]
    lines += [f"a,0,0,2024-12-{20 + hour // 24:02d}T{hour % 24:02d}:00,{hour}" for hour in range(24 * 8)]
    (tmp_path / "counters.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "mine.zarr"
    said = run("data", "import", tmp_path / "counters.csv", "--out", out, "--days-off", "IT")
    assert said.code == 0, said.err
    assert "2 recorded, 15 ahead" in said.out
    assert list(fomo.open_city(out).attrs["days_off"])[:3] == ["2024-12-25", "2024-12-26", "2025-01-01"]
    assert "none known" in run("data", "import", tmp_path / "counters.csv", "--out", tmp_path / "other.zarr").out
