from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import xarray as xr

from fomo.city import CityError, make_city, mock_city
from fomo.windows.batch import Batch, CellState
from fomo.windows.patterns import GROUPS
from fomo.windows.sample import AugmentConfig, TrainingSet, family_references

PLAIN: dict[str, Any] = {
    "flip": False, "mix": 0.0, "shuffle": 0.0, "level": 0.0, "cell_level": 0.0, "missing": 0.0, "forget_week": 0.0,
}  # fmt: skip


def numbered_city(
    steps: int = 200, height: int = 5, width: int = 6, name: str = "numbered", **options: Any
) -> xr.Dataset:
    """Every value says where it is from: 1 + 100 t + 10 y + x."""
    t, y, x = np.meshgrid(np.arange(steps), np.arange(height), np.arange(width), indexing="ij")
    given = {"start": "2024-01-03T05:00", "step_minutes": 60, "cell_km": 0.5} | options
    return make_city(given.pop("traffic", 1.0 + 100 * t + 10 * y + x), name=name, **given)


def drawn(
    cities: list[xr.Dataset], shape: tuple[int, int, int], count: int = 40, seed: int = 0, **augment: Any
) -> Batch:
    references = {city.attrs["family"]: 1.0 for city in cities}
    data = TrainingSet(cities, references, AugmentConfig(**(PLAIN | augment)))
    return data.draw(shape, count, np.random.default_rng(seed))


def several(*cities: xr.Dataset) -> list[xr.Dataset]:
    """Each often enough that the family has groups of two to mix within."""
    return [city.assign_attrs(name=f"{city.attrs['name']}/{turn}") for turn in range(GROUPS) for city in cities]


