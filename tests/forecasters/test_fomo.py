from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.stats import spearmanr
from torch import Tensor

import fomo
from fomo.city import CityError, make_city, mock_city
from fomo.forecast import Forecast
from fomo.forecasters import fomo as room
from fomo.forecasters.drawing import SamplingConfig
from fomo.forecasters.fomo import FoMo
from fomo.forecasters.noise import member_noise
from fomo.forecasters.protocol import Forecaster
from fomo.model.checkpoint import FORMAT_VERSION, Checkpoint, CheckpointError, save_checkpoint, weights_hash
from fomo.model.transformer import Condition, MaskedDiffusionTransformer
from fomo.sources.synthetic import synthetic_city
from fomo.windows.batch import Batch
from fomo.windows.observation import Observation
from fomo.windows.rhythm import GENERAL
from fomo.windows.task import Task, fill_task, forecast_task, generate_task
from small import usual_users

Model = Callable[..., FoMo]
QUICK = {"steps": 3}


def described(network: MaskedDiffusionTransformer, **changes: Any) -> Checkpoint:
    return Checkpoint(**({"format_version": FORMAT_VERSION, "name": "small", "model": network.config} | changes))


@pytest.fixture
def model(small_network) -> Model:
    """A small random network as a forecaster; keywords are those of the sampling and, as `about`, the checkpoint."""

    def make(
        about: dict[str, Any] | None = None, network: MaskedDiffusionTransformer | None = None, **sampling: Any
    ) -> FoMo:
        network = network or small_network(seed=5)
        return FoMo(network, described(network, **(about or {})), sampling=SamplingConfig(**(QUICK | sampling)))

    return make


def close(one: Forecast, other: Forecast) -> None:
    """The same members within 1e-4 of the largest."""
    largest = float(np.nanmax(one.samples.values))
    np.testing.assert_allclose(one.samples.values, other.samples.values, rtol=1e-4, atol=1e-4 * largest)


def with_gaps(city: xr.Dataset, share: float = 0.2, seed: int = 0) -> xr.Dataset:
    """The city with values not recorded here and there, and one cell never covered."""
    random = np.random.default_rng(seed)
    traffic = city["traffic"].values.copy()
    traffic[random.random(traffic.shape) < share] = np.nan
    covered = np.ones(traffic.shape[1:], bool)
    traffic[:, -1, -1], covered[-1, -1] = np.nan, False
    return city.assign(traffic=(("time", "y", "x"), traffic), covered=(("y", "x"), covered))


def tasks_of(city: xr.Dataset, reference: float | None = None) -> list[Task]:
    """Windows of a city with other masks, of two lengths."""
    area = np.zeros((city.sizes["y"], city.sizes["x"]), bool)
    area[:2, 1] = True
    return [
        forecast_task(city.isel(time=slice(0, 48)), 16, 48, reference=reference),
        forecast_task(city.isel(time=slice(20, 68)), 16, 48, reference=reference),
        generate_task(city.isel(time=slice(0, 64)), area, reference=reference),
        fill_task(with_gaps(city.isel(time=slice(5, 69))), reference=reference),
        forecast_task(city, 4, 16, reference=reference),
    ]


# ---------------------------------------------------------------- what a forecast is


def test_a_forecast_continues_the_city_in_its_unit_and_at_its_step(model):
    city = mock_city(steps=60, step_minutes=30)
    forecast = model().forecast(city, horizon=7, samples=5)
    assert forecast.samples.dims == ("sample", "time", "y", "x")
    assert forecast.samples.shape == (5, 7, 4, 4)
    step = np.timedelta64(30, "m")
    expected = city["time"].values[-1] + step * np.arange(1, 8)
    np.testing.assert_array_equal(forecast.samples["time"], expected)
    np.testing.assert_array_equal(forecast.samples["y"], city["y"])
    assert forecast.samples.attrs["units"] == city.attrs["unit"]
    assert forecast.asked.values.all()
    attributes = forecast.attrs
    assert (attributes["city"], attributes["forecaster"], attributes["context"]) == ("mock", "FoMo", "none")
    assert (attributes["weights"], attributes["sampler"], attributes["sampling_steps"]) == ("small", "angle", 3)


def test_a_fomo_is_a_forecaster(model):
    assert isinstance(model(), Forecaster)
    assert model({"trained_on": ("a", "b[:80]")}).trained_on == ("a", "b[:80]")


def test_members_are_finite_never_negative_and_differ(model):
    samples = model().forecast(mock_city(), samples=6).samples.values
    assert np.isfinite(samples).all()
    assert (samples >= 0).all()
    assert samples.std(0).mean() > 0.01 * samples.mean()


@pytest.mark.parametrize("factor", [1e-6, 1e9])
def test_another_unit_gives_the_same_forecast_in_that_unit(model, factor):
    city = mock_city()
    other = city.assign(traffic=city["traffic"] * np.float32(factor)).assign_attrs(unit="another")
    one, two = model().forecast(city, samples=3), model().forecast(other, samples=3)
    np.testing.assert_allclose(two.samples.values / factor, one.samples.values, rtol=1e-3, atol=1e-4)


# ---------------------------------------------------------------- seeds, batches, members


@pytest.mark.parametrize(
    ("sampler", "process"), [("angle", "residual"), ("multistep", "residual"), ("heun", "residual"), ("ddpm", "paper")]
)
def test_the_same_seed_gives_the_same_members_and_another_seed_others(model, sampler, process):
    forecaster = model({"process": process}, sampler=sampler)
    city = mock_city()
    one, two, other = (forecaster.forecast(city, samples=4, seed=seed) for seed in (1, 1, 2))
    assert one.dataset.identical(two.dataset)
    assert not np.allclose(one.samples.values, other.samples.values)


def test_whatever_else_draws_random_numbers_does_not_matter(model):
    forecaster, city = model(), mock_city()
    torch.manual_seed(0)
    one = forecaster.forecast(city, samples=2)
    torch.manual_seed(99)
    assert one.dataset.identical(forecaster.forecast(city, samples=2).dataset)


