"""How much of what cells recorded is on the grid, and which of them fell silent: what a missing cell costs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fomo.ingest.cube import State
from fomo.ingest.store import CityStore
from fomo.units import total_unit

#: A cell that recorded nothing in so many days at the end of the record is named.
SILENT_DAYS = 7
#: So many days of the end are looked at where a city was built or grew, whatever its length: appending a day costs a
#: day's work.
LATEST_DAYS = 14
#: Of an amount: below, a difference is rounding.
ROUNDING = 1e-6


@dataclass(frozen=True)
class OnGrid:
    """What became on its grid of what a city recorded: of its `days` last days of `of_days`."""

    recorded: float  # traffic of cells, in `unit`
    gridded: float  # of it on the grid
    unit: str  # of the volume
    covered: int  # squares that are in service on any of these days
    never: int  # of them without any value
    traffic: float  # share of the values of covered squares that are recorded, on days on which they are in service
    users: float | None  # the same of users; None where the city has none
    cells: int
    without_users: int  # cells that never have users
    days: int
    of_days: int
    silent: dict[str, str] = field(default_factory=dict)  # cells of `SILENT_DAYS` -> their last day; '' = none of these

    @property
    def lost(self) -> float:
        """Traffic that is recorded and not on the grid."""
        lost = self.recorded - self.gridded
        return lost if lost > ROUNDING * self.recorded else 0.0


def on_grid(store: CityStore, days: int | None = None) -> OnGrid:
    """Look at the last `days` of a city, or all of them, day by day.

    A cell that is not in service on the last day is not called silent.
    """
    begin = 0 if days is None else max(0, store.visible_days - days)
    names, allocation = store.cell_names(), store.allocation()
    covered = np.zeros(allocation.covered.shape, bool)
    trusted = bool(store.report.get("trust_suspect"))
    recorded = gridded = 0.0
    values, known = 0, {"traffic": 0, "users": 0}
    ever = np.zeros(covered.shape, bool)
    last, with_users = np.full(len(names), -1), np.zeros(len(names), bool)
    for index in range(begin, store.visible_days):
        there = np.ones((1, 1), bool) if trusted else store.visible("cells/state", index) != State.SUSPECT
        cells = np.where(there, store.visible("cells/traffic", index), np.nan)
        recorded += float(np.nansum(cells, dtype=np.float64))
        last[np.isfinite(cells).any(0)] = index
        grid = store.visible("traffic", index)
        gridded += float(np.nansum(grid, dtype=np.float64))
        ever |= np.isfinite(grid).any(0)
        served = allocation.serving(store.first_day + index)
        covered |= served
        values += len(grid) * int(served.sum())
        known["traffic"] += int(np.isfinite(grid[:, served]).sum())
        if store.has_users:
            known["users"] += int(np.isfinite(store.visible("users", index)[:, served]).sum())
            with_users |= np.isfinite(store.visible("cells/users", index)).any(0)
    end = store.first_day + np.timedelta64(max(0, store.visible_days - 1), "D")
    quiet = allocation.in_service(end) & (last < store.visible_days - SILENT_DAYS) & (store.visible_days > SILENT_DAYS)
    silent = {
        names[cell]: str(store.first_day + last[cell]) if last[cell] >= 0 else "" for cell in np.flatnonzero(quiet)
    }
    return OnGrid(
        recorded, gridded, total_unit(str(store.attributes["unit"]), store.step_minutes),
        int(covered.sum()), int((covered & ~ever).sum()), known["traffic"] / max(1, values),
        known["users"] / max(1, values) if store.has_users else None,
        len(names), int((~with_users).sum()) if store.has_users else 0,
        store.visible_days - begin, store.visible_days, silent,
    )  # fmt: skip


__all__ = ["LATEST_DAYS", "SILENT_DAYS", "OnGrid", "on_grid"]
