"""Traffic of German cities as made by SpectraGAN (xyf2002/SpectraGAN): synthetic, and marked so.

The file holds context of several cities; only those with a `CITY_SYNTH_traffic` become a city here, each its
own layer. POI, population and land use lie on another grid than the traffic (22 x 28 cells against 11 x 17 in
Aachen, cut and scaled in an unstated way): they are left out and the attribute `context` says so, unless the
grids agree. No date and no step are published: the first step is taken as Monday 00:00 and a step as one
hour.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fomo.city import City, make_city
from fomo.sources.archive import Archive
from fomo.sources.source import Source, family_name
from fomo.sources.weekdays import MONDAY

TRAFFIC = "_SYNTH_traffic"


def layers(names: frozenset[str]) -> list[str]:
    """The cities with traffic, e.g. 'aachen'."""
    return sorted(name.removesuffix(TRAFFIC) for name in names if re.fullmatch(rf".+{TRAFFIC}", name))


def read(path: Path, layer: str) -> list[City]:
    """The one synthetic city `layer` (time, y, x). Raises `CityError`."""
    archive = Archive(path)
    traffic = archive.take(layer + TRAFFIC, "time y x")
    name = family_name(path, layer)
    context: dict[str, Any] = {"context": "none published"}
    if f"{layer}_poi" in archive.names:
        grid = archive.shape_of(f"{layer}_poi")[1:]
        if grid == traffic.shape[1:]:
            context = {"context": "poi on the grid of the traffic"}
            context["poi"] = archive.take(f"{layer}_poi", "category y x")
        else:
            context = {"context": f"poi left out: its grid {grid} is not that of the traffic {traffic.shape[1:]}"}
    return [
        make_city(
            traffic,
            name=name,
            start=MONDAY,
            step_minutes=60,
            time_zone="Europe/Berlin",
            calendar="weekday",
            unit="normalised volume per period",
            source="https://github.com/xyf2002/SpectraGAN",
            sha256=archive.sha256,
            synthetic=True,
            **context,
        )
    ]


SOURCE = Source(
    "german",
    "CITY_SYNTH_traffic (T, y, x), CITY_poi (category, y, x)",
    lambda names: bool(layers(names)),
    read,
    layers,
)
