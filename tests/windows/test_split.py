"""Splits: what is tested cannot be seen in training."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.city import CityError, make_city, mock_city
from fomo.windows.split import (
    area_name,
    cells_of,
    city_reference,
    family_reference,
    first_week,
    fold_split,
    last_fifth,
    leaks,
    train_part,
    trained_name,
    training_parts,
    without_area,
)

START = "2024-01-01T00:00"


def regions(count=10, steps=80):
    random = np.random.default_rng(0)
    return [
        make_city(
            random.gamma(2.0, 1.0, (steps, 4, 4)) + 100 * i,  # no value of one region is in another
            name=f"made/{i:02d}",
            family="made",
            start=START,
            step_minutes=60,
            fold=i % 5,
        )
        for i in range(count)
    ]


def values_of(cities):
    return {float(v) for city in cities for v in city["traffic"].values.ravel()}


@pytest.mark.parametrize("fold", range(5))
def test_no_value_of_the_tested_regions_is_in_the_training_regions(fold):
    train, test = fold_split(regions(), fold)
    assert len(train) == 8 and len(test) == 2
    assert not values_of(train) & values_of(test)


def test_every_region_is_tested_in_exactly_one_fold():
    tested = [city.attrs["name"] for fold in range(5) for city in fold_split(regions(), fold)[1]]
    assert sorted(tested) == sorted(city.attrs["name"] for city in regions())


def test_a_region_that_stands_in_two_folds_is_refused():
    cities = regions(2)
    cities[1].attrs["name"] = cities[0].attrs["name"]
    with pytest.raises(CityError, match="in the training and in the test part"):
        fold_split(cities, 0)


def test_cities_without_folds_are_told_to_split_by_time():
    with pytest.raises(CityError, match="last_fifth"):
        fold_split([mock_city()], 0)


@pytest.mark.parametrize(("steps", "first"), [(408, 326), (576, 460), (144, 115), (528, 422), (5, 4), (1, 0)])
def test_the_test_part_starts_at_four_fifths_rounded_down(steps, first):
    assert last_fifth(mock_city(steps)) == first


def test_changing_the_last_fifth_changes_nothing_that_is_trained_on():
    city = mock_city(100)
    other = city.copy(deep=True)
    other["traffic"][last_fifth(city) :] *= 1000
    assert train_part(city, "last_fifth").equals(train_part(other, "last_fifth"))
    assert family_reference(training_parts([city], "last_fifth")) == family_reference(
        training_parts([other], "last_fifth")
    )
    other["traffic"][last_fifth(city) - 1] *= 1000
    assert not train_part(city, "last_fifth").equals(train_part(other, "last_fifth"))


def test_the_training_part_of_next_week_is_the_first_week_and_no_step_more():
    city = mock_city(2 * 336 + 63, step_minutes=30)
    part = train_part(city, "next_week")
    assert part.sizes["time"] == first_week(city) == 336
    assert part["time"].values[-1] < city["time"].values[0] + np.timedelta64(7, "D")


def test_the_training_parts_of_folds_are_the_other_regions_whole():
    parts = training_parts(regions(), "fold", 3)
    assert {int(city.attrs["fold"]) for city in parts} == {0, 1, 2, 4}
    assert all(city.sizes["time"] == 80 for city in parts)


def test_a_trained_name_says_how_far_training_saw():
    city = mock_city(100)
    assert trained_name(city) == "mock"
    assert trained_name(train_part(city, "last_fifth")) == "mock[:80]"


@pytest.mark.parametrize(
    ("trained_on", "first_test_step", "leaking"),
    [
        ((), 0, False),
        (("mock",), 90, True),
        (("mock[:80]",), 80, False),
        (("mock[:80]",), 79, True),
        (("mock/1", "other", "mockery"), 0, False),
        (("other", "mock[:0]"), 0, False),
    ],
)
def test_leakage_is_having_seen_a_tested_step(trained_on, first_test_step, leaking):
    assert leaks(trained_on, "mock", first_test_step) is leaking


def test_the_reference_is_numpys_percentile_of_recorded_values_only():
    values = np.random.default_rng(0).gamma(1.0, 1.0, (50, 7, 9)).astype(np.float32)
    values[3:9] = np.nan
    recorded = values[np.isfinite(values)].astype(np.float64)
    place = 0.9999 * (recorded.size - 1)  # linear interpolation, by hand
    ordered = np.sort(recorded)
    low = int(place)
    wanted = ordered[low] + (place - low) * (ordered[low + 1] - ordered[low])
    assert city_reference(values) == pytest.approx(wanted, rel=1e-12)


def test_the_family_reference_pools_all_cities_rather_than_averaging_them():
    cities = regions(3)
    pooled = np.concatenate([city["traffic"].values.ravel() for city in cities])
    assert family_reference(cities) == city_reference(pooled)
    assert family_reference(cities) > np.mean([city_reference(c["traffic"].values) for c in cities]) + 50


@pytest.mark.parametrize("values", [np.full((3, 2, 2), np.nan), np.zeros((3, 2, 2)), np.empty((0, 2, 2))])
def test_a_part_without_traffic_gives_no_scale(values):
    with pytest.raises(CityError, match="no scale"):
        city_reference(values)


def test_no_training_city_gives_no_scale():
    with pytest.raises(CityError, match="stored with the weights"):
        family_reference([])


def test_a_city_of_another_file_is_another_city_even_under_the_same_name():
    city = mock_city()
    city.attrs["sha256"] = "0123456789abcdef" * 4
    seen = [trained_name(city)]
    assert seen == ["mock#0123456789abcdef"]
    assert leaks(seen, "mock", 0, city.attrs["sha256"])
    assert not leaks(seen, "mock", 0, "f" * 64)
    assert leaks(seen, "mock", 0)  # where the hash is not known, the name decides


# ---------------------------------------------------------------- a district


AREA = (1, 3, 2, 4)


def with_users(steps=60):
    random = np.random.default_rng(3)
    traffic, users = random.gamma(2.0, 1.0, (2, steps, 5, 6))
    return make_city(
        traffic, users=users, residents=np.ones((5, 6)), name="town", family="town", start=START, step_minutes=60
    )


def test_the_cells_of_a_district_are_its_rows_and_columns_without_their_ends():
    inside = cells_of(AREA, with_users())
    assert {(int(y), int(x)) for y, x in np.argwhere(inside)} == {(1, 2), (1, 3), (2, 2), (2, 3)}
    assert inside.shape == (5, 6) and inside.dtype == bool
    assert area_name(AREA) == "1:3,2:4"


def test_no_value_of_a_district_is_in_the_city_without_it_and_all_others_are():
    city = with_users()
    rest, inside = without_area(city, AREA), cells_of(AREA, city)
    for variable in ("traffic", "users"):
        assert np.isnan(rest[variable].values[:, inside]).all()
        np.testing.assert_array_equal(rest[variable].values[:, ~inside], city[variable].values[:, ~inside])
    np.testing.assert_array_equal(rest["covered"].values, ~inside)
    np.testing.assert_array_equal(rest["residents"], city["residents"])
    assert np.isfinite(city["traffic"].values).all() and city["covered"].values.all()  # the city itself is untouched
    assert "held_back_area" not in city.attrs


@pytest.mark.parametrize("area", [(0, 6, 0, 2), (0, 2, 3, 7)])
def test_a_district_outside_the_grid_is_refused(area):
    with pytest.raises(CityError, match=r"does not lie on the grid \(5, 6\) of 'town'"):
        without_area(with_users(), area)


def test_a_trained_name_says_which_district_was_left_out():
    city = with_users()
    assert trained_name(without_area(city, AREA)) == "town~1:3,2:4"
    assert trained_name(train_part(without_area(city, AREA), "last_fifth")) == "town~1:3,2:4[:48]"
    city.attrs["sha256"] = "0123456789abcdef" * 4
    assert trained_name(without_area(city, AREA)) == "town~1:3,2:4#0123456789abcdef"


@pytest.mark.parametrize(
    ("trained_on", "area", "leaking"),
    [
        ((), "1:3,2:4", False),
        (("town~1:3,2:4",), "1:3,2:4", False),
        (("town~1:3,2:4[:48]#0123456789abcdef",), "1:3,2:4", False),
        (("town",), "1:3,2:4", True),
        (("town[:48]",), "1:3,2:4", True),
        (("town~0:1,0:1",), "1:3,2:4", True),  # another district was left out
        (("town~1:3,2:4", "town"), "1:3,2:4", True),
        (("town~1:3,2:4",), None, True),  # the rest of the city was seen
        (("town~1:3,2:4[:48]",), None, True),
        (("village",), "1:3,2:4", False),
    ],
)
def test_a_district_leaks_where_training_saw_the_city_without_leaving_it_out(trained_on, area, leaking):
    assert leaks(trained_on, "town", 0, area=area) is leaking


def test_the_time_that_was_seen_counts_with_a_district_left_out_too():
    assert not leaks(["town~1:3,2:4[:48]"], "town", 48)
    assert leaks(["town~1:3,2:4[:48]"], "town", 47)


def test_the_training_part_of_a_split_by_district_is_the_city_without_it():
    with pytest.raises(CityError, match="without_area"):
        training_parts([with_users()], "area")


def test_the_family_reference_may_be_that_of_users():
    cities = [with_users(), with_users(20)]
    pooled = np.concatenate([city["users"].values.ravel() for city in cities])
    assert family_reference(cities, "users") == city_reference(pooled)
