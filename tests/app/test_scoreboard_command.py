"""`fomo scoreboard`: resumed, complete even where a rival fails, and checked again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from safetensors.torch import load_file, save_file

from fomo.app.service.scoreboard import work as working
from fomo.app.service.scoreboard.digest import code_digest, with_imports
from fomo.app.service.scoreboard.fits import _finished, load_rival, made_by
from fomo.app.service.scoreboard.plan import ScoreboardRecipe, cells, jobs, load_scoreboard
from fomo.app.service.scoreboard.report import standing, write_logs, write_own_logs
from fomo.app.service.scoreboard.run import results
from fomo.app.service.scoreboard.run import run as run_jobs
from fomo.app.service.scoreboard.work import Place, work
from fomo.app.service.training import data_hashes
from fomo.config import ConfigError
from fomo.evaluation.beside import Beside
from fomo.evaluation.protocol import Scores, evaluate
from fomo.evaluation.scoreboard import Line, lines
from fomo.evaluation.stored import load_scores
from fomo.forecasters.rivals.training import TrainingFailed
from small import RECIPE, Run

BOARD = """
traffic = "RECIPE"
tuned = "TUNED"
samples = 3
every = {"persistence" = 2}
[fit]
steps = 2
batch = 2
window = [64, 4, 4]
[sets.fold-0]
weights = "WEIGHTS"
[sets.fold-1]
held_back_folds = [1]
weights = "WEIGHTS"
[[columns]]
protocol = "unseen"
split = "fold"
set = "fold-{fold}"
folds = [0, 1]
cities = ["regions"]
tasks = ["short", "generate"]
"""
CONTEXT = """
[context]
[finetune]
start = "unused"
"""


@pytest.fixture
def board(tmp_path: Path, context_weights: Path) -> Path:
    """A scoreboard of the made-up regions; each rival two steps."""
    (tmp_path / "small.toml").write_text(RECIPE.replace("STEPS", "1"), encoding="utf-8")
    tuned = RECIPE.replace("STEPS", "1").replace("heads = 2}", "heads = 2, context = true}") + CONTEXT
    (tmp_path / "tuned.toml").write_text(tuned, encoding="utf-8")
    path = tmp_path / "board.toml"
    text = BOARD.replace("RECIPE", str(tmp_path / "small.toml")).replace("TUNED", str(tmp_path / "tuned.toml"))
    path.write_text(text.replace("WEIGHTS", str(context_weights)), encoding="utf-8")
    return path


@pytest.fixture
def place(data: Path, tmp_path: Path) -> Place:
    return Place(data, tmp_path / "runs")


def test_the_committed_scoreboard_trains_on_nothing_that_it_tests() -> None:
    recipe = load_scoreboard(Path(__file__).parents[2] / "recipes/scoreboard.toml")
    for column in recipe.columns:
        for fold in column.folds:
            chosen = recipe.sets[column.set_of(fold)]
            if column.split == "fold":
                assert fold in chosen.held_back_folds and not chosen.first_week_only
            if column.split == "next_week":
                assert chosen.first_week_only


def test_cells_and_jobs_follow_from_the_recipe(board: Path) -> None:
    recipe = load_scoreboard(board)
    found = cells(recipe, ("FoMo", "PatchTST", "persistence"))
    asked = {(cell.entry.name, cell.fold) for cell in found}
    assert asked == {("FoMo", 0), ("FoMo", 1), ("PatchTST", 0), ("persistence", 0), ("persistence", 1)}
    assert {cell.every for cell in found if cell.entry.name == "persistence"} == {2}
    made = jobs(found)
    assert made[0].name == "PatchTST on fold-0"  # what takes longest begins
    assert all(cell.task != "generate" for job in made if job.entry.name == "persistence" for cell in job.cells)


def test_what_is_done_is_not_done_again(board: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_scoreboard(board)
    (job,) = [job for job in jobs(cells(recipe, ("PatchTST",)))]
    assert work(job, recipe, place) == ""
    scores, about = load_scores(place.scores(job.cells[0]))
    assert scores.forecaster == "PatchTST" and not scores.leakage and about["train_seconds"] > 0
    fit = place.out / "fits/fold-0/patchtst/fit.json"
    assert fit.stat().st_mode == fit.with_name("network.safetensors").stat().st_mode  # others may read both
    before = fit.read_text(encoding="utf-8")
    monkeypatch.setattr(working, "evaluate", lambda *_, **__: pytest.fail("scored twice"))
    assert work(job, recipe, place) == ""
    assert fit.read_text(encoding="utf-8") == before
    (log,) = write_logs(place.out / "fits", place.out / "logs")
    assert log.name == "fold-0-patchtst.json" and log.read_text(encoding="utf-8") == before


def test_the_status_names_the_column_that_is_asked(board: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What took less than two seconds was named while the next was asked, for minutes."""
    recipe = load_scoreboard(board)
    (job,) = [job for job in jobs(cells(recipe, ("persistence",))) if job.set == "fold-0"]
    said = []

    def listen(*given: Any, **more: Any) -> Scores:
        said.append(place.status(job).read_text(encoding="utf-8"))
        return evaluate(*given, **more)

    monkeypatch.setattr(working, "evaluate", listen)
    assert work(job, recipe, place) == "" and len(job.cells) > 1
    for at, cell in enumerate(job.cells):
        done = f"{at / len(job.cells):.0%}"
        assert said[at] == f"{done} asking regions {cell.task} {cell.context}, fold 0"
    assert not place.status(job).exists()


