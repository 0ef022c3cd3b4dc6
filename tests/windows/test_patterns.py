"""What is usual of users and of the traffic per user: found again, added up, and never a city's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fomo.city import City, make_city, mock_city
from fomo.periods import coarser
from fomo.windows.answers import SMALLEST_BETWEEN, SMALLEST_WITHIN, UNKNOWN_WITHIN, rate_variances
from fomo.windows.context import UsersPattern
from fomo.windows.patterns import FamilyUsers, city_sums, family_patterns, family_users, users_of_city, views_of
from fomo.windows.rhythm import GENERAL, RhythmSums, rhythm_sums, weekly_rhythm
from fomo.windows.sample import AugmentConfig, TrainingSet
from fomo.windows.shapes import week_covariance

NAN = np.nan
HOURS = np.arange(336)
RATE = 1 + 0.6 * np.sin(2 * np.pi * HOURS / 24)
CROWD = 1 + 0.8 * np.cos(2 * np.pi * HOURS / 168)


def found(sums: RhythmSums) -> np.ndarray:
    curve = weekly_rhythm(sums)
    assert curve is not None
    return curve


def cells(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Traffic and users of cells with other levels and as many users at other times, and one traffic per user."""
    random = np.random.default_rng(seed)
    users = random.uniform(0.05, 0.8, number) * CROWD[:, None]
    return (users * random.uniform(0.3, 3.0, number) * RATE[:, None])[:, None], users[:, None]


# ---------------------------------------------------------------- sums of the traffic per user


def test_a_curve_of_traffic_per_user_that_all_cells_share_is_found_again_whatever_users_and_levels():
    traffic, users = cells(20)
    sums = rhythm_sums(traffic, 0.0, 1.0, users)
    np.testing.assert_allclose(found(sums), RATE[:168] / RATE[:168].mean(), rtol=1e-9)
    assert abs(week_covariance(sums)).max() < 1e-9  # and no cell differs from it
    assert abs(found(rhythm_sums(traffic, 0.0, 1.0)) - found(sums)).max() > 0.3  # traffic alone has another week


def test_it_is_nearly_found_again_where_every_cell_has_its_users_at_times_of_its_own():
    traffic, users = cells(40)
    own = np.random.default_rng(3).uniform(0.3, 1.7, users.shape)
    sums = rhythm_sums(traffic * own, 0.0, 1.0, users * own)
    np.testing.assert_allclose(found(sums), RATE[:168] / RATE[:168].mean(), rtol=0.03)


def test_hours_whose_users_or_traffic_are_not_known_do_not_enter():
    traffic, users = cells(20)
    wrong = traffic.copy()
    wrong[7], wrong[30] = 50.0, NAN
    users = users.copy()
    users[7], users[30] = NAN, 90.0
    sums = rhythm_sums(wrong, 0.0, 1.0, users)
    np.testing.assert_allclose(found(sums), RATE[:168] / RATE[:168].mean(), rtol=0.02)
    known = np.isfinite(wrong) & np.isfinite(users)
    assert sums.divisor == pytest.approx(users[known].sum())
    assert sums.traffic.sum() == pytest.approx(wrong[known].sum())


def test_the_divisor_is_all_users_and_without_users_all_values():
    traffic, users = cells(5)
    assert rhythm_sums(traffic, 0.0, 1.0, users).divisor == pytest.approx(users.sum())
    traffic[:3] = NAN
    assert rhythm_sums(traffic, 0.0, 1.0).divisor == 5 * 333


def test_cells_without_users_say_nothing_of_the_traffic_per_user():
    traffic, users = cells(10)
    nobody = np.concatenate([users, np.zeros((336, 1, 2))], 2)
    more = np.concatenate([traffic, np.ones((336, 1, 2))], 2)
    one, other = rhythm_sums(traffic, 0.0, 1.0, users), rhythm_sums(more, 0.0, 1.0, nobody)
    np.testing.assert_allclose(found(other), found(one), rtol=1e-9)
    assert other.weight == pytest.approx(one.weight)
    assert other.divisor == pytest.approx(one.divisor)


