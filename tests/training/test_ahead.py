"""Batches made ahead by other processes, and the cities' arrays that processes share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from small_training import made_cities, made_training

from fomo.processes import ProcessError
from fomo.training.ahead import workers_for
from fomo.training.data import training_set
from fomo.training.loop import Training
from fomo.training.window_cache import cache_folder, kept_in
from fomo.windows.sample import TrainingSet, family_references


def numbers(training: Training, steps: int) -> list[dict[str, float]]:
    return [training.advance() for _ in range(steps)]


def test_batches_made_ahead_give_the_same_losses_to_the_last_digit(tiny_recipe):
    recipe = tiny_recipe()
    alone = made_training(recipe)
    ahead = Training(recipe, alone.data, workers=2)
    assert numbers(ahead, 5) == numbers(alone, 5)
    ahead.step = alone.step = 2  # another step than the one that is ready
    assert torch.equal(ahead.ahead.take(2).share, alone.ahead.take(2).share)
    assert numbers(ahead, 2) == numbers(alone, 2)
    ahead.ahead.close()
    assert numbers(ahead, 1) == numbers(alone, 1)
    ahead.ahead.close()


def test_a_process_that_dies_ends_the_run_with_a_remedy(tiny_recipe):
    recipe = tiny_recipe()
    training = Training(recipe, made_training(recipe).data, workers=1)
    make = training.ahead.make

    def killed(step: int):
        if step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return make(step)

    training.ahead.make = killed
    with pytest.raises(ProcessError, match=r"makes batches is gone.*workers=0; the last checkpoint is good"):
        numbers(training, 6)
    assert training.step <= 3
    training.ahead.close()


def test_only_a_gpu_has_batches_made_ahead(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert [workers_for(device, 1) for device in ("cpu", "cuda:0")] == [0, 4]
    assert [workers_for("cuda", processes) for processes in (4, 8, 16, 32)] == [3, 1, 0, 0]


def test_processes_share_one_file_and_draw_the_same_from_it(tmp_path: Path, tiny_recipe):
    cities, augment = made_cities(), tiny_recipe().augment
    references = family_references(cities)
    plain = TrainingSet(cities, references, augment)
    shared = [TrainingSet(cities, references, augment, keep=kept_in(tmp_path)) for _ in range(2)]
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3  # traffic, cells that are covered, and what there is none of
    assert not shared[0].laid.share.flags.writeable and isinstance(shared[0].laid.share.base, np.memmap)
    for data in shared:
        one, other = (each.draw((24, 4, 4), 8, np.random.default_rng(1)) for each in (data, plain))
        assert torch.equal(one.share, other.share) and torch.equal(one.rhythm, other.rhythm)


@pytest.mark.parametrize("damage", ["cut", "emptied", "changed", "other array"])
def test_a_damaged_file_of_the_cache_is_written_again(tmp_path: Path, damage: str):
    keep, array = kept_in(tmp_path), np.array([np.nan, 1.0, 2.0, -3.5], np.float32)
    keep(array)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    if damage == "other array":
        np.save(path, np.arange(3))
    else:
        path.write_bytes({"cut": whole[:-3], "emptied": b"", "changed": whole[:-4] + b"abcd"}[damage])
    np.testing.assert_array_equal(keep(array), array)
    assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_names_the_remedy(tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ProcessError, match=r"cannot be written.*free 0 MB there, or name another folder.*FOMO_CACHE"):
        kept_in(tmp_path / "file" / "windows")(np.zeros(3))


def test_several_processes_of_a_machine_share_by_default(tmp_path: Path, tiny_recipe, data_of_folds, monkeypatch):
    monkeypatch.setenv("FOMO_CACHE", str(tmp_path / "cache"))
    recipe = tiny_recipe({"data": {"families": {"regions": 1.0}}})
    alone, _, _ = training_set(recipe, data_of_folds)
    assert not cache_folder().exists()
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    many, _, _ = training_set(recipe, data_of_folds)
    assert list(cache_folder().iterdir())
    np.testing.assert_array_equal(many.laid.share, alone.laid.share)
