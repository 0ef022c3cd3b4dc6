"""What every plan reads: the load of cells over time, as members of a forecast or as it was measured.

A `Load` is a forecast without its grid: members by (sample, time, cell) for the cells that carry traffic, in the unit
of the city. What really happened is a load of one member, so one function makes the oracle's plan and all others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from fomo.city import City
from fomo.forecast import Forecast, quantiles_of

#: Of the largest member: a negative one that is smaller is the rounding of a 0 in float32.
ROUNDING = 1e-6


class PlanError(ValueError):
    """No plan can be made of this; the message says what is wrong, where, and what to do."""


@dataclass(frozen=True)
class Load:
    """Load of cells over time, possible ones side by side."""

    #: Volume per granularity period in `unit`, never negative, never missing.
    members: Float[np.ndarray, "sample time cell"]
    #: Start of every period, local wall-clock.
    time: np.ndarray
    #: Row and column of every cell in the city's grid.
    places: Int[np.ndarray, "cell 2"]
    #: Centre of every cell, kilometres east and north of the grid's corner; only differences matter.
    position_km: Float[np.ndarray, "cell 2"]
    step_minutes: int
    unit: str

    def __post_init__(self) -> None:
        """Refuse gaps and negative load. Raises `PlanError`."""
        samples, steps, cells = self.members.shape
        if not (samples and steps and cells):
            raise PlanError(f"a load of {samples} members, {steps} periods and {cells} cells has nothing to plan for")
        if (len(self.time), len(self.places), len(self.position_km)) != (steps, cells, cells):
            raise PlanError("times, places and positions of a load do not lie on its members")
        if self.step_minutes < 1:
            raise PlanError(f"a granularity period of {self.step_minutes} minutes: it must be 1 or more")
        gaps = ~np.isfinite(self.members)
        if gaps.any():
            raise PlanError(
                f"{int(gaps.sum()):,} of {gaps.size:,} values of the load are missing, the first {self._at(gaps)}: "
                "forecast these periods, or leave the cell out"
            )
        below = self.members < 0
        if below.any():
            raise PlanError(
                f"the load is negative {self._at(below)} ({self.members[below][0]:g} {self.unit}): "
                "traffic is 0 or more; look for a counter that was reset"
            )

    def _at(self, where: Bool[np.ndarray, "sample time cell"]) -> str:
        """The first place of a mask, in words."""
        _, step, cell = np.argwhere(where)[0]
        row, column = self.places[cell]
        return f"at {np.datetime_as_string(self.time[step], unit='m')}, row {row}, column {column}"

    @property
    def mean(self) -> Float[np.ndarray, "time cell"]:
        """Mean of the members."""
        return self.members.mean(0)

    def quantile(self, share: float) -> Float[np.ndarray, "time cell"]:
        """The load that is not exceeded with this probability (linear interpolation)."""
        return quantiles_of(self.members, share)

    def scaled(self, factor: float) -> Load:
        """The same load times a factor, for what a biased forecast does to a plan."""
        return replace(self, members=self.members * factor)

    def of_cells(self, keep: Bool[np.ndarray, " cell"] | Int[np.ndarray, " kept"]) -> Load:
        """Some of the cells."""
        return replace(
            self, members=self.members[..., keep], places=self.places[keep], position_km=self.position_km[keep]
        )


def load_of_forecast(forecast: Forecast, served: Bool[np.ndarray, "time y x"] | None = None) -> Load:
    """The asked periods of a forecast, over all cells that it answers.

    A period counts where at least one cell is asked in it; cells without any value (never covered) are left out. What
    is below 0 by rounding only is 0. `served`: at which periods of the forecast cells are in service, None: always;
    those that never are, are left out too, the others carry nothing while they are not. Raises `PlanError`: a cell with
    values has gaps, members are negative.
    """
    asked = forecast.asked.values.any((1, 2))
    if not asked.any():
        raise PlanError("this forecast asks for no value, so there is nothing to plan: forecast some periods first")
    dataset = forecast.dataset.isel(time=asked)
    members = dataset["traffic"].values
    covered = np.isfinite(members).any((0, 1))
    if covered.any():
        rounding = ROUNDING * float(np.nanmax(np.abs(members), initial=0.0))
        members = np.where((members < 0) & (members >= -rounding), 0, members)
    if served is not None and not served[asked].all():
        covered &= served[asked].any(0)
        members = np.where(served[asked], members, 0)
    return load_of_members(members, dataset, np.argwhere(covered))


def load_of_city(city: City, places: Int[np.ndarray, "cell 2"] | None = None) -> Load:
    """What was measured, as a load of one member: the truth that plans are played against, or a history.

    `places`: the cells, in this order, default all that are covered. Raises `PlanError` where values are missing.
    """
    where = np.argwhere(city["covered"].values) if places is None else places
    return load_of_members(city["traffic"].values[None], city, where)


def load_of_members(
    members: Float[np.ndarray, "sample time y x"], on: xr.Dataset, places: Int[np.ndarray, "cell 2"]
) -> Load:
    """Members on the grid and the periods of a dataset (a city, or part of one) at some cells, in this order.

    Raises `PlanError`: no cell, gaps, negative load.
    """
    if not len(places):
        raise PlanError("no cell carries traffic here, so there is nothing to plan")
    rows, columns = places.T
    y, x = (on[axis].values if axis in on.coords else np.arange(on.sizes[axis]) + 0.5 for axis in ("y", "x"))
    return Load(
        members=members[:, :, rows, columns].astype(np.float64),
        time=on["time"].values,
        places=places,
        position_km=np.stack([x[columns], y[rows]], -1).astype(np.float64),
        step_minutes=int(on.attrs["step_minutes"]),
        unit=str(on.attrs.get("unit", "")),
    )