def places(share: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """t, y, x of the values of a numbered city."""
    number = np.round(share).astype(int) - 1
    return number // 100, number // 10 % 10, number % 10


def test_the_reference_of_a_family_is_that_of_all_its_values_together():
    one = numbered_city(traffic=np.linspace(1, 2, 1000).reshape(10, 10, 10), name="f/1", family="f")
    two = numbered_city(traffic=np.linspace(5, 9, 1000).reshape(10, 10, 10), name="f/2", family="f")
    other = numbered_city(traffic=np.full((10, 1, 1), 3.0), name="g")
    references = family_references([one, two, other])
    assert set(references) == {"f", "g"}
    both = np.concatenate([one["traffic"].values, two["traffic"].values])
    assert references["f"] == pytest.approx(np.percentile(both, 99.99))
    assert references["g"] == 3.0


def test_a_window_is_a_block_of_the_city_with_its_time_and_the_same_hours_last_week():
    batch = drawn([numbered_city()], (12, 3, 2))
    assert (batch.state == CellState.OBSERVED).all()
    starts = set()
    for row in range(40):
        t, y, x = places(batch.share[row].numpy())
        assert (np.diff(t, axis=0) == 1).all()
        assert (np.diff(y, axis=1) == 1).all()
        assert (np.diff(x, axis=2) == 1).all()
        assert (t[0] == t[0, 0, 0]).all()
        start = int(t[0, 0, 0])
        starts.add((start, int(y[0, 0, 0]), int(x[0, 0, 0])))
        assert float(batch.start_hour[row]) == (2 * 24 + 5 + start) % 168
        assert bool(batch.week_known[row].all()) == bool(batch.week_known[row].any()) == (start >= 168)
        if start >= 168:
            before = places(batch.week[row].numpy())
            np.testing.assert_array_equal(before[0], t - 168)
            np.testing.assert_array_equal(before[1], y)
            np.testing.assert_array_equal(before[2], x)
    assert len(starts) > 30
    assert set(batch.step_hours.tolist()) == {1.0}
    assert set(batch.cell_km.tolist()) == {0.5}


def test_windows_reach_from_the_first_step_and_cell_to_the_last():
    batch = drawn([numbered_city(steps=20)], (18, 4, 5), count=200)
    t, y, x = places(batch.share.numpy())
    assert set(t[:, 0, 0, 0]) == {0, 1, 2}
    assert set(y[:, 0, 0, 0]) == {0, 1}
    assert set(x[:, 0, 0, 0]) == {0, 1}


def test_flips_give_all_eight_symmetries_of_a_block():
    batch = drawn([numbered_city(steps=9, height=2, width=2)], (9, 2, 2), count=200, flip=True)
    seen = {tuple(np.round(row[0]).astype(int).ravel() - 1) for row in batch.share.numpy()}
    assert len(seen) == 8
    assert all(sorted(cells) == [0, 1, 10, 11] for cells in seen)
    neighbours = [{cells[0], cells[3]} for cells in seen]  # the diagonal stays a diagonal
    assert all(pair in ({0, 11}, {1, 10}) for pair in neighbours)


def test_a_flipped_window_keeps_traffic_and_last_week_together():
    batch = drawn([numbered_city(steps=300)], (6, 3, 4), flip=True)
    known = batch.week_known.all(dim=(1, 2, 3)).numpy()
    assert known.any()
    now, before = places(batch.share.numpy()[known]), places(batch.week.numpy()[known])
    np.testing.assert_array_equal(now[0] - before[0], 168)
    np.testing.assert_array_equal(now[1], before[1])
    np.testing.assert_array_equal(now[2], before[2])


def test_a_city_smaller_than_the_window_is_padded():
    batch = drawn([numbered_city(steps=9, height=2, width=3)], (9, 4, 4), flip=True)
    padding = (batch.state == CellState.PADDING).numpy()
    assert (padding.sum(axis=(1, 2, 3)) == 9 * (16 - 6)).all()
    assert (batch.share.numpy()[padding] == 0).all()
    assert ((batch.state == CellState.OBSERVED).numpy() == ~padding).all()


def test_cells_that_are_not_covered_are_padding_and_gaps_are_missing():
    traffic = np.ones((30, 2, 2))
    traffic[:, 0, 0] = np.nan
    traffic[::3, 1, 1] = np.nan
    state = drawn([numbered_city(traffic=traffic)], (30, 2, 2), count=1).state[0].numpy()
    assert (state[:, 0, 0] == CellState.PADDING).all()
    assert (state[::3, 1, 1] == CellState.MISSING).all()
    assert (state == CellState.OBSERVED).sum() == 30 * 4 - 30 - 10


def test_a_list_of_cells_has_no_neighbours_so_covered_cells_are_drawn_in_any_order():
    city = numbered_city(steps=9, height=1, width=8, layout="list")
    city["covered"][0, 3] = False
    city["traffic"][:, 0, 3] = np.nan
    batch = drawn([city], (9, 2, 2), count=60)
    _, _, x = places(batch.share.numpy()[:, 0])
    assert all(len(set(row.ravel())) == 4 for row in x)
    assert set(x.ravel()) == {0, 1, 2, 4, 5, 6, 7}
    assert any((np.diff(row.ravel()) < 0).any() for row in x)


def test_losing_values_turns_observed_into_missing_and_changes_nothing_else():
    batch = drawn([numbered_city()], (40, 3, 3), missing=1.0)
    observed = batch.observed.numpy()
    lost = (batch.state == CellState.MISSING).numpy()
    assert (observed | lost).all()
    assert lost.any(axis=(1, 2, 3)).all()
    assert lost.mean() < 0.4
    t, y, x = (np.where(observed, axis, -1) for axis in places(batch.share.numpy()))
    for row in range(len(observed)):
        start = (t[row] - np.arange(40)[:, None, None])[observed[row]]
        assert (start == start[0]).all()
        corner = (y[row] - np.arange(3)[:, None])[observed[row]], (x[row] - np.arange(3))[observed[row]]
        assert all((c == c[0]).all() for c in corner)


def test_a_level_scales_the_whole_window_and_last_week_by_one_factor():
    city = numbered_city(traffic=np.full((300, 4, 4), 2.0))
    batch = drawn([city], (24, 2, 2), count=300, level=0.3)
    factor = batch.share.numpy()[:, 0, 0, 0] / 2
    np.testing.assert_allclose(batch.share.numpy(), np.broadcast_to(2 * factor[:, None, None, None], (300, 24, 2, 2)))
    known = batch.week_known.numpy().all(axis=(1, 2, 3))
    np.testing.assert_allclose(batch.week.numpy()[known, 0, 0, 0], 2 * factor[known])
    assert np.log(factor).mean() == pytest.approx(0, abs=0.06)
    assert np.log(factor).std() == pytest.approx(0.3, abs=0.05)


def test_cell_levels_scale_each_cell_at_all_times():
    batch = drawn([numbered_city(traffic=np.ones((50, 4, 4)))], (24, 2, 2), count=100, cell_level=0.5)
    share = batch.share.numpy()
    np.testing.assert_allclose(share, np.broadcast_to(share[:, :1], share.shape))
    assert np.log(share[:, 0]).std() == pytest.approx(0.5, abs=0.08)


def test_a_mixed_window_lies_between_two_regions_of_the_family_at_the_same_hours():
    hours = np.arange(100.0)[:, None, None]
    quiet = numbered_city(traffic=np.broadcast_to(1 + hours, (100, 3, 3)), name="f/quiet", family="f")
    busy = numbered_city(traffic=np.broadcast_to(10 * (1 + hours), (100, 3, 3)), name="f/busy", family="f")
    share = drawn(several(quiet, busy), (10, 2, 2), count=200, mix=1.0).share.numpy()[:, :, 0, 0]
    ratio = share[:, 0] / (share[:, 1] - share[:, 0])  # the hour, whatever the blend
    np.testing.assert_allclose(ratio, np.round(ratio), rtol=1e-3)
    slope = share[:, 1] - share[:, 0]
    assert slope.min() >= 1 - 1e-3
    assert slope.max() <= 10 + 1e-3
    assert ((slope > 1.01) & (slope < 9.99)).mean() > 0.2


def test_mixing_keeps_not_recorded_not_recorded():
    holes = np.ones((60, 2, 2))
    holes[:30] = np.nan
    one = numbered_city(traffic=np.full((60, 2, 2), 2.0), name="f/1", family="f")
    two = numbered_city(traffic=holes, name="f/2", family="f", covered=np.ones((2, 2), bool))
    batch = drawn(several(one, two), (60, 2, 2), count=60, mix=1.0)
    early = batch.state[:, :30].numpy()
    missing = (early == CellState.MISSING).all(axis=(1, 2, 3))
    assert ((early == CellState.OBSERVED).all(axis=(1, 2, 3)) | missing).all()
    assert np.isfinite(batch.share.numpy()).all()
    blended = (batch.share.numpy()[:, 40, 0, 0] != 2) & (batch.share.numpy()[:, 40, 0, 0] != 1)
    assert blended.any()
    assert missing[blended].all()


@pytest.mark.parametrize("how", ["mix", "shuffle"])
def test_cities_of_other_granularity_are_never_mixed(how):
    """Step k of both is not the same hour, although both begin on the same Monday."""
    hourly = numbered_city(traffic=np.full((60, 3, 3), 1.0), name="f/60", family="f")
    half = numbered_city(traffic=np.full((60, 3, 3), 10.0), name="f/30", family="f", step_minutes=30)
    batch = drawn(several(hourly, half), (8, 2, 2), count=60, **{how: 1.0})
    for share, step in zip(batch.share.numpy(), batch.step_hours.tolist(), strict=True):
        np.testing.assert_allclose(share, {1.0: 1.0, 0.5: 10.0}[step], rtol=1e-6)


def test_a_shuffled_region_holds_cells_of_its_whole_group_at_the_same_hours():
    one, two = (numbered_city(steps=40, name=f"f/{i}", family="f") for i in (1, 2))
    two["traffic"] = two["traffic"] + 100_000
    batch = drawn(several(one, two), (10, 2, 2), count=50, shuffle=1.0)
    region = batch.share.numpy() > 100_000
    t, y, x = places(batch.share.numpy() % 100_000)
    assert (np.diff(t, axis=1) == 1).all()
    assert (t == t[:, :, :1, :1]).all()  # all cells at the same hour
    assert (y == y[:, :1]).all()  # every cell stays one cell
    assert (x == x[:, :1]).all()
    assert (region == region[:, :1]).all()
    both = region[:, 0].any(axis=(1, 2)) & ~region[:, 0].all(axis=(1, 2))
    assert both.mean() > 0.3
    np.testing.assert_array_equal(batch.start_hour.numpy(), (2 * 24 + 5 + t[:, 0, 0, 0]) % 168)


@pytest.mark.parametrize(("forget", "share"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)])
def test_last_week_is_forgotten_as_often_as_asked(forget, share):
    batch = drawn([numbered_city(steps=400)], (10, 2, 2), count=400, forget_week=forget)
    late = np.array([places(row)[0][0, 0, 0] >= 168 for row in batch.share.numpy()])
    known = batch.week_known.numpy().all(axis=(1, 2, 3))
    assert late.sum() > 100
    assert not known[~late].any()
    assert known[late].mean() == pytest.approx(share, abs=0.12 if 0 < share < 1 else 0)


