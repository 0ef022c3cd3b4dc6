"""What may be trained on and what is tested: by region, time or week. No test value is in a training part.

| split        | training part                  | test part                                    |
|--------------|--------------------------------|----------------------------------------------|
| `fold`       | the regions of the other folds | the regions of one fold, all their time      |
| `last_fifth` | the first floor(0.8 T) steps   | the steps after them                         |
| `next_week`  | the first week of every region | the second week of the regions that have one |

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
_TRAINED_NAME = re.compile(r"(.*?)(?:\[:(\d+)\])?(?:#([0-9a-f]{16}))?", re.DOTALL)

Split = Literal["fold", "last_fifth", "next_week"]


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


def training_parts(cities: Sequence[City], split: Split, fold: int = 0) -> list[City]:
    """Everything of these cities that the split allows to train on."""
    if split == "fold":
        return fold_split(cities, fold)[0]
    return [train_part(city, split) for city in cities]


def trained_name(city: City) -> str:
    """How `trained_on` names a city: "name[:N]#hash", N only where no more than the first N steps were seen."""
    until = city.attrs.get("trained_until")
    digest = str(city.attrs["sha256"])[:HASH_DIGITS]
    return str(city.attrs["name"]) + ("" if until is None else f"[:{until}]") + (f"#{digest}" if digest else "")


def leaks(trained_on: Iterable[str], name: str, first_test_step: int, sha256: str = "") -> bool:
    """Whether training saw a step of the city `name` at or after `first_test_step`.

    Regions are named by their place in a file, so a city of another file is another city, where both hashes are known.
    """
    for entry in trained_on:
        trained, until, digest = _TRAINED_NAME.fullmatch(entry).groups()  # type: ignore[union-attr]
        another_file = bool(digest and sha256) and digest != sha256[:HASH_DIGITS]
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
    "Split",
    "city_reference",
    "family_reference",
    "first_week",
    "fold_split",
    "last_fifth",
    "leaks",
    "train_part",
    "trained_name",
    "training_parts",
]
