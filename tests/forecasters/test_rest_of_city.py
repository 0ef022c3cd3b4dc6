"""A district in which nothing is observed is drawn like the rest of its city, not from a constant."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fomo.city import make_city
from fomo.diffusion.members import OtherCells
from fomo.forecasters import drawing, rest_of_city
from fomo.forecasters.drawing import _cut
from fomo.forecasters.fomo import FoMo, load
from fomo.forecasters.rest_of_city import RestOfCity
from fomo.forecasters.tiles import Tiling
from fomo.windows.batch import Batch, CellState
from fomo.windows.context_observation import expected_by_poi
from fomo.windows.observation import observe
from fomo.windows.records import WITHOUT_GRID, each_pair, each_tensor

HEIGHT, ROWS, COLUMNS = 3, 7, 5  # the district is the first rows of the grid


@pytest.fixture(params=[False, True], ids=["traffic alone", "with context"])
def city(request, random_batch, with_context) -> Batch:
    """Two windows of a grid; of the second, nothing is observed in the district."""
    batch = random_batch(batch=2, time=24, y=ROWS, x=COLUMNS)
    batch = with_context(batch) if request.param else batch
    state = batch.state.clone()
    state[1, :, :HEIGHT] = CellState.HIDDEN
    return replace(batch, state=state, share=torch.where(state == CellState.OBSERVED, batch.share, 0.0))


def district_of(city: Batch) -> Batch:
    return _cut(city, Tiling((ROWS, COLUMNS), (HEIGHT, COLUMNS), ((0, 0),), torch.ones(1, HEIGHT, COLUMNS)))


def beside(city: Batch) -> RestOfCity:
    found = RestOfCity.beside(district_of(city), city)
    assert found is not None and found.rows.tolist() == [1]
    return found


def assert_alike(one, other, same: bool = False) -> None:
    def alike(name: str, mine: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
        if same or mine.dtype == torch.bool:
            assert torch.equal(mine, theirs), name
        else:
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5, msg=name)
        return mine

    each_pair(one, other, alike)


def rows_of(record, row: int):
    return each_tensor(record, lambda _, part: part[row : row + 1])


def test_it_is_observed_as_a_part_of_the_whole_city(city):
    """Everything that cells say of each other: levels, guesses, what users and POI make; to the last digits."""
    whole = each_tensor(observe(city), lambda name, part: part if name in WITHOUT_GRID else part[..., :HEIGHT, :])
    district = district_of(city)
    assert_alike(rows_of(beside(city).observed(district), 1), rows_of(whole, 1))
    alone = city.rows(slice(1, 2))
    found = RestOfCity.beside(district_of(alone), alone)
    assert found is not None
    assert_alike(found.observed(district_of(alone)), rows_of(whole, 1))


def test_windows_in_which_something_is_observed_stay_what_they_are_to_the_bit(city):
    district, found = district_of(city), beside(city)
    assert_alike(rows_of(found.observed(district), 0), rows_of(observe(district), 0), same=True)
    own = OtherCells.of(district.share, district.observed)
    both = found.other_cells(own, slice(None))
    ranks = own.ratios.shape[2]
    assert torch.equal(both.ratios[0, :, :ranks], own.ratios[0]) and both.ratios[0, :, ranks:].isinf().all()
    assert torch.equal(both.count[0], own.count[0])


def test_its_cells_lie_as_those_of_the_whole_city_do(city):
    def of(batch: Batch) -> OtherCells:
        by_poi = None if batch.context is None else expected_by_poi(batch.context, batch.observed)
        return OtherCells.of(batch.share, batch.observed, by_poi)

    whole, found = of(city), beside(city).other_cells(of(district_of(city)), slice(None))
    assert not of(district_of(city)).count[1].any() and whole.count[1].any()
    assert torch.equal(found.count[1], whole.count[1])
    most = int(whole.count[1].max())
    torch.testing.assert_close(found.ratios[1, :, :most], whole.ratios[1, :, :most])


def test_nothing_lies_beside_a_district_that_says_something_or_a_city_that_says_nothing(city):
    first = city.rows(slice(0, 1))
    assert RestOfCity.beside(district_of(first), first) is None
    silent = replace(city, state=torch.full_like(city.state, CellState.HIDDEN))
    assert RestOfCity.beside(district_of(silent), silent) is None


def test_of_a_large_city_so_many_cells_stand_for_all(city, monkeypatch):
    monkeypatch.setattr(rest_of_city, "MOST_CELLS", 7)
    found = beside(city)
    assert found.both.share.shape == (1, 24, HEIGHT + 2, COLUMNS)  # two rows of five hold seven
    others = found.both.state[0, :, HEIGHT:].flatten(1)
    assert (others[:, 7:] == CellState.PADDING).all() and (others == CellState.OBSERVED).any(0).sum() == 7
    if found.both.context is not None:
        assert not found.both.context.static_known[0, :, HEIGHT:].flatten(1)[:, 7:].any()
    for again in (beside(city), found):  # the same ones for every district
        assert torch.equal(again.both.share, found.both.share)


def in_districts(model: FoMo, district: tuple[int, int]) -> FoMo:
    sampling = model.sampling.model_copy(update={"district": district})
    return FoMo(model.network, model.checkpoint, sampling=sampling)


def town(rows: int = 56, hours: int = 64):
    """All cells alike, 120 in the mean."""
    hour, random = np.arange(hours), np.random.default_rng(0)
    rhythm = 100 * (1.2 + np.sin(2 * np.pi * (hour - 9) / 24))
    traffic = rhythm[:, None, None] * random.lognormal(0, 0.1, (hours, rows, 8))
    return make_city(traffic, name="town", start="2024-01-01", step_minutes=60, cell_km=1.0)


def test_a_whole_district_is_generated_at_the_level_of_its_city():
    """From a constant it had an eighth of the traffic of the same cells in a district of more."""
    city, area = town(), np.zeros((56, 8), bool)
    area[:36] = True  # the first district, and most of the second
    model = load()
    parts, whole = (in_districts(model, edge).generate(city, area, samples=4) for edge in ((24, 8), (64, 64)))
    assert model.districts((56, 8), 16) == 1 and in_districts(model, (24, 8)).districts((56, 8), 16) == 3
    by_row, of_whole = (found.mean.values[:, :36].mean((0, 2)) for found in (parts, whole))
    np.testing.assert_allclose(by_row, of_whole, rtol=0.05)
    assert by_row.mean() == pytest.approx(120, rel=0.2)
    spread, usual = (found.samples.values[..., :16, :].std(0).mean() for found in (parts, whole))
    assert spread == pytest.approx(usual, rel=0.2)


def test_a_whole_district_that_was_out_for_the_window_is_forecast_at_the_level_of_its_city():
    city = town(hours=96)
    out = city["traffic"].values.copy()
    out[-60:, :24] = np.nan
    city = city.assign(traffic=(("time", "y", "x"), out))
    model = load()
    ahead = [
        in_districts(model, edge).forecast(city, 8, samples=4, past_week=False).mean.values.mean((0, 2))[:20]
        for edge in ((24, 8), (64, 64))
    ]
    np.testing.assert_allclose(ahead[0], ahead[1], rtol=0.1)


def test_of_a_grid_within_a_district_nobody_asks(monkeypatch):
    monkeypatch.setattr(drawing.RestOfCity, "beside", lambda *_: pytest.fail("asked"))
    area = np.zeros((8, 8), bool)
    area[:4] = True
    load().generate(town(8), area, samples=2)
