"""What is around an operator's cells: points of interest and residents of files, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fomo.ingest.build import Context, Layers
from fomo.ingest.ground import Ground
from fomo.ingest.reading import hash_of

if TYPE_CHECKING:
    from fomo.ingest.poi import PoiLayers

#: Names that a line of the terminal holds.
MOST_NAMES = 5
#: Names of points without a category that a city's report holds.
MOST_UNKNOWN = 100


@dataclass(frozen=True)
class Surroundings:
    """Files that say what is around the cells."""

    poi: Path | None = None  # .osm.pbf, or a table of points
    residents: Path | None = None  # a raster, or a table of points
    poi_columns: dict[str, str] = field(default_factory=dict)  # lon, lat, category -> its column of a table
    poi_shifted: bool = False  # a table's points are GCJ-02
    residents_columns: dict[str, str] = field(default_factory=dict)  # lon, lat, people -> its column of a table


def context_of(around: Surroundings, ground: Ground) -> Context:
    """POI in the paper's categories and residents on the ground, whom to name for them, and what became of the files.

    Raises `IngestError`.
    """
    layers: Layers = {}
    named: list[str] = []
    said: dict[str, Any] = {}
    told: list[str] = []
    if around.poi is not None:
        from fomo.ingest.openstreetmap import poi_of_extract
        from fomo.ingest.poi_table import poi_of_table

        of_map = around.poi.name.endswith((".pbf", ".osm"))
        if of_map:
            poi = poi_of_extract(around.poi, ground)
        else:
            poi = poi_of_table(around.poi, ground, around.poi_columns, shifted="gcj02" if around.poi_shifted else "")
        layers["poi"] = (("category", "y", "x"), poi.count.astype(np.float32))
        layers["category"] = (("category",), np.array(poi.names, dtype=object))
        named.append(poi.attribution)
        said["poi"] = {"file": around.poi.name, "sha256": hash_of(around.poi), **counts_of(poi)}
        counted = int(np.nansum(poi.count))
        told.append(f"{around.poi.name}: {counted:,} of {poi.points:,} points counted, {poi.outside:,} off the grid")
        told += [
            f"{around.poi.name}: {_counted(some)}" for some in (poi.rejected, _without_category(poi.unknown)) if some
        ]
    if around.residents is not None:
        from fomo.ingest.residents import residents_of

        residents = residents_of(around.residents, ground, around.residents_columns)
        layers["residents"] = (("y", "x"), residents.count.astype(np.float32))
        named.append(residents.source)
        told.append(
            f"{around.residents.name}: {residents.total_on_ground:,.0f} of {residents.total_in_file:,.0f} people "
            "on the grid"
        )
        told += [f"{around.residents.name}: {_counted(residents.rejected)}"] if residents.rejected else []
    return Context(layers, tuple(named), {"told": told, **said})


def counts_of(poi: PoiLayers) -> dict[str, Any]:
    """Points by what became of them, for a report.

    `categories`: points on the grid of each, None where the source does not record it. `in_no_category`: names that are
    in none, the `MOST_UNKNOWN` most frequent; `other_names` and `of_other_names` count the rest of them.
    """
    recorded = np.isfinite(poi.count).any((1, 2))
    points = np.nansum(poi.count, (1, 2)).astype(int).tolist()
    unknown = sorted(poi.unknown.items(), key=lambda item: -item[1])
    rest = [count for _, count in unknown[MOST_UNKNOWN:]]
    return {
        "points": poi.points, "off_the_grid": poi.outside, "rejected": dict(poi.rejected),
        "categories": {
            name: count if known else None for name, count, known in zip(poi.names, points, recorded, strict=True)
        },
        "in_no_category": dict(unknown[:MOST_UNKNOWN]), "other_names": len(rest), "of_other_names": sum(rest),
    }  # fmt: skip


def category_lines(poi: dict[str, Any]) -> list[tuple[str, str]]:
    """Counts of the categories of a report, for a terminal."""
    found = sorted(((count, name) for name, count in poi["categories"].items() if count is not None), reverse=True)
    absent = [name for name, count in poi["categories"].items() if count is None]
    lines = [("points of interest", ", ".join(f"{name} {count:,}" for count, name in found))] if found else []
    lines += [("points of interest", f"not recorded by {poi['file']}: {', '.join(absent)}")] if absent else []
    unknown = sum(poi["in_no_category"].values()) + poi["of_other_names"]
    names = len(poi["in_no_category"]) + poi["other_names"]
    lines += [("points of interest", f"in no category: {unknown:,} of {names:,} names")] if unknown else []
    return lines


def _without_category(unknown: dict[str, int]) -> dict[str, int]:
    """Names of points that are in no category, as reasons."""
    return {f"in no category: {name or 'without a name'}": count for name, count in unknown.items()}


def _counted(reasons: dict[str, int]) -> str:
    """The most frequent reasons with their counts."""
    return some_of([f"{count:,} x {reason}" for reason, count in sorted(reasons.items(), key=lambda item: -item[1])])


def some_of(names: Sequence[str]) -> str:
    """The first ones; that there are more is said."""
    return ", ".join(names[:MOST_NAMES]) + (", …" if len(names) > MOST_NAMES else "")


__all__ = ["Surroundings", "category_lines", "context_of", "counts_of", "some_of"]
