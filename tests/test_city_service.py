"""Days in service of a city's squares: what they may be, what keeps them, and at which steps squares are in service."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.city import CityError, in_service, make_city, mock_city, open_city, save_city, validate
from fomo.periods import coarser

NO_DAY = np.datetime64("NaT")


def days(**at):
    """Days of 4 x 4 squares: none but those of `y2x1="2024-01-02"`."""
    found = np.full((4, 4), NO_DAY, "datetime64[ns]")
    for place, day in at.items():
        found[int(place[1]), int(place[3])] = np.datetime64(day)
    return ("y", "x"), found


def served(first=None, last=None):
    """A city of four days from Monday, 2024-01-01."""
    return mock_city().assign(first_served=first or days(), last_served=last or days())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"first_served": days()}, "city 'mock' has first_served without last_served: give both, NaT where"),
        ({"last_served": days()}, "city 'mock' has last_served without first_served"),
        ({"first_served": (("y", "x"), np.zeros((4, 4))), "last_served": days()}, "first_served of 'mock' is float64"),
        ({"first_served": days(), "last_served": (("x", "y"), days()[1])}, r"last_served of 'mock' has the axes \('x'"),
        ({"first_served": days(), "last_served": (("y",), days()[1][0])}, "last_served of 'mock' lacks the axis 'x'"),
        (
            {"first_served": days(y2x1="2024-01-02T06:30"), "last_served": days()},
            "first_served of 'mock' is 2024-01-02T06:30 at y=2, x=1, which is no day",
        ),
        (
            {"first_served": days(y2x1="2024-01-03"), "last_served": days(y2x1="2024-01-02", y0x0="2024-01-01")},
            "'mock' is in service from 2024-01-03 to 2024-01-02 at y=2, x=1; 1 such cells: correct",
        ),
    ],
)
def test_days_in_service_that_cannot_be_are_refused(changed, message):
    with pytest.raises(CityError, match=message):
        validate(mock_city().assign(changed))


def test_days_in_service_given_as_an_attribute_are_refused():
    """They would have been one, and nobody would have looked at it."""
    with pytest.raises(CityError, match="last_served of 'town' is no attribute"):
        make_city(np.ones((2, 1, 1)), name="town", start="2024-01-01", step_minutes=60, last_served=[["2024-01-01"]])


def test_squares_are_in_service_on_their_first_and_on_their_last_day():
    city = served(days(y0x1="2024-01-02", y3x3="2024-01-03"), days(y0x2="2024-01-02", y3x3="2024-01-03"))
    found = in_service(validate(city))
    assert found.shape == city["traffic"].shape
    of_days = found.reshape(4, 24, 4, 4)
    assert (of_days == of_days[:, :1]).all()
    assert of_days[:, 0, 0, 1].tolist() == [False, True, True, True]
    assert of_days[:, 0, 0, 2].tolist() == [True, True, False, False]
    assert of_days[:, 0, 3, 3].tolist() == [False, False, True, False]
    assert found[:, 1:3].all() and found[:, 0, [0, 3]].all()
    ahead = in_service(city, np.array(["2024-01-02T23:45", "2024-01-03T00:00"], "datetime64[ns]"))
    assert ahead[:, 0, 2].tolist() == [True, False]


def test_where_nothing_is_said_all_are_in_service_always():
    assert in_service(mock_city()).all() and in_service(mock_city()).shape == (96, 4, 4)
    assert in_service(served()).all()


def test_days_in_service_are_kept_on_disk_in_longer_periods_and_in_a_part_of_the_grid(tmp_path):
    city = served(days(y0x1="2024-01-02"), days(y0x2="2024-01-02"))
    assert open_city(save_city(city, tmp_path / "city.zarr")).identical(city)
    np.testing.assert_array_equal(in_service(coarser(city, 120)), in_service(city)[::2])
    part = validate(city.isel(y=slice(0, 2), x=slice(1, 3), time=slice(24, None)))
    np.testing.assert_array_equal(in_service(part), in_service(city)[24:, :2, 1:3])
    plain = open_city(save_city(mock_city(), tmp_path / "plain.zarr"))
    assert "first_served" not in plain and plain.identical(mock_city())
