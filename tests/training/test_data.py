from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fomo.city import CityError, mock_city, save_city
from fomo.sources import read_family
from fomo.training.data import training_cities, training_part, training_set
from fomo.training.recipe import DataConfig
from fomo.windows.split import last_fifth, leaks


def config(**changes: Any) -> DataConfig:
    return DataConfig(**({"families": {"regions": 1.0}} | changes))


@pytest.fixture
def data(data_of_folds) -> Path:
    """Five regions in folds, and a whole city without folds."""
    save_city(mock_city(steps=100).assign_attrs(name="whole", family="whole"), data_of_folds / "whole.zarr")
    return data_of_folds


@pytest.mark.parametrize("held", [(0,), (2,), (0, 4)])
def test_a_held_back_fold_is_never_trained_on(data, held):
    kept = training_cities(config(held_back_folds=held), data)
    assert sorted(city.attrs["fold"] for city in kept) == [fold for fold in range(5) if fold not in held]
    hidden = [city for city in read_family(data, "regions") if city.attrs["fold"] in held]
    for city in hidden:
        values = set(city["traffic"].values.ravel().tolist())
        assert all(values.isdisjoint(part["traffic"].values.ravel().tolist()) for part in kept)


@given(st.integers(2, 300), st.sampled_from([15, 30, 60]))
def test_the_last_fifth_of_a_city_without_folds_is_never_trained_on(steps, minutes):
    city = mock_city(steps=steps, height=1, width=1, step_minutes=minutes)
    (part,) = training_part(city, config())
    assert part.sizes["time"] <= last_fifth(city)
    assert part.sizes["time"] >= last_fifth(city) - 1
    np.testing.assert_array_equal(part["time"], city["time"][: part.sizes["time"]])


def test_with_the_first_week_only_every_region_gives_its_first_week_and_no_step_more(data):
    parts = training_cities(config(first_week_only=True), data)
    assert sorted(part.attrs["fold"] for part in parts) == [0, 1, 2, 3, 4]
    for part in parts:
        assert part.sizes["time"] == 7 * 6
        assert part["time"].values[-1] - part["time"].values[0] < np.timedelta64(7, "D")


def test_a_family_all_held_back_is_refused(data):
    with pytest.raises(CityError, match=r"'regions' has no training part: all its regions are held back"):
        training_cities(config(held_back_folds=(0, 1, 2, 3, 4)), data)


def test_coarser_versions_are_made_of_training_parts_only(data):
    parts = training_cities(config(coarser={"regions": (2, 3)}), data)
    steps = {minutes: [part for part in parts if part.attrs["step_minutes"] == minutes] for minutes in (240, 480, 720)}
    assert [len(found) for found in steps.values()] == [4, 4, 4]
    assert all(part.attrs["fold"] != 0 for part in parts)
    assert {part.attrs["family"] for part in parts} == {"regions", "regions@480min", "regions@720min"}


def test_the_reference_of_a_family_is_fitted_on_its_training_parts_only(data, tiny_recipe):
    recipe = tiny_recipe({"data": {"families": {"regions": 1.0}, "held_back_folds": (4,)}})
    _, references, _ = training_set(recipe, data)
    parts = [city["traffic"].values for city in read_family(data, "regions") if city.attrs["fold"] != 4]
    assert references.traffic == {"regions": pytest.approx(np.percentile(np.stack(parts), 99.99))}
    everything = np.stack([city["traffic"].values for city in read_family(data, "regions")])
    assert references.traffic["regions"] < 0.95 * np.percentile(everything, 99.99)  # fold 4 is the busiest


def test_what_was_seen_is_told_in_the_words_of_the_leakage_check(data, tiny_recipe):
    """Else every honest evaluation on the last fifth would be marked as leaking, or a leak would pass."""
    _, _, seen = training_set(tiny_recipe({"data": {"families": {"regions": 1.0, "whole": 1.0}}}), data)
    assert not leaks(seen, "whole", 80)  # the first step of the last fifth
    assert leaks(seen, "whole", 79)
    for city in read_family(data, "regions"):
        assert leaks(seen, city.attrs["name"], 0) == (city.attrs["fold"] != 0)


def test_what_was_seen_of_the_first_week_is_told_too(data, tiny_recipe):
    recipe = tiny_recipe({"data": {"families": {"regions": 1.0}, "first_week_only": True}})
    _, _, seen = training_set(recipe, data)
    name = read_family(data, "regions")[0].attrs["name"]
    assert leaks(seen, name, 41)
    assert not leaks(seen, name, 42)


def test_families_are_weighed_and_an_unknown_one_is_refused(data, tiny_recipe):
    families = {"regions": 3.0, "whole": 1.0, "regions@480min": 1.0}
    recipe = tiny_recipe({"data": {"families": families, "coarser": {"regions": (2,)}}})
    drawn, _, _ = training_set(recipe, data)
    share = {family: float(drawn.frequency[members].sum()) for family, members in drawn.families.items()}
    assert share == pytest.approx({"regions": 0.6, "whole": 0.2, "regions@480min": 0.2})

    with pytest.raises(CityError, match="regions@480min"):
        training_set(tiny_recipe({"data": {"families": families}}), data)
    with pytest.raises(CityError, match=r"no family 'nowhere'.*regions, whole"):
        training_set(tiny_recipe({"data": {"families": {"nowhere": 1.0}}}), data)
