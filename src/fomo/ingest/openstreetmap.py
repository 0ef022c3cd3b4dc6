"""Points of interest from an OpenStreetMap extract (.osm.pbf), streamed.

What is a point of interest: a node, way or multipolygon with one of `OPEN` keys, whatever its value, or with one of
the values that `poi_categories.toml` lists for one of `LISTED` keys (building=hotel, but not building=yes). The first
key of `OPEN` and then `LISTED` with a category names it, so that an object with several tags counts once. Values
that say that there is nothing (shop=vacant), and those of `DOUBLES`, name nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from fomo.ingest.ground import Ground, transformer
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.poi import PoiLayers, count_points
from fomo.sources.categories import map_categories

ATTRIBUTION = "© OpenStreetMap contributors, ODbL 1.0"
#: Keys of which every value is a point of interest, the first one decides.
OPEN = (
    *("amenity", "shop", "tourism", "office", "healthcare", "leisure"),
    *("craft", "historic", "emergency", "public_transport", "government", "industrial", "sport"),
)
#: Keys of which only values with a category are: the others are roads, houses, fields.
LISTED = ("railway", "aeroway", "highway", "man_made", "building", "landuse")
#: Values that say that there is nothing, or nothing any more.
NOTHING = frozenset({"no", "none", "vacant", "disused", "abandoned", "demolished"})
#: `emergency` with these says who may drive on a road; a stop position is the point on the road or rail of a stop
#: that is mapped beside it as well.
DOUBLES = frozenset(
    {f"emergency={value}" for value in ("yes", "designated", "official", "permissive", "private", "destination")}
    | {"public_transport=stop_position", "public_transport=stop_area"}
)
NO_PLACE = "no position: none of its nodes is in the extract"
NO_AREA = "a relation without an area: not a multipolygon, or incomplete in the extract"


def poi_of_extract(path: str | Path, ground: Ground, *, ledger: Ledger | None = None) -> PoiLayers:
    """Points of an .osm.pbf per category (15, y, x) on the ground.

    Ways and multipolygons lie at the mean of their (outer) nodes. All categories are recorded: a cell without points
    is 0. Where the extract states the box that it was cut by, cells that do not touch it are NaN. Objects without a
    place are counted in `PoiLayers.rejected` and in the ledger. Locations of all nodes are held in memory, 16 bytes
    each: cut a country to the city's surroundings first (osmium extract --bbox).

    Raises `IngestError` where the file is damaged or no .osm.pbf, is a history of changes, or no point lies on the
    ground. A file that is cut exactly between two of its blocks cannot be told from a whole one.
    """
    path = Path(path)
    try:
        import osmium
    except ImportError:
        raise IngestError("OpenStreetMap extracts need osmium: pip install 'fomo[operator]'") from None
    if not path.is_file():
        raise IngestError(f"there is no file {path}: check the path")
    ledger = Ledger() if ledger is None else ledger
    lon: list[float] = []
    lat: list[float] = []
    index: list[int] = []
    names: dict[str, int] = {}
    rejected: dict[str, int] = {}
    try:
        with osmium.io.Reader(osmium.io.File(str(path), "pbf"), osmium.osm.osm_entity_bits.NOTHING) as reader:
            header = reader.header()
        if header.has_multiple_object_versions:
            raise IngestError(f"{path} is a history of changes: export the current state (osmium time-filter)")
        for name, place, text in _objects(path):
            if isinstance(place, str):
                rejected[place] = rejected.get(place, 0) + 1
                ledger.reject(place, str(path), [text])
                continue
            lon.append(place[0])
            lat.append(place[1])
            index.append(names.setdefault(name, len(names)))
    except (RuntimeError, UnicodeDecodeError) as error:  # osmium's one type for everything, and text that is none
        raise IngestError(f"{path} is damaged, cut short or no .osm.pbf ({error}): fetch it again") from None
    layers = count_points(
        np.array(lon, float),
        np.array(lat, float),
        np.array(index, int),
        list(names),
        ground,
        path,
        attribution=ATTRIBUTION,
        rejected=rejected,
        covered=_covered(header.box(), ground),
        every_category=True,
    )
    ledger.taken += layers.points
    return layers


def point_tag(tags: Any) -> str | None:
    """The tag 'key=value' that makes an object a point of interest, None if it is none. `tags` has a `get`.

    Of a value with several parts (amenity=nightclub;restaurant) the first with a category counts. Where no tag has a
    category, it is the first one of `OPEN` keys, whole.
    """
    unknown = None
    for key in (*OPEN, *LISTED):
        value = tags.get(key)
        if value is None:
            continue
        tag = _tag_with_category(key, value)
        if tag is not None:
            return tag
        whole = f"{key}={value}"
        if unknown is None and key in OPEN and value not in NOTHING and whole not in DOUBLES:
            unknown = whole
    return unknown


@cache
def _tag_with_category(key: str, value: str) -> str | None:
    for part in value.split(";"):
        tag = f"{key}={part.strip()}"
        if part.strip() not in NOTHING and tag not in DOUBLES and map_categories([tag]).named:
            return tag
    return None


def _objects(path: Path) -> Iterator[tuple[str, tuple[float, float] | str, str]]:
    """Points of interest: the tag, the place (or why there is none), and what it is called in the map."""
    import osmium

    def relevant() -> Any:
        return osmium.filter.KeyFilter(*OPEN, *LISTED)

    # Areas of closed ways come as well, after the ways themselves, and are passed over.
    objects: Any = osmium.FileProcessor(osmium.io.File(str(path), "pbf")).with_areas(relevant()).with_filter(relevant())
    relations: dict[int, str] = {}
    for thing in objects:
        if thing.is_area() and thing.from_way():
            continue
        tag = point_tag(thing.tags)
        if tag is None:
            continue
        if thing.is_node():
            yield tag, _mean([thing]), f"node {thing.id} {tag}"
        elif thing.is_way():
            nodes = list(thing.nodes)
            yield tag, _mean(nodes[:-1] if thing.is_closed() else nodes), f"way {thing.id} {tag}"
        elif thing.is_relation():
            relations[thing.id] = tag
        else:
            relations.pop(thing.orig_id(), None)
            yield tag, _mean([node for ring in thing.outer_rings() for node in list(ring)[:-1]]), f"relation {tag}"
    for number, tag in relations.items():
        yield tag, NO_AREA, f"relation {number} {tag}"


def _mean(nodes: list[Any]) -> tuple[float, float] | str:
    places = [(node.lon, node.lat) for node in nodes if node.location.valid()]
    if not places:
        return NO_PLACE
    return sum(lon for lon, _ in places) / len(places), sum(lat for _, lat in places) / len(places)


def _covered(box: Any, ground: Ground) -> Bool[np.ndarray, "y x"] | None:
    """Cells that touch the extract's box; None where it states none."""
    if not box.valid():
        return None
    west, south, east, north = ground.bounds
    corner_east, corner_north = np.meshgrid(
        np.linspace(west, east, ground.width + 1), np.linspace(south, north, ground.height + 1)
    )
    lon, lat = (
        np.asarray(value) for value in transformer(ground.crs, "EPSG:4326").transform(corner_east, corner_north)
    )
    lon_cells, lat_cells = (
        np.stack([degrees[:-1, :-1], degrees[:-1, 1:], degrees[1:, :-1], degrees[1:, 1:]]) for degrees in (lon, lat)
    )
    low, high = box.bottom_left, box.top_right
    beside = (lon_cells.max(0) < low.lon) | (lon_cells.min(0) > high.lon)
    return ~(beside | (lat_cells.max(0) < low.lat) | (lat_cells.min(0) > high.lat))


__all__ = ["ATTRIBUTION", "LISTED", "OPEN", "poi_of_extract", "point_tag"]
