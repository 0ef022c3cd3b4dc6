"""The scoreboard for people: CSV and Parquet with every number, Markdown and one HTML page with the paper's tables."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from fomo.app.errors import UsageError
from fomo.evaluation.beside import FEWEST, Beside, UnitSums, read_units, write_units
from fomo.evaluation.figure_style import save_figure
from fomo.evaluation.scoreboard import (
    PAPER,
    PAPERS_METRICS,
    Line,
    first_place,
    markdown,
    read_scoreboard,
    summary,
    write_scoreboard,
)
from fomo.evaluation.scoreboard_figures import cost_figure, radar_figure
from fomo.files import whole_file

#: The part of the tables that the README shows.
SUMMARY = "scoreboard-summary.md"
#: What every forecaster did in every region or on every day of a column.
UNITS = "scoreboard-units.parquet"
#: What a star says; the table of all numbers has each one's note.
STAR = "*: slow, so it answers some of these windows only, and is not among the best."
#: The heading of FoMo's ratios.
RATIOS = "FoMo over the best of the others (RMSE; generate: JSD)"
STANDING = (
    "FoMo's RMSE (JSD) over that of the best other, who is named; in `paper` over the best deep rival's. Below 1 FoMo "
    "is ahead. In brackets its 95 % interval over regions or days, resampled alike for both, where there are "
    f"{FEWEST} of them and the sums of both are kept:"
)
HEADINGS = {
    "none": "nobody knows users or POI",
    "full": "users of the asked hours and POI are known to everyone who can read them",
    "paper": "as in the paper: FoMo knows them, nobody else does",
}
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px;margin:.5rem 0 1.5rem}
th,td{border-bottom:1px solid #ddd;padding:.2rem .6rem;text-align:right}
th:first-child,td:first-child{text-align:left}img{max-width:100%}"""


def write_logs(fits: Path, folder: Path) -> list[Path]:
    """The record of every rival's training, `SET-RIVAL.json`: its steps, time, losses, data and settings."""
    written = []
    for record in sorted(fits.glob("*/*/fit.json")):
        path = folder / f"{record.parent.parent.name}-{record.parent.name}.json"
        with whole_file(path) as fresh:
            fresh.write_text(record.read_text(encoding="utf-8"), encoding="utf-8")
        written.append(path)
    return written


def write_own_logs(runs: Path, folder: Path) -> list[Path]:
    """The logs of FoMo's trainings on the sets that have no weights yet: `SET-PART.jsonl`."""
    written = []
    for log in sorted(runs.glob("*/*/metrics.jsonl")):
        path = folder / f"{log.parent.parent.name}-{log.parent.name}.jsonl"
        with whole_file(path) as fresh:
            fresh.write_text(log.read_text(encoding="utf-8"), encoding="utf-8")
        written.append(path)
    return written


def read_tables(folder: Path) -> tuple[list[Line], list[UnitSums]]:
    """The lines and sums of a folder that `write_tables` wrote to. Raises `UsageError`, `EvaluationError`."""
    path, units = folder / "scoreboard.parquet", folder / UNITS
    if not path.exists():
        raise UsageError(f"there is no {path} whose rows could be kept: leave --keep away")
    return read_scoreboard(path), read_units(units) if units.exists() else []


def write_tables(found: Sequence[Line], units: Sequence[UnitSums], folder: Path) -> list[Path]:
    """`scoreboard.csv`, `.parquet`, `.md`, `.html` and figures, `scoreboard-units.parquet`; returns the files."""
    paths = [write_scoreboard(found, folder / f"scoreboard.{suffix}") for suffix in ("csv", "parquet")]
    paths.append(write_units(units, folder / UNITS))
    beside = Beside(units)
    sections = _sections(found)
    ratios = _ratios(found, beside)
    with whole_file(folder / "scoreboard.md") as fresh:
        parts = [f"### {title}\n\n{text}" for title, text in sections]
        fresh.write_text("\n".join([*parts, f"### {RATIOS}\n", ratios]), encoding="utf-8")
    figures = figures_of(found)
    with whole_file(folder / SUMMARY) as fresh:
        fresh.write_text(summaries(found, beside), encoding="utf-8")
    with whole_file(folder / "scoreboard.html") as fresh:
        fresh.write_text(_page(sections, ratios, figures), encoding="utf-8")
    paths += [save_figure(figure, folder / f"scoreboard-{name}.png") for name, figure in figures.items()]
    return [*paths, folder / "scoreboard.md", folder / "scoreboard.html", folder / SUMMARY]


def summaries(found: Sequence[Line], beside: Beside) -> str:
    """The first protocol in the settings `none` and `full`, for the README."""
    defined = [line for line in found if line.value is not None]
    if not defined:
        return ""
    protocol = defined[0].protocol
    parts = [
        f"{protocol}, context `{context}`: {HEADINGS[context]}\n\n{summary(found, protocol, context)}"
        for context in ("none", "full")
        if any((line.protocol, line.context) == (protocol, context) for line in defined)
    ]
    if any("*" in part.replace("**", "") for part in parts):
        parts[-1] += f"\n{STAR}\n"
    placed = standing(found, beside)
    if placed:
        parts.append(f"{STANDING}\n\n{placed}")
    return "\n".join(parts)