@pytest.mark.parametrize("tile", [(8, 8), (4, 4)])
@pytest.mark.parametrize("reference", [None, 30.0])
def test_tasks_are_answered_the_same_alone_and_together(model, tile, reference):
    tasks = tasks_of(mock_city(steps=80, height=5, width=6), reference)
    together = model(tile=tile, overlap=2).forecast_tasks(tasks, 3, seed=1)
    assert len(together) == len(tasks)
    for task, answer in zip(tasks, together, strict=True):
        (alone,) = model(tile=tile, overlap=2).forecast_tasks([task], 3, seed=1)
        close(alone, answer)
        np.testing.assert_array_equal(answer.asked.values, task.asked)


@pytest.mark.parametrize("tile", [(8, 8), (4, 4)])
@pytest.mark.parametrize("rows", [1, 2, 5, 17])
def test_the_answer_does_not_depend_on_how_much_passes_the_network_at_once(model, rows, tile):
    tasks = tasks_of(mock_city(steps=80, height=5, width=6))
    many = model(rows=256, tile=tile, overlap=2).forecast_tasks(tasks, 3, seed=1)
    few = model(rows=rows, tile=tile, overlap=2).forecast_tasks(tasks, 3, seed=1)
    for one, other in zip(many, few, strict=True):
        close(one, other)


def test_members_come_in_pairs_of_opposite_noise(monkeypatch):
    noise = member_noise((3, 2, 2), 5, seed=4, antithetic=True)
    assert noise.shape == (5, 3, 2, 2)
    torch.testing.assert_close(noise[1], -noise[0])
    torch.testing.assert_close(noise[3], -noise[2])
    assert not torch.allclose(noise[4].abs(), noise[2].abs())
    independent = member_noise((3, 2, 2), 5, seed=4, antithetic=False)
    assert not torch.allclose(independent[1], -independent[0])
    assert float(member_noise((50, 20, 20), 2, 0, True).std()) == pytest.approx(1, abs=0.02)


def test_more_members_begin_with_the_same_ones(model):
    city = mock_city()
    few, many = model().forecast(city, samples=4), model().forecast(city, samples=10)
    largest = float(many.samples.max())
    np.testing.assert_allclose(many.samples.values[:4], few.samples.values, rtol=1e-4, atol=1e-4 * largest)


def test_opposite_noise_makes_the_mean_of_a_linear_network_exact(small_network):
    """With F linear in the noise, a pair's mean is the encoder's mean: what antithetic members are for."""
    network = Cellwise(small_network().config)
    forecaster = FoMo(network, described(network), sampling=SamplingConfig(**QUICK))
    city = mock_city(steps=60)
    pairs = forecaster.forecast(city, samples=4).samples.values
    np.testing.assert_allclose((pairs[0] + pairs[1]) / 2, (pairs[2] + pairs[3]) / 2, rtol=1e-3)


# ---------------------------------------------------------------- tiles


class Cellwise(MaskedDiffusionTransformer):
    """A network that treats every cell by itself, so that all tiles agree about it."""

    def encode(self, batch: Batch, observation: Observation, denoised: slice = slice(None)) -> Condition:
        rows, time, height, width = batch.share.shape
        nothing = torch.zeros(rows, 1, 0, self.config.width)
        return Condition(
            mean=0.05 * observation.known.sum(1),
            log_scale=-3 + 0.1 * observation.spread[:, None].expand(rows, time, height, width),
            projected=nothing,
            adapt=(nothing,),
            hidden=batch.hidden,
            turn=torch.zeros(2, rows, 0, 4),
            attend=None,
            kept=torch.zeros(0, dtype=torch.int64),
        )

    def denoise(self, noised: Tensor, noise_label: Tensor, condition: Condition) -> Tensor:
        return 0.3 * noised * torch.exp(condition.log_scale)[:, None] + 0.1 * noise_label * noised


@pytest.mark.parametrize("process", ["residual", "paper"])
@pytest.mark.parametrize(("tile", "overlap"), [((4, 4), 2), ((3, 5), 1), ((4, 4), 0), ((2, 2), 4)])
def test_where_all_tiles_agree_there_is_no_seam(small_network, process, tile, overlap):
    network = Cellwise(small_network().config)
    city = with_gaps(mock_city(steps=60, height=9, width=11))

    def forecast(**sampling: Any) -> Forecast:
        about = described(network, process=process)
        forecaster = FoMo(network, about, sampling=SamplingConfig(**QUICK, **sampling))
        return forecaster.forecast(city, horizon=6, samples=3)

    whole, tiles = forecast(tile=(20, 20), overlap=0), forecast(tile=tile, overlap=overlap)
    assert float(whole.samples.std()) > 0
    close(whole, tiles)


@pytest.mark.parametrize("overlap", [0, 4])
def test_a_city_that_fits_in_a_tile_is_forecast_the_same_whatever_the_tile(model, overlap):
    city = mock_city(steps=60, height=5, width=3)
    exact = model(tile=(5, 3), overlap=0).forecast(city, samples=2)
    larger = model(tile=(16, 16), overlap=overlap).forecast(city, samples=2)
    np.testing.assert_array_equal(exact.samples.values, larger.samples.values)


def test_a_city_larger_than_a_tile_is_forecast_whole_with_a_real_network(model):
    city = with_gaps(mock_city(steps=60, height=13, width=10), share=0.05)
    samples = model().forecast(city, horizon=5, samples=2).samples
    assert samples.shape == (2, 5, 13, 10)
    assert np.isfinite(samples.values[..., city["covered"].values]).all()


def test_an_area_in_one_corner_of_a_large_city_leaves_tiles_with_nothing_to_do(model):
    city = mock_city(steps=40, height=13, width=14)
    area = np.zeros((13, 14), bool)
    area[:2, :2] = True
    forecast = model(tile=(4, 4), overlap=2).generate(city, area, samples=2)
    assert np.isfinite(forecast.samples.values).all()
    few = model(tile=(4, 4), overlap=2, rows=1).generate(city, area, samples=2)
    close(forecast, few)


