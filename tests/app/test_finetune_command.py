"""`fomo finetune`: few cells of a new city, never worse where it is checked; or a recipe that begins from weights."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import fomo
from fomo.app.commands import console
from fomo.app.service.adaptation import MEMBERS, held_back
from fomo.app.service.validation import mean_error
from small import Run

SAID = re.compile(
    r"([\d,]+) of ([\d,]+) parameters trained \((\d+)%\) on (\d+) cells; "
    r"RMSE on the held-back fifth ([\d.]+) before, ([\d.]+) after"
)


@pytest.fixture(scope="session")
def new_city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A city of 8 x 8 cells and five days that no weights know."""
    city = fomo.synthetic_city("new", 8, 8, days=5, seed=4)
    return fomo.save_city(city, tmp_path_factory.mktemp("city") / "new.zarr")


def of_steps(said: str) -> list[str]:
    """What stderr says of steps; a slow machine also says how long it has been busy."""
    return [line for line in said.splitlines() if line.startswith("step ")]


def error_of(weights: Path, city: Path) -> float:
    return mean_error(fomo.load(weights), held_back(fomo.open_city(city)), MEMBERS)


def test_a_city_is_fine_tuned_on_a_share_of_its_cells_and_the_share_of_trained_parameters_is_said(
    run: Run, new_city: Path, context_weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    said = run("finetune", new_city, "--share", 0.2, "--weights", context_weights, "--out", out, "--steps", 4)
    assert said.code == 0, said.err
    found = SAID.search(said.out)
    assert found is not None, said.out
    trained, parameters = (int(number.replace(",", "")) for number in found.groups()[:2])
    network = fomo.load(out / "weights").network
    assert parameters == sum(weight.numel() for weight in network.parameters())
    assert 0 < trained < parameters and int(found[3]) == round(100 * trained / parameters)
    assert int(found[4]) == 16, "one block of 4 x 4 of the 64 cells is enough for a fifth"
    assert f"wrote {out / 'weights'}" in said.out
    assert [line.split(":")[0] for line in of_steps(said.err)] == [f"step {i} of 4" for i in range(1, 5)]

    description = json.loads((out / "weights" / "checkpoint.json").read_text(encoding="utf-8"))
    provenance = description["provenance"]
    assert (provenance["begun_with"], provenance["share"], provenance["scheme"]) == ("random", 0.2, "output")
    asked = ("forecast", new_city, "--weights", out / "weights", "--samples", 2, "--out", tmp_path / "f.zarr")
    assert run(*asked).code == 0


def test_how_far_it_is_and_how_long_it_takes_stand_on_stderr(
    run: Run, new_city: Path, context_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was said before a quarter of the steps was done."""
    asked = ("finetune", new_city, "--weights", context_weights, "--steps", 8)
    lines = of_steps(run(*asked, "--out", tmp_path / "a").err)
    assert [line.split(":")[0] for line in lines] == [f"step {step} of 8" for step in (1, 2, 4, 6, 8)]
    assert lines[0].startswith("step 1 of 8: loss ") and lines[1].startswith("step 2 of 8: held-back RMSE ")
    assert [line.endswith(" min left") for line in lines] == [False, True, True, True, False]
    monkeypatch.setattr(console, "LINE_EVERY", 0.003)
    lines = run(*asked, "--out", tmp_path / "b").err.splitlines()
    assert [line for line in lines if line.startswith("step 3 of 8: loss ") and line.endswith(" min left")]


@pytest.mark.parametrize("scheme", ["partial", "output", "adapters", "full"])
def test_what_is_written_is_never_worse_on_the_held_back_part(
    run: Run, new_city: Path, context_weights: Path, tmp_path: Path, scheme: str
) -> None:
    asked = ("--weights", context_weights, "--scheme", scheme, "--steps", 3, "--out", tmp_path)
    said = run("finetune", new_city, "--share", 0.2, *asked)
    assert said.code == 0, said.err
    found = SAID.search(said.out)
    assert found is not None, said.out
    before, after = error_of(context_weights, new_city), error_of(tmp_path / "weights", new_city)
    assert after <= before * (1 + 1e-6)
    assert (float(found[5]), float(found[6])) == pytest.approx((before, after), abs=1e-4)


def test_a_frozen_layer_is_as_it_was_and_a_trained_one_is_not(
    run: Run, new_city: Path, context_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([9.0, 8.0, 1.0, 7.0, 7.0, 7.0])  # before, adapted patterns, then the first step is best
    monkeypatch.setattr("fomo.app.service.adaptation.mean_error", lambda *_: next(scores))
    asked = ("--weights", context_weights, "--scheme", "partial", "--steps", 4, "--out", tmp_path)
    said = run("finetune", new_city, *asked)
    assert said.code == 0, said.err
    assert "9.0000 before, 1.0000 after (step 1)" in said.out
    old, new = (load_file(folder / "model.safetensors") for folder in (context_weights, tmp_path / "weights"))
    changed = {key for key in old if key in new and not torch.equal(old[key], new[key])}
    assert any(key.startswith("context.") for key in changed)
    assert any(key.startswith("decoder.") for key in changed)
    allowed = ("context.", "decoder.", "adapt_decoder.", "shapes of ", "users of ")
    assert {key for key in changed if not key.startswith(allowed) and ".adapt_" not in key} == set()
    description = json.loads((tmp_path / "weights" / "checkpoint.json").read_text(encoding="utf-8"))
    assert description["provenance"]["steps"] == 1
    assert [name.split("#")[0] for name in description["trained_on"]] == ["new"]  # chosen by its end


@pytest.mark.parametrize("found", [2.0, 0.992])
def test_where_nothing_is_better_than_chance_may_be_the_weights_come_back_as_they_were(
    run: Run, new_city: Path, context_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: float
) -> None:
    """Eight windows do not tell a gain of less than 1 % from chance."""
    scores = iter([1.0, found, found, found])
    monkeypatch.setattr("fomo.app.service.adaptation.mean_error", lambda *_: next(scores))
    said = run("finetune", new_city, "--weights", context_weights, "--steps", 2, "--out", tmp_path)
    assert said.code == 0, said.err
    assert "1.0000 before, 1.0000 after (no step was better by 1%: no weight was changed)" in said.out
    old, new = (load_file(folder / "model.safetensors") for folder in (context_weights, tmp_path / "weights"))
    assert old.keys() == new.keys() and all(torch.equal(old[key], new[key]) for key in old)


def test_the_same_seed_gives_the_same_weights(run: Run, new_city: Path, context_weights: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        asked = ("--weights", context_weights, "--steps", 2, "--seed", 3, "--out", tmp_path / name)
        assert run("finetune", new_city, *asked).code == 0
    a, b = (load_file(tmp_path / name / "weights" / "model.safetensors") for name in "ab")
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_weights_that_read_no_context_are_fine_tuned_too(
    run: Run, new_city: Path, weights: Path, tmp_path: Path
) -> None:
    said = run("finetune", new_city, "--weights", weights, "--steps", 2, "--out", tmp_path, "--export-half")
    assert said.code == 0, said.err
    assert not fomo.load(tmp_path / "weights").reads_context


def test_a_recipe_with_finetune_begins_from_its_weights(
    run: Run, recipe: Path, data: Path, weights: Path, tmp_path: Path
) -> None:
    text = recipe.read_text(encoding="utf-8").replace("heads = 2", "heads = 2, context = true")
    begin = f'[finetune]\nstart = "{weights}"\n[context]\nnone = 0.5\n'
    recipe.write_text(text + begin, encoding="utf-8")
    out = tmp_path / "run"
    said = run("finetune", recipe, "--data", data, "--out", out, "--threads", 1)
    assert said.code == 0, said.err
    assert "step 12 of 12" in said.out
    old, new = (load_file(folder / "model.safetensors") for folder in (weights, out / "weights"))
    assert torch.equal(old["head.last.weight"], new["head.last.weight"]), "frozen"
    assert fomo.load(out / "weights").reads_context


class Test_wrong_input_is_one_line_and_exit_code_2:
    def check(self, run: Run, out: Path, *arguments: object, says: str) -> None:
        said = run("finetune", *arguments, "--out", out)
        assert said.code == 2, said
        assert said.out == ""
        assert said.err.startswith("fomo: ") and said.err.count("\n") == 1, said.err
        assert says in said.err
        assert not (out / "weights").exists()

    @pytest.mark.parametrize("share", [0, -0.1, 1.5, "nan"])
    def test_a_share_that_is_none(self, run: Run, new_city: Path, weights: Path, tmp_path: Path, share: object) -> None:
        asked = (new_city, "--weights", weights, "--share", share)
        self.check(run, tmp_path / "run", *asked, says="a share of the cells above 0 and up to 1, for example 0.05")

    def test_no_steps(self, run: Run, new_city: Path, weights: Path, tmp_path: Path) -> None:
        self.check(run, tmp_path / "run", new_city, "--weights", weights, "--steps", 0, says="one step at least")

    def test_a_city_too_short(self, run: Run, weights: Path, tmp_path: Path) -> None:
        short = fomo.save_city(fomo.mock_city(steps=79), tmp_path / "short.zarr")
        says = "has 79 steps: fine-tuning needs 80 at least, four fifths of them to learn from; forecast it as it is"
        self.check(run, tmp_path / "run", short, "--weights", weights, says=says)

    def test_a_recipe_without_finetune(self, run: Run, recipe: Path, data: Path, tmp_path: Path) -> None:
        self.check(run, tmp_path / "run", recipe, "--data", data, says="has no [finetune]: train it with 'fomo train'")

    def test_options_of_a_city_beside_a_recipe(
        self, run: Run, recipe: Path, data: Path, weights: Path, tmp_path: Path
    ) -> None:
        text = recipe.read_text(encoding="utf-8") + f'[finetune]\nstart = "{weights}"\n'
        recipe.write_text(text, encoding="utf-8")
        asked = (recipe, "--data", data, "--share", 0.2, "--seed", 3)
        says = "--share, --seed: for a city; a recipe says its own"
        self.check(run, tmp_path / "run", *asked, says=says)

    def test_a_recipe_that_is_not_there(self, run: Run, data: Path, tmp_path: Path) -> None:
        self.check(run, tmp_path / "run", tmp_path / "no.toml", "--data", data, says="there is no recipe")

    def test_a_recipe_that_begins_from_nothing_there(self, run: Run, recipe: Path, data: Path, tmp_path: Path) -> None:
        text = recipe.read_text(encoding="utf-8") + '[finetune]\nstart = "fomo-huge"\n'
        recipe.write_text(text, encoding="utf-8")
        says = "fomo-huge is neither a folder nor shipped weights"
        self.check(run, tmp_path / "run", recipe, "--data", data, says=says)

    def test_weights_of_other_sizes(self, run: Run, recipe: Path, data: Path, weights: Path, tmp_path: Path) -> None:
        text = recipe.read_text(encoding="utf-8").replace("width = 32", "width = 64")
        recipe.write_text(text + f'[finetune]\nstart = "{weights}"\n', encoding="utf-8")
        self.check(run, tmp_path / "run", recipe, "--data", data, says="has other sizes than the weights")

    def test_weights_that_are_not_there(self, run: Run, new_city: Path, tmp_path: Path) -> None:
        self.check(run, tmp_path / "run", new_city, "--weights", "fomo-huge", says="neither a folder nor shipped")

    def test_a_city_that_is_not_there(self, run: Run, tmp_path: Path) -> None:
        self.check(run, tmp_path / "run", "no.zarr", says="there is no file no.zarr")

    def test_a_city_of_which_nothing_is_recorded(self, run: Run, weights: Path, tmp_path: Path) -> None:
        city = fomo.mock_city(steps=120)
        city["traffic"][:] = float("nan")
        empty = fomo.save_city(city, tmp_path / "empty.zarr")
        self.check(run, tmp_path / "run", empty, "--weights", weights, says="no traffic is recorded")

    def test_a_city_that_carries_nothing(self, run: Run, weights: Path, tmp_path: Path) -> None:
        city = fomo.mock_city(steps=120)
        city["traffic"][:] = 0.0
        silent = fomo.save_city(city, tmp_path / "silent.zarr")
        self.check(
            run, tmp_path / "run", silent, "--weights", weights, says="or all is zero: there is nothing to learn"
        )
