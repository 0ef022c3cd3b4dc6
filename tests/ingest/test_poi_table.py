"""Tables of points of interest: made ones of every form, and the real Chinese one."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars
import pytest

from fomo.ingest.gcj02 import gcj02_of_wgs84, wgs84_of_gcj02
from fomo.ingest.ground import Ground
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.poi_table import poi_of_table
from fomo.ingest.points import EMPTY, NO_LATITUDE, NO_LONGITUDE, NO_NUMBER
from fomo.sources.categories import CATEGORIES

pytest.importorskip("pyproj")
TOWN = Ground(crs="EPSG:32633", west=500000.0, south=5400000.0, cell_m=1000.0, height=4, width=5)
LON, LAT = 15.02, 48.7575  # a place in row 0, column 1
NANCHANG = Ground(crs="EPSG:32650", west=371000.0, south=3153000.0, cell_m=1000.0, height=40, width=40)
NANJING = Ground(crs="EPSG:32650", west=648000.0, south=3527000.0, cell_m=1000.0, height=40, width=40)
REAL = "poi_nanchang_nanjing.parquet"


def layer(found, category: str) -> np.ndarray:
    return found.count[CATEGORIES.index(category)]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_points_are_counted_by_category_and_cell(tmp_path):
    path = write(
        tmp_path / "poi.csv",
        "name,Longitude,LAT,Category\n"
        "A,15.02,48.7575,restaurant\nB,15.02,48.7576,Food & Beverages\nC,15.0605,48.7830,amenity=bank\n"
        "D,15.02,48.7575,Zoo of numbers\nE,15.02,48.7575,\nF,16.5,48.7575,bank\n",
    )
    found = poi_of_table(path, TOWN)
    cells = np.zeros((4, 5))
    cells[0, 1] = 2
    np.testing.assert_array_equal(layer(found, "restaurant"), cells)
    cells[0, 1], cells[3, 4] = 0, 1
    np.testing.assert_array_equal(layer(found, "finance"), cells)
    assert np.isnan(layer(found, "shopping")).all()  # not recorded is not 0
    assert np.isnan(found.count).all((1, 2)).sum() == 13
    assert found.unknown == {"Zoo of numbers": 1, "": 1}
    assert (found.points, found.outside, found.rejected, found.attribution) == (6, 1, {}, "poi.csv")
    assert poi_of_table(path, TOWN, attribution="a town, CC0").attribution == "a town, CC0"


@pytest.mark.parametrize("form", ["tsv", "semicolon", "gzip", "parquet", "categorical", "bom"])
def test_every_form_gives_the_same_layers(tmp_path, form):
    frame = polars.DataFrame({"lon": [LON, LON, 15.05], "lat": [LAT, LAT, LAT], "type": ["bank", "hotel", "hotel"]})
    path = tmp_path / {"tsv": "poi.tsv", "gzip": "poi.csv.gz", "parquet": "poi.parquet"}.get(form, "poi.csv")
    if form == "parquet":
        frame.write_parquet(path)
    elif form == "categorical":
        frame.with_columns(polars.col("type").cast(polars.Categorical)).write_parquet(path)
    elif form == "gzip":
        path.write_bytes(gzip.compress(frame.write_csv().encode()))
    elif form == "semicolon":
        path.write_text(frame.write_csv(separator=";").replace(".", ","))  # decimal commas as well
    elif form == "bom":
        path.write_bytes(b"\xef\xbb\xbf" + frame.write_csv().encode())
    else:
        path.write_text(frame.write_csv(separator="\t"))
    found = poi_of_table(path, TOWN)
    assert np.argwhere(layer(found, "finance") > 0).tolist() == [[0, 1]]
    assert np.argwhere(layer(found, "accommodation") > 0).tolist() == [[0, 1], [0, 3]]
    assert (found.points, found.outside) == (3, 0)


def test_rows_without_a_usable_position_are_counted_and_written_out(tmp_path):
    rows = ["15.02,48.7575,bank", ",48.7575,bank", "15.02,NULL,bank", "48.7575,115.02,bank", "abc,48,bank"]
    rows += ["15.02,inf,bank", "200,48,bank", '"15,02","48,7575",bank', "1.115.02,48,bank"]
    path = write(tmp_path / "poi.csv", "lon,lat,category\n" + "\n".join(rows) + "\n")
    with Ledger(tmp_path / "rejected.csv") as ledger:
        found = poi_of_table(path, TOWN, ledger=ledger)
    assert found.rejected == {EMPTY: 2, NO_LATITUDE: 1, NO_NUMBER: 3, NO_LONGITUDE: 1}
    assert dict(ledger.rejected) == found.rejected
    assert ledger.taken == found.points == 2
    assert found.points + sum(found.rejected.values()) == len(rows)
    assert "5: 48.7575,115.02,bank" in ledger.first[NO_LATITUDE]
    assert len((tmp_path / "rejected.csv").read_text().splitlines()) == 1 + 7


def test_columns_may_be_told_and_wgs84_comes_before_others(tmp_path):
    frame = polars.DataFrame(
        {"lon": [0.0], "lat": [0.0], "lon_wgs84": [LON], "lat_wgs84": [LAT], "what": ["bank"], "type": ["hotel"]}
    )
    frame.write_parquet(path := tmp_path / "poi.parquet")
    found = poi_of_table(path, TOWN)
    assert layer(found, "accommodation")[0, 1] == 1
    assert layer(poi_of_table(path, TOWN, {"category": "what"}), "finance")[0, 1] == 1
    with pytest.raises(IngestError, match="none of the 1 points of interest"):
        poi_of_table(path, TOWN, {"lon": "lon", "lat": "lat"})
    with pytest.raises(IngestError, match="has no column 'genre'; it has"):
        poi_of_table(path, TOWN, {"category": "genre"})
    with pytest.raises(IngestError, match=r"--poi-columns names .*; it takes lon, lat, category"):
        poi_of_table(path, TOWN, {"colour": "lon"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"lon,lat,category\n", "has no rows"),
        (b"lon,lat\n15,48\n", "has no column 'category'"),
        (b"lon,lat,category\n48.7575,15.02,bank\n48.7576,15.03,bank\n", "are swapped"),
        (b"lon,lat,category\n48,115,bank\n", "none of the 1 rows .* usable position: the latitude is beyond"),
        (b"lon,lat,category\n2.35,48.86,bank\n", "none of the 1 points .* 2.3500 to 2.3500 E"),
        ("lon,lat,category\n15.02,48.7575,餐饮\n".encode("gbk"), "no table in UTF-8"),
        (b"lon,lat,category\n15.02,48.7575,bank,7,8\n", "damaged or is no table"),
        (b"PAR1 and no more", "damaged or is no table"),
        (b"\x1f\x8b\x08\x00 no gzip", "damaged or is no table"),
    ],
)
def test_what_is_no_table_of_this_place_is_refused(tmp_path, content, message):
    (tmp_path / "poi.csv").write_bytes(content)
    with pytest.raises(IngestError, match=message):
        poi_of_table(tmp_path / "poi.csv", TOWN)
    with pytest.raises(IngestError, match="there is no file"):
        poi_of_table(tmp_path / "none.csv", TOWN)


def test_gcj02_is_undone_to_a_millimetre_and_known_at_two_places():
    random = np.random.default_rng(5)
    lon, lat = random.uniform(80, 130, 2000), random.uniform(18, 50, 2000)
    shifted = gcj02_of_wgs84(lon, lat)
    metres = np.hypot((shifted[0] - lon) * 111_000 * np.cos(np.deg2rad(lat)), (shifted[1] - lat) * 111_000)
    assert 20 < metres.min() < 300 < metres.max() < 1000
    back = wgs84_of_gcj02(*shifted)
    np.testing.assert_allclose(back[0], lon, atol=1e-8)
    np.testing.assert_allclose(back[1], lat, atol=1e-8)
    outside = np.array([15.0, np.nan]), np.array([48.0, 30.0])
    np.testing.assert_array_equal(wgs84_of_gcj02(*outside), outside)


def test_columns_called_gcj02_need_to_be_moved_and_wgs84_must_not(tmp_path):
    frame = polars.DataFrame({"lon_gcj02": [115.9], "lat_gcj02": [28.7], "category": ["hotel"]})
    frame.write_parquet(path := tmp_path / "poi.parquet")
    with pytest.raises(IngestError, match=r"'lon_gcj02' of .* is GCJ-02, .*: say --poi-gcj02"):
        poi_of_table(path, NANCHANG)
    assert poi_of_table(path, NANCHANG, shifted="gcj02").points == 1
    frame.rename({"lon_gcj02": "lon_wgs84", "lat_gcj02": "lat_wgs84"}).write_parquet(path)
    with pytest.raises(IngestError, match="is WGS 84 by its name"):
        poi_of_table(path, NANCHANG, {"lon": "lon_wgs84", "lat": "lat_wgs84"}, shifted="gcj02")


@pytest.mark.real_data
def test_the_inverse_agrees_with_the_degrees_that_the_real_file_states(real_data):
    frame = polars.read_parquet(real_data / REAL).drop_nulls().filter(polars.col("lat_gcj02") > 20)
    lon, lat = wgs84_of_gcj02(frame["lon_gcj02"].to_numpy(), frame["lat_gcj02"].to_numpy())
    # Its authors stop after one step of the same formula, which leaves up to two metres.
    assert np.abs(lon - frame["lon_wgs84"].to_numpy()).max() < 2.5e-5
    assert np.abs(lat - frame["lat_wgs84"].to_numpy()).max() < 2.5e-5


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("ground", "outside", "unknown", "counts"),
    [
        (
            *(NANCHANG, 41508, {"PlaceNameAddressInfo": 10705, "IndoorFacilities": 16}),
            {
                **{"transportation": 57, "public health": 8170, "automobile": 8957, "physical facilities": 6864},
                **{"accommodation": 6627, "finance": 2391, "education": 8244, "business": 5745},
                **{"public facilities": 1685, "scenic spot": 1707},
            },
        ),
        (
            *(NANJING, 79763, {"IndoorFacilities": 2573}),
            {
                **{"transportation": 57, "automobile": 9102, "finance": 3493, "public facilities": 4120},
                **{"scenic spot": 3568},
            },
        ),
    ],
)
def test_the_real_chinese_file_becomes_layers_of_both_cities(real_data, ground, outside, unknown, counts):
    found = poi_of_table(real_data / REAL, ground)
    assert (found.points, found.outside, found.unknown, found.rejected) == (102676, outside, unknown, {})
    recorded = {
        name: int(np.nansum(count)) for name, count in zip(found.names, found.count, strict=True) if (count >= 0).any()
    }
    assert recorded == counts
    assert sum(counts.values()) + sum(unknown.values()) + outside == 102676

    moved = poi_of_table(real_data / REAL, ground, shifted="gcj02")
    assert moved.rejected == {EMPTY: 9}
    assert np.nansum(np.abs(moved.count - found.count)) < 0.003 * np.nansum(found.count)


@pytest.mark.real_data
def test_the_real_layers_are_those_of_a_histogram(real_data):
    import pyproj

    frame = polars.read_parquet(real_data / REAL).filter(
        polars.col("file_category").cast(polars.String) == "MedicalHealthcareServices"
    )
    forward = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32650", always_xy=True)
    east, north = forward.transform(frame["lon_wgs84"].to_numpy(), frame["lat_wgs84"].to_numpy())
    edges = [3153000.0 + 1000 * np.arange(41), 371000.0 + 1000 * np.arange(41)]
    expected, _, _ = np.histogram2d(north, east, edges)
    np.testing.assert_array_equal(layer(poi_of_table(real_data / REAL, NANCHANG), "public health"), expected)
