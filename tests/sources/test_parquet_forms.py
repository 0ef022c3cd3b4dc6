from __future__ import annotations

import numpy as np
import pytest

from fomo.city import CityError
from fomo.sources import read_cities


def test_a_site_is_a_city_and_seven_or_eight_records_weigh_the_same(write_form):
    gracia, sants = read_cities(write_form("barcelona", name="lte"))
    assert (gracia.attrs["name"], sants.attrs["name"]) == ("lte/Gracia", "lte/Sants")
    volume = sants.traffic.values.ravel()
    np.testing.assert_allclose(volume[np.isfinite(volume)], 800 * 7.5 / 8)
    np.testing.assert_allclose(sants.users.values[np.isfinite(sants.users.values)], 30)


def test_periods_with_too_few_records_and_outages_of_the_decoder_are_missing(write_form):
    gracia, sants = read_cities(write_form("barcelona"))
    assert str(sants.time.values[0])[:16] == "2018-02-05T23:30"
    assert np.isnan(sants.traffic.values[[0, -1]]).all()
    assert np.isnan(sants.traffic.values).sum() == 2
    assert gracia.attrs["outage_records"] == 30
    assert np.isnan(gracia.traffic.values).sum() > 5


def test_a_station_is_its_best_recorded_cell_and_absent_hours_are_missing(write_form):
    (city,) = read_cities(write_form("itu"))
    assert city.traffic.shape == (24, 1, 2)
    np.testing.assert_allclose(city.traffic[:, 0, 0], 0.25)
    assert np.flatnonzero(np.isnan(city.traffic.values[:, 0, 1])).tolist() == [5]
    assert city.attrs["unit"] == "load 0-1"
    assert city.attrs["layout"] == "list"


def test_two_loads_of_one_station_and_hour_are_refused(write_form):
    rows = {name: [*values, values[0]] for name, values in write_form.arrays_of("itu").items()}
    with pytest.raises(CityError, match="more than one load of B_10 at 2023-01-01 01:00"):
        read_cities(write_form("itu", **rows))
