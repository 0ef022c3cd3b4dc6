"""`fomo demo`: from nothing to a figure and a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import fomo
from fomo.app.service.demo import demo_city, family_city, last_question
from fomo.forecast import Forecast
from small import Run


def test_the_demo_ends_with_figures_and_a_table(run: Run, weights: Path, tmp_path: Path) -> None:
    said = run("demo", "--weights", weights, "--out", tmp_path / "demo")
    assert said.code == 0, said.err
    for name in ("forecast.png", "forecast-long.png"):
        assert (tmp_path / "demo" / name).read_bytes()[:4] == b"\x89PNG"
    scores = pl.read_csv(tmp_path / "demo" / "scores.csv")
    assert set(scores["forecaster"]) >= {"FoMo", "persistence", "seasonal average", "same hour last week"}
    assert set(scores["task"]) == {"short", "long"}
    assert (tmp_path / "demo" / "scores.md").read_text(encoding="utf-8").startswith("| forecaster |")
    assert "seconds in all" in said.out and str(tmp_path / "demo" / "forecast.png") in said.out
    assert fomo.open_city(tmp_path / "demo" / "city.zarr").identical(demo_city())


def test_what_is_scored_is_what_is_saved(run: Run, weights: Path, tmp_path: Path) -> None:
    assert run("demo", "--weights", weights, "--out", tmp_path, "--samples", 4).code == 0
    scores = pl.read_csv(tmp_path / "scores.csv").filter(pl.col("forecaster") == "FoMo", pl.col("task") == "short")
    forecast = Forecast.open(tmp_path / "short.zarr")
    truth = demo_city()["traffic"].values[-16:]
    error = forecast.samples.values[:, -16:].mean(0) - truth
    np.testing.assert_allclose(scores["rmse_physical"][0], np.sqrt((error**2).mean()), rtol=1e-4)


def test_a_city_of_ones_own(run: Run, data: Path, weights: Path, tmp_path: Path) -> None:
    asked = ("demo", "--weights", weights, "--data", data, "--samples", 2)
    assert run(*asked, "--city", "town", "--out", tmp_path / "town").code == 0
    said = run(*asked, "--city", "regions/02", "--out", tmp_path / "region")
    assert said.code == 0 and "regions/02" in said.out


def test_a_family_shows_its_busiest_held_back_region(data: Path) -> None:
    regions = {city.attrs["name"]: city for city in fomo.read_cities(data / "regions.npz")}
    held_back = [regions["regions/00"], regions["regions/02"]]
    busiest = max(held_back, key=lambda city: float(city["traffic"].mean()))
    assert family_city(data, "regions").attrs["name"] == busiest.attrs["name"]


def test_the_last_question_shows_nothing_that_it_asks() -> None:
    city = demo_city()
    for name, hidden in (("short", 16), ("long", 48)):
        question = last_question(city, name)
        changed = city.copy(deep=True)
        changed["traffic"][-hidden:] = 1e6
        other = last_question(changed, name)
        assert question.task.asked.sum() == hidden * 64
        np.testing.assert_array_equal(question.task.window["traffic"].values, other.task.window["traffic"].values)
        np.testing.assert_array_equal(question.task.last_week, other.task.last_week)
        assert question.reference == other.reference


def test_a_city_that_is_too_short_says_so() -> None:
    with pytest.raises(fomo.CityError, match="the demo needs 64"):
        last_question(fomo.mock_city(steps=60), "short")


def test_a_demo_does_not_delete_what_is_not_its_own(run: Run, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "city.zarr").mkdir()
    (tmp_path / "city.zarr" / "mine.txt").write_text("mine", encoding="utf-8")
    said = run("demo", "--weights", weights, "--out", tmp_path)
    assert said.code == 2 and "it would be lost" in said.err
