"""Cells over the grid: nothing gained or lost, and the same as counting points that are nearest to a site."""

from __future__ import annotations

import numpy as np
import polars
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from fomo.ingest.allocation import Allocation, allocate
from fomo.ingest.footprints import same_place, split_by_azimuth, voronoi_regions
from fomo.ingest.grid_areas import grid_areas
from fomo.ingest.ground import Ground, transformer
from fomo.ingest.ledger import IngestError
from fomo.ingest.sites import Sites, make_sites

GROUND = Ground("EPSG:32633", 500_000.0, 5_810_000.0, 500.0, 12, 16)  # 8 km x 6 km, its west edge at 15 degrees east


def sites_at(points, azimuth=None, range_km=None, ground=GROUND) -> Sites:
    """Sites at metres from the south-west corner of the ground."""
    east, north = np.array(points, float).reshape(-1, 2).T
    lon, lat = transformer(ground.crs, "EPSG:4326").transform(east + ground.west, north + ground.south)
    return make_sites(
        polars.DataFrame(
            {
                "cell": [f"C{index}" for index in range(len(east))],
                "lon": lon,
                "lat": lat,
                "azimuth": polars.Series([None] * len(east) if azimuth is None else azimuth, dtype=polars.Float64),
                "range_km": polars.Series([None] * len(east) if range_km is None else range_km, dtype=polars.Float64),
            }
        )
    )


def weights(allocation: Allocation) -> np.ndarray:
    """(cell, y, x)"""
    return allocation.matrix.toarray().T.reshape(-1, allocation.height, allocation.width)


def sampled(points, azimuth, reach_m, per_edge=20) -> np.ndarray:
    """Shares (cell, y, x) of the ground by points of a fine grid, one cell after the other; no geometry is shared."""
    import pyproj

    step = GROUND.cell_m / per_edge
    x, y = np.meshgrid(
        (np.arange(GROUND.width * per_edge) + 0.5) * step, (np.arange(GROUND.height * per_edge) + 0.5) * step
    )
    points = np.array(points, float)
    site = {place: index for index, place in enumerate(dict.fromkeys(map(tuple, points)))}
    nearest = np.argmin(np.stack([np.hypot(x - e, y - n) for e, n in site]), 0)
    lon, lat = transformer(GROUND.crs, "EPSG:4326").transform(points[:, 0] + GROUND.west, points[:, 1] + GROUND.south)
    # to the east of its meridian the grid's north lies east of true north
    turned = azimuth - pyproj.Proj(GROUND.crs).get_factors(lon, lat).meridian_convergence
    share = np.zeros((len(points), GROUND.height, GROUND.width))
    for cell, (e, n) in enumerate(points):
        bearing = np.rad2deg(np.arctan2(x - e, y - n))
        mine = (nearest == site[(e, n)]) & (np.hypot(x - e, y - n) < reach_m[cell])
        others = [turned[other] for other, place in enumerate(points) if tuple(place) == (e, n)]
        others = np.unique([other for other in others if np.isfinite(other)])
        if np.isfinite(turned[cell]):
            off = np.abs((bearing[None] - others[:, None, None] + 180) % 360 - 180)
            own = np.abs((bearing - turned[cell] + 180) % 360 - 180)
            mine &= own <= off.min(0) + 1e-9 if len(others) > 1 else own <= 60
        share[cell] = mine.reshape(GROUND.height, per_edge, GROUND.width, per_edge).sum((1, 3))
        share[cell] /= max(share[cell].sum(), 1)
    return share


