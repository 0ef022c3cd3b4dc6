"""`fomo verify`: a forecast beside the city that has grown since."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import fomo
from fomo.app.service.verification import VerifyOutputs, verify_forecasts
from fomo.forecast import Forecast, make_forecast, quantiles_of
from small import Run

AHEAD = 24


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    city = fomo.synthetic_city("small", 4, 5, days=9, seed=1)
    return fomo.save_city(city, tmp_path_factory.mktemp("grown") / "small.zarr")


@pytest.fixture
def saved(run: Run, grown: Path, weights: Path, tmp_path: Path) -> Path:
    """A forecast of the last day, from what was before."""
    then = fomo.save_city(fomo.open_city(grown).isel(time=slice(0, -AHEAD)), tmp_path / "then.zarr")
    asked = ("forecast", then, "--weights", weights, "--horizon", AHEAD, "--samples", 20, "--out", tmp_path / "f.zarr")
    assert run(*asked).code == 0
    return tmp_path / "f.zarr"


def test_it_prints_marks_and_strange_cells_and_writes_files(run: Run, grown: Path, saved: Path, tmp_path: Path) -> None:
    cells, marks, figure = tmp_path / "cells.csv", tmp_path / "marks.json", tmp_path / "v.png"
    asked = ("verify", grown, "--forecast", saved, "--csv", cells, "--json", marks, "--figure", figure)
    assert run(*asked).code == 0
    said = run(*asked)  # its own files are replaced
    assert said.code == 0, said.err
    assert "by chance about 0.952 each" in said.out and "same hour last week" in said.out
    assert figure.read_bytes()[:4] == b"\x89PNG"

    forecast, truth = Forecast.open(saved), fomo.open_city(grown)["traffic"].values[-AHEAD:].astype(np.float64)
    ours, *rules = json.loads(marks.read_text())
    error = forecast.samples.values.astype(np.float64).mean(0) - truth
    assert ours["forecaster"] == "FoMo" and ours["values"] == truth.size and ours["unit"] == "GB per period"
    assert ours["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-6)
    assert ours["sums90"] is not None and all(rule["sums90"] is None for rule in rules)

    frame = pl.read_csv(cells, try_parse_dates=True)
    assert frame.height == 20 and frame["steps"].to_list() == [AHEAD] * 20
    line = frame.filter((pl.col("row") == 3) & (pl.col("col") == 1)).row(0, named=True)
    totals = forecast.samples.values[:, :, 3, 1].astype(np.float64).sum(1)
    assert line["came"] == pytest.approx(truth[:, 3, 1].sum(), rel=1e-5)
    assert line["q95"] == pytest.approx(quantiles_of(totals, 0.95), rel=1e-5)
    above, below = line["came"] > totals.max(), line["came"] < totals.min()
    assert (line["outside"] or "") == ("above" if above else "below" if below else "")
    assert line["unit"] == "GB" and "totals [GB] of 20 cells over 24 steps" in said.out  # of a rate 'GB per period'


def test_cells_that_came_otherwise_are_found_in_every_forecast(grown: Path, tmp_path: Path) -> None:
    """Of two forecasts only the later one's cells were named, however far off the earlier ones were."""
    city = fomo.open_city(grown)
    files = []
    for back in (2, 1):
        window = city.isel(time=slice(-back * AHEAD, city.sizes["time"] - (back - 1) * AHEAD))
        truth = window["traffic"].values
        members = truth * np.random.default_rng(back).lognormal(0, 0.2, (20, *truth.shape))
        if back == 2:
            members[:, :, 2, 3] /= 5
        made = make_forecast(members, np.ones(truth.shape, bool), window, forecaster="made")
        files.append(made.save(tmp_path / f"{back}.zarr"))
    first, more, *_ = verify_forecasts(city, files, VerifyOutputs()).cells
    begins = [np.datetime_as_string(city["time"].values[-back * AHEAD], unit="m") for back in (2, 1)]
    assert first.startswith(f"totals [GB] of cells of 2 forecasts from {begins[0]} to {begins[1]}, 40 in all: ")
    assert first.endswith("by chance about 1.9 each")
    assert more.startswith(f"most more than expected: row 2, column 3 from {begins[0]} (")


def test_wrong_things_are_one_line(run: Run, grown: Path, saved: Path, tmp_path: Path) -> None:
    then = tmp_path / "then.zarr"
    for asked, what in (
        ((then, "--forecast", saved), "let it grow first"),
        ((grown, "--forecast", grown), "this is no forecast"),
        ((grown, "--forecast", tmp_path / "none.zarr"), "is not a forecast on disk"),
        ((grown, "--forecast"), "name one forecast"),
        ((grown, "--forecast", saved, "--figure", tmp_path / "v.jpg"), "must end in .png"),
        ((grown, "--forecast", saved, "--csv", tmp_path / "a.csv", "--json", tmp_path / "a.csv"), "named for two"),
    ):
        said = run("verify", *asked)
        assert said.code == 2 and what in said.err and len(said.err.splitlines()) == 1, said.err
    counters = tmp_path / "counters.csv"
    counters.write_text("cell,time,traffic\na,2024-01-01T00:00,1\n")
    for option in ("--csv", "--json"):
        said = run("verify", grown, "--forecast", saved, option, counters)
        assert said.code == 2 and "would be lost" in said.err
    assert counters.read_text().startswith("cell,time")