# ---------------------------------------------------------------- fill and generate


def test_filling_leaves_recorded_values_untouched_and_fills_the_rest_of_the_covered_cells(model):
    city = with_gaps(mock_city(steps=100))
    forecast = model().fill(city, samples=3)
    traffic = city["traffic"].values
    recorded = np.isfinite(traffic)
    samples = forecast.samples.values
    assert samples.shape == (3, *traffic.shape)
    for member in samples:
        np.testing.assert_array_equal(member[recorded], traffic[recorded])
    gaps = ~recorded & city["covered"].values
    np.testing.assert_array_equal(forecast.asked.values, gaps)
    assert np.isfinite(samples[:, gaps]).all()
    assert (samples[:, gaps] >= 0).all()
    assert np.isnan(samples[:, ~recorded & ~gaps]).all()  # never covered: not forecast


def test_a_gap_that_lies_late_in_a_long_record_is_filled_too(model):
    city = mock_city(steps=200)
    traffic = city["traffic"].values.copy()
    traffic[100:105, 1, 1] = np.nan
    forecast = model().fill(city.assign(traffic=city["traffic"].copy(data=traffic)), samples=3)
    assert forecast.asked.values.sum() == 5 and np.isfinite(forecast.samples.values).all()
    assert forecast.attrs["context"] == "none"


@pytest.mark.parametrize("step_minutes", [720, 1440])
@pytest.mark.parametrize("horizon", [1, 16, 48, 60])
def test_steps_of_half_days_and_of_days_are_forecast(model, step_minutes, horizon):
    city = mock_city(steps=120, step_minutes=step_minutes)
    forecast = model().forecast(city, horizon, samples=2)
    assert forecast.samples.shape[:2] == (2, horizon) and np.isfinite(forecast.samples.values).all()


def test_filling_a_city_without_gaps_is_refused(model):
    with pytest.raises(CityError, match="nothing is missing"):
        model().fill(mock_city(steps=80))


def test_a_window_in_which_nothing_is_recorded_is_refused_where_no_other_day_knows_its_hours(model):
    city = mock_city(steps=90, step_minutes=15)  # under a day: no hour was recorded twice
    traffic = city["traffic"].values.copy()
    traffic[20:] = np.nan
    city = city.assign(traffic=(("time", "y", "x"), traffic))
    with pytest.raises(CityError, match=r"nothing is recorded in 'mock' from 2024-01-01T06:30 .*cut the city there"):
        model().fill(city, samples=2)


def test_a_gap_that_is_longer_than_a_window_is_filled_from_the_days_around_it():
    city = synthetic_city(days=6, step_minutes=15, height=4, width=4, seed=3)
    traffic = city["traffic"].values.copy()
    gap = np.zeros(traffic.shape, bool)
    busiest = np.unravel_index(np.nanmean(traffic, 0).argmax(), (4, 4))
    gap[190:330, *busiest] = True
    hidden = city.assign(traffic=city["traffic"].copy(data=np.where(gap, np.nan, traffic)))
    members = fomo.load().fill(hidden, samples=20).samples.values[:, gap]
    alone = fomo.load().without_hindcasts().fill(hidden, samples=20).samples.values[:, gap]
    error, error_alone = (np.abs(each.mean(0) - traffic[gap]).mean() for each in (members, alone))
    assert error < 0.7 * error_alone
    assert abs(members.mean() / traffic[gap].mean() - 1) < 0.2
    assert members.std(0).mean() < 0.5 * traffic[gap].mean()  # its level is known: no member has one of its own


def test_a_time_of_which_nothing_is_recorded_is_filled_from_other_days(model):
    city = mock_city(steps=24 * 9)
    traffic = city["traffic"].values.copy()
    traffic[60:140] = np.nan
    found = model().fill(city.assign(traffic=(("time", "y", "x"), traffic)), samples=4)
    assert np.isfinite(found.samples.values).all() and found.asked.values.sum() == 80 * 16


def test_filling_does_not_look_at_what_it_fills_and_says_what_it_believed(model):
    city = mock_city(steps=24 * 8)
    gap = np.zeros(city["traffic"].shape, bool)
    gap[70:90, 0, 0] = gap[120:125, 2, 1] = True
    hidden = city.assign(traffic=city["traffic"].where(~gap))
    found = model().fill(hidden, samples=4)
    assert found.attrs["hindcasts"] >= 1 and "own_past" in found.attrs["blend"]
    shorter = hidden.isel(time=slice(0, 24 * 7))
    other = shorter.assign(traffic=shorter["traffic"] * 2)
    np.testing.assert_allclose(
        model().fill(other, samples=4).samples.values, 2 * model().fill(shorter, samples=4).samples.values, rtol=1e-4
    )


def test_what_any_window_was_told_is_said_of_the_whole(reader):
    city = synthetic_city(days=8, height=4, width=4)
    traffic, users = city["traffic"].copy(), city["users"].copy()
    traffic[70, 1, 1] = traffic[150, 2, 2] = np.nan
    users[:100] = np.nan
    bare = city.drop_vars([name for name in ("poi", "residents") if name in city])
    found = reader().fill(bare.assign(traffic=traffic, users=users), samples=2)
    assert found.attrs["context"] == "full" and found.attrs["context_layers"] == "users"


def test_generating_leaves_the_other_cells_untouched(model):
    city = mock_city(steps=100, height=5, width=3)
    area = np.zeros((5, 3), bool)
    area[1:3, 1:] = True
    forecast = model().generate(city, area, samples=3)
    np.testing.assert_array_equal(forecast.asked.values, np.broadcast_to(area, (100, 5, 3)))
    for member in forecast.samples.values:
        np.testing.assert_array_equal(member[:, ~area], city["traffic"].values[:, ~area])
        assert np.isfinite(member).all()
        assert (member >= 0).all()
        assert not np.allclose(member[:, area], city["traffic"].values[:, area])