def test_shares_are_those_of_counted_points():
    random = np.random.default_rng(5)
    places = random.uniform([500, 500], [7500, 5500], (7, 2))
    points = np.concatenate([places[[0, 0, 0, 1, 1, 2, 3, 3, 3, 3]], places[4:], [[9000.0, 3000.0]]])
    azimuth = np.array([0, 120, 240, 80, 300, 45, np.nan, 10, 100, 190, np.nan, np.nan, 200, np.nan])
    reach = np.array([3, 3, 1.2, np.nan, np.nan, 2, 1, 1, 2, 3, 0.3, 2, np.nan, np.nan])
    found = allocate(sites_at(points, azimuth, reach).table.pipe(_nan_to_null), GROUND, longest_km=4.0)
    expected = sampled(points, azimuth, 1000 * np.nan_to_num(reach, nan=4.0))
    np.testing.assert_allclose(weights(found), expected, atol=0.02)
    assert np.abs(weights(found) - expected).sum((1, 2)).max() < 0.05
    assert found.outside == () and 0 < found.lost[13] < 1


def _nan_to_null(table: polars.DataFrame) -> Sites:
    return Sites(table.with_columns(polars.col("azimuth", "range_km").fill_nan(None)))


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(-40, 120), st.integers(-40, 100)), min_size=1, max_size=12),
    st.lists(st.sampled_from([None, 0.0, 90.0, 93.0, 200.0]), min_size=12, max_size=12),
    st.lists(st.sampled_from([None, 0.05, 1.0, 30.0]), min_size=12, max_size=12),
    st.sampled_from(["voronoi", "point"]),
)
def test_no_traffic_is_gained_or_lost(places, azimuth, range_km, method):
    points = np.array(places) * 100.0  # duplicates, lines and lattices come up
    cells = len(points)
    found = allocate(sites_at(points, azimuth[:cells], range_km[:cells]), GROUND, method)
    values = np.random.default_rng(cells).lognormal(3, 2, (3, cells))
    inside = ~np.isin(found.cells, found.outside)
    sums = np.asarray(found.matrix.sum(0)).ravel()
    np.testing.assert_allclose(sums, inside, rtol=1e-12)
    assert (found.matrix.data > 0).all() and ((found.lost >= 0) & (found.lost <= 1)).all()
    np.testing.assert_array_equal(found.lost == 1, ~inside)
    grid = found.to_grid(values)
    assert grid.dtype == np.float32
    np.testing.assert_allclose(np.nansum(grid.astype(float), (1, 2)), values[:, inside].sum(1), rtol=1e-6)
    np.testing.assert_array_equal(np.isfinite(grid).all(0), found.covered)
    on = GROUND.cell_of(points[:, 0] + GROUND.west + 1e-6, points[:, 1] + GROUND.south + 1e-6)[2]
    assert inside[on].all()  # a site on the grid serves it
    assert method == "voronoi" or not inside[~on].any()


def test_two_sites_share_the_ground_along_the_line_between_them():
    found = allocate(sites_at([(2000, 3000), (5000, 3000)]), GROUND, longest_km=30.0)
    west, east = weights(found)
    expected = np.zeros((12, 16))
    expected[:, :7] = 1 / (12 * 7)  # up to 3500 m
    np.testing.assert_allclose(west, expected, atol=1e-7)
    expected[:] = 0
    expected[:, 7:] = 1 / (12 * 9)
    np.testing.assert_allclose(east, expected, atol=1e-7)


@pytest.mark.parametrize("angle", [0.0, 90.0, 37.0])
def test_sites_on_a_line_are_strips(angle):
    direction = np.array([np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))])
    points = np.array([4000, 3000]) + np.arange(-2, 3)[:, None] * 400 * direction
    found = allocate(sites_at(points, range_km=[1.0] * 5), GROUND)
    areas = weights(found)
    # discs of 1 km cut by the lines half way: a strip of 400 m in the middle, and what is beyond 200 m at the ends
    strip = 2 * (200 * np.sqrt(1e6 - 200**2) + 1e6 * np.arcsin(0.2))
    ends = np.pi * 1e6 / 2 + strip / 2
    regions = voronoi_regions(points[:, 0], points[:, 1], 1000.0)
    cut = shapely.area(shapely.intersection(regions, shapely.buffer(shapely.points(points), 1000, quad_segs=200)))
    np.testing.assert_allclose(cut, [ends, strip, strip, strip, ends], rtol=1e-4)
    np.testing.assert_allclose(areas.sum((1, 2)), 1)
    np.testing.assert_allclose(areas[0], areas[4, ::-1, ::-1], atol=1e-6) if angle in (0.0, 90.0) else None