def test_sums_over_users_add_up_and_a_city_can_be_taken_out():
    (one, ones_users), (other, others_users) = cells(9, 1), cells(14, 2)
    others_users = others_users * np.random.default_rng(4).uniform(0.5, 1.5, others_users.shape)
    parts = rhythm_sums(one, 0.0, 1.0, ones_users), rhythm_sums(other, 0.0, 1.0, others_users)
    both = rhythm_sums(np.concatenate([one, other], 2), 0.0, 1.0, np.concatenate([ones_users, others_users], 2))
    added = parts[0] + parts[1]
    for name in ("traffic", "level", "cells", "weight", "divisor"):
        np.testing.assert_allclose(getattr(added, name), getattr(both, name), rtol=1e-9, err_msg=name)
    left = added - parts[1]
    for name, value in vars(parts[0]).items():
        np.testing.assert_allclose(getattr(left, name), value, rtol=1e-6, atol=1e-9, err_msg=name)


# ---------------------------------------------------------------- families


def region(name: str, family: str, rate: float = 1.0, seed: int = 0, **changes: Any) -> City:
    random = np.random.default_rng(seed)
    users = random.uniform(0.2, 0.8, (4, 4)) * CROWD[:, None, None] * random.uniform(0.8, 1.2, (336, 4, 4))
    given = {"users": users, "start": "2024-01-01T00:00", "step_minutes": 60} | changes
    return make_city(rate * users * RATE[:, None, None], name=f"{family}/{name}", family=family, **given)


@pytest.fixture
def cities() -> list[City]:
    return [
        region("a", "one", 2.0, 0),
        region("b", "one", 2.0, 1),
        region("c", "one", 2.0, 2),
        region("d", "other", 0.5, 3),
        region("e", "third", 8.0, 4),
    ]


def references(cities: list[City]) -> dict[str, float]:
    return {str(city.attrs["family"]): 1.0 for city in cities}


def users_of(cities: list[City]) -> FamilyUsers:
    users = family_users(cities, references(cities), references(cities))
    assert users is not None
    return users