def test_a_cell_without_history_has_one_level_in_all_windows_of_a_member(model):
    city = mock_city(24 * 6)
    area = np.zeros((4, 4), bool)
    area[1:3, 1:3] = True
    members = model().generate(city, area, samples=64).samples.values[:, :, 1:3, 1:3]
    early, late = (part.mean(1).reshape(64, -1) for part in (members[:, :64], members[:, 64:128]))
    together = [spearmanr(early[:, cell], late[:, cell]).statistic for cell in range(4)]
    assert min(together) > 0.6
    cells = np.corrcoef(early.T)
    assert np.abs(cells[~np.eye(4, dtype=bool)]).max() < 0.5  # each cell its own


def test_generating_does_not_look_at_what_it_generates(model):
    """The area's own traffic, if the city has it, sets nothing: neither values nor their scale."""
    city = mock_city(steps=70)
    area = np.zeros((4, 4), bool)
    area[:2, :2] = True
    traffic = city["traffic"].values.copy()
    traffic[:, area] *= 50
    other = city.assign(traffic=(("time", "y", "x"), traffic))
    one, two = model().generate(city, area, samples=2), model().generate(other, area, samples=2)
    np.testing.assert_array_equal(one.samples.values[:, :, area], two.samples.values[:, :, area])


def test_a_forecast_does_not_look_at_what_it_forecasts(model):
    """The same history in two cities whose futures differ."""
    city = mock_city(steps=120)
    model_ = model({"references": {"mock": 40.0}})
    shorter = city.isel(time=slice(0, 100))
    task = forecast_task(shorter, 16, 48, reference=40.0)
    (answer,) = model_._answer_all([task], 2, [0])
    direct = model_.forecast(shorter, horizon=16, history=48, samples=2)
    np.testing.assert_array_equal(answer.samples.values[:, 48:], direct.samples.values)
    assert np.isnan(task.window["traffic"].values[48:]).all()


@pytest.mark.parametrize("area", [np.zeros((4, 4), bool), np.ones((3, 4), bool)])
def test_an_area_that_is_empty_or_not_on_the_grid_is_refused(model, area):
    with pytest.raises(CityError, match="area"):
        model().generate(mock_city(), area)


def test_every_window_has_noise_of_its_own_whoever_is_asked_with_it(model):
    """Were it shared, a few draws would rule what members of all windows look like."""
    city = mock_city(steps=120)
    tasks = [forecast_task(city.isel(time=slice(0, end)), 16, 48, reference=40.0) for end in (96, 97)]
    forecaster = model()
    together = [each.samples.values for each in forecaster.forecast_tasks(tasks, 4, seed=0)]
    alone = forecaster.forecast_tasks(tasks[1:], 4, seed=0)[0].samples.values
    np.testing.assert_allclose(together[1], alone, rtol=1e-4, atol=1e-5)
    spread = [(each - each.mean(0))[:, 48:] for each in together]
    assert abs(np.corrcoef(spread[0].ravel(), spread[1].ravel())[0, 1]) < 0.5


# ---------------------------------------------------------------- any city, any horizon


@pytest.mark.parametrize("minutes", [15, 30, 60])
@pytest.mark.parametrize("size", [(5, 3), (1, 1), (9, 2)])
def test_any_step_and_any_size_of_city_works(model, minutes, size):
    city = mock_city(steps=70, height=size[0], width=size[1], step_minutes=minutes)
    forecast = model().forecast(city, horizon=5, samples=2)
    assert forecast.samples.shape == (2, 5, *size)
    assert np.isfinite(forecast.samples.values).all()


@pytest.mark.parametrize("horizon", [1, 48, 49, 100])
def test_any_horizon_works_and_a_long_one_goes_on_from_each_member(model, horizon):
    city = with_gaps(mock_city(steps=90, height=2, width=3), share=0.05)
    forecast = model().forecast(city, horizon=horizon, samples=3)
    covered = city["covered"].values
    assert forecast.samples.shape == (3, horizon, 2, 3)
    assert np.isfinite(forecast.samples.values[..., covered]).all()
    assert np.isnan(forecast.samples.values[..., ~covered]).all()
    assert (forecast.samples.values[..., covered] >= 0).all()
    expected = city["time"].values[-1] + np.timedelta64(60, "m") * np.arange(1, horizon + 1)
    np.testing.assert_array_equal(forecast.samples["time"], expected)
    np.testing.assert_array_equal(forecast.asked.values, np.broadcast_to(covered, (horizon, 2, 3)))
    assert forecast.dataset.identical(model().forecast(city, horizon=horizon, samples=3).dataset)


def test_a_long_horizon_begins_with_the_forecast_of_its_first_block(model):
    city = mock_city(steps=90, height=2, width=2)
    long, short = model().forecast(city, 60, samples=2), model().forecast(city, 48, samples=2)
    np.testing.assert_array_equal(long.samples.values[:, :48], short.samples.values)


def test_the_second_block_follows_each_members_own_first_block(model, monkeypatch):
    """Each member is asked again with its own path as history."""
    city, forecaster = mock_city(steps=90, height=2, width=2), model()
    asked: list[Task] = []
    answer = forecaster._answer
    monkeypatch.setattr(forecaster, "_answer", lambda tasks, *rest: asked.extend(tasks) or answer(tasks, *rest))
    forecast = forecaster.forecast(city, horizon=60, samples=3)
    assert len(asked) == 1 + 3
    for member, task in enumerate(asked[1:]):
        seen = task.window["traffic"].values[:16]
        np.testing.assert_array_equal(seen, forecast.samples.values[member, 32:48])
    blind = forecast_task(city, 12, 16)
    together = forecaster._answer_all([blind, blind, blind], 1, [4, 5, 4])
    for seed, found in zip([4, 5, 4], together, strict=True):
        alone = forecaster._answer_all([blind], 1, [seed])[0]
        np.testing.assert_allclose(found.samples.values, alone.samples.values, rtol=1e-4, atol=1e-5)
    assert not np.allclose(together[0].samples.values, together[1].samples.values)


