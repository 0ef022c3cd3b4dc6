"""OpenStreetMap extracts: small ones made here, and the two real ones counted by a plain loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fomo.ingest.ground import Ground
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.openstreetmap import ATTRIBUTION, LISTED, NO_AREA, NO_PLACE, OPEN, poi_of_extract, point_tag
from fomo.sources.categories import CATEGORIES

osmium = pytest.importorskip("osmium")
HELSINKI = Ground(crs="EPSG:32635", west=384500.0, south=6670500.0, cell_m=500, height=7, width=6)
MONACO = Ground(crs="EPSG:32632", west=371000.0, south=4841500.0, cell_m=500, height=10, width=10)
#: The keys by which the README of the samples counts: nodes and ways with any of them.
README_KEYS = ("amenity", "shop", "tourism", "office", "healthcare", "leisure")


def lonlat(ground: Ground, row: float, column: float) -> tuple[float, float]:
    """Degrees of a place in cells of the ground."""
    import pyproj

    back = pyproj.Transformer.from_crs(ground.crs, "EPSG:4326", always_xy=True)
    lon, lat = back.transform(ground.west + column * ground.cell_m, ground.south + row * ground.cell_m)
    return float(lon), float(lat)


@pytest.fixture
def write_extract(tmp_path: Path):
    """write_extract(nodes, ways, relations, box): nodes are number -> (row, column, tags) on HELSINKI."""

    def write(nodes, ways=(), relations=(), box=None, options="zlib") -> Path:
        path = tmp_path / "town.osm.pbf"
        path.unlink(missing_ok=True)
        header = osmium.io.Header()
        if box is not None:
            low, high = (osmium.osm.Location(*lonlat(HELSINKI, *corner)) for corner in box)
            header.add_box(osmium.osm.Box(low, high))
        with osmium.SimpleWriter(osmium.io.File(str(path), f"pbf,pbf_compression={options}"), header=header) as writer:
            for number, (row, column, tags) in nodes.items():
                writer.add_node(osmium.osm.mutable.Node(id=number, location=lonlat(HELSINKI, row, column), tags=tags))
            for number, (refs, tags) in enumerate(ways, 1):
                writer.add_way(osmium.osm.mutable.Way(id=number, nodes=refs, tags=tags))
            for number, (members, tags) in enumerate(relations, 1):
                writer.add_relation(osmium.osm.mutable.Relation(id=number, members=members, tags=tags))
        return path

    return write


def layer(found, category: str) -> np.ndarray:
    return found.count[CATEGORIES.index(category)]


@pytest.mark.parametrize(
    ("tags", "tag"),
    [
        ({"shop": "florist", "amenity": "cafe"}, "amenity=cafe"),
        ({"amenity": "grit_bin", "shop": "florist"}, "shop=florist"),  # the first with a category
        ({"amenity": "grit_bin", "building": "yes"}, "amenity=grit_bin"),
        ({"amenity": "grit_bin;pub"}, "amenity=pub"),
        ({"amenity": "grit_bin; ashtray"}, "amenity=grit_bin; ashtray"),
        ({"building": "hotel"}, "building=hotel"),
        ({"building": "yes"}, None),
        ({"highway": "residential"}, None),
        ({"highway": "service", "emergency": "yes"}, None),
        ({"emergency": "fire_hydrant"}, "emergency=fire_hydrant"),
        ({"highway": "bus_stop", "public_transport": "platform"}, "public_transport=platform"),
        ({"public_transport": "stop_position"}, None),
        ({"public_transport": "stop_position", "railway": "tram_stop"}, "railway=tram_stop"),
        ({"shop": "vacant"}, None),
        ({"shop": "no", "office": "company"}, "office=company"),
        ({"name": "Nothing"}, None),
        ({}, None),
    ],
)
def test_one_tag_makes_an_object_a_point_of_interest_or_none(tags, tag):
    assert point_tag(tags) == tag


def test_nodes_ways_and_multipolygons_are_counted_where_they_lie(write_extract):
    square = {10: (3.2, 2.2, {}), 11: (3.2, 2.8, {}), 12: (3.8, 2.8, {}), 13: (3.8, 2.2, {})}
    ring = {20 + at: (4 + y, 4 + x, {}) for at, (y, x) in enumerate([(0.1, 0.1), (0.1, 0.9), (0.9, 0.9), (0.9, 0.1)])}
    nodes = {
        1: (0.5, 0.5, {"amenity": "cafe"}),
        2: (0.5, 0.6, {"amenity": "cafe", "shop": "bakery", "tourism": "attraction"}),
        3: (6.5, 5.5, {"shop": "clothes"}),
        4: (6.5, 9.5, {"shop": "clothes"}),  # east of the ground
        5: (1.5, 1.5, {"amenity": "grit_bin"}),
        6: (1.5, 1.5, {"highway": "crossing"}),
        **square,
        **ring,
    }
    ways = [
        ([10, 11, 12, 13, 10], {"amenity": "school"}),  # its first node counts once
        ([20, 21, 22], {}),
        ([22, 23, 20], {}),
        ([98, 99], {"shop": "books"}),  # nodes that are not there
        ([10, 11], {"highway": "service"}),
    ]
    relations = [
        ([("w", 2, "outer"), ("w", 3, "outer")], {"type": "multipolygon", "amenity": "hospital"}),
        ([("n", 1, "")], {"type": "site", "tourism": "museum"}),
    ]
    ledger = Ledger()
    found = poi_of_extract(write_extract(nodes, ways, relations), HELSINKI, ledger=ledger)
    expected = {"restaurant": (0, 0, 2), "shopping": (6, 5, 1), "education": (3, 2, 1), "public health": (4, 4, 1)}
    for category in CATEGORIES:
        cells = np.zeros((7, 6))
        if category in expected:
            row, column, count = expected[category]
            cells[row, column] = count
        np.testing.assert_array_equal(layer(found, category), cells, err_msg=category)
    assert (found.names, found.unknown, found.outside, found.points) == (CATEGORIES, {"amenity=grit_bin": 1}, 1, 7)
    assert found.rejected == {NO_PLACE: 1, NO_AREA: 1}
    assert dict(ledger.rejected) == found.rejected
    assert ledger.taken == 7
    assert "shop=books" in ledger.first[NO_PLACE]
    assert found.attribution == ATTRIBUTION
    assert "OpenStreetMap contributors" in ATTRIBUTION


def test_a_closed_way_and_its_area_count_once_at_the_mean_of_its_corners(write_extract):
    # A triangle whose mean with the first node twice would fall into the next cell.
    nodes = {1: (2.5, 2.0, {}), 2: (2.5, 3.4, {}), 3: (2.9, 3.3, {}), 4: (0.5, 0.5, {"shop": "toys"})}
    found = poi_of_extract(write_extract(nodes, [([3, 1, 2, 3], {"leisure": "pitch"})]), HELSINKI)
    assert np.argwhere(layer(found, "physical facilities")).tolist() == [[2, 2]]
    assert found.points == 2


def test_cells_beyond_the_box_of_the_extract_are_not_recorded(write_extract):
    nodes = {1: (1.5, 1.5, {"amenity": "cafe"}), 2: (5.5, 5.5, {"amenity": "cafe"})}
    found = poi_of_extract(write_extract(nodes, box=((1.2, 1.2), (3.5, 3.5))), HELSINKI)
    known = np.isfinite(found.count)
    assert known[:, 1:4, 1:4].all()
    assert known.sum() == 15 * 9
    assert (found.outside, found.points, np.nansum(found.count)) == (1, 2, 1)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_file_cut_short_is_refused(write_extract, part):
    path = write_extract({number: (0.5, 0.5, {"amenity": "cafe"}) for number in range(1, 50)})
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(IngestError, match=r"town\.osm\.pbf is damaged, cut short or no"):
        poi_of_extract(path, HELSINKI)


def test_flipped_bytes_of_plain_text_are_refused_or_read_and_never_crash(write_extract):
    path = write_extract({number: (0.5, 0.5, {"amenity": "café"}) for number in range(1, 50)}, options="none")
    content = path.read_bytes()
    random = np.random.default_rng(1)
    read = 0
    for at in random.choice(len(content), 150, replace=False):
        path.write_bytes(content[:at] + bytes([content[at] ^ random.integers(1, 256)]) + content[at + 1 :])
        try:
            found = poi_of_extract(path, HELSINKI)
        except IngestError:
            continue
        read += 1
        assert 0 < found.points + sum(found.rejected.values()) <= 49
    assert 0 < read < 150


def test_flipped_bytes_are_refused_or_change_nothing_in_secret(write_extract):
    path = write_extract({number: (0.5, 0.5, {"amenity": "cafe"}) for number in range(1, 50)})
    content = path.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for at in random.choice(len(content), 60, replace=False):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        try:
            found = poi_of_extract(path, HELSINKI)
        except IngestError:
            refused += 1
            continue
        assert found.points == 49
    assert refused > 30


def test_what_is_no_extract_of_this_place_is_refused(write_extract, tmp_path):
    with pytest.raises(IngestError, match="there is no file"):
        poi_of_extract(tmp_path / "none.osm.pbf", HELSINKI)
    other = tmp_path / "text.osm.pbf"
    other.write_text("<osm/>" * 20)
    with pytest.raises(IngestError, match="damaged, cut short or no"):
        poi_of_extract(other, HELSINKI)
    with pytest.raises(IngestError, match=r"none of the 1 points of interest of .* lies on the grid"):
        poi_of_extract(write_extract({1: (0.5, 90.5, {"amenity": "cafe"})}), HELSINKI)
    with pytest.raises(IngestError, match="has no points of interest"):
        poi_of_extract(write_extract({1: (0.5, 0.5, {"highway": "crossing"})}), HELSINKI)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "ground", "readme", "further", "areas", "counts"),
    [
        (
            *("Helsinki", HELSINKI, 1977, 584, 13),
            (417, 192, 434, 103, 515, 36, 8, 52, 31, 42, 57, 48, 120, 284, 139),
        ),
        (
            *("Monaco", MONACO, 1433, 753, 30),
            (154, 20, 180, 51, 357, 26, 30, 135, 29, 34, 31, 43, 494, 348, 258),
        ),
    ],
)
def test_the_real_extracts_hold_what_their_readme_counts_and_more(
    real_data, name, ground, readme, further, areas, counts
):
    path = real_data / "operator_samples" / f"{name}.osm.pbf"
    objects = [
        (thing.is_relation(), {tag.k: tag.v for tag in thing.tags})
        for thing in osmium.FileProcessor(str(path)).with_filter(osmium.filter.KeyFilter(*OPEN, *LISTED))
    ]
    counted = [tags for relation, tags in objects if not relation and any(key in tags for key in README_KEYS)]
    others = [tags for relation, tags in objects if not relation and not any(key in tags for key in README_KEYS)]
    relations = sum(relation and point_tag(tags) is not None for relation, tags in objects)
    assert len(counted) == readme
    assert all(point_tag(tags) for tags in counted)
    assert sum(point_tag(tags) is not None for tags in others) == further

    found = poi_of_extract(path, ground)
    assert found.points == readme + further + areas
    assert areas + found.rejected[NO_AREA] == relations
    assert np.nansum(found.count) + sum(found.unknown.values()) + found.outside == found.points
    assert found.outside == 0
    assert tuple(np.nansum(found.count, (1, 2)).astype(int)) == counts
    assert 0.3 < np.isfinite(found.count[0]).mean() < 0.65  # the extract is smaller than the ground


@pytest.mark.real_data
def test_the_restaurants_of_helsinki_are_in_the_cells_of_a_plain_loop(real_data):
    path = real_data / "operator_samples" / "Helsinki.osm.pbf"
    cells, ways = np.zeros((7, 6)), 0
    dishes = ("restaurant", "cafe", "fast_food", "bar", "pub", "food_court")
    for thing in osmium.FileProcessor(str(path), osmium.osm.NODE | osmium.osm.WAY):
        amenity, shop = thing.tags.get("amenity"), thing.tags.get("shop")
        if amenity in dishes or (amenity is None and shop in ("bakery", "pastry", "coffee")):
            ways += thing.is_way()
            if thing.is_node():
                cells[cell_of(thing.lon, thing.lat)] += 1
    found = layer(poi_of_extract(path, HELSINKI), "restaurant")
    assert (np.nan_to_num(found) >= cells).all()
    assert np.nansum(found) == cells.sum() + ways == 434


def cell_of(lon: float, lat: float) -> tuple[int, int]:
    import pyproj

    east, north = pyproj.Transformer.from_crs(4326, 32635, always_xy=True).transform(lon, lat)
    return int((north - HELSINKI.south) // 500), int((east - HELSINKI.west) // 500)
