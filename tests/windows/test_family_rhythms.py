"""The rhythms that training draws from: never a city's own, steadied by all families, its own past where told."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.city import City, make_city
from fomo.windows.rhythm import GENERAL, GENERAL_WORTH, rhythm_at
from fomo.windows.sample import AugmentConfig, TrainingSet, coarser, family_rhythms

DAY = np.tile(np.linspace(0.2, 1.8, 24), 9)
PLAIN = {"flip": False, "mix": 0.0, "level": 0.0, "missing": 0.0, "forget_rhythm": 0.0}


def region(name: str, family: str, shape: np.ndarray, seed: int = 0) -> City:
    levels = np.random.default_rng(seed).uniform(0.5, 2.0, (4, 4))
    traffic = shape[:, None, None] * levels
    return make_city(traffic, name=f"{family}/{name}", family=family, start="2024-01-01T00:00", step_minutes=60)


@pytest.fixture
def cities() -> list[City]:
    night = DAY[::-1]
    return [
        region("a", "one", DAY, 0),
        region("b", "one", DAY, 1),
        region("odd", "one", night, 2),
        region("c", "other", np.ones_like(DAY), 3),
    ]


def references(cities: list[City]) -> dict[str, float]:
    return {str(city.attrs["family"]): 1.0 for city in cities}


def test_a_familys_curve_is_drawn_towards_that_of_the_other_families_by_its_number_of_cells(cities):
    rhythms = family_rhythms(cities, references(cities))
    flat = (16 * 1.0 + GENERAL_WORTH * rhythms.raw["one"]) / (16 + GENERAL_WORTH)
    np.testing.assert_allclose(rhythms.curves["other"], flat)
    np.testing.assert_allclose(rhythms.curves[GENERAL], (rhythms.raw["one"] + rhythms.raw["other"]) / 2)


def test_a_window_does_not_find_its_own_city_in_its_rhythm(cities):
    data = TrainingSet(cities, references(cities), AugmentConfig(**PLAIN, forget_week=1.0))
    odd = next(series for series in data.series if series.name == "one/odd")
    expected = (32 * DAY[:168] + GENERAL_WORTH * 1.0) / (32 + GENERAL_WORTH)  # the two others, and the other family
    np.testing.assert_allclose(odd.rhythm, expected, rtol=1e-6)
    only = next(series for series in data.series if series.name == "other/c")
    np.testing.assert_array_equal(only.rhythm, only.general)  # alone in its family


def test_a_window_has_the_curve_of_its_hours_or_the_cells_own_where_the_past_is_told(cities):
    told, forgotten = (
        TrainingSet(cities[:1], {"one": 1.0}, AugmentConfig(**PLAIN, forget_week=forget)).draw(
            (24, 4, 4), 60, np.random.default_rng(0)
        )
        for forget in (0.0, 1.0)
    )
    series = TrainingSet(cities[:1], {"one": 1.0}, AugmentConfig(**PLAIN)).series[0]
    for row, start in enumerate(forgotten.start_hour.tolist()):
        curve = rhythm_at(series.rhythm, start, 1.0, 24)
        np.testing.assert_allclose(forgotten.rhythm[row, :, 0, 0].numpy(), curve, rtol=1e-5)
    truth = told.share / told.share.mean(1, keepdim=True)  # the same every day, so a day tells all of them
    with_past = (told.rhythm - 1).abs().amax((1, 2, 3)) > 1e-6
    assert 0.5 < with_past.float().mean() < 1  # windows of the first day have no past
    error = (told.rhythm / told.rhythm.mean(1, keepdim=True) - truth).abs()
    assert error[with_past].mean() < 0.5 * (truth - 1).abs().mean()


def test_coarser_versions_of_a_family_have_curves_of_their_own(cities):
    both = [*cities, coarser(cities[0], 2)]
    rhythms = family_rhythms(both, references(both))
    assert {"one", "other", "one@120min", GENERAL} == set(rhythms.curves)
    assert len(rhythms.curves["one@120min"]) == 84
    np.testing.assert_allclose(rhythms.general("one@120min"), rhythms.general("one"))