@pytest.mark.parametrize("history", [20, 100])
@pytest.mark.parametrize("horizon", [10, 60])
@pytest.mark.filterwarnings("ignore:a history of")
def test_a_history_longer_than_the_city_is_what_the_city_has(model, history, horizon):
    city = mock_city(steps=20, height=2, width=2)
    forecast = model().forecast(city, horizon=horizon, history=history, samples=2)
    assert forecast.samples.shape == (2, horizon, 2, 2)
    assert np.isfinite(forecast.samples.values).all()


def test_a_city_of_one_step_is_enough_of_a_history(model):
    assert np.isfinite(model().forecast(mock_city(steps=1), horizon=3, samples=2).samples.values).all()


@pytest.mark.parametrize("horizon", [0, -3])
def test_a_horizon_below_one_step_is_refused(model, horizon):
    with pytest.raises(CityError, match=f"horizon is {horizon} steps; it must be at least 1"):
        model().forecast(mock_city(), horizon=horizon)


def test_a_history_of_nothing_recorded_is_refused_with_a_remedy(model):
    city = mock_city(steps=80)
    late = city["traffic"].values.copy()
    late[30:] = np.nan
    with pytest.raises(CityError, match=r"last 48 steps of 'mock' hold no recorded traffic.*fomo city append"):
        model().forecast(city.assign(traffic=(("time", "y", "x"), late)), horizon=16)


def test_a_city_of_nothing_recorded_or_of_zeros_is_refused(model):
    for traffic, fault in ((np.full((60, 2, 2), np.nan), "no traffic is recorded"), (np.zeros((60, 2, 2)), "zero")):
        city = make_city(traffic, name="empty", start="2024-01-01", step_minutes=60, covered=np.ones((2, 2), bool))
        with pytest.raises(CityError, match=fault):
            model().forecast(city)


def test_what_is_no_city_is_refused(model):
    with pytest.raises(CityError):
        model().forecast(mock_city().drop_attrs())


# ---------------------------------------------------------------- scale, week, temperature


def test_the_reference_of_a_known_family_is_the_stored_one_and_of_another_its_own(model):
    city = mock_city()
    known = model({"references": {"mock": 123.0}})
    assert known.reference(city) == 123.0
    assert known.forecast(city, samples=2).attrs["reference"] == 123.0
    stranger = city.assign_attrs(family="stranger")
    assert known.reference(stranger) == pytest.approx(np.percentile(city["traffic"].values, 99.99))
    one, other = known.forecast(city, samples=2), known.forecast(stranger, samples=2)
    assert not np.allclose(one.samples.values, other.samples.values)


def test_last_week_is_told_where_the_city_has_it_and_can_be_withheld(model):
    city = mock_city(steps=200)
    told, withheld = (model().forecast(city, samples=2, past_week=past_week) for past_week in (True, False))
    assert not np.allclose(told.samples.values, withheld.samples.values)
    short = city.isel(time=slice(160, None))  # less than two days, of which nothing is said without the network
    one, other = (model().forecast(short, samples=2, past_week=past_week) for past_week in (True, False))
    np.testing.assert_array_equal(one.samples.values, other.samples.values)


def test_a_higher_temperature_spreads_the_members_around_the_same_middle(model):
    city = mock_city(steps=47)  # of a longer past, its errors say how wide members are
    cool, hot = (model({"temperature": t}).forecast(city, samples=40).samples.values for t in (0.05, 0.1))
    free = (hot > 0).all(0)  # no member stands at zero, so nothing is cut off
    assert free.mean() > 0.2
    cool, hot = cool[:, free], hot[:, free]
    np.testing.assert_allclose(hot.std(0), 2 * cool.std(0), rtol=1e-3)
    middle = 2 * cool - hot  # the same for every member
    np.testing.assert_allclose(middle, np.broadcast_to(middle[:1], middle.shape), rtol=1e-3, atol=1e-4)


def test_a_cell_that_never_carried_anything_is_forecast_as_zero_or_real_traffic(model):
    city = mock_city()
    traffic = city["traffic"].values.copy()
    traffic[:, 0, 0] = 0
    forecaster = model({"references": {"mock": 1000.0}})
    samples = forecaster.forecast(city.assign(traffic=(("time", "y", "x"), traffic)), samples=8).samples.values
    silent = samples[:, :, 0, 0]
    assert (silent == 0).any()
    assert (silent[silent > 0] >= 0.001 * 1000 * (1 - 1e-5)).all()


# ---------------------------------------------------------------- loading


def test_a_saved_model_forecasts_what_it_forecast_before(model, tmp_path):
    city, forecaster = mock_city(), model()
    folder = save_checkpoint(tmp_path / "mine", forecaster.network, forecaster.checkpoint)
    loaded = fomo.load(folder, sampling=forecaster.sampling)
    one, other = forecaster.forecast(city, samples=2), loaded.forecast(city, samples=2)
    np.testing.assert_array_equal(one.samples.values, other.samples.values)
    assert other.attrs["weights_sha256"] == weights_hash(folder)


def test_weights_that_are_neither_a_folder_nor_shipped_are_refused_with_those_there_are(monkeypatch, tmp_path):
    monkeypatch.setattr(room, "__file__", str(tmp_path / "forecasters" / "fomo.py"))
    with pytest.raises(CheckpointError, match=r"fomo-huge is neither .* shipped are: none"):
        fomo.load("fomo-huge")
    for name in ("fomo-tiny", "fomo-5m"):
        (tmp_path / "weights" / name).mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"fomo-huge is neither .* shipped are: fomo-5m, fomo-tiny"):
        fomo.load("fomo-huge")


def test_shipped_weights_are_loaded_by_name(monkeypatch, tmp_path, model):
    forecaster = model()
    save_checkpoint(tmp_path / "weights" / "fomo-mine", forecaster.network, forecaster.checkpoint)
    monkeypatch.setattr(room, "__file__", str(tmp_path / "forecasters" / "fomo.py"))
    assert fomo.load("fomo-mine").checkpoint == forecaster.checkpoint


