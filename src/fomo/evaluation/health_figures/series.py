"""Traffic over time: of all cells together, and of the strangest ones; gaps are shaded."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from fomo.evaluation.figure_style import BLUE, GREY, SMALL, WIDE, amount_axis, new_figure, tidy, time_axis
from fomo.evaluation.health import Health, Records, Strange
from fomo.evaluation.health.thresholds import COMPLETE
from fomo.evaluation.health_figures.parts import DARK, GAP, name_amounts, name_panel, shade
from fomo.evaluation.plain_text import plain_text


def total_figure(health: Health, unit: str, dated: bool = True) -> Figure:
    """Total over time; shaded where fewer cells than usual are recorded, and below it the recorded share."""
    figure = new_figure(WIDE, 4.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
    time, step = health.records.time, np.timedelta64(health.records.step_minutes, "m")
    for axes in (upper, lower):
        shade(axes, ~health.complete, time, step)
    upper.plot(time, health.total, color=BLUE, linewidth=1.2)
    name_panel(upper, "Total of all cells")
    name_amounts(upper, unit)
    lower.plot(time, 100 * health.by_period, color=GREY, linewidth=1.2, drawstyle="steps-post")
    lower.set_ylabel("recorded, %", fontsize=SMALL)
    for axes in (upper, lower):
        tidy(axes)
    amount_axis(upper)
    lower.set_ylim(-4, 106)
    lower.set_yticks((0, 50, 100))
    if len(time) > 1:
        time_axis(lower, time, dated)
    if not health.complete.all():
        patch = Patch(facecolor=GAP, label=f"fewer than {COMPLETE:.0%} of the cells that usually are recorded")
        figure.legend(handles=[patch], loc="outside upper right", fontsize=SMALL, frameon=False)
    return figure


def strangest_figure(health: Health, unit: str, dated: bool = True) -> Figure:
    """The strangest cells over time, each with its gravest reason."""
    count = len(health.strangest)
    columns = 1 if count == 1 else 2
    rows = -(-count // columns)
    figure = new_figure(WIDE, 0.4 + 1.85 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for number, (axes, strange) in enumerate(zip(panels, health.strangest, strict=False), 1):
        reason = strange.reasons[0]
        words = textwrap.fill(
            f"{reason.kind}: {reason.words}", 64 if columns == 2 else 130, max_lines=2, placeholder=" …"
        )
        title = f"{number}. {plain_text(strange.name, 44)}\n{words}"
        axes.set_title(title, loc="left", fontsize=SMALL, color=DARK, parse_math=False)
        _series(axes, health.records, strange)
        if len(health.records.time) > 1:
            time_axis(axes, health.records.time, dated)
            axes.set_xticks(axes.get_xticks()[::columns])
    for axes in panels[count:]:
        axes.set_visible(False)
    figure.supylabel(plain_text(unit, 60), fontsize=SMALL, parse_math=False)
    return figure


def _series(axes: Axes, records: Records, strange: Strange) -> None:
    (values,), (expected,) = records.of(records.columns[strange.cell : strange.cell + 1])
    known = np.isfinite(values)
    shade(axes, expected & ~known, records.time, np.timedelta64(records.step_minutes, "m"))
    axes.plot(records.time, values, color=BLUE, linewidth=1.0)
    beside = np.pad(known, 1)
    alone = known & ~beside[:-2] & ~beside[2:]  # a line needs two
    axes.plot(records.time[alone], values[alone], ".", color=BLUE, markersize=2)
    tidy(axes)
    amount_axis(axes, ticks=3)
    top = float(values[known].max(initial=0)) * 1.08 or 1.0
    axes.set_ylim(-0.04 * top, top)  # a line of zeros is seen


__all__ = ["strangest_figure", "total_figure"]
