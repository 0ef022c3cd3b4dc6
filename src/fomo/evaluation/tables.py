"""Rows to a terminal, to Markdown and to files (JSON, CSV, Parquet), each written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.table import Table

from fomo.evaluation.rows import Row
from fomo.files import whole_file

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

#: The columns that a person reads first, with their headings; files hold every column.
HEADINGS = {
    "forecaster": "forecaster",
    "city": "city",
    "task": "task",
    "context": "context",
    "rmse": "RMSE",
    "rmse_interval": "95 %",
    "mae": "MAE",
    "crps": "CRPS",
    "coverage50": "50 %",
    "coverage90": "90 %",
    "rmse_physical": "RMSE, unit",
    "seconds": "seconds",
    "note": "note",
}
NOT_DEFINED = "–"
LEAKS = " (saw the test part)"


def terminal_table(rows: Sequence[Row], title: str = "") -> Table:
    """A rich table of the main columns, the best RMSE, MAE and CRPS of each city and task in bold.

    What all rows share of city, task and context stands in the title.
    """
    shared = {name: {getattr(row, name) for row in rows} for name in ("city", "task", "context")}
    names = [name for name in _headings(rows) if len(shared.get(name, "several")) > 1]
    common = [f"{name} {next(iter(values))}" for name, values in shared.items() if len(values) == 1]
    title = ", ".join([title, *common] if title else common)
    table = Table(title=title, header_style="bold", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in names:
        number = name not in ("forecaster", "city", "task", "context", "note")
        justify: Literal["left", "right"] = "right" if number else "left"
        table.add_column(HEADINGS[name], justify=justify, no_wrap=number and name != "rmse_physical")
    best = _best(rows)
    for row in rows:
        table.add_row(*(_cell(row, name, best, "[bold]", "[/bold]") for name in names))
    return table


def markdown_table(rows: Sequence[Row]) -> str:
    """The main columns as Markdown, one line per row, the best of each city and task in bold."""
    best = _best(rows)
    names = _headings(rows)
    lines = [[_cell(row, name, best, "**", "**") for name in names] for row in rows]
    return _markdown(list(names.values()), lines)


def markdown_columns(rows: Sequence[Row], scores: Sequence[str] = ("rmse", "mae")) -> str:
    """Forecasters down, cities and tasks across, as in NOTES.md: the scores of a cell are joined by ' / '."""
    columns = list(dict.fromkeys((row.city, row.task) for row in rows))
    forecasters = list(dict.fromkeys(row.forecaster + (LEAKS if row.leakage else "") for row in rows))
    best = _best(rows)
    cells = {}
    for row in rows:
        key = row.forecaster + (LEAKS if row.leakage else ""), row.city, row.task
        if key in cells:
            raise ValueError(f"two rows of {key}: make a table for each context, split and past week")
        cells[key] = " / ".join(_cell(row, score, best, "**", "**") for score in scores)
    lines = [[name, *(cells.get((name, *column), "") for column in columns)] for name in forecasters]
    return _markdown(["forecaster", *(f"{city} {task}" for city, task in columns)], lines)


def write_rows(rows: Sequence[Row], path: str | Path) -> Path:
    """Write every column of all rows; the suffix decides: .json, .csv, .parquet or .md. Returns the path.

    Undefined scores are null (JSON, Parquet) or empty (CSV). Raises `ValueError` for another suffix.
    """
    path = Path(path)
    writers = (".json", ".csv", ".parquet", ".md")
    if path.suffix not in writers:
        raise ValueError(f"cannot write rows to {path.name!r}: the suffix is one of {', '.join(writers)}")
    if path.suffix != ".md":
        return write_records(rows, path, Row)
    with whole_file(path) as fresh:
        fresh.write_text(markdown_table(rows), encoding="utf-8")
    return path


def write_records(records: Sequence[DataclassInstance], path: Path, kind: type[DataclassInstance]) -> Path:
    """Write dataclasses of one kind, with fields of text and numbers, as .json, .csv or .parquet. Returns the path."""
    with whole_file(path) as fresh:
        if path.suffix == ".json":
            text = json.dumps([asdict(record) for record in records], indent=2, allow_nan=False, ensure_ascii=False)
            fresh.write_text(text + "\n", encoding="utf-8")
        elif path.suffix == ".csv":
            data_frame(records, kind).write_csv(fresh)
        else:
            data_frame(records, kind).write_parquet(fresh)
    return path


def data_frame(rows: Sequence[DataclassInstance], kind: type[DataclassInstance] = Row) -> pl.DataFrame:
    """The rows as a data frame whose column types do not depend on which scores are defined."""
    types = {
        "str": pl.String,
        "int": pl.Int64,
        "bool": pl.Boolean,
        "float": pl.Float64,
        "float | None": pl.Float64,
    }
    schema = {field.name: types[str(field.type)] for field in fields(kind)}
    return pl.DataFrame([asdict(row) for row in rows], schema=schema)


def _headings(rows: Sequence[Row]) -> dict[str, str]:
    """The main columns, without `note` where no row has one."""
    noted = any(row.note or row.leakage for row in rows)
    return {name: heading for name, heading in HEADINGS.items() if name != "note" or noted}


def _best(rows: Sequence[Row]) -> set[tuple[int, str]]:
    """(identity of row, score) of the lowest value of each city, task and context; none where alone."""
    best = set()
    for score in ("rmse", "mae", "crps"):
        groups: dict[tuple[object, ...], list[tuple[float, Row]]] = {}
        for row in rows:
            value = getattr(row, score)
            if value is not None and not row.leakage:
                kind = (row.city, row.task, row.context, row.split, row.past_week)
                groups.setdefault(kind, []).append((value, row))
        for group in groups.values():
            if len(group) > 1:
                least = min(value for value, _ in group)
                best |= {(id(row), score) for value, row in group if value == least}
    return best


def _cell(row: Row, name: str, best: set[tuple[int, str]], begin: str, end: str) -> str:
    if name == "rmse_interval":
        if row.rmse_low is None or row.rmse_high is None:
            return NOT_DEFINED
        return f"{row.rmse_low:.4f}–{row.rmse_high:.4f}"
    if name == "note":
        return row.note + (LEAKS if row.leakage else "")
    value = getattr(row, name)
    if value is None:
        return NOT_DEFINED
    if name.startswith(("coverage", "closed")):
        return f"{100 * value:.1f}"
    if name == "seconds":
        return f"{value:.1f}"
    if name.endswith("_physical"):
        return f"{value:.4g}" if value < 1000 else f"{value:,.0f}"
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return f"{begin}{text}{end}" if (id(row), name) in best else text


def _markdown(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    table = [headings, ["---"] * len(headings), *lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in table)


__all__ = [
    "data_frame",
    "markdown_columns",
    "markdown_table",
    "terminal_table",
    "write_records",
    "write_rows",
]
