from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from fomo.forecasters.fomo import load
from fomo.forecasters.threads import on_threads
from fomo.sources.synthetic import synthetic_city

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_items_and_the_number_of_threads_stays(threads):
    assert on_threads(lambda item: item * 2, range(20), CPU) == [2 * item for item in range(20)]
    assert torch.get_num_threads() == threads
    assert on_threads(lambda item: item, [], CPU) == []


def test_as_many_are_at_work_at_a_time_as_there_are_threads_each_on_one(threads):
    together = threading.Barrier(threads, timeout=20)  # passed only by so many at a time

    def work(_: int) -> tuple[int, int]:
        together.wait()
        return torch.get_num_threads(), threading.get_ident()

    found = on_threads(work, range(2 * threads), CPU)
    assert {number for number, _ in found} == {1}
    assert len({name for _, name in found}) == threads


def test_nothing_is_kept_for_gradients(threads):
    weight = torch.ones(3, requires_grad=True)
    assert not any(found.requires_grad for found in on_threads(lambda item: weight * item, range(3), CPU))


def test_an_error_in_one_comes_out_and_the_number_of_threads_stays(threads):
    def work(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    with pytest.raises(ValueError, match="two"):
        on_threads(work, range(4), CPU)
    assert torch.get_num_threads() == threads


def test_two_calls_at_a_time_leave_the_number_of_threads_as_it_was(threads):
    callers = [threading.Thread(target=on_threads, args=(lambda item: item, range(50), CPU)) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert torch.get_num_threads() == threads


def test_another_device_does_one_after_another():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    names = set(on_threads(lambda _: threading.get_ident(), range(4), torch.device("meta")))
    torch.set_num_threads(before)
    assert names == {threading.get_ident()}


def test_the_members_of_a_city_are_the_same_with_any_number_of_threads_but_for_rounding():
    model, city = load("fomo-tiny"), synthetic_city(height=10, width=13, days=8)
    before = torch.get_num_threads()
    found = []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        found.append(model.forecast(city, horizon=8, samples=4).samples.values)
    torch.set_num_threads(before)
    for other in found[1:]:  # what is observed is still fitted on all threads
        np.testing.assert_allclose(other, found[0], rtol=1e-4, atol=1e-6 * found[0].max())
