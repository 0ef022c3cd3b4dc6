"""One value that no network carries says nothing of any step: as if it had not been recorded, and said so."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import fomo
from fomo.city import CityError
from fomo.forecasters.fomo import FoMo, load

AT = (190, 2, 3)
WARNED = pytest.mark.filterwarnings("ignore:.*such values are taken as not recorded")


@pytest.fixture(scope="module")
def tiny() -> FoMo:
    return load()


@pytest.fixture(scope="module")
def city() -> xr.Dataset:
    return fomo.synthetic_city(days=9, height=4, width=5, seed=3)


def with_value(city: xr.Dataset, value: float, layer: str = "traffic") -> xr.Dataset:
    values = city[layer].values.copy()
    values[AT] = value
    return city.assign({layer: city[layer].copy(data=values)})


@pytest.mark.parametrize("layer", ["traffic", "users"])
def test_a_slip_is_forecast_as_if_nothing_was_recorded_there(tiny, city, layer):
    if layer == "users":
        city = city.assign(users=city["traffic"] * 3)
    with pytest.warns(UserWarning, match=r"a value of 1e\+12 \(step 190, y=2, x=3\).* taken as not recorded"):
        wrong = tiny.forecast(with_value(city, 1e12, layer), samples=4)
    right = tiny.forecast(with_value(city, np.nan, layer), samples=4)
    np.testing.assert_array_equal(wrong.samples.values, right.samples.values)
    assert {**wrong.attrs, "created": ""} == {**right.attrs, "created": ""}


@WARNED
def test_a_slip_comes_back_from_fill_and_rules_none_of_it(tiny, city):
    gaps = city.assign(traffic=city["traffic"].where(city["time"] != city["time"][150]))
    wrong, right = (tiny.fill(with_value(gaps, value), samples=4) for value in (1e12, np.nan))
    assert not wrong.asked.values[AT]
    assert right.asked.values[AT]
    assert (wrong.samples.values[:, *AT] == np.float32(1e12)).all()
    # One gap more is made again on other days, so how far each is believed differs a little.
    np.testing.assert_allclose(wrong.mean.values[150], right.mean.values[150], rtol=0.1)
    assert wrong.attrs["reference"] == right.attrs["reference"]


@WARNED
def test_where_a_slip_is_all_there_is_nothing_is_missing(tiny, city):
    with pytest.raises(CityError, match="nothing is missing"):
        tiny.fill(with_value(city, 1e12), samples=2)


@WARNED
def test_a_slip_beside_a_district_does_not_rule_it(tiny, city):
    district = np.zeros((4, 5), bool)
    district[:2, :2] = True
    wrong, right = (tiny.generate(with_value(city, value), district, samples=2) for value in (1e12, np.nan))
    assert (wrong.samples.values[:, *AT] == np.float32(1e12)).all()
    np.testing.assert_array_equal(wrong.samples.values[..., :2, :2], right.samples.values[..., :2, :2])