def test_one_site_without_sectors_is_a_disc_and_one_far_away_nothing():
    found = allocate(sites_at([(4000, 3000), (90_000, 3000)], range_km=[1.0, 2.0]), GROUND)
    disc, nothing = weights(found)
    np.testing.assert_allclose(disc, disc[::-1], atol=1e-6)
    np.testing.assert_allclose(disc, disc[:, ::-1], atol=1e-6)
    assert disc[5, 7] == pytest.approx(500 * 500 / (np.pi * 1e6), rel=2e-3)  # wholly within
    assert found.outside == ("C1",) and nothing.sum() == 0
    np.testing.assert_array_equal(found.lost, [0, 1])
    assert found.covered.sum() == 16


def test_half_of_a_disc_on_the_edge_is_lost_and_its_traffic_is_kept():
    found = allocate(sites_at([(0, 3000), (0, 3000.4)], range_km=[2.0, 2.0]), GROUND)
    np.testing.assert_allclose(found.lost, 0.5, atol=1e-6)
    np.testing.assert_allclose(weights(found).sum((1, 2)), 1)
    np.testing.assert_array_equal(*weights(found))  # within a metre: one site


def test_three_sectors_are_a_third_of_the_disc_each_towards_their_azimuth():
    points = [(1000, 3000)] * 3  # 1 km from the central meridian: the grid's north is true
    found = allocate(sites_at(points, [90.0, 210.0, 330.0], [0.9] * 3), GROUND)
    east, south_west, north_west = weights(found)
    y, x = np.mgrid[:12, :16]
    np.testing.assert_allclose(south_west[::-1], north_west, atol=2e-4)
    for share, azimuth in ((east, 90), (south_west, 210), (north_west, 330)):
        # the middle of gravity of a third of a disc lies r sin(60 deg) / (60 deg) * 2 / 3 from its tip
        middle = np.array([(share * (x + 0.5)).sum() * 500 - 1000, (share * (y + 0.5)).sum() * 500 - 3000])
        bearing = np.rad2deg(np.arctan2(*middle)) % 360
        assert bearing == pytest.approx(azimuth, abs=25)  # cells are wide: their centres stand for what is in them
    assert east[:, :2].sum() == pytest.approx(0, abs=1e-4)  # nothing behind, where x < 1000


def test_sectors_end_half_way_and_carriers_share_theirs():
    place = np.array([0, 0, 0, 0, 1, 1, 2, 3, 3, 4, 4])
    azimuth = np.array([10.0, 130.0, 250.0, 131.0, 0.0, 90.0, 45.0, np.nan, 300.0, 358.0, 2.0])
    found = split_by_azimuth(place, azimuth)
    span = np.stack([found.begin % 360, found.end % 360], 1)
    expected = [
        (310, 70),  # 250 .. 10 .. 130
        (70, 190.5),
        (190.5, 310),
        (70, 190.5),  # 131 is one panel with 130: half way from 131 to 250
        (225, 45),  # two: 90 degrees of overlap in front, 270 behind
        (45, 225),
        (345, 105),  # alone: 120 degrees
        (0, 0),  # omnidirectional, all around
        (240, 0),
        (300, 60),  # one panel across north
        (300, 60),
    ]
    np.testing.assert_allclose(span, expected, atol=1e-9)
    assert found.number[1] == found.number[3] != found.number[0]
    assert found.number[7] == -1 and found.end[7] - found.begin[7] == 360
    assert found.number[9] == found.number[10] != found.number[8]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-400, 800)), min_size=1, max_size=40))
