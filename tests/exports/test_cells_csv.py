"""Per-cell tables read back with polars and csv, and forecasts brought back to cells against a loop."""

from __future__ import annotations

import csv

import numpy as np
import polars
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from fomo.city import mock_city
from fomo.exports.cells_csv import Usual, export_cells, forecast_per_cell
from fomo.forecast import make_forecast, mock_forecast, quantiles_of
from fomo.ingest.ledger import IngestError
from fomo.sources import read_table

NAMES = ['eNodeB 7, cell "A"', "Ålesund-2", "3"]


def made_cells(users: bool = True) -> xr.Dataset:
    traffic = np.array([[1.5, np.nan, 0.0], [0.1, 2.25, 1e-7]], np.float32)
    time = np.array(["2024-01-31T23:45", "2024-02-01T00:00"], "datetime64[ns]")
    variables = {"traffic": (("time", "cell"), traffic)}
    if users:
        variables["users"] = (("time", "cell"), np.array([[4.0, 5.0, np.nan], [1.0, 0.0, 2.0]]))
    return xr.Dataset(variables, {"time": time, "cell": np.array(NAMES, dtype=object)})


def test_a_csv_holds_the_operators_names_and_empty_fields(tmp_path):
    path = tmp_path / "cells.csv"
    assert export_cells(made_cells(), path) == path
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["cell", "time", "traffic", "users"]
    assert [row[0] for row in rows[1:]] == NAMES * 2
    assert [row[1] for row in rows[1:]] == ["2024-01-31T23:45:00"] * 3 + ["2024-02-01T00:00:00"] * 3
    assert [row[2] for row in rows[1:3]] == ["1.5", ""] and float(rows[3][2]) == 0
    assert [np.float32(row[2]) for row in rows[4:]] == [np.float32(0.1), 2.25, np.float32(1e-7)]
    assert [row[3] for row in rows[1:]] == ["4.0", "5.0", "", "1.0", "0.0", "2.0"]


def test_names_may_be_numpys_strings_as_zarr_gives_them(tmp_path):
    cells = made_cells().assign_coords(cell=("cell", np.array(NAMES, dtype=np.dtypes.StringDType())))
    export_cells(cells, tmp_path / "cells.csv")
    export_cells(made_cells(), tmp_path / "same.csv")
    assert (tmp_path / "cells.csv").read_bytes() == (tmp_path / "same.csv").read_bytes()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("rows", [1, 4, 1_000_000])
def test_both_forms_say_the_same_however_they_are_cut(tmp_path, monkeypatch, suffix, rows):
    monkeypatch.setattr("fomo.exports.cells_csv.ROWS", rows)
    path = tmp_path / f"cells{suffix}"
    export_cells(made_cells(users=False), path)
    read = polars.read_parquet if suffix == ".parquet" else lambda file: polars.read_csv(file, try_parse_dates=True)
    frame = read(path)
    assert frame.columns == ["cell", "time", "traffic"]
    assert frame["traffic"].null_count() == 1 and frame["traffic"].is_nan().sum() == 0
    assert frame["time"].dtype == polars.Datetime("us") and frame["cell"].to_list() == NAMES * 2
    np.testing.assert_array_equal(
        frame["traffic"].cast(polars.Float32).to_numpy(), made_cells()["traffic"].values.ravel()
    )


def test_fomo_reads_its_own_table(tmp_path):
    export_cells(made_cells(), tmp_path / "cells.csv")
    polars.DataFrame({"cell": NAMES, "row": [0, 0, 0], "col": [0, 1, 2]}).write_csv(tmp_path / "where.csv")
    city = read_table(tmp_path / "cells.csv", tmp_path / "where.csv")
    np.testing.assert_array_equal(city["traffic"].values[:, 0], made_cells()["traffic"].values)
    assert city.attrs["step_minutes"] == 15