def test_weights_whose_writer_died_between_the_renames_are_recovered(tmp_path, model):
    forecaster = model()
    folder = save_checkpoint(tmp_path / "mine", forecaster.network, forecaster.checkpoint)
    folder.rename(tmp_path / ".mine.old")
    assert fomo.load(folder).checkpoint == forecaster.checkpoint


def test_the_ddpm_sampler_is_refused_for_weights_of_the_residual_process(model):
    with pytest.raises(CheckpointError, match="angle, heun or multistep"):
        model(sampler="ddpm")


def test_every_shipped_model_can_be_loaded_and_forecasts():
    shipped = Path(room.__file__).parent.parent / "weights"
    names = sorted(path.name for path in shipped.iterdir() if path.is_dir()) if shipped.exists() else []
    assert names or not shipped.exists()
    for name in names:
        samples = fomo.load(name).forecast(mock_city(steps=60), horizon=4, samples=2).samples.values
        assert np.isfinite(samples).all()
        assert sum(path.stat().st_size for path in (shipped / name).iterdir()) < 11e6


def test_weights_beside_the_package_can_be_loaded_and_no_file_of_them_is_large():
    folder = Path(room.__file__).parents[3] / "weights/fomo-5m"
    found = fomo.load(folder)
    assert found.checkpoint.name == "fomo-5m" and found.reads_context
    assert np.isfinite(found.forecast(mock_city(steps=60), horizon=4, samples=2).samples.values).all()
    assert max(path.stat().st_size for path in folder.iterdir()) < 10e6


@pytest.mark.parametrize(("arguments", "message"), [({"history": 0}, "history is 0"), ({"samples": 0}, "0 samples")])
def test_a_history_or_an_ensemble_of_nothing_is_refused(model, arguments, message):
    with pytest.raises(CityError, match=message):
        model().forecast(mock_city(steps=80), **arguments)


# ---------------------------------------------------------------- the rhythm


def test_the_rhythm_is_the_cells_own_where_its_past_is_known_else_its_familys_else_that_of_all(model):
    day = np.linspace(0.1, 1.9, 24)
    about = {"rhythms": {"mock": tuple(np.tile(day, 7)), GENERAL: tuple(np.tile(day[::-1], 7))}}

    def rhythm(task, **kept):
        return model(kept).window(task, 1.0)["rhythm"]

    city = mock_city(steps=64)  # from midnight; the window begins at 16:00
    blind = forecast_task(city, 16, 48, past_week=False)
    usual = rhythm(blind, **about)
    np.testing.assert_allclose(usual[:, 1, 2], np.tile(day, 5)[16 : 16 + 64], rtol=1e-6)
    other = city.assign_attrs(family="elsewhere")
    np.testing.assert_allclose(rhythm(forecast_task(other, 16, 48, past_week=False), **about), 2 - usual)
    own = rhythm(forecast_task(city, 16, 24), **about)
    assert np.ptp(own, axis=(1, 2)).max() > 0  # every cell has its own
    assert (rhythm(blind) == 1).all()  # weights that store none


def test_what_happened_before_the_window_moves_the_forecast(model):
    city = mock_city(steps=120)
    changed = city.copy()
    changed["traffic"] = city["traffic"].copy()
    changed["traffic"][:24] = city["traffic"][:24][::-1].values
    one, other = (model().forecast(c, 16, samples=2) for c in (city, changed))
    assert not np.allclose(one.samples.values, other.samples.values)
    one, other = (model().forecast(c, 16, samples=2, past_week=False) for c in (city, changed))
    close(one, other)


# ---------------------------------------------------------------- users, POI and residents


CONTEXT_LAYERS = ("users", "poi", "residents")


def town(steps: int = 80, height: int = 4, width: int = 4, seed: int = 0) -> xr.Dataset:
    """A city with users, POI and residents."""
    random = np.random.default_rng(seed)
    users = random.gamma(4.0, 10.0, (steps, height, width))
    return make_city(
        users * random.lognormal(0.0, 0.2, users.shape), users=users,
        poi=random.integers(0, 9, (2, height, width)), poi_names=["shopping", "finance"],
        residents=random.uniform(10, 90, (height, width)),
        name="town", start="2024-01-01T00:00", step_minutes=60, cell_km=1.0,
    )  # fmt: skip


@pytest.fixture
def reader(model, small_network) -> Model:
    """Weights that read context, and know what is usual of users everywhere."""

    def make(about: dict[str, Any] | None = None, **sampling: Any) -> FoMo:
        known = usual_users()
        return model(known | (about or {}), network=small_network(seed=5, context=True), **sampling)

    return make


def told(forecast: Forecast) -> tuple[str, str]:
    return forecast.attrs["context"], forecast.attrs["context_layers"]


def test_a_forecast_says_which_context_it_used(reader):
    city, ahead = town(), np.full((16, 4, 4), 40.0)
    forecaster = reader()
    assert told(forecaster.forecast(city, samples=2)) == ("past", "users, poi, residents")
    assert told(forecaster.forecast(city, samples=2, context="none")) == ("none", "")
    assert told(forecaster.forecast(city, samples=2, context="full", users_ahead=ahead)) == (
        "full",
        "users, poi, residents",
    )
    bare = city.drop_vars(CONTEXT_LAYERS)
    assert told(forecaster.forecast(bare, samples=2)) == ("none", "")
    without_users = city.drop_vars("users")
    assert told(forecaster.forecast(without_users, samples=2, context="full")) == ("past", "poi, residents")


def test_without_context_a_city_is_forecast_as_if_it_had_none(reader):
    city = town()
    forecaster = reader()
    one = forecaster.forecast(city, samples=3, context="none")
    other = forecaster.forecast(city.drop_vars(CONTEXT_LAYERS), samples=3)
    np.testing.assert_array_equal(one.samples.values, other.samples.values)


