"""Where plans go: checked before the work begins, so that nothing of anyone else is lost."""

from __future__ import annotations

from pathlib import Path

from fomo.app.service.outputs import check_results, check_rows, check_table

#: By what columns rows and tables are known to be of plans, and may be written again.
OF_STRATEGIES = frozenset({"application", "strategy", "forecaster"})
OF_TABLES = {
    "plan.csv": frozenset({"row", "column"}),
    "plan.parquet": frozenset({"row", "column"}),
    "plan-cells.csv": frozenset({"cell", "share_of_square"}),
    "comparison.csv": frozenset({"strategy", "scenario", "metric"}),
}


def check_plans(out: Path | None, rows: Path | None) -> None:
    """Raises `UsageError` where a plan's folder, or the file of its rows, would take the place of something else."""
    if rows is not None:
        check_rows(rows, (".json",), OF_STRATEGIES, "plan")
    if out is not None:
        check_results(out)
        for name, columns in OF_TABLES.items():
            check_table(out / name, columns, "table of 'fomo plan'")


__all__ = ["check_plans"]