def standing(found: Sequence[Line], beside: Beside) -> str:
    """FoMo's error over that of the best other in every column; in `paper` over the best deep rival. Below 1: ahead."""
    cells: dict[tuple[str, str, str], dict[str, str]] = {}
    for row, metric in _placed(found):
        which = "deep" if row["context"] == PAPER else "other"
        ratio, rival = row[f"over best {which}"], row[f"best {which}"]
        if isinstance(ratio, float):
            key = (str(row["protocol"]), str(row["task"]), str(row["context"]))
            ends = _ends(beside.interval(row, which, metric))
            cells.setdefault(key, {})[str(row["city"])] = f"{ratio:.2f}{f' ({ends})' if ends else ''} {rival}"
    cities = list(dict.fromkeys(city for part in cells.values() for city in part))
    lines = ["| protocol | task | context | " + " | ".join(cities) + " |", "|---" * (3 + len(cities)) + "|"]
    for (protocol, task, context), part in cells.items():
        name = f"{task} (JSD)" if task == "generate" else task
        lines.append(f"| {protocol} | {name} | {context} | " + " | ".join(part.get(c, "–") for c in cities) + " |")
    return "\n".join(lines) + "\n" if cells else ""


def _placed(found: Sequence[Line]) -> list[tuple[dict[str, str | float | None], str]]:
    """FoMo's place in every column, and by which score: RMSE, of generated cells JSD."""
    rows = [(row, "rmse") for row in first_place(found, "rmse") if row["task"] != "generate"]
    return rows + [(row, "jsd") for row in first_place(found, "jsd") if row["task"] == "generate"]


def _ends(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}"


def figures_of(found: Sequence[Line]) -> dict[str, Figure]:
    """The radar and the cost of the first protocol, as far as it has the numbers for them."""
    defined = [line for line in found if line.value is not None]
    figures = {}
    if any(line.context == "full" for line in defined):
        figures["radar"] = radar_figure(defined, next(line.protocol for line in defined if line.context == "full"))
    if any(line.kind == "fomo" and line.context == "none" and line.task == "short" for line in defined):
        figures["cost"] = cost_figure(defined, next(line.protocol for line in defined if line.kind == "fomo"))
    return figures


def _sections(found: Sequence[Line]) -> list[tuple[str, str]]:
    keys = dict.fromkeys((line.protocol, line.task, line.context) for line in found)
    sections = []
    for protocol, task, context in keys:
        metrics = PAPERS_METRICS[task]
        title = f"{protocol}, {task}, {context}: {HEADINGS[context]} ({' / '.join(name.upper() for name in metrics)})"
        sections.append((title, markdown(found, protocol, task, context, metrics)))
    return sections


def _ratios(found: Sequence[Line], beside: Beside) -> str:
    """FoMo's place in every column that it and others have numbers in."""
    over = "FoMo over it | 95 %"
    text = [f"| protocol | task | context | city | best deep rival | {over} | best of all others | {over} |"]
    text.append("|---" * 10 + "|")
    for row, metric in _placed(found):
        if row["over best other"] is None:
            continue  # FoMo or all others have no number yet
        cells = [str(row[name]) for name in ("protocol", "task", "context", "city")]
        for which in ("deep", "other"):
            ratio = row[f"over best {which}"]
            cells += [
                str(row[f"best {which}"] or "–"),
                f"{ratio:.2f}" if isinstance(ratio, float) else "–",
                _ends(beside.interval(row, which, metric)) or "–",
            ]
        text.append("| " + " | ".join(cells) + " |")
    return "\n".join(text) + "\n"


def _page(sections: Sequence[tuple[str, str]], ratios: str, figures: dict[str, Figure]) -> str:
    """One page that needs nothing else."""
    body = ["<h1>FoMo: the scoreboard</h1>"]
    for name, figure in figures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=130)
        picture = base64.b64encode(buffer.getvalue()).decode()
        body.append(f'<img alt="{html.escape(name)}" src="data:image/png;base64,{picture}">')
    for title, text in [*sections, (RATIOS, ratios)]:
        body.append(f"<h2>{html.escape(title)}</h2>{_table(text)}")
    head = f'<meta charset="utf-8"><title>FoMo: the scoreboard</title><style>{STYLE}</style>'
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(body)}</body></html>\n"


def _table(text: str) -> str:
    rows = [line.strip("|").split("|") for line in text.splitlines() if not line.startswith("|---")]
    made = []
    for index, row in enumerate(rows):
        tag = "td" if index else "th"
        cells = (html.escape(cell.strip()) for cell in row)
        made.append("".join(f"<{tag}>{_bold(cell)}</{tag}>" for cell in cells))
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in made) + "</table>"


def _bold(cell: str) -> str:
    """`**x**` as <b>x</b>."""
    parts = cell.split("**")
    return "".join(f"<b>{part}</b>" if index % 2 else part for index, part in enumerate(parts))


__all__ = ["UNITS", "read_tables", "standing", "write_logs", "write_own_logs", "write_tables"]
