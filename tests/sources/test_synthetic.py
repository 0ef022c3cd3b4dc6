from __future__ import annotations

import inspect
import re
import time

import numpy as np
import pytest

from fomo.city import CityError
from fomo.sources.synthetic import synthetic_city, synthetic_truth, synthetic_world


def test_the_same_seed_makes_the_same_city_and_another_seed_another():
    assert synthetic_city(seed=3).identical(synthetic_city(seed=3))
    assert not synthetic_city(seed=3).equals(synthetic_city(seed=4))


def test_nobody_is_lost_or_born_while_people_move():
    for seed in range(5):
        people = synthetic_world(seed=seed, days=21).people
        np.testing.assert_allclose(people.sum((1, 2)), people[0].sum(), rtol=1e-12)
        assert (people >= 0).all()


def test_people_are_at_home_at_night_and_elsewhere_at_noon():
    world = synthetic_world(seed=1)
    at_night, at_noon = world.people[24 + 3], world.people[24 + 11]
    np.testing.assert_allclose(at_night, world.residents, rtol=0.02)
    assert np.abs(at_noon - world.residents).sum() > 0.3 * world.residents.sum()


def test_the_expected_traffic_is_the_mean_of_the_city():
    city, truth = synthetic_city(days=28, seed=5), synthetic_truth(days=28, seed=5)
    busy = truth.mean(0) > np.median(truth.mean(0))
    ratio = city.traffic.values[:, busy].mean(0) / truth[:, busy].mean(0)
    assert abs(ratio.mean() - 1) < 0.02
    assert (truth > 0)[city.traffic.values > 0].all()


def test_volume_does_not_depend_on_the_granularity_period():
    quarter, hour = synthetic_truth(step_minutes=15), synthetic_truth(step_minutes=60)
    assert quarter.sum() == pytest.approx(hour.sum(), rel=0.05)


def test_noise_has_memory():
    city, truth = synthetic_city(seed=2), synthetic_truth(seed=2)
    busiest = np.unravel_index(truth.mean(0).argmax(), truth.shape[1:])
    noise = np.log(city.traffic.values[:, *busiest] / truth[:, *busiest])
    assert np.corrcoef(noise[1:], noise[:-1])[0, 1] > 0.6


def test_cells_without_a_station_are_true_zeros_and_covered():
    for seed in range(5):
        city = synthetic_city(seed=seed)
        silent = (city.traffic.values == 0).all(0)
        assert 0 < silent.sum() < silent.size / 2
        assert city.covered.values.all()


def test_context_tells_of_traffic():
    city = synthetic_city(height=16, width=16)
    station = (city.traffic.values > 0).any(0)
    level = np.log(city.traffic.values.mean(0)[station])
    assert city.sizes["category"] == 15
    assert np.corrcoef(level, np.log(city.poi.values.sum(0)[station]))[0, 1] > 0.5
    assert np.corrcoef(city.users.values.ravel(), city.traffic.values.ravel())[0, 1] > 0.8


def test_missing_values_are_a_share_in_runs_and_change_nothing_else():
    whole, holed = synthetic_city(days=28), synthetic_city(days=28, missing=0.1)
    lost = np.isnan(holed.traffic.values)
    assert lost.mean() == pytest.approx(0.1, abs=0.01)
    assert (lost == np.isnan(holed.users.values)).all()
    assert (lost[1:] & lost[:-1]).sum() > 0.7 * lost.sum()
    np.testing.assert_array_equal(holed.traffic.values[~lost], whole.traffic.values[~lost])


@pytest.mark.parametrize(("height", "width", "step"), [(1, 1, 60), (3, 9, 1440), (5, 2, 5)])
def test_any_shape_and_step_makes_a_city(height, width, step):
    city = synthetic_city(height=height, width=width, days=2, step_minutes=step)
    assert city.traffic.shape == (2 * 1440 // step, height, width)
    assert city.attrs["synthetic"] == 1


@pytest.mark.parametrize("wrong", [{"height": 0}, {"days": 0}, {"step_minutes": 7}, {"missing": 1.0}])
def test_sizes_that_make_no_city_are_refused(wrong):
    with pytest.raises(CityError):
        synthetic_city(**wrong)


@pytest.mark.parametrize("wrong", ["8", None, float("nan"), 8.5, [8], True])
@pytest.mark.parametrize("what", ["height", "width", "days", "step_minutes"])
def test_a_size_that_is_no_whole_number_is_named(what, wrong):
    """Text ended in numpy's and Python's own errors."""
    with pytest.raises(CityError, match=re.escape(f"{what} of a made city is {wrong!r}: write a whole number")):
        inspect.unwrap(synthetic_city)(**{what: wrong})


@pytest.mark.parametrize(("what", "wrong"), [("seed", "1"), ("seed", 1.5), ("missing", "0.1"), ("missing", None)])
def test_other_numbers_of_the_wrong_kind_are_named_too(what, wrong):
    with pytest.raises(CityError, match=re.escape(f"{what} is {wrong!r}: ")):
        inspect.unwrap(synthetic_city)(**{what: wrong})


def test_a_negative_seed_is_one_as_of_forecasts():
    assert not synthetic_city(days=1, seed=-1).identical(synthetic_city(days=1, seed=1))


def test_it_is_made_in_less_than_a_second():
    start = time.perf_counter()
    synthetic_city()
    assert time.perf_counter() - start < 1