def assert_same(one: UsersPattern, other: UsersPattern) -> None:
    np.testing.assert_allclose(one.stored, other.stored, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(one.answer.stored, other.answer.stored, rtol=2e-2, atol=2e-3)
    for name in ("rate", "within", "between"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-6), name


def differ(one: UsersPattern, other: UsersPattern) -> bool:
    return bool(abs(one.stored - other.stored).max() > 1e-2)


def crowded(city: City, seed: int = 9) -> City:
    """The city with users at quite other times; its traffic stays."""
    random = np.random.default_rng(seed)
    users = city["users"].values * random.lognormal(0.0, 1.0, (168, 1, 1)).repeat(2, 0)
    return city.assign(users=city["users"].copy(data=users.astype(np.float32)))


def test_the_rate_over_all_families_is_the_geometric_mean_without_one_of_them(cities):
    users = users_of([*cities, coarser(cities[0], 120)])
    weight = [float(c["traffic"].mean()) ** -0.5 for c in cities[:3]]  # regions count by the root of their traffic
    sums = [
        [w * float(c[name].sum()) for w, c in zip(weight, cities[:3], strict=True)] for name in ("traffic", "users")
    ]
    assert users.rates["one"] == pytest.approx(sum(sums[0]) / sum(sums[1]), rel=1e-6)
    one, other, third = (users.rates[name] for name in ("one", "other", "third"))
    assert users.rate() == pytest.approx((one * other * third) ** (1 / 3))
    for family in ("one", "one@120min"):
        assert users.rate(family) == pytest.approx((other * third) ** 0.5)
    assert users_of(cities[:3]).rate("one") == 1.0  # no other family


def test_every_family_with_users_has_a_pattern_and_there_is_one_over_all(cities):
    without = mock_city(336).assign_attrs(family="bare", name="bare")
    users = users_of([*cities, without])
    assert set(users.families) == {"one", "other", "third", GENERAL}
    assert users.pattern("one").rate == users.rates["one"]
    assert users.pattern(GENERAL).rate == users.rate()
    np.testing.assert_allclose(users.pattern("one").per_user.curve, RATE[:168] / RATE[:168].mean(), rtol=0.02)


def test_variances_are_those_of_the_regions_and_unknown_where_no_region_has_two_cells(cities):
    users = users_of(cities)
    within, between = rate_variances([users.own["one", f"one/{name}"].weeks for name in "abc"])
    assert users.variances["one"] == (max(within, SMALLEST_WITHIN), SMALLEST_BETWEEN + between)
    assert users.variances["other"][1] == SMALLEST_BETWEEN  # of one region
    bare = cities[3].isel(y=slice(0, 1), x=slice(0, 1))
    bare.attrs = dict(cities[3].attrs)
    assert users_of([*cities[:3], bare]).variances["other"] == (UNKNOWN_WITHIN, SMALLEST_BETWEEN)
    alone = users.elsewhere("one")  # what lies between the other families' rates lies between unknown regions too
    rates = [users.rates[name] for name in ("other", "third")]
    assert alone[1] == pytest.approx(SMALLEST_BETWEEN + np.var(np.log(rates)), rel=1e-6)


def test_where_no_city_has_users_there_is_nothing_usual_of_them():
    bare = [mock_city(200)]
    assert family_users(bare, references(bare), {}) is None
    data = TrainingSet(bare, references(bare), AugmentConfig(), users_references={})
    assert data.users == {} and not data.series[0].users


def test_users_of_a_family_do_not_enter_what_is_usual_elsewhere(cities):
    changed = [crowded(city) if city.attrs["family"] == "one" else city for city in cities]
    before, after = users_of(cities), users_of(changed)
    assert_same(after.general("one"), before.general("one"))
    assert differ(after.general("other"), before.general("other"))
    assert differ(after.pattern("one"), before.pattern("one"))


def test_a_family_without_some_of_its_cities_is_the_family_of_the_others(cities):
    users = users_of(cities)
    assert_same(users.without("one", [str(cities[0].attrs["name"])]), users_of(cities[1:]).pattern("one"))


def test_a_family_without_its_only_city_is_all_the_other_families(cities):
    users = users_of(cities)
    assert_same(users.without("other", [str(cities[3].attrs["name"])]), users.general("other"))


def test_a_view_does_not_contain_its_own_users(cities):
    """The users of the first city change; what is usual for itself does not, what is usual for the others does."""
    changed = [crowded(cities[0]), *cities[1:]]
    views = []
    for some in (cities, changed):
        data = TrainingSet(some, references(some), AugmentConfig(), users_references=references(some))
        views.append([series.views for series in data.series])
    for index, (before, after) in enumerate(zip(*views, strict=True)):
        for one, other in zip(before, after, strict=True):
            assert one.group == other.group
            assert one.users is not None and other.users is not None
            if index == 0:
                assert_same(other.users, one.users)
            else:
                assert differ(other.users, one.users)  # the family counts among the others of `other` and `third`
            np.testing.assert_array_equal(other.pattern.stored, one.pattern.stored)  # traffic is as it was


def test_in_a_group_of_several_cities_none_finds_another_of_its_group(cities):
    many = [region(str(k), "one", 2.0, k) for k in range(11)]
    together = {index: city for index, city in enumerate(many)}
    everything = [*many, *cities[3:]]

    def views(some: dict[int, City], users: FamilyUsers) -> dict[int, Any]:
        patterns = family_patterns(everything, references(everything))
        return views_of(some, references(everything), patterns, users, np.random.default_rng(0))

    before = views(together, users_of(everything))
    group = before[0][0].group
    assert len(group) > 1
    changed = [crowded(city) if index in group else city for index, city in enumerate(many)]
    after = views(dict(enumerate(changed)), users_of([*changed, *cities[3:]]))
    assert after[0][0].group == group
    for index in range(11):
        one, other = before[index][0].users, after[index][0].users
        if index in group:
            assert_same(other, one)
        else:
            assert differ(other, one)


def test_a_city_without_users_among_others_has_its_traffics_view_and_no_users(cities):
    bare = cities[1].drop_vars("users")
    some = [cities[0], bare, *cities[2:]]
    data = TrainingSet(some, references(some), AugmentConfig(), users_references=references(some))
    assert all(view.users is None for view in data.series[1].views)
    assert all(view.users is not None for view in data.series[0].views)
    assert not data.series[1].users


def test_city_sums_are_those_of_shares(cities):
    sums = city_sums(cities[0], 4.0)
    assert sums.traffic.sum() == pytest.approx(float(cities[0]["traffic"].sum()) / 4.0, rel=1e-5)
    found = users_of_city(cities[0], 4.0, 2.0)
    users, per_user = found.users, found.per_user
    assert users.traffic.sum() == pytest.approx(float(cities[0]["users"].sum()) / 2.0, rel=1e-5)
    assert per_user.traffic.sum() / per_user.divisor == pytest.approx(
        float(cities[0]["traffic"].sum()) / 4.0 / (float(cities[0]["users"].sum()) / 2.0), rel=1e-5
    )
