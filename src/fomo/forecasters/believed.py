"""What is believed of a city before it is asked: its values, but for slips, and the scale of its family."""

from __future__ import annotations

import warnings

import numpy as np

from fomo.city import City
from fomo.model.checkpoint import Checkpoint
from fomo.windows.scale import without_slips

#: A city that reaches less or more than so much of what is full in its family is in another unit, or of no such family.
#: Regions that are in their family's unit reach 0.015 to 1.5 of it.
LIKELY = (1 / 300, 10.0)


def believed(city: City) -> City:
    """The city without slips of traffic and of users, which would rule what is said of all cells; with a warning."""
    for name in ("traffic", "users"):
        if name in city:
            recorded = city[name].values
            kept = without_slips(recorded)
            city = city if kept is recorded else city.assign({name: city[name].copy(data=kept)})
    return city


def stored_references(city: City, checkpoint: Checkpoint) -> tuple[float | None, float | None]:
    """Full traffic and full users of a family that the weights know; None: not known, or in another unit."""
    family = str(city.attrs["family"])
    stored = checkpoint.references.get(family), checkpoint.users_references.get(family)
    for name, reference in zip(("traffic", "users"), stored, strict=True):
        if name not in city or reference is None:
            continue
        largest = float(np.max(city[name].values, initial=0.0, where=np.isfinite(city[name].values)))
        if largest > 0 and not reference * LIKELY[0] <= largest <= reference * LIKELY[1]:
            warnings.warn(
                f"the {name} of {city.attrs['name']!r} reaches {largest:.4g}, in the family {family!r} that the "
                f"weights know it is full at {reference:.4g}: another unit, or another city of that name? It is "
                "taken as a city that they do not know; attrs['family'] says of which it is",
                stacklevel=2,
            )
            return None, None
    return stored


__all__ = ["believed", "stored_references"]
