"""Stations by a saved forecast: of the cells that were asked for, by the traffic that is expected of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import fomo
from fomo.app.service.planning.greenfield import stations_ahead
from fomo.city import make_city
from fomo.forecast import Forecast, make_forecast
from fomo.planning.coverage import play_coverage
from fomo.planning.deployment import DeploymentParameters, demand_of_traffic
from fomo.planning.load import PlanError, load_of_members
from small import Run

MEMBERS = 5
OWN_CELL = DeploymentParameters(stations=3, reach_km=0.0, stations_per_place=2)


def generated(layout: str = "grid") -> Forecast:
    """Two days of 4 x 5 cells of which a corner of 2 x 3 is generated, one of them without any member."""
    random = np.random.default_rng(0)
    shape = (48, 4, 5) if layout == "grid" else (48, 1, 20)
    day = 1.3 + np.sin(2 * np.pi * (np.arange(48) - 9) / 24)
    traffic = day[:, None, None] * random.lognormal(0, 0.8, shape[1:]) * np.ones(shape)
    city = make_city(
        traffic, name="town", start="2024-03-04", step_minutes=60, unit="GB per 60 min", cell_km=1.0, layout=layout
    )  # type: ignore[arg-type]
    asked = np.zeros(shape, bool)
    asked[:, :2, :3] = True
    members = traffic * np.where(asked, random.lognormal(0, 0.3, (MEMBERS, *shape)), 1.0)
    members[:, :, 0, 0] = np.nan
    return make_forecast(members, asked, city, forecaster="FoMo")


def test_hours_without_traffic_carry_nothing() -> None:
    forecast = generated()
    night = forecast.dataset["time"].dt.hour < 6
    quiet = Forecast(forecast.dataset.assign(samples=forecast.samples.where(~night, 0.0)))
    table = stations_ahead(quiet, OWN_CELL, served=0.9).table
    assert (table["carried_by_stations"] <= table["expected_load"] * (1 + 1e-6)).all()


def test_a_district_says_where_its_squares_lie_where_the_forecast_knows_it() -> None:
    forecast = generated()
    lon, lat = np.meshgrid(np.arange(5.0), 40 + np.arange(4.0))
    placed = Forecast(forecast.dataset.assign_coords(lon=(("y", "x"), lon), lat=(("y", "x"), lat)))
    table, plain = (stations_ahead(each, OWN_CELL).table for each in (placed, forecast))
    assert table.columns[:7] == ["row", "column", "x_km", "y_km", "lon", "lat", "stations"]
    assert (
        table["lon"].to_list() == table["column"].to_list() and table["lat"].to_list() == (40 + table["row"]).to_list()
    )
    assert table.drop("lon", "lat").equals(plain)


def test_cells_of_no_known_size_have_no_reach() -> None:
    forecast = generated()
    unknown = Forecast(forecast.dataset.assign_attrs(cell_km=0.0))
    with pytest.raises(PlanError, match="nobody said how large the cells of 'town' are"):
        stations_ahead(unknown, OWN_CELL)


def test_stations_go_into_the_asked_cells_where_they_carry_most() -> None:
    """By brute force: a station serves its own cell, and takes what is expected there up to what it carries."""
    forecast = generated()
    table = stations_ahead(forecast, OWN_CELL, served=0.6).table
    assert table.select("row", "column").rows() == [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    places = table.select("row", "column").to_numpy()
    mean = forecast.samples.values[:, :, *places.T].astype(np.float64).mean(0)
    demand = mean.reshape(2, 24, 5).mean(0)
    capacity = 0.6 * demand.sum(1).max() / 3
    np.testing.assert_allclose(table["expected_load"].to_numpy(), mean.mean(0), rtol=1e-6)
    np.testing.assert_allclose(table["busiest_hour_load"].to_numpy(), demand.max(0), rtol=1e-6)

    def carried(stations: np.ndarray) -> float:
        return float((np.minimum(demand, capacity * stations).sum(1) / demand.sum(1)).mean())

    plans = [np.array(plan) for plan in np.ndindex(3, 3, 3, 3, 3) if sum(plan) == 3]
    best = max(carried(plan) for plan in plans)
    assert carried(table["stations"].to_numpy()) == pytest.approx(best) and table["stations"].sum() == 3
    assert table["stations_in_proportion"].sum() == 3
    own = np.minimum(demand, capacity * table["stations"].to_numpy()).mean(0)
    np.testing.assert_allclose(table["carried_by_stations"].to_numpy(), own, rtol=1e-6)


def test_what_the_plan_expects_of_itself_is_said_with_its_members() -> None:
    forecast = generated()
    found = stations_ahead(forecast, OWN_CELL, served=0.6)
    places = found.table.select("row", "column").to_numpy()
    load = load_of_members(forecast.samples.values, forecast.dataset, places)
    mean = demand_of_traffic(load)
    strong = OWN_CELL.dimensioned_for(mean, 0.6)
    stations = found.table["stations"].to_numpy()
    ratio = play_coverage(stations, mean, load.position_km, strong).mean_ratio
    each = demand_of_traffic(load, by_member=True)
    single = play_coverage(stations, each, load.position_km, strong).ratio.reshape(MEMBERS, 24).mean(1)
    assert found.summary[0].startswith("3 stations go into ") and "of 5 cells" in found.summary[0]
    assert f"They carry {ratio:.1%} of the expected traffic" in found.summary[1]
    assert found.summary[2] == f"If single members come, {single.min():.1%} to {single.max():.1%} (5 of them)."
    assert any("nobody judges this plan" in remark for remark in found.remarks)


def test_what_is_no_district_is_refused() -> None:
    with pytest.raises(PlanError, match="a list of cells without a map"):
        stations_ahead(generated("list"), OWN_CELL)
    forecast = generated()
    one = np.zeros(forecast.asked.shape, bool)
    one[:, 1, 1] = True
    with pytest.raises(PlanError, match="asks for 1 cells with traffic: a district has two or more"):
        stations_ahead(Forecast(forecast.dataset.assign(asked=(("time", "y", "x"), one))), OWN_CELL)
    with pytest.raises(PlanError, match="generate one day at least"):
        stations_ahead(Forecast(forecast.dataset.isel(time=slice(0, 20))), OWN_CELL)


def test_a_generated_district_is_planned_from_the_command_line(run: Run, tmp_path: Path) -> None:
    forecast, out = tmp_path / "made.zarr", tmp_path / "o"
    generated().save(forecast)
    asked = ("plan", "deploy", "--forecast", forecast, "--stations", 4, "--out", out)
    said = run(*asked)
    assert said.code == 0, said.err
    assert {path.name for path in out.iterdir()} == {"plan.csv", "plan.parquet", "plan.html", "plan.png"}
    plan, page = pl.read_csv(out / "plan.csv"), (out / "plan.html").read_text(encoding="utf-8")
    assert plan["stations"].sum() == 4 and "4 stations go into" in said.out and "the plan, one row per cell;" in page
    for option in (("--area", "0:2,0:2"), ("--city", "town"), ("--samples", 3)):
        said = run(*asked, *option)
        assert said.code == 2 and f"goes without {option[0]}:" in said.err


def test_a_generated_corner_of_a_city_has_its_stations_within_it(
    run: Run, city_folder: Path, weights: Path, tmp_path: Path
) -> None:
    made, out = tmp_path / "made.zarr", tmp_path / "o"
    said = run("generate", city_folder, "--area", "0:2,0:3", "--samples", 3, "--weights", weights, "--out", made)
    assert said.code == 0, said.err
    said = run("plan", "deploy", "--forecast", made, "--stations", 3, "--out", out)
    assert said.code == 0, said.err
    plan = pl.read_csv(out / "plan.csv")
    covered = fomo.open_city(city_folder)["covered"].values[:2, :3].sum()
    assert plan.height <= covered and plan["row"].max() < 2 and plan["column"].max() < 3
