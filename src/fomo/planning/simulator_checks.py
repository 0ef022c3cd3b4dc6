"""Whether a truth and a plan fit a network: said before anything is played, with the place and the remedy."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, Real

from fomo.planning.load import Load, PlanError
from fomo.planning.people import People
from fomo.planning.simulator import Network


def check_truth(network: Network, truth: Load) -> Float[np.ndarray, "time cell"]:
    """The load of the only member of `truth`. Raises `PlanError` where it is none, or of other cells or periods."""
    if len(truth.members) != 1:
        raise PlanError(
            f"a truth of {len(truth.members)} members: plans are played against what happened, as load_of_city "
            "makes it; a forecast's mean is no truth"
        )
    if truth.position_km.shape != network.position_km.shape or not np.allclose(
        truth.position_km, network.position_km, rtol=0, atol=1e-6
    ):
        raise PlanError(
            f"the truth is of {len(truth.places)} cells, the network of {len(network.position_km)}, or their positions "
            "differ: make the network of the same cells in the same order with network_of_load"
        )
    if (truth.step_minutes, truth.unit) != (network.step_minutes, network.unit):
        raise PlanError(
            f"the truth is in {truth.unit!r} per {truth.step_minutes} minutes, the network in {network.unit!r} per "
            f"{network.step_minutes}: make the network of this load with network_of_load"
        )
    return truth.members[0]


def check_active(network: Network, plan: Real[np.ndarray, "..."], shape: tuple[int, ...]) -> Int[np.ndarray, "..."]:
    """A plan of active radio units, as whole numbers. Raises `PlanError`: another shape, or too many."""
    if network.radio_units is None:
        raise PlanError("a plan of radio units for a network without: give it radio_units and capacity")
    if plan.shape != shape:
        raise PlanError(f"the plan of radio units has the shape {plan.shape}; it needs {shape}, as the truth")
    wrong = ~((plan >= 0) & (plan <= network.radio_units) & (plan == np.floor(plan)))
    if wrong.any():
        place = tuple(int(index) for index in np.argwhere(wrong)[0])
        there = network.radio_units[place[-1]]
        raise PlanError(
            f"{plan[place]:g} active radio units at {_place(place)}: cell {place[-1]} has {there}, so a whole number "
            f"from 0 to {there}"
        )
    return plan.astype(np.int64)


def check_prbs(network: Network, prbs: Real[np.ndarray, "..."], shape: tuple[int, ...]) -> None:
    """Refuse a share-out of blocks that the servers cannot make. Raises `PlanError`."""
    if network.bits_per_prb is None:
        raise PlanError("a plan of blocks for a network without: give it bits_per_prb and bits_per_unit")
    for name, given in (("the plan of blocks", prbs.shape), ("bits_per_prb", network.bits_per_prb.shape)):
        if given != shape:
            raise PlanError(f"{name} has the shape {given}; it needs {shape}, as the truth")
    wrong = ~(np.isfinite(prbs) & (prbs >= 0))
    if wrong.any():
        place = tuple(int(index) for index in np.argwhere(wrong)[0])
        raise PlanError(f"{prbs[place]:g} blocks at {_place(place)}: 0 or more")
    if network.server_prbs is None:
        return
    server = np.zeros(shape[1], np.int64) if network.server is None else network.server
    numbers, row = np.unique(server, return_inverse=True)
    used = np.zeros((len(numbers), shape[0]))
    np.add.at(used, row, prbs.T)
    above = used > network.server_prbs * (1 + 1e-9)
    if above.any():
        row_above, step = np.argwhere(above)[0]
        raise PlanError(
            f"server {numbers[row_above]} gives out {used[row_above, step]:g} blocks in period {step} but has "
            f"{network.server_prbs}: plan within them"
        )


def check_people(people: People, truth: Load) -> None:
    """Refuse people of other cells or periods than the truth. Raises `PlanError`."""
    shape = truth.members.shape[1:]
    if people.count.shape != shape:
        raise PlanError(f"people have the shape {people.count.shape}; they need {shape} (time, cell), as the truth")
    if not (np.array_equal(people.time, truth.time) and np.array_equal(people.places, truth.places)):
        raise PlanError(
            "people are of other periods or cells than the truth, or in another order: make them of the same periods "
            "of the city with people_of_city(..., places=truth.places)"
        )


def check_start(
    network: Network, waiting: Float[np.ndarray, "..."] | None, failed: Bool[np.ndarray, "..."] | None
) -> tuple[Float[np.ndarray, " cell"], Bool[np.ndarray, " cell"]]:
    """What waits in each cell at first and which failed, nothing and none by default. Raises `PlanError`."""
    cells = len(network.position_km)
    waiting = np.zeros(cells) if waiting is None else waiting
    failed = np.zeros(cells, bool) if failed is None else failed
    for name, values in (("waiting", waiting), ("failed", failed)):
        if values.shape != (cells,):
            raise PlanError(f"{name} has the shape {values.shape} for {cells} cells: give one value a cell")
    if not (np.isfinite(waiting) & (waiting >= 0)).all():
        raise PlanError(f"what waits at first is negative or missing somewhere: 0 {network.unit} or more")
    return waiting, failed


def _place(place: tuple[int, ...]) -> str:
    return f"period {place[0]}, cell {place[1]}" if len(place) == 2 else f"cell {place[0]}"


__all__ = ["check_active", "check_people", "check_prbs", "check_start", "check_truth"]
