from __future__ import annotations

import numpy as np
import pytest
import torch

import fomo
from fomo.app.service.adaptation import BLOCK, districts, only, some_cells
from fomo.app.service.rival_adaptation import adapt_rival
from fomo.app.service.training import kept_from
from fomo.city import mock_city
from fomo.forecasters.rivals.forecaster import NeuralRival
from fomo.forecasters.rivals.patchtst import PatchTST
from fomo.forecasters.rivals.training import FitConfig
from fomo.model.checkpoint import FORMAT_VERSION, Checkpoint
from fomo.model.transformer import ModelConfig


@pytest.mark.parametrize("share", [0.01, 0.2, 1.0])
def test_cells_to_learn_from_are_whole_blocks_and_enough(share):
    city = mock_city(96, 8, 12)
    cells = some_cells(city, share, seed=3)
    assert cells.sum() >= max(1, round(share * 96)) and cells.sum() <= share * 96 + BLOCK * BLOCK
    blocks = cells.reshape(2, BLOCK, 3, BLOCK).sum((1, 3))
    assert set(np.unique(blocks)) <= {0, BLOCK * BLOCK}
    assert np.array_equal(cells, some_cells(city, share, seed=3))


def test_nothing_outside_the_chosen_cells_is_learned_from():
    city = mock_city(96, 8, 8)
    cells = some_cells(city, 0.25, seed=0)
    parts = districts(only(city, cells))
    assert sum(int(part["covered"].values.sum()) for part in parts) == cells.sum() == 16
    assert np.isfinite(only(city, cells)["traffic"].values).any(0).sum() == 16
    assert len({part.attrs["name"] for part in parts}) == len(parts) and {p.attrs["family"] for p in parts} == {"mock"}


def test_fine_tuned_weights_keep_what_those_begun_with_know_of_traffic():
    def description(**more):
        return Checkpoint(format_version=FORMAT_VERSION, name="made", model=ModelConfig(), **more)

    start = description(references={"old": 1.0, "both": 2.0})
    now = description(references={"both": 3.0, "new": 4.0}, users_references={"both": 5.0})
    found = kept_from(start, now)
    assert found.references == {"old": 1.0, "both": 2.0, "new": 4.0}
    assert found.users_references == {"both": 5.0}


def test_blocks_without_traffic_are_never_learned_from():
    city = fomo.synthetic_city("half", 8, 8, days=5, seed=0)
    city["traffic"][:, :, 4:] = 0.0
    for seed in range(6):
        cells = some_cells(city, 0.5, seed)
        assert cells.sum() == 32 and not cells[:, 4:].any()


@pytest.mark.parametrize(("rate", "better"), [(2e-3, True), (3.0, False)])
def test_a_rival_learns_from_some_cells_and_is_never_worse_where_it_is_checked(rate, better):
    torch.manual_seed(0)
    untrained = NeuralRival("PatchTST", PatchTST(width=16, layers=1), trained_on=("elsewhere",))
    before = {name: part.clone() for name, part in untrained.network.state_dict().items()}
    config = FitConfig(steps=25, batch=8, learning_rate=rate, average=0.5)
    found = adapt_rival(untrained, mock_city(400, 8, 8), config, share=0.25)
    assert found.cells == 16 and found.kept is better and found.after <= found.before
    assert all(torch.equal(part, before[name]) for name, part in untrained.network.state_dict().items())
    if better:
        assert found.after < found.before and found.rival.trained_on == ("elsewhere", "mock")
    else:
        assert found.after == found.before and found.rival is untrained
