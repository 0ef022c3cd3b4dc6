"""The operator's own cells in the periods of their city: what is not trusted is missing, shorter ones are summed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

from fomo.city import MINUTES_PER_DAY
from fomo.ingest.clock import clock_changes
from fomo.ingest.cube import State
from fomo.ingest.store import CityStore

if TYPE_CHECKING:
    import xarray as xr


def cells_of_city(store: CityStore) -> xr.Dataset:
    """Traffic, summed, and users, averaged, of each cell in the periods of the city, with their units; read lazily.

    NaN where any part of a period is missing. What its file does not trust is missing, as on the grid, unless the city
    is to trust it. A part that the wall clock never shows is none of a period that has others.
    """
    import xarray as xr

    cells = store.cells()
    several = store.step_minutes // store.cell_minutes
    units = {"traffic": str(store.attributes["unit"]), "users": "users per period"}
    amounts = {name: cells[name] for name in units if name in cells}
    if not store.report.get("trust_suspect"):
        amounts = {name: found.where(cells["state"] != State.SUSPECT) for name, found in amounts.items()}
    found = xr.Dataset(amounts)
    if several > 1:
        found = _summed(found, _never_shown(store), several)
    return found.assign({name: found[name].assign_attrs(units=units[name]) for name in amounts})


def _summed(found: xr.Dataset, never: Bool[np.ndarray, " period"], several: int) -> xr.Dataset:
    """Every so many periods as one; `never`: those that the clock does not show."""
    import xarray as xr

    shown = (~never).reshape(-1, several).sum(1)
    nothing = xr.DataArray(never & (shown > 0).repeat(several), dims="time")
    whole = found.astype(np.float64).where(~nothing, 0.0).coarsen(time=several, coord_func={"time": "min"})
    summed = whole.reduce(np.sum)  # NaN stays NaN
    if "users" in summed:
        summed["users"] = summed["users"] / xr.DataArray(np.maximum(shown, 1), dims="time")
    return summed.astype(np.float32)


def _never_shown(store: CityStore) -> Bool[np.ndarray, " period"]:
    """Which periods of the cells the wall clock of the city never shows."""
    zone = str(store.attributes["time_zone"])
    days = store.first_day + np.arange(store.visible_days)
    none = np.zeros((0, MINUTES_PER_DAY // store.cell_minutes), bool)
    return np.concatenate([none, *(clock_changes(day, zone, store.cell_minutes)[1][None] for day in days)]).reshape(-1)


__all__ = ["cells_of_city"]
