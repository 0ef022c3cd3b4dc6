"""`fomo city`: an operator's files to a city, a forecast of it, and back to files."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import polars
import pytest
import rasterio
import zarr

import fomo
from fomo.app.service.city_building import report_lines
from fomo.app.service.city_surroundings import counts_of
from fomo.forecast import make_forecast
from fomo.ingest.build import report_of
from fomo.ingest.poi import PoiLayers
from fomo.sources.categories import CATEGORIES
from small import Run

sys.path.append(str(Path(__file__).parents[1] / "ingest"))
from operator_made import traffic_of, write_days, write_sites

HOUR = np.timedelta64(1, "h")
POI = "lon,lat,category\n24.94,60.17,restaurant\n24.95,60.17,amenity=school\n24.94,60.171,castle in the air\n"


@pytest.fixture
def operator(tmp_path: Path) -> Path:
    write_sites(tmp_path)
    write_days(tmp_path / "counters", traffic_of(5))
    (tmp_path / "poi.csv").write_text(POI, encoding="utf-8")
    return tmp_path


def build(operator: Path, run: Run, *more: object) -> Path:
    out = operator / "city.zarr"
    said = run(
        "city", "build", "--counters", operator / "counters", "--sites", operator / "sites.csv", "--out", out,
        "--cell-km", 0.5, "--time-zone", "Europe/Helsinki", *more,
    )  # fmt: skip
    assert said.code == 0, said.err
    assert "rows taken" in said.out and "1,800" in said.out and "dl_bytes (bytes down" in said.out
    return out


def test_from_counters_to_a_forecast_and_its_maps(operator: Path, run: Run) -> None:
    out = build(operator, run, "--poi", operator / "poi.csv", "--licence", "made up")
    city = fomo.open_city(out)
    assert city.attrs["time_zone"] == "Europe/Helsinki" and city.attrs["licence"] == "made up"
    assert city["poi"].sizes["category"] == 15 and np.nansum(city["poi"].values) == 2
    forecast = operator / "forecast.zarr"
    said = run("forecast", out, "--horizon", 4, "--samples", 4, "--out", forecast)
    assert said.code == 0, said.err
    said = run("city", "export", out, "--forecast", forecast, "--kind", "geotiff", "--out", operator / "next.tif")
    assert said.code == 0, said.err
    with rasterio.open(operator / "next.tif") as raster:
        assert raster.crs.to_epsg() == 32635 and raster.res == (500.0, 500.0)
    said = run("city", "export", out, "--forecast", forecast, "--kind", "cells", "--out", operator / "next.csv")
    assert said.code == 0, said.err
    cells = polars.read_csv(operator / "next.csv")
    assert set(cells["cell"]) == set(polars.read_csv(operator / "sites.csv")["cell"])
    whole = fomo.Forecast.open(forecast).mean.sum().item()
    assert cells["traffic"].sum() == pytest.approx(whole, rel=1e-4)
    for option, value in (("--first", "2024-03-06T02:00"), ("--last", "2024-03-06T01:00")):
        said = run(
            "city", "export", out, "--forecast", forecast, "--kind", "cells", "--out", operator / "cut.csv", option,
            value, "--overwrite",
        )  # fmt: skip
        assert said.code == 0, said.err
        assert polars.read_csv(operator / "cut.csv").height == cells.height / 2
    other = operator / "other.zarr"
    out.rename(operator / "aside.zarr")
    build_as(operator, run, other)
    said = run("city", "export", other, "--forecast", forecast, "--kind", "cells", "--out", operator / "no.csv")
    assert said.code == 2 and "the forecast is of 'city', not of 'other'" in said.err


def test_a_forecast_for_squares_that_nobody_serves_any_more_is_in_no_cells_row_and_that_is_said(
    operator: Path, run: Run
) -> None:
    """A cell that had ended got all of a square that it has alone."""
    sites = polars.read_csv(operator / "sites.csv")
    ended = polars.col("cell").str.starts_with("S4")
    sites.with_columns(to=polars.when(ended).then(polars.lit("2024-03-05"))).write_csv(operator / "sites.csv")
    out, forecast = build(operator, run), operator / "forecast.zarr"
    city = fomo.open_city(out)
    window = city.isel(time=slice(0, 4)).assign_coords(time=city["time"].values[-1] + np.arange(1, 5) * HOUR)
    asked = np.broadcast_to(city["covered"].values, window["traffic"].shape)
    make_forecast(np.where(asked, np.ones((2, *asked.shape)), np.nan), asked, window, forecaster="made").save(forecast)
    said = run("city", "export", out, "--forecast", forecast, "--kind", "cells", "--out", operator / "next.csv")
    assert said.code == 0 and re.search(r"[\d.]+ % of the forecast traffic is in no cell's row: \d+ squares", said.err)
    cells = polars.read_csv(operator / "next.csv").filter(polars.col("traffic") > 0)
    assert cells.height and not cells.filter(ended).height


def build_as(operator: Path, run: Run, out: Path) -> None:
    said = run("city", "build", "--counters", operator / "counters", "--sites", operator / "sites.csv", "--out", out,
               "--cell-km", 0.5)  # fmt: skip
    assert said.code == 0, said.err


def test_the_cells_of_a_city_come_back_as_they_were_counted(operator: Path, run: Run) -> None:
    out = build(operator, run)
    said = run("city", "export", out, "--kind", "cells", "--out", operator / "cells.csv", "--last", "2024-03-02")
    assert said.code == 0, said.err
    cells = polars.read_csv(operator / "cells.csv").sort("time", "cell")
    counted = traffic_of(5)[:48]
    assert cells.height == counted.size
    np.testing.assert_allclose(cells["traffic"].to_numpy().reshape(counted.shape), counted / 1e9, rtol=1e-6)


def distrust(out: Path, periods: slice, traffic: float) -> None:
    """A city in whose first cell some periods hold a value that its file does not trust."""
    cells = zarr.open_group(out / "cells", mode="a")
    for name, value in (("traffic", traffic), ("state", 2)):
        array = cells[name]
        assert isinstance(array, zarr.Array)
        array[periods, 0] = value


def test_what_a_file_does_not_trust_says_nothing_of_a_cells_share_and_is_not_exported(operator: Path, run: Run) -> None:
    out, forecast = build(operator, run), operator / "forecast.zarr"
    assert run("forecast", out, "--horizon", 2, "--samples", 2, "--out", forecast).code == 0
    tables = []
    for name in ("before", "after"):
        for more in ((), ("--forecast", forecast)):
            to = operator / f"{name}{len(more)}.csv"
            assert run("city", "export", out, *more, "--kind", "cells", "--out", to).code == 0
            tables.append(polars.read_csv(to))
        distrust(out, slice(30, 42), 1e6)
    counted, ahead, doubted, ahead_doubted = tables
    some = doubted.filter(polars.col("cell") == doubted["cell"][0])
    assert some["traffic"].null_count() == 12 and counted["traffic"].null_count() == 0
    assert doubted["traffic"].max() == counted["traffic"].max()
    np.testing.assert_allclose(ahead_doubted["traffic"].to_numpy(), ahead["traffic"].to_numpy(), rtol=0.2)


def test_the_unit_of_a_column_taken_as_it_is_can_be_said(operator: Path, run: Run) -> None:
    table = operator / "plain.csv"
    rows = [f"S1-1,2024-03-01T{hour:02}:00,{hour + 1}" for hour in range(24)]
    table.write_text("\n".join(["cell,time,traffic", *rows]), encoding="utf-8")
    name = polars.read_csv(operator / "sites.csv")[0, 0]
    table.write_text(table.read_text(encoding="utf-8").replace("S1-1", str(name)), encoding="utf-8")
    given = ("city", "build", "--counters", table, "--sites", operator / "sites.csv", "--time-zone", "Europe/Helsinki")
    for unit, told in (((), "unknown volume per 60 min"), (("--unit", "MB"), "MB per 60 min")):
        out = operator / f"city{len(unit)}.zarr"
        said = run(*given, "--out", out, *unit)
        assert said.code == 0, said.err
        assert fomo.open_city(out).attrs["unit"] == told


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("geotiff", "x.tif", "--first", "garbage"), "--first garbage is no time of the city's wall clock"),
        (("cells", "x.csv", "--last", "2024-13-01"), "--last 2024-13-01 is no time"),
        (("cells", "x.csv", "--first", "2024-03-01T00:00+02:00"), "is no time of the city's wall clock"),
        (
            ("cells", "x.csv", "--first", "2024-11-05"),
            "no period lies from 2024-11-05 on: there are 2024-03-01T00:00 to",
        ),
        (("geotiff", "x.tif", "--last", "2023-11"), "no period lies up to 2023-11: there are"),
        (("gpkg", "x.gpkg", "--first", "2025", "--last", "2026"), "no period lies from 2025 on and up to 2026: there"),
        (("cells", "x.csv", "--statistic", "peak"), "--statistic peak is of maps"),
        (("cells", "x.csv", "--variable", "users"), "--variable users is of rasters"),
        (("gpkg", "x.gpkg", "--variable", "users"), "--variable users is of rasters"),
    ],
)
def test_an_export_that_would_ignore_an_option_is_refused(
    operator: Path, run: Run, options: tuple[str, ...], says: str
) -> None:
    out = build(operator, run)
    kind, name, *more = options
    said = run("city", "export", out, "--kind", kind, "--out", operator / name, *more)
    assert said.code == 2 and says in said.err and said.err.count("\n") == 1
    assert not (operator / name).exists()


def test_tables_with_columns_of_other_names_are_read_where_the_names_are_said(operator: Path, run: Run) -> None:
    """The message named an argument that no option of the command line could give."""
    for name, named in (
        ("sites.csv", "Zelle,X_WGS,Y_WGS,Richtung"),
        ("poi.csv", "E,N,KIND"),
        ("people.csv", "E,N,HEADS\n24.94,60.17,100\n24.95,60.17,50"),
    ):
        path = operator / name
        rows = path.read_text(encoding="utf-8").split("\n", 1)[1] if path.exists() else ""
        path.write_text(f"{named}\n{rows}", encoding="utf-8")
    asked = (
        "city", "build", "--counters", operator / "counters", "--sites", operator / "sites.csv", "--out",
        operator / "city.zarr", "--cell-km", 0.5,
    )  # fmt: skip
    said = run(*asked)
    assert said.code == 2 and "say which with --site-columns cell=COLUMN lon=COLUMN lat=COLUMN" in said.err
    sites = ("--site-columns", "cell=Zelle", "lon=X_WGS", "lat=Y_WGS", "azimuth=Richtung")
    around = ("--poi", operator / "poi.csv", "--residents", operator / "people.csv")
    said = run(*asked, *sites, *around)
    assert said.code == 2 and "--poi-columns lon=COLUMN" in said.err
    around += ("--poi-columns", "lon=E", "lat=N", "category=KIND")
    said = run(*asked, *sites, *around)
    assert said.code == 2 and "--residents-columns lon=COLUMN" in said.err
    said = run(*asked, *sites, *around, "--residents-columns", "lon=E", "lat=N", "people=HEADS")
    assert said.code == 0, said.err
    city = fomo.open_city(operator / "city.zarr")
    assert np.nansum(city["poi"].values) == 2 and np.nansum(city["residents"].values) == 150
    assert np.nansum(city["traffic"].values) == pytest.approx(1e-9 * traffic_of(5).sum(), rel=1e-5)


def test_points_that_are_shifted_are_moved_where_it_is_said(operator: Path, run: Run) -> None:
    (operator / "poi.csv").write_text(POI.replace("lon,lat", "lon_gcj02,lat_gcj02"), encoding="utf-8")
    asked = (
        "city", "build", "--counters", operator / "counters", "--sites", operator / "sites.csv", "--out",
        operator / "city.zarr", "--poi", operator / "poi.csv",
    )  # fmt: skip
    said = run(*asked)
    assert said.code == 2 and "say --poi-gcj02" in said.err
    said = run(*asked, "--poi-gcj02")
    assert said.code == 0, said.err
    assert np.nansum(fomo.open_city(operator / "city.zarr")["poi"].values) == 2


def test_points_that_are_not_counted_are_told(operator: Path, run: Run) -> None:
    (operator / "poi.csv").write_text(POI + "3.0,3.0,restaurant\n", encoding="utf-8")
    said = run(
        "city", "build", "--counters", operator / "counters", "--sites", operator / "sites.csv", "--out",
        operator / "city.zarr", "--poi", operator / "poi.csv",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert "poi.csv: 2 of 4 points counted, 1 off the grid" in said.out
    assert "1 x in no category: castle in the air" in said.out
    kept = report_of(operator / "city.zarr")["around"]["poi"]
    assert kept["sha256"] == hashlib.sha256((operator / "poi.csv").read_bytes()).hexdigest()
    assert {name: count for name, count in kept["categories"].items() if count is not None} == {
        "restaurant": 1, "education": 1,
    }  # fmt: skip
    assert len(kept["categories"]) == 15 and kept["in_no_category"] == {"castle in the air": 1}
    assert sum(filter(None, kept["categories"].values())) + 1 + kept["off_the_grid"] == kept["points"] == 4
    said = run("city", "inspect", operator / "city.zarr")
    shown = " ".join(said.out.split())
    assert "education 1" in shown and "restaurant 1" in shown and "not recorded by poi.csv: " in shown
    assert "in no category: 1 of 1 names" in shown and "2 of 4 points counted" in shown
    append = run("city", "build", "--counters", operator / "counters", "--sites", operator / "sites.csv", "--out",
                 operator / "city.zarr", "--poi", operator / "poi.csv")  # fmt: skip
    assert append.code == 0 and report_of(operator / "city.zarr")["around"]["poi"] == kept


def test_of_many_names_without_a_category_the_most_frequent_are_kept_and_the_rest_counted() -> None:
    unknown = {f"name {number}": number for number in range(1, 151)}
    count = np.full((15, 1, 3), np.nan)
    count[0] = [[1, 2, np.nan]]
    kept = counts_of(PoiLayers(CATEGORIES, count, unknown, 7, 3 + sum(unknown.values()) + 7, "nobody"))
    assert kept["categories"] == {**dict.fromkeys(CATEGORIES), CATEGORIES[0]: 3} and kept["off_the_grid"] == 7
    assert next(iter(kept["in_no_category"].items())) == ("name 150", 150) and len(kept["in_no_category"]) == 100
    assert kept["other_names"] == 50 and kept["of_other_names"] == sum(range(1, 51))


def test_squares_of_the_busy_hour(operator: Path, run: Run) -> None:
    out, path = build(operator, run), operator / "busy.geojson"
    said = run("city", "export", out, "--kind", "geojson", "--statistic", "busy_hour", "--out", path)
    assert said.code == 0, said.err
    told = json.loads(path.read_text(encoding="utf-8"))
    assert told["metadata"]["STATISTIC"] == "busy_hour" and len(told["features"]) == int(city_cells(out))


def test_counters_that_nobody_knows_give_a_mapping_to_complete(tmp_path: Path, run: Run) -> None:
    (tmp_path / "odd.csv").write_text("cell,time,blips\nA,2024-03-01 00:00:00,1\n", encoding="utf-8")
    said = run("city", "mapping", "--counters", tmp_path / "odd.csv", "--time-zone", "Europe/Rome")
    assert said.code == 1 and "no counter of the traffic is known among blips" in said.err
    told = tomllib.loads(said.out)
    assert told["traffic"]["counters"] == {} and told["time"]["zone"] == "Europe/Rome"


def test_names_are_taken_out_of_objects_by_an_option(operator: Path, run: Run) -> None:
    for path in (operator / "counters").iterdir():
        path.write_text(re.sub(r"^(S\d)", r"Cell=\1", path.read_text(), flags=re.MULTILINE), encoding="utf-8")
    build(operator, run, "--cell-pattern", "Cell=(.+)")
    said = run("city", "mapping", "--counters", operator / "counters", "--cell-pattern", "Cell=(.+)")
    assert tomllib.loads(said.out)["cell"]["pattern"] == "Cell=(.+)"
    (operator / "mapping.toml").write_text(said.out, encoding="utf-8")
    said = run("city", "mapping", "--counters", operator / "counters", "--mapping", operator / "mapping.toml",
               "--cell-pattern", "(.+)")  # fmt: skip
    assert said.code == 2 and "say it once" in said.err
    said = run("city", "mapping", "--counters", operator / "counters", "--cell-pattern", "(")
    assert said.code == 2 and "--cell-pattern" in said.err and "no regular expression" in said.err


def test_more_names_than_are_said_are_hinted_at() -> None:
    cells = [f"C{number}" for number in range(7)]
    said = dict(report_lines({"sites": {"without_counters": cells}, "cells_off_the_grid": cells[:2]}))
    assert said["cells without counters"] == "7: C0, C1, C2, C3, C4, …"
    assert said["cells off the grid"] == "2: C0, C1"


def test_append_then_inspect_then_export(operator: Path, run: Run) -> None:
    out = build(operator, run)
    said = run("city", "append", out, "--counters", operator / "counters")
    assert said.code == 0 and report_of(out)["taken"] == 1800  # all known: nothing is read twice
    said = run("city", "inspect", out, "--page", operator / "city.html")
    assert said.code == 0, said.err
    assert "recorded" in said.out.lower()
    assert "<html" in (operator / "city.html").read_text(encoding="utf-8")
    said = run(
        "city", "export", out, "--kind", "geojson", "--out", operator / "city.geojson", "--first", "2024-03-02T00:00",
        "--last", "2024-03-02T01:00",
    )  # fmt: skip
    assert said.code == 0, said.err
    features = json.loads((operator / "city.geojson").read_text(encoding="utf-8"))["features"]
    assert (
        len(features) == 2 * int(city_cells(out)) and features[0]["properties"]["time"] == "2024-03-02T00:00:00+02:00"
    )


def test_an_export_is_not_written_into_a_city(operator: Path, run: Run) -> None:
    out = build(operator, run)
    said = run("city", "export", out, "--kind", "geojson", "--out", out / "map.geojson")
    assert said.code == 2 and "is a city or a forecast, no place for results" in said.err
    assert not (out / "map.geojson").exists()


def test_an_append_says_what_it_added_beside_the_totals(operator: Path, run: Run) -> None:
    *before, last = sorted((operator / "counters").iterdir())
    out = operator / "city.zarr"
    said = run("city", "build", "--counters", *before, "--sites", operator / "sites.csv", "--out", out)
    assert said.code == 0 and "in this run" not in said.out
    text = last.read_text(encoding="utf-8")
    last.write_text(text.replace("S1-1", "X1-1"), encoding="utf-8")
    said = run("city", "append", out, "--counters", operator / "counters")
    lines = {line.split("  ")[0].strip(): " ".join(line.split("  ")[1:]).strip() for line in said.out.splitlines()}
    assert lines["files read"] == "1 in this run, 5 since the build"
    assert lines["rows taken"] == "336 in this run, 1,776 since the build"
    assert lines["days"] == "1 added, 2024-03-05"
    assert lines["rows not taken"].startswith("24 in this run, 24 x ") and "since the build, first: " in said.out
    said = run("city", "append", out, "--counters", operator / "counters")
    assert said.code == 0 and "added nothing: its files were read already" in said.out
    assert "none in this run, 5 since the build" in said.out and "none in this run, 24 x " in said.out
    last.write_text(text.replace("S1-1", "X1-2"), encoding="utf-8")
    said = run("city", "append", out, "--counters", operator / "counters")
    assert "added nothing: its rows are in the city already, or were not taken" in said.out
    said = run("city", "inspect", out)
    assert "in this run" not in said.out


def city_cells(out: Path) -> int:
    return fomo.open_city(out)["covered"].values.sum()


def test_a_renamed_cell_is_told_at_an_append(operator: Path, run: Run) -> None:
    *before, last = sorted((operator / "counters").iterdir())
    text = last.read_text(encoding="utf-8")
    last.rename(operator / "last.csv").write_text(text.replace("S1-1", "X1-1"), encoding="utf-8")
    out = operator / "city.zarr"
    assert run("city", "build", "--counters", *before, "--sites", operator / "sites.csv", "--out", out).code == 0
    wrong = run("city", "append", out, "--counters", operator / "last.csv", "--cell-names", "X1-1")
    assert wrong.code == 2 and "--cell-names X1-1: write name=column, for example BX010_1=BO010_1" in wrong.err
    said = run("city", "append", out, "--counters", operator / "last.csv", "--cell-names", "X1-1=S1-1")
    assert said.code == 0, said.err
    assert "1,800" in said.out and "without a place" not in said.out and "not on the grid" in said.out
    assert np.nansum(fomo.open_city(out)["traffic"].values) == pytest.approx(1e-9 * traffic_of(5).sum(), rel=1e-5)


def test_a_cell_that_was_switched_off_is_told_at_an_append(operator: Path, run: Run) -> None:
    *before, last = sorted((operator / "counters").iterdir())
    gone = [line for line in last.read_text(encoding="utf-8").splitlines() if not line.startswith("S1-1,")]
    last.rename(operator / "last.csv").write_text("\n".join(gone), encoding="utf-8")
    out, sites = operator / "city.zarr", operator / "sites.csv"
    assert run("city", "build", "--counters", *before, "--sites", sites, "--out", out).code == 0
    append = ("city", "append", out, "--counters", operator / "last.csv")
    assert "0.00% of what cells recorded" not in run(*append).out  # the squares of the cell are missing
    head, *rows = sites.read_text(encoding="utf-8").splitlines()
    ended = [f"{row},{'2024-03-04' if row.startswith('S1-1,') else ''}" for row in rows]
    sites.write_text("\n".join([f"{head},last_day", *ended]), encoding="utf-8")
    said = run(*append, "--sites", sites, "--site-columns", "to=last_day")
    assert said.code == 0 and "by what is in service then: 1, 2024-03-05" in said.out, said.err
    assert "0.00% of what cells recorded" in said.out
    said = run(*append, "--sites", operator / "nowhere.csv")
    assert said.code == 2 and "nowhere.csv" in said.err and said.err.count("\n") == 1


def test_counters_that_an_upgrade_renamed_are_told_at_an_append(operator: Path, run: Run) -> None:
    *before, last = sorted((operator / "counters").iterdir())
    text = last.read_text(encoding="utf-8")
    last.rename(operator / "last.csv").write_text(text.replace("dl_bytes", "new_bytes"), encoding="utf-8")
    out = operator / "city.zarr"
    assert run("city", "build", "--counters", *before, "--sites", operator / "sites.csv", "--out", out).code == 0
    append = ("city", "append", out, "--counters", operator / "last.csv")
    said = run(*append)  # users are there
    assert said.code == 0 and "no traffic is recorded on 2024-03-05, only users" in said.out, said.err
    said = run(*append, "--mapping", operator / "nowhere.toml")
    assert said.code == 2 and "there is no mapping" in said.err and said.err.count("\n") == 1
    upgraded = operator / "upgraded.toml"
    upgraded.write_text('[traffic]\ncounters = {"new_bytes" = 1e-9}\nunit = "GB"\n', encoding="utf-8")
    said = run(*append, "--mapping", upgraded)
    assert said.code == 0 and "1 rewritten" in said.out and "no traffic is recorded" not in said.out, said.err
    assert np.nansum(fomo.open_city(out)["traffic"].values) == pytest.approx(1e-9 * traffic_of(5).sum(), rel=1e-5)


def test_rejected_rows_are_added_to_rejected_rows_alone(operator: Path, run: Run) -> None:
    out = build(operator, run, "--rejects", operator / "rejected.csv")
    counters = sorted((operator / "counters").iterdir())
    before = [path.read_bytes() for path in counters]
    said = run("city", "append", out, "--counters", operator / "counters", "--rejects", counters[0])
    assert said.code == 2 and said.err.count("\n") == 1
    assert f"{counters[0]} exists and holds no rejected rows" in said.err
    assert [path.read_bytes() for path in counters] == before
    again = run("city", "append", out, "--counters", operator / "counters", "--rejects", operator / "rejected.csv")
    assert again.code == 0, again.err


def test_the_guessed_mapping_is_a_file_to_correct(operator: Path, run: Run) -> None:
    said = run("city", "mapping", "--counters", operator / "counters")
    assert said.code == 0 and "traffic: dl_bytes" in said.err
    (operator / "mapping.toml").write_text(said.out.replace("1e-09", "8e-09"), encoding="utf-8")
    out = build_with_mapping(operator, run)
    assert np.nansum(fomo.open_city(out)["traffic"].values) == pytest.approx(8e-9 * traffic_of(5).sum(), rel=1e-5)


def build_with_mapping(operator: Path, run: Run) -> Path:
    out = operator / "mapped.zarr"
    said = run(
        "city", "build", "--counters", operator / "counters", "--sites", operator / "sites.csv", "--out", out,
        "--mapping", operator / "mapping.toml",
    )  # fmt: skip
    assert said.code == 0, said.err
    return out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("--counters", "nowhere"), "there is no file nowhere"),
        (("--time-zone", "Europe/Atlantis"), "unknown time zone 'Europe/Atlantis'"),
        (("--crs", "EPSG:4326"), "EPSG:4326"),
        (("--site-columns", "lon"), "--site-columns lon: write name=column, for example lon=X_WGS"),
        (("--site-columns", "lon=E"), "lacks the columns ['E'] that --site-columns names"),
        (("--minutes", 50), "periods of 50 minutes cannot be made"),
        (("--cell-km", 0), "0"),
        (("--poi", "nowhere.osm.pbf"), "nowhere.osm.pbf"),
    ],
)
def test_wrong_options_are_one_clear_line_and_leave_nothing(
    operator: Path, run: Run, change: tuple[str, object], says: str
) -> None:
    options = {"--counters": operator / "counters", "--sites": operator / "sites.csv", "--out": operator / "city.zarr"}
    options[change[0]] = change[1]  # type: ignore[assignment]
    said = run("city", "build", *(part for pair in options.items() for part in pair))
    assert said.code == 2 and says in said.err and said.err.count("\n") == 1
    assert not (operator / "city.zarr").exists()


def test_a_city_that_grows_is_not_replaced_by_an_import_and_nothing_is_put_into_it(operator: Path, run: Run) -> None:
    out = operator / "city.zarr"
    asked = ("city", "build", "--counters", operator / "counters", "--sites", operator / "sites.csv", "--out", out)
    assert run(*asked).code == 0
    before = sorted(str(path) for path in out.rglob("*"))
    table = next(iter(sorted((operator / "counters").iterdir())))
    said = run("data", "import", table, "--positions", operator / "sites.csv", "--cell-km", 1, "--out", out)
    assert said.code == 2 and "grows and would be lost" in said.err
    for verb in (("forecast", out, "--out-folder", out), ("finetune", out, "--out", out / "runs")):
        said = run(*verb)
        assert said.code == 2 and "no place for results" in said.err, said.err
    assert sorted(str(path) for path in out.rglob("*")) == before


def test_a_city_whose_last_day_is_not_over_is_forecast_from_where_it_ends(
    operator: Path, run: Run, weights: Path
) -> None:
    last = sorted((operator / "counters").iterdir())[-1]
    frame = polars.read_csv(last)
    frame.filter(polars.col("time").str.slice(11, 2).cast(polars.Int64) < 12).write_csv(last)
    out, forecast = operator / "city.zarr", operator / "next.zarr"
    asked = ("city", "build", "--counters", operator / "counters", "--sites", operator / "sites.csv", "--out", out)
    assert run(*asked).code == 0
    said = run("forecast", out, "--weights", weights, "--samples", 2, "--horizon", 3, "--out", forecast)
    assert said.code == 0, said.err
    begins = fomo.Forecast.open(forecast).dataset["time"].values[0]
    assert str(begins)[11:16] == "12:00" and str(begins)[:10] == last.stem
    assert "T11:00" in said.err and "the forecast begins after" in said.err


def test_a_city_of_another_making_cannot_be_appended_to(operator: Path, run: Run) -> None:
    fomo.save_city(fomo.synthetic_city(days=2), operator / "other.zarr")
    said = run("city", "append", operator / "other.zarr", "--counters", operator / "counters")
    assert said.code == 2 and "was not made by 'fomo city build'" in said.err


def test_reading_counters_waits_for_no_library_that_it_does_not_need() -> None:
    code = "import sys, fomo.app.service.city_building; print({'xarray', 'pandas', 'dask'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
