"""Cells out of service are not expected: their squares are what the others carry, and missing where there are none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars
import pytest
import xarray as xr
from operator_made import traffic_of, write_days, write_sites

import fomo
from fomo.ingest.allocation import Allocation
from fomo.ingest.build import BuildConfig, build_city
from fomo.ingest.on_grid import on_grid
from fomo.ingest.store import CityStore

DAYS = 10


@pytest.fixture
def ended(tmp_path):
    """S1-1 ends after the second day, all of site S4 begins on the fourth; the list without days, and with them."""
    traffic = traffic_of(DAYS)
    paths = write_days(tmp_path / "counters", traffic)
    for number, path in enumerate(paths):
        frame = polars.read_csv(path)
        gone = (polars.col("cell") == "S1-1") & (number >= 2) | polars.col("cell").str.starts_with("S4") & (number < 3)
        frame.filter(~gone).write_csv(path)
    sites = polars.read_csv(write_sites(tmp_path))
    days = {"from": polars.when(polars.col("cell").str.starts_with("S4")).then(polars.lit("2024-03-04")),
            "to": polars.when(polars.col("cell") == "S1-1").then(polars.lit("2024-03-02"))}  # fmt: skip
    sites.with_columns(**days).write_csv(tmp_path / "told.csv")
    return tmp_path, paths, traffic


def built(folder, paths, sites, name, **more):
    out = folder / f"{name}.zarr"
    return build_city(BuildConfig(counters=tuple(paths), sites=folder / sites, out=out, cell_m=500.0), **more)


def test_squares_are_not_missing_for_ever_where_the_list_says_that_a_cell_ended(ended):
    """There was no way to say it: what others carried there was lost from that day on."""
    folder, paths, _ = ended
    before = built(folder, paths, "sites.csv", "untold")["on_grid"]
    report = built(folder, paths, "told.csv", "told")
    found, city = report["on_grid"], fomo.open_city(folder / "told.zarr")
    assert before.lost > 0 and "S1-1" in before.silent
    assert found.lost == 0 and found.silent == {}
    gridded = np.nansum(city["traffic"].values, (1, 2), dtype=float)
    cells = CityStore(folder / "told.zarr").cells()["traffic"].values
    np.testing.assert_allclose(gridded, np.nansum(cells, 1, dtype=float), rtol=1e-5)


def test_squares_of_cells_out_of_service_alone_are_missing_and_no_zeros(ended):
    folder, paths, _ = ended
    built(folder, paths, "told.csv", "told")
    store = CityStore(folder / "told.zarr")
    matrix, city = store.allocation().matrix, fomo.open_city(folder / "told.zarr")
    others = matrix[:, [cell for cell, name in enumerate(store.cell_names()) if not name.startswith("S4")]]
    alone = (np.diff(others.indptr) == 0).reshape(city["covered"].shape) & city["covered"].values
    assert alone.any()
    traffic = city["traffic"].values
    assert np.isnan(traffic[: 3 * 24, alone]).all() and np.isfinite(traffic[3 * 24 :, alone]).all()


def test_a_real_outage_within_the_days_in_service_is_still_missing(ended):
    folder, paths, _ = ended
    out = polars.col("cell") == "S0-1"
    polars.read_csv(paths[5]).filter(~out).write_csv(paths[5])
    found = built(folder, paths, "told.csv", "told")["on_grid"]
    city = fomo.open_city(folder / "told.zarr")["traffic"].values
    assert found.lost > 0
    covered = np.isfinite(city).any(0)
    assert np.isfinite(city[6 * 24 :, covered]).all() and np.isnan(city[5 * 24 : 6 * 24, covered]).any()


def test_workers_and_a_city_read_again_say_the_same(ended):
    folder, paths, _ = ended
    built(folder, paths, "told.csv", "one")
    with ThreadPoolExecutor(2) as pool:
        built(folder, paths, "told.csv", "many", submit=pool.submit)
    one, many = (fomo.open_city(folder / f"{name}.zarr").drop_attrs() for name in ("one", "many"))
    xr.testing.assert_equal(one, many)
    allocation = CityStore(folder / "one.zarr").allocation()
    assert on_grid(CityStore(folder / "one.zarr")).silent == {}
    last = np.datetime64("2024-03-02")
    cell = allocation.cells.index("S1-1")
    assert allocation.in_service(last)[cell] and not allocation.in_service(last + 1)[cell]
    first = allocation.cells.index("S4-1")
    assert allocation.in_service(last + 2)[first] and not allocation.in_service(last + 1)[first]


def test_where_no_day_is_said_all_are_in_service():
    nothing = np.zeros(2)
    assert Allocation(("a", "b"), None, nothing, 1, 1).in_service(np.datetime64("2024-01-01")).all()
