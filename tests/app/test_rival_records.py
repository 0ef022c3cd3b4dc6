"""What the record of a rival's training says of the windows that it saw."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from fomo.app.service.scoreboard.fits import count_week_with_users, load_rival, week_with_users
from fomo.app.service.scoreboard.plan import cells, jobs, load_scoreboard
from fomo.app.service.scoreboard.work import Place, work
from fomo.forecasters.registry import find_entries
from fomo.forecasters.rivals.training import FitConfig
from fomo.sources.synthetic import synthetic_city
from fomo.windows.sample import AugmentConfig, TrainingSet, family_references
from small import RECIPE

FIT = FitConfig(batch=8, steps=1)


def counted(days: int) -> float:
    """Of a training on a made-up city of so many days, with users."""
    city = synthetic_city(days=days, height=4, width=4, seed=3)
    augment = AugmentConfig(forget_week=0.0)
    data = TrainingSet([city], family_references([city]), augment, None, family_references([city], "users"))
    return count_week_with_users(data, FIT)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_windows_of_a_single_week_never_know_the_week_before_and_users() -> None:
    assert counted(7) == 0.0
    assert 0.1 < counted(14) < 0.9


@pytest.mark.parametrize(
    ("record", "share"),
    [
        ({"week_with_users": 0.0, "data": {"first_week_only": False}}, 0.0),
        ({"week_with_users": 0.02, "data": {"first_week_only": False}}, 0.02),
        ({"data": {"first_week_only": True}}, 0.0),
        ({"data": {"first_week_only": False}}, 1.0),
    ],
)
def test_weights_that_were_kept_before_it_was_counted_are_of_use(record: dict[str, object], share: float) -> None:
    assert week_with_users(record) == share


BOARD = """
traffic = "RECIPE"
tuned = "TUNED"
samples = 3
[fit]
steps = 1
batch = 2
[sets.next-week]
first_week_only = true
[[columns]]
protocol = "next"
split = "fold"
set = "next-week"
cities = ["regions"]
tasks = ["short"]
"""


def test_it_is_in_the_record_and_in_the_rival(tmp_path: Path, data: Path) -> None:
    torch.manual_seed(0)
    for name, more in (("small", ""), ("tuned", '\n[context]\n[finetune]\nstart = "unused"\n')):
        text = RECIPE.replace("STEPS", "1")
        if more:
            text = text.replace("heads = 2}", "heads = 2, context = true}") + more
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
    board = BOARD.replace("RECIPE", str(tmp_path / "small.toml")).replace("TUNED", str(tmp_path / "tuned.toml"))
    (tmp_path / "board.toml").write_text(board, encoding="utf-8")
    recipe, place = load_scoreboard(tmp_path / "board.toml"), Place(data, tmp_path / "runs")
    (job,) = jobs(cells(recipe, ("PatchTST",)))
    assert work(job, recipe, place) == ""
    folder = place.out / "fits/next-week/patchtst"
    record = folder / "fit.json"
    stored = json.loads(record.read_text(encoding="utf-8"))
    assert stored["week_with_users"] == 0.0
    (entry,) = find_entries(("PatchTST",))
    assert load_rival(entry, folder)[0].week_with_users == 0.0
    del stored["week_with_users"]
    record.write_text(json.dumps(stored), encoding="utf-8")
    assert load_rival(entry, folder)[0].week_with_users == 0.0
