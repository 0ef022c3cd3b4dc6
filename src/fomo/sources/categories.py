"""Points of interest in the paper's 15 categories (Table 1), whatever a source calls its own.

    poi, everything, mapping = paper_categories(city)     # (15, y, x), (y, x), which names were understood

Names are looked up in `poi_categories.toml`. One that is not there is reported, never guessed; a category without a
name counts in the total alone.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from jaxtyping import Float

from fomo.city import City

#: The paper's categories in the order of its Table 1.
CATEGORIES = (
    "shopping",
    "enterprise",
    "restaurant",
    "local living",
    "transportation",
    "public health",
    "automobile",
    "physical facilities",
    "accommodation",
    "finance",
    "government organs",
    "education",
    "business",
    "public facilities",
    "scenic spot",
)


@dataclass(frozen=True)
class CategoryMapping:
    """How names map to `CATEGORIES`.

    `weights` is 1 where a name (column) is counted in a category (row), else 0. `named`: any name was mapped.
    `unknown` are names that were not; `unnamed` is how many have no name at all.
    """

    weights: Float[np.ndarray, "15 category"]
    named: bool
    unknown: tuple[str, ...]
    unnamed: int


def map_categories(names: Sequence[str]) -> CategoryMapping:
    """The paper's category of each name.

    Case, spaces and punctuation are ignored, and so are a 'poi_' before a name and a number that tells it from others
    ('Medical 4'). A tag `key=value` that is not listed is counted as `key=*` where that is. 'unnamed 3', '?', '' and
    bare numbers are no names.
    """
    known = _category_of()
    weights = np.zeros((len(CATEGORIES), len(names)), np.float32)
    unknown: list[str] = []
    unnamed = 0
    for index, name in enumerate(names):
        plain = plain_name(re.sub(r"^poi[\s_-]+|\s+\d+$", "", name.strip(), flags=re.IGNORECASE))
        category = known.get(plain, known.get(plain.split("=")[0] + "=*") if "=" in plain else None)
        if category is not None:
            weights[CATEGORIES.index(category), index] = 1
        elif plain in ("", "unnamed") or plain.isdecimal():
            unnamed += 1
        else:
            unknown.append(name)
    return CategoryMapping(weights, bool(weights.any()), tuple(unknown), unnamed)


def paper_categories(
    city: City,
) -> tuple[Float[np.ndarray, "15 y x"], Float[np.ndarray, "y x"], CategoryMapping] | None:
    """POI in the paper's 15 categories, all POI together, and how names were mapped; None for a city without `poi`.

    A category to which no name maps is NaN, and so is a cell of which none of its inputs is known; else it is the sum
    of those that are. The total is over every category: mapped, unknown and unnamed.
    """
    if "poi" not in city:
        return None
    poi = city["poi"].values
    mapping = map_categories([str(name) for name in city["category"].values])
    total = _sum_of_known(np.ones((1, len(poi)), np.float32), poi)[0]
    return _sum_of_known(mapping.weights, poi), total, mapping


def category_names() -> dict[str, list[str]]:
    """Category -> the names listed for it in `poi_categories.toml`, as they are written there."""
    text = files("fomo.sources").joinpath("poi_categories.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def plain_name(name: str) -> str:
    """The name as it is compared: small letters and digits, with the '=' and '*' of tags."""
    return "".join(letter for letter in name.casefold() if letter.isalnum() or letter in "=*")


@cache
def _category_of() -> dict[str, str]:
    return {plain_name(name): category for category, names in category_names().items() for name in names}


def _sum_of_known(
    weights: Float[np.ndarray, "out category"], poi: Float[np.ndarray, "category y x"]
) -> Float[np.ndarray, "out y x"]:
    known = np.isfinite(poi)
    total = np.tensordot(weights, np.where(known, poi, 0), 1)
    recorded = np.tensordot(weights, known.astype(np.float32), 1) > 0
    return np.where(recorded, total, np.nan).astype(np.float32)