@pytest.mark.parametrize("layer", CONTEXT_LAYERS)
def test_every_layer_of_the_context_moves_the_forecast(reader, layer):
    city = town()
    ramp = np.linspace(0.2, 3.0, 4, dtype=np.float32)
    changed = city.assign({layer: city[layer] * ramp[:, None]})
    before, after = (reader().forecast(some, samples=3).samples.values for some in (city, changed))
    assert not np.allclose(before, after, rtol=1e-3)


def test_assumed_users_move_a_forecast(reader):
    city, few, many = town(), np.full((16, 4, 4), 5.0), np.full((16, 4, 4), 60.0)
    one, other = (reader().forecast(city, samples=3, context="full", users_ahead=ahead) for ahead in (few, many))
    assert not np.allclose(one.samples.values, other.samples.values, rtol=1e-3)


def test_three_times_the_users_are_three_times_the_traffic_in_the_busiest_cell_too():
    """Its users were cut at what counts as full in a city: 2.4 times in a region of Nanjing, and 2.9 elsewhere."""
    city = synthetic_city(days=9, height=4, width=4)
    week = city["users"].values[-7 * 24 :][:16]
    weights = fomo.load()
    usual, more = (
        weights.forecast(city, samples=4, context="full", users_ahead=factor * week).mean.sum("time").values
        for factor in (1.0, 3.0)
    )
    busiest = np.unravel_index(np.nanargmax(city["users"].values.mean(0)), usual.shape)
    assert week.max() * 3 > 1.5 * city["users"].values.max()
    assert more[busiest] / usual[busiest] > 0.93 * more.sum() / usual.sum()


def test_half_as_many_users_again_are_half_as_much_traffic_again_whatever_the_past_says(reader):
    city = synthetic_city(days=9, height=4, width=4)
    week = city["users"].values[-7 * 24 :][:16]
    weights = fomo.load()
    usual, more = (
        weights.forecast(city, samples=4, context="full", users_ahead=factor * week).mean.sum().item()
        for factor in (1.0, 1.5)
    )
    assert 1.35 < more / usual < 1.55
    assert reader().forecast(city, samples=2, context="full", users_ahead=week).attrs["context"] == "full"


def test_asking_with_full_context_without_assumed_users_is_refused_with_both_ways_out(reader):
    with pytest.raises(CityError, match=r"users_ahead .*or ask with context 'past'"):
        reader().forecast(town(), context="full")


def test_weights_that_do_not_read_context_use_none_and_say_so(model):
    city = town()
    area = np.zeros((4, 4), bool)
    area[1, 1:3] = True
    forecaster = model()
    assert not forecaster.reads_context
    for forecast in (forecaster.forecast(city, samples=3), forecaster.generate(city, area, samples=3)):
        assert told(forecast) == ("none", "")
    bare = forecaster.forecast(city.drop_vars(CONTEXT_LAYERS), samples=3)
    np.testing.assert_array_equal(bare.samples.values, forecaster.forecast(city, samples=3).samples.values)


def test_users_in_another_unit_give_the_same_forecast(reader):
    city = town()
    other = city.assign(users=city["users"] * np.float32(1000))
    one, two = reader().forecast(city, samples=3), reader().forecast(other, samples=3)
    np.testing.assert_allclose(two.samples.values, one.samples.values, rtol=1e-3, atol=1e-3)


def test_the_scale_of_users_is_the_stored_one_of_a_known_family_else_that_of_the_city(reader):
    city = town()
    assert reader({"users_references": {"town": 77.0}}).users_reference(city) == 77.0
    expected = np.percentile(city["users"].values, 99.99)
    assert reader({"users_references": {"other": 77.0}}).users_reference(city) == pytest.approx(expected)
    assert reader().users_reference(city.drop_vars("users")) is None


