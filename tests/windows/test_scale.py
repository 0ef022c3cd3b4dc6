from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fomo.city import CityError
from fomo.windows.scale import GAIN, PERCENTILE, compress, from_share, reference_of, to_share

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
    outlier = traffic.copy()
    outlier[0, 0, 0] = 1e9  # one value in 50,000 does not set the scale
    assert reference_of(outlier) < 2 * reference_of(traffic)


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
