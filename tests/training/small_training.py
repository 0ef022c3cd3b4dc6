"""A small run on made cities, for tests and for the processes that they start."""

from __future__ import annotations

from functools import cache

from fomo.city import City
from fomo.model.transformer import MaskedDiffusionTransformer
from fomo.sources.synthetic import synthetic_city
from fomo.training.loop import Training
from fomo.training.recipe import Recipe
from fomo.training.together import Together
from fomo.windows.sample import TrainingSet, family_references

SMALL = {"width": 32, "encoder_layers": 1, "denoiser_layers": 1, "heads": 2, "dropout": 0.1}


@cache
def made_cities() -> list[City]:
    """Two made cities of other granularity, one with outages: everything that real data do to the loop."""
    return [
        synthetic_city(name="made/hourly", days=10, height=5, width=5, missing=0.05).assign_attrs(family="made"),
        synthetic_city(name="made/half", days=5, step_minutes=30, seed=1).assign_attrs(family="made"),
    ]


def made_training(
    recipe: Recipe, start: MaskedDiffusionTransformer | None = None, together: Together | None = None
) -> Training:
    """A fresh run of a recipe on the made cities, with their users, POI and residents where the recipe reads them."""
    cities = made_cities()
    users = None if recipe.context is None else family_references(cities, "users")
    data = TrainingSet(cities, family_references(cities), recipe.augment, users_references=users)
    return Training(recipe, data, start=start, together=together)
