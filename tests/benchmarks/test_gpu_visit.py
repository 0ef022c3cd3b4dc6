"""A visit to a device, made short: what it leaves behind, and that the same command goes on."""

from __future__ import annotations

import json
from types import ModuleType

import pytest

import fomo
from fomo.model.transformer import ModelConfig
from fomo.training.recipe import Recipe
from small import write_regions


@pytest.fixture(scope="module")
def gpu_visit(benchmark_module) -> ModuleType:
    return benchmark_module("gpu_visit")


def test_a_visit_leaves_weights_log_profile_and_scores_and_can_be_continued(gpu_visit, tmp_path, capsys):
    regions = write_regions(tmp_path / "regions.npz", [0, 1]).parent
    recipe = Recipe.model_validate(
        {
            "name": "small", "seed": 1, "data": {"families": {"regions": 1.0}},
            "model": ModelConfig(width=32, encoder_layers=1, denoiser_layers=1, heads=2).model_dump(),
            "windows": {"24x3x3": 1.0}, "optimiser": {"steps": 4, "batch": 2, "warm_up": 1, "log_every": 1},
        }
    )  # fmt: skip
    gpu_visit.visit(recipe, 1e-9, regions, tmp_path / "visit", "cpu", False)
    found = gpu_visit.visit(recipe, 5.0, regions, tmp_path / "visit", "cpu", False)
    assert found["steps"] == 4 and found["device"] == "cpu"
    out = tmp_path / "visit"
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]  # the first visit stopped after one step
    assert json.loads((out / "visit.json").read_text())["tokens_per_second"] == lines[-1]["tokens_per_second"]
    assert "aten::" in (out / "profile.txt").read_text()
    assert fomo.load(out / "weights").checkpoint.provenance["steps"] == 4
    assert {score["task"] for score in found["scores"]} == {"short", "long"}
    assert all(score["rmse"] > 0 for score in found["scores"])
    assert "tokens/s" in capsys.readouterr().out


def test_another_size_keeps_what_the_recipe_says_of_dropout_and_context(gpu_visit):
    recipe = Recipe.model_validate(
        {"name": "a", "seed": 1, "data": {"families": {"x": 1.0}}, "model": {"dropout": 0.3}, "optimiser": {"steps": 4}}
    )
    found = gpu_visit.sized(recipe, "5m")
    assert found.model.width == 192 and found.model.dropout == 0.3 and found.name == "a-5m"
