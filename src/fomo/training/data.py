"""The training parts of the cities that a recipe names: never a held-back fold, never the last fifth of the time."""

from __future__ import annotations

from pathlib import Path

from fomo.city import City, CityError
from fomo.sources import read_family
from fomo.training.recipe import DataConfig, Recipe
from fomo.windows.sample import TrainingSet, coarser, family_references
from fomo.windows.split import train_part, trained_name


def training_cities(config: DataConfig, folder: Path) -> list[City]:
    """All training parts, coarser versions included (their family is `family@MINmin`)."""
    cities: list[City] = []
    for family in config.families:
        if "@" in family:
            continue
        parts = [part for city in read_family(folder, family) for part in training_part(city, config)]
        if not parts:
            raise CityError(f"family {family!r} has no training part: all its regions are held back")
        cities += parts
        for factor in config.coarser.get(family, ()):
            cities += [coarser(part, factor) for part in parts]
    return cities


def training_part(city: City, config: DataConfig) -> list[City]:
    """The part of a city that may be learned from: none of it, all of it, or its first steps."""
    if "fold" not in city.attrs:
        return [train_part(city, "last_fifth")]
    if config.first_week_only:
        return [train_part(city, "next_week")]
    held_back = (*config.held_back_folds, config.validation_fold)
    return [] if city.attrs["fold"] in held_back else [city]


def training_set(recipe: Recipe, folder: Path) -> tuple[TrainingSet, dict[str, float], tuple[str, ...]]:
    """What the loop draws from, the references to store with the weights, and the names of the cities seen."""
    cities = training_cities(recipe.data, folder)
    references = family_references(cities)
    unknown = set(recipe.data.families) - set(references)
    if unknown:
        raise CityError(f"the recipe weighs {sorted(unknown)}, but its training data are {sorted(references)}")
    data = TrainingSet(cities, references, recipe.augment, recipe.data.families)
    return data, references, tuple(sorted({trained_name(city) for city in cities}))
