"""What the benchmark of speed counts: operations on all threads, and time under way once."""

from __future__ import annotations

import pytest
import torch

from fomo.forecasters.threads import on_threads


def test_spans_that_overlap_count_once(benchmark_module):
    seconds_under_way = benchmark_module("speed").seconds_under_way
    assert seconds_under_way([(0.0, 1.0), (0.5, 2.0), (5.0, 6.0), (5.2, 5.4)]) == pytest.approx(3.0)
    assert seconds_under_way([(3.0, 4.0), (0.0, 1.0)]) == pytest.approx(2.0)  # in any order
    assert seconds_under_way([]) == 0


def test_operations_of_passes_on_threads_of_their_own_are_counted(benchmark_module):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    square = torch.ones(8, 8)
    counted = benchmark_module("clock").operations(
        lambda: on_threads(lambda _: square @ square, range(3), torch.device("cpu"))
    )
    assert counted == 3 * 2 * 8**3
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
