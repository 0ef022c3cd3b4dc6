"""What the page and the terminal both say of a city: what it is, what is recorded, and its busy hour."""

from __future__ import annotations

import numpy as np

from fomo.city import City
from fomo.days_off import DaysOff
from fomo.evaluation.health import Gap, Health
from fomo.evaluation.health_figures.parts import stated, unit_of


def facts_of(city: City, health: Health) -> list[tuple[str, str]]:
    """(what, text) of each fact."""
    facts = [*_about(city, health), *_recorded(health)]
    if health.busy_hour is not None:
        median = float(np.nanmax(health.everyday.quartiles[1]))
        peak = int(np.nanargmax(np.where(health.complete, health.total, -1)))
        facts.append(("busy hour", f"{health.busy_hour:02d}:00, median total {median:.4g}; largest "
                                   f"{health.total[peak]:.4g} at {moment(health.records.time[peak])} "
                                   f"[{stated(health.records.unit)}]"))  # fmt: skip
    if health.states:
        facts.append(("values", ", ".join(f"{count:,} {state}" for state, count in health.states.items())))
    return [*facts, ("strange cells", strange_kinds(health) or "none")]


def strange_kinds(health: Health) -> str:
    """How many cells are strange of each kind."""
    return ", ".join(f"{count} {kind}" for kind, count in health.strange.items())


def gap_text(gap: Gap, health: Health) -> str:
    """Of one gap: how long, from when on, in how many cells and which."""
    cells = f"cells: {gap.first} and {gap.cells - 1} more" if gap.cells > 1 else f"cell: {gap.first}"
    return f"{gap_hours(gap, health)} h from {moment(gap.begin)} in {gap.cells} {cells}"


def gap_hours(gap: Gap, health: Health) -> str:
    """Its length."""
    return f"{gap.periods * health.records.step_minutes / 60:g}"


def moment(time: np.datetime64) -> str:
    """Date and minute."""
    return np.datetime_as_string(time, unit="m").replace("T", " ")


def _about(city: City, health: Health) -> list[tuple[str, str]]:
    attributes, records = city.attrs, health.records
    kind = "cells of the operator" if records.operator else "covered grid cells"
    weekday = " (only weekday and hour are real)" if attributes["calendar"] == "weekday" else ""
    edge = f" of {attributes['cell_km']:g} km" if attributes["cell_km"] else ""
    covered = int(city["covered"].values.sum())
    return [
        ("city", f"{attributes['name']}, {'made' if attributes['synthetic'] else 'measured'}"),
        ("grid", f"{city.sizes['y']} x {city.sizes['x']} squares{edge}, {covered} covered"),
        ("looked at", f"{len(records.columns)} {kind}, {health.never} of them never recorded"),
        ("time", f"{moment(records.time[0])} to {moment(records.time[-1])}, {records.step_minutes} min periods, "
                 f"{len(records.days)} days{weekday}"),
        ("time zone", str(attributes["time_zone"]) or "unknown"),
        ("days off", DaysOff.of(attributes).counted(city)),
        ("unit", _units(city, health)),
    ]  # fmt: skip


def _units(city: City, health: Health) -> str:
    """That of the city; where its cells are in other periods, theirs beside it."""
    grid, cells = unit_of(city), stated(health.records.unit)
    return grid if cells == grid else f"{grid}; of amounts of cells, their totals and busy hours {cells}"


def _recorded(health: Health) -> list[tuple[str, str]]:
    records = health.records
    cells = len(records.columns) - health.never
    served = ", while in service" if records.service is not None and cells else ""
    facts = [("recorded", f"{health.recorded:.2%} of the values of {cells} cells{served}; {health.days_complete} of "
                          f"{len(records.days)} days complete")]  # fmt: skip
    if np.isfinite(health.by_day).any():
        day, hour = int(np.nanargmin(health.by_day)), int(np.nanargmin(health.by_hour))
        facts.append(("least recorded", f"{records.days[day]} with {health.by_day[day]:.1%}; "
                                        f"{records.hours[hour]:02d}:00 with {health.by_hour[hour]:.1%}"))  # fmt: skip
    return [*facts, ("longest gap", "none" if health.longest is None else gap_text(health.longest, health))]


__all__ = ["facts_of", "gap_hours", "gap_text", "moment", "strange_kinds"]
