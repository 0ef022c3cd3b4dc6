from __future__ import annotations

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fomo.diffusion.process import PROCESSES
from fomo.model.checkpoint import CheckpointError
from fomo.training import snapshot as room
from fomo.training.loop import Training, learning_rate, run
from fomo.training.recipe import OptimiserConfig
from fomo.training.snapshot import FILE, Snapshot


def state(training: Training) -> dict[str, Tensor]:
    return {**Snapshot.take(training.step, training.network, training.average, training.optimiser).tensors}


def assert_same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def uninterrupted(tiny_training, tmp_path) -> dict[str, Tensor]:
    training = tiny_training()
    assert run(training, tmp_path / "uninterrupted")
    return state(training)


def test_a_short_run_learns(tiny_training, tiny_recipe):
    pace = {"steps": 80, "batch": 8, "learning_rate": 3e-3, "warm_up": 5}
    training = tiny_training(tiny_recipe({"windows": {"24x4x4": 1.0}}, **pace))
    rows = [training.advance() for _ in range(80)]

    def mean(name: str, part: slice) -> float:
        return sum(row[name] for row in rows[part]) / len(rows[part])

    for name in ("loss", "denoising", "mean"):
        assert mean(name, slice(-20, None)) < 0.9 * mean(name, slice(0, 10)), name


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tiny_training, tiny_recipe):
    runs = [tiny_training(tiny_recipe({"seed": seed})) for seed in (3, 3, 4)]
    for training in runs:
        for _ in range(4):
            training.advance()
        torch.rand(7)  # whatever else draws in the process
    assert_same_bits(state(runs[0]), state(runs[1]))
    assert not torch.equal(runs[0].network.decoder.bias, runs[2].network.decoder.bias)


@pytest.mark.parametrize("process", sorted(PROCESSES))
@pytest.mark.parametrize("steps", [1, 4, 7])
def test_a_run_that_is_stopped_and_resumed_ends_in_the_same_bits(tiny_training, tiny_recipe, process, steps, tmp_path):
    recipe = tiny_recipe({"process": process}, steps=9)
    whole = tiny_training(recipe)
    while whole.step < 9:
        whole.advance()

    first = tiny_training(recipe)
    while first.step < steps:
        first.advance()
    first.snapshot().save(tmp_path / "snapshot")
    first.advance()  # goes on a little before it dies
    second = tiny_training(recipe)
    found = Snapshot.load(tmp_path / "snapshot")
    assert found is not None
    second.restore(found)
    assert second.step == steps
    while second.step < 9:
        second.advance()
    assert_same_bits(state(second), state(whole))


class Killed(BaseException):
    """Stands for the end of the process."""


def last_step(folder: Path) -> int:
    """The last step in a log that may not be there yet and whose last line may be cut."""
    log, last = folder / "metrics.jsonl", 0
    for line in log.read_text().splitlines() if log.exists() else ():
        try:
            last = json.loads(line)["step"]
        except json.JSONDecodeError:
            break
    return last


