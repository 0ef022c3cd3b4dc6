"""What the radio units of a cell consume: a part for being awake, a part for the load, a rest while asleep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from fomo.planning.load import PlanError

#: One unit of energy by default: what one radio unit consumes in an hour at full load.
FULL_UNIT_HOURS = "full RRU-hours"


@dataclass(frozen=True)
class EnergyModel:
    """Energy of radio units (RRU) per hour: x idle + (M - x) asleep + load (carried / c0), for x of M units awake.

    §5.1 writes P[L] = alpha L + beta (L / c0) of the carried load L. Both terms vanish with the load, so a unit that
    is awake for nothing costs nothing there, and always on would cost what the best plan costs. Here the awake units
    themselves cost `idle`. Two readings of the paper are members of this family, see `as_printed` and `per_unit`.

    The defaults are those of the commonest radio type in measured 5G data (`benchmarks/energy_fit.py`,
    results/energy-fit.md). Its energy has no physical unit: the release scales it so that the highest hour is 100. So
    only ratios are kept, in units of what one fully loaded radio unit consumes in an hour; times the full-load power
    of a unit in kW, every energy becomes kWh. It is measured at stations, so what else runs there is in `idle` and
    `asleep` alike: sleep saves the stated share of a station with one unit, and no less of the unit.
    """

    #: Of a unit awake without load, `unit` per hour.
    idle: float = 0.354
    #: Added by a full load (carried = c0), `unit` per hour; in proportion below it.
    load: float = 0.646
    #: Of a sleeping unit, `unit` per hour.
    asleep: float = 0.213
    #: What energies are counted in.
    unit: str = FULL_UNIT_HOURS

    def __post_init__(self) -> None:
        """Refuse what no radio unit does. Raises `PlanError`."""
        for name in ("idle", "load", "asleep"):
            value = getattr(self, name)
            if not 0 <= value < np.inf:
                raise PlanError(f"the energy {name!r} is {value:g} {self.unit} per hour: it is finite and 0 or more")
        if self.asleep > self.idle:
            raise PlanError(
                f"a sleeping radio unit consumes {self.asleep:g} and an idle one {self.idle:g} {self.unit} per hour: "
                "sleeping must not consume more, look whether the two were exchanged"
            )

    @property
    def full(self) -> float:
        """Of a fully loaded radio unit, `unit` per hour."""
        return self.idle + self.load

    @property
    def saved(self) -> float:
        """What one sleeping unit saves where it would have been idle, `unit` per hour."""
        return self.idle - self.asleep

    def relative(self) -> EnergyModel:
        """The same model in full RRU-hours. Raises `PlanError` where a full unit consumes nothing."""
        if not self.full > 0:
            raise PlanError("a radio unit that consumes nothing cannot be the unit of energy: give it idle or load")
        return EnergyModel(self.idle / self.full, self.load / self.full, self.asleep / self.full)

    def consumed(
        self,
        active: Int[np.ndarray, "..."] | int,
        carried: Float[np.ndarray, "..."],
        capacity: Float[np.ndarray, "..."],
        rrus: Int[np.ndarray, "..."] | int,
        hours: float,
    ) -> Float[np.ndarray, "..."]:
        """E's term in (17), in `unit`: of cells with `active` of `rrus` units awake over a period of `hours`.

        `carried` and `capacity` (of one unit, c0) in load per period; all arrays broadcast.
        """
        awake = active * (self.idle - self.asleep) + rrus * self.asleep
        return hours * (awake + self.load * carried / capacity)

    def of_cells(
        self, hours: float
    ) -> Callable[[Int[np.ndarray, "..."], Float[np.ndarray, "..."], Int[np.ndarray, "..."]], Float[np.ndarray, "..."]]:
        """The energy of cells as the simulator asks for it, in `unit`, for periods of so many hours.

        A function of units on, the mean share of its capacity that one of them carries, and units asleep.
        """

        def energy(
            active: Int[np.ndarray, "..."], share: Float[np.ndarray, "..."], sleeping: Int[np.ndarray, "..."]
        ) -> Float[np.ndarray, "..."]:
            return self.consumed(active, active * share, np.ones(()), active + sleeping, hours)

        return energy

    @classmethod
    def as_printed(cls, alpha: float, beta: float, capacity: float) -> EnergyModel:
        """§5.1 to the letter: alpha L + beta (L / c0) = (alpha c0 + beta) L / c0, whatever the awake units.

        `alpha` energy per hour and unit of load, `beta` energy per hour, `capacity` c0. Under it sleep saves nothing.
        """
        return cls(idle=0.0, load=alpha * capacity + beta, asleep=0.0, unit="energy of alpha and beta")

    @classmethod
    def per_unit(cls, alpha: float, beta: float, capacity: float) -> EnergyModel:
        """§5.1 with L / c0 read as the number of awake units: alpha L + beta x. Units as in `as_printed`."""
        return cls(idle=beta, load=alpha * capacity, asleep=0.0, unit="energy of alpha and beta")


@dataclass(frozen=True)
class EnergyFit:
    """A fitted model with what it leaves unexplained."""

    model: EnergyModel
    r_squared: float  # share of the variance of energy that is explained
    error: float  # root mean square of the residuals, in the unit of the energy
    hours: int  # rows


def fit_energy(
    load: Float[np.ndarray, " hour"],
    energy: Float[np.ndarray, " hour"],
    asleep: Float[np.ndarray, " hour"],
    unit: str = "unit of the data",
) -> EnergyFit:
    """Least squares of energy = idle (1 - asleep) + load share + rest asleep, over hours of single radio units.

    `load`: share of the unit's capacity, 0 to 1; `energy`: per hour, in `unit`; `asleep`: share of the hour in the
    deepest sleep, 0 to 1. Where no hour was slept, the rest of a sleeper is unknown and set to `idle`: sleep then saves
    nothing, which is the careful side. Raises `PlanError`: gaps, shares outside 0 to 1, loads that are all alike, and
    what `EnergyModel` refuses.
    """
    for name, values in (("load", load), ("energy", energy), ("share asleep", asleep)):
        missing = int((~np.isfinite(values)).sum())
        if missing:
            raise PlanError(f"{missing} of {values.size} values of the {name} are missing: leave these hours out")
    for name, values in (("load", load), ("share asleep", asleep)):
        if values.size and (values.min() < 0 or values.max() > 1):
            raise PlanError(f"the {name} goes from {values.min():g} to {values.max():g}: it is a share, 0 to 1")
    slept = bool((asleep > 0).any())
    columns = [1 - asleep, load, *([asleep] if slept else [])]
    design = np.stack(columns, -1).astype(np.float64)
    target = energy.astype(np.float64)
    found, _, rank, _ = np.linalg.lstsq(design, target, rcond=None)
    if rank < len(columns):
        raise PlanError(
            f"{load.size} hours do not tell idle, load and sleep apart: give hours of different load, awake and asleep"
        )
    residual = target - design @ found
    spread = float(((target - target.mean()) ** 2).sum())
    model = EnergyModel(float(found[0]), float(found[1]), float(found[2] if slept else found[0]), unit)
    return EnergyFit(
        model=model,
        r_squared=1 - float((residual**2).sum()) / spread if spread else float("nan"),
        error=float(np.sqrt((residual**2).mean())),
        hours=len(target),
    )
