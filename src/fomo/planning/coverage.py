"""Whom a deployment serves while people move: the coverage ratio of §5.3, hour by hour.

In every period the people in cells are given to stations within reach so that as many as possible are served: a maximum
flow from stations (capacity: people at the same time) to cells (people present). Nothing carries over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from fomo.planning.deployment import DeploymentParameters, check_people, check_stations
from fomo.planning.load import PlanError
from fomo.planning.simulator import BEYOND_REACH

#: Flows are counted in whole units, so that more stations never serve less by rounding. All people of a period are
#: 2^29 units at most: sums of two of them fit the 32 bits of scipy's maximum_flow. A unit is a power of 2, so whole
#: people are counted exactly; of other numbers less than a unit is lost of each cell and station (together less than
#: 2e-6 of the people of the period for 256 cells and 64 stations).
UNITS_LOG2 = 29


@dataclass(frozen=True)
class Reach:
    """Pairs of a cell and a place that may serve it, by place and then cell. Every cell is a place."""

    cells: int
    place: Int[np.ndarray, " pair"]
    cell: Int[np.ndarray, " pair"]


@dataclass(frozen=True)
class Coverage:
    """Whom stations serve. Totals are the most that can be; by cell they are one of several ways to serve so many."""

    people: Float[np.ndarray, "time cell"]  # present
    served: Float[np.ndarray, "time cell"]  # people of this cell who are served
    carried: Float[np.ndarray, "time cell"]  # people whom the stations of this cell serve

    @property
    def ratio(self) -> Float[np.ndarray, " time"]:
        """Coverage ratio of §5.3: users served by base stations / all people, 0 to 1; NaN where nobody is there."""
        all_people, served = self.people.sum(1), self.served.sum(1)
        return np.divide(served, all_people, out=np.full(len(all_people), np.nan), where=all_people > 0)

    @property
    def mean_ratio(self) -> float:
        """Mean of the coverage ratio over the periods in which somebody is there."""
        return float(np.nanmean(self.ratio))

    def by_hour_of_day(self, time: np.ndarray) -> Float[np.ndarray, "24"]:
        """Mean coverage ratio by hour of day, for the starts of the periods; NaN for hours that have none."""
        if len(time) != len(self.people):
            raise PlanError(f"{len(time)} times for a coverage of {len(self.people)} periods: give one for each")
        hour = ((time - time.astype("datetime64[D]")) // np.timedelta64(1, "h")).astype(np.int64)
        known = np.isfinite(self.ratio)
        total = np.bincount(hour[known], self.ratio[known], minlength=24)
        count = np.bincount(hour[known], minlength=24)
        return np.divide(total, count, out=np.full(24, np.nan), where=count > 0)


def play_coverage(
    stations: Int[np.ndarray, " place"],
    people: Float[np.ndarray, "time cell"],
    position_km: Float[np.ndarray, "centre 2"],
    parameters: DeploymentParameters,
) -> Coverage:
    """Whom these stations (by cell) serve of the people present (by period and cell).

    Where stations reach their own cell only, served = min(people, users_per_station x stations), else a maximum flow
    in every period. `position_km`: centres of the cells, each of which is a place. `parameters.stations` is not asked:
    any deployment can be played, also one `without` a station. Raises `PlanError`.
    """
    check_people(people)
    check_stations(stations, people.shape[1])
    if len(position_km) != people.shape[1]:
        raise PlanError(f"{people.shape[1]} cells have people, {len(position_km)} a position: give each its centre")
    people = people.astype(np.float64)
    if parameters.reach_km == 0:
        served = np.minimum(people, parameters.users_per_station * stations)
        return Coverage(people, served, served)
    reach = within_reach(position_km, parameters.reach_km)
    open_ = stations[reach.place] > 0
    reach = Reach(reach.cells, reach.place[open_], reach.cell[open_])
    service = Service(people, reach, parameters.users_per_station)
    service.add(stations)
    return Coverage(people, service.served, service.carried)


def within_reach(position_km: Float[np.ndarray, "cell 2"], reach_km: float) -> Reach:
    """Cells whose centres lie within so many kilometres of a place (a billionth is added: grids are not exact)."""
    cells = len(position_km)
    if not np.isfinite(position_km).all():
        raise PlanError("positions of cells are missing or infinite: stations reach cells by their distance")
    own = np.arange(cells)
    if reach_km == 0:
        return Reach(cells, own, own)
    try:
        from scipy.spatial import cKDTree
    except ImportError:
        raise PlanError("stations that reach beyond their cell need scipy: pip install 'fomo[planning]'") from None
    near = cKDTree(position_km).query_pairs(reach_km * (1 + BEYOND_REACH), output_type="ndarray").astype(np.int64)
    place = np.concatenate([own, near[:, 0], near[:, 1]])
    cell = np.concatenate([own, near[:, 1], near[:, 0]])
    order = np.lexsort((cell, place))
    return Reach(cells, place[order], cell[order])


class Service:
    """Who is served by whom in scenarios, the most that can be; grows as stations are added.

    Stations that are added serve people who are left, or free others for these: a flow that augments the one there is
    (Ford and Fulkerson), so every state is a maximum flow. Raises `PlanError` where scipy is not there.
    """

    def __init__(
        self,
        people: Float[np.ndarray, "scenario cell"],
        reach: Reach,
        users_per_station: float,
        weights: Float[np.ndarray, " scenario"] | None = None,
    ) -> None:
        """No station yet. `weights` sum to 1 and weight the scenarios in means, which are plain by default."""
        total = people.sum(1)
        self._weights = np.full(len(people), 1 / len(people)) if weights is None else weights
        self._unit = np.exp2(np.ceil(np.log2(np.where(total > 0, total, 1.0))) - UNITS_LOG2)
        self._whole = np.floor(people / self._unit[:, None]).astype(np.int32)  # people by (scenario, cell), in units
        most = 2**UNITS_LOG2
        self._one = np.minimum(np.floor(users_per_station / self._unit), most).astype(np.int64)  # of one station
        self._left = self._whole.copy()
        self._pairs = np.zeros((len(people), len(reach.place)), np.int32)  # served by (scenario, pair), in units
        self._reach = reach
        self._csr_array, self._maximum_flow = _flow_tools()
        self._lay_out()

    @property
    def served(self) -> Float[np.ndarray, "scenario cell"]:
        """People of each cell who are served."""
        return (self._whole - self._left) * self._unit[:, None]

    @property
    def carried(self) -> Float[np.ndarray, "scenario cell"]:
        """People whom the stations of each cell serve."""
        scenarios, cells = self._whole.shape
        key = cells * np.arange(scenarios)[:, None] + self._reach.place
        carried = np.bincount(key.reshape(-1), self._pairs.reshape(-1), minlength=scenarios * cells)
        return carried.reshape(scenarios, cells) * self._unit[:, None]

    @property
    def mean_served(self) -> float:
        """People served in all cells, mean over scenarios."""
        return float(self._weights @ self.served.sum(1))

    def left_near(self) -> Float[np.ndarray, " place"]:
        """People not served within reach of each place, mean over scenarios."""
        left = (self._weights * self._unit) @ self._left
        return np.bincount(self._reach.place, left[self._reach.cell], minlength=self._reach.cells)

    def add(self, stations: Int[np.ndarray, " cell"]) -> None:
        """Build stations, so many more in every cell."""
        for scenario, one in enumerate(self._one.tolist()):
            found = self._flow(scenario, np.minimum(one * stations, 2**UNITS_LOG2).astype(np.int32))
            flow = found.flow.tocoo()
            first_cell, sink = 1 + self._reach.cells, 1 + 2 * self._reach.cells
            is_pair = (flow.row > 0) & (flow.row < first_cell) & (flow.col >= first_cell) & (flow.col < sink)
            key = (flow.row[is_pair].astype(np.int64) - 1) * self._reach.cells + flow.col[is_pair] - first_cell
            at = np.searchsorted(self._reach.place * self._reach.cells + self._reach.cell, key)
            self._pairs[scenario, at] += flow.data[is_pair]
            of_cell = np.bincount(self._reach.cell, self._pairs[scenario], minlength=self._reach.cells)
            self._left[scenario] = self._whole[scenario] - of_cell.astype(np.int32)

    def gain(self, place: int) -> float:
        """People whom one more station at this place would serve, mean over scenarios."""
        near = self._left[:, self._reach.cell[self._reach.place == place]].sum(1, dtype=np.int64)
        gained = np.minimum(near, self._one)  # at least these; no more where the station is full
        at_place = np.zeros(self._reach.cells, np.int32)
        for scenario in np.flatnonzero((near < self._one) & (near < self._left.sum(1, dtype=np.int64))).tolist():
            at_place[place] = self._one[scenario]
            gained[scenario] = self._flow(scenario, at_place).flow_value
        return float(self._weights @ (gained * self._unit))

    def _lay_out(self) -> None:
        """Source, places, cells, sink as a compressed sparse row matrix; only capacities differ between scenarios."""
        cells, place, cell = self._reach.cells, self._reach.place, self._reach.cell
        by_cell = np.lexsort((place, cell))
        of_place, of_cell = np.bincount(place, minlength=cells), np.bincount(cell, minlength=cells)
        starts = cells + len(place)  # entries before those of the cells
        self._back = starts + np.arange(len(place)) + cell[by_cell]  # every cell before adds one entry to the sink
        self._out = starts + np.cumsum(of_cell) + np.arange(cells)
        self._by_cell = by_cell
        columns = np.empty(2 * cells + 2 * len(place), np.int32)
        columns[:cells] = 1 + np.arange(cells)
        columns[cells:starts] = 1 + cells + cell
        columns[self._back] = 1 + place[by_cell]
        columns[self._out] = 1 + 2 * cells
        self._columns = columns
        entries = np.concatenate([[0, cells], of_place, of_cell + 1, [0]])
        self._rows = np.cumsum(entries).astype(np.int32)

    def _flow(self, scenario: int, capacity: Int[np.ndarray, " place"]) -> Any:
        """The flow of new capacity (units by place) through what is served already to people who are not."""
        cells = self._reach.cells
        amounts = np.empty(len(self._columns), np.int32)
        amounts[:cells] = capacity
        amounts[cells : cells + len(self._reach.cell)] = self._whole[scenario, self._reach.cell]
        amounts[self._back] = self._pairs[scenario, self._by_cell]
        amounts[self._out] = self._left[scenario]
        size = 2 + 2 * cells
        return self._maximum_flow(
            self._csr_array((amounts, self._columns.copy(), self._rows.copy()), shape=(size, size)), 0, size - 1
        )


def _flow_tools() -> tuple[Any, Any]:
    try:
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import maximum_flow
    except ImportError:
        raise PlanError("stations that reach beyond their cell need scipy: pip install 'fomo[planning]'") from None
    return csr_array, maximum_flow


__all__ = ["Coverage", "Reach", "Service", "play_coverage", "within_reach"]
