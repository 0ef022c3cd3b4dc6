"""A city in hours that was built of quarters: every amount has the unit of its own period."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars
import pytest

import fomo
from fomo.app.service.city_page import city_lines
from fomo.evaluation.health import health_of
from fomo.evaluation.health_figures import health_figures
from fomo.exports.city_cells import cells_of_city
from fomo.ingest.store import CityStore
from small import Run

sys.path.append(str(Path(__file__).parents[1] / "ingest"))
from operator_made import traffic_of, write_days, write_sites

TRAFFIC = traffic_of(5, minutes=15)
HOURLY = TRAFFIC.reshape(-1, 4, TRAFFIC.shape[1]).sum(1) / 1e9


@pytest.fixture
def hourly(tmp_path: Path, run: Run) -> Path:
    write_sites(tmp_path)
    write_days(tmp_path / "counters", TRAFFIC, minutes=15)
    out = tmp_path / "city.zarr"
    said = run(
        "city", "build", "--counters", tmp_path / "counters", "--sites", tmp_path / "sites.csv", "--out", out,
        "--cell-km", 1, "--time-zone", "Europe/Helsinki", "--minutes", 60,
    )  # fmt: skip
    assert said.code == 0, said.err
    return out


def test_amounts_of_cells_have_the_unit_of_the_cells_own_periods(hourly: Path) -> None:
    """The busy hour was told as a quarter's amount with the unit of an hour: a planner was off by 4."""
    city, store = fomo.open_city(hourly), CityStore(hourly)
    looked = health_of(city, store.cells())
    assert (city.attrs["unit"], looked.records.unit) == ("GB per 60 min", "GB per 15 min")
    assert health_of(city).records.unit == "GB per 60 min"
    lines = dict(line for line in city_lines(city, health=looked) if line[0])
    assert lines["unit"].startswith("GB per 60 min; of amounts of cells")
    for name in ("busy hour", "busiest cells", "total, Mon–Fri"):
        assert "GB per 15 min" in lines[name] and "60 min" not in lines[name], name
    drawn = health_figures(city, looked)
    for name, unit in (("total", "GB per 15 min"), ("profile", "GB per 15 min"), ("map", "GB per 60 min")):
        said = [text.get_text() for text in drawn[name].findobj(lambda artist: hasattr(artist, "get_text"))]
        assert any(unit in text for text in said), name


def test_a_table_of_cells_has_the_periods_of_the_city_and_says_its_unit(hourly: Path, run: Run) -> None:
    """What was recorded came in quarters and what was forecast in hours, under one header without a unit."""
    forecast, recorded, ahead = (hourly.with_name(name) for name in ("next.zarr", "recorded.csv", "ahead.csv"))
    assert run("city", "export", hourly, "--kind", "cells", "--out", recorded).code == 0
    cells = polars.read_csv(recorded)
    assert cells.columns == ["cell", "time", "traffic", "users", "unit"]
    np.testing.assert_allclose(cells["traffic"].to_numpy().reshape(HOURLY.shape), HOURLY, rtol=1e-5)
    np.testing.assert_allclose(cells["users"].to_numpy().reshape(HOURLY.shape), 1e4 * HOURLY / 4, rtol=1e-5)
    assert run("forecast", hourly, "--horizon", 2, "--samples", 2, "--out", forecast).code == 0
    assert run("city", "export", hourly, "--forecast", forecast, "--kind", "cells", "--out", ahead).code == 0
    for table in (cells, polars.read_csv(ahead)):
        assert set(table["unit"]) == {"GB per 60 min"}
        assert table["time"].str.slice(14, 2).unique().to_list() == ["00"]


def test_an_hour_with_a_missing_quarter_is_missing_and_one_that_the_clock_skips_in_part_is_not(
    tmp_path: Path, run: Run
) -> None:
    write_sites(tmp_path)
    (day,) = write_days(tmp_path / "counters", traffic_of(1, minutes=15), minutes=15)
    frame = polars.read_csv(day).with_columns(polars.col("time").str.replace("2024-03-01", "2024-03-31"))
    hour = polars.col("time").str.slice(11, 2)
    lost = (polars.col("cell") == "S0-1") & (polars.col("time") == "2024-03-31 10:15:00")
    frame.filter((hour != "03") & ~lost).write_csv(day)  # 03:00 to 04:00 never was
    out = tmp_path / "city.zarr"
    said = run("city", "build", "--counters", day, "--sites", tmp_path / "sites.csv", "--out", out, "--minutes", 120,
               "--time-zone", "Europe/Helsinki")  # fmt: skip
    assert said.code == 0, said.err
    cells = cells_of_city(CityStore(out)).load()
    counted = traffic_of(1, minutes=15).reshape(12, 8, -1) / 1e9
    assert np.isnan(cells["traffic"].values).sum() == 1 and np.isnan(cells["traffic"].values[5, 0])
    np.testing.assert_allclose(cells["traffic"].values[1], counted[1, :4].sum(0), rtol=1e-5)
    np.testing.assert_allclose(cells["users"].values[1], 1e4 * counted[1, :4].mean(0), rtol=1e-5)
    assert str(cells["time"].values[1])[:16] == "2024-03-31T02:00"
