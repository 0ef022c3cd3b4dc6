"""What is judged and how members are drawn: edges that nothing else holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fomo.city import City, mock_city
from fomo.diffusion.memory import remembered
from fomo.forecasters import drawing, judged
from fomo.forecasters.ahead import CONTINUED, LONGEST_BLOCK, members_unit
from fomo.forecasters.blend import BESIDE, EXPERTS, FEWEST_HINDCASTS, Blend, blend_of, blended, network_alone
from fomo.forecasters.consecutive import context_of
from fomo.forecasters.drawing import SamplingConfig
from fomo.forecasters.fomo import FoMo
from fomo.forecasters.own_past import OwnPast
from fomo.model.checkpoint import FORMAT_VERSION, Checkpoint
from fomo.windows.batch import collate
from fomo.windows.observation import GUESSES
from fomo.windows.regression import SMALLEST_UNIT
from fomo.windows.task import ContextMode, forecast_task
from small import usual_users


@pytest.fixture
def model(small_network: Callable[..., Any]) -> FoMo:
    network = small_network(seed=5)
    about = Checkpoint(format_version=FORMAT_VERSION, name="small", model=network.config, process="residual")
    return FoMo(network, about, sampling=SamplingConfig(steps=2))


def noisy(days: int, weekend: float = 1.0) -> City:
    """Days that are much the same, on days off so much of it; from a Monday on."""
    random, hour = np.random.default_rng(0), np.arange(24 * days)
    city = mock_city(24 * days)
    traffic = np.tile(random.uniform(2, 9, (24, *city["traffic"].shape[1:])), (days, 1, 1))
    traffic = traffic * random.lognormal(0, 0.1, traffic.shape)
    traffic[hour // 24 % 7 >= 5] *= weekend
    return city.assign(traffic=city["traffic"].copy(data=traffic.astype(np.float32)))


@pytest.mark.parametrize("number", [FEWEST_HINDCASTS - 1, FEWEST_HINDCASTS])
def test_from_the_fewest_hindcasts_on_they_say_who_is_right(model: FoMo, number: int) -> None:
    city = noisy(14)
    tasks = [forecast_task(city.isel(time=slice(0, 200 + 12 * i)), 16, 48, reference=20.0) for i in range(number)]
    with torch.inference_mode():
        expected = model.drawing.expected(collate([model.window(task, 20.0) for task in tasks]))
    asked = torch.from_numpy(np.stack([task.asked for task in tasks]))
    before = network_alone()
    blend = blend_of(expected, expected.mean + 3 * expected.scale + 0.2, asked, before)
    assert (blend.weights.tolist() == before.weights.tolist()) == (number < FEWEST_HINDCASTS)


def test_the_width_of_few_days_is_by_the_weights_that_are_asked_with(
    model: FoMo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by those of a hindcast, who knew less."""
    task = forecast_task(noisy(5), 16, 48, reference=20.0)
    record, heard = OwnPast.of(task, 20.0), []
    assert record is not None
    missed = OwnPast.missed
    monkeypatch.setattr(OwnPast, "missed", lambda self, weights: heard.append(weights) or missed(self, weights))
    assert 1 <= model._blend(task, 20.0).hindcasts < FEWEST_HINDCASTS
    (weights,) = heard
    np.testing.assert_allclose(weights, record.weights([0], 16)[0], atol=1e-6)


