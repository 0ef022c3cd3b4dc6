"""The training parts of the cities that a recipe names: never a held-back fold, never the last fifth of the time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fomo.city import City, CityError
from fomo.periods import coarser
from fomo.processes import Place
from fomo.sources import read_family
from fomo.training.recipe import DataConfig, Recipe
from fomo.training.window_cache import cache_folder, kept_in
from fomo.windows.laid import as_it_is
from fomo.windows.sample import TrainingSet, family_references
from fomo.windows.split import train_part, trained_name, without_area


def training_cities(config: DataConfig, folder: Path) -> list[City]:
    """All training parts, coarser versions included (their family is `family@MINmin`)."""
    cities: list[City] = []
    folds: set[int] = set()
    for family in config.families:
        if "@" in family:
            continue
        area = config.held_back_areas.get(family)
        whole = [city if area is None else without_area(city, area) for city in read_family(folder, family)]
        folds |= {int(city.attrs["fold"]) for city in whole if "fold" in city.attrs}
        parts = [part for city in whole for part in training_part(city, config)]
        if not parts:
            raise CityError(f"family {family!r} has no training part: all its regions are held back")
        cities += parts
        for factor in config.coarser.get(family, ()):
            cities += [coarser(part, factor * int(part.attrs["step_minutes"])) for part in parts]
    unknown = sorted(set(config.held_back_folds) - folds)
    if unknown and folds and "held_back_folds" in config.model_fields_set and not config.first_week_only:
        raise CityError(f"held_back_folds names {unknown}, which no region has; there are the folds {sorted(folds)}")
    return cities


def training_part(city: City, config: DataConfig) -> list[City]:
    """The part of a city that may be learned from: none of it, all of it, or its first steps."""
    if "fold" not in city.attrs:
        return [train_part(city, "last_fifth")]
    if config.first_week_only:
        return [train_part(city, "next_week")]
    held_back = (*config.held_back_folds, config.validation_fold)
    return [] if city.attrs["fold"] in held_back else [city]


@dataclass(frozen=True)
class References:
    """What counts as full traffic, and as full users, in each family; no users where a recipe does not read them."""

    traffic: dict[str, float]
    users: dict[str, float]


def training_set(recipe: Recipe, folder: Path) -> tuple[TrainingSet, References, tuple[str, ...]]:
    """What the loop draws from, the references to store with the weights, and the names of the cities seen.

    Where several processes of a machine train, they share the cities' arrays (`window_cache.py`).
    """
    cities = training_cities(recipe.data, folder)
    references = family_references(cities)
    unknown = set(recipe.data.families) - set(references)
    if unknown:
        raise CityError(f"the recipe weighs {sorted(unknown)}, but its training data are {sorted(references)}")
    users = None if recipe.context is None else family_references(cities, "users")
    keep = as_it_is if Place.of_environment().local_size == 1 else kept_in(cache_folder())
    data = TrainingSet(cities, references, recipe.augment, recipe.data.families, users, keep)
    return data, References(references, users or {}), tuple(sorted({trained_name(city) for city in cities}))