def test_sectors_of_a_site_fill_the_circle_once(cells):
    place, azimuth = np.array(cells).T
    found = split_by_azimuth(place.astype(np.int64), azimuth.astype(float))
    width = found.end - found.begin
    assert (width > 0).all() and (width <= 360).all()
    assert (((azimuth - found.begin) % 360 <= width + 1e-9) | ((azimuth - found.begin) % 360 > 360 - 1e-9)).all()
    for site in np.unique(place):
        _, first = np.unique(found.number[place == site], return_index=True)
        widths = width[place == site][first]
        if len(widths) > 1:
            assert widths.sum() == pytest.approx(360)
            begins = np.sort(found.begin[place == site][first] % 360)
            ends = np.sort(found.end[place == site][first] % 360)
            np.testing.assert_allclose(np.sort(begins % 359.9999999), np.sort(ends % 359.9999999), atol=1e-6)
        else:
            assert widths[0] == 120


def test_a_square_and_a_frame_on_the_grid():
    square = shapely.box(250, 250, 750, 1250)
    frame = shapely.box(0, 0, 2000, 2000) - shapely.box(500, 500, 1500, 1500)
    found = grid_areas(np.array([square, frame, shapely.Point(1, 1)], object), 500.0, 3, 4)
    areas = np.zeros((3, 3, 4))
    areas[found.polygon, found.row, found.column] = found.share
    expected = np.zeros((3, 4))
    expected[:3, :2] = [[0.125, 0.125], [0.25, 0.25], [0.125, 0.125]]
    np.testing.assert_allclose(areas[0], expected, atol=1e-12)
    ring = np.array([[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1]]) / 12  # its last row is beyond the grid
    np.testing.assert_allclose(areas[1], ring, atol=1e-12)
    assert not areas[2].any()


@given(st.integers(0, 10_000), st.integers(3, 9), st.sampled_from([7.0, 100.0, 2500.0]))
def test_areas_are_those_of_polygons_cut_by_squares(seed, corners, size):
    random = np.random.default_rng(seed)
    angle = np.sort(random.uniform(0, 2 * np.pi, corners))
    ring = random.uniform(-300, 1300, 2) + size * random.uniform(0.2, 1, (corners, 1)) * np.stack(
        [np.cos(angle), np.sin(angle)], 1
    )
    polygon = shapely.Polygon(np.round(ring / 50) * 50 if seed % 2 and size > 50 else ring)  # edges on grid lines too
    if not (polygon.is_valid and polygon.area > 0.1):
        return
    found = grid_areas(np.array([polygon], object), 100.0, 8, 11)
    areas = np.zeros((8, 11))
    areas[found.row, found.column] = found.share
    y, x = np.mgrid[:8, :11] * 100.0
    cut = shapely.area(shapely.intersection(polygon, shapely.box(x, y, x + 100, y + 100)))
    np.testing.assert_allclose(areas, cut / polygon.area, atol=2e-9)


@pytest.mark.parametrize("layout", ["lattice", "circle", "near a line", "close pairs"])
def test_voronoi_regions_part_the_ground_in_layouts_that_are_hard(layout):
    random = np.random.default_rng(2)
    y, x = np.mgrid[:13, :13] * 300.0
    turn = np.array([[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]])
    angle = np.arange(95) / 95 * 2 * np.pi
    points = {
        "lattice": np.stack([x.ravel(), y.ravel()], 1) @ turn,
        "circle": 3000 * np.stack([np.cos(angle), np.sin(angle)], 1),
        "near a line": np.stack([100.0 * np.arange(50), 37.0 * np.arange(50) + random.normal(0, 1e-6, 50)], 1),
        "close pairs": np.repeat(random.uniform(0, 1e5, (100, 2)), 2, 0) + np.tile([[0, 0], [1.1, 0.2]], (100, 1)),
    }[layout]
    regions = voronoi_regions(points[:, 0], points[:, 1], 2000.0)
    low, high = points.min(0) - 2000, points.max(0) + 2000
    cut = shapely.intersection(regions, shapely.box(*low, *high))
    assert shapely.is_valid(regions).all()
    assert shapely.area(cut).sum() == pytest.approx(np.prod(high - low), rel=1e-9)
    probes = points[random.integers(0, len(points), 500)] + random.uniform(-1400, 1400, (500, 2))
    nearest = np.argmin(((probes[:, None] - points) ** 2).sum(2), 1)
    assert shapely.distance(regions[nearest], shapely.points(probes)).max() < 1e-3


