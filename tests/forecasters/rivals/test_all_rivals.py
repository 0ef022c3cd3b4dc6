"""What holds for every trained rival: it learns, answers any grid, and one window at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fomo.city import City
from fomo.forecasters.registry import ENTRIES, Entry
from fomo.forecasters.rivals.forecaster import NeuralRival
from fomo.forecasters.rivals.network import WindowNoise, normal, uniform
from fomo.forecasters.rivals.training import FitConfig, TrainingFailed, draw_batch, fit, rate_at
from fomo.windows.sample import TrainingSet
from fomo.windows.task import Task, make_task

DEEP = [entry for entry in ENTRIES if entry.kind == "deep"]
SHORT = FitConfig(steps=2, batch=4, minutes=1.0)


@pytest.fixture(scope="module")
def tasks(made_city: City) -> list[Task]:
    """Short, long and generated windows of a grid of 4 x 5, one cell of it not covered, users known."""
    covered = made_city["covered"].values.copy()
    covered[3, 4] = False
    city = made_city.assign(covered=made_city["covered"].copy(data=covered))
    city = city.assign(traffic=city["traffic"].where(city["covered"]))
    found = []
    for start, hidden in ((0, 16), (30, 48), (70, 64)):
        asked = np.zeros((64, 4, 5), bool)
        asked[64 - hidden :] = covered
        if hidden == 64:
            asked[:, 2:] = False
        found.append(make_task(city.isel(time=slice(start, start + 64)), asked, context="full"))
    return found


@pytest.mark.parametrize("entry", DEEP, ids=lambda entry: entry.name)
def test_a_rival_trains_and_answers_one_window_like_many(
    entry: Entry, training_set: TrainingSet, tasks: list[Task]
) -> None:
    torch.manual_seed(0)
    network = entry.load()
    before = {name: part.clone() for name, part in network.named_parameters() if part.requires_grad}
    fitted = fit(network, training_set, SHORT)
    assert fitted.steps == 2 and np.isfinite(fitted.losses).all()
    assert any(not torch.equal(part, before[name]) for name, part in network.named_parameters() if name in before)
    rival = NeuralRival(entry.name, fitted.network, ["made"])
    together = rival.forecast_tasks(tasks, 3, seed=1)
    for task, forecast in zip(tasks, together, strict=True):
        members = forecast.samples.values
        assert np.isfinite(members[:, task.asked]).all() and (members[:, task.asked] >= 0).all()
        seen = np.broadcast_to(task.window["traffic"].values, members.shape)
        np.testing.assert_array_equal(members[:, ~task.asked], seen[:, ~task.asked])
        assert forecast.attrs["context"] == "full"
    alone = rival.forecast_tasks(tasks[1:2], 3, seed=1)[0].samples.values
    np.testing.assert_allclose(together[1].samples.values, alone, rtol=1e-3, atol=1e-3 * np.nanmax(alone))


def test_noise_of_a_window_is_its_own() -> None:
    both, second = WindowNoise([4, 5]), WindowNoise([5])
    assert torch.equal(normal(both, 2, 3, 4)[1], normal(second, 1, 3, 4)[0])
    assert torch.equal(uniform(both, 2, 7)[1], uniform(second, 1, 7)[0])
    assert not torch.equal(*normal(both, 2, 5))
    plain = normal(torch.Generator().manual_seed(1), 2, 5)
    assert torch.equal(plain, torch.randn((2, 5), generator=torch.Generator().manual_seed(1)))


def test_the_same_seed_trains_the_same_network(training_set: TrainingSet) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(0)
        states.append(fit(DEEP[7].load(), training_set, SHORT).network.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_loss_that_is_no_number_stops_the_training(training_set: TrainingSet) -> None:
    network = DEEP[7].load()
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingFailed, match="the loss is nan after 0 steps"):
        fit(network, training_set, SHORT)


def test_the_rate_warms_up_and_falls() -> None:
    assert rate_at(0.0, 0.03) == pytest.approx(0.05)
    assert rate_at(0.03, 0.03) == pytest.approx(1.0)
    assert rate_at(1.0, 0.03) == pytest.approx(0.01)


def test_windows_are_drawn_with_all_modes_of_context(training_set: TrainingSet) -> None:
    batch = draw_batch(training_set, FitConfig(batch=40, seed=2), 0)
    assert batch.context is not None
    known = batch.context.users_known.float().mean((1, 2, 3))
    assert (known == 0).any() and (known == 1).any() and ((known > 0) & (known < 1)).any()
    assert batch.hidden.flatten(1).any(1).all()
