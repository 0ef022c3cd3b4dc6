"""What sleep control is asked to do and what it costs: the parameters of (17), its three parts, and their checks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from fomo.planning.load import Load, PlanError

#: Shares of a load that are lost below this are rounding, not overload.
ROUNDING = 1e-9


@dataclass(frozen=True)
class SleepParameters:
    """Radio units of every cell and the weights of the three parts of (17).

    The paper adds the parts as they are, although they have different units. Here each has a price in the unit of
    energy, by default in full RRU-hours (what one radio unit consumes in an hour at full load):

    - Energy costs 1.
    - A switch costs 0.28, what a sleeping unit saves in two hours by the default `EnergyModel`: as it takes a switch
      off and one on, sleep pays if it lasts longer than four hours ("adjusting over a short period is impractical").
    - Losing all traffic of a cell for an hour costs 15: a further unit is woken for a little more than 1 % of the
      traffic of a cell, which pays for the unit and for the energy to carry that traffic.

    So on real cities the oracle's plan has switches and losses that matter beside the energy that a plan can change.
    Q of (17) counts shares: where a load is above qos_cost / (load + idle - asleep) = 19 times c0, a unit carries so
    small a share of it that (17) itself prefers to let it sleep. Units that are too small for their cell by that much
    (2.4 times all 8) need dimensioning, or a higher `qos_cost`.
    """

    #: Radio units of every cell, M.
    rrus: int = 8
    #: Fewest that stay awake in every period, for coverage.
    least: int = 1
    #: Cost of losing all traffic of one cell for one hour; a share of it for a share of the traffic.
    qos_cost: float = 15.0
    #: Cost of switching one radio unit on or off.
    switching_cost: float = 0.28
    #: Cost of a unit of energy.
    energy_cost: float = 1.0
    #: Largest probability that a cell is overloaded in a period, by the members; None: only the costs decide. It takes
    #: 1 / risk - 1 members or more, see `check_risk`.
    risk: float | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range. Raises `PlanError`."""
        if not 1 <= self.rrus <= 127:
            raise PlanError(f"{self.rrus} radio units a cell: it takes 1 to 127")
        if not 0 <= self.least <= self.rrus:
            raise PlanError(f"at least {self.least} of {self.rrus} radio units awake: it takes 0 to {self.rrus}")
        for name in ("qos_cost", "switching_cost", "energy_cost"):
            value = getattr(self, name)
            if not 0 <= value < np.inf:
                raise PlanError(f"{name} is {value:g}: a weight of (17) is finite and 0 or more")
        if self.risk is not None and not 0 <= self.risk < 1:
            raise PlanError(f"risk is {self.risk:g}: it is a probability from 0 to below 1, or None for no limit")


@dataclass(frozen=True)
class SleepCosts:
    """The three parts of (17) for every period and cell, and what they cost together."""

    #: Lost share of the traffic times the hours of the period, cell-hours; the paper's Q where periods are hours.
    qos_loss: Float[np.ndarray, "time cell"]
    #: Radio units switched at the start of the period, the paper's W.
    switching: Float[np.ndarray, "time cell"]
    #: Energy in the unit of the `EnergyModel`, the paper's E.
    energy: Float[np.ndarray, "time cell"]
    parameters: SleepParameters

    @property
    def objective(self) -> Float[np.ndarray, "time cell"]:
        """(17) with its weights, in the unit of the costs."""
        weights = self.parameters
        return (
            weights.qos_cost * self.qos_loss
            + weights.switching_cost * self.switching
            + weights.energy_cost * self.energy
        )

    @property
    def totals(self) -> dict[str, float]:
        """Sums over all periods and cells, by the names of a `PlanRow`'s metrics."""
        return {name: float(values.sum()) for name, values in self._parts().items()}

    @property
    def by_cell(self) -> dict[str, Float[np.ndarray, " cell"]]:
        """Sums over the periods, by the same names."""
        return {name: values.sum(0) for name, values in self._parts().items()}

    @property
    def by_period(self) -> dict[str, Float[np.ndarray, " time"]]:
        """Sums over the cells, by the same names."""
        return {name: values.sum(1) for name, values in self._parts().items()}

    def _parts(self) -> dict[str, Float[np.ndarray, "time cell"]]:
        return {
            "objective": self.objective,
            "QoS loss": self.qos_loss,
            "switching": self.switching,
            "energy": self.energy,
        }


def check_risk(risk: float | None, members: int) -> None:
    """Refuse a risk that so few members cannot keep to: not even with none of them above. Raises `PlanError`.

    One member is planned on as certain, see `plan_sleep`.
    """
    if risk is None or members == 1 or risk * (members + 1) >= 1 - ROUNDING:
        return
    enough = 1 / risk if risk > 0 else math.inf  # infinite for the smallest numbers above 0 too
    remedy = f"take {math.ceil(enough - ROUNDING) - 1:,} members or more" if enough < math.inf else "give one above 0"
    raise PlanError(
        f"a risk of {risk:g} cannot be kept to by {members} members: the truth is above all of them with a probability "
        f"of up to 1/{members + 1}; {remedy}"
    )


def members_for_one_above(risk: float | None, members: int) -> int | None:
    """Members of which one may be above what is awake, (1 + 1) / (n + 1) <= risk; None where these are enough.

    With fewer a plan is held to the largest member, whose level is drawn: more members let more units sleep. None also
    where no risk is asked, and of a single member.
    """
    if risk is None or members == 1 or risk * (members + 1) >= 2 - ROUNDING:
        return None
    return math.ceil(2 / risk - ROUNDING) - 1


def check_capacity(capacity: Float[np.ndarray, " cells"], load: Load) -> None:
    """Refuse capacities that do not lie on the cells or that carry nothing. Raises `PlanError`."""
    if len(capacity) != load.members.shape[-1]:
        raise PlanError(
            f"{len(capacity)} capacities for {load.members.shape[-1]} cells: dimension() the cells of this load"
        )
    wrong = np.flatnonzero(~(np.isfinite(capacity) & (capacity > 0)))
    if wrong.size:
        row, column = load.places[wrong[0]]
        raise PlanError(
            f"{wrong.size} of {len(capacity)} cells have no capacity to carry load, the first at row {row}, column "
            f"{column} ({capacity[wrong[0]]:g} {load.unit} per radio unit): capacities are above 0, see dimension()"
        )


def check_before(before: Int[np.ndarray, " cells"] | None, load: Load, rrus: int) -> None:
    """Refuse states before the first period that no cell can have. Raises `PlanError`."""
    if before is None:
        return
    if len(before) != load.members.shape[-1]:
        raise PlanError(f"{len(before)} states before the plan for {load.members.shape[-1]} cells: give one a cell")
    if before.min() < 0 or before.max() > rrus:
        raise PlanError(
            f"{before.min()} to {before.max()} radio units awake before the plan, but a cell has 0 to {rrus}"
        )