def test_hindcasts_do_not_judge_by_a_first_day_off(model: FoMo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody foresaw the first Saturday; of the Sunday that is asked for, one such day is known."""
    scored: list[torch.Tensor] = []

    def seen(expected: Any, truth: Any, known: torch.Tensor, before: Any) -> Any:
        scored.append(known)
        return blend_of(expected, truth, known, before)

    monkeypatch.setattr(judged, "blend_of", seen)
    task = forecast_task(noisy(6, weekend=0.2), 16, 48, reference=20.0)
    assert (task.window["time"].dt.dayofweek.values[-16:] == 6).all()
    model._blend(task, 20.0)
    (known,) = scored
    # Of five that end 12 hours apart, the latest asks for hours of Saturday alone, the next one for 12 of them.
    assert known.any(3).any(2).sum(1).tolist() == [4, 16, 16, 16]


def test_what_all_cells_and_unknown_cells_have_is_spread_evenly_over_the_members(
    model: FoMo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 8 members one lies in each eighth: else a few draws would rule the level of a district or of all cells."""
    found: dict[str, torch.Tensor] = {}

    def keep(name: str, make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def made(residual: torch.Tensor, noise: torch.Tensor, *rest: Any) -> torch.Tensor:
            found[name] = noise.clone()
            return make(residual, noise, *rest)

        return made

    for name in ("remembered", "in_common"):
        monkeypatch.setattr(drawing, name, keep(name, getattr(drawing, name)))
    city = noisy(4)
    area = np.zeros(city["traffic"].shape[1:], bool)
    area[1, 1] = True
    model.generate(city.isel(time=slice(0, 64)), area, samples=8)
    levels = (found["in_common"][:, :, 0], found["remembered"][:, :, 0, 1, 1])
    for level in levels:  # pairs of opposite members: one of each pair in each quarter
        place = (torch.special.ndtr(level[:, ::2].double()) * 4).long().sort(1).values
        assert (place == torch.arange(4)).all()


def test_a_trace_of_traffic_in_a_cell_without_a_station_is_nothing(
    model: FoMo, monkeypatch: pytest.MonkeyPatch
) -> None:
    city = noisy(4)
    traffic = city["traffic"].values.copy()
    traffic[:, 0, 0] = 0.0

    def traces(clean: torch.Tensor, *rest: Any) -> torch.Tensor:
        return torch.full_like(clean, 0.4 * SMALLEST_UNIT)

    monkeypatch.setattr(drawing, "members_of", traces)
    silent = np.zeros(traffic.shape[1:], bool)
    silent[0, 0] = True
    found = model.forecast(city.assign(traffic=city["traffic"].copy(data=traffic)), samples=2).samples.values
    assert (found[..., silent] == 0).all() and (found[..., ~silent] > 0).all()


@pytest.mark.parametrize("context", ["past", "full"])
def test_a_cell_without_history_is_told_of_users_only_by_those_of_the_asked_steps(
    small_network: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, context: ContextMode
) -> None:
    network = small_network(seed=5, context=True)
    known: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "name": "small",
        "model": network.config,
        "process": "residual",
    }
    about = Checkpoint(**known, **usual_users())
    reader, heard = FoMo(network, about, sampling=SamplingConfig(steps=2)), []

    def kept(residual: Any, noise: Any, hours: Any, unseen: Any, told: Any, *rest: Any) -> torch.Tensor:
        heard.append((unseen.clone(), told.clone()))
        return remembered(residual, noise, hours, unseen, told, *rest)

    monkeypatch.setattr(drawing, "remembered", kept)
    city = noisy(4)
    traffic = city["traffic"].values.copy()
    traffic[:, 0, 0] = np.nan
    users = city["traffic"].copy(data=np.full_like(traffic, 30.0))
    ahead = np.full((16, *traffic.shape[1:]), 30.0) if context == "full" else None
    some = city.assign(traffic=city["traffic"].copy(data=traffic), users=users)
    reader.forecast(some, 16, samples=2, context=context, users_ahead=ahead)
    unseen, told = heard[-1]
    assert bool(unseen[0, 0, 0]) and bool(told[0, 0, 0]) == (context == "full")


def test_a_cell_of_which_the_past_says_a_step_is_not_without_history(model: FoMo) -> None:
    city = noisy(14)
    traffic = city["traffic"].values.copy()
    traffic[:, 0, 0] = np.nan
    task = forecast_task(city.assign(traffic=city["traffic"].copy(data=traffic)), 16, 48, reference=20.0)
    with torch.inference_mode():
        expected = model.drawing.expected(collate([model.window(task, 20.0)]))
    assert expected.unseen.flatten().nonzero().flatten().tolist() == [0]
    alone = torch.zeros(expected.mean.shape, dtype=torch.bool)
    alone[:, -3:, 0, 0] = True
    assert not replace(expected, past_alone=alone).unseen.any()


def test_guesses_from_traffic_are_times_the_users_that_are_assumed(model: FoMo) -> None:
    task = forecast_task(noisy(14), 16, 48, reference=20.0)
    with torch.inference_mode():
        expected = model.drawing.expected(collate([model.window(task, 20.0)]))
    more = torch.full_like(expected.mean, 1.5)
    for name in BESIDE:
        only = Blend(np.eye(len(EXPERTS))[EXPERTS.index(name)], 1.0, 4)
        plain, assumed = (blended(each, [only]).mean for each in (expected, replace(expected, more_users=more)))
        known = expected.observation.is_known[:, GUESSES.index(name)]
        torch.testing.assert_close(assumed[known], 1.5 * plain[known])
        torch.testing.assert_close(assumed[~known], plain[~known])


def test_a_whole_of_which_some_windows_were_told_all_was_told_all() -> None:
    city = noisy(4)
    city = city.assign(users=city["traffic"].copy(data=np.full(city["traffic"].shape, 30.0, np.float32)))
    ahead = np.full((16, *city["traffic"].shape[1:]), 30.0)
    full = forecast_task(city, 16, 48, context="full", users_ahead=ahead)
    past, none = (forecast_task(city, 16, 48, context=context) for context in ("past", "none"))
    assert context_of([past, full, none]) == ("full", "users")
    assert context_of([none, past]) == ("past", "users")
    assert context_of([none]) == ("none", "")


def test_only_what_is_continued_is_drawn_by_fours() -> None:
    assert [members_unit(horizon) for horizon in (1, LONGEST_BLOCK, LONGEST_BLOCK + 1)] == [2, 2, CONTINUED]
