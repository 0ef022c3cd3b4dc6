"""The district of a deployment: which cells it has, and in which periods its users are known in all of them."""

from __future__ import annotations

import numpy as np
import pytest

import fomo
from fomo.app.service.planning.deploying import District, make_district
from fomo.city import City
from fomo.planning.load import PlanError

DAYS = 4


def town() -> City:
    return fomo.synthetic_city("town", 4, 5, days=DAYS, seed=9)


def with_gaps(where: tuple[slice | int | np.ndarray, ...]) -> City:
    """The town with users that are not known somewhere (time, y, x)."""
    city = town()
    users = city["users"].values.copy()
    users[where] = np.nan
    return city.assign(users=(city["users"].dims, users))


def district_of(city: City) -> District:
    return make_district(city, np.ones((4, 5), bool))


def test_without_gaps_all_periods_and_cells_are_judged() -> None:
    city = town()
    found = district_of(city)
    rows, columns = np.argwhere(city["covered"].values).T
    np.testing.assert_array_equal(found.people, city["users"].values[:, rows, columns])
    assert len(found.time) == 24 * DAYS and not found.remarks


def test_an_hour_that_no_cell_has_is_left_out_and_said() -> None:
    """One hour without users, in 648, left '0 cells of the area with users, POI and residents'."""
    found, full = district_of(with_gaps((30,))), district_of(town())
    np.testing.assert_array_equal(found.people, np.delete(full.people, 30, 0))
    np.testing.assert_array_equal(found.time, np.delete(full.time, 30))
    np.testing.assert_array_equal(found.places, full.places)
    (said,) = found.remarks
    assert "judged are the 95 of 96 periods" in said and f"in all of {len(full.places)} cells; 0 cells of" in said


def test_cells_with_the_most_gaps_are_left_out_where_the_others_then_have_more_in_common() -> None:
    full = district_of(town())
    row, column = full.places[3]
    found = district_of(with_gaps((slice(20, None), int(row), int(column))))
    assert len(found.time) == 24 * DAYS and len(found.places) == len(full.places) - 1
    assert [
        int(row),
        int(column),
    ] not in found.places.tolist() and "; 1 cell of the area with more gaps is" in found.remarks[0]
    kept = district_of(with_gaps((slice(20, 22), int(row), int(column))))
    assert len(kept.time) == 24 * DAYS - 2 and len(kept.places) == len(full.places)


def test_an_hour_of_the_day_that_is_never_known_cannot_be_judged_and_that_is_said() -> None:
    nights = np.flatnonzero(np.arange(24 * DAYS) % 24 == 3)
    with pytest.raises(PlanError, match=r"every hour of the day: .* have 92 of 96 periods in common.*--area"):
        district_of(with_gaps((nights,)))
    with pytest.raises(PlanError, match="0 cells of the area have users, POI and residents"):
        district_of(with_gaps(()))
