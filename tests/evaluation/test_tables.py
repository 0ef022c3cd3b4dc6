"""Tables for people and files for machines."""

from __future__ import annotations

import json
from dataclasses import asdict
from io import StringIO

import polars as pl
import pytest
from made_rows import made_row, undefined
from rich.console import Console

from fomo.evaluation.tables import markdown_columns, markdown_table, terminal_table, write_rows
from fomo.files import whole_file

ROWS = [made_row("persistence", 0.2), made_row("fomo", 0.1), undefined()]


def test_the_best_of_a_city_and_task_is_bold():
    lines = markdown_table(ROWS).splitlines()
    assert "**0.1000**" in lines[3] and "**" not in lines[2] and "**" not in lines[4]


def test_a_row_that_saw_the_test_part_says_so_and_is_never_the_best():
    lines = markdown_table([*ROWS, made_row("cheat", 0.01, leakage=True)]).splitlines()
    assert "saw the test part" in lines[5] and "**" not in lines[5] and "**0.1000**" in lines[3]


def test_what_is_not_defined_is_a_dash_with_its_reason():
    line = markdown_table(ROWS).splitlines()[4]
    assert "| – |" in line and "history under a day" in line and "None" not in line and "nan" not in line


def test_columns_are_cities_and_tasks_with_rmse_and_mae_as_in_the_notes():
    rows = [*ROWS, made_row("fomo", 0.3, task="long", mae=0.05)]
    lines = markdown_columns(rows).splitlines()
    assert lines[0] == "| forecaster | here short | here long |"
    assert lines[3] == "| fomo | **0.1000** / **0.1000** | 0.3000 / 0.0500 |"
    assert lines[2].endswith("|  |")  # persistence was not asked the long task


def test_rows_that_would_share_a_cell_are_refused():
    with pytest.raises(ValueError, match="two rows"):
        markdown_columns([made_row("fomo"), made_row("fomo", context="full")])


def test_the_terminal_table_shows_every_forecaster_and_what_is_shared_once():
    console = Console(width=140, record=True, file=StringIO())
    console.print(terminal_table(ROWS, "Title"))
    text = console.export_text()
    assert text.splitlines()[0].startswith("Title, city here, task short, context none")
    assert all(name in text for name in ("persistence", "fomo", "seasonal", "0.1000", "history under a day"))


def test_json_holds_every_column_with_null_for_undefined(tmp_path):
    path = write_rows(ROWS, tmp_path / "rows.json")
    assert json.loads(path.read_text(encoding="utf-8")) == [asdict(row) for row in ROWS]
    assert '"rmse": null' in path.read_text(encoding="utf-8")


def test_parquet_and_csv_hold_the_same_rows(tmp_path):
    wanted = [asdict(row) for row in ROWS]
    assert pl.read_parquet(write_rows(ROWS, tmp_path / "rows.parquet")).to_dicts() == wanted
    again = pl.read_csv(write_rows(ROWS, tmp_path / "rows.csv"), empty_string_is_null=False).to_dicts()
    assert again == wanted


def test_a_score_that_no_row_defines_is_still_a_column_of_numbers(tmp_path):
    frame = pl.read_parquet(write_rows([undefined()], tmp_path / "rows.parquet"))
    assert frame["rmse"].dtype == pl.Float64 and frame["rmse"].null_count() == 1


def test_an_unknown_suffix_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"\.json, \.csv"):
        write_rows(ROWS, tmp_path / "rows.xlsx")
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_previous_file_and_nothing_else(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text("before")

    def fail(fresh):
        fresh.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), whole_file(path) as fresh:
        fail(fresh)
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
