"""How far apart the times of each cell are: amounts of an hour must not count as those of a quarter of it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    import polars

#: Gaps between times of a cell from which its step is told beside cells of another, and how many of them are that long.
#: Cells that leave out rows, as of no traffic, have gaps of many lengths.
FEW_GAPS, MOST = 12, 0.9
#: Gaps of a cell, and of all together, that are enough where all of all cells are of one length.
AGREED_OF_CELL, AGREED = 2, 3


def agreed_step(rows: polars.DataFrame) -> int:
    """Minutes between neighbouring times of a cell where all cells agree and some have a few; else 0.

    `rows`: the columns cell and begin.
    """
    import polars

    gaps = _gaps(rows)
    if gaps.height < AGREED or gaps["gap"].n_unique() > 1:
        return 0
    most = cast(int, gaps.group_by("cell").agg(polars.len())["len"].max())
    return int(gaps["gap"][0]) if most >= AGREED_OF_CELL else 0


def coarse_cells(rows: polars.DataFrame, minutes: int) -> dict[str, int]:
    """Cells whose times are regularly further apart than `minutes` -> their step, a multiple of it.

    `rows`: the columns cell and begin, in any order.
    """
    import polars

    if not rows.height or _are_alike(rows["begin"], minutes):
        return {}
    gaps = _gaps(_doubtful(rows, minutes))
    least = gaps.group_by("cell").agg(polars.len().alias("gaps"), polars.col("gap").min().alias("step"))
    of_cells = gaps.join(least, on="cell").group_by("cell", "step", "gaps")
    found = of_cells.agg(
        (polars.col("gap") == polars.col("step")).mean().alias("usual"),
        (polars.col("gap") % polars.col("step") == 0).all().alias("even"),
    )
    step = polars.col("step")
    coarse = (step > minutes) & (step % minutes == 0) & (polars.col("gaps") >= FEW_GAPS)
    found = found.filter(coarse & (polars.col("usual") >= MOST) & polars.col("even")).sort("cell")
    return dict(found.select("cell", "step").iter_rows())


def _are_alike(begin: polars.Series, minutes: int) -> bool:
    """Whether all cells have the same times, two of them no further apart than `minutes`. A cheap look.

    So they have where rows go by time and each time has as many.
    """
    if not begin.is_sorted():
        return False
    first = np.flatnonzero(np.diff(begin.to_physical().to_numpy())) + 1
    if len(np.unique(np.diff(first))) > 1:  # those of the first and the last time may be cut off
        return False
    gaps = begin.gather(np.r_[0, first]).diff().dt.total_minutes()
    return len(first) == 0 or bool((gaps <= minutes).any())


def _doubtful(rows: polars.DataFrame, minutes: int) -> polars.DataFrame:
    """The rows without those of cells that have two times at the least distance: most of them, and without sorting."""
    import polars

    times = rows["begin"].drop_nulls().unique().sort()
    near = times.filter((times.diff().dt.total_minutes() == minutes).fill_null(False))
    if not len(near):
        return rows
    late = near[len(near) // 2]
    here, before = (
        rows.filter(polars.col("begin") == time)["cell"].unique() for time in (late, late - timedelta(minutes=minutes))
    )
    return rows.filter(~polars.col("cell").is_in(here.filter(here.is_in(before.implode())).implode()))


def _gaps(rows: polars.DataFrame) -> polars.DataFrame:
    """Each cell's distances between neighbouring times, in minutes: the columns cell and gap."""
    import polars

    cell, begin = polars.col("cell"), polars.col("begin")
    ordered = rows.select("cell", "begin").drop_nulls().sort("cell", "begin")
    gaps = ordered.with_columns(begin.diff().dt.total_minutes().alias("gap"), (cell == cell.shift()).alias("same"))
    return gaps.filter(polars.col("same") & (polars.col("gap") > 0)).select("cell", "gap")


__all__ = ["agreed_step", "coarse_cells"]
