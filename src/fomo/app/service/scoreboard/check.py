"""Whether the published table is what data and weights give: one answer in fifty is scored again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from fomo.app.errors import UsageError
from fomo.app.service.scoreboard.fits import trained
from fomo.app.service.scoreboard.plan import Cell, ScoreboardRecipe, cells
from fomo.app.service.scoreboard.run import protocol_of_one
from fomo.app.service.scoreboard.work import Place, ask
from fomo.evaluation.protocol import evaluate
from fomo.evaluation.rows import Row, row
from fomo.evaluation.scoreboard import PAPER
from fomo.forecasters.rivals.series import RivalUnavailable

#: One forecaster's answer to a column in so many is scored again, with all of its numbers.
ONE_IN = 50
#: What stands for the interval of an RMSE that has none, as a share of it: two trainings of a rival differ by so much.
WITHOUT_INTERVAL = 0.02


def check(recipe: ScoreboardRecipe, place: Place, table: Path, say: Callable[[str], None]) -> list[str]:
    """What does not agree, a line each. Rivals that are not trained in `place` are trained first.

    Numbers with an interval are compared, and every RMSE; the first fold of a column. The last line that is said counts
    them, and what could not be compared. Raises `UsageError` where there is no table.
    """
    if not table.exists():
        raise UsageError(f"there is no {table}: make it with 'fomo scoreboard'")
    published = pl.read_csv(table, infer_schema_length=None).filter(pl.col("context") != PAPER)
    answered = [cell for cell in cells(recipe) if not cell.cannot() and cell.fold == cell.column.folds[0]]
    wrong, compared, numbers, without = [], 0, 0, list[str]()
    for cell in answered[::ONE_IN]:
        there = published.filter(
            pl.col("city") == cell.city,
            pl.col("protocol") == protocol_of_one(cell),
            pl.col("task") == cell.task,
            pl.col("context") == cell.context,
            pl.col("forecaster") == cell.entry.name,
        )
        where = f"{cell.entry.name}, {cell.city} {cell.task} {cell.context}"
        of_rmse = there.filter(pl.col("metric") == "rmse")
        if of_rmse.height != 1:
            wrong.append(f"{where}: {of_rmse.height or 'no'} rows of {table} are of it; there is to be one")
            continue
        if of_rmse["value"][0] is None:
            without.append(f"{where} (no number in the table: {of_rmse['note'][0]})")
            continue
        try:
            again = _again(cell, recipe, place)
        except RivalUnavailable as error:
            without.append(f"{where} ({error})")
            continue
        found, off = _compare(there, again)
        say(f"{where}: {found} numbers, RMSE {of_rmse['value'][0]:.6f}, again {_six(again.rmse)}")
        compared, numbers = compared + 1, numbers + found
        wrong += [f"{where}: {each} of {table}" for each in off]
    say(f"{compared} answers with {numbers} numbers compared, {len(without)} not: {'; '.join(without) or 'none'}")
    return wrong


def _again(cell: Cell, recipe: ScoreboardRecipe, place: Place) -> Row:
    """All scores of a cell, scored now."""
    found = trained(cell.entry, cell.set, recipe, place.data, place.out, lambda done, text: None)
    return row(evaluate(found.forecaster, ask(cell, place.data), samples=recipe.samples, seed=recipe.seed))


def _compare(there: pl.DataFrame, again: Row) -> tuple[int, Sequence[str]]:
    """How many numbers of the table were compared, and those outside of their interval."""
    found, off = 0, []
    for metric, value, low, high in there.select("metric", "value", "low", "high").iter_rows():
        if low is None and metric != "rmse":
            continue
        if low is None:
            low, high = (1 - WITHOUT_INTERVAL) * value, (1 + WITHOUT_INTERVAL) * value
        now, found = getattr(again, metric), found + 1
        if now is None or not low - 1e-6 <= now <= high + 1e-6:
            off.append(f"{metric.upper()} {_six(now)} lies outside {low:.6f} to {high:.6f}")
    return found, off


def _six(value: float | None) -> str:
    return "none" if value is None else f"{value:.6f}"


__all__ = ["ONE_IN", "check"]
