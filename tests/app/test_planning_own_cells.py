"""Whose radio units a plan means: the operator's own cells that serve its squares, with their shares."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import fomo
from fomo.app.service.planning.own_cells import cells_that_serve
from fomo.forecast import Forecast, make_forecast
from fomo.ingest.allocation import Allocation
from fomo.ingest.build import BuildConfig, build_city
from fomo.ingest.mapping import Mapping
from fomo.ingest.store import CityStore
from small import Run

sys.path.append(str(Path(__file__).parents[1] / "ingest"))
from operator_made import traffic_of, write_days, write_sites

DAYS, MEMBERS, AHEAD = 17, 4, 24
SILENT, ENDED = 4, 7  # cells


def recorded() -> np.ndarray:
    """Bytes (hour, cell): one cell carried much, but long ago; one is silent in the last two weeks."""
    traffic = traffic_of(DAYS, minutes=60)
    traffic[: 3 * 24, 0] *= 50
    traffic[3 * 24 :, SILENT] = np.nan
    return traffic


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A city of an operator; one of its cells has ended three days before the others."""
    folder = tmp_path_factory.mktemp("operator")
    sites = pl.read_csv(write_sites(folder)).with_row_index()
    last = pl.when(pl.col("index") == ENDED).then(pl.lit("2024-03-14")).otherwise(pl.lit(""))
    sites.with_columns(to=last).drop("index").write_csv(folder / "sites.csv")
    traffic = recorded()
    for path in write_days(folder / "counters", np.nan_to_num(traffic)):
        silent = pl.col("cell") == "S1-2"
        known = ~silent if path.name >= "2024-03-04" else pl.lit(value=True)
        pl.read_csv(path).filter(known).write_csv(path)
    mapping = Mapping.model_validate({"time": {"zone": "Europe/Helsinki"}})
    build_city(BuildConfig((folder / "counters",), folder / "sites.csv", folder / "city.zarr", mapping, cell_m=1500.0))
    return folder


def forecast_of(city: fomo.City, periods: int = AHEAD) -> Forecast:
    """Members of the hours after a city, about its means."""
    time = city["time"].values[-1] + np.arange(1, periods + 1) * np.timedelta64(1, "h")
    window = city.isel(time=np.arange(periods)).assign_coords(time=time)
    mean = city["traffic"].mean("time").values
    members = mean * np.random.default_rng(0).lognormal(0, 0.3, (MEMBERS, periods, *mean.shape))
    return make_forecast(members, np.isfinite(members[0]), window, forecaster="made", provenance={"weights": "x"})


def ground(folder: Path) -> tuple[fomo.City, np.ndarray, np.ndarray]:
    """The city, its squares, and the hours to come."""
    city = fomo.open_city(folder / "city.zarr")
    return city, np.argwhere(city["covered"].values), forecast_of(city).dataset["time"].values


def test_the_cells_of_a_square_are_those_that_feed_it_by_what_they_carried_of_late(folder: Path) -> None:
    """By brute force: each cell alone on the grid, in the last two weeks."""
    _, places, time = ground(folder)
    table, remarks = cells_that_serve(folder / "city.zarr", places, time)
    assert table is not None and remarks == []
    assert table.columns == ["row", "column", "cell", "share_of_square", "share_of_cell"]
    spread = CityStore(folder / "city.zarr").allocation()
    late = np.nan_to_num(recorded()[-14 * 24 :])
    alone = np.stack([spread.to_grid(late * (np.arange(15) == cell)).mean(0) for cell in range(15)])
    alone = alone[:, *places.T]
    alone[ENDED] = 0
    expected = alone / np.nansum(alone, 0)
    found = {(row, column, cell): share for row, column, cell, share, _ in table.iter_rows()}
    for square, (row, column) in enumerate(places.tolist()):
        for cell, name in enumerate(spread.cells):
            share = found.pop((row, column, name), "none")
            feeds = spread.matrix[row * spread.width + column, cell] > 0
            if not feeds or cell == ENDED:
                assert share == "none"
            elif cell == SILENT:
                assert share is None
            else:
                assert share == pytest.approx(float(expected[cell, square]), rel=1e-4)
    assert not found
    sums = table.group_by("row", "column").agg(pl.col("share_of_square").sum())["share_of_square"]
    np.testing.assert_allclose(sums.to_numpy(), 1)
    of_cell = table.group_by("cell").agg(pl.col("share_of_cell").sum())["share_of_cell"]
    np.testing.assert_allclose(of_cell.to_numpy(), 1)


