"""The tidy table: settings that are never mixed, places, and what cannot be."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from made_scores import made

from fomo.evaluation.protocol import EvaluationError
from fomo.evaluation.scoreboard import (
    Result,
    fewer_windows,
    first_place,
    lines,
    markdown,
    read_scoreboard,
    summary,
    with_kept,
    write_scoreboard,
)
from fomo.evaluation.scoreboard_figures import cost_figure, radar_figure


def result(forecaster="rule", kind="rule", context="none", scores=None, **changes):
    about = {"city": "here", "protocol": "unseen", "task": "short", "train_seconds": None, "note": ""}
    return Result(forecaster=forecaster, kind=kind, context=context, scores=scores, **{**about, **changes})


@pytest.fixture
def found():
    return lines(
        [
            result("FoMo", "fomo", "none", made("a"), train_seconds=60.0),
            result("FoMo", "fomo", "full", made("bb"), train_seconds=60.0),
            result("rival", "deep", "none", made("ccc")),
            result("rival", "deep", "full", made("dddd")),
            result("rule", "rule", "none", note="cannot"),
        ]
    )


def value(found, forecaster, context, metric="rmse"):
    (line,) = [each for each in found if (each.forecaster, each.context, each.metric) == (forecaster, context, metric)]
    return line.value


def test_the_papers_setting_is_full_for_fomo_and_none_for_all_others(found):
    assert value(found, "FoMo", "paper") == value(found, "FoMo", "full")
    assert value(found, "rival", "paper") == value(found, "rival", "none")
    assert {line.train_seconds for line in found if line.forecaster == "FoMo"} == {60.0}


def test_where_nothing_can_be_known_there_is_no_such_setting():
    only = lines([result("FoMo", "fomo", "none", made()), result("rival", "deep", "none", made("bb"))])
    assert {line.context for line in only} == {"none"}


def test_what_cannot_be_has_a_reason_and_no_number(found):
    (line,) = [each for each in found if each.forecaster == "rule" and each.context == "none"]
    assert line.value is None and line.note == "cannot"
    assert "rule" not in markdown(found, "unseen", "short", "none", ("rmse",))


def test_a_table_has_the_least_in_bold(found):
    text = markdown(found, "unseen", "short", "none", ("rmse", "mae"))
    ours, theirs = value(found, "FoMo", "none"), value(found, "rival", "none")
    assert f"**{min(ours, theirs):.4f}**" in text and f"**{max(ours, theirs):.4f}**" not in text
    assert text.index("FoMo") < text.index("rival")


def test_places_are_ratios_to_the_best_deep_rival_and_to_the_best_of_all(found):
    (row,) = [row for row in first_place(found) if row["context"] == "none"]
    assert row["best deep"] == row["best other"] == "rival"
    assert row["over best deep"] == pytest.approx(value(found, "FoMo", "none") / value(found, "rival", "none"))


def test_a_rival_that_saw_the_test_part_has_no_place():
    board = lines(
        [result("FoMo", "fomo", "none", made("a")), result("rival", "deep", "none", made("bb", leakage=True))]
    )
    (row,) = first_place(board)
    assert row["best deep"] is None and row["over best other"] is None


def test_a_slow_rival_of_fewer_windows_has_a_star_and_no_place():
    slow = result("slow", "foundation", "none", made("c"), note=fewer_windows(35))
    board = lines([result("FoMo", "fomo", "none", made("a")), result("rival", "deep", "none", made("bb")), slow])
    assert all(line.note == "each 35th window" for line in board if line.forecaster == "slow")
    (row,) = first_place(board)
    assert row["best other"] == "rival"
    for text in (markdown(board, "unseen", "short", "none", ("rmse",)), summary(board, "unseen", "none")):
        (of_slow,) = [line for line in text.splitlines() if "slow" in line]
        assert f"{value(board, 'slow', 'none'):.4f}*" in of_slow and "**" not in of_slow
        assert "**" in text


def test_csv_and_parquet_hold_the_same(found, tmp_path):
    csv = pl.read_csv(write_scoreboard(found, tmp_path / "board.csv"), infer_schema_length=None)
    parquet = pl.read_parquet(write_scoreboard(found, tmp_path / "board.parquet"))
    assert csv.height == parquet.height == len(found)
    wanted = ["city", "protocol", "task", "context", "forecaster", "kind", "metric", "value", "low", "high"]
    assert csv.columns[:10] == wanted
    assert csv["value"].to_list()[0] == pytest.approx(parquet["value"].to_list()[0], abs=1e-6)


def test_a_table_is_read_as_it_was_written_and_anything_else_is_refused(found, tmp_path):
    assert read_scoreboard(write_scoreboard(found, tmp_path / "board.parquet")) == list(found)
    (tmp_path / "no.parquet").write_text("no table")
    for name in ("no.parquet", "nowhere.parquet"):
        with pytest.raises(EvaluationError, match=name):
            read_scoreboard(tmp_path / name)


def test_rows_that_have_no_number_are_kept_as_they_were_and_new_numbers_take_the_place_of_old(found):
    assert any(line.value is None for line in found)
    empty = [replace(line, value=None, note="not scored yet") for line in found if line.metric == "rmse"]
    before = [replace(line, value=7.0) for line in found]
    assert with_kept(found, []) == list(found)
    assert sorted(with_kept(empty, before), key=str) == sorted(before, key=str)
    both = with_kept(found, before)
    assert [line for line in both if line.value != 7.0] == [line for line in found if line.value is not None]
    assert len(both) == len(found)


def test_why_there_is_no_number_is_kept_and_stands_below_the_table():
    def alone(note):
        return result("Chronos-2", "foundation", "none", note=note)

    ours = result("FoMo", "fomo", "none", made("a"))
    told, waits = lines([ours, alone("no weights")]), lines([ours, alone("not scored yet")])
    assert with_kept(waits, told) == told and with_kept(told, waits) == told
    rule = result("rule", "rule", "none", note="cannot")
    text = summary(lines([ours, alone("no weights"), rule]), "unseen", "none")
    assert text.endswith("\nWithout a number: Chronos-2 (no weights).\n")
    assert "Without" not in summary(lines([ours, rule]), "unseen", "none")


def test_figures_are_drawn_from_what_there_is(found):
    radar = radar_figure(found, "unseen")
    assert [axes.get_title() for axes in radar.axes] == ["here"]
    cost = cost_figure(found, "unseen")
    assert {text.get_text() for text in cost.axes[0].texts} == {"FoMo", "rival"}
    with pytest.raises(ValueError, match="no scores"):
        radar_figure(found, "elsewhere")
    with pytest.raises(ValueError, match="no scores"):
        cost_figure(found, "elsewhere")
