"""A visit to a device, made short: what it leaves behind, and that the same command goes on."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import fomo
from fomo.model.transformer import ModelConfig
from fomo.training.recipe import Recipe


@pytest.fixture(scope="module")
def gpu_visit():
    path = Path(__file__).parents[2] / "benchmarks/gpu_visit.py"
    spec = importlib.util.spec_from_file_location("gpu_visit", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_visit"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def regions(tmp_path) -> Path:
    """Two regions in folds 0 and 1, four weeks at a step of four hours."""
    random = np.random.default_rng(2)
    day = 1 + 0.5 * np.sin(np.arange(168) / 6 * 2 * np.pi)
    np.savez(
        tmp_path / "regions.npz",
        traffic=(day[:, None, None] * random.lognormal(1, 0.1, (2, 168, 3, 3))).astype(np.float32),
        users=random.lognormal(1, 0.5, (2, 168, 3, 3)).astype(np.float32),
        poi=random.integers(0, 9, (2, 6, 3, 3)).astype(np.int32),
        fold=np.arange(2).astype(np.int8),
        weeks=np.full(2, 4, np.int8),
        step_minutes=np.int64(240),
        start_weekday_slot=np.array([0, 0], np.int16),
    )
    return tmp_path


def test_a_visit_leaves_weights_log_profile_and_scores_and_can_be_continued(gpu_visit, regions, tmp_path, capsys):
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