def test_what_is_no_table_of_cells_is_refused(tmp_path):
    cells = made_cells()
    with pytest.raises(IngestError, match=r"suffix '\.xlsx'; it needs one of \.csv, \.parquet"):
        export_cells(cells, tmp_path / "cells.xlsx")
    with pytest.raises(IngestError, match="the cell '3' is there 2 times"):
        export_cells(cells.assign_coords(cell=["3", "4", "3"]), tmp_path / "cells.csv")
    with pytest.raises(IngestError, match="traffic has the axes"):
        export_cells(cells.transpose("cell", "time"), tmp_path / "cells.csv")
    with pytest.raises(IngestError, match=r"traffic \(time, cell\)"):
        export_cells(cells.drop_vars("traffic"), tmp_path / "cells.csv")
    with pytest.raises(IngestError, match="no cells or no periods"):
        export_cells(cells.isel(time=slice(0, 0)), tmp_path / "cells.csv")
    cells["traffic"][1, 1] = np.inf
    with pytest.raises(IngestError, match=r"traffic of cell 'Ålesund-2' at 2024-02-01T00:00.* is infinite"):
        export_cells(cells, tmp_path / "cells.csv")
    assert not list(tmp_path.iterdir())


def test_a_table_is_only_replaced_when_told(tmp_path):
    path = tmp_path / "counters.csv"
    path.write_text("cell,time,traffic\nA,2024-01-01T00:00,1\n")  # as an operator's own file looks
    with pytest.raises(IngestError, match="pass overwrite=True"):
        export_cells(made_cells(), path)
    assert "A,2024" in path.read_text()
    export_cells(made_cells(), path, overwrite=True)
    assert polars.read_csv(path).height == 6 and len(list(tmp_path.iterdir())) == 1


def at_all_times(usual, periods):
    return (Usual(np.asarray(usual)[None], np.zeros(periods, int)),)


def looped(members, matrix, usual):
    """The second road: every member of every grid cell, shared out one cell at a time."""
    samples, periods, _, width = members.shape
    grid, cells = matrix.shape
    found = np.zeros((samples, periods, cells))
    for s in range(samples):
        for t in range(periods):
            for g in range(grid):
                weights = [matrix[g, c] * usual[c] for c in range(cells)]
                for c in range(cells):
                    if weights[c] > 0:
                        found[s, t, c] += float(members[s, t, g // width, g % width]) * weights[c] / sum(weights)
    return found


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 4), st.integers(1, 6))
def test_totals_of_cells_are_totals_of_the_grid(seed, height, width, cells):
    random = np.random.default_rng(seed)
    city = mock_city(steps=4, height=height, width=width, seed=seed)
    forecast = mock_forecast(city, horizon=3, samples=5, seed=seed)
    matrix = random.random((height * width, cells)) * (random.random((height * width, cells)) < 0.6)
    usual = random.random(cells) * (random.random(cells) < 0.8)
    names = [f"c{i}" for i in range(cells)]
    found = forecast_per_cell(forecast, sparse.csr_array(matrix), names, at_all_times(usual, 3))
    expected = looped(forecast.samples.values, matrix, usual)
    inside = matrix.sum(0) > 0
    assert np.isnan(found["traffic"].values[:, ~inside]).all()
    np.testing.assert_allclose(found["traffic"].values[:, inside], expected.mean(0)[:, inside], rtol=1e-10, atol=1e-12)
    for name, quantile in (("low", 0.05), ("high", 0.95)):
        np.testing.assert_allclose(
            found[name].values[:, inside], quantiles_of(expected, quantile)[:, inside], rtol=1e-10, atol=1e-12
        )
    fed = (matrix @ usual > 0).reshape(height, width)
    mean = forecast.samples.values.mean(0, dtype=float)
    np.testing.assert_allclose(np.nansum(found["traffic"].values, 1), mean[:, fed].sum(-1), rtol=1e-12)
    assert found.attrs["not_shared_grid_cells"] == (~fed).sum()
    assert found.attrs["not_shared"] == pytest.approx(mean[:, ~fed].sum() / mean.sum())


