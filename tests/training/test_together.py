"""Two processes that train together, beside one that trains alone."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from several import play
from small_training import SMALL, made_training

from fomo.processes import Place, ProcessError
from fomo.training.loop import Training, check_even, run
from fomo.training.recipe import Recipe
from fomo.training.snapshot import Snapshot
from fomo.training.together import in_clear_words, joined

STEPS = 6
MEASURED = ("seconds", "processor_seconds", "steps_per_second", "tokens_per_second", "peak_share")


def recipe_of(**parts: Any) -> dict[str, Any]:
    """A recipe of six steps with dropout, two shapes of windows, and outages in its data."""
    pace = {"steps": STEPS, "batch": 4, "warm_up": 2, "checkpoint_every": 4, "log_every": 1}
    data = {"data": {"families": {"made": 1.0}}, "windows": {"24x4x4": 3.0, "16x3x5": 1.0}}
    return {"name": "tiny", "seed": 3, "optimiser": pace, "model": SMALL} | data | parts


PLAIN = recipe_of()
# What a step needs of the windows of other processes: weights of sums, contexts for (16), blocks for (14).
CONTEXT = recipe_of(model={**SMALL, "context": True}, context={}, loss={"contrast": 0.3, "level_power": 1.0})
#: Of four windows one is denoised, so process 1 has none.
FEW = recipe_of(process="residual", loss={"denoised_share": 0.2})


def left_at(recipe: dict[str, Any], folder: Path, until: int) -> None:
    """A run of one process that is left after a step, with a snapshot there."""
    training = made_training(Recipe.model_validate(recipe))
    run(training, folder, minutes=0.0)
    while training.step < until:
        training.advance()
    training.save(folder / "snapshot")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two processes that have played everything that is looked at below."""
    where = tmp_path_factory.mktemp("two")
    runs = {
        "plain": {"recipe": PLAIN},
        "context": {"recipe": CONTEXT},
        "few": {"recipe": FEW},
        "divided": {"recipe": PLAIN, "shard": True},
        "left": {"recipe": PLAIN, "until": 3},
        "left divided": {"recipe": PLAIN, "shard": True, "until": 3},
        "taken up": {"recipe": PLAIN},
        "taken up divided": {"recipe": PLAIN, "shard": True},
    }
    for name in ("taken up", "taken up divided"):
        left_at(PLAIN, where / name, 3)
    returned, errors = played(where, 2, {"runs": runs, "killed": {"recipe": PLAIN}})
    assert returned == [2, -9], errors
    return where


