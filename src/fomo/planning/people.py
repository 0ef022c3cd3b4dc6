"""Where people are by period: whole people on cells, as many in all at any time (the human mobility of §5.3).

Measured users say which share of the people is in each cell; a stated total makes them people. Nobody is made or lost
between periods, so who leaves one cell arrives in another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from fomo.city import City
from fomo.planning.load import Load, PlanError

#: Above this many people the shares of float64 could be a whole person wrong.
MOST_PEOPLE = 10**12
#: Pairs of a cell that people leave and one they arrive in that `journeys` solves: 200 x 200.
MOST_PAIRS = 40_000


@dataclass(frozen=True)
class People:
    """People in cells by period; their total is the same in every period."""

    #: People in each cell during each period.
    count: Int[np.ndarray, "time cell"]
    #: Start of every period, local wall-clock.
    time: np.ndarray
    #: Row and column of every cell in the city's grid.
    places: Int[np.ndarray, "cell 2"]
    #: Centre of every cell, kilometres east and north of the grid's corner.
    position_km: Float[np.ndarray, "cell 2"]

    def __post_init__(self) -> None:
        """Refuse negative numbers and a total that changes. Raises `PlanError`."""
        steps, cells = self.count.shape
        if not (steps and cells):
            raise PlanError(f"people in {steps} periods and {cells} cells: there has to be one of each at least")
        if (len(self.time), len(self.places), len(self.position_km)) != (steps, cells, cells):
            raise PlanError("times, places and positions of people do not lie on their numbers (time, cell)")
        if (self.count < 0).any():
            step, cell = np.argwhere(self.count < 0)[0]
            raise PlanError(
                f"{self.count[step, cell]} people at {_minute(self.time[step])}, row {self.places[cell, 0]}, "
                f"column {self.places[cell, 1]}: the number is 0 or more"
            )
        totals = self.count.sum(1)
        if totals[0] < 1:
            raise PlanError("nobody is in these cells: state a total of 1 or more")
        changed = totals != totals[0]
        if changed.any():
            step = int(np.argmax(changed))
            raise PlanError(
                f"{totals[0]:,} people at first but {totals[step]:,} at {_minute(self.time[step])}: nobody comes into "
                "the city or leaves it here; make whole people of shares with people_of_city or people_of_traffic"
            )

    @property
    def total(self) -> int:
        """People in all cells together, the same in every period."""
        return int(self.count[0].sum())


def people_of_city(city: City, total: int, places: Int[np.ndarray, "cell 2"] | None = None) -> People:
    """`total` people on the cells of a city, in each period by the shares of the users that were measured in it.

    `places`: the cells by row and column, in this order, default all that are covered; `total` is of these cells
    alone. Rounded by the largest remainder. Raises `PlanError`: no users recorded, gaps, or a period without users.
    """
    name = city.attrs["name"]
    if "users" not in city:
        raise PlanError(f"{name!r} records no users: use people_of_traffic with the traffic of a person and hour")
    if places is None:
        places = np.argwhere(city["covered"].values)
    grid = (city.sizes["y"], city.sizes["x"])
    outside = ((places < 0) | (places >= grid)).any(1)
    if outside.any():
        row, column = places[outside][0]
        raise PlanError(f"row {row}, column {column} is not on the {grid[0]} x {grid[1]} cells of {name!r}")
    users = city["users"].values[:, places[:, 0], places[:, 1]].astype(np.float64)
    y, x = (city[axis].values if axis in city.coords else np.arange(city.sizes[axis]) + 0.5 for axis in ("y", "x"))
    gaps = ~np.isfinite(users)
    if gaps.any():
        step, cell = np.argwhere(gaps)[0]
        raise PlanError(
            f"users of {name!r} are missing in {int(gaps.sum()):,} of {gaps.size:,} values, the first at "
            f"{_minute(city['time'].values[step])}, row {places[cell, 0]}, column {places[cell, 1]}: "
            "choose periods and cells that record them"
        )
    return People(
        count=whole_people(users, total, city["time"].values),
        time=city["time"].values,
        places=places,
        position_km=np.stack([x[places[:, 1]], y[places[:, 0]]], -1).astype(np.float64),
    )


def people_of_traffic(load: Load, per_person_hour: float) -> People:
    """People by the shares of the traffic, for cities that record no users.

    `load`: of one member. `per_person_hour`: traffic of a person in an hour, in the unit of the load. The total is the
    mean traffic of an hour over all cells divided by it, the same at any time: at night the same people use less.
    Raises `PlanError`.
    """
    if len(load.members) != 1:
        raise PlanError(f"people of a load of {len(load.members)} members: take one, as load_of_city makes it")
    if not (np.isfinite(per_person_hour) and per_person_hour > 0):
        raise PlanError(f"a person's traffic of {per_person_hour!r} {load.unit} an hour: it is above 0")
    traffic = load.members[0]
    people = traffic.sum(1).mean() / (per_person_hour * load.step_minutes / 60)
    if not 0.5 <= people <= MOST_PEOPLE:
        raise PlanError(
            f"{per_person_hour:g} {load.unit} a person and hour makes {people:.3g} people of this traffic: "
            f"state a value that makes 1 to {MOST_PEOPLE:.0e}"
        )
    return People(whole_people(traffic, round(people), load.time), load.time, load.places, load.position_km)


def whole_people(amounts: Float[np.ndarray, "time cell"], total: int, time: np.ndarray) -> Int[np.ndarray, "time cell"]:
    """`total` split in each period in proportion to amounts, 0 or more, by the largest remainder (Hamilton's method).

    Each cell has its quota rounded down or up; of equal remainders the first cell is rounded up. `time` is for the
    message where a period has no amount. Raises `PlanError`.
    """
    if not 1 <= total <= MOST_PEOPLE:
        raise PlanError(f"{total:,} people in all: state 1 to {MOST_PEOPLE:.0e}")
    sums = amounts.sum(1, keepdims=True)
    if (sums <= 0).any():
        step = int(np.argmax(sums[:, 0] <= 0))
        raise PlanError(f"nobody is recorded anywhere at {_minute(time[step])}, so shares are unknown: leave it out")
    quota = amounts / sums * total
    count = np.floor(quota).astype(np.int64)
    left = total - count.sum(1, keepdims=True)
    order = np.argsort(count - quota, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(amounts.shape[1]), order.shape), 1)
    whole: np.ndarray = count + (rank < left)
    return whole


def moves(people: People) -> tuple[Int[np.ndarray, "time cell"], Int[np.ndarray, "time cell"]]:
    """People who leave and who arrive in each cell at the start of each period: the fewest that change the numbers.

    Nobody moves at the start of the first. In each period as many leave as arrive. More may have moved in truth:
    people who change places are not seen in the numbers.
    """
    change = np.diff(people.count, axis=0, prepend=people.count[:1])
    return np.maximum(-change, 0), np.maximum(change, 0)


def journeys(people: People, step: int) -> Int[np.ndarray, "origin destination"]:
    """Who goes from which cell (row) to which (column) at the start of period `step`: the fewest people-kilometres.

    The transportation problem as a linear programme; its corners are whole people. Straight lines between centres.
    For small grids: `PlanError` above `MOST_PAIRS` pairs of cells, or without scipy.
    """
    try:
        from scipy.optimize import linprog
        from scipy.sparse import csr_array, identity, kron, vstack
    except ImportError:
        raise PlanError("journeys between cells need scipy: pip install 'fomo[planning]'") from None
    if not 0 < step < len(people.count):
        raise PlanError(f"no journeys at period {step}: they are at the start of periods 1 to {len(people.count) - 1}")
    leaving, arriving = (numbers[step] for numbers in moves(people))
    origins, ends = np.flatnonzero(leaving), np.flatnonzero(arriving)
    cells = len(leaving)
    found = np.zeros((cells, cells), np.int64)
    if not len(origins):
        return found
    if len(origins) * len(ends) > MOST_PAIRS:
        raise PlanError(
            f"{len(origins)} cells that people leave times {len(ends)} where they arrive is above {MOST_PAIRS:,} "
            "pairs: take a part of the city"
        )
    km = np.linalg.norm(people.position_km[origins, None] - people.position_km[None, ends], axis=-1)
    from_cell = kron(identity(len(origins)), np.ones((1, len(ends))))
    to_cell = kron(np.ones((1, len(origins))), identity(len(ends)))
    answer = linprog(
        km.reshape(-1),
        A_eq=csr_array(vstack([from_cell, to_cell])),
        b_eq=np.concatenate([leaving[origins], arriving[ends]]),
        method="highs-ds",  # simplex: a corner, hence whole numbers
    )
    if answer.status != 0:
        raise PlanError(f"no journeys were found for period {step}: {answer.message}")
    found[np.ix_(origins, ends)] = np.rint(answer.x).astype(np.int64).reshape(km.shape)
    if not (np.array_equal(found.sum(1), leaving) and np.array_equal(found.sum(0), arriving)):
        raise PlanError(f"the journeys of period {step} are no whole people: take a smaller total")
    return found


def _minute(moment: np.datetime64) -> str:
    return str(np.datetime_as_string(moment, unit="m"))


__all__ = ["People", "journeys", "moves", "people_of_city", "people_of_traffic", "whole_people"]
