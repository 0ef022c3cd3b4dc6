"""Cells that went into or out of service since a city was built: its days in service follow a newer site list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars

from fomo.ingest.allocation import SINCE_EVER_FOR_EVER, Allocation, days_in_service
from fomo.ingest.clock import clock_changes
from fomo.ingest.cube import Day
from fomo.ingest.gridding import grid_day
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.sites import read_sites
from fomo.ingest.store import CityStore


def tell_service(store: CityStore, sites: Path, columns: dict[str, str]) -> list[str]:
    """Take over `from` and `to` of a site list and spread the days anew that they change; says so, and of new cells.

    Cells that the list does not have stay as they are known. Positions and azimuths are not looked at: footprints are
    those of the build. Raises `IngestError` where no cell of the city is in the list.
    """
    remarks, ledger = list[str](), Ledger()
    listed, cells = read_sites(sites, columns or None, ledger), store.cell_names()
    for reason, count in ledger.rejected.items():
        remarks.append(f"{count} rows of {sites.name} are not taken: {reason}, first: {ledger.first[reason]}")
    fresh = sorted(set(listed.cells) - set(cells))
    if len(fresh) == len(listed.cells):
        raise IngestError(f"no cell of {sites} is in {store.path}: the list has {fresh[:3]}, the city {cells[:3]}")
    told = polars.DataFrame({"cell": list(cells)}).join(
        listed.table.select("cell", "from", "to"), on="cell", how="left", maintain_order="left"
    )
    there = np.isin(cells, listed.cells)[:, None] & listed.dated
    before = store.allocation()
    known = np.tile(SINCE_EVER_FOR_EVER, (len(cells), 1)) if before.service is None else before.service
    service = np.where(there, days_in_service(told), known)
    if not np.array_equal(service, known):
        after = replace(before, service=service)
        store.tell_service(after)
        days = [
            day
            for day in store.first_day + np.arange(store.visible_days)
            if (before.in_service(day) != after.in_service(day)).any()
        ]
        spread_again(store, after, days)
        store.commit({})
        if days:
            last = f" to {days[-1]}" if len(days) > 1 else ""
            remarks.append(f"days that are spread anew, by what is in service then: {len(days)}, {days[0]}{last}")
    if before.service is not None and not listed.dated:
        remarks.append(f"{sites.name} has no column from or to: cells are in service when they were known to be")
    if fresh:
        some = ", ".join(fresh[:3]) + (", …" if len(fresh) > 3 else "")
        told_of = f"{len(fresh)} cells of {sites.name} are not in the city ({some})"
        remarks.append(f"{told_of}: build it again to have them on its grid")
    return remarks


def spread_again(store: CityStore, allocation: Allocation, days: Sequence[np.datetime64]) -> None:
    """Visible days of the grid anew from what the cells recorded; not visible before the next commit."""
    minutes, trust = (store.cell_minutes, store.step_minutes), bool(store.report.get("trust_suspect"))
    zone = store.report["mapping"]["time"]["zone"]
    for day in days:
        index = store.index_of(day)
        traffic = store.visible("cells/traffic", index)
        users = store.visible("cells/users", index) if store.has_users else np.full(traffic.shape, np.nan, np.float32)
        recorded = Day(traffic, users, store.visible("cells/state", index))
        never = clock_changes(day, zone, store.cell_minutes)[1]
        store.write_grid(day, *grid_day(recorded, allocation, *minutes, trust, never, allocation.in_service(day)))


__all__ = ["spread_again", "tell_service"]