def test_missing_stays_missing():
    sites = sites_at([(250, 250), (300, 250), (4000, 3000), (7000, 5000)], range_km=[0.01, 0.01, 3.6, 0.01])
    found = allocate(sites, GROUND)
    values = np.array([[1.0, 2, 4, 8], [np.nan, 2, 4, 8], [1, 2, np.nan, 8]])
    grid = found.to_grid(values)
    assert grid[0, 0, 0] == 3 and np.isnan(grid[1, 0, 0]) and grid[2, 0, 0] == 3
    wide = weights(found)[2] > 0
    assert weights(found)[2].max() < 0.01  # the disc is wide, so no grid cell has 1 % of it
    assert np.isnan(grid[2][wide]).all()
    np.testing.assert_array_equal(grid[1][wide], grid[0][wide])
    assert np.isnan(grid[:, ~found.covered]).all()


def test_a_cell_that_carries_next_to_nothing_of_a_square_does_not_blank_it():
    """Shares of the cells' own weights decided: a cell with a thousandth of the traffic took half of the hours away."""
    found = allocate(sites_at([(250, 250), (260, 250), (4000, 3000)]), GROUND, "point")
    values = np.array([[1000.0, 1.0, 5.0], [1000.0, np.nan, np.nan], [np.nan, 1.0, 5.0], [np.nan, np.nan, 5.0]])
    grid = found.to_grid(values)
    assert grid[:2, 0, 0].tolist() == [1001, 1000] and np.isnan(grid[2:, 0, 0]).all()
    values[:, 1] *= 20  # now it carries two hundredths
    assert np.isnan(found.to_grid(values)[1:, 0, 0]).all()


def test_a_cell_of_which_nothing_is_known_counts_as_cells_do_in_the_mean():
    found = allocate(sites_at([(250, 250), (260, 250), (4100, 3100), (4100, 3110)]), GROUND, "point")
    grid = found.to_grid(np.array([[1000.0, np.nan, 0.0, np.nan], [1000.0, np.nan, 0.0, 0.0]]))
    assert np.isnan(grid[:, 0, 0]).all()  # 500 of 1500
    assert grid[:, 6, 8].tolist() == [0, 0]  # nothing of nothing
    assert np.isnan(found.to_grid(np.full((2, 4), np.nan))).all()
    assert np.isnan(found.to_grid(np.array([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, np.nan, np.nan]]))[1, 6, 8])


@pytest.mark.parametrize("turn", [0.0, 180.0, 77.0])
def test_antennas_on_the_edges_of_a_roof_are_one_site(turn):
    """Panels that look across the roof had a few squares each, as their neighbours' regions were in front of them."""
    azimuth = np.array([0.0, 120.0, 240.0, np.nan])
    away = 10 * np.stack([np.sin(np.deg2rad(azimuth + turn)), np.cos(np.deg2rad(azimuth + turn))], 1)
    places = np.array([[2500.0, 3000.0]] * 3 + [[6000.0, 3000.0]])
    apart = allocate(sites_at(places + np.nan_to_num(away), azimuth), GROUND)
    together = allocate(sites_at(places, azimuth), GROUND)
    assert np.abs(weights(apart) - weights(together)).sum((1, 2)).max() < 0.02


