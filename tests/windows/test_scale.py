from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fomo.city import CityError, steps_per_day
from fomo.sources import list_families, read_family
from fomo.windows.scale import (
    GAIN,
    PERCENTILE,
    SLIP,
    _often_reaches,
    compress,
    from_share,
    reference_of,
    to_share,
    without_slips,
)

SHARES = arrays(np.float64, st.integers(1, 20), elements=st.floats(0, 3))
REFERENCES = st.floats(1e-6, 1e12)


@given(SHARES, REFERENCES)
def test_traffic_comes_back_from_its_shares_to_the_last_digits_of_single_precision(shares, reference):
    traffic = (shares * reference).astype(np.float32)
    back = from_share(to_share(traffic, reference), reference)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, traffic, rtol=3e-7, atol=1e-38 + 1e-38 * reference)


@given(st.integers(-20, 40), SHARES)
def test_traffic_comes_back_exactly_where_the_reference_is_a_power_of_two(exponent, shares):
    traffic = np.round(shares * 2.0**20).astype(np.float32)
    reference = 2.0**exponent
    np.testing.assert_array_equal(from_share(to_share(traffic, reference), reference), traffic)


def test_a_share_is_traffic_over_the_reference():
    traffic = np.array([0.0, 5.0, 10.0, 20.0])
    np.testing.assert_allclose(to_share(traffic, 10.0), [0, 0.5, 1, 2])
    np.testing.assert_allclose(from_share(np.array([0.0, 0.5, 1.0, 2.0]), 10.0), traffic)


def test_not_recorded_stays_not_recorded_and_zero_stays_zero():
    there_and_back = from_share(to_share(np.array([np.nan, 0.0, 1.0]), 2.0), 2.0)
    assert np.isnan(there_and_back[0])
    assert there_and_back[1] == 0.0


def test_what_the_network_reads_is_the_logarithm_of_the_share():
    shares = torch.tensor([0.0, 1 / GAIN, 1.0])
    torch.testing.assert_close(compress(shares), torch.tensor([1.0, 2.0, 1 + GAIN]).log())


def test_the_reference_is_the_percentile_of_the_recorded_values():
    traffic = np.random.default_rng(0).lognormal(0, 1, (500, 10, 10))
    holes = traffic.copy()
    holes[::2] = np.nan
    assert reference_of(traffic) == pytest.approx(np.percentile(traffic, PERCENTILE))
    assert reference_of(holes) == pytest.approx(np.percentile(traffic[1::2], PERCENTILE))


def slip(traffic: np.ndarray, value: float = 1e9) -> np.ndarray:
    """The same with one value that no network carries."""
    wrong = traffic.copy()
    wrong[3, 1, 2] = value
    return wrong


@pytest.mark.parametrize("steps", [16, 48, 336, 5000])
@pytest.mark.parametrize("holes", [False, True])
def test_one_absurd_value_does_not_rule_the_scale_of_a_small_city(steps, holes):
    """The percentile of less than 10,000 values is hardly less than the largest: all other shares were 0."""
    traffic = np.random.default_rng(0).lognormal(0, 0.5, (steps, 4, 4)).astype(np.float32)
    traffic[0::3] = np.nan if holes else traffic[0::3]
    wrong = slip(traffic)
    place = (
        r"a value of 1e\+09 \(step 3, y=1, x=2\) is more than 10 times .*; 1 such values .* correct them, or write NaN"
    )
    with pytest.warns(UserWarning, match=place):
        found = reference_of(wrong)
    wrong[3, 1, 2] = np.nan
    assert found == reference_of(wrong)
    assert found == np.percentile(wrong[np.isfinite(wrong)], PERCENTILE)


def test_what_comes_again_or_in_all_cells_or_is_not_that_large_is_no_slip():
    """Nothing is left out, and nothing is said: a warning is an error here."""
    traffic = np.random.default_rng(0).lognormal(0, 0.1, (200, 4, 4))
    again, dear = traffic.copy(), slip(traffic, 9.0)
    again[[5, 90, 170], 1, 1] = 1e4  # 1.5 % of the steps
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for usual in (again, dear, traffic[:1] ** 20, slip(np.zeros((200, 4, 4)))):
            assert reference_of(usual) == pytest.approx(np.percentile(usual, PERCENTILE) or usual.max())
            assert reference_of(usual[:, 1, 2], usual) > 0  # of one cell, without a grid


def test_a_slip_in_one_city_of_several_is_seen_among_the_cells_of_all():
    small, large = (np.random.default_rng(0).lognormal(0, 0.1, (300, *grid)) for grid in ((4, 4), (2, 5)))
    both = np.concatenate([slip(small).ravel(), 100 * large.ravel()])
    with pytest.warns(UserWarning, match=r"step 3, y=1, x=2\) is more than 10 times .*\(126.7\)"):
        assert reference_of(slip(small), 100 * large) == np.percentile(both[both < 1e9], PERCENTILE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a busy city beside a quiet one is none
        assert reference_of(small, 100 * large) == np.percentile(np.append(small, 100 * large), PERCENTILE)


def test_a_record_without_its_slips_lacks_them_and_nothing_else():
    traffic = np.random.default_rng(0).lognormal(0, 0.5, (300, 4, 4)).astype(np.float32)
    traffic[5] = np.nan
    wrong = slip(slip(traffic), 2e9)
    with pytest.warns(UserWarning, match=r"a value of 2e\+09 \(step 3, y=1, x=2\).*; 1 such values are taken as not"):
        kept = without_slips(wrong)
    expected = traffic.copy()
    expected[3, 1, 2] = np.nan
    np.testing.assert_array_equal(kept, expected)
    assert wrong[3, 1, 2] == 2e9  # what was given is as it was
    assert kept.dtype == np.float32


@pytest.mark.parametrize("traffic", [np.zeros((5, 2, 2)), np.full((5, 2, 2), np.nan), slip(np.ones((200, 4, 4)), 9.9)])
def test_a_record_without_slips_is_given_back(traffic):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert without_slips(traffic) is traffic


@pytest.mark.real_data
def test_no_value_of_any_real_city_is_taken_for_a_slip(real_data):
    """All published tables hang on these scales. No value is even half as large as a slip."""
    for family in list_families(real_data):
        for variable in ("traffic", "users"):
            cities = [city for city in read_family(real_data, family) if variable in city]
            for city in cities:
                values, week = city[variable].values, 7 * steps_per_day(city)
                for part in (values, values[:week], values[-week:], values[: int(0.8 * len(values))], values[:64]):
                    if not np.nanmax(part, initial=0) > 0:
                        continue
                    plain = np.percentile(part[np.isfinite(part)], PERCENTILE)
                    assert reference_of(part) == plain
                    assert _often_reaches(part, float(np.nanmax(part)) / (SLIP / 2))


def test_the_reference_of_hardly_any_traffic_is_its_largest_value():
    traffic = np.zeros((200, 20, 20))
    traffic[3, 4, 5] = 8.0
    assert reference_of(traffic) == 8.0


@pytest.mark.parametrize(
    ("traffic", "fault"), [(np.full((3, 2, 2), np.nan), "no traffic is recorded"), (np.zeros((3, 2, 2)), "zero")]
)
def test_a_history_without_a_scale_is_refused_with_a_remedy(traffic, fault):
    with pytest.raises(CityError, match=fault) as error:
        reference_of(traffic)
    assert "longer history" in str(error.value)