def test_squares_come_in_the_order_of_the_plan_and_cells_by_their_share(folder: Path) -> None:
    _, places, time = ground(folder)
    table, _ = cells_that_serve(folder / "city.zarr", places[::-1], time)
    assert table is not None
    assert table.select("row", "column").unique(maintain_order=True).rows() == [tuple(each) for each in places[::-1]]
    for square in table.partition_by("row", "column", maintain_order=True):
        shares = [-1.0 if share is None else share for share in square["share_of_square"]]
        assert shares == sorted(shares, reverse=True)


def test_a_cell_serves_its_squares_as_long_as_it_is_in_service(folder: Path) -> None:
    city, places, time = ground(folder)
    before, _ = cells_that_serve(folder / "city.zarr", places, city["time"].values[12 * 24 : 13 * 24])
    after, _ = cells_that_serve(folder / "city.zarr", places, time)
    assert before is not None and after is not None
    assert set(before["cell"]) - set(after["cell"]) == {"S2-2"}


def test_squares_that_no_cell_serves_any_more_are_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Allocation, "in_service", lambda self, day: np.arange(len(self.cells)) == SILENT)
    _, places, time = ground(folder)
    table, (remark,) = cells_that_serve(folder / "city.zarr", places, time)
    assert (
        table is not None and set(table["cell"]) == {"S1-2"} and table["share_of_square"].null_count() == table.height
    )
    assert f"{len(places) - table.height} of {len(places)} squares have no cell in service" in remark


@pytest.mark.parametrize("what", ["sleep", "prb"])
def test_a_plan_of_an_operators_city_names_the_cells_beside_it(
    run: Run, folder: Path, tmp_path: Path, what: str
) -> None:
    """Rows and columns of a grid are nobody's radio units."""
    city, out = folder / "city.zarr", tmp_path / "o"
    forecast_of(fomo.open_city(city)).save(tmp_path / "next.zarr")
    said = run("plan", what, "--forecast", tmp_path / "next.zarr", "--history", city, "--out", out)
    assert said.code == 0, said.err
    assert f"wrote {out / 'plan-cells.csv'}" in said.out and f"wrote {out / 'plan-cells.parquet'}" in said.out
    page = (out / "plan.html").read_text(encoding="utf-8")
    assert "plan-cells.csv" in page and "share_of_square" in page and "the centre of its square in degrees" in page
    plan, cells = pl.read_csv(out / "plan.csv"), pl.read_csv(out / "plan-cells.csv")
    places = ["row", "column", "lon", "lat"]
    assert cells.columns == [*places, "cell", "share_of_square", "share_of_cell"]
    assert cells.select(places).unique().sort(places).equals(plan.select(places).unique().sort(places))
    lon, lat = (fomo.open_city(city)[name].values for name in ("lon", "lat"))
    at = tuple(plan.select("row", "column").to_numpy().T)
    np.testing.assert_allclose(plan["lon"].to_numpy(), lon[at], atol=1e-6)
    np.testing.assert_allclose(plan["lat"].to_numpy(), lat[at], atol=1e-6)


def test_another_city_has_no_cells_to_name(city_folder: Path) -> None:
    assert cells_that_serve(city_folder, np.array([[0, 0]]), np.array(["2024-01-01"], "datetime64[ns]")) == (None, [])
