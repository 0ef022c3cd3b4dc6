"""`fomo evaluate`: what is tested, what the rows say, and that nothing is claimed that was not done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fomo.app.commands import console
from small import REFERENCE, Run, write_regions

WANTED = {
    "forecaster": str,
    "city": str,
    "task": str,
    "context": str,
    "rmse": float,
    "mae": float,
    "crps": float,
    "coverage50": float,
    "coverage90": float,
    "seconds": float,
}


@pytest.fixture
def rows(run: Run, data: Path, weights: Path, tmp_path: Path) -> Any:
    """Rows of an evaluation as they lie in the file."""

    def evaluate(*options: object, folder: Path = data, samples: int = 4) -> list[dict[str, Any]]:
        file = tmp_path / "rows.json"
        asked = ("evaluate", "--weights", weights, "--data", folder, "--json", file, "--samples", samples)
        said = run(*asked, *options)
        assert said.code == 0, said.err
        assert "FoMo" in said.out
        found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        return found

    return evaluate


def test_one_row_per_forecaster_with_the_wanted_columns(rows: Any) -> None:
    found = rows("--city", "regions", "--task", "short", "--context", "none", samples=20)
    names = ["FoMo", "persistence", "history mean", "seasonal average", "seasonal average, trained spread"]
    assert [row["forecaster"] for row in found] == names
    for row in found:
        for name, kind in WANTED.items():
            assert isinstance(row[name], kind), (name, row[name])
        assert (row["city"], row["task"], row["context"]) == ("regions", "short", "none")
        assert 0 <= row["coverage50"] <= row["coverage90"] <= 1 and row["seconds"] >= 0
    assert found[0]["regions"] == 2 and found[0]["split"] == "fold" and not found[0]["leakage"]


def test_the_last_fifth_is_tested_where_there_are_no_folds_and_last_week_is_known(rows: Any) -> None:
    found = rows("--city", "town", "--task", "long")
    assert {row["split"] for row in found} == {"last_fifth"}
    assert "same hour last week" in [row["forecaster"] for row in found]
    assert "same hour last week" not in [row["forecaster"] for row in rows("--city", "town", "--no-past-week")]


def test_a_score_that_is_not_defined_is_null_and_says_why(rows: Any) -> None:
    seasonal = next(row for row in rows("--city", "town", "--task", "long") if row["forecaster"] == "seasonal average")
    assert seasonal["rmse"] is None and "history under a day" in seasonal["note"]


def test_generation(rows: Any) -> None:
    found = rows("--city", "regions", "--task", "generate")
    assert [row["forecaster"] for row in found] == ["FoMo", "mean of the other cells"]


def test_next_week(rows: Any) -> None:
    found = rows("--city", "regions", "--next-week", "--past-week", "--task", "long", samples=2)
    assert {row["split"] for row in found} == {"next_week"} and found[0]["past_week"] is True


def test_one_region_is_scored_on_the_scale_of_its_family(rows: Any) -> None:
    found = rows("--city", "regions/02")
    assert found[0]["regions"] == 1 and found[0]["scale"] == "training folds"
    assert found[0]["resampled"] == "days"


def test_fomo_does_not_claim_users_that_it_did_not_read(
    rows: Any, run: Run, data: Path, weights: Path, tmp_path: Path
) -> None:
    found = rows("--city", "regions", "--context", "full")
    assert {row["forecaster"]: row["context"] for row in found} == {
        "FoMo": "none",
        "persistence": "full",
        "history mean": "full",
        "seasonal average": "full",
        "traffic per user": "full",
        "seasonal average, trained spread": "full",
    }
    fomo_alone = rows("--city", "regions")[0]
    assert found[0]["rmse"] == fomo_alone["rmse"]
    said = run("evaluate", "--weights", weights, "--data", data, "--city", "regions", "--context", "full")
    assert "do not read context: FoMo's row has context 'none', the rules' have 'full'" in said.out


def test_a_folder_with_nothing_but_fold_0_takes_the_scale_stored_with_the_weights(rows: Any, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    write_regions(other / "regions.npz", folds=[0, 0])
    assert rows("--city", "regions", folder=other)[0]["scale"] == "stored with weights"


def test_a_family_that_the_weights_never_saw_takes_its_own_scale(rows: Any, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    write_regions(other / "unheard-of.npz", folds=[0, 0])
    assert rows("--city", "unheard-of", folder=other)[0]["scale"] == "test regions' own data"


def test_the_stored_scale_is_what_errors_are_divided_by(rows: Any, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    write_regions(other / "regions.npz", folds=[0, 0])
    rule = rows("--city", "regions", folder=other)[1]
    clipped_away = rule["mae"] * REFERENCE / rule["mae_physical"]
    assert 0.5 < clipped_away <= 1.0 + 1e-6


def test_table_and_figure(run: Run, data: Path, weights: Path, tmp_path: Path) -> None:
    asked = ("evaluate", "--weights", weights, "--data", data, "--city", "regions", "--samples", 2)
    said = run(*asked, "--figure", tmp_path / "scores.png", "--json", tmp_path / "scores.md")
    assert said.code == 0, said.err
    assert "windows of 2 region(s), unseen regions" in said.out
    assert (tmp_path / "scores.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "scores.md").read_text(encoding="utf-8").startswith("| forecaster | city |")


COUNTERS = "time,cell,traffic\n2024-01-01T00:00,a,3\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("counters.csv", COUNTERS),
        ("notes.md", "# What we found\n"),
        ("settings.json", '{"forecaster": 1}'),
        ("others.json", '[{"forecaster": "FoMo"}]'),
        ("cut.json", '[{"forecaster": "FoMo", '),
        ("damaged.parquet", "PAR1"),
    ],
)
def test_nothing_but_scores_is_replaced(run: Run, tmp_path: Path, name: str, text: str) -> None:
    """`--json counters.csv` once replaced an operator's counters, after a minute of work."""
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    said = run("evaluate", "--data", "no-where", "--city", "regions", "--json", file)  # refused before that is seen
    assert said.code == 2 and said.out == "" and said.err.count("\n") == 1
    assert f"{name} exists and holds no scores of 'fomo evaluate': it would be lost; name another or remove" in said.err
    assert file.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("suffix", [".json", ".csv", ".parquet", ".md"])
