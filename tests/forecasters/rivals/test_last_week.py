"""A rival is told last week together with users only if its training held both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from fomo.city import City
from fomo.forecasters.rivals.forecaster import NeuralRival
from fomo.forecasters.rivals.inputs import COVARIATES, Inputs
from fomo.forecasters.rivals.last_week import RARE, knows_both, without_week
from fomo.forecasters.rivals.network import Player, RivalNetwork
from fomo.windows.task import ContextMode, Task, last_week, make_task

WEEK, WEEK_KNOWN, USERS_KNOWN = map(COVARIATES.index, ("last week", "last week known", "users known"))


class Listener(RivalNetwork):
    """Forecasts nothing and keeps what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Inputs] = []

    def players(self) -> list[Player]:
        return []

    def sample(self, inputs: Inputs, samples: int, random: torch.Generator) -> Tensor:
        self.heard.append(inputs)
        return torch.zeros(inputs.value.shape[0], samples, *inputs.value.shape[1:])


def week_task(city: City, context: ContextMode) -> Task:
    """The last 64 steps, of which a quarter is asked, with the week before."""
    start = city.sizes["time"] - 64
    window = city.isel(time=slice(start, None))
    asked = np.zeros(window["traffic"].shape, bool)
    asked[48:] = True
    return make_task(window, asked, context=context, last_week=last_week(city, start, 64))


def week_heard(city: City, share: float) -> list[bool]:
    """Whether a rival of such a training hears last week, where users are not told and where they are."""
    network = Listener()
    tasks = [week_task(city, "none"), week_task(city, "full")]
    NeuralRival("listener", network, week_with_users=share).forecast_tasks(tasks, 2, seed=0)
    assert network.heard, "nothing was asked"
    heard = []
    for row in range(2):
        known, value, users = (
            torch.stack([inputs.covariates[row, channel] for inputs in network.heard])
            for channel in (WEEK_KNOWN, WEEK, USERS_KNOWN)
        )
        assert bool(users.any()) == (row == 1)
        assert bool(known.any()) == bool(value.any())
        heard.append(bool(known.any()))
    return heard


@pytest.mark.parametrize(("share", "heard"), [(0.0, [True, False]), (RARE / 2, [True, False]), (RARE, [True, True])])
def test_a_rival_never_shown_both_is_not_told_last_week_where_it_is_told_users(
    made_city: City, share: float, heard: list[bool]
) -> None:
    """TEMPO, trained on first weeks alone, added what it made of each: the next week's RMSE was 2.6 times as large."""
    assert week_heard(made_city, share) == heard


def test_nothing_but_last_week_is_kept_from_it(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    told = inputs.covariates.clone()
    told[:, WEEK_KNOWN], told[:, USERS_KNOWN] = 0.0, 0.0
    told[:2, WEEK_KNOWN, 50:], told[1:3, USERS_KNOWN, 60:, 0, 0] = 1.0, 1.0
    told[:, WEEK] = 2.0
    given = replace(inputs, covariates=told)
    assert knows_both(given).tolist() == [False, True, False, False, False, False]
    kept = without_week(given)
    assert torch.equal(given.covariates, told), "what others are told stays"
    assert (kept.covariates[1, [WEEK, WEEK_KNOWN]] == 0).all()
    others = [channel for channel in range(len(COVARIATES)) if channel not in (WEEK, WEEK_KNOWN)]
    assert torch.equal(kept.covariates[:, others], told[:, others])
    rest = [0, 2, 3, 4, 5]
    assert torch.equal(kept.covariates[rest], told[rest]) and torch.equal(kept.value, inputs.value)