def played(where: Path, size: int, plan: dict[str, Any]) -> tuple[list[int], list[str]]:
    """How many processes came to the end of a plan: their exit codes and what they complained of."""
    (where / "plan.json").write_text(json.dumps(plan))
    port = free_port()
    several = Path(__file__).with_name("several.py")
    paths = os.pathsep.join([str(several.parent), os.environ.get("PYTHONPATH", "")])
    meet = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHONPATH": paths}
    command = [sys.executable, str(several), str(where), str(where / "plan.json")]
    processes = [
        subprocess.Popen(command, env=os.environ | meet | {"RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(size)
    ]
    try:
        errors = [process.communicate(timeout=300)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], errors


def rows(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in MEASURED} for line in lines]


Alone = Callable[[dict[str, Any]], tuple[list[dict[str, float]], Training]]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Alone:
    """The log and the end of the same run in one process."""
    known: dict[str, tuple[list[dict[str, float]], Training]] = {}

    def make(recipe: dict[str, Any]) -> tuple[list[dict[str, float]], Training]:
        key = json.dumps(recipe, sort_keys=True)
        if key not in known:
            folder = tmp_path_factory.mktemp("alone")
            training = made_training(Recipe.model_validate(recipe))
            run(training, folder)
            known[key] = rows(folder), training
        return known[key]

    return make


def assert_close(found: list[dict[str, float]], expected: list[dict[str, float]], tolerance: float = 1e-4) -> None:
    assert [row["step"] for row in found] == [row["step"] for row in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            assert one[name] == pytest.approx(value, rel=tolerance, abs=2e-5), (other["step"], name)


@pytest.mark.parametrize(("name", "recipe"), [("plain", PLAIN), ("few", FEW), ("divided", PLAIN), ("context", CONTEXT)])
def test_two_processes_give_the_losses_gradients_and_weights_of_one(two: Path, alone: Alone, name, recipe):
    expected, training = alone(recipe)
    assert_close(rows(two / name), expected)
    average = torch.load(two / name / "average.pt")
    for key, value in training.average.state_dict().items():
        torch.testing.assert_close(average[key], value, rtol=1e-3, atol=2e-5)


def third(rank: int, where: Path, port: int, recipe: dict[str, Any], shard: bool) -> None:
    """What one of three processes does."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with joined("cpu", shard, patience=60) as together:
        play({"recipe": recipe, "shard": shard}, where, together)


@pytest.mark.parametrize("shard", [False, True])
def test_three_processes_give_the_losses_and_weights_of_one(tmp_path: Path, alone: Alone, shard: bool):
    """A third of the batch each. Forked, as three fresh interpreters would take most of the time to start."""
    recipe = recipe_of(optimiser=PLAIN["optimiser"] | {"batch": 3, "steps": 2}, windows={"24x4x4": 1.0})
    expected, training = alone(recipe)
    fork = multiprocessing.get_context("fork")
    port = free_port()
    thirds = [fork.Process(target=third, args=(rank, tmp_path, port, recipe, shard)) for rank in range(3)]
    try:
        for process in thirds:
            process.start()
        for process in thirds:
            process.join(120)
    finally:
        for process in thirds:
            process.kill()
    assert [process.exitcode for process in thirds] == [0, 0, 0]
    assert_close(rows(tmp_path), expected)
    average = torch.load(tmp_path / "average.pt")
    for key, value in training.average.state_dict().items():
        torch.testing.assert_close(average[key], value, rtol=1e-3, atol=2e-5)


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_what_is_compared_moves(alone: Alone):
    expected, training = alone(PLAIN)
    assert len({row["loss"] for row in expected}) == STEPS
    fresh = made_training(Recipe.model_validate(PLAIN)).average
    assert not torch.allclose(fresh.decoder.weight, training.average.decoder.weight, atol=1e-4)


@pytest.mark.parametrize("name", ["taken up", "taken up divided"])
def test_a_run_of_one_process_is_taken_up_by_two(two: Path, alone: Alone, name):
    assert_close(rows(two / name)[1:], alone(PLAIN)[0][3:])  # the log has the first step, and those of the two


@pytest.mark.parametrize("name", ["left", "left divided"])
def test_a_run_of_two_processes_is_taken_up_by_one(two: Path, alone: Alone, name, tmp_path):
    found = Snapshot.load(two / name / "snapshot")
    assert found is not None
    assert found.step == 3
    training = made_training(Recipe.model_validate(PLAIN))
    training.restore(found)
    numbers = [{"step": training.step, **training.advance()} for _ in range(STEPS - 3)]
    for one, other in zip(numbers, alone(PLAIN)[0][3:], strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert one["gradient"] == pytest.approx(other["gradient"], rel=1e-4)


def test_only_the_first_process_writes(two: Path):
    assert sorted(path.name for path in (two / "plain").iterdir()) == ["average.pt", "metrics.jsonl", "snapshot"]
    assert [row["step"] for row in rows(two / "plain")] == list(range(1, STEPS + 1))  # no line twice


def test_where_one_is_killed_the_other_says_so_soon_and_the_snapshot_is_good(two: Path, alone: Alone, tmp_path):
    lost = json.loads((two / "lost.json").read_text())
    assert "process 0 of 2 has lost another one" in lost["said"]
    assert "the same command continues from the last" in lost["said"]
    assert lost["seconds"] < 60
    found = Snapshot.load(two / "killed" / "snapshot")
    assert found is not None
    assert found.step == 4
    training = made_training(Recipe.model_validate(PLAIN))
    run(training, two / "killed")
    assert_close(rows(two / "killed"), alone(PLAIN)[0])


def test_processes_that_are_not_alike_are_told_what_differs(two: Path):
    first, other = (json.loads((two / f"said-{rank}.json").read_text()) for rank in range(2))
    assert first["same"] == other["same"] == ""
    for said in (first, other):
        assert "have another recipe.seed (recipe.seed 3 in 0, 4 in 1)" in said["recipe"]
        assert "data.milan 0a in 0, 0b in 1" in said["data"]
        assert "have another version (fomo " in said["version"] and "install the same versions" in said["version"]
        assert "the windows drawn differ between process 0 and [1]" in said["draws"]
    assert other["cannot"] == "FileNotFoundError: no data in /here"
    assert first["cannot"].startswith("ProcessError: process 1 on ") and "no data in /here" in first["cannot"]
    assert first["first fails"].startswith("ZeroDivisionError")
    assert other["first fails"] == "ProcessError: process 0 said: division by zero"


def test_a_number_of_processes_that_does_not_divide_the_batches_is_refused():
    recipe = Recipe.model_validate(PLAIN)  # batches of 4 and of 6
    check_even(recipe, 2)
    with pytest.raises(ProcessError, match="4 processes cannot share batches of 6 windows 16x3x5 evenly: start 1 or 2"):
        check_even(recipe, 4)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"RANK": "1"}, "RANK is set but WORLD_SIZE is not"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is set but RANK is not"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "ranks count from 0 to 1"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK is 'x'"),
    ],
)
def test_variables_that_do_not_fit_together_are_refused(given, says):
    with pytest.raises(ProcessError, match=says):
        Place.of_environment(given)


def test_where_nothing_is_set_a_process_is_alone(monkeypatch):
    assert Place.of_environment({}) == Place() and Place().alone and Place().first
    place = Place.of_environment({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"})
    assert (place.rank, place.size, place.local_rank, place.local_size) == (5, 8, 1, 4)
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(ProcessError, match="MASTER_ADDR and MASTER_PORT, where they meet, are not set"), joined("cpu"):
        pytest.fail("it met somebody")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        MemoryError(),
    ],
)
def test_memory_that_is_used_up_is_said_with_what_to_change(error):
    with (
        pytest.raises(ProcessError, match=r"no memory is left.*--nproc-per-node.*--shard.*optimiser\.batch"),
        in_clear_words(Place(), 1.0),
    ):
        raise error


def test_a_fault_of_the_program_is_not_taken_for_a_lost_process():
    fault = RuntimeError("shape '[2]' is invalid for input of size 3")
    with pytest.raises(RuntimeError) as found, in_clear_words(Place(1, 2, 1, 2), 1.0):
        raise fault
    assert found.value is fault
