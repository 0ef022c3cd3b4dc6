from __future__ import annotations

import numpy as np
import pytest

from fomo.city import CityError, mock_city, open_city, save_city, validate


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"schema_version": 2}, "schema_version 2, this FoMo reads 1"),
        ({"cell_km": -1.0}, "cell_km -1.0"),
        ({"cell_km": float("nan")}, "cell_km nan"),
        ({"cell_km": "1 km"}, "cell_km '1 km'"),
    ],
)
def test_an_attribute_out_of_its_range_is_refused(changed, message):
    with pytest.raises(CityError, match=message):
        validate(mock_city().assign_attrs(changed))


def test_covered_is_true_or_false_and_true_where_traffic_is_recorded():
    city = mock_city()
    with pytest.raises(CityError, match="covered of 'mock' is int64"):
        validate(city.assign(covered=city.covered.astype(np.int64)))
    covered = city.covered.copy()
    covered[1, 2] = False
    with pytest.raises(CityError, match="False at y=1, x=2 where traffic is recorded; 1 such"):
        validate(city.assign(covered=covered))
    assert validate(city.assign(covered=covered, traffic=city.traffic.where(covered)))


def test_saving_replaces_a_city_but_never_something_else(tmp_path):
    first, second = mock_city(seed=1), mock_city(seed=2)
    path = save_city(first, tmp_path / "a.zarr")
    assert open_city(save_city(second, path)).identical(second)
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "mine.txt").write_text("keep")
    for place in (foreign, foreign / "mine.txt"):
        with pytest.raises(CityError, match="exists and is no city: name another path or remove it"):
            save_city(first, place)
    assert (foreign / "mine.txt").read_text() == "keep"
    assert sorted(part.name for part in tmp_path.iterdir()) == ["a.zarr", "photos"]
