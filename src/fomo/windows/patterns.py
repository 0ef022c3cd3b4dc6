"""What is usual in the weeks of every family of cities: of traffic, of users, and of the traffic per user.

A training window must not find its own cells in what is usual, so a family is parted into groups of cities, and what
is usual for a window comes from the other groups.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from fomo.city import City
from fomo.windows.answers import (
    SMALLEST_BETWEEN,
    SMALLEST_WITHIN,
    UNKNOWN_BETWEEN,
    UNKNOWN_WITHIN,
    CellWeeks,
    answer_of,
    cell_weeks,
    rate_variances,
)
from fomo.windows.clock import hours_since_monday
from fomo.windows.context import UsersPattern
from fomo.windows.rhythm import (
    GENERAL,
    SMALLEST_BUSY,
    RhythmSums,
    general_rhythm,
    other_families,
    rhythm_sums,
    weekly_rhythm,
)
from fomo.windows.shapes import (
    OF_PER_USER,
    Pattern,
    Steadiness,
    general_covariance,
    pattern_of,
    steadied_pattern,
    week_covariance,
)

#: A family is parted into so many groups of cities, in so many ways; cities and cells are mixed within a group only.
GROUPS, PARTITIONS = 5, 3

Key = TypeVar("Key")


@dataclass(frozen=True)
class View:
    """A city's group in one partition of its family, and what is usual in the other groups."""

    group: tuple[int, ...]  # indices into the training set
    pattern: Pattern  # of all families but this where there is no other group
    users: UsersPattern | None = None  # None: the family has no users


