"""A large ensemble is drawn some members at a time: the same to the bit, with memory that does not grow with it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fomo.city import mock_city
from fomo.forecasters import drawing, noise
from fomo.forecasters.fomo import FoMo, load
from fomo.forecasters.noise import Noise, Stream, member_noise


@pytest.mark.parametrize("total", [1, 15, 16, 17, 31, 32, 33, 47, 160, 1003])
@pytest.mark.parametrize("piece", [1, 7, 16, 40])
def test_numbers_read_in_pieces_are_those_of_one_call(total, piece):
    stream, found = Stream(5, total), []
    while stream.taken < total:
        found.append(stream.take(min(piece, total - stream.taken)))
    whole = torch.randn(total, generator=torch.Generator().manual_seed(5))
    assert torch.equal(torch.cat(found), whole)


def test_numbers_that_are_passed_over_are_gone(monkeypatch):
    monkeypatch.setattr(noise, "PASSED_OVER", 10)
    stream = Stream(5, 100)
    stream.pass_over(37)
    assert torch.equal(stream.take(63), torch.randn(100, generator=torch.Generator().manual_seed(5))[37:])


@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 12, 10)])  # one block, and several
def test_noise_of_some_members_is_a_part_of_that_of_all_in_any_order(pairs, shape):
    source = Noise((7, 8), 11, pairs, shape, (8, 8), range(11))
    whole = source.part((0, 0), shape[1:])
    if shape[1] <= 8:
        assert torch.equal(whole[1], member_noise(shape, 11, 8, pairs))
    for some in (range(4), range(4, 6), range(6, 11), range(2, 9), range(3, 4)):
        assert torch.equal(source.part((0, 0), shape[1:], only=some), whole[:, some.start : some.stop])


def of(model: FoMo, **sampling: object) -> FoMo:
    """The same weights, drawn otherwise."""
    return FoMo(model.network, model.checkpoint, sampling=model.sampling.model_copy(update=sampling))


@pytest.mark.parametrize(
    ("sampling", "grid", "samples", "only"),
    [
        ({}, (5, 3), 13, None),
        ({"rows": 3}, (9, 9), 13, range(4, 13)),
        ({"antithetic": False, "rows": 3}, (4, 4), 8, None),
        ({"district": (12, 8)}, (18, 8), 9, None),
        ({"sampler": "heun", "steps": 2}, (4, 4), 9, None),
    ],
)
def test_members_drawn_some_at_a_time_are_those_drawn_at_once(monkeypatch, sampling, grid, samples, only):
    model, city = of(load(), **{"rows": 4, **sampling}), mock_city(steps=60, height=grid[0], width=grid[1])
    calls: list[int] = []
    draw = drawing.Drawing._draw
    monkeypatch.setattr(drawing.Drawing, "_draw", lambda *given: calls.append(1) or draw(*given))

    def drawn(at_once: int) -> tuple[np.ndarray, int]:
        monkeypatch.setattr(drawing, "DRAWN_AT_ONCE", at_once)
        calls.clear()
        return model.forecast(city, 6, samples=samples, seed=3, only=only).samples.values, len(calls)

    (whole, few), (pieces, many) = drawn(2**30), drawn(1)
    assert many > few
    assert pieces.tobytes() == whole.tobytes()


def test_one_encoding_serves_all_members(monkeypatch):
    model = of(load(), rows=4)
    monkeypatch.setattr(drawing, "DRAWN_AT_ONCE", 1)
    encode, seen = model.network.encode, []
    monkeypatch.setattr(model.network, "encode", lambda *given: seen.append(1) or encode(*given))
    model.forecast(mock_city(steps=47), 6, samples=16)  # of longer pasts, how far they were off is looked at before
    assert len(seen) == 1


def test_no_more_members_are_on_their_way_than_the_bound(monkeypatch):
    """The largest tensor that the sampler holds is the same for 40 and for 400 members."""
    model, city = of(load(), rows=4), mock_city(steps=60)
    values = 64 * 16
    monkeypatch.setattr(drawing, "DRAWN_AT_ONCE", 8 * values)
    largest: list[int] = []
    draw = drawing.Drawing._draw

    def watched(self, denoise, numbers):
        found = draw(self, denoise, numbers)
        largest.append(math.prod(found.shape))
        return found

    monkeypatch.setattr(drawing.Drawing, "_draw", watched)
    for samples in (40, 400):
        largest.clear()
        forecast = model.forecast(city, 16, samples=samples)
        assert max(largest) == 8 * values
        assert len(largest) == samples // 8
        assert forecast.samples.values.base is None or forecast.samples.values.base.nbytes == forecast.samples.nbytes
