"""What a person needs to see of a city that was just built: one HTML page with pictures, and lines for a terminal.

Names of cells, files and reasons come from strangers: the page escapes them and forbids scripts and requests, the lines
hold no control characters (nor is their text markup: whoever prints them escapes what the printer would read).
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from fomo.app.service.outputs import check_file
from fomo.city import City, CityError
from fomo.evaluation.figure_style import short_number
from fomo.evaluation.health import Gap, Health, health_of
from fomo.evaluation.health_figures import health_figures, plain_text
from fomo.evaluation.tables import whole_file

Line = tuple[str, str]
Report = Mapping[str, Any] | str

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:66rem;margin:2rem auto;padding:0 1rem;color:#222;
background:#fff}h2{margin-top:2.2rem}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}
th,td{border-bottom:1px solid #ddd;padding:.25rem .7rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}
th{font-weight:600}.wide{overflow-x:auto}img{max-width:100%;height:auto}p{max-width:46rem}"""
#: Nothing is asked of any server and no script runs, whatever a name holds.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
CAPTIONS = {
    "map": "Colours are logarithmic. Hatched cells are not covered; white ones are recorded and carry nothing.",
    "coverage": "Shares of the values of the cells that are recorded at least once.",
    "total": "The sum of what is recorded: where cells are missing it is too small.",
    "profile": "Of periods in which enough cells are recorded.",
    "strangest cells": "Shaded: not recorded. The text and all reasons are in the table below.",
}
SCORE = "Doubt is the share of what a cell says that cannot be right: of its periods, or of its traffic."
#: Gaps in the table of the page, and in the terminal.
GAPS_SHOWN, GAPS_SAID = 20, 3
#: Columns and rows of the map in the terminal at most, and days of the coverage.
MAP_WIDTH, MAP_HEIGHT, MOST_DAYS = 60, 20, 60
BARS = "▁▂▃▄▅▆▇█"
SHADES = "░▒▓█"


def city_page(
    city: City,
    path: Path,
    cells: xr.Dataset | None = None,
    report: Report | None = None,
    health: Health | None = None,
) -> Path:
    """Write the page, whole or not at all; returns the path.

    `cells` are the operator's own, `report` what the build counted: a dict or its JSON, by default the cells' attribute
    `report`. `health` saves looking twice.
    Raises `UsageError` for a path that cannot be written, `CityError` for cells or a report that are none.
    """
    check_file(path, (".html",))
    entries = _entries(report, cells)
    health = health or health_of(city, cells)
    name = html.escape(plain_text(city.attrs["name"]))
    body = [f"<h1>{name}</h1>", _table(("", ""), _facts(city, health))]
    if health.strangest:
        kinds = ", ".join(f"{count} {kind}" for kind, count in health.strange.items())
        body += [f"<p>Strange cells: {html.escape(kinds)}.</p>"]
    for title, figure in health_figures(city, health).items():
        body.append(f"<h2>{html.escape(title.capitalize())}</h2><p>{CAPTIONS[title]}</p>{_picture(title, figure)}")
        if title == "strangest cells":
            body += [f"<p>{SCORE}</p>", _table(("", "cell", "doubt", "why"), _strange_rows(health))]
    unit = plain_text(city.attrs["unit"])
    busiest = [(busy.name, f"{busy.amount:.4g}", f"{busy.hour:02d}:00") for busy in health.busiest]
    if busiest:
        heading = ("cell", f"median in the city's busy hour [{unit}]", "its own busiest hour")
        body.append(f"<h2>Busiest cells in the busy hour, {health.busy_hour:02d}:00</h2>{_table(heading, busiest)}")
    body.append(_gap_section(health))
    if entries:
        body.append(f"<h2>Report of the build</h2>{_table(('entry', 'value'), entries)}")
    attributes = [(key, str(value)) for key, value in city.attrs.items()]
    body.append(f"<h2>What the city says of itself</h2>{_table(('attribute', 'value'), attributes)}")
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width"><title>{name}</title><style>{STYLE}</style>'
    )
    with whole_file(path) as fresh:
        page = f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(body)}</body></html>\n"
        fresh.write_text(page, encoding="utf-8", errors="replace")
    return path


