"""Whether the published table is what the data and weights give: one row in fifty is scored again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from fomo.app.errors import UsageError
from fomo.app.service.scoreboard.fits import trained
from fomo.app.service.scoreboard.plan import ScoreboardRecipe, cells
from fomo.app.service.scoreboard.run import protocol_of_one
from fomo.app.service.scoreboard.work import Place, ask
from fomo.evaluation.protocol import evaluate
from fomo.evaluation.rows import row

#: One row in so many is scored again.
ONE_IN = 50


def check(recipe: ScoreboardRecipe, place: Place, table: Path, say: Callable[[str], None]) -> list[str]:
    """What does not agree, a line each. Raises `UsageError` where there is no table."""
    if not table.exists():
        raise UsageError(f"there is no {table}: make it with 'fomo scoreboard'")
    published = pl.read_csv(table, infer_schema_length=None).filter(pl.col("metric") == "rmse")
    answered = [cell for cell in cells(recipe) if not cell.cannot() and cell.fold == cell.column.folds[0]]
    wrong = []
    for cell in answered[::ONE_IN]:
        there = published.filter(
            pl.col("city") == cell.city,
            pl.col("protocol") == protocol_of_one(cell),
            pl.col("task") == cell.task,
            pl.col("context") == cell.context,
            pl.col("forecaster") == cell.entry.name,
        )
        where = f"{cell.entry.name}, {cell.city} {cell.task} {cell.context}"
        if there.height != 1:
            wrong.append(f"{where}: {there.height or 'no'} rows of {table} are of it; there is to be one")
            continue
        if there["value"][0] is None:
            say(f"{where}: no score in the table ({there['note'][0]})")
            continue
        found = trained(cell.entry, cell.set, recipe, place.data, place.out, lambda done, text: None)
        scores = evaluate(found.forecaster, ask(cell, place.data), samples=recipe.samples, seed=recipe.seed)
        value, low, high = (there[name][0] for name in ("value", "low", "high"))
        again = row(scores).rmse
        say(f"{where}: {value:.6f}, again {again if again is None else round(again, 6)}")
        low, high = (value, value) if low is None else (low, high)
        if again is None or not low - 1e-6 <= again <= high + 1e-6:
            wrong.append(f"{where}: RMSE {again} lies outside {low:.6f} to {high:.6f} of {table}")
    return wrong


__all__ = ["ONE_IN", "check"]
