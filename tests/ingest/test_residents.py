"""Residents from rasters and tables: people are conserved, what is not recorded stays so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fomo.ingest import people_raster
from fomo.ingest.ground import Ground
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.residents import NO_NUMBER, NO_PEOPLE, residents_of

pytest.importorskip("pyproj")
rasterio = pytest.importorskip("rasterio")
CRS = "EPSG:32633"
TOWN = Ground(crs=CRS, west=500000.0, south=5400000.0, cell_m=1000.0, height=4, width=5)


def write_raster(path: Path, people, west, north, pixel, crs=CRS, nodata=-99999.0, driver="GTiff", **profile) -> Path:
    """A raster whose first row is in the north; `pixel` is an edge, or (width, height), or an affine transform."""
    from rasterio.transform import from_origin

    people = np.asarray(people)
    wide, high = pixel if isinstance(pixel, tuple) else (pixel, pixel)
    profile |= {"dtype": people.dtype, "crs": crs, "nodata": nodata, "transform": from_origin(west, north, wide, high)}
    height, width = people.shape
    with rasterio.open(path, "w", driver=driver, height=height, width=width, count=1, **profile) as file:
        file.write(people, 1)
    return path


def overlap(low: float, high: float, first: float, edge: float, cells: int) -> np.ndarray:
    """Part of [low, high] in each of the cells."""
    begin = first + edge * np.arange(cells)
    return np.clip(np.minimum(high, begin + edge) - np.maximum(low, begin), 0, None) / (high - low)


def brute_force(people, west, north, pixel, ground) -> np.ndarray:
    """Exact overlaps in the raster's own projection, pixel by pixel."""
    count = np.zeros((ground.height, ground.width))
    known = np.zeros((ground.height, ground.width), bool)
    for row, line in enumerate(people):
        for column, amount in enumerate(line):
            if np.isnan(amount):
                continue
            x = overlap(west + column * pixel, west + (column + 1) * pixel, ground.west, ground.cell_m, ground.width)
            top = north - row * pixel
            y = overlap(top - pixel, top, ground.south, ground.cell_m, ground.height)
            count += amount * np.outer(y, x)
            known |= np.outer(y, x) > 1e-7
    return np.where(known, count, np.nan)


