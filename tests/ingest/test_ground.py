"""The grid in metres: places against the numbers of a textbook projection, and projections that do not suit."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.ingest.ground import Ground, check_projection, median_position, transformer, utm_zone
from fomo.ingest.ledger import IngestError

GROUND = Ground("EPSG:32633", 380_000.0, 5_810_000.0, 250.0, 8, 12)


def test_edges_centres_and_what_a_city_is_told():
    assert GROUND.bounds == (380_000, 5_810_000, 383_000, 5_812_000)
    east, north = GROUND.centres()
    assert east.shape == north.shape == (8, 12)
    assert (east[0, 0], north[0, 0], east[7, 11], north[7, 11]) == (380_125, 5_810_125, 382_875, 5_811_875)
    assert GROUND.attributes() == {"crs": "EPSG:32633", "west_m": 380_000, "south_m": 5_810_000, "cell_m": 250}


def test_a_point_lies_in_the_cell_whose_edges_are_south_and_west_of_it():
    east = np.array([380_000.0, 380_249.9, 380_250.0, 383_000.0, 379_999.9, np.inf, np.nan])
    north = np.array([5_810_000.0, 5_811_999.9, 5_810_250.0, 5_810_000.0, 5_810_000.0, np.inf, 5_810_001.0])
    row, column, inside = GROUND.cell_of(east, north)
    assert row.tolist() == [0, 7, 1, -1, -1, -1, -1]
    assert column.tolist() == [0, 0, 1, -1, -1, -1, -1]
    assert inside.tolist() == [True, True, True, False, False, False, False]


def test_projecting_there_and_back_is_nothing_and_the_central_meridian_is_500_km():
    lon, lat = GROUND.lonlat()
    east, north = GROUND.project(lon.ravel(), lat.ravel())
    expected = GROUND.centres()
    np.testing.assert_allclose(east, expected[0].ravel(), atol=1e-5)
    np.testing.assert_allclose(north, expected[1].ravel(), atol=1e-5)
    east, north = GROUND.project(np.array([15.0, 15.0]), np.array([0.0, 45.0]))
    np.testing.assert_allclose(east, 500_000, atol=1e-6)
    # the meridian from the equator to 45 degrees is 4,984,944.4 m on WGS 84 (and 0.9996 of that in UTM)
    np.testing.assert_allclose(north, [0, 0.9996 * 4_984_944.378], atol=0.01)


@pytest.mark.parametrize(
    ("lon", "lat", "code"),
    [
        (13.4, 52.5, "EPSG:32633"),
        (-0.1, 51.5, "EPSG:32630"),
        (151.2, -33.9, "EPSG:32756"),
        (-179.9, 0.0, "EPSG:32601"),
        (180.0, -17.0, "EPSG:32701"),
        (179.9, 1.0, "EPSG:32660"),
        (12.0, 45.0, "EPSG:32633"),
    ],
)
def test_utm_zones(lon, lat, code):
    assert utm_zone(lon, lat) == code
    assert check_projection(code, lon, lat) == code


def test_utm_has_an_end():
    with pytest.raises(IngestError, match=r"85.*name a crs"):
        utm_zone(10.0, 85.0)


def test_the_middle_of_points_is_found_across_longitude_180():
    assert median_position(np.array([1.0, 2.0, 9.0]), np.array([5.0, 4.0, 0.0])) == (2, 4)
    lon, _ = median_position(np.array([179.8, -179.9, -179.6]), np.zeros(3))
    assert lon == pytest.approx(-179.9)


@pytest.mark.parametrize("written", ["EPSG:25833", "epsg:25833", "25833"])
def test_a_code_is_taken_in_every_spelling(written):
    assert check_projection(written, 13.4, 52.5) == "EPSG:25833"


@pytest.mark.parametrize(
    ("crs", "lon", "lat", "told"),
    [
        ("EPSG:4326", 13.4, 52.5, "degree and is no projection.*EPSG:32633"),
        ("EPSG:2263", -74.0, 40.7, "US survey foot.*EPSG:32618"),
        ("EPSG:4978", 13.4, 52.5, "no projection"),
        ("EPSG:32632", 44.8, 9.2, r"WGS 84 / UTM zone 32N\) is a projection far from the site list.*swapped"),
        ("EPSG:2193", 13.4, 52.5, "New Zealand.*far from the site list"),
        ("EPSG:2193", 174.0, 41.3, "far from the site list"),
        ("EPSG:3857", 13.4, 52.5, r"a metre on the ground.*measures 1\.64 m.*EPSG:32633"),
        ("nonsense", 13.4, 52.5, "'nonsense' is no reference system.*EPSG:32633"),
    ],
)
def test_projections_that_do_not_suit_the_sites_are_refused_by_name(crs, lon, lat, told):
    with pytest.raises(IngestError, match=told):
        check_projection(crs, lon, lat)


@pytest.mark.parametrize(
    ("crs", "lon", "lat"),
    [("EPSG:32632", 13.4, 52.5), ("EPSG:2193", 174.8, -41.3), ("EPSG:3035", 10.0, 50.0), ("EPSG:32760", -179.9, -17.0)],
)
def test_neighbouring_zones_and_national_grids_are_taken(crs, lon, lat):
    assert check_projection(crs, lon, lat) == crs


@pytest.mark.parametrize("size", [(0.0, 3, 3), (-1.0, 3, 3), (100.0, 0, 3), (100.0, 3, 0), (float("nan"), 3, 3)])
def test_a_grid_without_cells_is_refused(size):
    with pytest.raises(IngestError, match="is none"):
        Ground("EPSG:32633", 0.0, 0.0, *size)


def test_unknown_systems_are_told_by_the_transformer_too():
    with pytest.raises(IngestError, match="EPSG:999999"):
        transformer("EPSG:4326", "EPSG:999999")
