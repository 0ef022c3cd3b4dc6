"""A city's health as one HTML page that asks for nothing else."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import xarray as xr
from matplotlib.figure import Figure

from fomo.app.service.city_page.facts import facts_of, gap_hours, gap_text, moment
from fomo.app.service.city_page.report import Report, report_entries
from fomo.app.service.outputs import check_file
from fomo.city import City
from fomo.evaluation.health import Health, health_of
from fomo.evaluation.health_figures import health_figures
from fomo.evaluation.health_figures.parts import stated
from fomo.evaluation.plain_text import plain_text
from fomo.files import whole_file

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:66rem;margin:2rem auto;padding:0 1rem;color:#222;
background:#fff}h2{margin-top:2.2rem}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}
th,td{border-bottom:1px solid #ddd;padding:.25rem .7rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}
th:not(:last-child),td:not(:last-child){overflow-wrap:break-word;max-width:22rem}
th{font-weight:600}.wide{overflow-x:auto}img{max-width:100%;height:auto}p{max-width:46rem}"""
#: Nothing is asked of any server and no script runs, whatever a name holds.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
CAPTIONS = {
    "map": "Colours are logarithmic. Hatched cells are not covered; white ones are recorded and carry nothing.",
    "coverage": "Shares of the values of the cells that are recorded at least once. White: nothing is in service, or "
    "it lies outside the record.",
    "total": "The sum of what is recorded: where cells are missing it is too small.",
    "profile": "Of periods in which enough cells are recorded.",
    "strangest cells": "Shaded: not recorded. The text and all reasons are in the table below.",
}
SCORE = "Doubt is the share of what a cell says that cannot be right: of its periods, or of its traffic."
#: Gaps in the table.
MOST_GAPS = 20


def city_page(
    city: City,
    path: Path,
    cells: xr.Dataset | None = None,
    report: Report | None = None,
    health: Health | None = None,
    read: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write the page, whole or not at all; returns the path.

    `cells` are the operator's own, `report` what the build counted: a dict or its JSON, by default the cells' attribute
    `report`. `health` saves looking twice. `read` are lines on what became of the rows that were read, told early.
    Raises `UsageError` for a path that cannot be written, `CityError` for cells or a report that are none.
    """
    check_file(path, (".html",))
    entries = report_entries(report, cells)
    health = health or health_of(city, cells)
    name = html.escape(plain_text(city.attrs["name"]))
    body = [f"<h1>{name}</h1>", _table((), facts_of(city, health))]
    if read:
        body += [_heading("What was read"), _table((), read)]
    for title, figure in health_figures(city, health).items():
        body += [_heading(title.capitalize()), f"<p>{CAPTIONS[title]}</p>", _picture(title, figure)]
        if title == "strangest cells":
            body += [f"<p>{SCORE}</p>", _table(("", "cell", "doubt", "why"), _strange_rows(health))]
    if health.busiest:
        columns = ("cell", f"median in the city's busy hour [{stated(health.records.unit)}]", "its own busiest hour")
        busiest = [(busy.name, f"{busy.amount:.4g}", f"{busy.hour:02d}:00") for busy in health.busiest]
        body += [_heading(f"Busiest cells in the busy hour, {health.busy_hour:02d}:00"), _table(columns, busiest)]
    body += [_heading("Gaps"), *_gaps(health)]
    if entries:
        body += [_heading("Report of the build"), _table(("entry", "value"), entries)]
    attributes = [(key, str(value)) for key, value in city.attrs.items()]
    body += [_heading("What the city says of itself"), _table(("attribute", "value"), attributes)]
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width"><title>{name}</title><style>{STYLE}</style>'
    )
    with whole_file(path) as fresh:
        page = f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(body)}</body></html>\n"
        fresh.write_text(page, encoding="utf-8", errors="replace")
    return path


def _strange_rows(health: Health) -> list[tuple[str, ...]]:
    return [
        (str(number), strange.name, f"{strange.score:.1%}",
         "; ".join(f"{reason.kind} ({reason.doubt:.1%}): {reason.words}" for reason in strange.reasons))
        for number, strange in enumerate(health.strangest, 1)
    ]  # fmt: skip


def _gaps(health: Health) -> list[str]:
    if health.longest is None:
        return ["<p>None.</p>"]
    rows = [
        (
            moment(gap.begin),
            gap_hours(gap, health),
            str(gap.periods),
            str(gap.cells),
            gap.first,
            str(gap.periods * gap.cells),
        )
        for gap in health.gaps[:MOST_GAPS]
    ]
    told = (
        f"{len(rows)} of {health.gap_kinds} kinds, those with the most values lost first. "
        f"Gaps of one beginning and length are one kind. The longest: {gap_text(health.longest, health)}."
    )
    return [
        f"<p>{html.escape(plain_text(told))}</p>",
        _table(("from", "hours", "periods", "cells", "the first of them", "values lost"), rows),
    ]


def _heading(text: str) -> str:
    return f"<h2>{html.escape(text)}</h2>"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Escaped; an empty heading is left out."""
    made = [_row("td", row) for row in rows]
    if heading:
        made.insert(0, _row("th", heading))
    return f'<div class="wide"><table>{"".join(made)}</table></div>'


def _row(tag: str, texts: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(plain_text(text))}</{tag}>" for text in texts) + "</tr>"


def _picture(name: str, figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    picture = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(name)}" src="data:image/png;base64,{picture}">'


__all__ = ["city_page"]
