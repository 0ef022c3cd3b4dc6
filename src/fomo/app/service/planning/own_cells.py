"""Whose radio units the squares of a plan are: the operator's own cells that serve each, by what they carried of late.

A plan is for squares of the grid, a network has cells. How a cell's traffic is spread over the squares is kept with a
city of `fomo city build`; how the cells share a square, by the same weeks as in `fomo city export --kind cells`.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int

from fomo.app.service.cell_shares import DAYS, lately_of_cells
from fomo.exports.city_cells import cells_of_city
from fomo.ingest.store import CityStore, is_of_operator
from fomo.planning.load import PlanError

#: What the table holds, for a page.
HOLDS = (
    "the operator's own cells that serve each square: share_of_square, how much of the square's traffic each carried "
    f"in the last {DAYS} days; share_of_cell, how much of the cell's traffic the square is; also .parquet"
)


def cells_that_serve(
    history: Path, places: Int[np.ndarray, "square 2"], time: np.ndarray
) -> tuple[pl.DataFrame | None, list[str]]:
    """The operator's cells of each square, in their order, and what a reader must know; None of another city.

    `time`: the periods of the plan; the record before the first says what cells carry, and cells that are in service
    on none of their days are left out. Columns: row, column, cell, share_of_square, share_of_cell. The shares of a
    square sum to 1 over the cells whose traffic is known; null where nothing was recorded of a cell in these days, or
    where none of the square's carried anything. Raises `PlanError` where scipy is missing.
    """
    if not is_of_operator(history):
        return None, []
    if find_spec("scipy") is None:
        raise PlanError(f"the cells of {history} need scipy: pip install 'fomo[operator]'")
    store = CityStore(history)
    spread = store.allocation()
    in_service = np.any([spread.in_service(day) for day in np.unique(time.astype("datetime64[D]"))], axis=0)
    part = spread.matrix[places @ np.array([spread.width, 1])].tocoo()
    there = in_service[part.col] & (part.data > 0)
    square, cell, of_cell = part.row[there], part.col[there], part.data[there]
    carried = of_cell * lately_of_cells(cells_of_city(store), time[0])[cell]
    whole = np.bincount(square, np.nan_to_num(carried), len(places))[square]
    of_square = np.divide(carried, whole, out=np.full(len(carried), np.nan), where=whole > 0)
    table = pl.DataFrame(
        {
            "square": square,
            "row": places[square, 0],
            "column": places[square, 1],
            "cell": [spread.cells[each] for each in cell],
            "share_of_square": pl.Series(of_square).fill_nan(None),
            "share_of_cell": of_cell,
        },
        schema_overrides={"cell": pl.String},
    )
    order = ["square", "share_of_square", "share_of_cell", "cell"]
    table = table.sort(order, descending=[False, True, True, False], nulls_last=True)
    return table.drop("square"), _without_cell(len(places) - len(np.unique(square)), len(places))


def _without_cell(bare: int, squares: int) -> list[str]:
    """What a reader must know of squares that no cell serves any more."""
    if not bare:
        return []
    return [f"{bare} of {squares} squares have no cell in service in the planned periods: plan-cells.csv lacks them."]


__all__ = ["HOLDS", "cells_that_serve"]
