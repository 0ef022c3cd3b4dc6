"""Large grids are drawn in districts: from one noise, without seams, with memory that does not grow with the city."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from fomo.city import mock_city
from fomo.forecasters import drawing
from fomo.forecasters.drawing import SamplingConfig
from fomo.forecasters.fomo import FoMo, load
from fomo.forecasters.noise import Noise, member_noise
from fomo.forecasters.tiles import count_tiles, even_edge, make_tiling
from fomo.seeds import derived_seed
from fomo.sources.synthetic import synthetic_city

SHAPE = (3, 21, 13)


@pytest.mark.parametrize("draw", [None, 2])
@pytest.mark.parametrize(
    ("corner", "size"), [((0, 0), (8, 8)), ((5, 3), (10, 9)), ((13, 5), (8, 8)), ((20, 12), (1, 1))]
)
def test_any_part_of_the_noise_is_a_part_of_the_whole(corner, size, draw):
    noise = Noise((7, 8, 7), 4, True, SHAPE, (8, 8), range(4))
    whole = noise.part((0, 0), SHAPE[1:], draw)
    (y, x), (height, width) = corner, size
    assert torch.equal(noise.part(corner, size, draw), whole[..., y : y + height, x : x + width])
    assert torch.equal(whole[0], whole[2])
    assert not torch.equal(whole[0], whole[1])
    assert torch.equal(whole[:, 1], -whole[:, 0])


def test_noise_of_blocks_is_standard_normal_and_blocks_differ():
    whole = Noise((3,), 2, False, (20, 32, 32), (8, 8), range(2)).part((0, 0), (32, 32))[0]
    for place in (0, 1, 2, 3):  # streams of other things of the same seed, see `Drawing`
        other = Noise((derived_seed(3, place),), 2, False, (20, 8, 8), (8, 8), range(2)).part((0, 0), (8, 8))[0]
        assert not any(torch.equal(whole[..., y : y + 8, x : x + 8], other) for y, x in product((0, 8, 16), repeat=2))
    assert float(whole.std()) == pytest.approx(1, abs=0.01)
    corners = [whole[0, :, y : y + 8, x : x + 8].flatten() for y in (0, 8, 16, 24) for x in (0, 8, 16, 24)]
    alike = torch.corrcoef(torch.stack(corners)) - torch.eye(16)
    assert float(alike.abs().max()) < 0.15


def test_a_grid_within_a_district_has_the_noise_of_its_seed():
    noise = Noise((3,), 4, True, SHAPE, (64, 64), range(4))
    assert torch.equal(noise.part((0, 0), SHAPE[1:])[0], member_noise(SHAPE, 4, 3, True))


def drawn(model: FoMo, district: tuple[int, int]) -> FoMo:
    """The same weights with districts of this size."""
    sampling = model.sampling.model_copy(update={"district": district, "tile": (8, 8)})
    return FoMo(model.network, model.checkpoint, sampling=sampling)


def test_districts_show_no_seam(monkeypatch):
    """From the same noise, districts differ from the whole by little of the members' spread, at their edges too."""
    model, city = load(), synthetic_city(height=36, width=8, days=3)
    parts = drawn(model, (20, 8)).forecast(city, samples=4, past_week=False).samples.values
    monkeypatch.setattr(
        drawing,
        "Noise",
        lambda seeds, samples, pairs, shape, _, only: Noise(seeds, samples, pairs, shape, (20, 8), only),
    )
    whole = drawn(model, (64, 64)).forecast(city, samples=4, past_week=False).samples.values
    spread = float(whole.std(0).mean())
    away = np.abs(parts - whole).mean((0, 1, 3)) / spread
    assert 0 < float(away.max()) < 0.35
    assert float(away.mean()) < 0.15


@pytest.mark.parametrize("grid", [(4, 4), (8, 9), (20, 28), (1, 30)])
def test_tiles_are_counted_as_they_are_made(grid):
    assert count_tiles(grid, (8, 8), 2) == len(make_tiling(grid, (8, 8), 2).corners)


def test_members_of_a_large_grid_are_finite_and_the_same_again():
    model, city = drawn(load(), (8, 8)), mock_city(steps=60, height=12, width=10)
    one, two = (model.forecast(city, 4, samples=2, seed=1) for _ in range(2))
    assert np.isfinite(one.samples.values).all()
    assert one.dataset.identical(two.dataset)


def test_steps_are_what_the_sampler_needs_unless_they_are_said():
    assert (SamplingConfig().sampler, SamplingConfig().steps) == ("angle", 3)
    assert SamplingConfig(sampler="multistep").steps == 8
    assert SamplingConfig(sampler="heun", steps=2).steps == 2


@pytest.mark.parametrize("part", ["tile", "district"])
@pytest.mark.parametrize("size", [(0, 8), (8, 0), (-1, 8)])
def test_a_tile_or_a_district_has_cells(part, size):
    """It was a division by zero, in the middle of a forecast."""
    with pytest.raises(ValidationError, match="greater than 0"):
        SamplingConfig(**{part: size})


def test_no_more_than_a_district_is_observed_at_once(monkeypatch):
    seen: list[tuple[int, ...]] = []
    observe = drawing.observe

    def watched(batch):
        seen.append(tuple(batch.share.shape[2:]))
        return observe(batch)

    monkeypatch.setattr(drawing, "observe", watched)
    drawn(load(), (16, 10)).forecast(mock_city(steps=47, height=30, width=10), 4, samples=2)
    assert seen == [(16, 10)] * 3  # 30 rows, of which neighbours share 8


@pytest.mark.parametrize("size", [64, 65, 100, 178, 316])
def test_districts_are_no_larger_than_their_number_needs(size):
    edge = even_edge(size, 64, 8)
    (count,) = {count_tiles((1, size), (1, each), 8) for each in (edge, 64)}
    assert count_tiles((1, size), (1, edge - 1), 8) > count
    assert edge <= 64
