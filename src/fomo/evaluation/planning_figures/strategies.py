"""Strategies side by side as in Figure 11: a panel per metric or scenario, a line per strategy, the oracle's dotted."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from fomo.evaluation.figure_style import BLACK, BLUE, GREY, PALETTE, SMALL, TEXT, WIDE, new_figure, short_number, tidy
from fomo.evaluation.health_figures.parts import DARK
from fomo.evaluation.plain_text import plain_text
from fomo.planning.rows import AS_FORECAST, STRATEGIES, PlanRow, Strategy

#: A line of a comparison: a strategy and who made its forecast.
Line = tuple[Strategy, str]
NAMES = {"always_on": "always on", "history": "history", "rival": "", "fomo": "FoMo", "real": "what happened"}
#: Colour and dashes of lines over time; told apart by every kind of colour vision and in grey.
LOOKS: dict[str, tuple[str, object]] = {
    "always_on": ("#8C8C8C", (0, (1, 1.2))), "history": (PALETTE[4], (0, (5, 1.5))),
    "rival": (PALETTE[3], (0, (4, 1.5, 1, 1.5))), "fomo": (BLUE, "-"), "real": (BLACK, "-"),
}  # fmt: skip
#: Metrics that are better where they are larger.
HIGHER_IS_BETTER = frozenset({"coverage", "coverage by day", "coverage by night", "worst hour", "carried"})
#: Panels side by side at most, and letters of a name beside one.
ACROSS, LETTERS = 4, 22
#: Applications in which no plan can be better than the one that is made on what happened.
BOUNDED = frozenset({"sleep"})
#: How the oracle's line is called.
ON_THE_TRUTH = "planned on what happened"


@dataclass(frozen=True)
class _Panel:
    title: str
    below: str  # the axis
    rows: dict[Line, PlanRow]
    before: dict[Line, PlanRow]  # as forecast, where the panel is of another scenario
    room: float  # where the axis ends


def strategies_figure(
    rows: Sequence[PlanRow],
    *,
    scenario: str = AS_FORECAST,
    higher_is_better: Collection[str] = HIGHER_IS_BETTER,
    title: str = "",
) -> Figure:
    """A panel per metric, in the order of the rows: dots with 95 % intervals, cities below each other.

    Every axis starts at 0 (below it where a number is negative) and names the unit of its rows. The dotted line is the
    oracle's. Raises `ValueError` where no row is of this scenario, or rows are of several applications or units.
    """
    some = _of_one_application([row for row in rows if row.scenario == scenario], f"of scenario {scenario!r}")
    panels: dict[str, list[_Panel]] = {}
    for row in some:
        here = panels.setdefault(row.city, [])
        if all(panel.title != row.metric for panel in here):
            found = by_line([each for each in some if (each.city, each.metric) == (row.city, row.metric)])
            better = "higher" if row.metric in higher_is_better else "lower"
            below = f"{plain_text(row.unit, 30) or 'no unit'}\n{better} is better"
            here.append(_Panel(row.metric, below, found, {}, 1.45 * _largest(found.values())))
    return _figure(panels, title, some)


def sensitivity_figure(rows: Sequence[PlanRow], *, metric: str = "objective", title: str = "") -> Figure:
    """A panel per scenario on one scale: a metric of each strategy, its change, and where it was as forecast.

    Raises `ValueError` where no row is of this metric, or rows are of several applications.
    """
    some = _of_one_application([row for row in rows if row.metric == metric], f"of metric {metric!r}")
    scenarios = sorted({row.scenario: None for row in some}, key=lambda name: name != AS_FORECAST)
    panels = {}
    for city in dict.fromkeys(row.city for row in some):
        found = {name: by_line([row for row in some if (row.city, row.scenario) == (city, name)]) for name in scenarios}
        room = 1.5 * max(_largest(lines.values()) for lines in found.values())
        unit = plain_text(next(row.unit for row in some if row.city == city), 30) or "no unit"
        below = f"{plain_text(metric, 30)}\n{unit}"
        panels[city] = [
            _Panel(name, below, lines, {} if name == AS_FORECAST else found.get(AS_FORECAST, {}), room)
            for name, lines in found.items()
        ]
    return _figure(panels, title, some)


def by_line(rows: Sequence[PlanRow]) -> dict[Line, PlanRow]:
    """Rows of one city, scenario and metric, in the order of strategies.

    Raises `ValueError` for two rows of one line, and for several units.
    """
    found: dict[Line, PlanRow] = {}
    units = {row.unit for row in rows}
    if len(units) > 1:
        raise ValueError(f"{rows[0].metric!r} of {rows[0].city!r} is in several units: {', '.join(sorted(units))}")
    for row in sorted(rows, key=lambda row: STRATEGIES.index(row.strategy)):
        line = (row.strategy, row.forecaster)
        if line in found:
            raise ValueError(f"two rows say {row.metric!r} of {row.strategy} ({row.forecaster}) in {row.city!r}")
        found[line] = row
    return found


def names_of(lines: Sequence[Line]) -> list[str]:
    """How lines are called: rivals, and strategies with several forecasters, by their forecaster; plain text."""
    strategies = [strategy for strategy, _ in lines]
    return [
        plain_text(forecaster if strategies.count(strategy) > 1 or not NAMES[strategy] else NAMES[strategy], LETTERS)
        for strategy, forecaster in lines
    ]


def look_of(name: str, place: int) -> tuple[str, object]:
    """Colour and dashes of a strategy, or of anything else by its place."""
    spare = [colour for colour in PALETTE if colour != BLUE]
    dashes = [dash for name, (_, dash) in LOOKS.items() if name != "real"]
    return LOOKS.get(name, (spare[place % len(spare)], dashes[place % len(dashes)]))


def change_of(value: float, before: float) -> str:
    """How a number changed, in percent; 'same' where it hardly did, nothing where that cannot be said."""
    if not (math.isfinite(value) and math.isfinite(before) and before > 0):
        return ""
    if math.isclose(value, before, rel_tol=5e-4):
        return "same"
    return f"{value / before - 1:+.1%}".replace("%", " %")


def plain_legend(legend: Legend) -> None:
    """Take the names in a legend as text, never as formulas."""
    for text in legend.get_texts():
        text.set_parse_math(False)


def number_format(values: Sequence[float]) -> Callable[[float], str]:
    """One way to write all of these: three digits of the largest, more where two would look the same; M, G, T."""
    finite = {value for value in values if math.isfinite(value)}
    sizes = [abs(value) for value in finite if value]
    largest, smallest = max(sizes, default=1.0), min(sizes, default=1.0)
    scale, letter = next(((s, n) for s, n in ((1e12, "T"), (1e9, "G"), (1e6, "M")) if largest >= s), (1.0, ""))
    least = max(2 - math.floor(math.log10(largest / scale)), 0)
    digits = min(max(least, 1 - math.floor(math.log10(smallest / scale))), least + 1)  # two of the smallest
    while digits < least + 3 and len({f"{value / scale:.{digits}f}" for value in finite}) < len(finite):
        digits += 1

    def write(value: float) -> str:
        if not math.isfinite(value):
            return "not known" if math.isnan(value) else "infinite" if value > 0 else "-infinite"
        text = f"{value / scale:,.{digits}f}"
        if value and not float(text.replace(",", "")):
            return f"{value:.2g}"  # small, never none
        return ("0" if value == 0 else text) + (letter if value else "")

    return write


def _of_one_application(rows: list[PlanRow], which: str) -> list[PlanRow]:
    if not rows:
        raise ValueError(f"there is no row {which}")
    several = sorted({row.application for row in rows})
    if len(several) > 1:
        raise ValueError(f"a figure is of one application, not of {' and '.join(several)}")
    return rows


def _largest(rows: Collection[PlanRow]) -> float:
    sizes = [size for row in rows for size in (row.value, row.high) if math.isfinite(size)]
    return max(sizes, default=0.0) or 1.0


def _figure(panels: dict[str, list[_Panel]], title: str, rows: Sequence[PlanRow]) -> Figure:
    """A strip for title and legend, and below it a block per city."""
    lines = {
        city: list({line: None for name in STRATEGIES for panel in found for line in panel.rows if line[0] == name})
        for city, found in panels.items()
    }
    heights = [-(-len(found) // ACROSS) * (0.72 + 0.26 * len(lines[city])) + 0.3 for city, found in panels.items()]
    strip = 0.62 if title else 0.34
    figure = new_figure(WIDE, strip + sum(heights))
    top, *blocks = figure.subfigures(1 + len(panels), 1, squeeze=False, height_ratios=[strip, *heights])[:, 0]
    top.text(0.012, 0.95, plain_text(title, 100), va="top", fontsize=TEXT + 2, fontweight="bold", parse_math=False)
    top.legend(handles=_legend(panels, rows), loc="lower left", ncols=3, fontsize=SMALL, frameon=False)
    for block, (city, found) in zip(blocks, panels.items(), strict=True):
        block.suptitle(plain_text(city, 60), x=0.012, ha="left", fontsize=TEXT + 1, fontweight="bold", parse_math=False)
        _block(block, found, lines[city])
    return figure


def _block(block: SubFigure, panels: Sequence[_Panel], lines: Sequence[Line]) -> None:
    columns = min(ACROSS, max(len(panels), 3))
    grid = block.subplots(-(-len(panels) // columns), columns, sharey=True, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(panels):
            axes.set_visible(False)
            continue
        _dots(axes, panels[place], lines)
    for row in grid:
        for label, (strategy, _) in zip(row[0].get_yticklabels(), lines, strict=True):
            label.set(fontweight="bold" if strategy == "fomo" else "normal", parse_math=False)


def _dots(axes: Axes, panel: _Panel, lines: Sequence[Line]) -> None:
    write = number_format([row.value for row in panel.rows.values()])
    sizes = [size for row in panel.rows.values() for size in (row.value, row.low) if math.isfinite(size)]
    least = min([0.0, *sizes])
    for place, line in enumerate(lines):
        if line not in panel.rows:
            axes.text(0.02 * panel.room, place, "not run", fontsize=SMALL, color=GREY, va="center_baseline")
            continue
        row, strategy = panel.rows[line], line[0]
        colour = BLUE if strategy == "fomo" else BLACK if strategy == "real" else GREY
        if strategy == "real" and math.isfinite(row.value):
            axes.axvline(row.value, color=BLACK, linewidth=1.1, linestyle=(0, (1, 1.5)), zorder=0.9)
        end = 0.0
        if math.isfinite(row.value):
            low, high = max(row.low, least), min(row.high, panel.room)
            if low < high:
                axes.hlines(place, low, high, color=colour, linewidth=3, alpha=0.4)
            axes.plot(row.value, place, "D" if strategy == "real" else "o", color=colour, markersize=6.5, clip_on=False)
            end = max(row.value, high if math.isfinite(high) else 0.0)
        text = write(row.value)
        if line in panel.before and change_of(row.value, panel.before[line].value):
            was = panel.before[line].value
            axes.plot(was, place, "o", markerfacecolor="white", color=colour, markersize=6.5, zorder=1.9)
            text, end = change_of(row.value, was), max(end, was)
        weight = "bold" if strategy == "fomo" else "normal"
        axes.text(
            end + 0.05 * panel.room, place, text, fontsize=SMALL, color=colour, va="center_baseline",
            fontweight=weight, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85},
        )  # fmt: skip
    axes.set_title(plain_text(panel.title, 30), loc="left", fontsize=TEXT, color=DARK, parse_math=False)
    axes.set_xlabel(panel.below, fontsize=SMALL, parse_math=False)
    axes.set_yticks(range(len(lines)), names_of(lines))
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlim(1.1 * least, panel.room)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_formatter(FuncFormatter(short_number))
    tidy(axes, grid="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0, pad=7)  # a dot at 0 is not on a name


def _legend(panels: dict[str, list[_Panel]], rows: Sequence[PlanRow]) -> list[Line2D]:
    handles = []
    if any(row.low < row.high for row in rows):
        handles.append(Line2D([], [], color=GREY, linewidth=3, alpha=0.4, label=f"95 % interval, {number_of(rows)}"))
    if any(row.strategy == "real" for row in rows):
        label = ON_THE_TRUTH + (": the bound of the objective" if rows[0].application in BOUNDED else "")
        handles.append(Line2D([], [], color=BLACK, linewidth=1.1, linestyle=(0, (1, 1.5)), label=label))
    if any(panel.before for found in panels.values() for panel in found):
        handles.append(Line2D([], [], color=GREY, marker="o", linestyle="", markerfacecolor="white", label=AS_FORECAST))
    return handles


def number_of(rows: Sequence[PlanRow]) -> str:
    """How many origins and seeds: '12 origins, 3 seeds'; '4 to 12 origins' where rows differ."""
    parts = []
    for name in ("origin", "seed"):
        counts = sorted({getattr(row, f"{name}s") for row in rows})
        many = "" if counts == [1] else "s"
        parts.append(f"{counts[0]}{f' to {counts[-1]}' if len(counts) > 1 else ''} {name}{many}")
    return ", ".join(parts)


__all__ = [
    "BOUNDED",
    "HIGHER_IS_BETTER",
    "Line",
    "by_line",
    "change_of",
    "look_of",
    "names_of",
    "number_format",
    "number_of",
    "plain_legend",
    "sensitivity_figure",
    "strategies_figure",
]
