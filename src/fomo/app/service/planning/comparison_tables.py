"""The tables of strategies on the page of a plan, and what they say in a sentence."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from fomo.app.service.planning.page_parts import headline, paragraph, table
from fomo.evaluation.plain_text import plain_text
from fomo.evaluation.planning_figures.strategies import (
    BOUNDED,
    Line,
    by_line,
    change_of,
    names_of,
    number_format,
    number_of,
)
from fomo.planning.rows import AS_FORECAST, STRATEGIES, PlanRow, closed

OBJECTIVE = "objective"


def comparison(rows: Sequence[PlanRow], higher_is_better: Collection[str]) -> list[str]:
    """Per city: a row per strategy, metrics across with their units and 95 % intervals, and FoMo's share of the way.

    Raises `ValueError` for rows of several applications or two rows of one number.
    """
    if len({row.application for row in rows}) > 1:
        raise ValueError("a page is of one application; its rows are of several")
    some = [row for row in rows if row.scenario == AS_FORECAST]
    if not some:
        return [paragraph("No strategy was played, so there is nothing to compare.")]
    made = []
    for city, here in _by_city(some).items():
        metrics = {row.metric: row.unit for row in here}
        found = {metric: by_line([row for row in here if row.metric == metric]) for metric in metrics}
        lines = _lines(here)
        columns = ["plan", "made on", *(_column(*pair, pair[0] in higher_is_better) for pair in metrics.items())]
        body = [
            [name, _made_on(line, here[0].application), *(_with_interval(found[metric], line) for metric in metrics)]
            for name, line in zip(names_of(lines), lines, strict=True)
        ]
        made += [headline(city, 3), table(columns, body, numbers=range(2, len(columns)), strong=_ours(lines))]
        says = _closed(here) if OBJECTIVE not in higher_is_better else ""
        spread = "in parentheses 95 % intervals" if any(row.low < row.high for row in here) else "no intervals"
        made.append(paragraph(f"{says}Means over {number_of(here)}; {spread}."))
    return made


def sensitivity(rows: Sequence[PlanRow]) -> list[str]:
    """Per city: the objective of each strategy by scenario, with its change; nothing where there is one scenario."""
    some = [row for row in rows if row.metric == OBJECTIVE]
    scenarios = sorted({row.scenario: None for row in some}, key=lambda name: name != AS_FORECAST)
    if len(scenarios) < 2:
        return []
    made = []
    for city, here in _by_city(some).items():
        lines = _lines(here)
        found = {name: by_line([row for row in here if row.scenario == name]) for name in scenarios}
        body = [
            [name, *(_changed(found, scenario, line) for scenario in scenarios)]
            for name, line in zip(names_of(lines), lines, strict=True)
        ]
        columns = ["plan", *scenarios]
        made.append(headline(city, 3))
        unit = plain_text(here[0].unit)
        made.append(paragraph(f"Objective{f' [{unit}]' if unit else ''}, and its change against the plan as forecast."))
        made.append(table(columns, body, numbers=range(1, len(columns)), strong=_ours(lines)))
    return made


def _by_city(rows: Sequence[PlanRow]) -> dict[str, list[PlanRow]]:
    return {city: [row for row in rows if row.city == city] for city in dict.fromkeys(row.city for row in rows)}


def _lines(rows: Sequence[PlanRow]) -> list[Line]:
    found = dict.fromkeys((row.strategy, row.forecaster) for row in rows)
    return sorted(found, key=lambda line: STRATEGIES.index(line[0]))


def _ours(lines: Sequence[Line]) -> list[int]:
    return [place for place, (strategy, _) in enumerate(lines) if strategy == "fomo"]


def _made_on(line: Line, application: str) -> str:
    strategy, forecaster = line
    if strategy == "always_on":
        return "nothing is planned"
    if strategy == "real":
        return "the truth (the bound)" if application in BOUNDED else "the truth"
    return f"forecast of {forecaster}" if strategy in ("rival", "fomo") else forecaster


def _column(metric: str, unit: str, higher: bool) -> str:
    return f"{metric}{f' [{unit}]' if unit else ''}{', higher is better' if higher else ''}"


def _with_interval(found: dict[Line, PlanRow], line: Line, more: str = "") -> str | tuple[str, str]:
    """A value, and below it its interval where there is one."""
    if line not in found:
        return "not run"
    row = found[line]
    write = number_format([each.value for each in found.values()])
    value = write(row.value) + more
    return (value, f"({write(row.low)} to {write(row.high)})") if row.low < row.high else value


def _changed(found: dict[str, dict[Line, PlanRow]], scenario: str, line: Line) -> str | tuple[str, str]:
    row, before = found[scenario].get(line), found.get(AS_FORECAST, {}).get(line)
    more = ""
    if scenario != AS_FORECAST and row is not None and before is not None:
        more = f", {change_of(row.value, before.value)}".removesuffix(", ")
    return _with_interval(found[scenario], line, more)


def _closed(rows: Sequence[PlanRow]) -> str:
    """How much of the distance FoMo's plan closes, in a sentence; nothing where that cannot be said."""
    some = [row for row in rows if row.metric == OBJECTIVE]
    strategies = [row.strategy for row in some]
    if not {"fomo", "real"} < set(strategies) or len(set(strategies)) < len(strategies):
        return ""  # of two rivals, which one is the best other would not be said
    share = closed(some)
    if math.isnan(share):
        return "The best other plan is no worse than the one made on what happened: there is nothing to close. "
    if share < 0:
        return "FoMo's plan is worse than the best other one. "
    to = "the bound" if rows[0].application in BOUNDED else "the one made on what happened"
    return f"FoMo's plan closes {100 * share:.0f} % of the distance between the best other plan and {to}. "


__all__ = ["comparison", "sensitivity"]