def test_scores_are_replaced_by_scores(run: Run, data: Path, weights: Path, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"scores{suffix}"
    file.touch()  # an empty file is none
    quick = ("--samples", 2, "--task", "short", "--no-past-week")
    asked = ("evaluate", "--weights", weights, "--data", data, "--city", "town", *quick, "--json", file)
    for _ in range(2):
        said = run(*asked)
        assert said.code == 0, said.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--city", "town", "--fold", 3), "--fold 3: town has no folds, its last fifth of the time is tested; leave"),
        (("--city", "town", "--fold", 0), "--fold 0: town has no folds"),
        (("--city", "regions", "--fold", 1, "--next-week"), "--fold 1 and --next-week contradict each other"),
    ],
)
def test_a_fold_that_would_be_ignored_is_refused(
    run: Run, data: Path, weights: Path, options: tuple[object, ...], says: str
) -> None:
    said = run("evaluate", "--weights", weights, "--data", data, *options)
    assert said.code == 2 and said.out == "" and said.err.count("\n") == 1
    assert says in said.err


def test_a_fold_that_is_there_is_tested(rows: Any) -> None:
    assert rows("--city", "regions", "--fold", 1)[0]["regions"] == 1
    assert rows("--city", "regions", "--fold", 0)[0]["regions"] == rows("--city", "regions")[0]["regions"] == 2


def test_where_stderr_is_no_terminal_lines_say_that_it_works(
    run: Run, data: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "LINE_EVERY", 0.05)
    said = run("evaluate", "--weights", weights, "--data", data, "--city", "regions", "--samples", 2)
    assert said.code == 0
    lines = [line for line in said.err.splitlines() if line.startswith("evaluating on regions: ")]
    assert lines and all(line.endswith(" s so far") for line in lines)
    assert "so far" not in said.out
