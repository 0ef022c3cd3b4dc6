"""The rhythms that training draws from: never a city's own, steadied by all families, its own past where told."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.city import City, make_city
from fomo.periods import coarser
from fomo.windows.clock import Clock
from fomo.windows.patterns import GROUPS, PARTITIONS, family_patterns
from fomo.windows.rhythm import GENERAL, GENERAL_WORTH, rhythm_at
from fomo.windows.sample import AugmentConfig, TrainingSet
from fomo.windows.shapes import SHAPES

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
    patterns = family_patterns(cities, references(cities))
    flat = (16 * 1.0 + GENERAL_WORTH * patterns.raw["one"]) / (16 + GENERAL_WORTH)
    np.testing.assert_allclose(patterns.patterns["other"].curve, flat)
    np.testing.assert_allclose(patterns.patterns[GENERAL].curve, (patterns.raw["one"] + patterns.raw["other"]) / 2)


def test_a_window_does_not_find_its_own_city_in_what_is_usual(cities):
    data = TrainingSet(cities, references(cities), AugmentConfig(**PLAIN, forget_week=1.0))
    odd = next(series for series in data.series if series.name == "one/odd")
    expected = (32 * DAY[:168] + GENERAL_WORTH * 1.0) / (32 + GENERAL_WORTH)  # the two others, and the other family
    assert [len(view.group) for view in odd.views] == [1]
    np.testing.assert_allclose(odd.views[0].pattern.curve, expected, rtol=1e-6)
    only = next(series for series in data.series if series.name == "other/c")
    np.testing.assert_array_equal(only.views[0].pattern.curve, only.general.curve)  # alone in its family


def test_many_cities_are_parted_into_groups_and_the_pattern_comes_from_the_other_groups(cities):
    many = [region(str(k), "one", DAY[::-1] if k == 0 else DAY, k) for k in range(11)]
    data = TrainingSet([*many, cities[-1]], references(cities), AugmentConfig(**PLAIN))
    for series in data.series[:-1]:
        assert len(series.views) == PARTITIONS
    for turn in range(PARTITIONS):
        groups = {series.views[turn].group for series in data.series[:-1]}
        assert len(groups) == GROUPS
        assert sorted(index for group in groups for index in group) == list(range(11))
    for index, series in enumerate(data.series[:-1]):
        for view in series.views:
            assert index in view.group
            rest = 11 - len(view.group)
            own = 16 * rest / (16 * rest + GENERAL_WORTH)
            levels = [many[k]["traffic"].values.mean() for k in range(11)]
            there = 0 not in view.group  # the odd one among the others
            odd = levels[0] / sum(levels[k] for k in range(11) if k not in view.group) if there else 0.0
            curve = (1 - odd) * DAY[:168] + odd * DAY[::-1][:168]
            np.testing.assert_allclose(view.pattern.curve, own * curve + 1 - own, rtol=1e-6)
            along = np.abs(view.pattern.shapes).max()
            assert along > 0.05 if there else along < 0.5


def test_cities_are_blended_and_cells_exchanged_within_a_group_only(cities):
    """Every region has a level of its own, so a window tells whose cells it holds."""
    many = [
        make_city(np.full((216, 4, 4), 10.0**k), name=f"f/{k}", family="f", start="2024-01-01T00:00", step_minutes=60)
        for k in range(11)
    ]
    mixed = {**PLAIN, "shuffle": 1.0, "mix": 1.0}
    data = TrainingSet(many, {"f": 1.0}, AugmentConfig(**mixed))
    together = [set(view.group) for series in data.series for view in series.views]
    random = np.random.default_rng(0)
    seen = set()
    for _ in range(30):
        batch = data.draw((8, 2, 2), 4, random)
        for window in batch.share[:, 0].reshape(4, -1).double().numpy():
            # a blend of 10^i and 10^j with a part of 0 to 0.6 for j: the larger of the two is seen
            exponents = {int(np.floor(np.log10(v) + 0.4)) for v in window}
            seen.add(len(exponents))
            assert any(exponents <= group for group in together), exponents
    assert max(seen) > 1


def test_a_window_has_the_curve_of_its_hours_or_the_cells_own_where_the_past_is_told(cities):
    told, forgotten = (
        TrainingSet(cities[:1], {"one": 1.0}, AugmentConfig(**PLAIN, forget_week=forget)).draw(
            (24, 4, 4), 60, np.random.default_rng(0)
        )
        for forget in (0.0, 1.0)
    )
    series = TrainingSet(cities[:1], {"one": 1.0}, AugmentConfig(**PLAIN)).series[0]
    for row, start in enumerate(forgotten.start_hour.tolist()):
        curve = rhythm_at(series.views[0].pattern.curve, Clock(start, 1.0), 24)
        np.testing.assert_allclose(forgotten.rhythm[row, :, 0, 0].numpy(), curve, rtol=1e-5)
    truth = told.share / told.share.mean(1, keepdim=True)  # the same every day, so a day tells all of them
    with_past = (told.rhythm - 1).abs().amax((1, 2, 3)) > 1e-6
    assert 0.5 < with_past.float().mean() < 1  # windows of the first day have no past
    error = (told.rhythm / told.rhythm.mean(1, keepdim=True) - truth).abs()
    assert error[with_past].mean() < 0.5 * (truth - 1).abs().mean()


def test_coarser_versions_of_a_family_have_patterns_of_their_own(cities):
    both = [*cities, coarser(cities[0], 120)]
    found = family_patterns(both, references(both))
    assert {"one", "other", "one@120min", GENERAL} == set(found.patterns)
    assert found.patterns["one@120min"].stored.shape == (1 + SHAPES, 84)
    for one, other in zip(found.general("one@120min"), found.general("one"), strict=True):
        np.testing.assert_allclose(one, other)