def asked_of(forecaster: FoMo, monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """All tasks that will be asked."""
    seen: list[Task] = []
    answer = FoMo._answer_all

    def listen(self: FoMo, tasks: Any, *rest: Any) -> list[Forecast]:
        seen.extend(tasks)
        return answer(self, tasks, *rest)

    monkeypatch.setattr(FoMo, "_answer_all", listen)
    return seen


def test_assumed_users_that_are_masked_are_not_known_in_any_block(reader):
    """What was under the mask, 999, was taken for users."""
    city = town()
    ahead = np.ones((64, 4, 4))
    ahead[:, 0, 1] = np.nan
    masked = np.ma.array(np.nan_to_num(ahead, nan=999.0), mask=np.isnan(ahead))
    one, other = (
        reader().forecast(city, 64, samples=2, context="full", users_ahead=users) for users in (ahead, masked)
    )
    np.testing.assert_array_equal(one.samples, other.samples)


def test_where_no_user_is_known_no_context_is_said(reader):
    """It said `past` of users that were NaN throughout."""
    city = town().drop_vars(["poi", "residents", "poi_names"], errors="ignore")
    city["users"][:] = np.nan
    area = np.arange(16).reshape(4, 4) < 2
    for horizon in (16, 64):
        assert told(reader().forecast(city, horizon, samples=2)) == ("none", "")
    assert told(reader().generate(city, area, samples=2)) == ("none", "")


def test_every_block_of_a_long_horizon_knows_the_assumed_users_of_its_own_steps(reader, monkeypatch):
    city = town()
    ahead = np.random.default_rng(1).uniform(1, 60, (100, 4, 4)).astype(np.float32)
    forecaster = reader()
    seen = asked_of(forecaster, monkeypatch)
    forecast = forecaster.forecast(city, horizon=100, samples=2, context="full", users_ahead=ahead)
    assert forecast.samples.shape == (2, 100, 4, 4)
    assert told(forecast) == ("full", "users, poi, residents")
    everything = np.concatenate([city["users"].values, ahead])
    begins = []
    for task in seen:
        start = int((task.window["time"].values[0] - city["time"].values[0]) / np.timedelta64(60, "m"))
        steps = task.window.sizes["time"]
        np.testing.assert_array_equal(task.window["users"].values, everything[start : start + steps])
        np.testing.assert_array_equal(task.users_earlier, everything[:start])
        begins.append(start + int(np.argmax(task.asked.any((1, 2)))) - 80)
    assert begins == [0, 48, 48, 96, 96]  # one task for the first block, then one for each member


def test_the_later_blocks_of_a_long_horizon_know_the_users_of_the_past_alone(reader, monkeypatch):
    city = town()
    forecaster = reader()
    seen = asked_of(forecaster, monkeypatch)
    forecast = forecaster.forecast(city, horizon=60, samples=2)
    assert np.isfinite(forecast.samples.values).all()
    assert told(forecast) == ("past", "users, poi, residents")
    for task in seen[1:]:
        known = np.isfinite(task.window["users"].values).all((1, 2))
        late = task.window["time"].values > city["time"].values[-1]
        assert not known[late].any()
        assert known[~late].all()
        assert np.isnan(task.users_earlier[80:]).all()


def test_generating_uses_the_layers_that_are_asked(reader):
    city = town()
    area = np.zeros((4, 4), bool)
    area[1, 1:3] = True
    full = reader().generate(city, area, samples=3)
    assert told(full) == ("full", "users, poi, residents")
    assert told(reader().generate(city, area, samples=3, context="past")) == ("past", "poi, residents")
    some = reader().generate(city, area, samples=3, layers=("residents",))
    assert told(some) == ("past", "residents")
    assert not np.allclose(full.samples.values[:, :, area], some.samples.values[:, :, area], rtol=1e-3)
    np.testing.assert_array_equal(full.samples.values[0][:, ~area], city["traffic"].values[:, ~area])


def without_traffic(steps: int = 70) -> xr.Dataset:
    city = town(steps)
    city["traffic"][:] = np.nan
    return city


@pytest.mark.parametrize("layers", [("poi",), ("residents",), ("users",), CONTEXT_LAYERS])
def test_a_whole_city_without_traffic_is_generated_from_what_is_known_of_it(reader, layers):
    forecast = reader().generate(without_traffic(), np.ones((4, 4), bool), samples=3, layers=layers)
    assert np.isfinite(forecast.samples.values).all()
    assert (forecast.samples.values >= 0).all()
    assert forecast.samples.values.std() > 0
    assert forecast.attrs["context_layers"] == ", ".join(layers)
    assert forecast.attrs["reference"] == 1.0


def test_a_city_without_traffic_has_the_scale_of_its_family_where_that_is_known(reader):
    everywhere = np.ones((4, 4), bool)
    one = reader({"references": {"other": 50.0}}).generate(without_traffic(), everywhere, samples=3)
    other = reader({"references": {"town": 50.0}}).generate(without_traffic(), everywhere, samples=3)
    np.testing.assert_allclose(other.samples.values, 50 * one.samples.values, rtol=1e-4)
    assert other.attrs["unit"] == other.samples.units == without_traffic().attrs["unit"]


@pytest.mark.parametrize("city", [town(70), without_traffic()], ids=["measured", "without traffic"])
def test_a_whole_city_of_an_unknown_family_is_in_shares_and_its_record_gives_no_scale(reader, city):
    """Shares were called what the record is in, such as GB, and so were 250 times too small."""
    made = reader().generate(city, np.ones((4, 4), bool), samples=3)
    assert made.attrs["unit"] == made.samples.units == "share of full traffic"
    np.testing.assert_array_equal(made.samples, reader().generate(without_traffic(), np.ones((4, 4), bool), 3).samples)
    area = np.arange(16).reshape(4, 4) < 15  # one cell is left, which has a scale
    if np.isfinite(city["traffic"].values).all():
        assert reader().generate(city, area, samples=3).attrs["unit"] == city.attrs["unit"]


def test_generating_a_whole_city_without_context_is_refused_with_a_remedy(reader, model):
    everywhere = np.ones((4, 4), bool)
    for forecaster, options in ((reader(), {"context": "none"}), (reader(), {"layers": ()}), (model(), {})):
        with pytest.raises(CityError, match=r"no context is known.*give some cells with traffic, or users, POI"):
            forecaster.generate(without_traffic(), everywhere, **options)


def test_tasks_with_and_without_context_are_answered_the_same_alone_and_together(reader):
    whole = town(80, 5, 6)
    area = np.zeros((5, 6), bool)
    area[:2, 1] = True
    window = whole.isel(time=slice(0, 64))
    tasks = [
        generate_task(window, area, context="full"),
        generate_task(window, area),
        generate_task(window, area, context="full", layers=("poi",)),
        fill_task(with_gaps(whole.isel(time=slice(5, 69))), context="full"),
        forecast_task(whole.isel(time=slice(0, 48)), 16, 48, context="past"),
    ]
    forecaster = reader(tile=(4, 4), overlap=2)
    together = forecaster.forecast_tasks(tasks, 3, seed=1)
    for task, answer in zip(tasks, together, strict=True):
        (alone,) = forecaster.forecast_tasks([task], 3, seed=1)
        close(alone, answer)
        assert answer.attrs["context"] == task.context


def test_a_city_that_fits_in_a_tile_is_forecast_with_context_the_same_whatever_the_tile(reader):
    close(reader(tile=(4, 4)).forecast(town(), samples=3), reader(tile=(8, 8)).forecast(town(), samples=3))


def test_what_is_generated_with_context_is_not_looked_at(reader):
    city = town()
    area = np.zeros((4, 4), bool)
    area[1:3, 1:3] = True
    other = city.copy(deep=True)
    other["traffic"].values[:, area] *= 7
    one, two = (reader().generate(some, area, samples=3) for some in (city, other))
    np.testing.assert_array_equal(one.samples.values[:, :, area], two.samples.values[:, :, area])


def test_users_that_are_not_known_are_no_zeros(reader):
    """Cells without user counts beside cells with them."""
    city = town()
    gaps = city.copy(deep=True)
    gaps["users"][:, :, 0] = np.nan
    zeros = gaps.assign(users=gaps["users"].fillna(0.0))
    one, other = (reader().forecast(some, samples=3).samples.values for some in (gaps, zeros))
    assert np.isfinite(one).all()
    assert not np.allclose(one, other, rtol=1e-3)