@dataclass(frozen=True)
class FamilyPatterns:
    """Patterns to be stored with the weights, and what they are made of."""

    patterns: dict[str, Pattern]  # family -> pattern, and GENERAL
    raw: dict[str, np.ndarray]  # family -> curve of its cities alone
    spread: dict[str, np.ndarray]  # family -> covariance of its cities alone
    sums: dict[tuple[str, int], RhythmSums]  # family, slots of the week -> sums over its cities of that step
    steady: Steadiness | None = None  # None: that of traffic

    def general(self, without: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Curve and covariance over all families but one, by hour."""
        curve = general_rhythm(self.raw, without)
        return curve, general_covariance(self.raw, self.spread, curve, without)

    def without(self, family: str, some: RhythmSums, general: tuple[np.ndarray, np.ndarray]) -> Pattern:
        """The pattern of a family without some of its cities; the general one where nothing is left."""
        others = self.sums[family, some.slots] - some
        curve = weekly_rhythm(others) if others.cells else None
        if curve is None:
            return pattern_of(*general, self.steady)
        return steadied_pattern(curve, week_covariance(others), others.cells, *general, self.steady)


def family_patterns(cities: Sequence[City], references: Mapping[str, float]) -> FamilyPatterns:
    """The pattern of every family from its training parts, and the one over all families."""
    return patterns_of(
        (str(city.attrs["family"]), city_sums(city, references[city.attrs["family"]])) for city in cities
    )


def patterns_of(parts: Iterable[tuple[str, RhythmSums]], steady: Steadiness | None = None) -> FamilyPatterns:
    """The same from the sums of each city, with its family."""
    sums: dict[tuple[str, int], RhythmSums] = {}
    for family, own in parts:
        _add(sums, (family, own.slots), own)
    raw, spread, cells = {}, {}, {}
    for family, slots in sorted(sums):  # where a family has several steps, the finest is kept
        curve = weekly_rhythm(sums[family, slots])
        if curve is not None:
            raw[family], cells[family] = curve, sums[family, slots].cells
            spread[family] = week_covariance(sums[family, slots])
    found = FamilyPatterns({}, raw, spread, sums, steady)
    for family, curve in raw.items():
        found.patterns[family] = steadied_pattern(curve, spread[family], cells[family], *found.general(family), steady)
    found.patterns[GENERAL] = pattern_of(*found.general(), steady)
    return found


@dataclass(frozen=True)
class UsersOfCity:
    """Sums of a city's users and of its traffic per user, and the weeks of its busy cells."""

    users: RhythmSums
    per_user: RhythmSums
    weeks: CellWeeks


@dataclass(frozen=True)
class FamilyUsers:
    """Patterns of users and of the traffic per user, of the families that have users."""

    users: FamilyPatterns
    per_user: FamilyPatterns
    own: Mapping[tuple[str, str], UsersOfCity]  # by family and name

    @cached_property
    def families(self) -> tuple[str, ...]:
        """Those with a pattern of both, and GENERAL."""
        return tuple(name for name in self.users.patterns if name in self.per_user.patterns)

    @cached_property
    def rates(self) -> dict[str, float]:
        """Traffic share per users' share of each family."""
        found: dict[str, tuple[float, float]] = {}
        for (family, _), sums in self.per_user.sums.items():
            traffic, users = found.get(family, (0.0, 0.0))
            found[family] = (traffic + float(sums.traffic.sum()), users + sums.divisor)
        return {family: traffic / users for family, (traffic, users) in found.items() if traffic > 0 and users > 0}

    def rate(self, without: str | None = None) -> float:
        """Geometric mean of the families' rates, at their own step, without one of them."""
        others = [self.rates[name] for name in other_families(self.rates, without)]
        return float(np.exp(np.mean(np.log(others)))) if others else 1.0

    @cached_property
    def variances(self) -> dict[str, tuple[float, float]]:
        """Of the logarithm of cells' rates, within the regions of each family and between them."""
        return {family: self._variances(family) for family in self.rates}

    def elsewhere(self, without: str | None = None) -> tuple[float, float]:
        """The same in a family that was never seen: between its regions lies also what lies between families."""
        names = other_families(self.rates, without)
        if not names:
            return UNKNOWN_WITHIN, UNKNOWN_BETWEEN
        within, between = np.mean([self.variances[name] for name in names], 0)
        return float(within), float(between + np.var(np.log([self.rates[name] for name in names])))

    def _variances(self, family: str, without: Collection[str] = ()) -> tuple[float, float]:
        """Of a family without some of its cities. A single city is one region: what lies between is the least."""
        within, between = rate_variances(self.weeks(family, without))
        return UNKNOWN_WITHIN if within is None else max(within, SMALLEST_WITHIN), SMALLEST_BETWEEN + (between or 0.0)

    def weeks(self, family: str, without: Collection[str] = ()) -> list[CellWeeks]:
        """Those of the cities of a family but for some."""
        return [city.weeks for (other, name), city in self.own.items() if other == family and name not in without]

    def pattern(self, family: str) -> UsersPattern:
        """That of a family, or of all families."""
        if family == GENERAL:
            return self._general(None)
        users, per_user = self.users.patterns[family], self.per_user.patterns[family]
        answer = answer_of(self.weeks(family), users, per_user)
        return UsersPattern(users, per_user, self.rates[family], *self.variances[family], answer)

    def general(self, without: str) -> UsersPattern:
        """All families but one. What users say of the rate differs between families, so there it is nothing."""
        return self._general(without)

    def _general(self, without: str | None) -> UsersPattern:
        users, per_user = (pattern_of(*each.general(without), each.steady) for each in (self.users, self.per_user))
        return UsersPattern(users, per_user, self.rate(without), *self.elsewhere(without))

    def without(self, family: str, names: Collection[str]) -> UsersPattern:
        """A family without some of its cities, all of one step; all families but this where nothing is left."""
        some = [self.own[family, name] for name in names]
        own_users, own_per_user = (sum_of([getattr(each, part) for each in some]) for part in ("users", "per_user"))
        left = self.per_user.sums[family, own_per_user.slots] - own_per_user
        if left.divisor <= 1e-6 * own_per_user.divisor or left.traffic.sum() <= 0:
            return self.general(family)
        users = self.users.without(family, own_users, self.users.general(family))
        per_user = self.per_user.without(family, own_per_user, self.per_user.general(family))
        answer = answer_of(self.weeks(family, names), users, per_user)
        rate = float(left.traffic.sum()) / left.divisor
        return UsersPattern(users, per_user, rate, *self._variances(family, names), answer)


def family_users(
    cities: Sequence[City], references: Mapping[str, float], users_references: Mapping[str, float]
) -> FamilyUsers | None:
    """What is usual of the users of every family that has them; None where none has."""
    own: dict[tuple[str, str], UsersOfCity] = {}
    for city in cities:
        family = str(city.attrs["family"])
        if "users" in city and family in users_references:
            own[family, str(city.attrs["name"])] = users_of_city(city, references[family], users_references[family])
    if not own:
        return None
    users = patterns_of((family, each.users) for (family, _), each in own.items())
    per_user = patterns_of(((family, each.per_user) for (family, _), each in own.items()), OF_PER_USER)
    return FamilyUsers(users, per_user, own)


def users_of_city(city: City, reference: float, users_reference: float) -> UsersOfCity:
    """What a city's users and its traffic per user show.

    Of the traffic per user, cities count by the root of their traffic: one full region must not say how the others are.
    """
    clock = _clock(city)
    users, share = city["users"].values / users_reference, city["traffic"].values / reference
    per_user = rhythm_sums(share, *clock, users)
    return UsersOfCity(
        rhythm_sums(users, *clock),
        per_user.weighed(max(per_user.weight, SMALLEST_BUSY) ** -0.5),
        cell_weeks(share, users, *clock),
    )


def city_sums(city: City, reference: float) -> RhythmSums:
    """Sums of a city's traffic."""
    return rhythm_sums(city["traffic"].values / reference, *_clock(city))


def _clock(city: City) -> tuple[float, float]:
    """Hours since Monday 00:00 of the first step, and of a step."""
    return float(hours_since_monday(city["time"].values[:1])[0]), city.attrs["step_minutes"] / 60


def sum_of(parts: Sequence[RhythmSums]) -> RhythmSums:
    """All of them together."""
    return functools.reduce(RhythmSums.__add__, parts)


def _add(sums: dict[Key, RhythmSums], key: Key, own: RhythmSums) -> None:
    """Add to what is there under a key."""
    sums[key] = sums[key] + own if key in sums else own


def views_of(
    cities: Mapping[int, City],
    references: Mapping[str, float],
    patterns: FamilyPatterns,
    users: FamilyUsers | None,
    random: np.random.Generator,
) -> dict[int, tuple[View, ...]]:
    """Group and patterns of every city of a family in each of its partitions; few cities are groups of one, once."""
    family = str(next(iter(cities.values())).attrs["family"])
    general = patterns.general(family)
    own = {index: city_sums(city, references[family]) for index, city in cities.items()}
    views: dict[int, tuple[View, ...]] = {index: () for index in cities}
    for _ in range(PARTITIONS if len(cities) > GROUPS else 1):
        for part in np.array_split(random.permutation(list(cities)), min(GROUPS, len(cities))):
            group = tuple(int(index) for index in part)
            by_slots: dict[int, RhythmSums] = {}
            names: dict[int, list[str]] = {}  # of those with users
            for index in group:
                slots, name = own[index].slots, str(cities[index].attrs["name"])
                _add(by_slots, slots, own[index])
                if users is not None and (family, name) in users.own:
                    names.setdefault(slots, []).append(name)
            found = {slots: patterns.without(family, some, general) for slots, some in by_slots.items()}
            found_users = {slots: users.without(family, some) for slots, some in names.items() if users is not None}
            for index in group:
                slots = own[index].slots
                views[index] += (View(group, found[slots], found_users.get(slots)),)
    return views


__all__ = [
    "GROUPS",
    "PARTITIONS",
    "FamilyPatterns",
    "FamilyUsers",
    "UsersOfCity",
    "View",
    "city_sums",
    "family_patterns",
    "family_users",
    "patterns_of",
    "users_of_city",
    "views_of",
]
