"""What the past of a city says of the network: weights against an independent solver, widths against closed forms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fomo.city import City, mock_city
from fomo.forecasters import own_past
from fomo.forecasters.blend import (
    EXPERTS,
    FEWEST_HINDCASTS,
    IN_COMMON_WORTH,
    LARGEST_IN_COMMON,
    NARROWEST,
    OWN_PAST_WORTH,
    PAST_ERROR,
    USUAL_WIDTH_WORTH,
    WIDEST,
    Blend,
    Expected,
    _in_common,
    as_wide_as_its_past,
    blend_of,
    blended,
    network_alone,
    unjudged,
)
from fomo.forecasters.drawing import SamplingConfig
from fomo.forecasters.fomo import FoMo, load
from fomo.forecasters.own_past import OwnPast
from fomo.model.checkpoint import FORMAT_VERSION, Checkpoint
from fomo.windows.batch import collate
from fomo.windows.clock import Clock
from fomo.windows.observation import observe
from fomo.windows.records import some_rows
from fomo.windows.task import forecast_task, generate_task, make_task

WEEK = EXPERTS.index("week")


def forecaster(network: Any, process: str = "residual", **sampling: Any) -> FoMo:
    about = Checkpoint(format_version=FORMAT_VERSION, name="small", model=network.config, process=process)
    return FoMo(network, about, sampling=SamplingConfig(**({"steps": 2} | sampling)))


@pytest.fixture
def model(small_network) -> FoMo:
    return forecaster(small_network(seed=5))


def repeating(days: int = 18, height: int = 3, width: int = 3, seed: int = 0) -> City:
    """A city whose weeks are all the same, and like no family's: every hour of the week has a level of its own."""
    random = np.random.default_rng(seed)
    week = random.lognormal(0, 0.8, (168, height, width))
    city = mock_city(24 * days, height, width)
    return city.assign(traffic=city["traffic"].copy(data=np.tile(week, (-(-days // 7), 1, 1))[: 24 * days]))


def said(model: FoMo, city: City, number: int = 8) -> tuple[Expected, torch.Tensor, torch.Tensor]:
    """What a network says of some windows of a city, with the asked traffic zeroed, and what is asked."""
    tasks = [forecast_task(city.isel(time=slice(0, 200 + 12 * i)), 16, 48, reference=20.0) for i in range(number)]
    with torch.inference_mode():
        expected = model.drawing.expected(collate([model.window(task, 20.0) for task in tasks]))
    return expected, torch.zeros_like(expected.mean), torch.from_numpy(np.stack([task.asked for task in tasks]))


# ---------------------------------------------------------------- weights


def test_an_expert_that_is_always_right_is_believed(model):
    expected, _, asked = said(model, repeating())
    right = blended(expected, [Blend(np.eye(len(EXPERTS))[WEEK], 1.0, 8)] * len(asked)).mean
    blend = blend_of(expected, right, asked, network_alone())
    assert blend.describe().startswith("week")
    assert blend.weights[0] < 0.1
    errors = [(mean - right)[asked].square().mean() for mean in (expected.mean, blended(expected, [blend] * 8).mean)]
    assert errors[1] < 0.02 * errors[0]


def test_a_network_that_is_always_right_is_believed(model):
    expected, _, asked = said(model, mock_city(24 * 14))
    truth = expected.mean + 1e-6
    assert blend_of(expected, truth, asked, network_alone()).weights[0] == pytest.approx(1, abs=1e-4)


def test_only_what_is_scored_counts(model):
    expected, truth, asked = said(model, mock_city(24 * 14))
    scored = asked.clone()
    scored[:, :, 0] = False
    spoilt = truth.clone()
    spoilt[~scored] = 1e9
    one, other = blend_of(expected, truth, scored, network_alone()), blend_of(expected, spoilt, scored, network_alone())
    np.testing.assert_array_equal(one.weights, other.weights)
    assert one.width == other.width


# ---------------------------------------------------------------- width


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_width_is_the_error_found_over_the_error_said(model, factor):
    expected, _, asked = said(model, mock_city(24 * 14))
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=expected.mean.shape)).float()
    truth = expected.mean + factor * expected.scale * noise
    blend = blend_of(expected, truth, asked, network_alone())
    error = (blended(expected, [Blend(blend.weights, 1.0, 8)] * len(truth)).mean - truth)[asked].abs().mean()
    said_to_be = expected.scale[asked].mean() * np.sqrt(2 / np.pi)
    ratio = float(error / said_to_be)
    assert blend.width == pytest.approx(ratio ** (8 / (8 + USUAL_WIDTH_WORTH)), rel=1e-4)
    assert factor * 0.5 < ratio < factor * 1.1  # weights may have learned a little of the noise


def test_errors_are_told_over_the_mean_traffic_and_those_of_last_week_beside_them(model):
    expected, _, asked = said(model, repeating())
    week = blended(expected, [Blend(np.eye(len(EXPERTS))[WEEK], 1.0, 8)] * len(asked)).mean
    blend = blend_of(expected, 2 * week, asked, network_alone())
    assert blend.week_error == pytest.approx(0.5)
    mean = blended(expected, [Blend(blend.weights, 1.0, 8)] * len(asked)).mean
    off = (mean - 2 * week)[asked].abs().sum() / (2 * week)[asked].sum()
    assert blend.error == pytest.approx(float(off), rel=1e-4)
    assert set(blend.provenance()) == {
        *("hindcasts", "blend", "width", "in_common"),
        *("hindcast_error", "hindcast_error_last_week"),
    }
    nothing = torch.zeros_like(expected.observation.is_known)
    unknown = Expected(expected.mean, expected.scale, replace(expected.observation, is_known=nothing))
    assert np.isnan(blend_of(unknown, 2 * week, asked, network_alone()).week_error)
    assert set(network_alone().provenance()) == {"hindcasts", "blend", "width", "in_common"}
    weights = np.zeros((16, len(own_past.EXPERTS)))
    weights[:, own_past.EXPERTS.index("week")] = 0.7
    weights[:, 0] = np.linspace(0, 0.6, 16)
    assert unjudged(weights).provenance()["own_past"] == "week 70 %, usual 30 %"
    told = np.pad(0.5 * weights, ((0, 0), (0, len(own_past.OF_USERS))))
    told[:, -1] = 0.5
    assert unjudged(told).provenance()["own_past"] == "users_lately 50 %, week 35 %, usual 15 %"


def test_width_has_limits(model):
    expected, _, asked = said(model, mock_city(24 * 14))
    assert blend_of(expected, expected.mean + 1e4, asked, network_alone()).width == WIDEST


@pytest.mark.parametrize("number", [1, 3])
def test_few_hindcasts_say_how_wide_and_how_much_alike_but_not_who_is_right(model, number):
    expected, _, asked = said(model, repeating())
    few = Expected(expected.mean[:number], expected.scale[:number], some_rows(expected.observation, slice(0, number)))
    before = replace(network_alone(), width=0.5, in_common=0.3)
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=few.mean.shape)).float()
    blend = blend_of(few, few.mean + 2 * few.scale * noise, asked[:number], before)
    assert number < FEWEST_HINDCASTS
    np.testing.assert_array_equal(blend.weights, before.weights)
    ratio = (2 * few.scale * noise)[asked[:number]].abs().sum() / few.scale[asked[:number]].sum() / np.sqrt(2 / np.pi)
    worth = USUAL_WIDTH_WORTH + OWN_PAST_WORTH
    assert blend.width == pytest.approx(
        float(ratio) ** (number / (number + worth)) * 0.5 ** (worth / (number + worth)), rel=1e-4
    )
    assert blend.hindcasts == number
    found = _in_common(blended(few, [blend] * number), few.mean + 2 * few.scale * noise, asked[:number])
    shrunk = (number * found + IN_COMMON_WORTH * 0.3) / (number + IN_COMMON_WORTH)
    assert blend.in_common == pytest.approx(shrunk)


# ---------------------------------------------------------------- what cells have in common


def test_errors_that_cells_share_are_found_in_hindcasts(model):
    expected, _, asked = said(model, mock_city(24 * 14), 12)
    random = np.random.default_rng(3)
    alone = torch.from_numpy(random.normal(size=expected.mean.shape)).float()
    together = torch.from_numpy(random.normal(size=(*expected.mean.shape[:2], 1, 1))).float()
    before = network_alone()
    found = []
    for share in (0.0, 0.3, 1.0):
        error = (1 - share) ** 0.5 * alone + share**0.5 * together
        found.append(blend_of(expected, expected.mean + expected.scale * error, asked, before).in_common)
    usual = IN_COMMON_WORTH * before.in_common / (12 + IN_COMMON_WORTH)
    assert found[0] == pytest.approx(usual, abs=0.05)
    assert found[1] == pytest.approx(usual + 0.3 * 12 / (12 + IN_COMMON_WORTH), abs=0.1)
    assert found[2] == LARGEST_IN_COMMON


def test_what_is_in_common_is_the_mean_product_of_two_cells_errors_over_that_of_their_scales(model):
    expected, _, asked = said(model, mock_city(24 * 14), 4)
    asked[:, :, 0, 0] = False
    truth = expected.mean + torch.from_numpy(np.random.default_rng(4).normal(size=expected.mean.shape)).float()
    errors = ((truth - expected.mean) * asked).flatten(2).double().numpy()
    scales = (expected.scale * asked).flatten(2).double().numpy()
    pairs = [(a, b) for a in range(errors.shape[2]) for b in range(errors.shape[2]) if a != b]
    products, most = (sum((each[..., a] * each[..., b]).sum() for a, b in pairs) for each in (errors, scales))
    assert _in_common(expected, truth, asked) == pytest.approx(products / most, rel=1e-4)


def test_members_of_cells_that_err_together_spread_their_sum_and_stay_as_wide_each(model):
    city = mock_city(24 * 3, 6, 6)
    task = forecast_task(city, 16, 48, reference=20.0)
    drawn = [
        model._answer_all([task], 400, [0], blend=replace(network_alone(), in_common=share))[0].samples.values[:, 48:]
        for share in (0.0, 0.5)
    ]
    alone, together = (members.sum((2, 3)).std(0).mean() for members in drawn)
    assert together > 2 * alone
    alone, together = (members.std(0).mean() for members in drawn)
    assert together == pytest.approx(alone, rel=0.1)
    alone, together = (members.mean(0).sum() for members in drawn)
    assert together == pytest.approx(alone, rel=0.02)


# ---------------------------------------------------------------- means


def test_the_network_alone_is_what_it_was_to_the_last_bit(model):
    expected, _, _ = said(model, mock_city(24 * 14))
    same = blended(expected, [network_alone()] * len(expected.mean))
    torch.testing.assert_close(same.mean, expected.mean, rtol=0, atol=0)
    torch.testing.assert_close(same.scale, expected.scale, rtol=0, atol=0)


def test_an_expert_without_anything_to_go_by_says_what_the_network_says(model):
    city = mock_city(24 * 4)  # no week before
    with torch.inference_mode():
        expected = model.drawing.expected(collate([model.window(forecast_task(city, 16, 48, reference=20.0), 20.0)]))
    week = blended(expected, [Blend(np.eye(len(EXPERTS))[WEEK], 1.0, 4)])
    torch.testing.assert_close(week.mean, expected.mean, rtol=0, atol=0)


def test_blended_means_are_weighted_means(model):
    expected, _, _ = said(model, mock_city(24 * 14), 2)
    alone = [blended(expected, [Blend(row, 1.0, 4)] * 2).mean for row in np.eye(len(EXPERTS))]
    weights = np.random.default_rng(1).dirichlet(np.ones(len(EXPERTS)), 2)
    both = blended(expected, [Blend(weights[0], 0.5, 4), Blend(weights[1], 2.0, 4)])
    for window in range(2):
        whole = sum(w * part[window] for w, part in zip(weights[window], alone, strict=True))
        torch.testing.assert_close(both.mean[window], torch.as_tensor(whole).float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both.scale[0], 0.5 * expected.scale[0])
    torch.testing.assert_close(both.scale[1], 2.0 * expected.scale[1])


# ---------------------------------------------------------------- forecasts


def test_a_city_that_repeats_itself_is_forecast_by_its_last_week(model):
    city, ahead = repeating().isel(time=slice(0, 16 * 24)), repeating()["traffic"].values[16 * 24 :][:16]
    with_past, alone = model.forecast(city), model.without_hindcasts().forecast(city)
    assert (with_past.attrs["hindcasts"], alone.attrs["hindcasts"]) == (12, 0)
    assert "week" in with_past.attrs["blend"]
    errors = [float(np.abs(each.samples.values.mean(0) - ahead).mean()) for each in (with_past, alone)]
    assert errors[0] < 0.5 * errors[1]
    spread = [float(each.samples.values.std(0).mean()) for each in (with_past, alone)]
    assert spread[0] < spread[1]


def test_the_mean_of_the_members_is_the_blend(model):
    city = repeating(height=2, width=2)
    task = forecast_task(city, 16, 48, reference=20.0)
    blend = model._blend(task, 20.0)
    with torch.inference_mode():
        expected = blended(model.drawing.expected(collate([model.window(task, 20.0, blend)])), [blend])
    members = model._answer_all([task], 512, [0])[0].samples.values[:, 48:]
    mean = 20 * expected.mean[0, 48:].numpy()
    assert np.abs(members.mean(0) - mean).mean() < 0.1 * members.std(0).mean()


def test_too_short_a_past_changes_nothing_and_the_past_alone_decides(model):
    city = mock_city(40)  # less than two days
    short = model.forecast(city, samples=3)
    assert (short.attrs["hindcasts"], short.attrs["blend"]) == (0, "network 100 %")
    alone = model.without_hindcasts().forecast(city, samples=3)
    np.testing.assert_array_equal(short.samples.values, alone.samples.values)
    no_past = model.forecast(repeating(), samples=3, past_week=False)
    assert (no_past.attrs["hindcasts"], no_past.attrs["blend"]) == (0, "network 100 %")


def test_a_few_days_are_half_believed_before_there_are_hindcasts(model):
    city = repeating(days=3)
    task = forecast_task(city, 16, 48, reference=20.0)
    blend = model._blend(task, 20.0)
    assert (blend.hindcasts, blend.describe()) == (0, "network 50 %, own_past 50 %")
    record = OwnPast.of(task, 20.0)
    assert record is not None
    with torch.inference_mode():
        expected = model.drawing.expected(collate([model.window(task, 20.0, blend)]))
    both = blended(expected, [blend]).mean[0, 48:]
    own = torch.from_numpy(record.ahead(0, record.weights([0], 16)[0]))
    torch.testing.assert_close(both, (expected.mean[0, 48:] + own) / 2)
    assert model.forecast(city, samples=2).attrs["blend"] == blend.describe()


@pytest.mark.parametrize("noisy", [0.02, 0.6])
def test_before_there_are_hindcasts_members_are_as_wide_as_the_errors_of_the_past(model, noisy):
    city = repeating(days=3)
    noise = np.random.default_rng(0).normal(1.0, noisy, city["traffic"].shape).clip(0.05)
    city = city.assign(traffic=city["traffic"] * noise.astype(np.float32))
    task = forecast_task(city, 16, 48, reference=20.0)
    blend, record = model._blend(task, 20.0), OwnPast.of(task, 20.0)
    assert record is not None and blend.hindcasts == 0
    weights = record.weights([0], 16)[0]
    origins = range(len(record.share) - 3, 29, -6)  # every sixth hour from a day and a quarter on
    parts = [(record.experts(origin, min(16, len(record.share) - origin)), origin) for origin in origins]
    said_there = [(np.einsum("le,elyx->lyx", weights[: each.shape[1]], each), origin) for each, origin in parts]
    off = [np.abs(ahead - record.share[at : at + len(ahead)]).sum() / ahead.sum() for ahead, at in said_there]
    assert record.missed(weights) == pytest.approx(np.median(off), rel=1e-4)
    with torch.inference_mode():
        expected = model.drawing.expected(collate([model.window(task, 20.0, blend)]))
    mean = blended(expected, [blend]).mean[0, 48:]
    ratio = record.missed(weights) / float(expected.scale[0, 48:].sum() * np.sqrt(2 / np.pi) / mean.sum())
    width = np.clip(ratio ** (OWN_PAST_WORTH / (OWN_PAST_WORTH + USUAL_WIDTH_WORTH)), NARROWEST, WIDEST)
    assert blend.width == pytest.approx(width, rel=1e-3)
    assert blend.in_common == pytest.approx(min(0.05 / width**2, LARGEST_IN_COMMON), rel=1e-3)


def test_of_a_past_without_traffic_nothing_is_said_of_the_width(model):
    before = unjudged(np.full((16, len(own_past.EXPERTS)), 1 / len(own_past.EXPERTS)))
    expected, _, asked = said(model, repeating())
    for missed in (np.nan, 0.0):
        assert as_wide_as_its_past(before, expected, asked, missed) == before
    empty = OwnPast(np.full((72, 2, 2), np.nan, np.float32), Clock(0.0, 1.0))
    assert np.isnan(empty.missed(before.own_past))


def test_where_the_past_of_a_cell_is_not_known_the_network_speaks(model):
    city = repeating(days=4)
    values = city["traffic"].values.copy()
    values[:, 0, 0] = np.nan
    task = forecast_task(city.assign(traffic=city["traffic"].copy(data=values)), 16, 48, reference=20.0)
    blend = model._blend(task, 20.0)
    with torch.inference_mode():
        expected = model.drawing.expected(collate([model.window(task, 20.0, blend)]))
    both = blended(expected, [blend]).mean[0, 48:]
    torch.testing.assert_close(both[:, 0, 0], expected.mean[0, 48:, 0, 0])
    assert not torch.allclose(both[:, 1, 1], expected.mean[0, 48:, 1, 1])


# ---------------------------------------------------------------- cells that were silent in the whole window


def with_offices(days: int = 21) -> tuple[City, np.ndarray, np.ndarray]:
    """A noisy city whose left half is shut at night and at weekends, which of its cells are, and its open hours."""
    random = np.random.default_rng(3)
    hour = np.arange(24 * days)
    shut = (hour % 24 < 7) | (hour % 24 >= 20) | (hour // 24 % 7 >= 5)
    city = mock_city(len(hour), 4, 4)
    offices = np.zeros((4, 4), bool)
    offices[:, :2] = True
    traffic = (
        10 * random.lognormal(0, 0.1, (len(hour), 4, 4)) * (1 + 0.5 * np.sin(hour / 24 * 2 * np.pi))[:, None, None]
    )
    traffic[np.ix_(shut, range(4), range(2))] = 0
    return city.assign(traffic=city["traffic"].copy(data=traffic.astype(np.float32))), offices, ~shut


def test_offices_asked_on_a_sunday_night_open_on_monday_as_they_usually_do():
    model = load("fomo-tiny")  # a width is over what the network says, which must mean something
    city, offices, is_open = with_offices()
    origin = 14 * 24 + 3  # 03:00 on the third Monday: nothing was carried for 48 hours and more
    assert city["time"].values[0].astype("datetime64[D]").astype(int) % 7 == 4  # the first day is a Monday
    forecast = model.forecast(city.isel(time=slice(0, origin)), horizon=16, samples=64)
    ahead, at = city["traffic"].values[origin:][:16], is_open[origin:][:16]
    members, came = forecast.samples.values[:, at][:, :, offices], ahead[at][:, offices]
    assert members.mean() == pytest.approx(came.mean(), rel=0.2)  # days of any kind are believed a little, too
    low, high = np.quantile(members, [0.05, 0.95], axis=0)
    assert 0.75 < ((low <= came) & (came <= high)).mean() <= 1.0
    assert forecast.samples.values[:, ~at][:, :, offices].max() == 0  # at night they stay shut


def test_the_past_stands_alone_only_where_it_says_more_than_the_window_can(model):
    city, offices, is_open = with_offices()
    origin = 14 * 24 + 3
    task = forecast_task(city.isel(time=slice(0, origin)), 16, 48, reference=20.0)
    blend = model._blend(task, 20.0)
    with torch.inference_mode():
        expected = model.drawing.expected(collate([model.window(task, 20.0, blend)]))
    own, alone = expected.own_past, expected.past_alone
    assert own is not None and alone is not None
    at = torch.from_numpy(is_open[origin:][:16])
    assert bool(alone[0, 48:, offices].all()) and not bool(alone[0, :, ~offices].any())
    torch.testing.assert_close(expected.mean[alone], own[alone], rtol=0, atol=0)
    torch.testing.assert_close(expected.scale[0, 48:][at][:, offices], PAST_ERROR * own[0, 48:][at][:, offices])
    for row in np.eye(len(EXPERTS)):  # whatever is believed elsewhere
        mean = blended(expected, [Blend(row, 1.0, 4)]).mean
        torch.testing.assert_close(mean[alone], own[alone], rtol=0, atol=0)


def test_on_a_working_day_the_past_stands_nowhere_alone(model):
    city, _, _ = with_offices()
    task = forecast_task(city.isel(time=slice(0, 17 * 24 + 3)), 16, 48, reference=20.0)  # a Thursday
    with torch.inference_mode():
        expected = model.drawing.expected(collate([model.window(task, 20.0, model._blend(task, 20.0))]))
    assert expected.past_alone is not None and not bool(expected.past_alone.any())


def test_what_is_asked_never_enters_its_own_blend(model):
    city = repeating()
    steps = city.sizes["time"]
    window = city.isel(time=slice(steps - 64, steps))
    asked = np.zeros(window["traffic"].shape, bool)
    asked[48:] = True
    earlier = city["traffic"].values[: steps - 64]
    poisoned = window["traffic"].values.copy()
    poisoned[asked] = 1e6
    found = [
        model._blend(make_task(each, asked, earlier=earlier, reference=20.0), 20.0)
        for each in (window, window.assign(traffic=window["traffic"].copy(data=poisoned)))
    ]
    assert found[0].hindcasts > FEWEST_HINDCASTS
    np.testing.assert_array_equal(found[0].weights, found[1].weights)


def test_the_blend_of_a_task_does_not_depend_on_the_others(model):
    tasks = [forecast_task(repeating(seed=seed), 16, 48, reference=20.0) for seed in range(3)]
    together = model.forecast_tasks(tasks, 2, 0)
    for task, one in zip(tasks, together, strict=True):
        alone = model.forecast_tasks([task], 2, 0)[0]
        assert alone.attrs["blend"] == one.attrs["blend"]
        np.testing.assert_allclose(alone.samples.values, one.samples.values, rtol=1e-5, atol=1e-6)


def test_all_blocks_of_a_long_horizon_have_the_blend_of_the_first(model):
    forecast = model.forecast(repeating(), horizon=72, samples=4)
    assert forecast.attrs["hindcasts"] == 12
    ahead = repeating(days=21)["traffic"].values[18 * 24 :][:72]
    alone = model.without_hindcasts().forecast(repeating(), horizon=72, samples=4)
    late = slice(48, 72)
    errors = [np.abs(each.samples.values.mean(0)[late] - ahead[late]).mean() for each in (forecast, alone)]
    assert errors[0] < errors[1]


def test_districts_drawn_apart_have_one_blend(small_network):
    model = forecaster(small_network(seed=5), district=(4, 4), tile=(4, 4), overlap=1)
    city = repeating(height=6, width=9)
    whole = model.forecast(city, samples=2)
    apart = model.apart(city, samples=2)
    parts = [apart.draw(index, range(2)) for index in range(len(apart.districts.corners))]
    everything = tuple(slice(0, size) for size in whole.samples.shape)
    together = apart.put_together(everything, lambda district, region: parts[district][region])
    np.testing.assert_array_equal(together, whole.samples.values)
    for name in ("hindcasts", "blend", "width"):
        assert apart.shell.attrs[name] == whole.attrs[name]


def test_members_that_are_not_drawn_around_a_mean_have_no_blend(small_network):
    model = forecaster(small_network(seed=5), process="paper", sampler="ddpm")
    assert model.forecast(repeating(), samples=2).attrs["hindcasts"] == 0


def test_cells_without_history_go_by_their_users_and_only_they_do(small_network):
    model = forecaster(small_network(seed=5, context=True))
    city = mock_city(64)
    users = city.assign(users=city["traffic"].copy(data=50 * city["traffic"].values + 1))
    area = np.zeros((4, 4), bool)
    area[1:3, 1:3] = True
    known: dict[str, Any] = {"reference": 20.0, "users_reference": 1000.0, "context": "full"}
    poi = users.assign(poi=(("category", "y", "x"), np.ones((1, 4, 4), np.float32)))
    everything = np.ones((4, 4), bool)
    static = [
        model._blend(generate_task(poi, hidden, layers=("poi",), **known), 20.0).describe()
        for hidden in (area, everything)
    ]
    assert static == ["by_poi 50 %, network 50 %", "network 100 %"]
    blends = [
        model._blend(task, 20.0)
        for task in (
            generate_task(users, area, **known),
            generate_task(city, area, reference=20.0),
            forecast_task(users, 16, 48, users_ahead=users["users"].values[:16], **known),
        )
    ]
    assert blends[0].describe() == "per_user_lasting 75 %, network 25 %"
    assert [blend.describe() for blend in blends[1:]] == ["network 100 %", "network 50 %, own_past 50 %"]
    alone = model.without_hindcasts()._blend(generate_task(users, area, **known), 20.0)
    assert alone.describe() == "network 100 %"


def test_a_layer_of_users_gives_experts_of_its_own(model):
    assert observe(collate([model.window(forecast_task(mock_city(), 16, 48), 20.0)])).context is None
    assert set(EXPERTS[7:]) == {"per_user_lasting", "users_ratio", "per_user_expected", "by_poi"}