KILLED_RUN = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
import small_training
from fomo.training.loop import run
from fomo.training.recipe import Recipe
run(small_training.made_training(Recipe.model_validate_json(sys.argv[3])), Path(sys.argv[1]))
"""


def test_a_run_killed_with_kill_9_resumes_to_the_weights_of_an_uninterrupted_one(tiny_training, tiny_recipe, tmp_path):
    """A real process, killed while it writes a snapshot at every other step; the same command goes on here."""
    recipe = tiny_recipe(steps=400, checkpoint_every=2)
    folder = tmp_path / "killed"
    folder.mkdir()
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", KILLED_RUN, str(folder), here, recipe.model_dump_json()]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while last_step(folder) < 9:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "the run makes no progress"
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()

    reached = last_step(folder)
    assert 9 <= reached < 400
    found = Snapshot.load(folder / "snapshot")
    assert found is not None
    assert reached - 2 <= found.step <= reached  # at most the steps since the last snapshot are lost

    def stop(step: int, _: dict[str, float]) -> None:
        if step == reached + 4:
            raise Killed

    resumed, whole = tiny_training(recipe), tiny_training(recipe)
    with pytest.raises(Killed):
        run(resumed, folder, report=stop)
    with pytest.raises(Killed):
        run(whole, tmp_path / "whole", report=stop)
    assert_same_bits(state(resumed), state(whole))
    assert [row["step"] for row in metrics(folder)] == list(range(1, reached + 5))


@pytest.mark.parametrize("at", [1, 3, 5, 8, 11])
def test_a_run_that_dies_at_any_step_is_continued_by_the_same_command(tiny_training, tmp_path, uninterrupted, at):
    def die(step: int, _: dict[str, float]) -> None:
        if step == at:
            raise Killed

    folder = tmp_path / "run"
    with pytest.raises(Killed):
        run(tiny_training(), folder, report=die)
    with (folder / "metrics.jsonl").open("a") as log:
        log.write('{"step": 99, "lo')  # the line that was being written
    again = tiny_training()
    assert run(again, folder)
    assert_same_bits(state(again), uninterrupted)
    assert [row["step"] for row in metrics(folder)] == list(range(1, 13))  # no step twice, none left out


def test_the_log_of_a_resumed_run_is_that_of_an_uninterrupted_one(tiny_training, tmp_path):
    def die(step: int, _: dict[str, float]) -> None:
        if step == 6:
            raise Killed

    run(tiny_training(), tmp_path / "whole")
    with pytest.raises(Killed):
        run(tiny_training(), tmp_path / "broken", report=die)
    run(tiny_training(), tmp_path / "broken")
    measured = ("seconds", "processor_seconds", "steps_per_second", "tokens_per_second", "peak_share")
    one, other = (
        [{name: value for name, value in row.items() if name not in measured} for row in metrics(tmp_path / name)]
        for name in ("whole", "broken")
    )
    assert one == other
    assert all(math.isfinite(value) for row in one for value in row.values())


def test_a_run_out_of_time_saves_and_the_next_one_ends_in_the_same_bits(tiny_training, tmp_path, uninterrupted):
    folder = tmp_path / "run"
    assert not run(tiny_training(), folder, minutes=0.0)
    found = Snapshot.load(folder / "snapshot")
    assert found is not None
    assert found.step == 1
    again = tiny_training()
    assert run(again, folder, minutes=60.0)
    assert_same_bits(state(again), uninterrupted)


def test_a_finished_run_is_not_run_again(tiny_training, tmp_path, uninterrupted):
    again = tiny_training()
    log = (tmp_path / "uninterrupted" / "metrics.jsonl").read_text()
    assert run(again, tmp_path / "uninterrupted", report=lambda *_: pytest.fail("it trained"))
    assert_same_bits(state(again), uninterrupted)
    assert (tmp_path / "uninterrupted" / "metrics.jsonl").read_text() == log


def test_validation_sees_the_average_and_does_not_disturb_the_run(tiny_training, tiny_recipe, tmp_path, uninterrupted):
    seen: list[Tensor] = []
    training = tiny_training(tiny_recipe(validate_every=5, log_every=100))

    def validate(network: torch.nn.Module) -> dict[str, float]:
        assert network is training.average
        assert not network.training
        torch.rand(3)
        seen.append(network.decoder.bias.clone())
        return {"validation": 0.5}

    run(training, tmp_path / "run", validate=validate)
    assert len(seen) == 3  # at 5, 10 and the end
    assert [(row["step"], row["validation"]) for row in metrics(tmp_path / "run")] == [(5, 0.5), (10, 0.5), (12, 0.5)]
    assert_same_bits(state(training), uninterrupted)


@pytest.mark.parametrize("damage", ["cut", "emptied", "other file", "no step"])
def test_a_damaged_snapshot_is_refused_with_a_remedy(tiny_training, tmp_path, damage):
    run(tiny_training(steps=2), tmp_path)
    path = tmp_path / "snapshot" / FILE
    whole = path.read_bytes()
    if damage == "no step":
        room.save_file({"network.x": torch.zeros(1)}, path)
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "emptied": b"", "other file": b"\x80\x04" + whole}[damage])
    with pytest.raises(CheckpointError, match=r"snapshot\.safetensors is truncated or no snapshot.*delete.*afresh"):
        run(tiny_training(steps=2), tmp_path)


def test_the_snapshot_of_another_network_is_refused_with_a_remedy(tiny_training, tiny_recipe, tmp_path):
    run(tiny_training(steps=1), tmp_path)
    wider = tiny_recipe({"model": {"width": 64, "encoder_layers": 1, "denoiser_layers": 1, "heads": 2}}, steps=2)
    with pytest.raises(CheckpointError, match="another"):
        run(tiny_training(wider), tmp_path)


def test_a_full_disk_keeps_the_previous_snapshot(tiny_training, tmp_path, monkeypatch, uninterrupted):
    folder = tmp_path / "run"
    saved = room.save_file

    def full(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        if metadata["step"] == "8":
            Path(path).write_bytes(b"the first part")
            raise OSError(28, "No space left on device")
        saved(tensors, path, metadata)

    with monkeypatch.context() as patch:
        patch.setattr(room, "save_file", full)
        with pytest.raises(CheckpointError, match=r"No space left on device; the previous one is kept.*continues"):
            run(tiny_training(), folder)
    found = Snapshot.load(folder / "snapshot")
    assert found is not None
    assert found.step == 4
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.jsonl", "snapshot"]
    again = tiny_training()
    run(again, folder)
    assert_same_bits(state(again), uninterrupted)


def test_a_snapshot_holds_weights_average_and_moments(tiny_training, tmp_path):
    training = tiny_training()
    for _ in range(3):
        training.advance()
    training.snapshot().save(tmp_path / "snapshot")
    (tmp_path / "usual").touch()
    assert (tmp_path / "snapshot" / FILE).stat().st_mode == (tmp_path / "usual").stat().st_mode
    found = Snapshot.load(tmp_path / "snapshot")
    assert found is not None
    assert found.step == 3
    assert_same_bits(found.tensors, state(training))
    weights = dict(training.network.named_parameters())
    assert sum(name.endswith(".exp_avg") for name in found.tensors) == len(weights)
    assert not torch.equal(found.tensors["network.head.last.weight"], found.tensors["average.head.last.weight"])


def test_a_run_that_continues_clears_what_the_killed_one_left_half_written(tiny_training, tmp_path):
    run(tiny_training(steps=2), tmp_path)
    (tmp_path / ".snapshot.0123abcd.part").mkdir()
    (tmp_path / ".snapshot.0123abcd.part" / FILE).write_bytes(b"the first part")
    run(tiny_training(steps=3), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "snapshot"]


def test_where_there_is_no_snapshot_there_is_none(tmp_path):
    assert Snapshot.load(tmp_path / "snapshot") is None


def test_a_gradient_that_is_not_finite_stops_the_run_with_a_remedy(tiny_training):
    training = tiny_training()
    with torch.no_grad():
        training.network.decoder.bias.fill_(math.nan)
    before = training.network.head.last.weight.clone()
    with pytest.raises(FloatingPointError, match="step 0: lower the learning rate"):
        training.advance()
    assert torch.equal(training.network.head.last.weight, before)


def test_the_average_follows_the_weights_at_its_pace(tiny_training):
    training = tiny_training(average=0.9)
    expected = {name: value.clone() for name, value in training.network.named_parameters()}
    for step in range(1, 6):
        training.advance()
        keep = min(0.9, (1 + step) / (10 + step))
        for name, value in training.network.named_parameters():
            expected[name] = keep * expected[name] + (1 - keep) * value.detach()
    for name, value in training.average.named_parameters():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-7, msg=name)


def test_only_matrices_decay(tiny_training):
    decayed, others = tiny_training().optimiser.param_groups
    assert decayed["weight_decay"] == 0.05
    assert others["weight_decay"] == 0
    assert all(weight.ndim >= 2 for weight in decayed["params"])
    assert all(weight.ndim < 2 for weight in others["params"])


def test_the_learning_rate_warms_up_and_falls_along_a_cosine():
    config = OptimiserConfig(steps=1000, learning_rate=2.0, warm_up=100, final_rate=0.1)
    rates = [learning_rate(config, step) for step in range(1001)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[99] == rates[100] == pytest.approx(2.0)
    assert rates[550] == pytest.approx(2.0 * (0.1 + 0.9 * 0.5))  # half way down
    assert rates[1000] == pytest.approx(0.2)
    assert all(a < b for a, b in itertools.pairwise(rates[:100]))
    assert all(a > b for a, b in itertools.pairwise(rates[100:]))


@pytest.mark.parametrize("warm_up", [0, 5, 50])
def test_the_learning_rate_is_positive_however_short_the_run(warm_up):
    config = OptimiserConfig(steps=5, warm_up=warm_up)
    assert all(0 < learning_rate(config, step) <= config.learning_rate for step in range(5))


def test_the_batch_holds_as_many_cells_whatever_the_window(tiny_training, tiny_recipe):
    recipe = tiny_recipe({"windows": {"24x4x4": 1.0, "48x4x4": 1.0, "12x4x4": 1.0}}, batch=8)
    training = tiny_training(recipe)
    assert {training.advance()["cells"] for _ in range(8)} == {8.0 * 24 * 16}
