"""What may be trained on and what is tested: by region, time or week. No test value is in a training part.

| split        | training part                  | test part                                    |
|--------------|--------------------------------|----------------------------------------------|
| `fold`       | the regions of the other folds | the regions of one fold, all their time      |
| `last_fifth` | the first floor(0.8 T) steps   | the steps after them                         |
| `next_week`  | the first week of every region | the second week of the regions that have one |
| `area`       | the city without a district    | the district, all its time                   |

The scale of a score, and of a model, is the 99.99th percentile of a training part (NOTES.md):
`city_reference`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from fomo.city import City, CityError, steps_per_day
from fomo.windows.scale import PERCENTILE

HASH_DIGITS = 16
_TRAINED_NAME = re.compile(r"(.*?)(?:~([\d:,]+))?(?:\[:(\d+)\])?(?:#([0-9a-f]{16}))?", re.DOTALL)

Split = Literal["fold", "last_fifth", "next_week", "area"]
#: Rows y0 to y1 and columns x0 to x1 of a district, ends left out.
Area = tuple[int, int, int, int]


def fold_split(cities: Sequence[City], fold: int) -> tuple[list[City], list[City]]:
    """Regions of the other folds, and regions of this fold: (train, test). Either may be empty.

    Raises `CityError` where a city has no attribute `fold`, or where one region is in both parts.
    """
    unmarked = [str(city.attrs["name"]) for city in cities if "fold" not in city.attrs]
    if unmarked:
        raise CityError(f"no fold is known of {unmarked[:3]}: split these cities by time (last_fifth)")
    train = [city for city in cities if int(city.attrs["fold"]) != fold]
    test = [city for city in cities if int(city.attrs["fold"]) == fold]
    twice = {city.attrs["name"] for city in train} & {city.attrs["name"] for city in test}
    if twice:
        raise CityError(f"{sorted(twice)[:3]} are in the training and in the test part: give every region one name")
    return train, test


def last_fifth(city: City) -> int:
    """Index of the first test step, floor(0.8 T): steps before it may be trained on."""
    return (4 * city.sizes["time"]) // 5


def first_week(city: City) -> int:
    """Number of steps in the first week, or all steps of a shorter city."""
    return min(7 * steps_per_day(city), int(city.sizes["time"]))


def train_part(city: City, split: Literal["last_fifth", "next_week"]) -> City:
    """The steps that may be trained on. Its `attrs["trained_until"]` counts them, see `trained_name`."""
    until = last_fifth(city) if split == "last_fifth" else first_week(city)
    part = city.isel(time=slice(0, until))
    part.attrs = {**city.attrs, "trained_until": until}
    return part


def without_area(city: City, area: Area) -> City:
    """The city without a district: rows y0 to y1 and columns x0 to x1 carry nothing and are not covered.

    Its `attrs["held_back_area"]` says so, see `trained_name`. Raises `CityError` for a district outside the grid.
    """
    if area[1] > city.sizes["y"] or area[3] > city.sizes["x"]:
        size = (city.sizes["y"], city.sizes["x"])
        raise CityError(f"the held-back area {area} does not lie on the grid {size} of {city.attrs['name']!r}")
    keep = ~cells_of(area, city)
    rest = city.copy()
    for variable in ("traffic", "users"):
        if variable in city:
            rest[variable] = city[variable].where(keep[None])
    rest["covered"] = city["covered"] & keep
    rest.attrs = {**city.attrs, "held_back_area": area_name(area)}
    return rest


def cells_of(area: Area, city: City) -> np.ndarray:
    """A district as bool (y, x)."""
    inside = np.zeros((city.sizes["y"], city.sizes["x"]), bool)
    inside[area[0] : area[1], area[2] : area[3]] = True
    return inside


def area_name(area: Area) -> str:
    """'y0:y1,x0:x1', as the command line writes it."""
    return f"{area[0]}:{area[1]},{area[2]}:{area[3]}"


def training_parts(cities: Sequence[City], split: Split, fold: int = 0) -> list[City]:
    """Everything of these cities that the split allows to train on."""
    if split == "fold":
        return fold_split(cities, fold)[0]
    if split == "area":
        raise CityError("the training part of a split by district is the city without it: see without_area")
    return [train_part(city, split) for city in cities]


def trained_name(city: City) -> str:
    """How `trained_on` names a city: "name~AREA[:N]#hash".

    AREA only where a district was left out, N only where no more than the first N steps were seen.
    """
    until, area = city.attrs.get("trained_until"), city.attrs.get("held_back_area")
    digest = str(city.attrs["sha256"])[:HASH_DIGITS]
    name = str(city.attrs["name"]) + ("" if area is None else f"~{area}")
    return name + ("" if until is None else f"[:{until}]") + (f"#{digest}" if digest else "")


def leaks(
    trained_on: Iterable[str], name: str, first_test_step: int, sha256: str = "", area: str | None = None
) -> bool:
    """Whether training saw a step of the city `name` at or after `first_test_step`; of its district `area` alone.

    Regions are named by their place in a file, so a city of another file is another city, where both hashes are known.
    """
    for entry in trained_on:
        trained, left_out, until, digest = _TRAINED_NAME.fullmatch(entry).groups()  # type: ignore[union-attr]
        another_file = bool(digest and sha256) and digest != sha256[:HASH_DIGITS]
        if area is not None and left_out == area:
            continue
        if trained == name and not another_file and (until is None or int(until) > first_test_step):
            return True
    return False


def city_reference(values: np.ndarray) -> float:
    """The 99.99th percentile (linear) of the finite values, in their unit; any shape.

    Raises `CityError` where no value is finite or where the percentile is zero.
    """
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    if finite.size == 0:
        raise CityError("no scale: the training part holds no recorded value")
    reference = float(np.percentile(finite, PERCENTILE))
    if reference <= 0:
        raise CityError("no scale: the 99.99th percentile of the training part is 0, it carries no traffic")
    return reference


def family_reference(train: Sequence[City], variable: str = "traffic") -> float:
    """The 99.99th percentile of `variable` over all cities of a family together; `CityError` without any."""
    if not train:
        raise CityError("no scale: there is no training city; give the reference stored with the weights")
    return city_reference(np.concatenate([city[variable].values.ravel() for city in train]))


__all__ = [
    "Area",
    "Split",
    "area_name",
    "cells_of",
    "city_reference",
    "family_reference",
    "first_week",
    "fold_split",
    "last_fifth",
    "leaks",
    "train_part",
    "trained_name",
    "training_parts",
    "without_area",
]
