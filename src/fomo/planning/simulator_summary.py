"""A run of the simulator in numbers for tables, each with its unit."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from fomo.planning.load import PlanError
from fomo.planning.simulator_play import Played


def summary(played: Played) -> dict[str, float]:
    """The numbers of a run by name; `summary_units` says their units.

    Always: "load", "carried", "lost", "left waiting" (at the end), "QoS loss" (17), "lost share" (of all load),
    "delay" and "backlog" (means of (18)'s terms over periods and cells), "waiting time" (Little's law: all that waits
    over all that is carried, so of a unit of load and finite where anything is carried), "stalled" (cells times
    periods in which load waits and there is no rate: there the delay is infinite). Where the run has them: "switching"
    (17), "energy", "coverage" (mean share of all people).
    """
    carried, waits = float(played.carried.sum()), float(played.waiting.sum())
    load = float(played.load.sum())
    numbers = {
        "load": load,
        "carried": carried,
        "lost": float(played.lost.sum()),
        "left waiting": float(played.waiting[-1].sum()),
        "QoS loss": played.qos_loss,
        "lost share": float(played.lost.sum()) / load if load else 0.0,
        "delay": played.mean_delay,
        "backlog": played.mean_backlog,
        "waiting time": waits / carried if carried else (np.inf if waits else 0.0),
        "stalled": float(np.isinf(played.delay).sum()),
    }
    if played.wear is not None:
        numbers["switching"] = float(played.wear)
    if played.total_energy is not None:
        numbers["energy"] = played.total_energy
    if played.coverage is not None:
        numbers["coverage"] = float(played.coverage.mean())
    return numbers


def summary_units(played: Played) -> dict[str, str]:
    """Units of the numbers of `summary`, by the same names."""
    period = f"periods of {played.step_minutes} min"
    units = {
        "load": played.unit,
        "carried": played.unit,
        "lost": played.unit,
        "left waiting": played.unit,
        "QoS loss": "cell-hours",
        "lost share": "share of the load",
        "delay": period,
        "backlog": f"{played.unit}, mean of a cell",
        "waiting time": period,
        "stalled": "cell-periods",
        "switching": "RRUs switched",
        "energy": played.energy_unit,
        "coverage": "share of the people",
    }
    return {name: units[name] for name in summary(played)}


def coverage_by_hour(played: Played) -> tuple[Int[np.ndarray, " hour"], Float[np.ndarray, " hour"]]:
    """Hours of the day that the run has, and the mean share of people covered in each (Figure 11 (c)).

    Raises `PlanError` where the run has no people.
    """
    if played.coverage is None:
        raise PlanError("this run has no people, so no coverage: give people to simulate")
    of_day = (played.time.astype("datetime64[h]") - played.time.astype("datetime64[D]")).astype(np.int64)
    hours, group = np.unique(of_day, return_inverse=True)
    sums = np.bincount(group, weights=played.coverage)
    return hours, sums / np.bincount(group)


__all__ = ["coverage_by_hour", "summary", "summary_units"]
