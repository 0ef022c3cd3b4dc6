from __future__ import annotations

from pathlib import Path

import pytest

from fomo.config import ConfigError
from fomo.model.transformer import ModelConfig
from fomo.training.recipe import Recipe, load_recipe, window_shape

RECIPES = Path(__file__).resolve().parents[2] / "recipes"

GOOD = """
name = "tiny"
model = {preset = "tiny", dropout = 0.2}
windows = {"64x4x4" = 1.0, "48x8x8" = 0.5}
[data]
families = {uomo_nanjing = 1.0}
[optimiser]
steps = 10
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_a_recipe_is_read_and_its_preset_filled_in(tmp_path):
    recipe = load_recipe(written(tmp_path, GOOD))
    assert recipe.model == ModelConfig.preset("tiny").model_copy(update={"dropout": 0.2})
    assert recipe.data.held_back_folds == (0,)
    assert recipe.optimiser.steps == 10
    assert list(recipe.windows) == ["64x4x4", "48x8x8"]


def test_a_preset_may_stand_alone(tmp_path):
    recipe = load_recipe(written(tmp_path, GOOD.replace('{preset = "tiny", dropout = 0.2}', '"5m"')))
    assert recipe.model == ModelConfig.preset("5m")


@pytest.mark.parametrize(
    ("right", "wrong", "named"),
    [
        ("steps = 10", "steps = 10\nlerning_rate = 0.1", "optimiser.lerning_rate: no such key"),
        ("[data]", "[dta]\n[data]", "dta: no such key"),
        ("dropout", "droput", "model.droput: no such key"),
        ("steps = 10", "steps = 0", "optimiser.steps"),
        ('preset = "tiny"', 'preset = ["tiny"]', "model.preset is a name"),
        ("[data]", "[loss]\ndenoising = 0\nmean = 0\nscale = 0\n[data]", "nothing would be learned"),
        ("[data]", "[loss]\nlevel_power = -5\n[data]", "loss.level_power"),
        (
            "{uomo_nanjing = 1.0}",
            '{uomo_nanjing = 1.0, "uomo_nanjing@60min" = 1.0}\nheld_back_areas = {"uomo_nanjing@60min" = [0, 1, 0, 1]}',
            "name 'uomo_nanjing', which holds it, too",
        ),
        ("steps = 10", "", "optimiser.steps"),
        ('name = "tiny"', "", "name"),
        ('"64x4x4"', '"64x4"', "'64x4' is not a window"),
        ('preset = "tiny"', 'preset = "huge"', "no preset 'huge'"),
        ("{uomo_nanjing = 1.0}", "{}", "data.families"),
        ("[data]", "[data", "is not TOML"),
        ("steps = 10", "steps = 10\nlearning_rate = nan", "optimiser.learning_rate"),
        ("dropout = 0.2", "token = [4, 0, 2]", "model.token.1"),
        ("uomo_nanjing = 1.0", "uomo_nanjing = 0.0", "data.families.uomo_nanjing"),
        ("uomo_nanjing = 1.0", "uomo_nanjing = inf", "data.families.uomo_nanjing"),
        ("[data]", "[data]\ncoarser = {uomo_nanjing = [1]}", "data.coarser.uomo_nanjing.0"),
        ("[data]", "[data]\ncoarser = {jinan = [2]}", "coarser names ['jinan']"),
        ('{"64x4x4" = 1.0, "48x8x8" = 0.5}', "{}", "windows"),
        ('"48x8x8" = 0.5', '"48x8x8" = -0.5', "windows.48x8x8"),
        ('name = "tiny"', 'name = "tiny"\nseed = -1', "seed"),
        ("[data]", "[masks]\nshort = 0\nlong = 0\ngeneration = 0\nrandom = 0\n[data]", "one of them needs"),
        ("[data]", "[masks]\nrandom_ratio = [0.8, 0.2]\n[data]", "random_ratio is (0.8, 0.2)"),
        ("[data]", "[masks]\nrandom_ratio = [0.5, 1.5]\n[data]", "random_ratio is (0.5, 1.5)"),
    ],
)
def test_a_recipe_with_a_fault_is_refused_by_file_and_key(tmp_path, right, wrong, named):
    assert right in GOOD
    path = written(tmp_path, GOOD.replace(right, wrong))
    with pytest.raises(ConfigError) as error:
        load_recipe(path)
    assert named in str(error.value)
    assert str(path) in str(error.value)


def test_a_recipe_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no recipe .*nowhere\.toml"):
        load_recipe(tmp_path / "nowhere.toml")


def test_a_recipe_cannot_be_changed_by_accident(tmp_path):
    recipe = load_recipe(written(tmp_path, GOOD))
    with pytest.raises(Exception, match="frozen"):
        recipe.optimiser.steps = 5


@pytest.mark.parametrize("text", ["64x4", "64x4x4x4", "64x4xa", "0x4x4", "-4x4x4", "", "64 x 4 x 4"])
def test_what_is_no_window_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="64x4x4"):
        window_shape(text)


def test_a_window_is_time_then_y_then_x():
    assert window_shape("64x4x8") == (64, 4, 8)


def test_every_committed_recipe_parses_and_holds_back_what_is_tested():
    committed = sorted(path for path in RECIPES.rglob("*.toml") if path.stem != "scoreboard")
    assert committed or not RECIPES.exists(), f"{RECIPES} holds no recipe"
    for path in committed:
        recipe = load_recipe(path)
        assert isinstance(recipe, Recipe)
        assert recipe.name, path
        assert 0 in recipe.data.held_back_folds or recipe.data.first_week_only, f"{path} trains on the test regions"
