"""`fomo train`: weights with their provenance, resuming, stopping, refusing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import fomo
from fomo.app.service.training import train, trained_seconds
from small import RECIPE, Run, write_regions


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "weights" / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_train_writes_weights_that_say_where_they_come_from(
    run: Run, recipe: Path, data: Path, tmp_path: Path, city_folder: Path
) -> None:
    out = tmp_path / "run"
    said = run("train", recipe, "--data", data, "--out", out, "--threads", 1)
    assert said.code == 0, said.err
    assert "step 12 of 12" in said.out
    description = json.loads((out / "weights" / "checkpoint.json").read_text(encoding="utf-8"))
    assert set(description["references"]) == {"regions", "town"}
    digest = fomo.read_cities(data / "regions.npz")[0].attrs["sha256"][:16]
    assert description["trained_on"][:2] == [f"regions/01#{digest}", f"regions/03#{digest}"]
    assert description["trained_on"][2].split("#")[0] == "town[:230]"
    provenance = description["provenance"]
    assert provenance["steps"] == 12 and provenance["fomo"] == fomo.__version__ and provenance["seconds"] > 0
    assert provenance["recipe"]["optimiser"]["batch"] == 2
    assert provenance["data"]["regions"] == fomo.read_cities(data / "regions.npz")[0].attrs["sha256"]
    assert json.loads((out / "recipe.json").read_text(encoding="utf-8")) == provenance["recipe"]
    asked = ("forecast", city_folder, "--weights", out / "weights", "--samples", 2)
    assert run(*asked, "--out", tmp_path / "f.zarr").code == 0


def test_a_validation_fold_is_held_back_and_scored_while_training(run: Run, recipe: Path, data: Path, tmp_path: Path):
    text = recipe.read_text(encoding="utf-8")
    plain = tmp_path / "plain.toml"
    plain.write_text(text.replace("[data]", "[data]\nheld_back_folds = [0, 2]"), encoding="utf-8")
    text = text.replace("[data]", "[data]\nvalidation_fold = 2").replace("batch = 2", "batch = 2\nvalidate_every = 6")
    recipe.write_text(text.replace('name = "small"', 'name = "small"\ntemperature = 0.8'), encoding="utf-8")
    for file, out in ((recipe, "run"), (plain, "plain")):
        assert run("train", file, "--data", data, "--out", tmp_path / out, "--threads", 1).code == 0
    description = json.loads((tmp_path / "run/weights/checkpoint.json").read_text(encoding="utf-8"))
    assert [name.split("#")[0] for name in description["trained_on"]] == ["regions/01", "town[:230]"]
    assert description["temperature"] == 0.8
    assert same(weights_of(tmp_path / "run"), weights_of(tmp_path / "plain"))  # looking changes nothing
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    scored = {line["step"]: line for line in lines if "validation" in line}
    assert set(scored) == {6, 12}
    for line in scored.values():
        parts = [line["validation regions short"], line["validation regions long"]]
        assert min(parts) > 0 and max(parts) < 1
        assert line["validation"] == pytest.approx((parts[0] * parts[1]) ** 0.5, rel=1e-3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("validation_fold = 0", "validation_fold 0 is held back"),
        ("validation_fold = 1\nfirst_week_only = true", "first_week_only has none"),
        ("validation_fold = 7", "no family of the recipe has windows of the validation fold 7"),
    ],
)
def test_a_validation_fold_that_cannot_be_is_refused(run: Run, recipe: Path, data: Path, tmp_path: Path, line, message):
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("[data]", f"[data]\n{line}"), encoding="utf-8")
    said = run("train", recipe, "--data", data, "--out", tmp_path / "run")
    assert said.code == 2 and message in " ".join(said.err.split())


def test_half_precision_weights_are_half_the_size(run: Run, recipe: Path, data: Path, tmp_path: Path) -> None:
    for out, option in ((tmp_path / "whole", ()), (tmp_path / "half", ("--export-half",))):
        assert run("train", recipe, "--data", data, "--out", out, *option).code == 0
    sizes = [(tmp_path / name / "weights" / "model.safetensors").stat().st_size for name in ("whole", "half")]
    assert 0.45 < sizes[1] / sizes[0] < 0.6
    assert fomo.load(tmp_path / "half" / "weights").checkpoint.name == "small"


def test_another_recipe_is_refused_and_named(run: Run, recipe: Path, data: Path, tmp_path: Path) -> None:
    asked = ("train", recipe, "--data", data, "--out", tmp_path / "run")
    assert run(*asked).code == 0
    recipe.write_text(RECIPE.replace("STEPS", "12").replace("batch = 2", "batch = 3"), encoding="utf-8")
    said = run(*asked)
    assert said.code == 2
    assert "begun with another recipe: optimiser.batch was 2, is 3" in said.err


def test_a_run_that_kept_nothing_is_begun_anew(run: Run, recipe: Path, data: Path, tmp_path: Path) -> None:
    asked = ("train", recipe, "--data", data, "--out", tmp_path / "run")
    text = recipe.read_text(encoding="utf-8")
    assert "held_back_folds" not in text
    recipe.write_text(text.replace("[data]", "[data]\nvalidation_fold = 7"), encoding="utf-8")
    assert run(*asked).code == 2
    recipe.write_text(text, encoding="utf-8")
    said = run(*asked)
    assert said.code == 0, said.err


def test_folds_that_no_region_has_are_not_held_back_in_silence(
    run: Run, recipe: Path, data: Path, tmp_path: Path
) -> None:
    text = recipe.read_text(encoding="utf-8")
    recipe.write_text(text.replace("[data]", "[data]\nheld_back_folds = [0, 99]"), encoding="utf-8")
    said = run("train", recipe, "--data", data, "--out", tmp_path / "run")
    assert said.code == 2 and "held_back_folds names [99], which no region has" in said.err


def test_other_data_are_refused(run: Run, recipe: Path, data: Path, tmp_path: Path) -> None:
    other = tmp_path / "data"
    other.mkdir()
    fomo.save_city(fomo.open_city(data / "town.zarr"), other / "town.zarr")
    write_regions(other / "regions.npz", folds=[1, 1, 2])
    assert run("train", recipe, "--data", data, "--out", tmp_path / "run").code == 0
    said = run("train", recipe, "--data", other, "--out", tmp_path / "run")
    assert said.code == 2 and "begun with other data: regions changed" in said.err


def test_a_city_of_the_same_name_with_other_values_is_other_data(
    run: Run, recipe: Path, data: Path, tmp_path: Path
) -> None:
    assert run("train", recipe, "--data", data, "--out", tmp_path / "run").code == 0
    town = fomo.open_city(data / "town.zarr").load()
    town["traffic"][3, 0, 0] += 1
    fomo.save_city(town, data / "town.zarr")
    said = run("train", recipe, "--data", data, "--out", tmp_path / "run")
    assert said.code == 2 and "begun with other data: town changed" in said.err


def test_a_run_goes_on_from_the_weights_that_it_was_begun_from(
    run: Run, recipe: Path, data: Path, tmp_path: Path
) -> None:
    assert run("train", recipe, "--data", data, "--out", tmp_path / "first").code == 0
    tuned = tmp_path / "tuned.toml"
    begin = f'[finetune]\nstart = "{tmp_path}/start"\nscheme = "full"\n'
    tuned.write_text(recipe.read_text(encoding="utf-8") + begin, encoding="utf-8")
    shutil.copytree(tmp_path / "first/weights", tmp_path / "start")
    asked = ("finetune", tuned, "--data", data, "--out", tmp_path / "run")
    assert run(*asked).code == 0 and run(*asked).code == 0
    other = tmp_path / "other.toml"
    other.write_text(recipe.read_text(encoding="utf-8").replace("batch = 2", "batch = 3"), encoding="utf-8")
    assert run("train", other, "--data", data, "--out", tmp_path / "second").code == 0
    shutil.rmtree(tmp_path / "start")
    shutil.copytree(tmp_path / "second/weights", tmp_path / "start")
    said = run(*asked)
    assert said.code == 2 and "was begun from other weights" in said.err and said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("batch = 2", "btach = 2"), "optimiser.btach: no such key (misspelt?)"),
        (("batch = 2", "batch = 0"), "optimiser.batch: Input should be greater than or equal to 1"),
        (("town = 1.0", "towne = 1.0"), "the recipe trains on towne"),
        (("[data]", "[data"), "is not TOML"),
        (("steps = 12", "steps = 12\nlearning_rate = 1e38"), "is not finite"),
    ],
)
def test_a_wrong_recipe_is_one_line(
    run: Run, recipe: Path, data: Path, tmp_path: Path, change: tuple[str, str], says: str
) -> None:
    recipe.write_text(recipe.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    said = run("train", recipe, "--data", data, "--out", tmp_path / "run")
    assert said.code == 2 and said.err.count("\n") == 1 and says in said.err, said.err


def test_a_recipe_that_is_not_there(run: Run, data: Path, tmp_path: Path) -> None:
    said = run("train", tmp_path / "no.toml", "--data", data, "--out", tmp_path / "run")
    assert said.code == 2 and "there is no recipe" in said.err


def test_stopping_between_steps_saves_and_resumes_to_the_same_weights(recipe: Path, data: Path, tmp_path: Path) -> None:
    heard: list[int] = []
    train(recipe, tmp_path / "whole", data, report=lambda step, numbers: heard.append(step))
    assert heard == list(range(1, 13))

    left = train(recipe, tmp_path / "halved", data, stop=lambda: True)
    assert left.stopped and left.step == 1 and left.weights is None and not left.finished
    left = train(recipe, tmp_path / "halved", data, stop=iter([False] * 5 + [True]).__next__)
    assert left.step == 7
    again = train(recipe, tmp_path / "halved", data)
    assert again.finished
    assert same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "halved"))


def test_minutes_end_a_run_early_with_weights(run: Run, recipe: Path, data: Path, tmp_path: Path) -> None:
    said = run("train", recipe, "--data", data, "--out", tmp_path / "run", "--minutes", 1e-6)
    assert said.code == 0
    assert "step 1 of 12" in said.out and "the same command continues" in said.out
    assert (tmp_path / "run" / "weights" / "model.safetensors").exists()


def test_a_full_disk_keeps_the_snapshot_before(
    run: Run, recipe: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fomo.training import snapshot

    saves = iter(range(100))
    save = snapshot.save_file

    def full(*arguments: Any) -> None:
        if next(saves):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(*arguments)

    monkeypatch.setattr(snapshot, "save_file", full)
    said = run("train", recipe, "--data", data, "--out", tmp_path / "run")
    assert said.code == 2 and said.err.count("\n") == 1
    assert "No space left on device" in said.err and "the previous one is kept" in said.err
    monkeypatch.undo()
    assert run("train", recipe, "--data", data, "--out", tmp_path / "run").code == 0
    train(recipe, tmp_path / "whole", data)
    assert same(weights_of(tmp_path / "run"), weights_of(tmp_path / "whole"))


def test_tensorboard_that_is_not_installed_says_what_to_do(
    run: Run, recipe: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    said = run("train", recipe, "--data", data, "--out", tmp_path / "run", "--tensorboard")
    assert said.code == 2 and "pip install tensorboard" in said.err


def test_tensorboard_gets_what_the_log_gets(run: Run, recipe: Path, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    assert run("train", recipe, "--data", data, "--out", tmp_path / "run", "--tensorboard").code == 0
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))


def test_seconds_are_added_over_sittings(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_text("".join(f'{{"step": {i}, "seconds": {s}}}\n' for i, s in enumerate([1, 3, 0.5, 2])) + '{"st')
    assert trained_seconds(log) == 5.0
    assert trained_seconds(tmp_path / "none") == 0.0
    log.write_text('{"step": 1, "seconds": 9, "processor_seconds": 4}\n', encoding="utf-8")
    assert trained_seconds(log) == 4.0


@pytest.fixture
def long_run(data: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run in a process of its own that would take many minutes, once it has begun to learn."""
    recipe = tmp_path / "long.toml"
    recipe.write_text(RECIPE.replace("STEPS", "100000").replace("log_every = 2", "log_every = 1"), encoding="utf-8")
    command = [sys.executable, "-m", "fomo.app.cli", "train", str(recipe), "--data", str(data)]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "run"), "--threads", "1"], stderr=subprocess.PIPE, text=True
    )
    log = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_text(encoding="utf-8").count("\n") > 6):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    yield process
    process.kill()
    process.communicate()


def test_ctrl_c_finishes_the_step_saves_and_says_how_to_go_on(long_run: subprocess.Popen[str], tmp_path: Path) -> None:
    long_run.send_signal(signal.SIGINT)
    _, said = long_run.communicate(timeout=30)
    assert long_run.returncode == 130
    assert said.count("\n") == 1 and "stopped at step" in said and "the same command continues there" in said
    step = int(said.split("stopped at step ")[1].split()[0])
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps[-1] == step


def test_after_kill_9_a_run_continues_to_the_weights_of_one_that_was_not_killed(
    long_run: subprocess.Popen[str], data: Path, tmp_path: Path
) -> None:
    long_run.send_signal(signal.SIGKILL)
    long_run.communicate(timeout=30)
    recipe = tmp_path / "long.toml"
    end = train(recipe, tmp_path / "run", data, threads=1, stop=iter([False] * 2 + [True]).__next__).step
    assert end >= 4 + 3, "it went on where it was"
    train(recipe, tmp_path / "whole", data, threads=1, stop=iter([False] * (end - 1) + [True]).__next__)
    a, b = (load_file(tmp_path / name / "snapshot" / "snapshot.safetensors") for name in ("run", "whole"))
    assert same(a, b)
