"""A plan as one HTML page, in the order an engineer reads: what to do, how it compares, what it rests on."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from fomo.app.service.city_page.page import POLICY, STYLE
from fomo.app.service.planning.comparison_tables import comparison, sensitivity
from fomo.app.service.planning.page_parts import bullets, escaped, headline, paragraph, picture, table
from fomo.evaluation.planning_figures.strategies import HIGHER_IS_BETTER, number_format
from fomo.planning.rows import PlanRow

#: A figure: caption, what those read who do not see it, and the PNG or where it is.
Picture = tuple[str, str, str | Path | bytes]

#: On top of the page of a city: dark where the reader's screen is, black on white on paper.
MORE_STYLE = """:root{color-scheme:light dark}.lead{font-size:17px;max-width:46rem;padding-left:1.2rem}.lead li{
margin:.35rem 0}.number{text-align:right;
overflow-wrap:normal}td.number{white-space:nowrap}small{display:block;color:#666;font-weight:400}
.wide td:last-child:not(.number){min-width:9rem}.ours td{font-weight:600;background:#e8f1f8}figure{margin:1.2rem 0 2rem}
figcaption{max-width:46rem;font-size:13px;margin-top:.4rem}img{background:#fff;border-radius:4px}
@media screen and (prefers-color-scheme:dark){body{color:#ddd;background:#16181b}th,td{border-color:#3a3f45}
.ours td{background:#1d3345}small{color:#aaa}}
@media print{:root{color-scheme:light}body{font-size:10pt;max-width:none;margin:0}.lead{font-size:11pt}
.wide{overflow:visible}td.number{white-space:normal}h1,h2,h3{break-after:avoid}figure,tr,li{break-inside:avoid}thead{display:table-header-group}
.ours td{print-color-adjust:exact;-webkit-print-color-adjust:exact}a{color:inherit}}"""
NOT_TRIED = "No other scenario was played: what a biased forecast or a failed site does to this plan is not known."
SCENARIOS = "The plan is made on the changed forecast, or played with the fault, and judged by what really happened."


def planning_page(
    heading: str,
    *,
    summary: Sequence[str],
    parameters: Sequence[tuple[str, object, str, str]],
    rows: Sequence[PlanRow],
    figures: Sequence[Picture],
    plan_preview: tuple[Sequence[str], Sequence[Sequence[object]]],
    files: Sequence[tuple[str, str]],
    remarks: Sequence[str] = (),
    sensitivity_figures: Sequence[Picture] = (),
    higher_is_better: Collection[str] = HIGHER_IS_BETTER,
) -> str:
    """The page: one file that asks for nothing else, runs nothing, and can be printed. The caller writes it.

    `heading` names the plan and the city. `summary`: plain sentences, what to do first, then how sure it is.
    `parameters`: (name, value, unit, what it is), in their units, '' where they have none. `rows` of one application:
    a table per city, one row per strategy, values in the units of the rows, and the objective of other scenarios.
    `figures`: (caption, text for those who do not see it, PNG or its path); those about scenarios are
    `sensitivity_figures`. `plan_preview`: names of the plan's columns and its first rows. `files`: (name, what it
    holds). `remarks`: what else a reader must know. `higher_is_better`: metrics that are. Any text may come from
    strangers: it is escaped. Raises `ValueError` for a figure that is no PNG, two rows of one number, or rows of
    several applications; `OSError` for a figure that cannot be read.
    """
    name = escaped(heading)
    columns, first = plan_preview
    body = [f"<h1>{name}</h1>", headline("What to do"), bullets(summary, "lead")]
    if first:
        texts = [[_text(value) for value in row] for row in first]
        body += [headline("The first rows of the plan", 3), table(columns, texts, numbers=_numbers(first))]
    body += [headline("How it compares"), *comparison(rows, higher_is_better)]
    if figures:
        body += [headline("Figures"), *(picture(*figure) for figure in figures)]
    body += [headline("Parameters and assumptions"), _parameters(parameters)]
    found = sensitivity(rows)
    body += [headline("What would break it"), paragraph(SCENARIOS if found else NOT_TRIED), *found]
    body += [picture(*figure) for figure in sensitivity_figures]
    body.append(headline("Where it comes from"))
    if files:
        body.append(table(("file", "what it holds"), files))
    body.append(bullets(remarks))
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width"><title>{name}</title><style>{STYLE}{MORE_STYLE}</style>'
    )
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(body)}</body></html>\n"


def _parameters(parameters: Sequence[tuple[str, object, str, str]]) -> str:
    if not parameters:
        return paragraph("None.")
    rows = [(name, _text(value), unit, meaning) for name, value, unit, meaning in parameters]
    return table(("parameter", "value", "unit", "what it is"), rows, numbers=(1,))


def _numbers(rows: Sequence[Sequence[object]]) -> list[int]:
    """Columns whose values are all numbers."""
    return [
        place
        for place, column in enumerate(zip(*rows, strict=True))
        if all(isinstance(value, (int, float, np.number)) and not isinstance(value, bool) for value in column)
    ]


def _text(value: object) -> str:
    """Numbers with six digits, large ones whole, all else as it is."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        if not math.isfinite(value):
            return number_format([])(value)
        return f"{value:,.0f}" if abs(value) >= 1e6 else f"{value:,.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else str(value)


__all__ = ["Picture", "planning_page"]