def test_a_street_of_small_cells_is_no_site_and_neither_are_neighbours_that_look_nowhere():
    street = np.array([(40.0 * number, 0.0) for number in range(30)] + [(5000.0, 0.0), (5030.0, 0.0)])
    aimed, none = np.zeros(32), np.full(32, np.nan)
    place, east, north = same_place(*street.T, aimed)
    assert len(east) == 31 and place[30] == place[31] and east[place[30]] == 5015 and not north.any()
    assert len(same_place(*street.T, none)[1]) == 32
    assert len(same_place(*street.T, np.where(np.arange(32) == 31, 90.0, np.nan))[1]) == 31  # an omni on a roof


def test_a_sliver_of_a_missing_cell_does_not_blank_its_neighbours():
    # C0 serves up to 3501 m: 1 of 3501 m of each row lie in the column that C1 fills
    sites = sites_at([(2002, 3000), (5000, 3000)])
    found = allocate(sites, GROUND, longest_km=30.0)
    grid = found.to_grid(np.array([[np.nan, 1.0]]))[0]
    assert 0 < weights(found)[0, 0, 7] < 1e-3
    assert np.isnan(grid[:, :7]).all() and np.isfinite(grid[:, 7:]).all()
    assert np.isnan(found.to_grid(np.array([[np.nan, 1.0]]), smallest_share=0.0)[0, :, 7]).all()


def test_point_puts_all_in_the_cell_of_the_site():
    found = allocate(sites_at([(250, 250), (260, 250), (7999, 5999), (8001, 0)]), GROUND, "point")
    grid = found.to_grid(np.array([[1.0, 2.0, 4.0, 8.0]]))[0]
    assert grid[0, 0] == 3 and grid[11, 15] == 4 and found.covered.sum() == 2
    assert found.outside == ("C3",)


def test_azimuths_are_from_true_north_on_a_grid_that_is_turned():
    # 6 degrees west of the central meridian at 52 degrees north, true north lies 4.7 degrees east of the grid's
    ground = Ground("EPSG:32633", 88_000.0, 5_775_000.0, 10.0, 400, 400)
    found = allocate(sites_at([(2000, 2000)], [0.0], [1.5], ground), ground)
    y, x = (np.mgrid[:400, :400] + 0.5) * 10 - 2000
    share = weights(found)[0]
    bearing = np.rad2deg(np.arctan2((share * x).sum(), (share * y).sum()))
    lon = transformer(ground.crs, "EPSG:4326").transform(90_000.0, 5_777_000.0)[0]
    lat = transformer(ground.crs, "EPSG:4326").transform(90_000.0, 5_777_000.0)[1]
    assert bearing == pytest.approx((15 - lon) * np.sin(np.deg2rad(lat)), abs=0.05)
    assert bearing > 4


def test_what_cannot_be_is_refused_in_words():
    sites = sites_at([(250, 250)])
    with pytest.raises(IngestError, match="longest_km is 0"):
        allocate(sites, GROUND, longest_km=0.0)
    with pytest.raises(IngestError, match="values of 2 cells for an allocation of 1"):
        allocate(sites, GROUND).to_grid(np.zeros((3, 2)))
    away = make_sites(polars.DataFrame({"cell": ["A"], "lon": [105.0], "lat": [0.0]}))
    with pytest.raises(IngestError, match="'A' cannot be projected to EPSG:32633"):
        allocate(away, GROUND)


@pytest.mark.real_data
def test_a_real_topology_of_13_269_stations_is_conserved(real_data):
    places = np.load(real_data / "c2tm_clusters.npz")["bs_lonlat_obfuscated"].astype(float)
    from fomo.ingest.sites import choose_ground

    names = [str(index) for index in range(len(places))]
    sites = make_sites(polars.DataFrame({"cell": names, "lon": places[:, 0], "lat": places[:, 1]}))
    found = allocate(sites, choose_ground(sites, 500.0))
    assert found.outside == ()
    values = np.random.default_rng(0).lognormal(3, 2, (2, len(names)))
    total = np.nansum(found.to_grid(values).astype(float), (1, 2))
    np.testing.assert_allclose(total, values.sum(1), rtol=1e-6)
