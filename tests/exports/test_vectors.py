"""Features read back with pyogrio and json: squares, times with their offset, nulls; and what is refused."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
from export_cities import GROUND, HOLE, MISSING, ZERO, on_the_ground

from fomo.city import make_city, mock_city
from fomo.exports.vectors import export_vector
from fomo.forecast import mock_forecast, quantiles_of
from fomo.ingest.ledger import IngestError

SUFFIX = {"geojson": ".geojson", "gpkg": ".gpkg"}


def read_back(path):
    """Columns by name with times as they stand there, and geometries."""
    meta, _, shapes, columns = pyogrio.raw.read(path, datetime_as_string=True)
    return meta, shapely.from_wkb(shapes), dict(zip(meta["fields"], columns, strict=True))


@pytest.mark.parametrize("kind", SUFFIX)
def test_every_covered_cell_and_period_is_a_feature(tmp_path, kind):
    city = on_the_ground()
    path = tmp_path / f"city{SUFFIX[kind]}"
    assert export_vector(city, path, kind=kind) == path
    meta, shapes, found = read_back(path)
    assert meta["crs"] == {"geojson": "EPSG:4326", "gpkg": "EPSG:32633"}[kind]
    assert list(found) == ["time", "row", "column", "traffic", "users"]
    kinds = dict(zip(meta["fields"], meta["ogr_types"], strict=True))
    assert kinds["time"] == "OFTDateTime"  # what QGIS' temporal controller asks for
    assert len(shapes) == 48 * 11 and shapely.is_valid(shapes).all()
    assert (HOLE[0], HOLE[1]) not in set(zip(found["row"].tolist(), found["column"].tolist(), strict=True))
    zone = pyproj.Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    expected_time = city["time"].values.astype("datetime64[s]").tolist()
    for index in range(0, len(shapes), 7):
        period, y, x = index // 11, int(found["row"][index]), int(found["column"][index])
        offset = timedelta(hours=1 if expected_time[period] < datetime(2024, 3, 31, 3) else 2)
        moment = datetime.fromisoformat(found["time"][index])
        assert moment == expected_time[period].replace(tzinfo=timezone(offset))
        value = city["traffic"].values[period, y, x]
        np.testing.assert_array_equal(np.float32(found["traffic"][index]), value)
        np.testing.assert_array_equal(np.float32(found["users"][index]), 2 * value)
        centre = GROUND.west + (x + 0.5) * 250, GROUND.south + (y + 0.5) * 250
        if kind == "geojson":
            centre = zone.transform(*centre)
        at = shapes[index].centroid
        np.testing.assert_allclose((at.x, at.y), centre, atol=2e-7 if kind == "geojson" else 1e-6, rtol=0)
    if kind == "gpkg":
        np.testing.assert_allclose(shapely.area(shapes), 250**2)


@pytest.mark.parametrize("kind", SUFFIX)
@pytest.mark.parametrize("statistic", ["mean", "peak", "busy_hour"])
def test_a_statistic_is_one_feature_per_cell_without_a_time(tmp_path, kind, statistic):
    path, city = tmp_path / f"city{SUFFIX[kind]}", on_the_ground()
    export_vector(city, path, kind=kind, statistic=statistic)
    _, shapes, found, *_ = read_back(path)
    assert "time" not in found and len(shapes) == 11
    hour = city["time"].values.astype("datetime64[h]").astype(int) % 24
    for index in range(11):
        series = city["traffic"].values[:, int(found["row"][index]), int(found["column"][index])]
        wanted = {
            "mean": np.nanmean(series),
            "peak": np.nanmax(series),
            "busy_hour": max(np.nanmean(series[hour == each]) for each in np.unique(hour)),
        }
        assert found["traffic"][index] == pytest.approx(wanted[statistic], rel=1e-6)
        assert found["users"][index] == pytest.approx(2 * wanted[statistic], rel=1e-6)


def test_geojson_says_wall_clock_offset_null_and_where_it_is_from(tmp_path):
    path = tmp_path / "city.geojson"
    export_vector(on_the_ground(), path, kind="geojson", times=slice("2024-03-30T05:00", "2024-03-30T05:00"))
    told = json.loads(path.read_text())
    assert "crs" not in told  # RFC 7946, section 4
    assert told["metadata"]["UNITS"] == "GB per period" and told["metadata"]["LICENCE"] == "CC-BY 4.0"
    features = {(f["properties"]["row"], f["properties"]["column"]): f for f in told["features"]}
    assert len(features) == len(told["features"]) == 11
    assert {f["properties"]["time"] for f in told["features"]} == {"2024-03-30T05:00:00+01:00"}
    assert features[MISSING[1:]]["properties"]["traffic"] is None
    assert features[MISSING[1:]]["properties"]["users"] is None
    assert features[ZERO[1:]]["properties"]["traffic"] == 0
    ring = features[0, 0]["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1] and len(ring) == 5
    assert sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring)) > 0  # counterclockwise


def test_a_geopackage_is_in_utc_and_says_where_it_is_from(tmp_path):
    path = tmp_path / "city.gpkg"
    export_vector(on_the_ground(), path, kind="gpkg")
    tables = sqlite3.connect(path)
    first, last = tables.execute("SELECT min(time), max(time) FROM traffic").fetchone()
    assert (first, last) == ("2024-03-29T23:00:00Z", "2024-03-31T21:00:00Z")
    nulls = tables.execute("SELECT count(*) FROM traffic WHERE traffic IS NULL AND users IS NULL").fetchone()
    assert nulls == (1,)
    info = pyogrio.read_info(path)
    assert info["layer_metadata"]["UNITS"] == "GB per period" and info["layer_metadata"]["TIME_ZONE"] == "Europe/Rome"


@pytest.mark.parametrize("kind", SUFFIX)
@pytest.mark.parametrize("unknown", [{"time_zone": ""}, {"calendar": "weekday"}])
@pytest.mark.filterwarnings("ignore:Non-conformant content")
def test_without_a_zone_times_bear_no_offset(tmp_path, kind, unknown):
    path = tmp_path / f"city{SUFFIX[kind]}"
    export_vector(on_the_ground(**unknown), path, kind=kind)
    assert read_back(path)[2]["time"][0] == "2024-03-30T00:00:00"


@pytest.mark.parametrize("kind", SUFFIX)
def test_a_forecast_has_its_mean_and_its_interval(tmp_path, kind):
    city = on_the_ground()
    forecast = mock_forecast(city, horizon=6, samples=20)
    path = tmp_path / f"forecast{SUFFIX[kind]}"
    export_vector(forecast, path, kind=kind, city=city)
    meta, shapes, found = read_back(path)
    assert list(found) == ["time", "row", "column", "mean", "low", "high"] and len(shapes) == 6 * 11
    index = np.repeat(np.arange(6), 11), found["row"], found["column"]
    members = forecast.samples.values
    np.testing.assert_allclose(found["mean"], members.mean(0, dtype=float)[index], rtol=1e-6)
    np.testing.assert_allclose(found["low"], quantiles_of(members, 0.05)[index], rtol=1e-6)
    np.testing.assert_allclose(found["high"], quantiles_of(members, 0.95)[index], rtol=1e-6)
    assert datetime.fromisoformat(found["time"][0]).astimezone(timezone(timedelta(hours=2))).hour == 18
    assert meta["crs"] == {"geojson": "EPSG:4326", "gpkg": "EPSG:32633"}[kind]


@pytest.mark.parametrize("kind", SUFFIX)
def test_without_a_ground_squares_lie_around_longitude_and_latitude(tmp_path, kind):
    lon, lat = np.meshgrid([9.0, 9.1], [45.0, 45.2, 45.4])
    traffic = np.ones((2, 3, 2), np.float32)
    told = {"name": "degrees", "start": "2024-01-01", "step_minutes": 60, "lon": lon, "lat": lat}
    path = tmp_path / f"d{SUFFIX[kind]}"
    export_vector(make_city(traffic, cell_km=2.0, **told), path, kind=kind)
    meta, shapes, found = read_back(path)
    assert meta["crs"] == "EPSG:4326" and meta["geometry_type"] == "Polygon"
    globe = pyproj.Geod(ellps="sphere")
    for shape, y, x in zip(shapes, found["row"], found["column"], strict=True):
        np.testing.assert_allclose((shape.centroid.x, shape.centroid.y), (lon[y, x], lat[y, x]), atol=1e-6)
        assert abs(globe.geometry_area_perimeter(shape)[0]) == pytest.approx(4e6, rel=2e-3)  # 2 km x 2 km
    for pointlike in ({"cell_km": 0.0}, {"cell_km": 2.0, "layout": "list"}):
        export_vector(make_city(traffic, **told, **pointlike), path, kind=kind)
        meta, shapes, found = read_back(path)
        assert meta["geometry_type"] == "Point"
        np.testing.assert_allclose(shapely.get_x(shapes)[:6], lon[found["row"][:6], found["column"][:6]])


def test_a_city_that_says_nowhere_where_it_is_is_refused(tmp_path):
    with pytest.raises(IngestError, match="crs, west_m, south_m, cell_m"):
        export_vector(mock_city(), tmp_path / "x.gpkg", kind="gpkg")
    lost = on_the_ground()
    del lost.attrs["west_m"]
    with pytest.raises(IngestError, match="lacks the attributes west_m, so"):  # though it has lon and lat
        export_vector(lost, tmp_path / "x.gpkg", kind="gpkg")
    lost = on_the_ground()
    for name in GROUND.attributes():
        del lost.attrs[name]
    lost["lon"][2, 1] = np.nan
    with pytest.raises(IngestError, match="1 covered cells have no lon and lat, the first at y=2, x=1"):
        export_vector(lost, tmp_path / "x.gpkg", kind="gpkg")
    assert not list(tmp_path.iterdir())


def test_too_many_features_are_refused_with_times_that_fit(tmp_path, monkeypatch):
    monkeypatch.setattr("fomo.exports.vectors.MOST_FEATURES", 100)
    city = on_the_ground()
    with pytest.raises(IngestError, match="11 covered cells x 48 periods are 528 features, more than 100") as refused:
        export_vector(city, tmp_path / "x.gpkg", kind="gpkg")
    assert "times=slice('2024-03-30T00:00', '2024-03-30T08:00')" in str(refused.value)
    export_vector(city, tmp_path / "x.gpkg", kind="gpkg", times=slice("2024-03-30T00:00", "2024-03-30T08:00"))
    assert pyogrio.read_info(tmp_path / "x.gpkg")["features"] == 99
    monkeypatch.setattr("fomo.exports.vectors.MOST_FEATURES", 10)
    with pytest.raises(IngestError, match="one period is too much"):
        export_vector(city, tmp_path / "y.gpkg", kind="gpkg")


@pytest.mark.parametrize("kind", SUFFIX)
def test_an_older_export_of_vectors_is_replaced_and_anything_else_only_when_told(tmp_path, kind):
    city = on_the_ground()
    path = tmp_path / f"x{SUFFIX[kind]}"
    for hours in (3, 2):
        export_vector(city.isel(time=slice(0, hours)), path, kind=kind)
        assert pyogrio.read_info(path)["features"] == hours * 11
    path.write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(IngestError, match="pass overwrite=True"):
        export_vector(city, path, kind=kind)
    export_vector(city, path, kind=kind, overwrite=True)
    assert pyogrio.read_info(path)["features"] == 48 * 11
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_geopackage_with_layers_of_others_or_open_elsewhere_is_kept(tmp_path):
    city = on_the_ground()
    path = tmp_path / "x.gpkg"
    export_vector(city, path, kind="gpkg")
    point = np.array([shapely.to_wkb(shapely.Point(0, 0))], dtype=object)
    pyogrio.raw.write(
        path, point, [], [], layer="sites", driver="GPKG", geometry_type="Point", crs="EPSG:4326", append=True
    )
    with pytest.raises(IngestError, match="pass overwrite=True"):
        export_vector(city, path, kind="gpkg")
    assert {name for name, _ in pyogrio.list_layers(path)} == {"traffic", "sites"}
    (tmp_path / "x.gpkg-wal").write_bytes(b"")
    with pytest.raises(IngestError, match="open in another program"):
        export_vector(city, path, kind="gpkg", overwrite=True)
