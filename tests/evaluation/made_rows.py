"""Rows of a table that nobody measured."""

from __future__ import annotations

from dataclasses import fields

from fomo.evaluation.rows import Row


def made_row(forecaster="rule", rmse=0.1234, **changes):
    defaults = {"str": "x", "int": 5, "bool": False, "float": 2.0, "float | None": rmse}
    values = {field.name: defaults[str(field.type)] for field in fields(Row)}
    named = {"forecaster": forecaster, "city": "here", "task": "short", "context": "none", "note": ""}
    return Row(**{**values, **named, **changes})


def undefined(**changes):
    empty = {field.name: None for field in fields(Row) if str(field.type) == "float | None"}
    return made_row("seasonal", **{**empty, "note": "not defined: history under a day", **changes})
