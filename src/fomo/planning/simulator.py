"""The network that plans are played on: cells, their radio units, the blocks they share, and who stands in for whom.

Stands in for the network simulation of the platform in §5. Nothing here is known to a plan but what it asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from fomo.planning.load import Load, PlanError

#: Neighbours nearer than this are equally near: cells of one site have no distance.
NEAREST_KM = 0.05
#: Within reach is also what is so much further away, relative: grids are not exact.
BEYOND_REACH = 1e-9


#: What the radio units of cells use in a period, (time, cell) in `energy_unit`, of three arrays (time, cell): the radio
#: units that are on; what each of them carries of its capacity, 0 to 1, the same for all of a cell; the radio units
#: that sleep. Those of a failed site neither sleep nor use anything.
EnergyOfCells: TypeAlias = Callable[
    [Int[np.ndarray, "time cell"], Float[np.ndarray, "time cell"], Int[np.ndarray, "time cell"]],
    Float[np.ndarray, "time cell"],
]


@dataclass(frozen=True)
class Network:
    """Cells with radio units, with blocks of a server, or with both; `network_of_load` makes it of a load's cells.

    A cell carries in a period what its active radio units can and what its blocks can, whichever is less.
    """

    #: Centre of every cell, kilometres.
    position_km: Float[np.ndarray, "cell 2"]
    #: Minutes of a period: that of the load.
    step_minutes: int
    #: Unit of the load, of `capacity` and of all that is carried, lost or waits.
    unit: str
    #: (cell) Radio units (RRUs) of each cell, M of (17); None: they are no limit.
    radio_units: Int[np.ndarray, "..."] | None = None
    #: (cell) Load that one radio unit of each cell carries in a period, `unit`; c0 of (17).
    capacity: Float[np.ndarray, "..."] | None = None
    #: (time, cell) Bits that one block (PRB) carries in a period, from the channel; None: blocks are no limit.
    bits_per_prb: Float[np.ndarray, "..."] | None = None
    #: Bits of one `unit` of load; 1 where the load is in bits.
    bits_per_unit: float | None = None
    #: (cell) Server of each cell, by number; None: one server has all.
    server: Int[np.ndarray, "..."] | None = None
    #: Blocks that each server shares out in a period, K of §5.2; None: not checked.
    server_prbs: int | None = None
    #: How far cells are heard: a failed site's load goes to those within it, kilometres (cells, where a city says no
    #: edge of them). 0 where positions mean nothing (layout 'list').
    reach_km: float = 1.5
    #: What radio units use; None: energy is not counted.
    energy: EnergyOfCells | None = None
    #: Unit of what `energy` gives.
    energy_unit: str = ""

    def __post_init__(self) -> None:
        """Refuse shapes that do not fit and values that cannot be. Raises `PlanError`."""
        cells = len(self.position_km)
        if self.position_km.shape != (cells, 2) or not cells or not np.isfinite(self.position_km).all():
            raise PlanError("a network needs the position of every cell: finite kilometres east and north (cell, 2)")
        if self.step_minutes < 1:
            raise PlanError(f"a period of {self.step_minutes} minutes: it must be 1 or more")
        if not (np.isfinite(self.reach_km) and self.reach_km >= 0):
            raise PlanError(f"a reach of {self.reach_km} km: it is 0 (no cell stands in for another) or more")
        self._check_radio_units(cells)
        self._check_blocks(cells)
        if self.radio_units is None and self.bits_per_prb is None:
            raise PlanError("nothing limits what this network carries: give radio_units and capacity, or bits_per_prb")

    def _check_radio_units(self, cells: int) -> None:
        if self.energy is not None and not self.energy_unit:
            raise PlanError("energy without a unit: say energy_unit, what the energy model counts in")
        if self.radio_units is None or self.capacity is None:
            if self.radio_units is not None or self.capacity is not None:
                raise PlanError("radio units need a capacity and a capacity needs radio units: give both or neither")
            if self.energy is not None:
                raise PlanError("energy is that of radio units: give radio_units and capacity as well")
            return
        for name, values in (("radio_units", self.radio_units), ("capacity", self.capacity)):
            if values.shape != (cells,):
                raise PlanError(f"{name} has the shape {values.shape} for {cells} cells: give one value a cell")
        if (self.radio_units < 0).any():
            cell = int(np.argmax(self.radio_units < 0))
            raise PlanError(f"cell {cell} has {self.radio_units[cell]} radio units: 0 or more")
        wrong = ~(np.isfinite(self.capacity) & (self.capacity > 0))
        if wrong.any():
            cell = int(np.argmax(wrong))
            raise PlanError(
                f"a radio unit of cell {cell} carries {self.capacity[cell]:g} {self.unit} a period: a capacity is "
                "above 0; a cell that carries nothing has 0 radio units"
            )

    def _check_blocks(self, cells: int) -> None:
        if self.bits_per_prb is None:
            if self.server_prbs is not None or self.server is not None:
                raise PlanError("a server's blocks carry nothing without bits_per_prb (time, cell): give the channel")
            return
        if self.bits_per_prb.ndim != 2 or self.bits_per_prb.shape[1] != cells:
            raise PlanError(f"bits_per_prb has the shape {self.bits_per_prb.shape}; it needs (time, {cells} cells)")
        if not (np.isfinite(self.bits_per_prb) & (self.bits_per_prb >= 0)).all():
            raise PlanError("bits_per_prb is negative or missing somewhere: a block carries 0 bits or more")
        if self.bits_per_unit is None or not (np.isfinite(self.bits_per_unit) and self.bits_per_unit > 0):
            raise PlanError(
                f"{self.bits_per_unit} bits in one {self.unit!r}: say how many with bits_per_unit, 1 for a load in bits"
            )
        if self.server_prbs is not None and self.server_prbs < 1:
            raise PlanError(f"a server with {self.server_prbs} blocks: it has 1 or more")
        if self.server is not None and (self.server.shape != (cells,) or (self.server < 0).any()):
            raise PlanError(f"server needs one number a cell, 0 or more, for {cells} cells")

    def takeover(self, failed: Bool[np.ndarray, " cell"]) -> Float[np.ndarray, "failed cell"]:
        """Share of each failed cell's load that goes to each cell; rows sum to 1.

        Inverse to the distance, among cells within `reach_km` that have not failed; nearer than `NEAREST_KM` counts as
        that. Where there is none, the load stays with the failed cell, which carries nothing.
        """
        down = np.flatnonzero(failed)
        apart = self.position_km[down, None] - self.position_km[None]
        km = np.hypot(apart[..., 0], apart[..., 1])
        near = km <= self.reach_km * (1 + BEYOND_REACH)
        weight = (near & ~failed) / np.maximum(km, NEAREST_KM)
        alone = ~weight.any(1)
        weight[alone, down[alone]] = 1.0
        shares: np.ndarray = weight / weight.sum(1, keepdims=True)
        return shares


def network_of_load(
    load: Load,
    *,
    radio_units: Int[np.ndarray, "..."] | int | None = None,
    capacity: Float[np.ndarray, "..."] | float | None = None,
    bits_per_prb: Float[np.ndarray, "..."] | None = None,
    bits_per_unit: float | None = None,
    server: Int[np.ndarray, "..."] | None = None,
    server_prbs: int | None = None,
    reach_km: float = 1.5,
    energy: EnergyOfCells | None = None,
    energy_unit: str = "",
) -> Network:
    """A network on the cells of a load, in its unit and periods; a single number counts for every cell.

    Parameters and units as in `Network`. Raises `PlanError`.
    """
    cells = len(load.places)
    return Network(
        position_km=load.position_km,
        step_minutes=load.step_minutes,
        unit=load.unit,
        radio_units=np.full(cells, radio_units) if isinstance(radio_units, int) else radio_units,
        capacity=np.full(cells, float(capacity)) if isinstance(capacity, (int, float)) else capacity,
        bits_per_prb=bits_per_prb,
        bits_per_unit=bits_per_unit,
        server=server,
        server_prbs=server_prbs,
        reach_km=reach_km,
        energy=energy,
        energy_unit=energy_unit,
    )


__all__ = ["NEAREST_KM", "EnergyOfCells", "Network", "network_of_load"]