def city_lines(
    city: City, cells: xr.Dataset | None = None, report: Report | None = None, health: Health | None = None
) -> list[Line]:
    """The same for a terminal: (what, text); a line that goes on has no 'what'. Raises `CityError`."""
    entries = _entries(report, cells)
    health = health or health_of(city, cells)
    lines = _facts(city, health)
    lines += _block("map, mean", _shaded_map(city))
    lines += _block("coverage by day", _coverage_lines(health))
    for name, profile in (("Mon–Fri", health.weekdays), ("Sat, Sun", health.weekends)):
        median = profile.quartiles[1]
        if np.isfinite(median).any():
            span = f"{short_number(np.nanmin(median))} to {short_number(np.nanmax(median))}"
            lines.append((f"total, {name}", f"{_bars(median, np.nanmax(median))}  00:00 to 24:00, median {span}"))
    lines += _block("gaps", [_gap_text(gap, health) for gap in health.gaps[:GAPS_SAID]])
    lines += _block("busiest cells", [f"{busy.name}: {busy.amount:.4g}" for busy in health.busiest[:3]])
    words = [
        f"{number}. {strange.name} ({strange.score:.0%}): "
        + "; ".join(f"{reason.kind}: {reason.words}" for reason in strange.reasons)
        for number, strange in enumerate(health.strangest, 1)
    ]
    lines += _block("strangest cells", words or ["none"])
    lines += [(f"report: {key}", value) for key, value in entries]
    return [(plain_text(key), plain_text(value)) for key, value in lines]


def _facts(city: City, health: Health) -> list[Line]:
    attrs, records = city.attrs, health.records
    begin, end = (np.datetime_as_string(records.time[at], unit="m").replace("T", " ") for at in (0, -1))
    kind = "cells of the operator" if records.operator else "covered grid cells"
    among = len(records.columns) - health.never
    days = len(records.days)
    weekday = " (only weekday and hour are real)" if attrs["calendar"] == "weekday" else ""
    edge = f" of {attrs['cell_km']:g} km" if attrs["cell_km"] else ""
    unit = attrs["unit"] or "unit not stated"
    facts = [
        ("city", f"{attrs['name']}, {'made' if attrs['synthetic'] else 'measured'}"),
        ("grid", f"{city.sizes['y']} x {city.sizes['x']} cells{edge}, {int(city['covered'].values.sum())} covered"),
        ("looked at", f"{len(records.columns)} {kind}, {health.never} of them never recorded"),
        ("time", f"{begin} to {end}, {records.step_minutes} min periods, {days} days{weekday}"),
        ("time zone", str(attrs["time_zone"]) or "unknown"),
        ("unit", str(unit)),
        (
            "recorded",
            f"{health.recorded:.2%} of the values of {among} cells; {health.days_complete} of {days} days complete",
        ),
    ]
    if np.isfinite(health.by_day).any():
        worst_day, worst_hour = int(np.nanargmin(health.by_day)), int(np.nanargmin(health.by_hour))
        facts.append(
            ("least recorded", f"{records.days[worst_day]} with {health.by_day[worst_day]:.1%}; "
                               f"{records.hours[worst_hour]:02d}:00 with {health.by_hour[worst_hour]:.1%}")
        )  # fmt: skip
    longest = "none" if health.longest is None else _gap_text(health.longest, health)
    facts.append(("longest gap", longest))
    if health.busy_hour is not None:
        middle = float(np.nanmax(health.everyday.quartiles[1]))
        peak = int(np.nanargmax(np.where(health.complete, health.total, -1)))
        when = np.datetime_as_string(records.time[peak], unit="m").replace("T", " ")
        facts.append(("busy hour", f"{health.busy_hour:02d}:00, median total {middle:.4g}; largest "
                                   f"{health.total[peak]:.4g} at {when} [{unit}]"))  # fmt: skip
    if health.states:
        facts.append(("values", ", ".join(f"{count} {state}" for state, count in health.states.items())))
    counts = ", ".join(f"{count} {kind}" for kind, count in health.strange.items())
    facts.append(("strange cells", counts or "none"))
    return facts


def _entries(report: Report | None, cells: xr.Dataset | None) -> list[Line]:
    """Every entry of a report, else of the one that the cells bring: 'key › key' and its text."""
    if report is None and cells is not None:
        report = cells.attrs.get("report")
    if report is None:
        return []
    if isinstance(report, str):
        try:
            report = json.loads(report)
        except json.JSONDecodeError as error:
            raise CityError(f"the report is no JSON ({error}): pass what the build wrote") from None
    found: list[Line] = []
    waiting: list[tuple[str, Any]] = [("", report)]
    while waiting:  # not recursive: a report may be nested as deep as it likes
        key, value = waiting.pop()
        parts = value.items() if isinstance(value, Mapping) else enumerate(value, 1) if _is_list(value) else None
        if parts is None or not value:
            found.append((key or "report", _text(value)))
        elif _is_list(value) and not any(isinstance(part, Mapping) or _is_list(part) for part in value):
            found.append((key or "report", ", ".join(_text(part) for part in value)))
        else:
            waiting += [(f"{key} › {name}" if key else str(name), part) for name, part in parts][::-1]
    return found


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _text(value: object) -> str:
    """Of an entry; an empty text is said."""
    return "none" if value is None else str(value) or "(empty)"


