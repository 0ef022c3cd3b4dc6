"""A city's health as lines for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from fomo.app.service.city_page.facts import facts_of, gap_text
from fomo.app.service.city_page.letters import bars, coverage_bars, map_lines
from fomo.app.service.city_page.report import Report, report_entries
from fomo.city import City
from fomo.evaluation.figure_style import short_number
from fomo.evaluation.health import Health, health_of
from fomo.evaluation.health_figures.parts import stated
from fomo.evaluation.plain_text import plain_text

#: Gaps and busy cells that are said.
MOST_SAID = 3


def city_lines(
    city: City, cells: xr.Dataset | None = None, report: Report | None = None, health: Health | None = None
) -> list[tuple[str, str]]:
    """What the page says, for a terminal: (what, text); a line that goes on has no 'what'.

    Blanks at the beginning of a text belong to it. The parameters are those of `city_page`. Raises `CityError`.
    """
    entries = report_entries(report, cells)
    health = health or health_of(city, cells)
    unit = stated(health.records.unit)
    lines = facts_of(city, health)
    lines += _block("map, mean", map_lines(city))
    lines.append(("coverage by day", coverage_bars(health)))
    for name, profile in (("Mon–Fri", health.weekdays), ("Sat, Sun", health.weekends)):
        median = profile.quartiles[1]
        if np.isfinite(median).any():
            span = f"{short_number(np.nanmin(median))} to {short_number(np.nanmax(median))}"
            lines.append((f"total, {name}", f"{bars(median, np.nanmax(median))}  00:00 to 24:00, median {span} {unit}"))
    lines += _block("gaps", [gap_text(gap, health) for gap in health.gaps[:MOST_SAID]])
    busiest = [
        f"{busy.name}: {busy.amount:.4g} {unit} in the busy hour, its own is {busy.hour:02d}:00"
        for busy in health.busiest[:MOST_SAID]
    ]
    lines += _block("busiest cells", busiest)
    lines += _block("strangest cells", _strange_lines(health) or ["none"])
    lines += [(f"report: {key}", value) for key, value in entries]
    return [(plain_text(key), plain_text(value)) for key, value in lines]


def _strange_lines(health: Health) -> list[str]:
    return [
        f"{number}. {strange.name} ({strange.score:.0%}): "
        + "; ".join(f"{reason.kind}: {reason.words}" for reason in strange.reasons)
        for number, strange in enumerate(health.strangest, 1)
    ]


def _block(name: str, lines: Sequence[str]) -> list[tuple[str, str]]:
    """The first line has the name."""
    return [("" if number else name, line) for number, line in enumerate(lines)]


__all__ = ["city_lines"]