def test_a_rival_that_fails_is_reported_and_the_table_is_complete(
    board: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_scoreboard(board)
    (job,) = [job for job in jobs(cells(recipe, ("UniST",)))]

    def broken(*_: object) -> None:
        raise TrainingFailed("the loss is nan after 7 steps: no number")

    monkeypatch.setattr(working, "trained", broken)
    error = work(job, recipe, place)
    assert error == "TrainingFailed: the loss is nan after 7 steps: no number"
    assert "Traceback" in (place.out / "errors/unist-on-fold-0.txt").read_text(encoding="utf-8")
    found = [line for line in lines(results(recipe, place, {job.name: error})) if line.forecaster == "UniST"]
    assert found and all(line.value is None and line.note == error for line in found)
    later = [line for line in lines(results(recipe, place)) if line.forecaster == "UniST"]  # of a run that asks others
    assert {line.note for line in later} == {error}
    monkeypatch.undo()
    assert work(job, recipe, place) == ""
    assert {line.note for line in lines(results(recipe, place)) if line.forecaster == "UniST"}.isdisjoint({error})


def test_rules_in_other_processes_then_tables_then_a_check(board: Path, data: Path, tmp_path: Path, run: Run) -> None:
    options = ("--data", data, "--out", tmp_path / "runs", "--results", tmp_path / "results")
    said = run("scoreboard", board, *options, "--only", "persistence", "traffic per user", "--jobs", 2)
    assert said.code == 0, said.err
    found = pl.read_csv(tmp_path / "results/scoreboard.csv", infer_schema_length=None)
    rmse = found.filter(pl.col("metric") == "rmse", pl.col("value").is_not_null())
    assert set(rmse["forecaster"]) == {"persistence", "traffic per user"}
    assert set(rmse["protocol"]) == {"unseen, fold 0", "unseen, 2 folds"}
    assert set(rmse.filter(pl.col("forecaster") == "traffic per user")["context"]) == {"full"}
    assert set(rmse.filter(pl.col("forecaster") == "persistence")["note"]) == {"each 2th window"}
    generation = found.filter(pl.col("task") == "generate", pl.col("forecaster") == "persistence")
    assert generation["value"].null_count() == generation.height
    assert set(generation["note"]) == {"cannot generate cells without history"}
    page = (tmp_path / "results/scoreboard.html").read_text(encoding="utf-8")
    assert "persistence" in page and "http" not in page.replace("http-equiv", "")
    checked = run("scoreboard", board, *options, "--check")
    assert checked.code == 0, checked.err
    # What each did in each region stays with the table, where the scores are gone.
    sums = pl.read_parquet(tmp_path / "results/scoreboard-units.parquet")
    assert set(sums["forecaster"]) == {"persistence", "traffic per user"} and sums["unit"].n_unique() > 1
    elsewhere = ("--data", data, "--out", tmp_path / "other", "--results", tmp_path / "results", "--tables")
    assert run("scoreboard", board, *elsewhere, "--keep").code == 0
    assert pl.read_parquet(tmp_path / "results/scoreboard-units.parquet").sort(pl.all()).equals(sums.sort(pl.all()))
    nothing = run("scoreboard", board, *elsewhere[:-2], tmp_path / "none", "--tables", "--keep")
    assert nothing.code == 2 and "leave --keep away" in nothing.err and "Traceback" not in nothing.err


def test_a_changed_number_is_found_by_the_check(board: Path, data: Path, tmp_path: Path, run: Run) -> None:
    options = ("--data", data, "--out", tmp_path / "runs", "--results", tmp_path / "results")
    assert run("scoreboard", board, *options, "--only", "FoMo").code == 0
    file = tmp_path / "results/scoreboard.csv"
    found = pl.read_csv(file, infer_schema_length=None)
    found.with_columns(pl.col("value") * 3, pl.col("low") * 3, pl.col("high") * 3).write_csv(file)
    said = run("scoreboard", board, *options, "--check")
    assert said.code == 1 and "RMSE" in said.err and "CRPS" in said.err and "lies outside" in said.err


def test_a_check_counts_what_it_cannot_compare(
    board: Path, data: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended in a traceback where a rival's weights were elsewhere, and passed over what had no number."""
    options = ("--data", data, "--out", tmp_path / "runs", "--results", tmp_path / "results")
    assert run("scoreboard", board, *options, "--only", "FoMo", "persistence").code == 0
    monkeypatch.setattr("fomo.app.service.scoreboard.check.ONE_IN", 1)
    monkeypatch.delenv("FOMO_CHRONOS", raising=False)
    file = tmp_path / "results/scoreboard.csv"
    found = pl.read_csv(file, infer_schema_length=None)
    chronos = pl.col("forecaster") == "Chronos-2"
    found.with_columns(value=pl.when(chronos).then(1.0).otherwise(pl.col("value"))).write_csv(file)
    said = run("scoreboard", board, *options, "--check")
    assert said.code == 0, said.err
    last = said.out.splitlines()[-1]
    assert re.match(r"\d+ answers with \d+ numbers compared, \d+ not: ", last)
    assert "Chronos-2, regions short none (Chronos-2 " in last and "(no number in the table: not scored yet)" in last


def test_a_check_that_has_nothing_to_compare_fails(board: Path, data: Path, tmp_path: Path, run: Run) -> None:
    options = ("--data", data, "--out", tmp_path / "runs", "--results", tmp_path / "results")
    assert run("scoreboard", board, *options, "--only", "persistence").code == 0
    file = tmp_path / "results/scoreboard.csv"
    pl.read_csv(file, infer_schema_length=None).clear().write_csv(file)
    said = run("scoreboard", board, *options, "--check")
    assert said.code == 1 and "no rows of" in said.err


def test_scores_of_other_weights_or_of_another_training_are_not_shown_as_todays(
    board: Path, place: Place, tmp_path: Path, context_weights: Path
) -> None:
    recipe = load_scoreboard(board)
    for job in jobs(cells(recipe, ("FoMo", "PatchTST"))):
        assert work(job, recipe, place) == ""

    def notes(now: ScoreboardRecipe, name: str) -> set[str]:
        found = [
            line for line in lines(results(now, place)) if line.forecaster == name and line.protocol == "unseen, fold 0"
        ]
        return {line.note for line in found if line.task == "short"}

    assert notes(recipe, "FoMo") == {""} and notes(recipe, "PatchTST") == {""}
    other = tmp_path / "other"
    shutil.copytree(context_weights, other)
    state = load_file(other / "model.safetensors")
    save_file({name: 1.01 * part for name, part in state.items()}, other / "model.safetensors")
    sets = {name: one.model_copy(update={"weights": str(other)}) for name, one in recipe.sets.items()}
    again = "scored by another recipe or code: run it again"
    assert notes(recipe.model_copy(update={"sets": sets}), "FoMo") == {again}
    faster = recipe.model_copy(update={"fit": recipe.fit.model_copy(update={"learning_rate": 0.5})})
    assert notes(faster, "PatchTST") == {again} and notes(faster, "FoMo") == {""}


def test_a_run_on_data_that_have_changed_is_not_taken_for_finished(
    board: Path, place: Place, tmp_path: Path, data: Path
) -> None:
    recipe = load_scoreboard(board).fomo("fold-0", Path("nowhere"))[0]
    folder = tmp_path / "begun"
    (folder / "weights").mkdir(parents=True)
    for name, content in (("recipe", recipe.model_dump(mode="json")), ("data", data_hashes(recipe.data, data))):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    assert _finished(folder, recipe, data)
    (folder / "data.json").write_text(json.dumps(dict.fromkeys(recipe.data.families, "other")), encoding="utf-8")
    assert not _finished(folder, recipe, data)


SEARCH = """
[search]
set = "search"
fold = 1
every = 40
samples = 2
learning_rates = [0.001, 0.004]
[sets.search]
held_back_folds = [0, 1]
"""


def test_a_search_tries_every_rate_and_says_which_is_best(board: Path, data: Path, tmp_path: Path, run: Run) -> None:
    board.write_text(board.read_text(encoding="utf-8") + SEARCH, encoding="utf-8")
    (tmp_path / "results").mkdir()
    head = "rival,learning_rate,columns,over_usual,best\n"
    before = head + "UniST,0.001,18,1.0,true\nPatchTST,0.009,18,0.5,true\n"  # of earlier searches
    (tmp_path / "results/rival-rates.csv").write_text(before, encoding="utf-8")
    options = ("--data", data, "--out", tmp_path / "runs", "--results", tmp_path / "results")
    said = run("scoreboard", board, *options, "--search", "rates", "--only", "PatchTST", "persistence", "--jobs", 1)
    assert said.code == 0, said.err
    found = pl.read_csv(tmp_path / "results/rival-rates.csv")
    assert found["rival"][0] == "UniST"  # what is not searched again stays
    found = found[1:]
    assert found["rival"].to_list() == ["PatchTST", "PatchTST"]
    assert found["learning_rate"].to_list() == [0.001, 0.004] and found["over_usual"][0] == 1.0
    assert found["best"].to_list() == [found["over_usual"][1] >= 1, found["over_usual"][1] < 1]
    fits = {float(file.parents[3].name): file for file in (tmp_path / "runs/search").glob("*/fits/*/*/fit.json")}
    assert set(fits) == {0.001, 0.004}
    for rate, file in fits.items():
        record = json.loads(file.read_text(encoding="utf-8"))
        assert record["fit"]["learning_rate"] == rate and record["data"]["held_back_folds"] == [0, 1]
    assert "| PatchTST |" in (tmp_path / "results/rival-rates.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("held_back_folds = [0, 1]", "held_back_folds = [0]"), "does not hold back fold 1"),
        (("[0.001, 0.004]", "[0.003, 0.004]"), "the rate of [fit], 0.001, is not among"),
    ],
)
def test_a_search_that_would_prove_nothing_is_refused(board: Path, change: tuple[str, str], says: str) -> None:
    board.write_text(board.read_text(encoding="utf-8") + SEARCH.replace(*change), encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(says)):
        load_scoreboard(board)


def test_a_search_needs_settings_and_a_rival_that_is_trained(board: Path, data: Path, run: Run) -> None:
    said = run("scoreboard", board, "--data", data, "--search", "rates", "--only", "PatchTST")
    assert said.code == 2 and "has no [search]" in said.err
    board.write_text(board.read_text(encoding="utf-8") + SEARCH, encoding="utf-8")
    said = run("scoreboard", board, "--data", data, "--search", "rates", "--only", "ARIMA")
    assert said.code == 2 and "ARIMA are not trained here" in said.err
    said = run("scoreboard", board, "--data", data, "--search", "networks")
    assert said.code == 2 and "has no [search.networks]" in said.err


NETWORKS = """
[search.networks]
"PatchTST" = [{ width = 16, layers = 1 }, { width = 24 }]
"TimeGPT" = [{ width = 12 }]
"""


def test_a_search_tries_networks_beside_the_usual_one(board: Path, data: Path, tmp_path: Path, run: Run) -> None:
    board.write_text(board.read_text(encoding="utf-8") + SEARCH + NETWORKS, encoding="utf-8")
    results = tmp_path / "results"
    options = ("--data", data, "--out", tmp_path / "runs", "--results", results, "--jobs", 1)
    said = run("scoreboard", board, *options, "--search", "networks", "--only", "TimeGPT")
    assert said.code == 0, said.err
    said = run("scoreboard", board, *options, "--search", "networks", "--only", "PatchTST")
    assert said.code == 0, said.err
    found = pl.read_csv(results / "rival-networks.csv")
    assert set(zip(found["rival"], found["network"], strict=True)) == {
        ("TimeGPT", "usual"), ("TimeGPT", "width 12"),
        ("PatchTST", "usual"), ("PatchTST", "width 16, layers 1"), ("PatchTST", "width 24"),
    }  # fmt: skip
    assert found.filter(pl.col("network") == "usual")["over_usual"].to_list() == [1.0, 1.0]
    assert found.group_by("rival").agg(pl.col("best").sum())["best"].to_list() == [1, 1]
    text = (results / "rival-networks.md").read_text(encoding="utf-8")
    assert "| as it is | 1. other | 2. other |" in text and "| TimeGPT |" in text and "width 24: " in text
    fits = {file.parents[3].name: file for file in (tmp_path / "runs/search").glob("*/fits/*/patchtst/fit.json")}
    sizes = {label: json.loads(file.read_text(encoding="utf-8")).get("size") for label, file in fits.items()}
    assert sizes == {"usual": None, "network-1": {"width": 16, "layers": 1}, "network-2": {"width": 24}}
    shape = load_file(fits["network-1"].with_name("network.safetensors"))["embed.weight"].shape
    assert shape[0] == 16  # what the record says was trained


def test_a_network_of_another_size_is_trained_and_read_again(board: Path, place: Place) -> None:
    (job,) = jobs(cells(load_scoreboard(board), ("PatchTST",)))
    usual = made_by(job.entry, job.set, load_scoreboard(board), place.data)
    board.write_text("networks = {PatchTST = {width = 16}}\n" + board.read_text(encoding="utf-8"), encoding="utf-8")
    recipe = load_scoreboard(board)
    assert made_by(job.entry, job.set, recipe, place.data) != usual
    assert work(job, recipe, place) == ""
    found, stored = load_rival(job.entry, place.out / "fits/fold-0/patchtst")
    assert stored["size"] == {"width": 16} and found.network.embed.out_features == 16


def test_a_network_that_cannot_be_is_refused_before_any_work(board: Path, data: Path, tmp_path: Path, run: Run) -> None:
    board.write_text("networks = {PatchTST = {depth = 3}}\n" + board.read_text(encoding="utf-8"), encoding="utf-8")
    options = ("--data", data, "--out", tmp_path / "runs", "--results", tmp_path / "results")
    said = run("scoreboard", board, *options, "--only", "persistence", "PatchTST")
    assert said.code == 2 and "PatchTST cannot have depth 3" in said.err
    assert not (tmp_path / "runs").exists() and not (tmp_path / "results").exists()


def test_rates_of_rivals_change_their_trainings_only(board: Path) -> None:
    board.write_text("rates = {PatchTST = 0.002}\n" + board.read_text(encoding="utf-8"), encoding="utf-8")
    recipe = load_scoreboard(board)
    assert recipe.fit_of("PatchTST", "fold-0").learning_rate == 0.002 and recipe.fit_of("UniST", "fold-0") == recipe.fit


def test_steps_of_a_rival_are_of_one_set(board: Path) -> None:
    text = board.read_text(encoding="utf-8").replace("[sets.fold-0]", "[sets.fold-0]\nsteps = {PatchTST = 7}")
    board.write_text(text, encoding="utf-8")
    recipe = load_scoreboard(board)
    assert recipe.fit_of("PatchTST", "fold-0").steps == 7
    assert recipe.fit_of("PatchTST", "fold-1") == recipe.fit_of("UniST", "fold-0") == recipe.fit


def test_a_process_that_is_killed_costs_its_job_only(board: Path, place: Place) -> None:
    recipe = load_scoreboard(board)
    assert run_jobs(recipe, place, names=("history mean",), processes=1) == {}
    assert place.scores(next(cell for cell in cells(recipe, ("history mean",)) if not cell.cannot())).exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"persistence"', '"persistance"'), "there is no forecaster 'persistance'"),
        (("[sets.fold-1]", "[sets.fold-7]"), "there is no set 'fold-1'"),
        (("samples = 3", "samples = 0"), "samples"),
        (("samples = 3", "samples = 3\nseed = -1"), "seed"),
        (('"persistence" = 2', '"persistence" = 0'), "every.persistence"),
        (('"persistence" = 2', '"Persistence" = 2'), "write 'persistence', not 'Persistence'"),
        (("samples = 3", 'samples = 3\nrates = {"patchtst" = 0.1}'), "write 'PatchTST', not 'patchtst'"),
        (("samples = 3", 'samples = 3\nrates = {"FoMo" = 0.1}'), "FoMo is not trained here"),
        (("samples = 3", 'samples = 3\nrates = {"PatchTST" = -0.1}'), "rates.PatchTST"),
        (("samples = 3", 'samples = 3\nnetworks = {"ARIMA" = {width = 8}}'), "networks: ARIMA is not trained here"),
        (("samples = 3", 'samples = 3\nnetworks = {"PatchTST" = {width = 0}}'), "networks.PatchTST.width"),
        (("[sets.fold-0]", '[sets.fold-0]\nsteps = {"ARIMA" = 9}'), "sets.fold-0.steps: ARIMA is not trained here"),
        (('split = "fold"', 'split = "area"'), "the split 'area' names its area"),
    ],
)
def test_a_wrong_recipe_is_one_line(board: Path, run: Run, data: Path, change: tuple[str, str], message: str) -> None:
    board.write_text(board.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    said = run("scoreboard", board, "--data", data)
    assert said.code == 2 and message in said.err and said.err.count("\n") == 1
    with pytest.raises(ConfigError):
        load_scoreboard(board)


def test_a_wrong_name_is_refused_before_any_work(board: Path, run: Run, data: Path) -> None:
    said = run("scoreboard", board, "--data", data, "--only", "Unist2")
    assert said.code == 2 and "there is no forecaster 'Unist2'" in said.err


def test_the_list_names_kind_tasks_and_what_each_was_trained_on(run: Run) -> None:
    said = run("evaluate", "--list")
    assert said.code == 0
    texts = "UniST", "foundation", "short long generate", "windows of FoMo's training cities", "nothing: the window"
    for text in texts:
        assert text in said.out


def test_a_digest_changes_with_the_code_and_not_with_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fomo.app.service.scoreboard import digest

    monkeypatch.setattr(digest, "ROOT", tmp_path)
    file = tmp_path / "one.py"
    seen = []
    for text in ('"""A."""\nx = 1\n', '"""B."""\n# why\nx = 1\n', '"""A."""\nx = 2\n'):
        digest._code.cache_clear()
        file.write_text(text, encoding="utf-8")
        seen.append(code_digest(["one.py"]))
    assert seen[0] == seen[1] != seen[2]


def test_what_a_rival_imports_counts() -> None:
    found = with_imports("forecasters/rivals/patchtst.py")
    assert "forecasters/rivals/blocks.py" in found and "forecasters/rivals/inputs.py" in found


def test_evaluate_asks_any_forecaster_of_the_list(board: Path, place: Place, run: Run, context_weights: Path) -> None:
    recipe = load_scoreboard(board)
    (job,) = [job for job in jobs(cells(recipe, ("PatchTST",)))]
    assert work(job, recipe, place) == ""
    options = ("--city", "regions", "--data", place.data, "--weights", context_weights, "--samples", 3)
    fits = ("--fits", place.out / "fits/fold-0")
    said = run("evaluate", *options, *fits, "--forecasters", "patchtst", "persistence", "traffic per user")
    assert said.code == 0, said.err
    assert "PatchTST" in said.out and "persistence" in said.out and "history mean" not in said.out
    assert "traffic per user is left out: it needs the users of the asked hours" in said.out
    for name, message in (
        ("UniST", "UniST is not trained in"),
        ("FoMo", "it is asked anyway"),
        ("Chronos", "no forecaster 'Chronos'"),
    ):
        said = run("evaluate", *options, *fits, "--forecasters", name)
        assert said.code == 2 and message in said.err and said.err.count("\n") == 1


def test_weights_of_another_network_are_refused(board: Path, place: Place, run: Run, context_weights: Path) -> None:
    recipe = load_scoreboard(board)
    (job,) = [job for job in jobs(cells(recipe, ("PatchTST",)))]
    assert work(job, recipe, place) == ""
    folder = place.out / "fits/fold-0"
    (folder / "patchtst").rename(folder / "unist")
    options = ("--city", "regions", "--data", place.data, "--weights", context_weights, "--fits", folder)
    said = run("evaluate", *options, "--forecasters", "UniST")
    assert said.code == 2 and "is not of this UniST" in said.err


POOL = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from fomo.app.service.scoreboard.run import _end_with_parent
if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def test_the_jobs_of_a_killed_run_end_with_it(tmp_path: Path) -> None:
    script = tmp_path / "pool.py"
    script.write_text(POOL, encoding="utf-8")
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        os.kill(worker, 0)  # it lives
        parent.kill()
    until = time.monotonic() + 20
    while _lives(worker) and time.monotonic() < until:
        time.sleep(0.1)
    assert not _lives(worker)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def line(forecaster: str, kind: str, value: float | None, **more: str) -> Line:
    given = {"city": "a", "protocol": "p", "task": "short", "context": "none", "metric": "rmse", **more}
    return Line(
        **given, forecaster=forecaster, kind=kind, value=value, low=None, high=None, train_seconds=None,
        infer_seconds=1.0, windows=1, units=1, leakage=False, note="",
    )  # fmt: skip


def test_where_fomo_stands_is_one_table() -> None:
    found = [
        line("FoMo", "fomo", 0.8), line("UniST", "deep", 1.0), line("persistence", "rule", 0.5),
        line("FoMo", "fomo", 0.9, city="b"), line("UniST", "deep", None, city="b"),
        line("FoMo", "fomo", 0.4, context="paper"), line("UniST", "deep", 1.0, context="paper"),
        line("persistence", "rule", 0.5, context="paper"),
        line("FoMo", "fomo", 0.3, task="generate", metric="jsd"),
        line("keGAN", "deep", 0.2, task="generate", metric="jsd"),
        line("FoMo", "fomo", 0.1, task="generate"), line("keGAN", "deep", 0.2, task="generate"),
    ]  # fmt: skip
    assert standing(found, Beside([])).splitlines() == [
        "| protocol | task | context | a |",
        "|---|---|---|---|",
        "| p | short | none | 1.60 persistence |",
        "| p | short | paper | 0.40 UniST |",
        "| p | generate (JSD) | none | 1.50 keGAN |",
    ]
    assert standing([line("UniST", "deep", 1.0)], Beside([])) == ""


def test_logs_of_fomos_own_trainings_are_kept_by_set_and_part(tmp_path: Path) -> None:
    for part in ("traffic", "tuned"):
        log = tmp_path / f"fomo/fold-1/{part}/metrics.jsonl"
        log.parent.mkdir(parents=True)
        log.write_text(part, encoding="utf-8")
    found = write_own_logs(tmp_path / "fomo", tmp_path / "logs")
    assert [path.name for path in found] == ["fold-1-traffic.jsonl", "fold-1-tuned.jsonl"]
    assert [path.read_text(encoding="utf-8") for path in found] == ["traffic", "tuned"]
