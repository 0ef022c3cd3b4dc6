"""Random windows of many cities for training, with augmentation. Numbers in, `Batch` out; masks are drawn elsewhere.

Every batch has one window shape (time, y, x) and mixes cities, granularity periods and units. All randomness comes
from the generator that is passed in, so a training step can be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from fomo.city import City, CityError
from fomo.windows.batch import Batch
from fomo.windows.choices import AugmentConfig, Series, choose
from fomo.windows.clock import hours_since_monday
from fomo.windows.context import UsersPattern, static_layers, users_share
from fomo.windows.gathered import Gathered
from fomo.windows.laid import CityArrays, Keep, Laid, as_it_is
from fomo.windows.patterns import View, family_patterns, family_users, views_of
from fomo.windows.scale import reference_of
from fomo.windows.shapes import Pattern, pattern_of
from fomo.windows.usual import UsualWeeks


def family_references(cities: Sequence[City], variable: str = "traffic") -> dict[str, float]:
    """Per family, the 99.99th percentile of all its training values: what is stored with the weights.

    Of `users`, for the families that have them.
    """
    families: dict[str, list[np.ndarray]] = {}
    for city in cities:
        if variable in city:
            families.setdefault(city.attrs["family"], []).append(city[variable].values)
    return {family: reference_of(*parts) for family, parts in families.items()}


class TrainingSet:
    """Cities to draw windows from."""

    def __init__(
        self,
        cities: Sequence[City],
        references: Mapping[str, float],
        augment: AugmentConfig,
        family_weights: Mapping[str, float] | None = None,
        users_references: Mapping[str, float] | None = None,
        keep: Keep = as_it_is,
    ) -> None:
        """`family_weights`: how often each family is drawn, relative; default: the root of its recorded values.

        `users_references`: what counts as full users, by family; without it windows have no context at all.
        `keep`: where the cities' arrays are laid (`laid.Laid`).
        """
        if not cities:
            raise CityError("there is no city to train on")
        self.augment = augment
        self.families: dict[str, list[int]] = {}
        for index, city in enumerate(cities):
            self.families.setdefault(str(city.attrs["family"]), []).append(index)
        patterns = family_patterns(cities, references)
        users = None if users_references is None else family_users(cities, references, users_references)
        series: dict[int, Series] = {}
        arrays = [_arrays(city, references[city.attrs["family"]], users_references) for city in cities]
        self.laid = Laid(arrays, keep)
        random = np.random.default_rng(0)
        for family, members in self.families.items():
            views = views_of({index: cities[index] for index in members}, references, patterns, users, random)
            elsewhere = pattern_of(*patterns.general(family))
            elsewhere_users = None if users is None else users.general(family)
            for index in members:
                series[index] = _series(
                    cities[index], index, arrays[index], references[family], views[index], elsewhere, elsewhere_users
                )
        self.series = [series[index] for index in range(len(cities))]
        self.weeks = _weeks(self.series)
        self.users = {} if users is None else {name: users.pattern(name) for name in users.families}
        self.rhythms = {name: tuple(np.round(pattern.curve, 4).tolist()) for name, pattern in patterns.patterns.items()}
        self.shapes = {name: pattern.stored for name, pattern in patterns.patterns.items()}
        self.frequency = self._frequency(dict(family_weights or {}))

    def seen_as(self, pattern: Pattern, users: UsersPattern | None) -> None:
        """Give all windows one pattern: that of other cities, where a city is too small to be parted into groups."""
        self.series = [
            replace(
                one,
                views=tuple(View(view.group, pattern, users) for view in one.views),
                general=pattern,
                general_users=users,
            )
            for one in self.series
        ]
        self.weeks = _weeks(self.series)

    def _frequency(self, family_weights: Mapping[str, float]) -> np.ndarray:
        unknown = set(family_weights) - set(self.families)
        if unknown:
            raise CityError(
                f"weights for families that are not trained on: {sorted(unknown)}; there are {sorted(self.families)}"
            )
        frequency = np.zeros(len(self.series))
        for family, members in self.families.items():
            recorded = np.array([self.series[i].values for i in members], float)
            weight = family_weights.get(family, float(np.sqrt(recorded.sum()) / 1000))
            frequency[members] = weight * recorded / recorded.sum()
        return frequency / frequency.sum()

    def draw(self, shape: tuple[int, int, int], batch: int, random: np.random.Generator) -> Batch:
        """`batch` windows of `shape` (time, y, x), all recorded values OBSERVED."""
        long_enough = np.array([series.steps >= shape[0] for series in self.series])
        frequency = self.frequency * long_enough
        if frequency.sum() == 0:
            raise CityError(f"no city of the training set has {shape[0]} steps: shorten the window")
        chosen = random.choice(len(self.series), size=batch, p=frequency / frequency.sum())
        choices = [choose(self.series, self.series[i], shape, self.augment, random) for i in chosen]
        return Gathered.find(self.laid, self.weeks, choices, shape).batch()


def _weeks(series: Sequence[Series]) -> UsualWeeks:
    """Every pattern that a window of these may have."""
    patterns: list[Pattern] = []
    for one in series:
        patterns += [one.general, *(view.pattern for view in one.views)]
        for users in (one.general_users, *(view.users for view in one.views)):
            patterns += [] if users is None else [users.users, users.per_user]
    return UsualWeeks(patterns)


def _arrays(city: City, reference: float, users_references: Mapping[str, float] | None) -> CityArrays:
    """Shares of a city; users are cut as scores cut them. Without references no context is read."""
    users = static = None
    if users_references is not None:
        users_reference = users_references.get(str(city.attrs["family"]))
        if "users" in city and users_reference is not None:
            users = users_share(city["users"].values, users_reference)
        static = static_layers(city)
    return CityArrays(city["traffic"].values / reference, city["covered"].values, users, static)


def _series(
    city: City,
    place: int,
    arrays: CityArrays,
    reference: float,
    views: tuple[View, ...],
    general: Pattern,
    general_users: UsersPattern | None,
) -> Series:
    known = np.isfinite(city["traffic"].values)
    return Series(
        name=city.attrs["name"],
        family=city.attrs["family"],
        place=place,
        steps=city.sizes["time"],
        grid=(city.sizes["y"], city.sizes["x"]),
        covered=np.flatnonzero(arrays.covered),
        recorded=np.concatenate([[0], np.cumsum(known[:, arrays.covered].sum(1))]),
        values=int(known.sum()),
        reference=reference,
        start_hour=float(hours_since_monday(city["time"].values[:1])[0]),
        step_hours=city.attrs["step_minutes"] / 60,
        cell_km=city.attrs["cell_km"],
        scattered=city.attrs["layout"] == "list",
        users=arrays.users is not None,
        static=arrays.static is not None,
        views=views,
        general=general,
        general_users=general_users,
    )


__all__ = ["AugmentConfig", "Series", "TrainingSet", "family_patterns", "family_references"]
