"""German cities around SpectraGAN (xyf2002/SpectraGAN): what is on the ground, and traffic that is synthetic.

Two kinds of layer. `CITY_SYNTH_traffic` becomes the city `CITY`: output of SpectraGAN, marked synthetic. Population,
POI and land use become `CITY_context`: a city without any traffic, which is all that a generator is given. They lie on
another grid than the traffic (22 x 28 cells against 11 x 17 in Aachen, cut and scaled in an unstated way), so POI is
left out beside the synthetic traffic and the attribute `context` says so, unless the grids agree. No date and no step
are published: the first step is taken as Monday 00:00 and a step as one hour.

The release does not state the unit or the cells of its context. Row 0 is the south: woods, rivers and Frankfurt's
airport then lie where the map has them. Cells are taken as the 250 m of SpectraGAN's paper, and `pop` as people in the
cell: its sum is then near the inhabitants of each city. It falls to -0.08 in places, a trace of resampling, which is
read as 0 and counted in `clipped_values`. `poi` are counts, `landuse` shares of a cell, both without names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from fomo.city import City, CityError, make_city, validate
from fomo.sources.archive import Archive
from fomo.sources.source import Source, family_name
from fomo.sources.weekdays import MINUTES_PER_WEEK, MONDAY

TRAFFIC = "_SYNTH_traffic"
CONTEXT = "_context"
CELL_KM = 0.25
STEP_MINUTES = 60
LEAST_PEOPLE = -0.5  # what resampling leaves; less is no population


def layers(names: frozenset[str]) -> list[str]:
    """The cities with traffic, e.g. 'aachen', and those with all their context, e.g. 'aachen_context'."""
    made = [name.removesuffix(TRAFFIC) for name in names if re.fullmatch(rf".+{TRAFFIC}", name)]
    cities = [name.removesuffix("_pop") for name in names if re.fullmatch(r".+_pop", name)]
    bare = [city + CONTEXT for city in cities if {f"{city}_poi", f"{city}_landuse"} <= names]
    return sorted({*made, *bare})


def read(path: Path, layer: str) -> list[City]:
    """The one city `layer`: synthetic traffic (time, y, x), or context without traffic. Raises `CityError`."""
    archive = Archive(path)
    if layer + TRAFFIC in archive.names:
        return [_synthetic(archive, layer)]
    return [_context(archive, layer)]


def _synthetic(archive: Archive, layer: str) -> City:
    traffic = archive.take(layer + TRAFFIC, "time y x")
    context: dict[str, Any] = {"context": "none published"}
    if f"{layer}_poi" in archive.names:
        grid = archive.shape_of(f"{layer}_poi")[1:]
        if grid == traffic.shape[1:]:
            context = {"context": "poi on the grid of the traffic"}
            context["poi"] = archive.take(f"{layer}_poi", "category y x")
        else:
            context = {"context": f"poi left out: its grid {grid} is not that of the traffic {traffic.shape[1:]}"}
    return make_city(
        traffic,
        unit="normalised volume per period",
        synthetic=True,
        **context,
        **_common(archive, layer),
    )


def _context(archive: Archive, layer: str) -> City:
    """Residents, POI and `landuse` (landuse_class, y, x) over a week in which no traffic is recorded.

    Covered is a cell with residents, a POI or some land use: somebody may ask for its traffic.
    """
    town = layer.removesuffix(CONTEXT)
    population = archive.take(f"{town}_pop", "1 y x")[0].astype(np.float32)
    poi = archive.take(f"{town}_poi", "category y x").astype(np.float32)
    landuse = archive.take(f"{town}_landuse", "landuse_class y x").astype(np.float32)
    _check_range(archive, f"{town}_pop", population, LEAST_PEOPLE, np.inf, "people in the cell")
    _check_range(archive, f"{town}_landuse", landuse, 0, 1 + 1e-5, "shares of the cell")
    below = population < 0
    hours = MINUTES_PER_WEEK // STEP_MINUTES
    city = make_city(
        np.full((hours, *population.shape), np.nan, np.float32),
        residents=np.where(below, 0, population),
        poi=poi,
        covered=(population > 0) | (poi > 0).any(0) | (landuse > 0).any(0),
        cell_km=CELL_KM,
        unit="none: no traffic is recorded",
        context="people in the cell, POI (counts) and land use (shares of the cell) without names; no traffic",
        clipped_values=int(below.sum()),
        **_common(archive, layer),
    )
    city["landuse"] = (("landuse_class", "y", "x"), landuse, {"units": "share of the cell"})
    return validate(city)


def _common(archive: Archive, layer: str) -> dict[str, Any]:
    return {
        "name": family_name(archive.path, layer),
        "start": MONDAY,
        "step_minutes": STEP_MINUTES,
        "time_zone": "Europe/Berlin",
        "calendar": "weekday",
        "source": "https://github.com/xyf2002/SpectraGAN",
        "sha256": archive.sha256,
    }


def _check_range(archive: Archive, name: str, values: np.ndarray, low: float, high: float, what: str) -> None:
    wrong = (values < low) | (values > high) | np.isinf(values)
    if wrong.any():
        place = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        raise CityError(
            f"array {name!r} of {archive.path} is {values[place]:g} at {tuple(int(index) for index in place)}; "
            f"{int(wrong.sum())} such values: write {what}, NaN where unknown"
        )


SOURCE = Source(
    "german",
    "CITY_SYNTH_traffic (T, y, x); CITY_pop (1, y, x), CITY_poi (category, y, x), CITY_landuse (class, y, x)",
    lambda names: bool(layers(names)),
    read,
    layers,
)