@pytest.mark.parametrize("values", [1, 20_000_000])
def test_what_is_not_known_stays_so_and_what_is_never_used_is_zero(tmp_path, monkeypatch, values):
    monkeypatch.setattr("fomo.exports.cells_csv.VALUES", values)
    window = mock_city(steps=2, height=1, width=3)
    members = np.full((4, 2, 1, 3), 6.0)
    members[..., 1] = np.nan  # this grid cell is not forecast
    forecast = make_forecast(members, np.ones((2, 1, 3), bool), window, forecaster="mock")
    #        both  alone  off  idle  unknown
    matrix = [[1.0, 0.0, 0.0, 0.5, 0.5], [0.0, 1.0, 0.0, 0.5, 0.5], [1.0, 0.0, 0.0, 0.0, 0.0]]
    usual = np.array([2.0, 1.0, 3.0, 0.0, np.nan])
    names = ["both", "alone", "off", "idle", "unknown"]
    found = forecast_per_cell(forecast, sparse.csc_matrix(matrix), names, at_all_times(usual, 2))
    np.testing.assert_array_equal(found["traffic"].values, [[12.0, np.nan, np.nan, 0.0, np.nan]] * 2)
    assert found.attrs["forecaster"] == "mock" and found["traffic"].attrs["units"] == "GB per period"
    export_cells(found, tmp_path / "cells.csv")
    frame = polars.read_csv(tmp_path / "cells.csv")
    assert frame.columns == ["cell", "time", "traffic", "low", "high", "unit"]
    assert frame["high"].to_list() == [12.0, None, None, 0.0, None] * 2


def test_what_is_not_shared_is_measured_by_all_that_is_forecast():
    """A square that ends within the forecast was in no part of the whole: all of the traffic was in no cell's row."""
    window = mock_city(2, 1, 2)
    members = np.array([[[[10.0, 1.0]], [[np.nan, 1.0]]]], np.float32)
    forecast = make_forecast(members, np.isfinite(members[0]), window, forecaster="made")
    usual = at_all_times(np.array([1.0, 0.0]), 2)
    found = forecast_per_cell(forecast, sparse.csr_array(np.eye(2)), ["a", "b"], usual)
    assert found.attrs["not_shared"] == pytest.approx(2 / 12)


def test_a_cell_out_of_service_is_empty_unless_it_is_recorded():
    window = mock_city(2, 1, 2)
    members = np.full((3, 2, 1, 2), 4.0, np.float32)
    forecast = make_forecast(members, np.ones((2, 1, 2), bool), window, forecaster="made")
    usual, there = at_all_times(np.array([0.0, 1.0]), 2), np.array([[False, True], [False, True]])
    recorded = np.array([[np.nan, np.nan], [0.5, np.nan]])
    found = forecast_per_cell(forecast, sparse.csr_array(np.eye(2)), ["a", "b"], usual, recorded, there)
    for name in ("traffic", "low", "high"):
        np.testing.assert_array_equal(found[name].values, [[np.nan, 4], [0.5, 4]])


def test_shapes_that_do_not_fit_and_negative_shares_are_refused():
    forecast = mock_forecast(mock_city(steps=4, height=2, width=2), horizon=2, samples=2)
    with pytest.raises(IngestError, match="4 grid cells and 2 periods and there are 1 names, but the matrix is 3 x 1"):
        forecast_per_cell(forecast, sparse.csr_array(np.ones((3, 1))), ["a"], at_all_times(np.ones(1), 2))
    with pytest.raises(IngestError, match=r"usual has the shapes \[\(\(1, 2\), \(2,\)\)\]"):
        forecast_per_cell(forecast, sparse.csr_array(np.ones((4, 1))), ["a"], at_all_times(np.ones(2), 2))
    for share, usual in ((-1.0, 1.0), (1.0, -1.0), (1.0, np.inf)):
        with pytest.raises(IngestError, match="negative or infinite"):
            forecast_per_cell(forecast, sparse.csr_array(np.full((4, 1), share)), ["a"], at_all_times([usual], 2))
