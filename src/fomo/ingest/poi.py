"""Points of interest on the ground in the paper's 15 categories: what the readers of maps and of tables return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from fomo.ingest.ground import Ground
from fomo.ingest.points import place
from fomo.sources.categories import CATEGORIES, map_categories


@dataclass(frozen=True)
class PoiLayers:
    """Points per category and cell of the ground.

    names        the paper's 15 categories
    count        (15, y, x) points; NaN = not recorded: a category or a cell that the source does not know of
    unknown      name without a category -> how many points of the ground have it ('' = no name)
    outside      points that do not lie on the ground, or on cells of it that the source says not to cover
    points       all points with a position: those of `count`, of `unknown` and `outside`
    attribution  what has to be said of the source
    rejected     reason -> rows or objects without a usable position, not among `points`
    """

    names: tuple[str, ...]
    count: Float[np.ndarray, "15 y x"]
    unknown: dict[str, int]
    outside: int
    points: int
    attribution: str
    rejected: dict[str, int] = field(default_factory=dict)


def count_points(
    lon: Float[np.ndarray, " point"],
    lat: Float[np.ndarray, " point"],
    name: Int[np.ndarray, " point"],
    names: Sequence[str],
    ground: Ground,
    path: Path,
    *,
    attribution: str,
    rejected: dict[str, int],
    covered: Bool[np.ndarray, "y x"] | None = None,
    every_category: bool = False,
) -> PoiLayers:
    """Points at degrees, each with the index of its name in `names`, counted per category and cell.

    `covered`: cells that the source covers; others are NaN. `every_category`: the source records all categories, so one
    without a point is 0; otherwise one without a point on the ground is NaN, as the source may not record it here.
    Raises `IngestError` where no point lies on the ground.
    """
    row, column, inside = place(ground, lon, lat, path, "points of interest")
    if covered is not None:
        inside = inside & covered[row, column]
    weights = map_categories(names).weights
    known = weights.any(0)
    category = np.where(known, weights.argmax(0), -1)
    of_point = category[name]
    shape = (len(CATEGORIES), ground.height, ground.width)
    counted = inside & (of_point >= 0)
    place_of = np.ravel_multi_index((of_point[counted], row[counted], column[counted]), shape)
    count = np.bincount(place_of, minlength=int(np.prod(shape))).reshape(shape).astype(float)
    if not every_category:
        recorded = np.isin(np.arange(len(CATEGORIES)), of_point[inside])
        count[~recorded] = np.nan
    if covered is not None:
        count[:, ~covered] = np.nan
    left = np.bincount(name[inside & (of_point < 0)], minlength=len(names))
    unknown = {names[index]: int(left[index]) for index in np.argsort(-left, kind="stable") if left[index]}
    return PoiLayers(
        CATEGORIES, count, unknown, int((~inside).sum()), len(lon), attribution=attribution, rejected=rejected
    )


__all__ = ["PoiLayers", "count_points"]
