"""Base station deployment (§5.3): how many stations, what one serves, and stations in proportion to a density.

The paper puts stations into the cells of a 16 x 16 district in proportion to a day's generated traffic, and compares
with residents and POI as the density. `fomo.planning.facility` has the better plan, `fomo.planning.coverage` the judge.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
from jaxtyping import Float, Int, Shaped

from fomo.planning.load import Load, PlanError

MINUTES_PER_HOUR, MINUTES_PER_DAY = 60, 24 * 60
#: Remainders of quotas that differ behind these digits are equal.
REMAINDER_DIGITS = 9


@dataclass(frozen=True)
class DeploymentParameters:
    """What is built. Raises `PlanError` where a value cannot be."""

    #: Stations in all. 64: one for every four cells of the paper's 16 x 16 district, so where they stand matters.
    stations: int = 64
    #: People whom one station serves at the same time, in the unit of the people. 600: a round figure for three
    #: sectors of some 200 connected users; `dimensioned_for` sets it by the people there are.
    users_per_station: float = 600.0
    #: A station at the centre of a cell serves the cells whose centres lie within so many kilometres. 0: its own cell
    #: only, as the paper's stations, which are counted by cell.
    reach_km: float = 0.0
    #: Most stations in one cell. 4: what fits 1 km2 at the 500 m between sites of 3GPP's urban macro grid (TR 38.913;
    #: hexagons, 4.6 per km2).
    stations_per_place: int = 4

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        for name in ("stations", "stations_per_place"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise PlanError(f"{name} is {value!r}: it is a whole number of stations, 1 or more")
        if not (isfinite(self.users_per_station) and self.users_per_station > 0):
            raise PlanError(
                f"users_per_station is {self.users_per_station!r}: a station serves more than 0 people; "
                "give a number, or let dimensioned_for set it"
            )
        if not (isfinite(self.reach_km) and self.reach_km >= 0):
            raise PlanError(f"reach_km is {self.reach_km!r}: it is 0 (the station's own cell) or more kilometres")

    def dimensioned_for(self, people: Float[np.ndarray, "time cell"], share: float = 0.85) -> DeploymentParameters:
        """The same stations, each so strong that all of them serve this share of the people of the busiest hour.

        `people`: present, by hour and cell; `users_per_station` gets their unit. `share`: 0.85 by default, as with
        scarce stations (0.8 to 0.9) plans differ; above 1 there is capacity to spare. Raises `PlanError`.
        """
        if not (isfinite(share) and share > 0):
            raise PlanError(f"a share of {share!r} of the people: it is more than 0, and 1 for all of them")
        check_people(people)
        return replace(self, users_per_station=share * float(people.sum(1, dtype=np.float64).max()) / self.stations)


def check_people(people: Float[np.ndarray, "time cell"]) -> None:
    """Refuse people by (period, cell) that are missing, negative or nobody at all. Raises `PlanError`."""
    if not people.size:
        raise PlanError(f"people of {people.shape[0]} periods and {people.shape[1]} cells: there is nobody to serve")
    for wrong, fault in ((~np.isfinite(people), "missing or infinite"), (people < 0, "negative")):
        if wrong.any():
            period, cell = np.argwhere(wrong)[0]
            raise PlanError(
                f"{int(wrong.sum()):,} numbers of people are {fault}, the first in period {period}, cell {cell} "
                f"({people[period, cell]}): leave out the cells that nobody counted"
            )
    if not (people > 0).any():
        raise PlanError("there is nobody to serve in any cell and period: is this the right area and time?")


def check_stations(stations: Shaped[np.ndarray, " cell"], cells: int) -> None:
    """Refuse numbers of stations that are no whole numbers of 0 or more, one for each cell. Raises `PlanError`."""
    if stations.shape != (cells,):
        raise PlanError(f"stations are given for {len(stations)} cells, people for {cells}: give one number a cell")
    if not np.issubdtype(stations.dtype, np.integer) or (stations < 0).any():
        raise PlanError("stations in a cell are whole numbers, 0 or more: round the plan, or make it with proportional")


def proportional(
    weight: Float[np.ndarray, " cell"], stations: int, most_per_place: int | None = None
) -> Int[np.ndarray, " cell"]:
    """Stations by cell in proportion to a density (§5.3), by largest remainder; they sum to `stations` exactly.

    `weight`: any unit, one for all cells: a day's generated traffic (the paper's scheme), residents, POI. Of equal
    remainders the larger weight comes first, then the earlier cell. `most_per_place`: most stations in a cell; what a
    full cell would get more is shared by the others in proportion. Cells of weight 0 get none. Raises `PlanError`.
    """
    if stations < 1 or (most_per_place is not None and most_per_place < 1):
        raise PlanError(f"{stations} stations, at most {most_per_place} in a cell: both are 1 or more")
    wrong = ~np.isfinite(weight) | (weight < 0)
    if wrong.any():
        cell = int(np.argmax(wrong))
        raise PlanError(
            f"the density is {weight[cell]} in cell {cell} ({int(wrong.sum())} such cells): "
            "it is 0 or more; leave out the cells where it is not known"
        )
    inside = weight > 0
    if not inside.any():
        raise PlanError("the density is 0 in every cell, so nothing says where stations go: choose another one")
    most = stations if most_per_place is None else min(most_per_place, stations)
    if stations > most * int(inside.sum()):
        raise PlanError(
            f"{stations} stations do not fit into {int(inside.sum())} cells with a density above 0 at {most} a cell: "
            "take fewer stations or allow more in a cell"
        )
    quota, full = np.zeros(len(weight)), np.zeros(len(weight), bool)
    while True:  # ends: every turn but the last fills a cell
        open_ = inside & ~full
        share = weight[open_] / weight[open_].max()  # so no sum of very large or small weights goes out of range
        quota[open_] = (stations - most * int(full.sum())) * share / share.sum()
        over = open_ & (quota > most)
        if not over.any():
            break
        full |= over
        quota[over] = most
    given = np.floor(quota).astype(np.int64)
    # Of quotas, rounding would decide which of two equal remainders is the larger one.
    remainder = np.where(inside & (given < most), np.round(quota - given, REMAINDER_DIGITS), -1.0)
    order = np.lexsort((-weight, -remainder))
    given[order[: stations - int(given.sum())]] += 1
    return given


def demand_of_traffic(
    load: Load,
    *,
    people: float | None = None,
    traffic_per_user: float = 1.0,
    by_member: bool = False,
) -> Float[np.ndarray, "scenario cell"]:
    """People by hour of the mean day and cell, as a forecast of traffic says: its traffic over a traffic per user.

    The mean is over the days, and over the members or, with `by_member`, for each of them (member 0's hours first).
    Scenario k of a day begins k hours after midnight (k periods where these are longer than an hour). `people`: how
    many there are in all cells in the busiest hour of the mean day, e.g. of the operator's customers; by default
    `traffic_per_user` (the load's unit per person and period) decides. It is one number for the whole area, so a
    coverage ratio depends on proportions only once stations are dimensioned. Raises `PlanError`: an hour is missing.
    """
    for name, value in (("people", 1.0 if people is None else people), ("traffic_per_user", traffic_per_user)):
        if not (isfinite(value) and value > 0):
            raise PlanError(f"{name} is {value!r}: it is a number above 0")
    slot_minutes = max(load.step_minutes, MINUTES_PER_HOUR)
    minutes = (load.time - load.time.astype("datetime64[D]")) // np.timedelta64(1, "m")
    slot = minutes.astype(np.int64) // slot_minutes
    slots = MINUTES_PER_DAY // slot_minutes
    missing = np.setdiff1d(np.arange(slots), slot)
    if len(missing):
        hours = ", ".join(f"{k * slot_minutes // 60:02d}:{k * slot_minutes % 60:02d}" for k in missing[:4].tolist())
        raise PlanError(
            f"the load has no period in {len(missing)} of the {slots} hours of a day (from {hours}): "
            "generate one day at least, as coverage is judged over a whole day"
        )
    member = (load.members if by_member else load.mean[None]) / traffic_per_user
    belongs = (slot == np.arange(slots)[:, None]) / np.bincount(slot, minlength=slots)[:, None]
    demand = np.einsum("ht,stc->shc", belongs, member)
    if people is not None:
        busiest = float(demand.mean(0).sum(1).max())
        if busiest <= 0:
            raise PlanError("the load is 0 everywhere, so it says nothing about where people are: check the forecast")
        demand = demand * (people / busiest)
    return demand.reshape(-1, demand.shape[-1])


def without(stations: Int[np.ndarray, " cell"], place: int, failed: int = 1) -> Int[np.ndarray, " cell"]:
    """The same deployment after stations of one cell failed, one by default. Raises `PlanError`: they are not there."""
    if not 0 <= place < len(stations):
        raise PlanError(f"there is no cell {place}: cells are 0 to {len(stations) - 1}")
    if failed < 1 or stations[place] < failed:
        raise PlanError(f"{failed} stations cannot fail in cell {place}: it has {stations[place]}")
    left = stations.copy()
    left[place] -= failed
    return left


__all__ = ["DeploymentParameters", "demand_of_traffic", "proportional", "without"]
