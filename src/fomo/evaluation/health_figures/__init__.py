"""Figures of a city's health: map, coverage, the total with its gaps, the day, and the strangest cells.

Names and units come from strangers: they are drawn as plain text, never read as formulas.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from fomo.city import City
from fomo.evaluation.health import Health
from fomo.evaluation.health_figures.coverage import coverage_figure
from fomo.evaluation.health_figures.maps import map_figure
from fomo.evaluation.health_figures.parts import stated
from fomo.evaluation.health_figures.profiles import profile_figure
from fomo.evaluation.health_figures.series import strangest_figure, total_figure


def health_figures(city: City, health: Health) -> dict[str, Figure]:
    """All of them by what they show, in the order of a page; without the strangest cells where none is strange."""
    unit, dated = stated(health.records.unit), bool(city.attrs["calendar"] == "date")
    figures = {
        "map": map_figure(city, health),
        "coverage": coverage_figure(health, dated),
        "total": total_figure(health, unit, dated),
        "profile": profile_figure(health, unit),
    }
    if health.strangest:
        figures["strangest cells"] = strangest_figure(health, unit, dated)
    return figures


__all__ = [
    "coverage_figure",
    "health_figures",
    "map_figure",
    "profile_figure",
    "strangest_figure",
    "total_figure",
]