def test_the_same_generator_draws_the_same_batch_with_all_augmentation():
    cities = [mock_city(steps=400, seed=seed).assign_attrs(name=f"m/{seed}", family="m") for seed in (1, 2)]
    everything = AugmentConfig(shuffle=0.3, cell_level=0.2).model_dump()
    one, two, other = (drawn(cities, (24, 2, 2), seed=seed, **everything) for seed in (0, 0, 1))
    assert one.context is one.own_past is one.more_users is None  # mock cities have none, and none is asked for
    for name in vars(one).keys() - {"context", "own_past", "more_users"}:
        assert getattr(one, name).equal(getattr(two, name)), name
    assert not one.share.equal(other.share)


def test_families_are_drawn_as_often_as_weighted_and_regions_by_what_they_recorded():
    half = np.full((80, 2, 2), 2.0)
    half[40:] = np.nan
    cities = [
        numbered_city(traffic=np.full((80, 2, 2), 1.0), name="f/whole", family="f"),
        numbered_city(traffic=half, name="f/half", family="f"),
        numbered_city(traffic=np.full((80, 2, 2), 3.0), name="g"),
    ]
    data = TrainingSet(cities, {"f": 1.0, "g": 1.0}, AugmentConfig(**PLAIN), {"f": 3.0, "g": 1.0})
    batch = data.draw((4, 2, 2), 2000, np.random.default_rng(0))
    level = batch.share.amax(dim=(1, 2, 3)).round().int().tolist()
    count = Counter(level)
    assert count[3] / 2000 == pytest.approx(0.25, abs=0.04)
    assert count[1] / count[2] == pytest.approx(2, rel=0.2)
    assert count[0] < 0.005 * 2000  # hardly a window of nothing


def test_a_city_too_short_for_the_window_is_passed_over_and_if_all_are_that_is_an_error():
    short, long = numbered_city(steps=10, name="f/s", family="f"), numbered_city(steps=50, name="f/l", family="f")
    assert drawn([short, long], (20, 2, 2)).share.shape == (40, 20, 2, 2)
    with pytest.raises(CityError, match=r"60 steps.*shorten"):
        drawn([short, long], (60, 2, 2))


def test_no_city_or_a_weight_for_no_city_is_refused():
    with pytest.raises(CityError, match="no city"):
        TrainingSet([], {}, AugmentConfig())
    with pytest.raises(CityError, match=r"'elsewhere'.*numbered"):
        TrainingSet([numbered_city()], {"numbered": 1.0}, AugmentConfig(), {"elsewhere": 1.0})