@settings(max_examples=15)
@given(
    pixel=st.sampled_from([250.0, 333.3, 1000.0, 1700.0, 4000.0]),
    shift=st.tuples(st.integers(-2500, 2500), st.integers(-2500, 2500)),
    seed=st.integers(0, 99),
)
def test_in_the_grounds_own_projection_overlaps_are_exact(tmp_path_factory, pixel, shift, seed):
    random = np.random.default_rng(seed)
    people = random.gamma(0.5, 200, (int(6000 / pixel) + 1, int(7000 / pixel) + 1))
    people[random.random(people.shape) < 0.3] = np.nan
    people[0, 0] = 7.0
    west, north = TOWN.west + shift[0], TOWN.south + 5000 + shift[1]
    expected = brute_force(people, west, north, pixel, TOWN)
    path = tmp_path_factory.mktemp("raster") / "people.tif"
    write_raster(path, np.where(np.isnan(people), -99999.0, people), west, north, pixel)
    if np.isnan(expected).all():
        with pytest.raises(IngestError, match="no pixel of"):
            residents_of(path, TOWN)
        return
    found = residents_of(path, TOWN)
    np.testing.assert_allclose(found.count, expected, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(found.total_in_file, np.nansum(people))
    np.testing.assert_allclose(found.total_on_ground, np.nansum(expected))


def test_coinciding_edges_touch_no_neighbour(tmp_path):
    people = np.full((4, 5), -1.0, np.float32)
    people[1, 2] = 8.5  # row 2 from the south
    path = write_raster(tmp_path / "people.tif", people, TOWN.west, TOWN.south + 4000, 1000.0, nodata=-1.0)
    found = residents_of(path, TOWN)
    assert np.argwhere(np.isfinite(found.count)).tolist() == [[2, 2]]
    assert found.count[2, 2] == 8.5
    assert (found.total_on_ground, found.total_in_file) == (8.5, 8.5)
    assert found.source == "people.tif (raster of 4 x 5 pixels, EPSG:32633)"


def test_people_of_degrees_are_conserved_and_lie_where_their_pixels_do(tmp_path):
    import pyproj
    import shapely

    random = np.random.default_rng(2)
    people = random.gamma(0.7, 100, (60, 80))  # 3 arc seconds, around the ground
    west, north, pixel = 14.99, 48.80, 3 / 3600
    path = write_raster(tmp_path / "people.tif", people, west, north, pixel, "EPSG:4326")
    found = residents_of(path, TOWN)
    forward = pyproj.Transformer.from_crs("EPSG:4326", CRS, always_xy=True)
    lon, lat = np.meshgrid(west + pixel * np.arange(81), north - pixel * np.arange(61))
    corners = np.stack(forward.transform(lon, lat), -1)
    rings = np.stack([corners[:-1, :-1], corners[:-1, 1:], corners[1:, 1:], corners[1:, :-1]], 2)
    pixels = shapely.polygons(rings.reshape(-1, 4, 2))
    for row in range(4):
        for column in range(5):
            low, left = TOWN.south + 1000 * row, TOWN.west + 1000 * column
            cut = shapely.area(shapely.intersection(pixels, shapely.box(left, low, left + 1000, low + 1000)))
            expected = (cut / shapely.area(pixels) * people.ravel()).sum()
            np.testing.assert_allclose(found.count[row, column], expected, rtol=1e-5)
    np.testing.assert_allclose(found.total_in_file, people.sum())

    whole = Ground(crs=CRS, west=490000.0, south=5390000.0, cell_m=700.0, height=40, width=40)
    found = residents_of(path, whole)
    np.testing.assert_allclose(found.total_on_ground, people.sum(), rtol=1e-12)
    np.testing.assert_allclose(np.nansum(found.count), found.total_in_file, rtol=1e-12)


def test_coarse_pixels_are_spread_over_fine_cells_across_projections(tmp_path):
    # One pixel of a neighbouring zone, 6 degrees turned; its people per square kilometre are even.
    ground = Ground(crs="EPSG:32634", west=0.0, south=5_300_000.0, cell_m=250.0, height=200, width=200)
    east, north = 690_000.0, 5_400_000.0
    lon, lat = people_raster.transformer("EPSG:32633", "EPSG:32634").transform(east, north)
    ground = Ground("EPSG:32634", float(lon) - 25_000, float(lat) - 25_000, 250.0, 200, 200)
    people = np.full((3, 3), 1000.0)
    path = write_raster(tmp_path / "people.tif", people, east - 6000, north + 6000, 4000.0)
    found = residents_of(path, ground)
    np.testing.assert_allclose(found.total_on_ground, 9000, rtol=1e-12)
    middle = found.count[95:105, 95:105]
    # 1000 people per 16 square kilometres; a metre of zone 34 measures a little more out there.
    np.testing.assert_allclose(middle, 1000 / 256, rtol=0.02)
    assert middle.std() < 0.01 * middle.mean()


def test_blocks_give_what_the_whole_gives(tmp_path, monkeypatch):
    random = np.random.default_rng(4)
    people = random.gamma(0.5, 10, (130, 150)).astype(np.float32)
    people[40:70, 30:90] = -99999.0
    whole = write_raster(tmp_path / "whole.tif", people, TOWN.west - 800, TOWN.south + 4700, 47.0)
    tiled = write_raster(
        *(tmp_path / "tiled.tif", people, TOWN.west - 800, TOWN.south + 4700, 47.0),
        **{"tiled": True, "blockxsize": 32, "blockysize": 16, "compress": "deflate"},
    )
    expected = residents_of(whole, TOWN)
    monkeypatch.setattr(people_raster, "PIXELS", 1500)
    monkeypatch.setattr(people_raster, "PIECES", 100)
    for path in (whole, tiled):
        found = residents_of(path, TOWN)
        np.testing.assert_allclose(found.count, expected.count, rtol=1e-9)
        np.testing.assert_allclose(found.total_in_file, people[people >= 0].sum(dtype=float))


@pytest.mark.parametrize("driver", ["AAIGrid", "EHdr"])
def test_plain_rasters_are_read(tmp_path, driver):
    people = np.arange(20, dtype=np.float32).reshape(4, 5)
    path = tmp_path / {"AAIGrid": "people.asc", "EHdr": "people.bil"}[driver]
    source = write_raster(tmp_path / "people.tif", people, TOWN.west, TOWN.south + 4000, 1000.0)
    from rasterio.shutil import copy

    copy(source, path, driver=driver)
    np.testing.assert_allclose(residents_of(path, TOWN).count, people[::-1])
    path.with_suffix(".prj").unlink()
    (tmp_path / f"{path.name}.aux.xml").unlink(missing_ok=True)
    with pytest.raises(IngestError, match=f"{path.name} has no reference system"):
        residents_of(path, TOWN)


def test_rasters_that_cannot_be_right_are_refused(tmp_path):
    people = np.ones((4, 5))
    place = (TOWN.west, TOWN.south + 4000, 1000.0)
    people[1, 3] = -5
    path = write_raster(tmp_path / "people.tif", people, *place)
    with pytest.raises(IngestError, match=r"has -5 people at row 1, column 3: .* not negative"):
        residents_of(path, TOWN)
    people[1, 3] = np.inf
    with pytest.raises(IngestError, match="has inf people at row 1, column 3"):
        residents_of(write_raster(path, people, *place), TOWN)
    people[1, 3] = 1
    with pytest.raises(IngestError, match="has no reference system"):
        residents_of(write_raster(path, people, *place, crs=None), TOWN)
    with pytest.raises(IngestError, match=r"no pixel of .* with a value lies on the grid"):
        residents_of(write_raster(path, people, TOWN.west + 9e4, TOWN.south, 1000.0), TOWN)
    with pytest.raises(IngestError, match=r"no pixel of .* with a value lies on the grid"):
        residents_of(write_raster(path, people * -99999.0, *place), TOWN)
    with pytest.raises(IngestError, match=r"a pixel is .* cells wide"):
        residents_of(write_raster(path, people, 499_000.0, 5_500_000.0, 400_000.0), TOWN)
    with rasterio.open(path, "w", driver="GTiff", height=2, width=2, count=3, dtype="uint8", crs=CRS) as file:
        file.write(np.ones((3, 2, 2), np.uint8))
    with pytest.raises(IngestError, match="has 3 bands"):
        residents_of(path, TOWN)
    path.write_bytes(b"no raster at all")
    with pytest.raises(IngestError, match="is damaged or is no raster"):
        residents_of(path, TOWN)
    with pytest.raises(IngestError, match="there is no file"):
        residents_of(tmp_path / "none.tif", TOWN)


def test_a_raster_cut_short_is_refused(tmp_path):
    random = np.random.default_rng(0)
    place = (TOWN.west, TOWN.south + 4000, 20.0)
    path = write_raster(tmp_path / "people.tif", random.random((200, 250)), *place, compress="deflate")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(IngestError, match="is damaged or is no raster"):
        residents_of(path, TOWN)


def test_nan_and_scaled_integers_are_understood(tmp_path):
    place = (TOWN.west, TOWN.south + 4000, 1000.0)
    people = np.full((4, 5), 6.0)
    people[0, 0] = np.nan
    found = residents_of(write_raster(tmp_path / "float.tif", people, *place, nodata=None), TOWN)
    assert np.argwhere(np.isnan(found.count)).tolist() == [[3, 0]]
    path = write_raster(tmp_path / "integer.tif", np.full((4, 5), 60, np.uint16), *place, nodata=65535)
    with rasterio.open(path, "r+") as file:
        file.scales = (0.1,)
    np.testing.assert_allclose(residents_of(path, TOWN).count, 6.0)


def test_points_belong_to_their_cell_and_cells_without_are_not_recorded(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text(
        "lon,lat,population\n15.02,48.7575,100\n15.02,48.7576,50.5\n15.0605,48.7830,0\n16.5,48.75,7\n"
        "15.02,48.7575,\n15.02,48.7575,many\n,48.7575,3\n"
    )
    ledger = Ledger()
    found = residents_of(path, TOWN, ledger=ledger)
    expected = np.full((4, 5), np.nan)
    expected[0, 1], expected[3, 4] = 150.5, 0
    np.testing.assert_array_equal(found.count, expected)
    assert (found.total_on_ground, found.total_in_file) == (150.5, 157.5)
    assert found.rejected == {"the position is empty": 1, NO_PEOPLE: 1, NO_NUMBER: 1} == dict(ledger.rejected)
    assert ledger.taken + sum(ledger.rejected.values()) == 7
    assert "7: many" in ledger.first[NO_NUMBER]


def test_tables_with_decimal_commas_and_parquet(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("lon;lat;people\n15,02;48,7575;1,5\n15,02;48,7575;2\n")
    assert residents_of(path, TOWN).total_on_ground == 3.5
    path.write_text('lon,lat,people\n15.02,48.7575,"1,500"\n15.02,48.7575,2\n')
    found = residents_of(path, TOWN)  # 1.5 or 1500: nobody knows
    assert (found.total_in_file, found.rejected) == (2, {NO_NUMBER: 1})
    polars.DataFrame({"x": [15.02], "y": [48.7575], "n": [4]}).write_parquet(other := tmp_path / "people.parquet")
    assert residents_of(other, TOWN, {"people": "n"}).total_on_ground == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lon,lat,people\n15.02,48.7575,1\n15.02,48.7575,-4\n", "row 3: -4 people"),
        ("lon,lat,people\n15.02,48.7575,\n", "no row of .* has a number of people in 'people'"),
        ("lon,lat,people\n48.7575,15.02,1\n", "are swapped"),
        ("lon,lat,people\n2.35,48.86,1\n", "none of the 1 points with people"),
        ("lon,lat,trees\n2.35,48.86,1\n", "has no column 'people'"),
    ],
)
def test_tables_that_cannot_be_right_are_refused(tmp_path, text, message):
    (tmp_path / "people.csv").write_text(text)
    with pytest.raises(IngestError, match=message):
        residents_of(tmp_path / "people.csv", TOWN)