def _strange_rows(health: Health) -> list[tuple[str, ...]]:
    return [
        (str(number), strange.name, f"{strange.score:.1%}",
         "; ".join(f"{reason.kind} ({reason.doubt:.1%}): {reason.words}" for reason in strange.reasons))
        for number, strange in enumerate(health.strangest, 1)
    ]  # fmt: skip


def _gap_section(health: Health) -> str:
    if health.longest is None:
        return "<h2>Gaps</h2><p>None.</p>"
    shown = health.gaps[:GAPS_SHOWN]
    rows = [(_moment(gap), _hours(gap, health), str(gap.periods), str(gap.cells), str(gap.periods * gap.cells))
            for gap in shown]  # fmt: skip
    told = f"{len(shown)} of {health.gap_kinds} kinds, those with the most values lost first. "
    longest = html.escape(f"The longest: {_gap_text(health.longest, health)}.")
    table = _table(("from", "hours", "periods", "cells", "values lost"), rows)
    return f"<h2>Gaps</h2><p>{told}Gaps of one beginning and length are one kind. {longest}</p>{table}"


def _gap_text(gap: Gap, health: Health) -> str:
    return f"{_hours(gap, health)} h from {_moment(gap)} in {gap.cells} cell{'s' if gap.cells > 1 else ''}"


def _moment(gap: Gap) -> str:
    return np.datetime_as_string(gap.begin, unit="m").replace("T", " ")


def _hours(gap: Gap, health: Health) -> str:
    return f"{gap.periods * health.records.step_minutes / 60:g}"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Escaped; without a heading where all of it is empty."""
    made = ["".join(f"<td>{html.escape(plain_text(cell))}</td>" for cell in row) for row in rows]
    if any(heading):
        made.insert(0, "".join(f"<th>{html.escape(plain_text(cell))}</th>" for cell in heading))
    return '<div class="wide"><table>' + "".join(f"<tr>{row}</tr>" for row in made) + "</table></div>"


def _picture(name: str, figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    picture = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(name)}" src="data:image/png;base64,{picture}">'


def _block(name: str, lines: Sequence[str]) -> list[Line]:
    return [("" if number else name, line) for number, line in enumerate(lines)]


def _bars(values: np.ndarray, largest: float) -> str:
    """A bar a value, from 0 to the largest; a space where there is none."""
    height = np.where(np.isfinite(values), values, 0) / (largest or 1.0) * (len(BARS) - 1)
    return "".join(
        BARS[round(float(at))] if known else " " for at, known in zip(height, np.isfinite(values), strict=True)
    )


def _coverage_lines(health: Health) -> list[str]:
    """A bar a day; of more than `MOST_DAYS`, a bar for several, the worst of them."""
    shares = health.by_day
    each = max(1, -(-len(shares) // MOST_DAYS))
    padded = np.append(shares, np.full(-len(shares) % each, np.inf)).reshape(-1, each)
    bars = _bars(np.nan_to_num(padded, nan=np.inf, posinf=np.inf).min(1), 1.0)
    told = f", the worst of {each} days a bar" if each > 1 else ""
    return [f"{bars}  {np.nanmin(shares):.0%} to {np.nanmax(shares):.0%}{told}" if np.isfinite(shares).any() else bars]


def _shaded_map(city: City) -> list[str]:
    """Rows from north to south: quartiles of the cells' mean traffic; '·' no traffic, a space where uncovered."""
    if city.attrs["layout"] == "list":
        return ["none: the cells of this city have no places"]
    traffic, (height, width) = city["traffic"].values, city["covered"].shape
    each = max(1, -(-height // MAP_HEIGHT), -(-width // MAP_WIDTH))
    rows, columns = (np.arange(0, size, each) for size in (height, width))
    total, count = np.zeros((height, width)), np.zeros((height, width), int)
    for begin in range(0, len(traffic), 256):  # blocks of periods: no second cube in memory
        known = np.isfinite(traffic[begin : begin + 256])
        total += np.where(known, traffic[begin : begin + 256], 0).sum(0, dtype=np.float64)
        count += known.sum(0)
    total, count = (np.add.reduceat(np.add.reduceat(each, rows, 0), columns, 1) for each in (total, count))
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    positive = mean[mean > 0]
    if positive.size == 0:
        return ["no traffic"]
    limits = np.quantile(positive, (0.25, 0.5, 0.75))
    letters = np.array([" ", "·", *SHADES])
    index = np.where(np.isnan(mean), 0, np.where(mean > 0, 2 + np.searchsorted(limits, np.nan_to_num(mean)), 1))
    lines = ["".join(np.repeat(line, 2)) for line in letters[index][::-1]]  # a letter is about twice as high as wide
    told = "quarters of the cells, from ░ to █ the busiest; · no traffic, blank not covered"
    return [*lines, told + (f"; {each} x {each} cells a place" if each > 1 else "")]


__all__ = ["city_lines", "city_page"]
