"""Gaps made again where the answer is known: which they are, and what they say of network and record."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.forecasters.gap_hindcasts import gaps_again


def test_gaps_are_laid_on_the_nearest_recorded_day_and_none_is_hidden_twice():
    traffic = np.ones((24 * 10, 2, 2), np.float32)
    asked = {start: np.zeros((64, 2, 2), bool) for start in (64, 128)}
    asked[64][10:20, 0, 0] = True
    asked[128][5:6, 1, 1] = True
    for start, mask in asked.items():
        traffic[start : start + 64][mask] = np.nan
    found = gaps_again(traffic, asked, 24, 12)
    assert [gap.start for gap in found] == [64 + 24, 128 + 24]
    for gap, mask in zip(found, asked.values(), strict=True):
        np.testing.assert_array_equal(gap.hidden, mask)
        assert np.isfinite(traffic[gap.start : gap.start + 64][gap.hidden]).all()
    every = np.zeros(traffic.shape, int)
    for gap in found:
        every[gap.start : gap.start + 64] += gap.hidden
    assert every.max() == 1


def test_a_day_that_lacks_most_of_it_is_passed_over():
    traffic = np.ones((24 * 8, 1, 2), np.float32)
    mask = np.zeros((64, 1, 2), bool)
    mask[30:40, 0, 0] = True
    traffic[64:128][mask] = np.nan
    traffic[64 + 24 + 33 : 64 + 24 + 40, 0, 0] = np.nan  # seven of ten on the day after
    (gap,) = gaps_again(traffic, {64: mask}, 24, 3)
    assert gap.start == 64 - 24
    assert gaps_again(np.full_like(traffic, np.nan), {64: mask}, 24, 3) == []


@pytest.mark.parametrize("number", [1, 2, 5])
def test_of_many_windows_some_are_taken_evenly(number):
    traffic = np.ones((64 * 6, 1, 1), np.float32)
    asked = {start: np.zeros((64, 1, 1), bool) for start in range(0, 64 * 6, 64)}
    for mask in asked.values():
        mask[3] = True
    assert len(gaps_again(traffic, asked, 24, number)) == number
